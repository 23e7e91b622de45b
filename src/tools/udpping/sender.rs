//! What the monitor knows of one sender of heartbeats: whether it is up, and what its beats
//! tell of the path. Time is handed in.
//!
//! Only a beat that is newer than all before it is a sign of life. One that was overtaken, a
//! copy or a recording proves nothing about now.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{Event, Reason};
use super::quality::{Delay, Loss, Place, Window};
use crate::wire::heartbeat::{Beat, INTERVAL_MAX, INTERVAL_MIN, Kind};

/// As many intervals without a beat are worth telling of a sender that seldom loses one.
const LATE_INTERVALS: u32 = 2;
/// What scheduling at both ends may take.
const MARGIN_MIN: Duration = Duration::from_millis(10);
/// Until a second beat has come from a sender that does not say its interval.
const INTERVAL_UNKNOWN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Late,
    Down,
    /// It has said that it ends.
    Left,
}

#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) name: Arc<str>,
    /// It is called by its address.
    pub(crate) is_nameless: bool,
    pub(crate) address: SocketAddr,
    pub(crate) state: State,
    /// When its newest beat arrived.
    pub(crate) last_seen: Instant,
    pub(crate) interval: Duration,
    pub(crate) received: u64,
    /// Missing sequence numbers, less those that came late.
    pub(crate) lost: u64,
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    pub(crate) restarts: u32,
    /// How often its clock has jumped.
    pub(crate) steps: u32,
    /// RFC 3550 section 6.4.1; it needs no clocks that agree.
    pub(crate) jitter: Duration,
    boot: u64,
    /// The timestamp of the newest beat.
    sent: Duration,
    window: Window,
    loss: Loss,
    delay: Delay,
    /// Nothing proves that what comes is of now, so that a clock that went back is believed.
    pub(super) may_go_back: bool,
    /// When the roster will look at it again.
    pub(super) scheduled: Option<Instant>,
}

/// How the run of the sender that a beat belongs to stands to the one that is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Earlier,
    Same,
    Later,
}

impl Sender {
    /// One that has just sent its first beat.
    pub(super) fn new(now: Instant, from: SocketAddr, name: Arc<str>, beat: &Beat<'_>) -> Sender {
        Sender {
            name,
            is_nameless: beat.name.is_empty(),
            address: from,
            state: State::Up,
            last_seen: now,
            interval: match beat.interval {
                Duration::ZERO => INTERVAL_UNKNOWN,
                said => said,
            },
            received: 1,
            lost: 0,
            reordered: 0,
            duplicates: 0,
            restarts: 0,
            steps: 0,
            jitter: Duration::ZERO,
            boot: beat.boot,
            sent: beat.sent,
            window: Window::new(beat.sequence_number),
            loss: Loss::default(),
            delay: Delay::default(),
            may_go_back: false,
            scheduled: None,
        }
    }

    fn is_away(&self) -> bool {
        matches!(self.state, State::Down | State::Left)
    }

    /// The difference between the slowest and the fastest of the last 64 to 128 beats.
    pub(crate) fn delay_variation(&self) -> Duration {
        self.delay.variation()
    }

    /// A further beat. What is not of now may be a recording of a run that was never seen.
    pub(super) fn on_beat(
        &mut self,
        now: Instant,
        from: SocketAddr,
        beat: &Beat<'_>,
        is_timely: bool,
        events: &mut Vec<Event>,
    ) {
        let run = self.run(beat);
        let place = match run {
            Run::Earlier => Place::TooOld,
            // What somebody has held back is no sign of life.
            Run::Same if !is_timely => return events.push(self.rejected(from, Reason::Stale)),
            Run::Same => self.window.place(beat.sequence_number),
            Run::Later if is_timely => {
                self.window = Window::new(beat.sequence_number);
                Place::Ahead { missing: 0 }
            }
            Run::Later => return events.push(self.rejected(from, Reason::Stale)),
        };
        match place {
            Place::Ahead { missing } => {
                self.received += 1;
                self.on_newest(now, from, beat, run, missing, events);
            }
            Place::Behind { by, was_missing } => {
                events.push(Event::Reordered {
                    name: self.name.clone(),
                    by,
                });
                self.received += 1;
                self.reordered += 1;
                if was_missing {
                    self.lost = self.lost.saturating_sub(1);
                    self.loss.take_back();
                }
            }
            Place::Seen => {
                events.push(Event::Duplicate {
                    name: self.name.clone(),
                });
                self.duplicates += 1;
            }
            Place::TooOld => events.push(self.rejected(from, Reason::Replayed)),
        }
    }

    /// When the silence gets a new meaning.
    pub(super) fn due(&self, down_after: Option<u32>) -> Option<Instant> {
        match self.state {
            State::Up => {
                let (late, down) = (self.late_after(), self.deadline(down_after));
                let is_told = late < down && !self.loss.is_lossy();
                self.last_seen
                    .checked_add(if is_told { late } else { down })
            }
            State::Late => self.last_seen.checked_add(self.deadline(down_after)),
            State::Down | State::Left => None,
        }
    }

    /// What is due is told.
    pub(super) fn on_silence(
        &mut self,
        now: Instant,
        down_after: Option<u32>,
        events: &mut Vec<Event>,
    ) {
        if self.due(down_after).is_none_or(|due| due > now) {
            return;
        }
        let name = self.name.clone();
        let silence = now.saturating_duration_since(self.last_seen);
        if silence >= self.deadline(down_after) {
            self.state = State::Down;
            events.push(Event::Down {
                name,
                since: self.last_seen,
                silence,
                missed: (silence.as_secs_f64() / self.interval.as_secs_f64()) as u64,
            });
        } else {
            self.state = State::Late;
            let by = silence.saturating_sub(self.interval);
            events.push(Event::Late { name, by });
        }
    }

    fn deadline(&self, down_after: Option<u32>) -> Duration {
        let missed = down_after.unwrap_or_else(|| self.loss.missed_max());
        self.interval * missed + self.margin()
    }

    fn late_after(&self) -> Duration {
        self.interval * LATE_INTERVALS + self.margin()
    }

    /// By how much a beat may be slower than the one before it, without being late.
    fn margin(&self) -> Duration {
        (self.jitter * 4)
            .max(self.delay_variation())
            .max(MARGIN_MIN)
    }

    /// Where nothing is authenticated, a machine that was down may come back with an earlier clock.
    fn run(&self, beat: &Beat<'_>) -> Run {
        if !beat.name.is_empty() {
            // The timestamps of one run may go back: clocks are set. The sequence numbers don't.
            return match beat.boot.cmp(&self.boot) {
                Ordering::Less if self.may_go_back && self.is_away() => Run::Later,
                Ordering::Less => Run::Earlier,
                Ordering::Equal => Run::Same,
                Ordering::Greater => Run::Later,
            };
        }
        // Without a boot, only both together tell: numbers that begin again at a later time are
        // a restart, and higher ones of an earlier time come from the run before it.
        let is_ahead = beat.sequence_number > self.window.newest;
        if is_ahead && beat.sent < self.sent {
            Run::Earlier
        } else if !is_ahead && beat.sent > self.sent {
            Run::Later
        } else {
            Run::Same
        }
    }

    fn on_newest(
        &mut self,
        now: Instant,
        from: SocketAddr,
        beat: &Beat<'_>,
        run: Run,
        missing: u64,
        events: &mut Vec<Event>,
    ) {
        let name = self.name.clone();
        let silence = now.saturating_duration_since(self.last_seen);
        let was_away = self.is_away();
        if was_away && beat.kind == Kind::Heartbeat {
            events.push(Event::Up {
                name: name.clone(),
                address: from,
                after: Some(silence),
            });
        }
        if run == Run::Later {
            events.push(Event::Restarted { name: name.clone() });
            self.restarts = self.restarts.saturating_add(1);
            self.boot = beat.boot;
        }
        if from != self.address {
            events.push(Event::Moved {
                name: name.clone(),
                from: self.address,
                to: from,
            });
            self.address = from;
        }
        if missing > 0 && !self.loss.is_lossy() {
            events.push(Event::Lost {
                name: name.clone(),
                count: missing,
            });
        }
        if beat.kind == Kind::Bye {
            events.push(Event::Left { name });
        }
        self.lost = self.lost.saturating_add(missing);
        self.loss.add(missing);
        self.time(silence, beat, run);
        self.interval = match beat.interval {
            Duration::ZERO if run == Run::Same => self.learnt_interval(silence, missing),
            Duration::ZERO => self.interval,
            said => said,
        };
        self.state = match beat.kind {
            Kind::Heartbeat => State::Up,
            Kind::Bye => State::Left,
        };
        self.last_seen = now;
        self.sent = beat.sent;
    }

    fn time(&mut self, silence: Duration, beat: &Beat<'_>, run: Run) {
        if run != Run::Same {
            return;
        }
        let difference = nanoseconds(silence) - nanoseconds(beat.sent) + nanoseconds(self.sent);
        match self.delay.add(difference) {
            Some(difference) => self.jitter = (self.jitter * 15 + difference) / 16,
            None => self.steps = self.steps.saturating_add(1),
        }
    }

    /// The first two beats say what it is about. From then on it grows slowly, because a
    /// sender that was asleep is no slower sender.
    fn learnt_interval(&self, silence: Duration, missing: u64) -> Duration {
        let beats = u32::try_from(missing.saturating_add(1)).unwrap_or(u32::MAX);
        let sample = (silence / beats).clamp(INTERVAL_MIN, INTERVAL_MAX);
        match self.received {
            ..=2 => sample,
            _ => (self.interval * 7 + sample.min(self.interval * 2)) / 8,
        }
    }

    fn rejected(&self, address: SocketAddr, reason: Reason) -> Event {
        Event::Rejected {
            reason,
            name: self.name.clone(),
            address,
        }
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    // 64 bits of seconds in nanoseconds have less than 94 bits.
    duration.as_nanos() as i128
}

#[cfg(test)]
mod tests;
