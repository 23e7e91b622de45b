//! What ping tells, in iputils' words.

use std::fmt;

use serde::Serialize;

use super::probes::Probes;
use crate::output::{self, Tone};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Start {
        host: String,
        address: String,
        payload_octets: usize,
        packet_octets: Option<usize>,
    },
    Reply {
        octets: usize,
        from: String,
        icmp_seq: u64,
        ttl: Option<u8>,
        rtt_ms: f64,
        duplicate: bool,
    },
    /// An ICMP error about a request.
    Error {
        from: String,
        icmp_seq: u64,
        problem: String,
    },
    /// The system did not send a request.
    SendError {
        icmp_seq: u64,
        problem: String,
    },
    Corrupted {
        from: String,
        problem: String,
    },
    Statistics(Statistics),
}

#[derive(Serialize)]
pub(super) struct Statistics {
    host: String,
    transmitted: u64,
    received: u64,
    duplicates: u64,
    corrupted: u64,
    errors: u64,
    loss_percent: f64,
    time_ms: u64,
    #[serde(flatten)]
    rtt: Option<RttSummary>,
    pipe: u64,
}

#[derive(Serialize)]
struct RttSummary {
    min_ms: f64,
    avg_ms: f64,
    max_ms: f64,
    mdev_ms: f64,
}

impl Statistics {
    pub(super) fn of(host: &str, probes: &Probes) -> Statistics {
        let tally = &probes.tally;
        Statistics {
            host: host.to_owned(),
            transmitted: tally.transmitted,
            received: tally.received,
            duplicates: tally.duplicates,
            corrupted: tally.corrupted,
            errors: tally.errors,
            loss_percent: tally.loss_percent(),
            time_ms: u64::try_from(probes.elapsed().as_millis()).unwrap_or(u64::MAX),
            rtt: tally.rtt.map(|rtt| RttSummary {
                min_ms: to_nanoseconds(rtt.min),
                avg_ms: to_nanoseconds(rtt.average()),
                max_ms: to_nanoseconds(rtt.max),
                mdev_ms: to_nanoseconds(rtt.deviation()),
            }),
            pipe: tally.pipe,
        }
    }
}

/// Rounded to what the clock can tell.
fn to_nanoseconds(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                host,
                address,
                payload_octets,
                packet_octets: Some(packet),
            } => {
                write!(
                    f,
                    "PING {host} ({address}) {payload_octets}({packet}) bytes of data."
                )
            }
            Event::Start {
                host,
                address,
                payload_octets,
                packet_octets: None,
            } => {
                write!(f, "PING {host} ({address}) {payload_octets} data bytes")
            }
            Event::Reply {
                octets,
                from,
                icmp_seq,
                ttl,
                rtt_ms,
                duplicate,
            } => {
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
            Event::Error {
                from,
                icmp_seq,
                problem,
            } => {
                write!(f, "From {from} icmp_seq={icmp_seq} {problem}")
            }
            Event::SendError { icmp_seq, problem } => {
                write!(f, "ping: icmp_seq={icmp_seq} was not sent: {problem}")
            }
            Event::Corrupted { from, problem } => {
                write!(f, "ping: a reply from {from} is not counted: {problem}")
            }
            Event::Statistics(statistics) => statistics.fmt(f),
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n--- {} ping statistics ---\n", self.host)?;
        write!(
            f,
            "{} packets transmitted, {} received",
            self.transmitted, self.received
        )?;
        for (count, what) in [
            (self.duplicates, "duplicates"),
            (self.corrupted, "corrupted"),
            (self.errors, "errors"),
        ] {
            if count > 0 {
                write!(f, ", +{count} {what}")?;
            }
        }
        write!(
            f,
            ", {}% packet loss, time {}ms",
            Percent(self.loss_percent),
            self.time_ms
        )?;
        if let Some(RttSummary {
            min_ms,
            avg_ms,
            max_ms,
            mdev_ms,
        }) = self.rtt
        {
            let figures = format!("{min_ms:.3}/{avg_ms:.3}/{max_ms:.3}/{mdev_ms:.3}");
            write!(f, "\nrtt min/avg/max/mdev = {figures} ms")?;
        }
        let separator = if self.rtt.is_some() { ", " } else { "\n" };
        if self.pipe > 1 {
            write!(f, "{separator}pipe {}", self.pipe)
        } else {
            Ok(())
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Reply {
                duplicate: false, ..
            }
            | Event::Start { .. } => Tone::Plain,
            Event::Reply { .. } => Tone::Caution,
            Event::Error { .. } | Event::SendError { .. } | Event::Corrupted { .. } => Tone::Bad,
            Event::Statistics(statistics) if statistics.received == 0 => Tone::Bad,
            Event::Statistics(statistics) if statistics.loss_percent > 0.0 => Tone::Caution,
            Event::Statistics(_) => Tone::Plain,
        }
    }
}

/// Three significant digits at least, as iputils prints times.
struct Milliseconds(f64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= 99.95 => write!(f, "{ms:.0}"),
            ms if ms >= 9.995 => write!(f, "{ms:.1}"),
            ms if ms >= 0.9995 => write!(f, "{ms:.2}"),
            ms => write!(f, "{ms:.3}"),
        }
    }
}

/// C's `%g`: six significant digits, no trailing zeros.
pub(super) struct Percent(pub(super) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.0 {
            percent if percent >= 100.0 => 3,
            percent if percent >= 10.0 => 4,
            percent if percent >= 1.0 => 5,
            _ => 6,
        };
        let text = format!("{:.places$}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_iputils_prints_them() {
        let times = [0.0314, 0.9996, 1.5, 9.996, 42.25, 99.96, 1234.5].map(Milliseconds);
        let times: Vec<String> = times.iter().map(ToString::to_string).collect();
        assert_eq!(
            times,
            ["0.031", "1.00", "1.50", "10.0", "42.2", "100", "1234"]
        );
        let percents = [0.0, 100.0, 100.0 / 3.0, 0.5, 100.0 / 7000.0].map(Percent);
        let percents: Vec<String> = percents.iter().map(ToString::to_string).collect();
        assert_eq!(percents, ["0", "100", "33.3333", "0.5", "0.014286"]);
    }

    #[test]
    fn lines_as_iputils_prints_them() {
        let reply = Event::Reply {
            octets: 64,
            from: "127.0.0.1".to_owned(),
            icmp_seq: 1,
            ttl: Some(64),
            rtt_ms: 0.031,
            duplicate: true,
        };
        let line = "64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.031 ms (DUP!)";
        assert_eq!(reply.to_string(), line);
        let statistics = Statistics {
            host: "h".to_owned(),
            transmitted: 3,
            received: 2,
            duplicates: 1,
            corrupted: 0,
            errors: 1,
            loss_percent: 100.0 / 3.0,
            time_ms: 2003,
            rtt: Some(RttSummary {
                min_ms: 0.02,
                avg_ms: 0.0305,
                max_ms: 0.041,
                mdev_ms: 0.01,
            }),
            pipe: 2,
        };
        let text = "\n--- h ping statistics ---\n\
            3 packets transmitted, 2 received, +1 duplicates, +1 errors, 33.3333% packet loss, \
            time 2003ms\n\
            rtt min/avg/max/mdev = 0.020/0.030/0.041/0.010 ms, pipe 2";
        assert_eq!(statistics.to_string(), text);
    }
}
