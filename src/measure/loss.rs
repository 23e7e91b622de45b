//! Losses: how many, how sure, and whether they come in bursts.

use std::time::{Duration, Instant};

/// What became of the requests, in the order in which they left.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Losses {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Stretches of consecutive lost requests.
    pub(crate) runs: u64,
    pub(crate) longest: u64,
    /// From the first lost request of each run to the next that was answered.
    pub(crate) outage: Duration,
    /// Of the run at the end, if the last request was lost.
    pub(crate) current: u64,
    /// Of the run at the start.
    pub(crate) leading: u64,
    current_since: Option<Instant>,
}

impl Losses {
    /// Nothing can happen to this request any more.
    pub(crate) fn settle(&mut self, sent_at: Instant, answered: bool) {
        self.sent += 1;
        if answered {
            self.current = 0;
            self.end_outage(sent_at);
            return;
        }
        self.lost += 1;
        if self.current == 0 {
            self.runs += 1;
            self.current_since = Some(sent_at);
        }
        self.current += 1;
        self.longest = self.longest.max(self.current);
        if self.lost == self.sent {
            self.leading = self.lost;
        }
    }

    /// An outage that still lasts is counted up to now.
    pub(crate) fn end_outage(&mut self, now: Instant) {
        if let Some(since) = self.current_since.take() {
            self.outage += now.saturating_duration_since(since);
        }
    }

    pub(crate) fn mean_run(&self) -> f64 {
        self.lost as f64 / self.runs.max(1) as f64
    }

    /// Whether the runs are longer than chance would make them: independent losses of rate p
    /// come in runs of 1 / (1 - p) on average.
    pub(crate) fn is_bursty(&self) -> bool {
        const RUNS_MIN: u64 = 2;
        const LONGER: f64 = 1.8;
        let rate = self.lost as f64 / self.sent.max(1) as f64;
        let by_chance = 1.0 / (1.0 - rate).max(f64::EPSILON);
        self.runs >= RUNS_MIN && self.mean_run() > LONGER * by_chance
    }
}

/// Between how many per cent the true loss is, with 95 % confidence (Wilson's interval).
pub(crate) fn interval(lost: u64, sent: u64) -> (f64, f64) {
    const Z: f64 = 1.96;
    if sent == 0 {
        return (0.0, 100.0);
    }
    let (count, rate) = (sent as f64, lost as f64 / sent as f64);
    let scale = 1.0 + Z * Z / count;
    let middle = rate + Z * Z / (2.0 * count);
    let half = Z * (rate * (1.0 - rate) / count + Z * Z / (4.0 * count * count)).sqrt();
    let percent = |value: f64| (value / scale * 100.0).clamp(0.0, 100.0);
    (percent(middle - half), percent(middle + half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// `x` is lost, anything else answered; one request a second.
    fn of(outcomes: &str) -> Losses {
        let start = clock::now();
        let mut losses = Losses::default();
        for (second, outcome) in (0..).zip(outcomes.chars()) {
            losses.settle(start + Duration::from_secs(second), outcome != 'x');
        }
        losses
    }

    #[test]
    fn runs_and_outages() {
        let losses = of("xx..xxx..x.");
        assert_eq!((losses.lost, losses.runs, losses.longest), (6, 3, 3));
        assert_eq!((losses.leading, losses.current), (2, 0));
        assert_eq!(losses.outage, Duration::from_secs(6));
        let mut going_on = of("..xx");
        assert_eq!((going_on.current, going_on.outage), (2, Duration::ZERO));
        going_on.end_outage(clock::now() + Duration::from_secs(60));
        assert!(going_on.outage > Duration::from_secs(50));
    }

    #[test]
    fn bursts_are_told_from_chance() {
        assert!(of("....xxxx......xxxx.........xxxx...").is_bursty());
        assert!(!of("..x...x.....x..xx.....x.....x....").is_bursty());
        assert!(!of("....xxxx......").is_bursty(), "one run proves nothing");
    }

    /// Wilson's interval for 3 of 10, by hand: 10.8 to 60.3 %.
    #[test]
    fn how_sure_a_loss_is() {
        let (low, high) = interval(3, 10);
        assert!(
            (low - 10.8).abs() < 0.05 && (high - 60.3).abs() < 0.05,
            "{low} {high}"
        );
        let (low, high) = interval(0, 100);
        assert!(low == 0.0 && (high - 3.7).abs() < 0.05, "{low} {high}");
        assert_eq!(interval(0, 0), (0.0, 100.0));
    }
}
