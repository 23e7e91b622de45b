//! What ping tells, in iputils' words, and what iputils does not tell.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use serde::Serialize;

use super::probes::Probes;
use super::verdict::{ALL_ANSWERED, Facts, Oddities};
use crate::measure::chart::{bar, bins, sparkline};
use crate::measure::loss;
use crate::output::{self, Tone};

/// Round-trip times in the picture under the statistics.
const SPARKLINE_MAX: usize = 60;
const BINS: usize = 12;

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
        octets: usize,
        from: String,
        icmp_seq: u64,
        ttl: Option<u8>,
        rtt_ms: f64,
        duplicate: bool,
        /// Seconds since 1970, where asked for.
        wall: Option<f64>,
    },
    /// It has this ping's identifier, but does not count.
    NotCounted {
        octets: usize,
        from: String,
        icmp_seq: u64,
        why: String,
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

#[derive(Serialize)]
pub(super) struct Statistics {
    host: String,
    address: IpAddr,
    transmitted: u64,
    received: u64,
    duplicates: u64,
    corrupted: u64,
    errors: u64,
    not_counted: u64,
    reordered: u64,
    suspended: u64,
    loss_percent: f64,
    /// The true loss, with 95 % confidence.
    loss_percent_low: f64,
    loss_percent_high: f64,
    loss_runs: u64,
    loss_run_longest: u64,
    outage_ms: f64,
    time_ms: u64,
    #[serde(flatten)]
    rtt: Option<RttSummary>,
    pipe: u64,
    /// Between requests, and the weighted mean of times, of a flood or an adaptive ping.
    #[serde(skip_serializing_if = "Option::is_none")]
    ipg_ewma_ms: Option<(f64, f64)>,
    /// The newest, `null` where there was no answer.
    last_ms: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<Vec<Bin>>,
    pub(super) verdict: String,
}

#[derive(Serialize)]
struct RttSummary {
    min_ms: f64,
    avg_ms: f64,
    max_ms: f64,
    mdev_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    jitter_ms: f64,
}

#[derive(Serialize)]
struct Bin {
    from_ms: f64,
    count: u64,
}

/// Beside the counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) histogram: bool,
    pub(super) ipg: bool,
}

impl Statistics {
    pub(super) fn of(
        host: &str,
        address: IpAddr,
        probes: &Probes,
        oddities: &Oddities,
        wanted: Wanted,
        now: Instant,
    ) -> Statistics {
        let (tally, rtts) = (&probes.tally, &probes.rtts);
        let losses = probes.losses(now);
        let (low, high) = loss::interval(losses.lost, losses.sent);
        let [p50, p90, p99] = rtts.percentiles([50.0, 90.0, 99.0]);
        let facts = Facts {
            transmitted: tally.transmitted,
            received: tally.received,
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            suspended: tally.suspended,
            losses: &losses,
            p50,
            p90,
            oddities,
            host: address,
        };
        let elapsed_ms = probes.elapsed().as_secs_f64() * 1e3;
        let gaps = tally.transmitted.saturating_sub(1).max(1) as f64;
        Statistics {
            host: host.to_owned(),
            address,
            transmitted: tally.transmitted,
            received: tally.received,
            duplicates: tally.duplicates,
            corrupted: tally.corrupted,
            errors: tally.errors,
            not_counted: oddities.strange,
            reordered: tally.reordered,
            suspended: tally.suspended,
            loss_percent: probes.loss_percent(),
            loss_percent_low: rounded(low),
            loss_percent_high: rounded(high),
            loss_runs: losses.runs,
            loss_run_longest: losses.longest,
            outage_ms: rounded(losses.outage.as_secs_f64() * 1e3),
            time_ms: elapsed_ms as u64,
            rtt: (rtts.count > 0).then(|| RttSummary {
                min_ms: rounded(rtts.min),
                avg_ms: rounded(rtts.average),
                max_ms: rounded(rtts.max),
                mdev_ms: rounded(rtts.deviation()),
                p50_ms: rounded(p50),
                p90_ms: rounded(p90),
                p99_ms: rounded(p99),
                jitter_ms: rounded(rtts.jitter),
            }),
            pipe: tally.pipe,
            ipg_ewma_ms: (wanted.ipg && tally.transmitted > 1)
                .then(|| (rounded(elapsed_ms / gaps), rounded(rtts.smoothed))),
            last_ms: probes.last(SPARKLINE_MAX),
            histogram: wanted.histogram.then(|| {
                let bins = bins(rtts.samples(), BINS);
                let bin = |(from, count)| Bin {
                    from_ms: rounded(from),
                    count,
                };
                bins.into_iter().map(bin).collect()
            }),
            verdict: facts.verdict(),
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.received > 0
    }

    pub(super) fn is_all_answered(&self) -> bool {
        self.received == self.transmitted
    }
}

/// To a nanosecond, which is what the clock can tell.
fn rounded(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
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
                octets,
                from,
                icmp_seq,
                why,
            } => write!(
                f,
                "{octets} bytes from {from}: icmp_seq={icmp_seq} ({why}), not counted"
            ),
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

/// First iputils' lines, then what it does not tell.
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
        if let Some(rtt) = &self.rtt {
            rtt.fmt(f)?;
        }
        let mut separator = if self.rtt.is_some() { ", " } else { "\n" };
        if self.pipe > 1 {
            write!(f, "{separator}pipe {}", self.pipe)?;
            separator = ", ";
        }
        if let Some((ipg, ewma)) = self.ipg_ewma_ms {
            write!(f, "{separator}ipg/ewma {ipg:.3}/{ewma:.3} ms")?;
        }
        self.fmt_more(f)?;
        write!(f, "\n{}", self.verdict)
    }
}

impl Statistics {
    fn fmt_more(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rtt) = self.rtt.as_ref().filter(|_| self.received > 1) {
            let (p50, p90, p99) = (rtt.p50_ms, rtt.p90_ms, rtt.p99_ms);
            let jitter = rtt.jitter_ms;
            write!(
                f,
                "\np50/p90/p99 = {p50:.3}/{p90:.3}/{p99:.3} ms, jitter {jitter:.3} ms"
            )?;
            let shown = self.last_ms.len();
            write!(
                f,
                "\nlast {shown}: {}",
                sparkline(self.last_ms.iter().copied())
            )?;
        }
        if self.loss_runs > 0 && self.received > 0 {
            write!(
                f,
                "\nloss {:.1} to {:.1}% with 95% confidence; {}, the longest of {}; {} without answers",
                self.loss_percent_low,
                self.loss_percent_high,
                counted(self.loss_runs, "run"),
                self.loss_run_longest,
                crate::duration::human(std::time::Duration::from_secs_f64(self.outage_ms / 1e3)),
            )?;
        }
        let counts = [
            (self.reordered, "out of order"),
            (self.not_counted, "not counted"),
            (self.suspended, "slept through"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !told.is_empty() {
            write!(f, "\n{}", told.join(", "))?;
        }
        for line in self.histogram.iter().flat_map(|bins| histogram(bins)) {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RttSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, avg, max, mdev) = (self.min_ms, self.avg_ms, self.max_ms, self.mdev_ms);
        write!(
            f,
            "\nrtt min/avg/max/mdev = {min:.3}/{avg:.3}/{max:.3}/{mdev:.3} ms"
        )
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn histogram(bins: &[Bin]) -> impl Iterator<Item = String> {
    const WIDTH: usize = 40;
    let max = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    bins.iter().map(move |bin| {
        let line = format!(
            "{:>10.3} ms {:>8} {}",
            bin.from_ms,
            bin.count,
            bar(bin.count, max, WIDTH)
        );
        line.trim_end().to_owned()
    })
}

fn fmt_table(f: &mut fmt::Formatter<'_>, hosts: &[Statistics]) -> fmt::Result {
    const LAST: usize = 20;
    let label = |host: &Statistics| match host.host == host.address.to_string() {
        true => host.host.clone(),
        false => format!("{} ({})", host.host, host.address),
    };
    let width = hosts.iter().map(|host| label(host).chars().count()).max();
    let width = width.unwrap_or(0).max(4);
    let head = ["min", "avg", "p90", "max", "jitter"];
    write!(f, "\n{:width$}  {:>5}  {:>6}", "host", "sent", "loss")?;
    for name in head {
        write!(f, "  {name:>7}")?;
    }
    write!(f, "  last")?;
    for host in hosts {
        let loss = format!("{:.1}%", host.loss_percent);
        write!(
            f,
            "\n{:width$}  {:>5}  {loss:>6}",
            label(host),
            host.transmitted
        )?;
        let times = host.rtt.as_ref().map(|rtt| {
            let times = [
                rtt.min_ms,
                rtt.avg_ms,
                rtt.p90_ms,
                rtt.max_ms,
                rtt.jitter_ms,
            ];
            times.map(|ms| format!("{}", Milliseconds(ms)))
        });
        for time in times.unwrap_or_else(|| head.map(|_| "-".to_owned())) {
            write!(f, "  {time:>7}")?;
        }
        let skipped = host.last_ms.len().saturating_sub(LAST);
        write!(
            f,
            "  {}",
            sparkline(host.last_ms.iter().skip(skipped).copied())
        )?;
    }
    for host in hosts.iter().filter(|host| host.verdict != ALL_ANSWERED) {
        write!(f, "\n{}: {}", host.host, host.verdict)?;
    }
    Ok(())
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

/// Three significant digits at least, as iputils prints times.
pub(super) struct Milliseconds(pub(super) f64);

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
    fn a_reply_as_iputils_prints_it() {
        let reply = Event::Reply {
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
