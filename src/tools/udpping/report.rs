//! What a udpping tells of each datagram.

use std::fmt;

use serde::Serialize;

use super::statistics::Statistics;
use crate::measure::figure::Milliseconds;
use crate::output::{self, Tone};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Start {
        host: String,
        address: String,
        octets: usize,
        interval_ms: f64,
        count: Option<u64>,
        authenticated: bool,
    },
    Reply {
        /// As it was sent: `PING 1 14:05:09`, `STAMP 0`.
        request: String,
        sequence_number: u32,
        from: String,
        rtt_ms: f64,
        late: bool,
    },
    Duplicate {
        request: String,
        sequence_number: u32,
        from: String,
    },
    TimedOut {
        request: String,
        sequence_number: u32,
    },
    /// By ICMP.
    Refused {
        request: String,
        sequence_number: u32,
        from: String,
        icmp_type: u8,
        icmp_code: u8,
        problem: String,
        after_ms: f64,
    },
    SendError {
        request: String,
        sequence_number: u32,
        problem: String,
    },
    Statistics(Box<Statistics>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                host,
                address,
                octets,
                interval_ms,
                count,
                authenticated,
            } => {
                write!(f, "UDPPING {host} ({address}): ")?;
                match count {
                    Some(1) => f.write_str("1 datagram")?,
                    Some(count) => write!(f, "{count} datagrams")?,
                    None => f.write_str("datagrams")?,
                }
                write!(
                    f,
                    " of {octets} octets, one each {} ms",
                    Interval(*interval_ms)
                )?;
                f.write_str(if *authenticated {
                    ", authenticated"
                } else {
                    ""
                })
            }
            Event::Reply {
                request,
                from,
                rtt_ms,
                late,
                ..
            } => {
                write!(
                    f,
                    "{request}: {} from {from}, RTT {} ms",
                    answer(request),
                    Milliseconds(*rtt_ms)
                )?;
                f.write_str(if *late { " (late)" } else { "" })
            }
            Event::Duplicate { request, from, .. } => {
                write!(f, "{request}: {} from {from} once more", answer(request))
            }
            Event::TimedOut { request, .. } => write!(f, "{request}: request timed out"),
            Event::Refused {
                request,
                from,
                icmp_type,
                icmp_code,
                problem,
                after_ms,
                ..
            } => write!(
                f,
                "{request}: {from} says '{problem}' (ICMP type {icmp_type} code {icmp_code}, after {} ms)",
                Milliseconds(*after_ms)
            ),
            Event::SendError {
                request, problem, ..
            } => write!(f, "{request}: not sent: {problem}"),
            Event::Statistics(statistics) => statistics.fmt(f),
        }
    }
}

fn answer(request: &str) -> &'static str {
    match request.starts_with("PING") {
        true => "pong",
        false => "reply",
    }
}

/// As short as it can be told.
struct Interval(f64);

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Start { .. } => Tone::Plain,
            Event::Reply { late, .. } if !late => Tone::Plain,
            Event::Reply { .. } | Event::Duplicate { .. } | Event::TimedOut { .. } => Tone::Caution,
            Event::Refused { .. } | Event::SendError { .. } => Tone::Bad,
            Event::Statistics(statistics) => statistics.tone(),
        }
    }
}
