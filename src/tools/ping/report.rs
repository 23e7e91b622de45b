//! What ping tells, in iputils' words, and what iputils does not tell.

use std::fmt;

use serde::Serialize;

use super::statistics::{Statistics, fmt_table};
use crate::measure::figure::{Milliseconds, Percent};
use crate::output::{self, Tone};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Start {
        host: String,
        address: String,
        source: Option<String>,
        interface: Option<String>,
        payload_octets: usize,
        packet_octets: Option<usize>,
    },
    Pattern {
        pattern: String,
    },
    /// Several hosts are followed.
    StartMany {
        hosts: usize,
        payload_octets: usize,
    },
    Reply {
        /// As it was given, where there are several.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        octets: usize,
        from: String,
        icmp_seq: u64,
        ttl: Option<u8>,
        rtt_ms: f64,
        duplicate: bool,
        /// Seconds since 1970, where asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        wall: Option<f64>,
    },
    /// It has this ping's identifier, but does not count.
    NotCounted {
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        octets: usize,
        from: String,
        icmp_seq: u64,
        why: String,
    },
    /// An ICMP error about a request.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        from: String,
        icmp_seq: u64,
        problem: String,
    },
    /// The system did not send a request.
    SendError {
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        icmp_seq: u64,
        problem: String,
    },
    NoAnswerYet {
        host: Option<String>,
        icmp_seq: u64,
    },
    /// On SIGQUIT.
    Interim {
        host: Option<String>,
        received: u64,
        transmitted: u64,
        loss_percent: f64,
        min_ms: f64,
        avg_ms: f64,
        ewma_ms: f64,
        max_ms: f64,
    },
    Statistics(Box<Statistics>),
    /// Of several hosts.
    Summary {
        hosts: Vec<Statistics>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                host,
                address,
                source,
                interface,
                payload_octets,
                packet_octets,
            } => {
                write!(f, "PING {host} ({address}) ")?;
                if let Some(source) = source {
                    let interface = interface.as_deref().unwrap_or_default();
                    write!(f, "from {source} {interface}: ")?;
                }
                match packet_octets {
                    Some(packet) => write!(f, "{payload_octets}({packet}) bytes of data."),
                    None => write!(f, "{payload_octets} data bytes"),
                }
            }
            Event::Pattern { pattern } => write!(f, "PATTERN: 0x{pattern}"),
            Event::StartMany {
                hosts,
                payload_octets,
            } => {
                write!(
                    f,
                    "PING {hosts} hosts, {payload_octets} bytes of data each."
                )
            }
            Event::Reply {
                host: _,
                octets,
                from,
                icmp_seq,
                ttl,
                rtt_ms,
                duplicate,
                wall,
            } => {
                if let Some(wall) = wall {
                    write!(f, "[{wall:.6}] ")?;
                }
                write!(f, "{octets} bytes from {from}: icmp_seq={icmp_seq}")?;
                if let Some(ttl) = ttl {
                    write!(f, " ttl={ttl}")?;
                }
                write!(f, " time={} ms", Milliseconds(*rtt_ms))?;
                if *duplicate {
                    f.write_str(" (DUP!)")
                } else {
                    Ok(())
                }
            }
            Event::NotCounted {
                host: _,
                octets,
                from,
                icmp_seq,
                why,
            } => write!(
                f,
                "{octets} bytes from {from}: icmp_seq={icmp_seq} ({why}), not counted"
            ),
            Event::Error {
                host: _,
                from,
                icmp_seq,
                problem,
            } => {
                write!(f, "From {from} icmp_seq={icmp_seq} {problem}")
            }
            Event::SendError {
                host,
                icmp_seq,
                problem,
            } => {
                let host = host.as_deref().unwrap_or("ping");
                write!(f, "{host}: icmp_seq={icmp_seq} was not sent: {problem}")
            }
            Event::NoAnswerYet { host, icmp_seq } => {
                if let Some(host) = host {
                    write!(f, "{host}: ")?;
                }
                write!(f, "no answer yet for icmp_seq={icmp_seq}")
            }
            Event::Interim {
                host,
                received,
                transmitted,
                loss_percent,
                min_ms,
                avg_ms,
                ewma_ms,
                max_ms,
            } => {
                if let Some(host) = host {
                    write!(f, "{host}: ")?;
                }
                let loss = Percent(loss_percent.trunc());
                write!(f, "{received}/{transmitted} packets, {loss}% loss")?;
                if *received > 0 {
                    let figures = format!("{min_ms:.3}/{avg_ms:.3}/{ewma_ms:.3}/{max_ms:.3}");
                    write!(f, ", min/avg/ewma/max = {figures} ms")?;
                }
                Ok(())
            }
            Event::Statistics(statistics) => statistics.fmt(f),
            Event::Summary { hosts } => fmt_table(f, hosts),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        let of_statistics = |statistics: &Statistics| match statistics {
            _ if !statistics.is_answered() => Tone::Bad,
            _ if statistics.is_all_answered() => Tone::Plain,
            _ => Tone::Caution,
        };
        match self {
            Event::Reply { duplicate, .. } if *duplicate => Tone::Caution,
            Event::Start { .. }
            | Event::StartMany { .. }
            | Event::Pattern { .. }
            | Event::Interim { .. }
            | Event::Reply { .. } => Tone::Plain,
            Event::NotCounted { .. } | Event::NoAnswerYet { .. } => Tone::Caution,
            Event::Error { .. } | Event::SendError { .. } => Tone::Bad,
            Event::Statistics(statistics) => of_statistics(statistics),
            Event::Summary { .. } => Tone::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_as_iputils_prints_it() {
        let reply = Event::Reply {
            host: None,
            octets: 64,
            from: "127.0.0.1".to_owned(),
            icmp_seq: 1,
            ttl: Some(64),
            rtt_ms: 0.031,
            duplicate: true,
            wall: Some(1_795_212_653.943_494),
        };
        let line =
            "[1795212653.943494] 64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.031 ms (DUP!)";
        assert_eq!(reply.to_string(), line);
    }
}
