//! `trace`: the routers on the way to a host, by packets whose hop limit runs out there.

mod archive;
mod live;
mod paths;
mod report;
mod route;
mod tracer;
mod verdict;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};

use crate::net::icmp::Options;
use crate::net::resolve::resolve;
use crate::net::reverse::Names;
use crate::net::udp;
use crate::path::departure::Departure;
use crate::path::mtu::Survey;
use crate::path::{Prober, Protocol};
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::{clock, duration, net, path};
use archive::Saved;
use report::Event;
use route::{Route, lines};
use tracer::{Plan, Tracer};

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
                line: "trace --paths 127.0.0.1",
                what: "all ways, where packets are spread over several",
            },
            Example {
                line: "trace --mtu 127.0.0.1",
                what: "how large packets can be on each hop",
            },
            Example {
                line: "trace --live -c 5 -i 0.2 127.0.0.1",
                what: "five rounds in a table that is refreshed",
            },
            Example {
                line: "trace -p tcp --port 443 127.0.0.1",
                what: "with connection requests, which pass more firewalls",
            },
        ],
        statuses: &[
            (
                Status::NEGATIVE,
                "the host was not reached, or --diff found a difference",
            ),
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
    #[command(flatten)]
    departure: Departure,
    /// All routers of each hop, where packets are spread over several ways
    #[arg(long, conflicts_with_all = ["mtu", "live", "save", "diff", "first", "queries", "simultaneous", "timeout", "wait"])]
    paths: bool,
    /// The largest packet that gets to each hop
    #[arg(long, conflicts_with_all = ["live", "size"])]
    mtu: bool,
    /// Again and again, in a table; q or Ctrl-C ends it
    #[arg(long, conflicts_with_all = ["save", "diff", "first", "queries", "simultaneous", "timeout", "wait"])]
    live: bool,
    /// With --live: how often
    #[arg(short, long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// With --live: between rounds
    #[arg(short, long, value_name = "SPAN", requires = "live", value_parser = interval, default_value = "1")]
    interval: Duration,
    /// Keep the trace in a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    save: Option<PathBuf>,
    /// What has changed since a trace was kept
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    diff: Option<PathBuf>,
    /// Addresses only, no names for them
    #[arg(short, long)]
    numeric: bool,
}

impl Arguments {
    fn plan(&self, protocol: Protocol) -> Plan {
        Plan {
            first: self.first,
            last: self.max_hops,
            queries: usize::from(self.queries),
            simultaneous: usize::from(self.simultaneous),
            wait: self.wait,
            timeout: self.timeout,
            target_limits: protocol == Protocol::Udp,
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
            let mut target = address;
            target.set_port(match protocol {
                // It has no ports.
                Protocol::Icmp => 0,
                Protocol::Udp => self.port.unwrap_or(UDP_PORT),
                Protocol::Tcp => self.port.unwrap_or(TCP_PORT),
            });
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

/// Faster than this routers would take it for an attack.
fn interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(100);
    match duration::parse(text) {
        Ok(span) if span >= INTERVAL_MIN => Ok(span),
        Ok(_) => Err("the shortest interval is 100ms".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    if arguments.first > arguments.max_hops {
        let (first, last) = (arguments.first, arguments.max_hops);
        return Err(Error::Usage(format!("-f {first} is behind -m {last}")));
    }
    if arguments.paths && arguments.protocol == Some(Protocol::Tcp) {
        let text = "--paths varies what routers choose a way by, which TCP does not do here; \
                    take -p udp or -p icmp";
        return Err(Error::Usage(text.to_owned()));
    }
    let is_icmp = !arguments.paths && arguments.protocol.is_none_or(|it| it == Protocol::Icmp);
    if arguments.port.is_some() && is_icmp {
        let text = "ICMP has no ports; take -p udp or -p tcp with --port";
        return Err(Error::Usage(text.to_owned()));
    }
    let before = arguments.diff.as_deref().map(Saved::read).transpose()?;
    let address = resolve(
        &arguments.host,
        0,
        arguments.departure.family(),
        &context.cancel,
    )?[0];
    let options = arguments.departure.options();
    // Few routers look at ICMP when they choose among ways.
    let preferred = match arguments.paths {
        true => Protocol::Udp,
        false => Protocol::Icmp,
    };
    let (mut prober, protocol) = arguments.open(context, address, preferred, &options)?;
    let octets = usize::from(arguments.size.unwrap_or(0));
    let octets = match (octets, address) {
        (0, SocketAddr::V4(_)) => PACKET_OCTETS_V4,
        (0, SocketAddr::V6(_)) => PACKET_OCTETS_V6,
        (octets, _) => octets,
    };
    let octets = octets.max(prober.octets_min());
    let names = (!arguments.numeric).then(Names::new).and_then(Result::ok);
    if arguments.live {
        prober.keep_flows();
        let plan = live::Plan {
            last: arguments.max_hops,
            interval: arguments.interval,
            rounds: arguments.count,
            octets,
        };
        let target = format!("{} ({})", arguments.host, address.ip());
        let reached = live::run(context, &mut prober, &plan, &target, names.as_ref())?;
        return Ok(status(reached));
    }
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
    if arguments.paths {
        let (last, cancel) = (arguments.max_hops, &context.cancel);
        prober.keep_flows();
        let paths = paths::run(&mut prober, last, octets, names.as_ref(), cancel)?;
        context.out.emit(&paths);
        return Ok(status(paths.reached));
    }
    let mut route = Route {
        context,
        prober,
        octets,
        tracer: Tracer::new(arguments.plan(protocol), clock::now()),
        names,
    };
    let ended = route.run();
    if ended.is_err() {
        for line in lines(&route.tracer.hops(), route.names.as_ref(), None) {
            context.out.emit(&Event::Hop(line));
        }
        ended?;
    }
    let survey = match arguments.mtu {
        true => {
            let source = udp::source_towards(address, &options)?;
            let last = route.tracer.hops().last().map_or(0, |hop| hop.hop_limit);
            let cancel = &context.cancel;
            // Late answers to the trace are none to the survey.
            route.prober.reserve_keys(route.tracer.sent());
            Some(path::mtu::survey(&mut route.prober, source, last, cancel)?)
        }
        false => None,
    };
    route.wait_for_names()?;
    let is_good = tell(&route, &arguments, address.ip(), survey.as_ref(), before)?;
    Ok(status(is_good))
}

/// The hops, where the packets went, and what is different now; whether the target was reached
/// as before.
fn tell(
    route: &Route,
    arguments: &Arguments,
    target: IpAddr,
    survey: Option<&Survey>,
    before: Option<Saved>,
) -> Result<bool, Error> {
    let out = &route.context.out;
    let hops = route.tracer.hops();
    for line in lines(&hops, route.names.as_ref(), survey) {
        out.emit(&Event::Hop(line));
    }
    let mut end = route.end(&hops, target);
    end.mtu = survey.and_then(Survey::mtu);
    end.bottleneck = survey.and_then(Survey::explanation);
    let now = Saved::of(&hops, target, end.reached);
    out.emit(&Event::End(end));
    if let Some(path) = &arguments.save {
        now.write(path)?;
    }
    let difference = before.map(|before| before.difference(&now));
    if let Some(difference) = &difference {
        out.emit(difference);
    }
    Ok(now.reached && difference.is_none_or(|difference| difference.changes.is_empty()))
}

fn status(reached: bool) -> Status {
    match reached {
        true => Status::OK,
        false => Status::NEGATIVE,
    }
}
