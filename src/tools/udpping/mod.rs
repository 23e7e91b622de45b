//! `udpping`: round trips, losses and clocks over UDP, as the classic lab's pinger, as STAMP
//! (RFC 8762), and as heartbeats that a monitor listens for.

mod answering;
mod client;
mod delayed;
mod dialect;
mod event;
mod heartbeat;
mod impairment;
mod key;
mod metrics;
mod monitor;
mod peer;
mod probes;
mod quality;
mod report;
mod roster;
mod sender;
mod server;
mod sessions;
mod statistics;
mod table;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};

use crate::duration;
use crate::echo::Gate;
use crate::net::icmp::Options;
use crate::net::resolve::resolve;
use crate::net::{dscp, random, split_port};
use crate::path::departure::Departure;
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::wire::heartbeat::{INTERVAL_MAX, INTERVAL_MIN, is_name};
use crate::wire::mac::Key;
use crate::wire::{ping_pong, stamp};
use answering::Answerer;
use dialect::{Dialect, STAMP_HOP_LIMIT};
use impairment::Impairment;
use probes::Plan;

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "udpping",
        summary: "measure paths with UDP: times, losses in each direction, clocks",
        group: Group::Network,
        examples: &[
            Example {
                line: "udpping --server --loss 30%",
                what: "answer pings on 127.0.0.1:12000, but for some",
            },
            Example {
                line: "udpping 127.0.0.1",
                what: "ten pings, and what became of each",
            },
            Example {
                line: "udpping -q -i 1ms -c 10000 127.0.0.1",
                what: "a thousand a second",
            },
            Example {
                line: "udpping --reflector -p 8620",
                what: "a STAMP reflector",
            },
            Example {
                line: "udpping --stamp -c 100 -i 10ms 127.0.0.1:8620",
                what: "measure against it, or against a router",
            },
            Example {
                line: "udpping --monitor --metrics 9100",
                what: "listen for heartbeats on 127.0.0.1:12001",
            },
            Example {
                line: "udpping --heartbeat 127.0.0.1 --name web1 &",
                what: "a sign of life each second",
            },
        ],
        statuses: &[
            (Status::NEGATIVE, "no reply"),
            (
                Status::UNAVAILABLE,
                "the name has no address, the port is taken, or there is no network",
            ),
            (
                Status::NOT_PERMITTED,
                "this user may not use ports this low",
            ),
        ],
        command: Arguments::command,
    },
    run,
    kind: |matches| match Mode::of(matches) {
        Mode::Server | Mode::Reflector => Kind::Server,
        Mode::Monitor if !matches.get_flag("live") => Kind::Server,
        Mode::Words | Mode::Stamp | Mode::Heartbeat | Mode::Monitor => Kind::Foreground,
    },
};

const SERVER_PORT: u16 = 12_000;
/// RFC 8762 section 4.1.
const STAMP_PORT: u16 = 862;
const MONITOR_PORT: u16 = 12_001;
const COUNT: u64 = 10;
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);
/// Of answers to each source, a second.
const RATE_MAX: u32 = 1000;
/// Of a request with a session whose answer has room for what the server saw.
const SESSION_OCTETS_MIN: u16 = 64;
/// Over Ethernet without fragments, behind the headers of IPv6 and UDP.
const OCTETS_MAX: i64 = 65_507;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Words,
    Stamp,
    Server,
    Reflector,
    Heartbeat,
    Monitor,
}

/// What each option is for; `--port` is for all.
const SENDERS: &[&str] = &["host", "count", "interval", "dscp", "from", "ipv4", "ipv6"];
const CLIENTS: &[&str] = &["timeout", "rate", "size", "quiet"];
const LISTENERS: &[&str] = &["bind"];
const SERVERS: &[&str] = &[
    "rate_limit",
    "verbose",
    "request_loss",
    "reply_loss",
    "burst",
    "delay",
    "jitter",
    "duplicate",
    "seed",
];
const KEYED: &[&str] = &["key_file"];
const WORDS: &[&str] = &["plain"];
const HEARTBEAT: &[&str] = &["name"];
const MONITOR: &[&str] = &["down_after", "metrics", "live"];

#[derive(Parser)]
#[command(override_usage = "udpping [OPTIONS] HOST[:PORT]
       udpping --stamp [OPTIONS] HOST[:PORT]
       udpping --server [OPTIONS]
       udpping --reflector [OPTIONS]
       udpping --heartbeat [OPTIONS] HOST[:PORT]
       udpping --monitor [OPTIONS]")]
struct Arguments {
    /// The server's name or address
    #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
    host: Option<String>,
    /// Speak STAMP (RFC 8762) with a reflector
    #[arg(long, group = "mode")]
    stamp: bool,
    /// Answer pings
    #[arg(long, group = "mode")]
    server: bool,
    /// Answer STAMP's test packets
    #[arg(long, group = "mode")]
    reflector: bool,
    /// Send heartbeats to a monitor
    #[arg(long, group = "mode")]
    heartbeat: bool,
    /// Listen for heartbeats
    #[arg(long, group = "mode")]
    monitor: bool,
    /// The port [default: 12000, with STAMP 862, with heartbeats 12001]; servers take a free one with 0
    #[arg(short, long)]
    port: Option<u16>,
    /// How many; 0 goes on until Ctrl-C [default: 10, heartbeats 0]
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// How long to wait for each answer [default: 1]
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Between two; seconds, or with a unit, down to 10us [default: 1]
    #[arg(short, long, value_name = "SPAN", value_parser = interval)]
    interval: Option<Duration>,
    /// So many a second, instead of an interval
    #[arg(long, value_name = "N", conflicts_with = "interval", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Octets of each datagram [default: 80, STAMP's least is 44]
    #[arg(short, long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(0..=OCTETS_MAX))]
    size: Option<u16>,
    /// Send 'PING n hh:mm:ss' and nothing else: what a server sees is not asked
    #[arg(long, conflicts_with = "size")]
    plain: bool,
    /// Differentiated services: EF, AF41, CS1, LE, ... or a number up to 63
    #[arg(long, value_name = "NAME", value_parser = dscp::parse)]
    dscp: Option<u8>,
    /// Only the statistics
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    departure: Departure,
    /// For STAMP and heartbeats: authenticate with the key in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,
    /// The address to serve on [default: 127.0.0.1]
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    #[command(flatten)]
    impairment: impairment::Options,
    /// Answers to each source, a second [default: 1000, and any number to this machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate_limit: Option<u32>,
    /// Show each datagram and its answer
    #[arg(short, long)]
    verbose: bool,
    /// What the monitor calls this sender [default: this machine's name]
    #[arg(long, value_name = "ID", value_parser = name)]
    name: Option<String>,
    /// Missed heartbeats in a row that mean 'down' [default: as many as chance does not lose]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    down_after: Option<u32>,
    /// Serve OpenMetrics at this port
    #[arg(long, value_name = "PORT")]
    metrics: Option<u16>,
    /// A table that is kept up to date, in the foreground; 'q' ends it
    #[arg(long)]
    live: bool,
}

impl Mode {
    fn of(matches: &ArgMatches) -> Mode {
        let modes = [
            ("stamp", Mode::Stamp),
            ("server", Mode::Server),
            ("reflector", Mode::Reflector),
            ("heartbeat", Mode::Heartbeat),
            ("monitor", Mode::Monitor),
        ];
        let given = modes.into_iter().find(|(flag, _)| matches.get_flag(flag));
        given.map_or(Mode::Words, |(_, mode)| mode)
    }

    fn options(self) -> Vec<&'static str> {
        match self {
            Mode::Words => [SENDERS, CLIENTS, WORDS].concat(),
            Mode::Stamp => [SENDERS, CLIENTS, KEYED].concat(),
            Mode::Server => [LISTENERS, SERVERS].concat(),
            Mode::Reflector => [LISTENERS, SERVERS, KEYED].concat(),
            Mode::Heartbeat => [SENDERS, KEYED, HEARTBEAT].concat(),
            Mode::Monitor => [LISTENERS, KEYED, MONITOR].concat(),
        }
    }

    /// An option that was given for nothing.
    fn check(self, matches: &ArgMatches) -> Result<(), Error> {
        let own = self.options();
        let all = [
            SENDERS, CLIENTS, LISTENERS, SERVERS, KEYED, WORDS, HEARTBEAT, MONITOR,
        ];
        let strange = all.concat().into_iter().find(|option| {
            let source = matches.value_source(option);
            source == Some(ValueSource::CommandLine) && !own.contains(option)
        });
        let Some(option) = strange else {
            return Ok(());
        };
        let option = match option {
            "host" => "HOST".to_owned(),
            "request_loss" => "--loss".to_owned(),
            option => format!("--{}", option.replace('_', "-")),
        };
        Err(Error::Usage(format!("{option} is not for {self}")))
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Words => "pinging",
            Mode::Stamp => "--stamp",
            Mode::Server => "--server",
            Mode::Reflector => "--reflector",
            Mode::Heartbeat => "--heartbeat",
            Mode::Monitor => "--monitor",
        })
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_micros(10);
    let span = duration::parse(text).map_err(|error| error.to_string())?;
    match span < INTERVAL_MIN {
        true => Err("the shortest interval is 10us".to_owned()),
        false => Ok(span),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("1 to 64 letters, digits, dots, hyphens and underscores"),
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let mode = Mode::of(matches);
    mode.check(matches)?;
    let key = arguments.key_file.as_deref().map(key::read).transpose()?;
    match mode {
        Mode::Words => ping(context, &arguments, arguments.words()),
        Mode::Stamp => ping(context, &arguments, arguments.stamp(key)),
        Mode::Server => serve(context, &arguments, mode, Answerer::words()),
        Mode::Reflector => serve(context, &arguments, mode, Answerer::stamp(key)),
        Mode::Heartbeat => beat(context, &arguments, key),
        Mode::Monitor => {
            let wanted = monitor::Wanted {
                address: arguments.address(MONITOR_PORT),
                plan: roster::Plan {
                    down_after: arguments.down_after,
                    is_authenticated: key.is_some(),
                    senders_max: roster::SENDERS_MAX,
                },
                key,
                metrics: arguments.metrics,
                is_live: arguments.live,
            };
            monitor::run(context, &wanted)
        }
    }
}

fn ping(context: &Context, arguments: &Arguments, dialect: Dialect) -> Result<Status, Error> {
    let (default_port, hop_limit) = match dialect {
        Dialect::Words { .. } => (SERVER_PORT, None),
        Dialect::Stamp { .. } => (STAMP_PORT, Some(STAMP_HOP_LIMIT)),
    };
    let (host, peer) = arguments.peer(context, default_port)?;
    let wanted = client::Wanted {
        host,
        peer,
        dialect,
        plan: arguments.plan(),
        options: Options {
            hop_limit,
            ..arguments.options()
        },
        is_quiet: arguments.quiet,
    };
    client::run(context, &wanted)
}

fn beat(context: &Context, arguments: &Arguments, key: Option<Key>) -> Result<Status, Error> {
    let (_, peer) = arguments.peer(context, MONITOR_PORT)?;
    let interval = arguments.interval.unwrap_or(INTERVAL);
    if interval < INTERVAL_MIN || interval > INTERVAL_MAX {
        let text = "heartbeats come once in 1ms to 1d";
        return Err(Error::Usage(text.to_owned()));
    }
    let own_name = || {
        let name = nix::unistd::gethostname().unwrap_or_default();
        Some(name.to_string_lossy().into_owned()).filter(|name| is_name(name))
    };
    let Some(name) = arguments.name.clone().or_else(own_name) else {
        return Err(Error::Usage(
            "this machine has no name; --name gives one".to_owned(),
        ));
    };
    let wanted = heartbeat::Wanted {
        peer,
        name,
        interval,
        count: arguments.count.filter(|count| *count > 0),
        key,
        options: arguments.options(),
    };
    heartbeat::run(context, &wanted)
}

fn serve(
    context: &Context,
    arguments: &Arguments,
    mode: Mode,
    answerer: Answerer,
) -> Result<Status, Error> {
    let (port, what) = match mode {
        Mode::Reflector => (STAMP_PORT, "STAMP reflector"),
        _ => (SERVER_PORT, "udpping server"),
    };
    let wanted = server::Wanted {
        address: arguments.address(port),
        what,
        is_verbose: arguments.verbose,
    };
    let limit = arguments.rate_limit;
    let gate = Gate::new(limit.unwrap_or(RATE_MAX), limit.is_none());
    let impairment = Impairment::new(&arguments.impairment);
    server::run(context, &wanted, answerer, gate, impairment)
}

impl Arguments {
    fn peer(&self, context: &Context, default_port: u16) -> Result<(String, SocketAddr), Error> {
        let Some(given) = &self.host else {
            let text = "which HOST? Or one of --server, --reflector, --monitor";
            return Err(Error::Usage(text.to_owned()));
        };
        let wrong = |why: &str| Error::Usage(format!("'{given}' {why}"));
        let (host, port) = split_port(given).ok_or_else(|| wrong("is not HOST or HOST:PORT"))?;
        if let (Some(port), Some(other)) = (port, self.port)
            && port != other
        {
            return Err(wrong(&format!("has another port than -p {other}")));
        }
        let port = port.or(self.port).unwrap_or(default_port);
        if port == 0 {
            return Err(wrong("has port 0, which is nobody's"));
        }
        let family = self.departure.family();
        let peer = resolve(host, port, family, &context.cancel)?[0];
        Ok((host.to_owned(), peer))
    }

    fn address(&self, default_port: u16) -> SocketAddr {
        let address = self.bind.unwrap_or(Ipv4Addr::LOCALHOST.into());
        SocketAddr::new(address, self.port.unwrap_or(default_port))
    }

    fn options(&self) -> Options {
        Options {
            traffic_class: self.dscp.map(|dscp| dscp << 2),
            ..self.departure.options()
        }
    }

    fn words(&self) -> Dialect {
        let default = match self.plain {
            true => 0,
            false => ping_pong::EXTENDED_OCTETS,
        };
        Dialect::Words {
            // Where the server has no room to answer, it is not asked what it sees.
            session: (!self.plain && self.size.is_none_or(|size| size >= SESSION_OCTETS_MIN))
                .then(|| random() as u32),
            octets: self.size.map_or(default, usize::from),
        }
    }

    fn stamp(&self, key: Option<Key>) -> Dialect {
        let least = stamp::base_octets(key.as_ref());
        Dialect::Stamp {
            // RFC 8972 section 3: 0 would be none.
            session: (random() as u16).max(1),
            octets: self.size.map_or(least, usize::from).max(least),
            key,
        }
    }

    fn plan(&self) -> Plan {
        let by_rate = self.rate.map(|rate| INTERVAL / rate);
        Plan {
            count: match self.count.unwrap_or(COUNT) {
                0 => None,
                count => Some(count),
            },
            interval: self.interval.or(by_rate).unwrap_or(INTERVAL),
            timeout: self.timeout.unwrap_or(TIMEOUT),
        }
    }
}
