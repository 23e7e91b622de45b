//! `ping`: ICMP echo (RFC 792, RFC 4443) to a host.

mod answer;
mod probes;
mod report;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};
use nix::poll::PollFlags;

use crate::cancel::Wake;
use crate::cause;
use crate::net::icmp::IcmpSocket;
use crate::net::resolve::{Family, resolve};
use crate::net::{self, random};
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::wire;
use crate::wire::icmp::{ECHO_HEADER_OCTETS, Echo, Version};
use crate::{clock, duration};
use answer::{Answer, Own, message_of};
use probes::{Plan, Probes, Reply, Step};
use report::{Event, Percent, Statistics};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "ping",
        summary: "ask a host to answer, and time the answers",
        group: Group::Network,
        examples: &[
            Example {
                line: "ping -c 4 127.0.0.1",
                what: "four times",
            },
            Example {
                line: "ping -c 10 -i 0.2 ::1",
                what: "five a second, over IPv6",
            },
            Example {
                line: "ping -c 1 -t 0.5 -s 1400 127.0.0.1",
                what: "large, and impatient",
            },
        ],
        statuses: &[
            (Status::NEGATIVE, "no reply"),
            (
                Status::UNAVAILABLE,
                "the name has no address, or there is no network",
            ),
            (Status::NOT_PERMITTED, "this user may not send ICMP"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |_| Kind::Foreground,
};

/// IPv4 packets hold 65,535 octets, 28 of them headers.
const PAYLOAD_OCTETS_MAX: i64 = 65_507;
/// In front of the payload, so that only an answer to this very ping counts.
const COOKIE_OCTETS: usize = 8;
const IPV4_HEADER_OCTETS: usize = 20;

#[derive(Parser)]
struct Arguments {
    /// A name or an address
    #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
    host: String,
    /// How many requests; without it until Ctrl-C
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Between requests; seconds, or with a unit
    #[arg(short, long, value_name = "SPAN", value_parser = interval, default_value = "1")]
    interval: Duration,
    /// How long to wait for the last reply
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse, default_value = "2")]
    timeout: Duration,
    /// Octets of payload in each request
    #[arg(
        short,
        long,
        value_name = "OCTETS",
        value_parser = clap::value_parser!(u16).range(0..=PAYLOAD_OCTETS_MAX),
        default_value = "56"
    )]
    size: u16,
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
}

/// Faster than this is a flood.
fn interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(1);
    let span = duration::parse(text).map_err(|error| error.to_string())?;
    if span < INTERVAL_MIN {
        Err("the shortest interval is 1ms".to_owned())
    } else {
        Ok(span)
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let family = match (arguments.ipv4, arguments.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    };
    let mut peer = resolve(&arguments.host, 0, family, &context.cancel)?[0];
    // "0" is this host, as in other pings.
    if peer.ip().is_unspecified() {
        peer.set_ip(if peer.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    let socket = IcmpSocket::open(&peer)?;
    let plan = Plan {
        count: arguments.count,
        interval: arguments.interval,
        timeout: arguments.timeout,
    };
    let mut ping = Ping {
        context,
        socket,
        peer,
        version: if peer.is_ipv4() {
            Version::V4
        } else {
            Version::V6
        },
        payload: payload(usize::from(arguments.size)),
        probes: Probes::new(plan, clock::now()),
    };
    context.out.emit(&ping.start(&arguments.host));
    let ended = ping.run();
    context.out.emit(&Event::Statistics(Statistics::of(
        &arguments.host,
        &ping.probes,
    )));
    ended?;
    Ok(if ping.probes.tally.received > 0 {
        Status::OK
    } else {
        Status::NEGATIVE
    })
}

/// The cookie, and after it octets that count up.
fn payload(octets: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..octets).map(|index| index as u8).collect();
    if let Some(cookie) = payload.get_mut(..COOKIE_OCTETS) {
        cookie.copy_from_slice(&random().to_be_bytes());
    }
    payload
}

struct Ping<'a> {
    context: &'a Context,
    socket: IcmpSocket,
    peer: SocketAddr,
    version: Version,
    payload: Vec<u8>,
    probes: Probes,
}

impl Ping<'_> {
    fn start(&self, host: &str) -> Event {
        let message = ECHO_HEADER_OCTETS + self.payload.len();
        Event::Start {
            host: host.to_owned(),
            address: self.peer.ip().to_string(),
            payload_octets: self.payload.len(),
            packet_octets: self.peer.is_ipv4().then_some(message + IPV4_HEADER_OCTETS),
        }
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.probes.poll(clock::now()) {
                Step::Send(sequence_number) => self.send(sequence_number),
                Step::Done => return Ok(()),
                Step::WaitUntil(deadline) => {
                    let fd = self.socket.as_fd();
                    let woken = self
                        .context
                        .cancel
                        .wait(fd, PollFlags::POLLIN, Some(deadline))?;
                    if woken == Wake::Ready {
                        self.receive()?;
                    }
                }
            }
        }
    }

    fn send(&mut self, sequence_number: u64) {
        let echo = Echo {
            identifier: self.socket.identifier,
            // The wire has the low 16 bits.
            sequence_number: sequence_number as u16,
            payload: &self.payload,
        };
        match self
            .socket
            .send(&echo.emit_request(self.version), &self.peer)
        {
            Ok(at) => self.probes.on_sent(sequence_number, at),
            Err(error) => {
                self.probes.on_sent(sequence_number, clock::now());
                self.probes.on_error(sequence_number as u16);
                let problem = cause::of(&error);
                self.context.out.emit(&Event::SendError {
                    icmp_seq: sequence_number,
                    problem,
                });
            }
        }
        self.summarize();
    }

    fn receive(&mut self) -> Result<(), Error> {
        // The rest of a flood waits until what is due has been sent.
        const MESSAGES_MAX: usize = 256;
        for _ in 0..MESSAGES_MAX {
            let (version, mode) = (self.version, self.socket.mode);
            let own = Own {
                identifier: self.socket.identifier,
                address: self.peer,
                payload: &self.payload,
            };
            let received = self.socket.receive().map_err(|error| net::Error::System {
                what: "cannot receive".to_owned(),
                error,
            })?;
            let Some(received) = received else {
                return Ok(());
            };
            let (from, at) = (received.from.to_string(), received.at);
            let (message, hop_limit) = message_of(&received, version, mode);
            let answer = own.recognise(&received, message, version);
            self.take(answer, from, hop_limit, at);
        }
        Ok(())
    }

    fn take(&mut self, answer: Answer, from: String, ttl: Option<u8>, at: std::time::Instant) {
        let out = &self.context.out;
        match answer {
            Answer::Foreign => return,
            Answer::Corrupted => {
                self.probes.on_corrupted();
                out.emit(&Event::Corrupted {
                    from,
                    problem: wire::Error::Checksum.to_string(),
                });
            }
            Answer::Reply { intact: false, .. } => {
                self.probes.on_corrupted();
                let problem = "its payload is not what was sent".to_owned();
                out.emit(&Event::Corrupted { from, problem });
            }
            Answer::Problem {
                sequence_number,
                problem,
            } => {
                if problem.is_redirect() {
                    let icmp_seq = u64::from(sequence_number);
                    out.emit(&Event::Error {
                        from,
                        icmp_seq,
                        problem: problem.to_string(),
                    });
                } else if let Some(icmp_seq) = self.probes.on_error(sequence_number) {
                    out.emit(&Event::Error {
                        from,
                        icmp_seq,
                        problem: problem.to_string(),
                    });
                }
            }
            Answer::Reply {
                sequence_number,
                octets,
                ..
            } => {
                let (icmp_seq, rtt, duplicate) = match self.probes.on_reply(sequence_number, at) {
                    Reply::First {
                        sequence_number,
                        rtt,
                    } => (sequence_number, rtt, false),
                    Reply::Duplicate {
                        sequence_number,
                        rtt,
                    } => (sequence_number, rtt, true),
                    Reply::Unasked => return,
                };
                let rtt_ms = rtt.as_secs_f64() * 1e3;
                out.emit(&Event::Reply {
                    octets,
                    from,
                    icmp_seq,
                    ttl,
                    rtt_ms,
                    duplicate,
                });
            }
        }
        self.summarize();
    }

    fn summarize(&self) {
        let tally = &self.probes.tally;
        let mut summary = format!("{} sent, {} received", tally.transmitted, tally.received);
        if tally.transmitted > tally.received + 1 {
            summary.push_str(&format!(", {}% loss", Percent(tally.loss_percent())));
        }
        if let Some(rtt) = tally.rtt {
            summary.push_str(&format!(
                ", last {:.3} ms, avg {:.3} ms",
                rtt.last,
                rtt.average()
            ));
        }
        self.context.summarize(summary);
    }
}
