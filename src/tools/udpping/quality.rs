//! What sequence numbers and timestamps tell of the path that beats take: which are missing,
//! how many get lost, and how long they are under way.

use std::time::Duration;

/// Silence is death when chance would make it less often than this: with 10,000 senders and a
/// beat a second, that is once in more than a week.
const FALSE_ALARM: f32 = 1e-10;
/// One lost beat is nothing, and two may be the same short trouble.
const MISSED_MIN: f32 = 3.0;
/// Enough where half of the beats get lost. Beyond that a death would be told too late to matter.
const MISSED_MAX: f32 = 40.0;
/// From here on losses and silences are ordinary, and counted instead of told.
const LOSS_ORDINARY: f32 = 0.05;

/// Which of the last 64 sequence numbers of a run have come.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    pub(super) newest: u64,
    /// The lowest bit is the newest.
    seen: u64,
}

pub(super) enum Place {
    Ahead { missing: u64 },
    Behind { by: u64, was_missing: bool },
    Seen,
    TooOld,
}

impl Window {
    pub(super) fn new(sequence_number: u64) -> Window {
        Window {
            first: sequence_number,
            newest: sequence_number,
            seen: 1,
        }
    }

    pub(super) fn place(&mut self, sequence_number: u64) -> Place {
        if let Some(ahead @ 1..) = sequence_number.checked_sub(self.newest) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.newest = sequence_number;
            return Place::Ahead { missing: ahead - 1 };
        }
        let by = self.newest - sequence_number;
        if by >= u64::from(u64::BITS) {
            return Place::TooOld;
        }
        if self.seen >> by & 1 == 1 {
            return Place::Seen;
        }
        self.seen |= 1 << by;
        Place::Behind {
            by,
            was_missing: sequence_number > self.first,
        }
    }
}

/// The share of beats that get lost, between 0 and 1.
#[derive(Debug)]
pub(super) struct Loss {
    /// Exponentially weighted over 32 beats: it sees soon that a path gets worse.
    recent: f32,
    /// Over all beats of a young sender, and about the last 1,024 of an old one. It begins with
    /// two of four lost (Agresti and Coull), so that few beats prove little.
    long: f32,
    beats: u16,
}

impl Default for Loss {
    fn default() -> Loss {
        Loss {
            recent: 0.0,
            long: 0.5,
            beats: 0,
        }
    }
}

impl Loss {
    const RECENT_BEATS: f32 = 32.0;
    const LONG_BEATS: u16 = 1024;
    /// An outage is one event, and not the rate at which beats get lost.
    const GAP_MAX: u64 = 8;

    /// A beat came, and so many before it did not.
    pub(super) fn add(&mut self, missing: u64) {
        for _ in 0..missing.min(Loss::GAP_MAX) {
            self.step(1.0);
        }
        self.step(0.0);
    }

    /// One that was taken as lost has come after all.
    pub(super) fn take_back(&mut self) {
        self.recent = (self.recent - 1.0 / Loss::RECENT_BEATS).max(0.0);
        self.long = (self.long - self.weight()).max(0.0);
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.recent >= LOSS_ORDINARY
    }

    /// How many beats in a row chance alone does not lose.
    pub(super) fn missed_max(&self) -> u32 {
        let rate = self.recent.max(self.long);
        let missed = (FALSE_ALARM.ln() / rate.ln()).ceil();
        missed.clamp(MISSED_MIN, MISSED_MAX) as u32
    }

    fn step(&mut self, outcome: f32) {
        self.beats = Loss::LONG_BEATS.min(self.beats + 1);
        self.recent += (outcome - self.recent) / Loss::RECENT_BEATS;
        self.long += (outcome - self.long) * self.weight();
    }

    fn weight(&self) -> f32 {
        1.0 / (f32::from(self.beats) + 4.0)
    }
}

/// How long beats are under way, compared with the first: the clocks need not agree.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// In nanoseconds.
    current: i64,
    /// Least and most of the beats since the last turn, and of the 64 before.
    recent: (i64, i64),
    before: (i64, i64),
    beats: u8,
}

impl Delay {
    const TURN_BEATS: u8 = 64;
    /// A path does not change by that much from one beat to the next; a clock that is set does.
    const STEP_MIN: Duration = Duration::from_secs(1);

    /// The difference to the delay of the beat before; `None` if a clock was set.
    pub(super) fn add(&mut self, difference: i128) -> Option<Duration> {
        let difference = i64::try_from(difference).ok()?;
        let size = Duration::from_nanos(difference.unsigned_abs());
        if size >= Delay::STEP_MIN {
            return None;
        }
        self.current = self.current.saturating_add(difference);
        if self.beats == Delay::TURN_BEATS {
            (self.before, self.recent) = (self.recent, (self.current, self.current));
            self.beats = 0;
        }
        let (least, most) = self.recent;
        self.recent = (least.min(self.current), most.max(self.current));
        self.beats += 1;
        Some(size)
    }

    pub(super) fn variation(&self) -> Duration {
        let least = self.recent.0.min(self.before.0);
        let most = self.recent.1.max(self.before.1);
        Duration::from_nanos(most.abs_diff(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many beats, before each of which so many were lost.
    #[track_caller]
    fn check_missed(beats: u64, missing: u64, expected: u32) {
        let mut loss = Loss::default();
        for _ in 0..beats {
            loss.add(missing);
        }
        assert_eq!(loss.missed_max(), expected, "{beats} {missing}");
    }

    #[test]
    fn as_many_are_missed_as_chance_does_not_lose() {
        check_missed(0, 0, 34);
        check_missed(100, 0, 6);
        check_missed(5000, 0, 3);
        check_missed(5000, 1, 34);
        check_missed(5000, 2, 40);
    }

    /// It is soon careful again when the path gets worse, and an outage is not a lossy path.
    #[test]
    fn losses_are_remembered_and_forgotten() {
        let mut loss = Loss::default();
        (0..5000).for_each(|_| loss.add(0));
        loss.add(1);
        assert_eq!((loss.missed_max(), loss.is_lossy()), (7, false));
        loss.add(1_000_000);
        assert_eq!((loss.missed_max(), loss.is_lossy()), (17, true));
        (0..200).for_each(|_| loss.add(0));
        assert_eq!((loss.missed_max(), loss.is_lossy()), (5, false));
    }

    #[test]
    fn what_came_late_was_not_lost() {
        let mut loss = Loss::default();
        for _ in 0..2000 {
            loss.add(1);
            loss.take_back();
        }
        assert!(!loss.is_lossy());
        assert!(loss.missed_max() <= 7, "{}", loss.missed_max());
    }

    #[test]
    fn variation_is_that_of_lately() {
        let mut delay = Delay::default();
        let mut vary = |ms: i128| delay.add(ms * 1_000_000).map(|size| size.as_millis());
        assert_eq!((vary(300), vary(-280)), (Some(300), Some(280)));
        assert_eq!((vary(1000), vary(-3_600_000)), (None, None));
        assert_eq!(delay.variation(), Duration::from_millis(300));
        for _ in 0..2 * Delay::TURN_BEATS {
            delay.add(0);
        }
        assert_eq!(delay.variation(), Duration::ZERO);
    }
}
