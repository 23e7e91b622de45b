//! What the answers of a host add up to, as iputils prints it, and more; of several hosts a table.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::probes::Probes;
use super::verdict::{ALL_ANSWERED, Facts, Oddities};
use crate::duration;
use crate::measure::chart::{bar, bins, sparkline};
use crate::measure::figure::{Milliseconds, Percent};
use crate::measure::loss;

/// Round-trip times in the picture under the statistics.
const SPARKLINE_MAX: usize = 60;
const BINS: usize = 12;

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
    /// Nothing has left this machine.
    #[serde(skip)]
    pub(super) is_unsent: bool,
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
            host,
            is_group: address.is_multicast(),
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
            loss_percent_low: to_nanoseconds(low),
            loss_percent_high: to_nanoseconds(high),
            loss_runs: losses.runs,
            loss_run_longest: losses.longest,
            outage_ms: to_nanoseconds(losses.outage.as_secs_f64() * 1e3),
            time_ms: elapsed_ms as u64,
            rtt: (rtts.count > 0).then(|| RttSummary {
                min_ms: to_nanoseconds(rtts.min),
                avg_ms: to_nanoseconds(rtts.average),
                max_ms: to_nanoseconds(rtts.max),
                mdev_ms: to_nanoseconds(rtts.deviation()),
                p50_ms: to_nanoseconds(p50),
                p90_ms: to_nanoseconds(p90),
                p99_ms: to_nanoseconds(p99),
                jitter_ms: to_nanoseconds(rtts.jitter),
            }),
            pipe: tally.pipe,
            ipg_ewma_ms: (wanted.ipg && tally.transmitted > 1).then(|| {
                (
                    to_nanoseconds(elapsed_ms / gaps),
                    to_nanoseconds(rtts.smoothed),
                )
            }),
            last_ms: probes.last(SPARKLINE_MAX),
            histogram: wanted.histogram.then(|| {
                let bins = bins(rtts.samples(), BINS);
                let bin = |(from, count)| Bin {
                    from_ms: to_nanoseconds(from),
                    count,
                };
                bins.into_iter().map(bin).collect()
            }),
            is_unsent: (1..=oddities.not_sent_count).contains(&tally.transmitted),
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
pub(super) fn to_nanoseconds(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
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
                duration::human(Duration::from_secs_f64(self.outage_ms / 1e3)),
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

pub(super) fn fmt_table(f: &mut fmt::Formatter<'_>, hosts: &[Statistics]) -> fmt::Result {
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
