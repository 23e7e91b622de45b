//! What the answers add up to.

use std::fmt;

use serde::Serialize;

use super::client::Wanted;
use super::dialect::Dialect;
use super::peer::Peer;
use super::probes::Probes;
use crate::clock::Timeline;
use crate::measure::chart::sparkline;
use crate::measure::direction::Direction;
use crate::measure::figure::Percent;
use crate::measure::loss;
use crate::measure::one_way::Figures;
use crate::net;
use crate::output::Tone;

/// Round-trip times in the picture.
const SPARKLINE_MAX: usize = 60;
/// Lost datagrams that are named.
const NAMED_MAX: usize = 10;
/// Slower than that, no timer is worth a word.
const PACED_MS_MAX: f64 = 100.0;

/// From coarser stamps no drift can be told.
const GRAIN_NS_MAX: i64 = 1000;

#[derive(Serialize)]
pub(super) struct Statistics {
    host: String,
    address: String,
    sent: u64,
    received: u64,
    lost: u64,
    loss_percent: f64,
    /// The true loss, with 95 % confidence.
    loss_percent_low: f64,
    loss_percent_high: f64,
    loss_runs: u64,
    loss_run_longest: u64,
    late: u64,
    duplicates: u64,
    reordered: u64,
    refused: u64,
    stray: u64,
    strangers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    directions: Option<Directions>,
    #[serde(flatten)]
    rtt: Option<Rtt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_way: Option<OneWay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
    /// Routers on the way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    routers_there: Option<u8>,
    pacing: Pacing,
    last_ms: Vec<Option<f64>>,
    #[serde(skip)]
    is_bursty: bool,
    verdict: String,
}

#[derive(Serialize)]
struct Rtt {
    min_ms: f64,
    avg_ms: f64,
    max_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    jitter_ms: f64,
}

/// Who lost what.
#[derive(Serialize)]
struct Directions {
    requests_lost: u64,
    replies_lost: u64,
    undecided: u64,
    requests_doubled: u64,
    /// The newest of them by number.
    requests: Vec<u32>,
    replies: Vec<u32>,
    restarts: u64,
}

#[derive(Serialize)]
struct OneWay {
    there: Way,
    back: Way,
}

#[derive(Serialize)]
struct Way {
    min_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    jitter_ms: f64,
}

/// The peer's, against ours.
#[derive(Serialize)]
struct Clock {
    offset_ms: f64,
    /// The truth is no farther from that.
    bound_ms: f64,
    drift_ppm: Option<f64>,
    steps: u64,
    last_step_ms: Option<f64>,
}

/// How much later than planned the requests left.
#[derive(Serialize)]
struct Pacing {
    late_avg_ms: f64,
    late_p99_ms: f64,
    late_max_ms: f64,
    /// Later than the next was due.
    behind: u64,
    missed_slots: u64,
    #[serde(skip)]
    is_fast: bool,
}

impl Statistics {
    pub(super) fn of(
        wanted: &Wanted,
        probes: &Probes,
        peer: &Peer,
        timeline: &Timeline,
    ) -> Statistics {
        let tally = &probes.tally;
        let losses = probes.losses();
        let (low, high) = loss::interval(probes.lost(), tally.sent);
        Statistics {
            host: wanted.host.clone(),
            address: wanted.peer.to_string(),
            sent: tally.sent,
            received: tally.received,
            lost: probes.lost(),
            loss_percent: probes.loss_percent(),
            loss_percent_low: low,
            loss_percent_high: high,
            loss_runs: losses.runs,
            loss_run_longest: losses.longest,
            late: tally.late,
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            refused: tally.refused,
            stray: tally.stray,
            strangers: peer.strangers,
            directions: Directions::of(&wanted.dialect, probes, peer),
            rtt: Rtt::of(probes),
            one_way: OneWay::of(peer),
            clock: Clock::of(peer, timeline),
            routers_there: routers(&wanted.dialect, peer),
            pacing: Pacing::of(wanted, probes),
            last_ms: probes.last(SPARKLINE_MAX),
            is_bursty: losses.is_bursty(),
            verdict: verdict(wanted, probes, peer),
        }
    }

    pub(super) fn tone(&self) -> Tone {
        match self.received {
            0 => Tone::Bad,
            received if received == self.sent => Tone::Plain,
            _ => Tone::Caution,
        }
    }
}

impl Rtt {
    fn of(probes: &Probes) -> Option<Rtt> {
        let rtts = &probes.rtts;
        let [p50_ms, p90_ms, p99_ms] = rtts.percentiles([50.0, 90.0, 99.0]);
        (rtts.count > 0).then_some(Rtt {
            min_ms: rtts.min,
            avg_ms: rtts.average,
            max_ms: rtts.max,
            p50_ms,
            p90_ms,
            p99_ms,
            jitter_ms: rtts.jitter,
        })
    }
}

impl Directions {
    fn of(dialect: &Dialect, probes: &Probes, peer: &Peer) -> Option<Directions> {
        if !peer.is_telling || peer.directions.is_stateless() {
            return None;
        }
        let totals = peer.directions.totals(probes.tally.sent);
        let labelled = |wanted: Direction| {
            let lost = probes.unanswered();
            let lost = lost.filter(|number| peer.directions.label(number - 1) == wanted);
            lost.map(|number| dialect.on_wire(number)).collect()
        };
        Some(Directions {
            requests_lost: totals.up_lost,
            replies_lost: totals.down_lost,
            undecided: totals.undecided,
            requests_doubled: totals.up_duplicates,
            requests: labelled(Direction::Up),
            replies: labelled(Direction::Down),
            restarts: peer.directions.restarts,
        })
    }
}

impl OneWay {
    fn of(peer: &Peer) -> Option<OneWay> {
        let way = |figures: Figures| Way {
            min_ms: figures.min,
            p50_ms: figures.p50,
            p90_ms: figures.p90,
            p99_ms: figures.p99,
            max_ms: figures.max,
            jitter_ms: figures.jitter,
        };
        let one_way = peer.delays.one_way()?;
        Some(OneWay {
            there: way(one_way.up),
            back: way(one_way.down),
        })
    }
}

impl Clock {
    fn of(peer: &Peer, timeline: &Timeline) -> Option<Clock> {
        let clock = &peer.delays.clock;
        let estimate = clock.estimate()?;
        let now = timeline.at(crate::clock::now()).as_nanos();
        let now = i64::try_from(now).ok()?;
        let ms = |nanoseconds: i64| nanoseconds as f64 / 1e6;
        let grain = peer.grain_ns.0;
        Some(Clock {
            offset_ms: ms(estimate.offset_at(now)),
            bound_ms: ms(estimate.bound_at(now) + grain),
            drift_ppm: estimate.drift_ppm.filter(|_| grain <= GRAIN_NS_MAX),
            steps: clock.steps,
            last_step_ms: clock.last_step.map(|step| ms(step.size_ns)),
        })
    }
}

impl Pacing {
    fn of(wanted: &Wanted, probes: &Probes) -> Pacing {
        let [late_p99_ms] = probes.lateness.percentiles([99.0]);
        Pacing {
            late_avg_ms: probes.lateness.average,
            late_p99_ms,
            late_max_ms: probes.lateness.max,
            behind: probes.tally.behind,
            missed_slots: probes.tally.missed,
            is_fast: wanted.plan.interval.as_secs_f64() * 1e3 < PACED_MS_MAX,
        }
    }
}

/// STAMP requests leave with 255, and each router takes one away.
fn routers(dialect: &Dialect, peer: &Peer) -> Option<u8> {
    match dialect {
        Dialect::Stamp { .. } => Some(super::dialect::STAMP_HOP_LIMIT - peer.hop_limit?),
        Dialect::Words { .. } => None,
    }
}

/// What it all means, in a sentence or two.
fn verdict(wanted: &Wanted, probes: &Probes, peer: &Peer) -> String {
    let address = wanted.peer;
    let start = match wanted.dialect {
        Dialect::Words { .. } => net::starting_line("udpping --server", address),
        Dialect::Stamp { .. } => net::starting_line("udpping --reflector", address),
    };
    if let (0, Some(trouble)) = (probes.tally.received, &peer.trouble) {
        return format!("nothing left this machine: {trouble}");
    }
    if let (0, Some((from, problem))) = (probes.tally.received, peer.problem) {
        return match problem.is_port_unreachable() {
            true => format!(
                "nothing is listening on UDP port {} of {}; start it with {start}",
                address.port(),
                address.ip()
            ),
            false => format!("{from} says '{problem}', so nothing gets there"),
        };
    }
    if let (0, Some(stranger)) = (probes.tally.received, peer.stranger) {
        return format!("no answer from {address}, but {stranger} sent something");
    }
    if probes.tally.received == 0 {
        return format!(
            "no answer at all: UDP does not tell whether the server, the requests or the replies \
             are missing; if it is not running, start it with {start}"
        );
    }
    String::new()
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n--- {} udpping statistics ---\n", self.host)?;
        let loss = Percent(self.loss_percent);
        write!(
            f,
            "{} sent, {} received, {} lost ({loss}%)",
            self.sent, self.received, self.lost
        )?;
        if let Some(directions) = self.directions.as_ref().filter(|_| self.lost > 0) {
            directions.fmt(f)?;
        }
        if let Some(rtt) = &self.rtt {
            rtt.fmt(f)?;
        }
        if let Some(OneWay { there, back }) = self.one_way.as_ref().filter(|_| self.received > 1) {
            write!(f, "\nthere {there}\nback  {back}")?;
        }
        if let Some(clock) = &self.clock {
            clock.fmt(f)?;
        }
        self.fmt_oddities(f)?;
        if self.pacing.is_fast {
            let Pacing {
                late_avg_ms,
                late_p99_ms,
                behind,
                missed_slots,
                ..
            } = &self.pacing;
            write!(
                f,
                "\nsent {late_avg_ms:.3} ms late on average, p99 {late_p99_ms:.3} ms; \
                 {behind} by an interval or more, {missed_slots} slots missed"
            )?;
        }
        if self.received > 1 {
            let last = sparkline(self.last_ms.iter().copied());
            write!(f, "\nlast {}: {last}", self.last_ms.len())?;
        }
        match self.verdict.as_str() {
            "" => Ok(()),
            verdict => write!(f, "\n{verdict}"),
        }
    }
}

impl Statistics {
    fn fmt_oddities(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lost > 0 && self.received > 0 {
            write!(
                f,
                "\nloss {:.1} to {:.1}% with 95% confidence",
                self.loss_percent_low, self.loss_percent_high
            )?;
            if self.is_bursty {
                write!(f, ", in bursts of up to {}", self.loss_run_longest)?;
            }
        }
        let mut separator = "\n";
        for (count, what) in [
            (self.late, "late"),
            (self.duplicates, "duplicates"),
            (self.reordered, "out of order"),
            (self.refused, "refused"),
            (self.stray, "to no request"),
            (self.strangers, "from others"),
        ] {
            if count > 0 {
                write!(f, "{separator}{count} {what}")?;
                separator = ", ";
            }
        }
        match self.routers_there {
            Some(1) => write!(f, "\n1 router on the way there"),
            Some(routers @ 2..) => write!(f, "\n{routers} routers on the way there"),
            Some(0) | None => Ok(()),
        }
    }
}

impl fmt::Display for Directions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(":")?;
        let mut separator = " ";
        for (count, what, named) in [
            (self.requests_lost, "on the way there", &*self.requests),
            (self.replies_lost, "on the way back", &*self.replies),
            (self.undecided, "nobody knows where", &[]),
        ] {
            if count == 0 {
                continue;
            }
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
            let is_whole = named.len() as u64 == count && named.len() <= NAMED_MAX;
            if is_whole {
                let named: Vec<String> = named.iter().map(ToString::to_string).collect();
                write!(f, " ({})", named.join(" "))?;
            }
        }
        if self.restarts > 0 {
            write!(f, "{separator}the server was started anew")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rtt {
            min_ms,
            avg_ms,
            max_ms,
            p50_ms,
            p90_ms,
            p99_ms,
            jitter_ms,
        } = self;
        write!(
            f,
            "\nRTT max/min/avg = {max_ms:.3}/{min_ms:.3}/{avg_ms:.3} ms"
        )?;
        write!(f, ", p50/p90/p99 = {p50_ms:.3}/{p90_ms:.3}/{p99_ms:.3} ms")?;
        write!(f, ", jitter {jitter_ms:.3} ms")
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way {
            min_ms,
            p50_ms,
            p99_ms,
            max_ms,
            jitter_ms,
            ..
        } = self;
        write!(
            f,
            "min/p50/p99/max = {min_ms:.3}/{p50_ms:.3}/{p99_ms:.3}/{max_ms:.3} ms"
        )?;
        write!(f, ", jitter {jitter_ms:.3} ms")
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, bound) = (self.offset_ms.abs(), self.bound_ms);
        let word = match self.offset_ms < 0.0 {
            true => "behind",
            false => "ahead of",
        };
        match offset <= bound {
            true => write!(f, "\nits clock is ours within {:.3} ms", offset + bound)?,
            false => write!(
                f,
                "\nits clock is {offset:.3} ms {word} ours, within {bound:.3} ms"
            )?,
        }
        if let Some(drift) = self.drift_ppm.filter(|drift| drift.abs() >= 0.05) {
            let word = if drift < 0.0 { "slower" } else { "faster" };
            write!(f, ", and {:.1} ppm {word}", drift.abs())?;
        }
        match self.last_step_ms {
            Some(step) => write!(f, "; it was set {} times, last by {step:.3} ms", self.steps),
            None => Ok(()),
        }
    }
}
