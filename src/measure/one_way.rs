//! How long each way takes, from the stamps of two clocks.

use super::line::Estimate;
use super::offset::ClockOffset;
use super::sample::Sample;

/// More exchanges than this are thinned out, each having had the same chance to stay.
const KEPT_MAX: usize = 8_192;

/// As good as the offset is: see [`Estimate::bound_at`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OneWay {
    pub(crate) up: Figures,
    pub(crate) down: Figures,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// RFC 3550 section 6.4.1.
    pub(crate) jitter: f64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Delays {
    pub(crate) clock: ClockOffset,
    count: u64,
    kept: Vec<Kept>,
    up: Way,
    down: Way,
    /// Of the same clock as the next.
    last: Option<Sample>,
    dice: u64,
}

#[derive(Debug, Clone, Copy)]
enum Kept {
    /// The offset may still become better known.
    Open(Sample),
    Settled(Delay),
}

#[derive(Debug, Clone, Copy)]
struct Delay {
    up_ns: i64,
    down_ns: i64,
}

/// What is known of all exchanges.
#[derive(Debug, Clone, Copy)]
struct Way {
    jitter_ns: f64,
    /// Of those that were not kept.
    least_ns: i64,
    most_ns: i64,
}

impl Default for Way {
    fn default() -> Way {
        Way {
            jitter_ns: 0.0,
            least_ns: i64::MAX,
            most_ns: i64::MIN,
        }
    }
}

impl Delays {
    /// In the order of arrival. Whether the sample says something of the delays: where the
    /// peer's clock was stepped, a few do not.
    pub(crate) fn add(&mut self, sample: Sample) -> bool {
        let added = self.clock.add(sample);
        if let Some(past) = added.past {
            self.settle(past.until_ns, &past.estimate);
            if past.until_ns == i64::MAX {
                self.last = None;
            }
        }
        if !added.is_usable {
            self.last = None;
            return false;
        }
        if let Some(last) = self.last.replace(sample) {
            self.vary(&last, &sample);
        }
        self.count += 1;
        if let Some(gone) = self.keep(sample) {
            self.let_go(gone);
        }
        true
    }

    /// `None` when no sample was usable.
    pub(crate) fn one_way(&self) -> Option<OneWay> {
        let estimate = self.clock.estimate()?;
        let delays: Vec<Delay> = self.kept.iter().map(|kept| kept.delay(&estimate)).collect();
        let up = delays.iter().map(|delay| delay.up_ns).collect();
        let down = delays.iter().map(|delay| delay.down_ns).collect();
        Some(OneWay {
            up: self.up.figures(up)?,
            down: self.down.figures(down)?,
        })
    }

    fn settle(&mut self, until_ns: i64, estimate: &Estimate) {
        for kept in &mut self.kept {
            if matches!(kept, Kept::Open(sample) if sample.t1_ns < until_ns) {
                *kept = Kept::Settled(kept.delay(estimate));
            }
        }
    }

    /// The constant offset falls out of the differences; the drift would not at long intervals.
    fn vary(&mut self, last: &Sample, sample: &Sample) {
        let drift_ppm = self.clock.line().and_then(|line| line.drift_ppm);
        let drift = |from_ns: i64, to_ns: i64| {
            drift_ppm.unwrap_or(0.0) * to_ns.saturating_sub(from_ns) as f64 / 1e6
        };
        let up = sample.highest_ns().saturating_sub(last.highest_ns()) as f64;
        self.up.vary(up - drift(last.t1_ns, sample.t1_ns));
        let down = last.lowest_ns().saturating_sub(sample.lowest_ns()) as f64;
        self.down.vary(down + drift(last.t4_ns, sample.t4_ns));
    }

    /// Returns what there is no place for.
    fn keep(&mut self, sample: Sample) -> Option<Kept> {
        let kept = Kept::Open(sample);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(kept);
            return None;
        }
        // xorshift64; the seed may be anything but 0.
        self.dice ^= self.count | 1;
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let place = (self.dice % self.count) as usize;
        let Some(other) = self.kept.get_mut(place) else {
            return Some(kept);
        };
        Some(std::mem::replace(other, kept))
    }

    /// The extremes are of all exchanges.
    fn let_go(&mut self, gone: Kept) {
        if let Some(line) = self.clock.line() {
            let delay = gone.delay(line);
            self.up.include(delay.up_ns);
            self.down.include(delay.down_ns);
        }
    }
}

impl Kept {
    fn delay(&self, estimate: &Estimate) -> Delay {
        match self {
            Kept::Settled(delay) => *delay,
            Kept::Open(sample) => {
                let up_ns = sample.highest_ns();
                let down_ns = sample.lowest_ns().saturating_neg();
                Delay {
                    up_ns: up_ns.saturating_sub(estimate.offset_at(sample.t1_ns)),
                    down_ns: down_ns.saturating_add(estimate.offset_at(sample.t4_ns)),
                }
            }
        }
    }
}

impl Way {
    /// RFC 3550 section 6.4.1, of the differences of consecutive delays.
    fn vary(&mut self, difference_ns: f64) {
        self.jitter_ns += (difference_ns.abs() - self.jitter_ns) / 16.0;
    }

    fn include(&mut self, delay_ns: i64) {
        self.least_ns = self.least_ns.min(delay_ns);
        self.most_ns = self.most_ns.max(delay_ns);
    }

    fn figures(mut self, mut kept_ns: Vec<i64>) -> Option<Figures> {
        kept_ns.sort_unstable();
        self.include(*kept_ns.first()?);
        self.include(*kept_ns.last()?);
        let ms = |ns: i64| ns as f64 / 1e6;
        let percentile = |percent: usize| {
            let rank = (kept_ns.len() * percent).div_ceil(100);
            kept_ns.get(rank.saturating_sub(1)).map(|ns| ms(*ns))
        };
        Some(Figures {
            min: ms(self.least_ns),
            p50: percentile(50)?,
            p90: percentile(90)?,
            p99: percentile(99)?,
            max: ms(self.most_ns),
            jitter: self.jitter_ns / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::world::{Dice, LOOPBACK, START_NS, World};
    use super::*;

    const MS: i64 = 1_000_000;
    const HOUR_NS: i64 = 3_600_000 * MS;

    /// 1 ms up and 3 ms down, the latter with jitter. Which of the two is the longer cannot be
    /// seen, so that each seems to take 2 ms.
    const FAR: World = World {
        up_us: (1_000.0, 0.0),
        down_us: (3_000.0, 500.0),
        ..LOOPBACK
    };

    #[track_caller]
    fn check(figure: f64, expected: f64, error: f64) {
        assert!(
            (figure - expected).abs() <= error,
            "{figure}, not {expected}"
        );
    }

    #[track_caller]
    fn check_far(delays: &Delays) {
        let OneWay { up, down } = delays.one_way().expect("samples");
        for figure in [up.min, up.p50, up.p99, up.max] {
            check(figure, 2.0, 0.05);
        }
        check(up.jitter, 0.0, 0.005);
        check(down.min, 2.0, 0.05);
        // The exponential distribution: ln 2, ln 10 and ln 100 times its mean.
        check(down.p50, 2.347, 0.06);
        check(down.p90, 3.151, 0.1);
        check(down.p99, 4.303, 0.35);
        assert!(down.max > 5.0, "{down:?}");
        // The mean of the difference of two of these is the mean of one.
        check(down.jitter, 0.5, 0.35);
    }

    #[test]
    fn delays_without_the_offset_and_its_drift() {
        for (seed, drift_ppm) in [(1, 0.0), (2, 50.0), (3, -200.0)] {
            let world = World {
                offset_ns: -250_000 * MS,
                drift_ppm,
                ..FAR
            };
            let mut dice = Dice(seed);
            let mut delays = Delays::default();
            for number in 0..6_000 {
                assert!(delays.add(world.exchange(START_NS + number * 10 * MS, &mut dice)));
            }
            check_far(&delays);
        }
    }

    #[test]
    fn a_step_changes_no_delay() {
        let mut dice = Dice(7);
        let mut delays = Delays::default();
        for number in 0..12_000 {
            let world = World {
                offset_ns: if number < 5_000 { 0 } else { HOUR_NS },
                ..FAR
            };
            let is_usable = delays.add(world.exchange(START_NS + number * 10 * MS, &mut dice));
            assert_eq!(is_usable, !(5_000..5_002).contains(&number), "{number}");
        }
        assert_eq!(delays.clock.steps, 1);
        check_far(&delays);
    }

    /// A quartz that warms up: 1 ppm more each 10 minutes, which no line describes.
    #[test]
    fn a_drift_that_changes_is_followed() {
        let mut dice = Dice(11);
        let mut delays = Delays::default();
        for number in 0..36_000 {
            let t1_ns = START_NS + number * 200 * MS;
            let minutes = number as f64 / 300.0;
            let wander_ns = 0.5 * (minutes * 60.0) * (minutes / 10.0) * 1e3;
            let world = World {
                offset_ns: wander_ns as i64,
                ..LOOPBACK
            };
            assert!(delays.add(world.exchange(t1_ns, &mut dice)));
        }
        let OneWay { up, down } = delays.one_way().expect("samples");
        assert!(up.min > -0.05 && up.p50 < 0.08, "{up:?}");
        assert!(down.min > -0.05 && down.p50 < 0.08, "{down:?}");
    }

    #[test]
    fn torn_stamps_are_left_out() {
        let mut delays = Delays::default();
        let sample = FAR.exchange(START_NS, &mut Dice(1));
        let torn = Sample {
            t3_ns: sample.t3_ns + HOUR_NS,
            ..sample
        };
        assert!(!delays.add(torn));
        assert_eq!(delays.one_way(), None);
        assert!(delays.add(sample));
        assert!(delays.one_way().is_some());
    }
}
