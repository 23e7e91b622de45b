//! The offset of a peer's clock from the four stamps of each exchange (RFC 8762 section 4.3).
//!
//! The exchanges with the shortest round trips say most, so one is kept for each of a few dozen
//! stretches of time. A peer's clock that is stepped is noticed, and begins anew. The own stamps
//! must come from a clock that never steps.

use std::collections::VecDeque;

use super::line::Estimate;
use super::sample::Sample;

/// Enough for a drift; the bound of an estimate costs the square of it.
const WINDOWS_MAX: usize = 64;

/// At first, so that 4 s at 1 ms fill most windows.
const WINDOW_NS_MIN: i64 = 10_000_000;

/// 64 of them are some 20 minutes: with warmth and load, no quartz keeps its drift for longer.
const WINDOW_NS_MAX: i64 = WINDOW_NS_MIN << 11;

/// So many samples in a row must tell of the same step, for one may be garbage.
const WITNESSES: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct ClockOffset {
    /// How often the peer's clock was stepped.
    pub(crate) steps: u64,
    pub(crate) last_step: Option<Step>,
    width_ns: i64,
    windows: VecDeque<Window>,
    /// As of when the newest window began.
    line: Option<Estimate>,
    latest: Option<Sample>,
    /// Samples that contradict the windows, but not each other.
    witnesses: Vec<Sample>,
    /// When the last step was certain, by the own clock.
    certain_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Forwards is positive.
    pub(crate) size_ns: i64,
    /// When the first request left that met the new time, by the own clock.
    pub(crate) own_ns: i64,
}

/// What became of a sample.
#[derive(Debug)]
pub(crate) struct Added {
    /// Whether the offset applies to it.
    pub(crate) is_usable: bool,
    pub(crate) past: Option<Past>,
}

/// Samples from before `until_ns` will not be described better than by this estimate, and must
/// not be by a later one.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) until_ns: i64,
    pub(crate) estimate: Estimate,
}

/// The sample with the shortest round trip of a stretch of time.
#[derive(Debug, Clone, Copy)]
struct Window {
    number: i64,
    best: Sample,
}

impl Default for ClockOffset {
    fn default() -> ClockOffset {
        ClockOffset {
            steps: 0,
            last_step: None,
            width_ns: WINDOW_NS_MIN,
            windows: VecDeque::new(),
            line: None,
            latest: None,
            witnesses: Vec::new(),
            certain_ns: i64::MIN,
        }
    }
}

impl ClockOffset {
    /// In the order of arrival.
    pub(crate) fn add(&mut self, sample: Sample) -> Added {
        let unusable = Added {
            is_usable: false,
            past: None,
        };
        if sample.is_torn() {
            return unusable;
        }
        if self.is_expected(&sample) {
            self.dismiss_witnesses(&sample);
            self.latest = Some(sample);
            let past = self.keep(sample);
            return Added {
                is_usable: true,
                past,
            };
        }
        // It may have met the peer before the last step, and arrived late.
        if sample.t1_ns < self.certain_ns {
            return unusable;
        }
        if !self.witnesses.iter().all(|other| other.agrees(&sample)) {
            self.witnesses.clear();
        }
        self.witnesses.push(sample);
        if self.witnesses.len() < WITNESSES {
            return unusable;
        }
        Added {
            is_usable: true,
            past: self.begin_anew(sample.t4_ns),
        }
    }

    /// As of now; `None` before the first sample.
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        Estimate::fit(self.windows.iter().map(|window| &window.best))
    }

    /// As [`ClockOffset::estimate`], but cheap and older by a window at most.
    pub(crate) fn line(&self) -> Option<&Estimate> {
        self.line.as_ref()
    }

    fn is_expected(&self, sample: &Sample) -> bool {
        let best = self.windows.iter().map(|window| &window.best);
        best.chain(&self.latest).all(|other| other.agrees(sample))
    }

    /// A request that left after a witness had arrived, and still met the old time.
    fn dismiss_witnesses(&mut self, sample: &Sample) {
        let contradicts =
            |witness: &Sample| witness.t4_ns <= sample.t1_ns && !witness.agrees(sample);
        if self.witnesses.iter().any(contradicts) {
            self.witnesses.clear();
        }
    }

    fn begin_anew(&mut self, certain_ns: i64) -> Option<Past> {
        let estimate = self.estimate();
        let witnesses = std::mem::take(&mut self.witnesses);
        let best = witnesses.iter().min_by_key(|witness| witness.rtt_ns());
        let first_ns = witnesses.iter().map(|witness| witness.t1_ns).min();
        if let (Some(estimate), Some(best), Some(own_ns)) = (&estimate, best, first_ns) {
            let size_ns = best
                .offset_ns()
                .saturating_sub(estimate.offset_at(best.t1_ns));
            self.last_step = Some(Step { size_ns, own_ns });
        }
        *self = ClockOffset {
            steps: self.steps + 1,
            last_step: self.last_step,
            latest: witnesses.last().copied(),
            certain_ns,
            ..ClockOffset::default()
        };
        for witness in witnesses {
            self.keep(witness);
        }
        estimate.map(|estimate| Past {
            until_ns: i64::MAX,
            estimate,
        })
    }

    fn keep(&mut self, sample: Sample) -> Option<Past> {
        let number = sample.t1_ns.div_euclid(self.width_ns);
        let newest = self.windows.back().map(|window| window.number);
        if newest.is_none_or(|newest| newest < number) {
            let best = sample;
            self.windows.push_back(Window { number, best });
            return self.make_room();
        }
        // One that is late by more than a window may find none: its time is well known.
        let mut late = self.windows.iter_mut().rev();
        if let Some(window) = late.find(|window| window.number == number) {
            window.offer(sample);
        }
        None
    }

    /// A window has begun: there may be too many, and the last one closed may show that the
    /// drift has changed, so that the oldest describe it no longer.
    fn make_room(&mut self) -> Option<Past> {
        while self.windows.len() > WINDOWS_MAX && self.width_ns < WINDOW_NS_MAX {
            self.widen();
        }
        let is_full = self.windows.len() > WINDOWS_MAX;
        if is_full {
            self.windows.pop_front();
        }
        let mut line = self.line_of_closed();
        let is_bent =
            |line: &Option<Estimate>| line.as_ref().is_some_and(|line| !line.is_straight());
        let has_bend = is_bent(&line);
        while is_bent(&line) && self.windows.len() > 1 {
            self.windows.pop_front();
            line = self.line_of_closed();
        }
        let former = std::mem::replace(&mut self.line, line);
        let estimate = former.filter(|_| is_full || has_bend)?;
        let until_ns = self.windows.front()?.number.saturating_mul(self.width_ns);
        Some(Past { until_ns, estimate })
    }

    fn line_of_closed(&self) -> Option<Estimate> {
        let closed = self.windows.len().saturating_sub(1).max(1);
        Estimate::fit(self.windows.iter().take(closed).map(|window| &window.best))
    }

    fn widen(&mut self) {
        self.width_ns *= 2;
        let narrow = std::mem::take(&mut self.windows);
        for Window { number, best } in narrow {
            let number = number.div_euclid(2);
            match self.windows.back_mut() {
                Some(window) if window.number == number => window.offer(best),
                _ => self.windows.push_back(Window { number, best }),
            }
        }
    }
}

impl Window {
    fn offer(&mut self, sample: Sample) {
        if sample.rtt_ns() < self.best.rtt_ns() {
            self.best = sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::world::{Dice, LOOPBACK, START_NS, World};
    use super::*;
    use proptest::prelude::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn run(world: &World, count: i64, interval_ns: i64, seed: u64) -> ClockOffset {
        let mut clock = ClockOffset::default();
        let mut dice = Dice(seed);
        for number in 0..count {
            let sample = world.exchange(START_NS + number * interval_ns, &mut dice);
            assert!(clock.add(sample).is_usable);
        }
        clock
    }

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MS;

    /// 4 s at 1 ms: the drift is right to 0.5 ppm, and the offset to its bound, all the time.
    #[track_caller]
    fn check_loopback(offset_ns: i64, drift_ppm: f64) {
        for seed in 1..=8 {
            let world = World {
                offset_ns,
                drift_ppm,
                ..LOOPBACK
            };
            let clock = run(&world, 4_000, MS, seed);
            let estimate = clock.estimate().expect("there are samples");
            let error = estimate.drift_ppm.expect("a drift") - drift_ppm;
            assert!(error.abs() < 0.5, "{error} ppm");
            for ms in (0..=8_000).step_by(500) {
                check_bound(&world, &estimate, START_NS + ms * MS);
            }
            let end_ns = START_NS + 4_000 * MS;
            let bound = estimate.bound_at(end_ns);
            assert!((3_000..12_000).contains(&bound), "{bound} ns");
            let asymmetry = world.offset_at(end_ns) - 1_500 - estimate.offset_at(end_ns);
            assert!(asymmetry.abs() < 1_000, "{asymmetry} ns");
        }
    }

    #[track_caller]
    fn check_bound(world: &World, estimate: &Estimate, own_ns: i64) {
        let error = world.offset_at(own_ns).abs_diff(estimate.offset_at(own_ns));
        let bound = estimate.bound_at(own_ns);
        assert!(
            i64::try_from(error).is_ok_and(|error| error <= bound),
            "{error} of {bound}"
        );
    }

    #[test]
    fn drift_and_offset_on_a_loopback() {
        check_loopback(0, 0.0);
        check_loopback(37 * MS, 50.0);
        check_loopback(-250 * SECOND, 200.0);
        check_loopback(-24 * HOUR_NS, -200.0);
    }

    #[test]
    fn the_bound_holds_however_unlike_the_ways_are() {
        let ways = [
            ((0.0, 0.0), (40_000.0, 2_000.0)),
            ((40_000.0, 0.0), (0.0, 300.0)),
            ((10.0, 20_000.0), (10.0, 1.0)),
        ];
        for (up_us, down_us) in ways {
            for (seed, count) in [(1, 1), (2, 2), (3, 5), (4, 100), (5, 3_000)] {
                let world = World {
                    up_us,
                    down_us,
                    drift_ppm: 90.0,
                    ..LOOPBACK
                };
                let estimate = run(&world, count, SECOND / 5, seed).estimate();
                let estimate = estimate.expect("there are samples");
                for second in [-10, 0, 20, 600, 1_200] {
                    check_bound(&world, &estimate, START_NS + second * SECOND);
                }
            }
        }
    }

    #[test]
    fn few_replies_over_a_long_path_tell_no_drift() {
        let far = World {
            drift_ppm: 200.0,
            up_us: (10_000.0, 3_000.0),
            down_us: (10_000.0, 3_000.0),
            ..LOOPBACK
        };
        let drift_after = |count| {
            let estimate = run(&far, count, SECOND, 9).estimate();
            estimate.expect("there are samples").drift_ppm
        };
        assert_eq!(drift_after(10), None);
        let error = drift_after(3_600).expect("a drift") - 200.0;
        assert!(error.abs() < 1.0, "{error}");
    }

    /// The steps seen when the clock is set by so much after half of 2,000 exchanges.
    fn stepped(size_ns: i64, interval_ns: i64, seed: u64) -> (ClockOffset, World) {
        let before = LOOPBACK;
        let after = World {
            offset_ns: size_ns,
            ..LOOPBACK
        };
        let mut clock = ClockOffset::default();
        let mut dice = Dice(seed);
        for number in 0..2_000 {
            let world = if number < 1_000 { before } else { after };
            clock.add(world.exchange(START_NS + number * interval_ns, &mut dice));
        }
        (clock, after)
    }

    #[track_caller]
    fn check_step(size_ns: i64, interval_ns: i64) {
        for seed in 1..=5 {
            let (clock, after) = stepped(size_ns, interval_ns, seed);
            assert_eq!(clock.steps, 1);
            let step = clock.last_step.expect("a step");
            assert!((step.size_ns - size_ns).abs() < 200_000, "{step:?}");
            let late_ns = step.own_ns - (START_NS + 1_000 * interval_ns);
            assert!((0..10 * interval_ns).contains(&late_ns), "{step:?}");
            let estimate = clock.estimate().expect("there are samples");
            check_bound(&after, &estimate, START_NS + 2_000 * interval_ns);
        }
    }

    #[test]
    fn a_step_begins_anew() {
        check_step(HOUR_NS, MS);
        check_step(-HOUR_NS, SECOND);
        check_step(20 * MS, SECOND);
        check_step(-2 * MS, MS);
        check_step(-MS, MS);
    }

    #[test]
    fn neither_garbage_nor_stragglers_are_steps() {
        let mut clock = ClockOffset::default();
        let mut dice = Dice(3);
        let stepped = World {
            offset_ns: HOUR_NS,
            ..LOOPBACK
        };
        let at = |ms| START_NS + ms * MS;
        for ms in 0..100 {
            assert!(clock.add(LOOPBACK.exchange(at(ms), &mut dice)).is_usable);
            if ms % 10 == 0 {
                assert!(!clock.add(stepped.exchange(at(ms), &mut dice)).is_usable);
            }
        }
        assert_eq!(clock.steps, 0);
        for ms in 100..200 {
            clock.add(stepped.exchange(at(ms), &mut dice));
        }
        for ms in 90..100 {
            assert!(!clock.add(LOOPBACK.exchange(at(ms), &mut dice)).is_usable);
        }
        assert_eq!(clock.steps, 1);
    }

    /// Half of the replies arrive out of order, 50 to each side of the step.
    #[test]
    fn a_step_on_a_path_that_reorders_is_one_step() {
        for seed in 1..=20 {
            let mut dice = Dice(seed);
            let mut samples = Vec::new();
            for number in 0..1_000 {
                let far = World {
                    up_us: (20_000.0, 15_000.0),
                    down_us: (20_000.0, 15_000.0),
                    ..LOOPBACK
                };
                let mut sample = far.exchange(START_NS + number * MS, &mut dice);
                if sample.t2_ns >= START_NS + 500 * MS {
                    sample.t2_ns += HOUR_NS;
                    sample.t3_ns += HOUR_NS;
                }
                samples.push(sample);
            }
            samples.sort_by_key(|sample| sample.t4_ns);
            let mut clock = ClockOffset::default();
            for sample in samples {
                clock.add(sample);
            }
            assert_eq!(clock.steps, 1);
        }
    }

    #[test]
    fn a_clock_that_is_slewed_is_followed() {
        let mut clock = ClockOffset::default();
        let mut dice = Dice(5);
        let turn_ns = START_NS + 600 * SECOND;
        let slewed = World {
            drift_ppm: 500.0,
            offset_ns: -300 * MS,
            ..LOOPBACK
        };
        for tenth in 0..12_000 {
            let t1_ns = START_NS + tenth * SECOND / 10;
            let world = if t1_ns < turn_ns { LOOPBACK } else { slewed };
            clock.add(world.exchange(t1_ns, &mut dice));
        }
        assert_eq!(clock.steps, 0);
        let estimate = clock.estimate().expect("there are samples");
        check_bound(&slewed, &estimate, START_NS + 1_200 * SECOND);
        assert!((estimate.drift_ppm.expect("a drift") - 500.0).abs() < 0.5);
    }

    proptest! {
        #[test]
        fn any_stamps_are_survived(stamps: Vec<(i64, i64, i64, i64)>) {
            let mut clock = ClockOffset::default();
            for (t1_ns, t2_ns, t3_ns, t4_ns) in stamps {
                let sample = Sample { t1_ns, t2_ns, t3_ns, t4_ns };
                prop_assert!(sample.rtt_ns() >= 0);
                clock.add(sample);
                clock.add(Sample { t3_ns: t2_ns, t4_ns: t1_ns.saturating_add(t2_ns >> 1), ..sample });
                if let Some(estimate) = clock.estimate() {
                    prop_assert!(estimate.bound_at(t3_ns) > 0);
                    estimate.offset_at(t2_ns);
                }
            }
        }
    }
}
