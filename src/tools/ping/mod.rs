//! `ping`: ICMP echo (RFC 792, RFC 4443) to one host, to many, or to whole ranges.

mod answer;
mod mtu;
mod probes;
mod report;
mod statistics;
mod sweep;
mod targets;
mod verdict;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};
use nix::unistd::geteuid;

use crate::net::icmp::Options;
use crate::net::option::Fragmentation;
use crate::net::resolve::resolve;
use crate::net::udp;
use crate::path::departure::Departure;
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::wire::icmp::{ECHO_HEADER_OCTETS, Version};
use crate::{clock, duration};
use probes::{Pace, Plan};
use report::Event;
use statistics::Wanted;
use targets::Target;
use watch::{Telling, Watch};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "ping",
        summary: "ask hosts to answer, and time the answers",
        group: Group::Network,
        examples: &[
            Example {
                line: "ping -c 4 127.0.0.1",
                what: "four times",
            },
            Example {
                line: "ping -c 3 -i 0.2 127.0.0.1 ::1 localhost",
                what: "several hosts, with a table at the end",
            },
            Example {
                line: "ping 127.0.0.0/24",
                what: "who is there? all 256 addresses at once",
            },
            Example {
                line: "ping --alive 127.0.0.0/28",
                what: "the same as a bare list",
            },
            Example {
                line: "ping --mtu 127.0.0.1",
                what: "the largest packet that the path takes",
            },
            Example {
                line: "ping -q -c 1000 --flood --histogram 127.0.0.1",
                what: "as fast as answers come, and how they are spread",
            },
        ],
        statuses: &[
            (
                Status::NEGATIVE,
                "a host did not reply, or of a range none did",
            ),
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
const PATTERN_OCTETS_MAX: usize = 16;
const IPV4_HEADER_OCTETS: usize = 20;
/// Requests on their way at once that `--preload` may ask for.
const PRELOAD_MAX: u64 = 16_384;
/// For following a host, and for asking a whole range.
const TIMEOUT: Duration = Duration::from_secs(2);
const SWEEP_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Parser)]
struct Arguments {
    /// Names, addresses, or ranges like 10.0.0.0/24
    #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
    hosts: Vec<String>,
    /// More of them, one a line; - reads stdin
    #[arg(short, long, value_name = "LIST", value_hint = ValueHint::FilePath)]
    file: Vec<PathBuf>,
    /// How many requests to each host; without it until Ctrl-C, and a range is only searched
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Between requests to a host, in a search between any two; seconds, or with a unit [default: 1, in a search 0]
    #[arg(short, long, value_name = "SPAN", value_parser = interval)]
    interval: Option<Duration>,
    /// How long to wait for a reply [default: 2, in a search 0.5]
    #[arg(short, long, visible_short_alias = 'W', value_name = "SPAN", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// When to end, whatever was answered
    #[arg(short = 'w', long, value_name = "SPAN", value_parser = duration::parse)]
    deadline: Option<Duration>,
    /// Octets of payload in each request
    #[arg(
        short,
        long,
        value_name = "OCTETS",
        value_parser = clap::value_parser!(u16).range(0..=PAYLOAD_OCTETS_MAX),
        default_value = "56"
    )]
    size: u16,
    /// Fill the payload with these hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = pattern)]
    pattern: Option<Pattern>,
    /// Time to live, or hop limit
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// Traffic class, the octet with DSCP and ECN; decimal or 0x..
    #[arg(short = 'Q', long, value_name = "CLASS", value_parser = octet)]
    tos: Option<u8>,
    #[command(flatten)]
    departure: Departure,
    /// Addresses only, no names for them
    #[arg(short, long)]
    numeric: bool,
    /// When each reply came, in seconds since 1970
    #[arg(short = 'D', long)]
    stamps: bool,
    /// Say which requests are not answered when the next one leaves
    #[arg(short = 'O', long)]
    outstanding: bool,
    /// Only the statistics
    #[arg(short, long)]
    quiet: bool,
    /// Ask again as soon as the last request is answered
    #[arg(short = 'A', long, conflicts_with_all = ["flood", "interval"])]
    adaptive: bool,
    /// Ask as fast as answers come, at least 100 times a second; without a line for each
    #[arg(long, conflicts_with = "interval")]
    flood: bool,
    /// So many requests without waiting for replies
    #[arg(short = 'l', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=PRELOAD_MAX), default_value = "1")]
    preload: u64,
    /// Whether packets may be fragmented
    #[arg(short = 'M', long, value_name = "HOW")]
    df: Option<Fragmentation>,
    /// Measure the largest packet that the path takes, and name the hop that sets it
    #[arg(long, conflicts_with_all = ["flood", "adaptive", "alive", "dead", "df", "count", "size"])]
    mtu: bool,
    /// Ring the terminal's bell at each reply
    #[arg(short = 'a', long)]
    audible: bool,
    /// How the times are spread
    #[arg(long)]
    histogram: bool,
    /// Search, and print nothing but the addresses that answer
    #[arg(long, conflicts_with = "count")]
    alive: bool,
    /// Search, and print nothing but the addresses that do not answer
    #[arg(long, conflicts_with_all = ["count", "alive"])]
    dead: bool,
    /// In a search, how often an address is asked that does not answer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20), default_value = "2")]
    tries: u8,
    /// Search more than 65,536 addresses
    #[arg(long)]
    large: bool,
}

/// Faster than this is a flood.
fn interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(1);
    let span = duration::parse(text).map_err(|error| error.to_string())?;
    if span < INTERVAL_MIN {
        Err("the shortest interval is 1ms; --flood goes faster".to_owned())
    } else {
        Ok(span)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<u8>);

fn pattern(text: &str) -> Result<Pattern, String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    match digits {
        Some(digits) if (1..=2 * PATTERN_OCTETS_MAX).contains(&digits.len()) => {
            // A single digit at the end is an octet, as in other pings.
            let octet = |pair: &[u8]| pair.iter().fold(0, |octet, digit| octet << 4 | digit);
            Ok(Pattern(digits.chunks(2).map(octet).collect()))
        }
        _ => Err("1 to 32 hexadecimal digits, like ff00".to_owned()),
    }
}

fn octet(text: &str) -> Result<u8, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a number from 0 to 255, or 0x00 to 0xff".to_owned())
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let targets = targets::read(context, &arguments)?;
    let has_ranges = targets
        .iter()
        .any(|target| matches!(target, Target::Range(_)));
    if arguments.mtu {
        return mtu::run(context, &arguments, &targets);
    }
    if arguments.alive || arguments.dead || (has_ranges && arguments.count.is_none()) {
        return sweep::run(context, &arguments, &targets);
    }
    let hosts = targets::hosts(&targets)?;
    let is_single = hosts.len() == 1;
    let resolved = targets::resolve_all(context, &arguments, &hosts);
    let mut known = Vec::new();
    let mut unknown = false;
    for (host, address) in hosts.into_iter().zip(resolved) {
        match address {
            Ok(address) => known.push((host, address)),
            // The others are asked all the same.
            Err(Error::Unavailable(why)) if !is_single => {
                unknown = true;
                context.out.warn(format!("ping: {why}"));
            }
            Err(error) => return Err(error),
        }
    }
    if known.is_empty() {
        return Err(Error::Unavailable(
            "none of the names has an address".to_owned(),
        ));
    }
    let status = watch(context, &arguments, known)?;
    Ok(if unknown && status.is_ok() {
        Status::NEGATIVE
    } else {
        status
    })
}

fn watch(
    context: &Context,
    arguments: &Arguments,
    hosts: Vec<(String, SocketAddr)>,
) -> Result<Status, Error> {
    let size = usize::from(arguments.size);
    if hosts.len() > 1 && size < answer::COOKIE_OCTETS {
        let octets = answer::COOKIE_OCTETS;
        let text = format!(
            "several hosts are told apart by {octets} octets of payload; take -s {octets} or more"
        );
        return Err(Error::Usage(text));
    }
    let is_local = hosts.iter().all(|(_, address)| address.ip().is_loopback());
    if arguments.flood && !is_local && !geteuid().is_root() {
        let text = "flooding other machines is for root; -i 0.002 asks 500 times a second";
        return Err(Error::NotPermitted(text.to_owned()));
    }
    let options = arguments.options();
    if let Some(Pattern(octets)) = &arguments.pattern {
        let pattern = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        context.out.emit(&Event::Pattern { pattern });
    }
    let telling = Telling {
        quiet: arguments.quiet || arguments.flood,
        flood: arguments.flood,
        stamps: arguments.stamps,
        no_answer_yet: arguments.outstanding,
        audible: arguments.audible,
        wanted: Wanted {
            histogram: arguments.histogram,
            ipg: arguments.flood || arguments.adaptive,
        },
    };
    let template = arguments.payload();
    let first = hosts[0].clone();
    let count = hosts.len();
    let mut watch = Watch::open(
        context,
        hosts,
        template,
        arguments.plan(),
        &options,
        telling,
    )?;
    context.out.emit(&match count {
        1 => arguments.start(&first.0, first.1, &options)?,
        hosts => Event::StartMany {
            hosts,
            payload_octets: size,
        },
    });
    let is_name = first.0.parse::<IpAddr>().is_err();
    if is_name && !arguments.numeric {
        watch.name_addresses();
    }
    let ended = watch.run();
    let mut statistics = watch.statistics();
    let all_answered = statistics.iter().all(|host| match arguments.deadline {
        // All that were asked for, where time was limited.
        Some(_) if arguments.count.is_some() => host.is_all_answered(),
        _ => host.is_answered(),
    });
    let is_unsent = statistics.iter().all(|host| host.is_unsent);
    context.out.emit(&match statistics.len() {
        1 => Event::Statistics(Box::new(statistics.remove(0))),
        _ => Event::Summary { hosts: statistics },
    });
    ended?;
    if is_unsent {
        return Ok(Status::UNAVAILABLE);
    }
    Ok(if all_answered {
        Status::OK
    } else {
        Status::NEGATIVE
    })
}

impl Arguments {
    fn resolve(&self, context: &Context, host: &str) -> Result<SocketAddr, Error> {
        let mut peer = resolve(host, 0, self.departure.family(), &context.cancel)?[0];
        // "0" is this host, as in other pings.
        if peer.ip().is_unspecified() {
            peer.set_ip(match peer.is_ipv4() {
                true => Ipv4Addr::LOCALHOST.into(),
                false => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(peer)
    }

    fn options(&self) -> Options {
        Options {
            hop_limit: self.ttl,
            traffic_class: self.tos,
            fragmentation: self.df,
            // A flood has no time for a second call for each packet.
            transmit_stamps: !self.flood,
            large_buffer: self.flood || self.preload > 1,
            ..self.departure.options()
        }
    }

    fn plan(&self) -> Plan {
        let pace = match (self.flood, self.adaptive) {
            (true, _) => Pace::Flood,
            (_, true) => Pace::Adaptive,
            _ => Pace::Steady,
        };
        Plan {
            count: self.count,
            pace,
            interval: self.interval.unwrap_or(Duration::from_secs(1)),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            deadline: self.deadline.map(|span| clock::now() + span),
            preload: self.preload,
        }
    }

    /// What a request holds; the cookie comes over its beginning.
    fn payload(&self) -> Vec<u8> {
        let octets = usize::from(self.size);
        match &self.pattern {
            Some(Pattern(pattern)) => pattern.iter().copied().cycle().take(octets).collect(),
            None => (0..octets).map(|index| index as u8).collect(),
        }
    }

    fn start(&self, host: &str, peer: SocketAddr, options: &Options) -> Result<Event, Error> {
        let message = ECHO_HEADER_OCTETS + usize::from(self.size);
        let source = match &self.departure.from {
            Some(_) => Some(udp::source_towards(peer, options)?.to_string()),
            None => None,
        };
        Ok(Event::Start {
            host: host.to_owned(),
            address: peer.ip().to_string(),
            source,
            interface: options.interface.clone(),
            payload_octets: usize::from(self.size),
            packet_octets: (Version::of(peer.ip()) == Version::V4)
                .then_some(message + IPV4_HEADER_OCTETS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_hexadecimal() {
        let octets = |text: &str| pattern(text).map(|Pattern(octets)| octets);
        assert_eq!(octets("ff00"), Ok(vec![0xff, 0]));
        assert_eq!(octets("abc"), Ok(vec![0xab, 0xc]));
        for wrong in ["", "xy", "é", &"0".repeat(33)] {
            assert!(octets(wrong).is_err(), "{wrong}");
        }
    }
}
