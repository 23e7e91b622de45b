//! `trace`: the routers on the way to a host, by packets whose hop limit runs out there.

mod report;
mod tracer;
mod verdict;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};

use crate::net::icmp::Options;
use crate::net::resolve::{Family, resolve};
use crate::net::reverse::Names;
use crate::path::{Probe, Prober, Protocol, What};
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::{cause, clock, duration, net};
use report::{End, Event, HopLine};
use tracer::{Hop, Plan, Silence, Step, Tracer, is_terminal};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "trace",
        summary: "the routers on the way to a host",
        group: Group::Network,
        examples: &[
            Example {
                line: "trace 127.0.0.1",
                what: "with echo requests, or what is permitted",
            },
            Example {
                line: "trace -n -p udp 127.0.0.1",
                what: "with datagrams; addresses only",
            },
            Example {
                line: "trace -p tcp --port 443 127.0.0.1",
                what: "with connection requests, which pass more firewalls",
            },
        ],
        statuses: &[
            (Status::NEGATIVE, "the host was not reached"),
            (
                Status::UNAVAILABLE,
                "the name has no address, or there is no network",
            ),
        ],
        command: Arguments::command,
    },
    run,
    kind: |_| Kind::Foreground,
};

const PACKET_OCTETS_V4: usize = 60;
const PACKET_OCTETS_V6: usize = 80;
const PACKET_OCTETS_MAX: i64 = 65_535;
const QUERIES_MAX: i64 = 10;
/// How long the last names of routers are waited for.
const NAMES_PATIENCE: Duration = Duration::from_millis(400);
/// traceroute's, and the web's.
const UDP_PORT: u16 = 33_434;
const TCP_PORT: u16 = 80;

#[derive(Parser)]
struct Arguments {
    /// A name or an address
    #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
    host: String,
    /// What to send [default: icmp, or udp where that is not permitted]
    #[arg(short, long, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// How long to wait for an answer at most; without it that depends on how fast others are
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// The last hop
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..), default_value = "30")]
    max_hops: u8,
    /// The first hop
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..), default_value = "1")]
    first: u8,
    /// Packets to each hop
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=QUERIES_MAX), default_value = "3")]
    queries: u8,
    /// Packets on their way at once
    #[arg(short = 'N', long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), default_value = "64")]
    simultaneous: u8,
    /// Between two packets
    #[arg(long, value_name = "SPAN", value_parser = duration::parse, default_value = "0")]
    wait: Duration,
    /// Port of the host, for udp and tcp [default: 33434, 80]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Octets of each packet, with all headers [default: 60, IPv6 80]
    #[arg(short, long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(1..=PACKET_OCTETS_MAX))]
    size: Option<u16>,
    /// Interface, or address of this machine, to send from
    #[arg(short = 'I', long = "from", value_name = "INTERFACE|ADDRESS")]
    from: Option<String>,
    /// Addresses only, no names for them
    #[arg(short, long)]
    numeric: bool,
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl Arguments {
    fn family(&self) -> Family {
        let source = self.from.as_deref().and_then(|from| from.parse().ok());
        match (self.ipv4, self.ipv6, source) {
            (true, ..) | (_, _, Some(IpAddr::V4(_))) => Family::V4,
            (_, true, _) | (_, _, Some(IpAddr::V6(_))) => Family::V6,
            _ => Family::Any,
        }
    }

    fn options(&self) -> Options {
        let source = self.from.as_deref().and_then(|from| from.parse().ok());
        Options {
            interface: self.from.clone().filter(|_| source.is_none()),
            source,
            ..Options::default()
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            first: self.first,
            last: self.max_hops,
            queries: usize::from(self.queries),
            simultaneous: usize::from(self.simultaneous),
            wait: self.wait,
            timeout: self.timeout,
        }
    }

    /// Opens what is asked for, or permitted.
    fn open(
        &self,
        context: &Context,
        address: SocketAddr,
        preferred: Protocol,
        options: &Options,
    ) -> Result<(Prober, Protocol), Error> {
        let open = |protocol| {
            let port = self.port.unwrap_or(match protocol {
                Protocol::Tcp => TCP_PORT,
                Protocol::Icmp | Protocol::Udp => UDP_PORT,
            });
            let target = match protocol {
                // ICMP has no ports.
                Protocol::Icmp => SocketAddr::new(address.ip(), 0),
                Protocol::Udp | Protocol::Tcp => SocketAddr::new(address.ip(), port),
            };
            Prober::open(protocol, target, options).map(|prober| (prober, protocol))
        };
        match (self.protocol, open(self.protocol.unwrap_or(preferred))) {
            (None, Err(net::Error::NotPermitted(_))) => {
                let text = "trace: this user may not send ICMP; tracing with UDP instead";
                context.out.notice(text);
                Ok(open(Protocol::Udp)?)
            }
            (_, opened) => Ok(opened?),
        }
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    if arguments.first > arguments.max_hops {
        let (first, last) = (arguments.first, arguments.max_hops);
        return Err(Error::Usage(format!("-f {first} is behind -m {last}")));
    }
    let address = resolve(&arguments.host, 0, arguments.family(), &context.cancel)?[0];
    let options = arguments.options();
    let (prober, protocol) = arguments.open(context, address, Protocol::Icmp, &options)?;
    let octets = usize::from(arguments.size.unwrap_or(0));
    let octets = match (octets, address) {
        (0, SocketAddr::V4(_)) => PACKET_OCTETS_V4,
        (0, SocketAddr::V6(_)) => PACKET_OCTETS_V6,
        (octets, _) => octets,
    };
    let octets = octets.max(prober.octets_min());
    context.out.emit(&Event::Start {
        host: arguments.host.clone(),
        address: address.ip(),
        protocol: match protocol {
            Protocol::Icmp => "ICMP",
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        },
        hops_max: arguments.max_hops,
        packet_octets: octets,
    });
    let mut trace = Trace {
        context,
        prober,
        octets,
        tracer: Tracer::new(arguments.plan(), clock::now()),
        names: (!arguments.numeric).then(Names::new).and_then(Result::ok),
    };
    let ended = trace.run();
    let hops = trace.tracer.hops();
    if ended.is_ok() {
        trace.wait_for_names()?;
    }
    for line in lines(&hops, trace.names.as_ref()) {
        context.out.emit(&Event::Hop(line));
    }
    ended?;
    let end = trace.end(&hops, address.ip());
    let reached = end.reached;
    context.out.emit(&Event::End(end));
    Ok(if reached {
        Status::OK
    } else {
        Status::NEGATIVE
    })
}

fn lines(hops: &[Hop], names: Option<&Names>) -> Vec<HopLine> {
    let mut translated = None;
    hops.iter()
        .map(|hop| {
            let line = HopLine::of(hop, names, translated);
            translated = line.translated_to.or(translated);
            line
        })
        .collect()
}

struct Trace<'a> {
    context: &'a Context,
    prober: Prober,
    octets: usize,
    tracer: Tracer,
    names: Option<Names>,
}

impl Trace<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let cannot_receive =
            |error| Error::Unavailable(format!("cannot receive: {}", cause::of(&error)));
        loop {
            for answer in self.prober.receive().map_err(cannot_receive)? {
                if let Some(names) = &self.names {
                    names.ask(answer.from);
                }
                self.tracer.on_answer(answer);
            }
            match self.tracer.poll(clock::now()) {
                Step::Done => return Ok(()),
                Step::Send { key, hop_limit } => {
                    let probe = Probe {
                        key,
                        hop_limit,
                        flow: 0,
                        octets: self.octets,
                    };
                    let at = self.prober.send(probe).map_err(|error| {
                        Error::Unavailable(format!("cannot send: {}", cause::of(&error)))
                    })?;
                    self.tracer.on_sent(hop_limit, at);
                }
                Step::WaitUntil(until) => {
                    let interest = self.prober.interest();
                    let fds = self.prober.fds();
                    let cancel = &self.context.cancel;
                    cancel.wait_any(&fds, interest, Some(until))?;
                }
            }
            if self.context.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }

    fn wait_for_names(&self) -> Result<(), Error> {
        let deadline = clock::now() + NAMES_PATIENCE;
        if let Some(names) = &self.names {
            names.wait(&self.context.cancel, deadline)?;
        }
        Ok(())
    }

    fn end(&self, hops: &[Hop], target: IpAddr) -> End {
        let unanswered = |hop: &Hop| hop.replies.iter().filter(|reply| reply.is_none()).count();
        let of = |wanted: &[Silence]| {
            let hops = hops.iter().filter(|hop| wanted.contains(&hop.silence));
            hops.map(unanswered).sum()
        };
        let mut replies = hops.iter().flat_map(|hop| hop.replies.iter().flatten());
        End {
            reached: replies.any(|reply| is_terminal(reply) && reply.what == What::Reached),
            hops: hops.len(),
            packets_sent: self.tracer.sent(),
            packets_lost: of(&[Silence::Lost]),
            packets_ignored: of(&[Silence::Limited, Silence::Whole]),
            verdict: verdict::verdict(hops, self.tracer.cycle(), target),
        }
    }
}
