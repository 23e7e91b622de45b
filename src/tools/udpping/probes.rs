//! When to send, what to wait for, and what became of each datagram. Pure: time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::measure::loss::Losses;
use crate::measure::rtt::Rtts;

/// Requests whose answers are still told apart, beside those that are waited for; older ones are
/// forgotten.
const ANSWERED_MAX: u128 = 1024;
const REMEMBERED_MAX: u128 = 65_536;
/// What could not leave in time leaves as soon as it can, unless it is later than this: then its
/// slot is missed, for a burst would measure nothing but itself.
const LATENESS_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// `None` goes on until stopped.
    pub(super) count: Option<u64>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the request with this sequence number, from 1.
    Send(u64),
    /// This one was not answered in time; it may still be.
    TimedOut(u64),
    WaitUntil(Instant),
    Done,
}

/// What a reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    First {
        sequence_number: u64,
        sent: Instant,
        rtt: Duration,
        /// It came after its timeout.
        is_late: bool,
    },
    Duplicate {
        sequence_number: u64,
    },
    /// To no request that is remembered.
    Stray,
}

pub(super) struct Probes {
    plan: Plan,
    started: Instant,
    /// How many intervals after the start the next request leaves.
    slot: u64,
    requests: VecDeque<Request>,
    /// How many of them are kept.
    remembered_max: usize,
    /// The sequence number of the first of them.
    oldest: u64,
    /// The first of which it is not known whether it was answered in time.
    undecided: u64,
    newest_answered: u64,
    /// Of the requests that are forgotten.
    settled: Losses,
    pub(super) tally: Tally,
    pub(super) rtts: Rtts,
    /// How much later than planned the requests left.
    pub(super) lateness: Rtts,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    sent: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Answered(f64),
    TimedOut,
    /// Somebody said that it will not be answered, or it did not leave.
    Failed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Of the received, those after their timeout.
    pub(super) late: u64,
    pub(super) duplicates: u64,
    /// Answers to later requests came first.
    pub(super) reordered: u64,
    pub(super) refused: u64,
    pub(super) stray: u64,
    /// Requests that left when the next was due already.
    pub(super) behind: u64,
    /// Slots in which nothing was sent.
    pub(super) missed: u64,
}

impl Probes {
    /// The first request leaves at `start`.
    pub(super) fn new(plan: Plan, start: Instant) -> Probes {
        let waited_for = plan.timeout.as_nanos() / plan.interval.as_nanos().max(1);
        let remembered = (ANSWERED_MAX + waited_for).min(REMEMBERED_MAX);
        Probes {
            plan,
            started: start,
            slot: 0,
            requests: VecDeque::new(),
            remembered_max: remembered as usize,
            oldest: 1,
            undecided: 1,
            newest_answered: 0,
            settled: Losses::default(),
            tally: Tally::default(),
            rtts: Rtts::default(),
            lateness: Rtts::default(),
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Step {
        let has_more = self.plan.count.is_none_or(|count| self.tally.sent < count);
        let due = self.due();
        if has_more && due <= now {
            return Step::Send(self.tally.sent + 1);
        }
        let overdue = self.next_timeout();
        match overdue {
            Some((sequence_number, at)) if at <= now => {
                self.undecided = sequence_number + 1;
                if let Some(request) = self.request(sequence_number) {
                    request.state = State::TimedOut;
                }
                Step::TimedOut(sequence_number)
            }
            Some((_, at)) if has_more => Step::WaitUntil(at.min(due)),
            Some((_, at)) => Step::WaitUntil(at),
            None if has_more => Step::WaitUntil(due),
            None => Step::Done,
        }
    }

    /// When the next request is to leave: a whole number of intervals after the start, however
    /// late others left.
    fn due(&self) -> Instant {
        let nanoseconds = self.plan.interval.as_nanos() * u128::from(self.slot);
        self.started + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// The first request that is waited for, and until when.
    fn next_timeout(&mut self) -> Option<(u64, Instant)> {
        self.undecided = self.undecided.max(self.oldest);
        loop {
            let sequence_number = self.undecided;
            let request = *self.request(sequence_number)?;
            if request.state == State::Waiting {
                return Some((sequence_number, request.sent + self.plan.timeout));
            }
            self.undecided += 1;
        }
    }

    /// The next request left, or did not if the system would not let it.
    pub(super) fn on_sent(&mut self, at: Instant, has_left: bool) {
        let lateness = at.saturating_duration_since(self.due());
        self.lateness.add(lateness);
        self.tally.behind += u64::from(lateness >= self.plan.interval);
        self.slot += 1;
        if lateness > LATENESS_MAX {
            let interval = self.plan.interval.as_nanos().max(1);
            let missed = u64::try_from(lateness.as_nanos() / interval).unwrap_or(u64::MAX);
            self.tally.missed += missed;
            self.slot += missed;
        }
        self.tally.sent += 1;
        let state = match has_left {
            true => State::Waiting,
            false => State::Failed,
        };
        self.requests.push_back(Request { sent: at, state });
        if self.requests.len() > self.remembered_max
            && let Some(forgotten) = self.requests.pop_front()
        {
            self.oldest += 1;
            settle(&mut self.settled, forgotten);
        }
    }

    /// A reply to the request with these low 32 bits, or to any; the peer had it for so long.
    pub(super) fn on_reply(
        &mut self,
        low_bits: Option<u32>,
        at: Instant,
        turnaround: Duration,
    ) -> Reply {
        let number = match low_bits {
            Some(low_bits) => self.whole(low_bits),
            None => self.first_waiting(),
        };
        let Some((sequence_number, request)) =
            number.and_then(|number| Some((number, self.request(number)?)))
        else {
            self.tally.stray += 1;
            return Reply::Stray;
        };
        let elapsed = at.saturating_duration_since(request.sent);
        // Longer than all took, the peer's clock was set meanwhile.
        let rtt = elapsed.checked_sub(turnaround).unwrap_or(elapsed);
        let before = request.state;
        if let State::Answered(_) = before {
            self.tally.duplicates += 1;
            return Reply::Duplicate { sequence_number };
        }
        request.state = State::Answered(rtt.as_secs_f64() * 1e3);
        let sent = request.sent;
        let is_late = before == State::TimedOut;
        self.tally.received += 1;
        self.tally.late += u64::from(is_late);
        self.tally.reordered += u64::from(sequence_number < self.newest_answered);
        self.newest_answered = self.newest_answered.max(sequence_number);
        self.rtts.add(rtt);
        Reply::First {
            sequence_number,
            sent,
            rtt,
            is_late,
        }
    }

    /// Somebody on the way, or the host, said that the request will not be answered. With how
    /// long after it was sent.
    pub(super) fn on_refused(&mut self, low_bits: u32, at: Instant) -> Option<(u64, Duration)> {
        let sequence_number = self.whole(low_bits)?;
        let request = self.request(sequence_number)?;
        if !matches!(request.state, State::Waiting | State::TimedOut) {
            return None;
        }
        request.state = State::Failed;
        let after = at.saturating_duration_since(request.sent);
        self.tally.refused += 1;
        Some((sequence_number, after))
    }

    /// If it is remembered.
    pub(super) fn sent_at(&self, sequence_number: u64) -> Option<Instant> {
        let place = sequence_number.checked_sub(self.oldest)?;
        let request = self.requests.get(usize::try_from(place).ok()?);
        request.map(|request| request.sent)
    }

    fn request(&mut self, sequence_number: u64) -> Option<&mut Request> {
        let place = sequence_number.checked_sub(self.oldest)?;
        self.requests.get_mut(usize::try_from(place).ok()?)
    }

    /// The newest sequence number with these low bits that was sent.
    fn whole(&self, low_bits: u32) -> Option<u64> {
        let back = (self.tally.sent as u32).wrapping_sub(low_bits);
        let number = self.tally.sent.checked_sub(u64::from(back))?;
        (number >= self.oldest).then_some(number)
    }

    fn first_waiting(&mut self) -> Option<u64> {
        Some(self.next_timeout()?.0)
    }

    pub(super) fn lost(&self) -> u64 {
        self.tally.sent - self.tally.received
    }

    pub(super) fn loss_percent(&self) -> f64 {
        self.lost() as f64 * 100.0 / self.tally.sent.max(1) as f64
    }

    /// The numbers of those that are remembered, and not waited for any more.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = u64> {
        let numbered = (self.oldest..).zip(&self.requests);
        let lost = |state: State| matches!(state, State::TimedOut | State::Failed);
        numbered
            .filter(move |(_, request)| lost(request.state))
            .map(|(number, _)| number)
    }

    /// Without those that are still waited for.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = self.settled.clone();
        let decided = |request: &&Request| request.state != State::Waiting;
        for request in self.requests.iter().filter(decided) {
            settle(&mut losses, *request);
        }
        losses
    }

    /// The newest round-trip times, `None` where there was no answer.
    pub(super) fn last(&self, count: usize) -> Vec<Option<f64>> {
        let skipped = self.requests.len().saturating_sub(count);
        let last = self.requests.iter().skip(skipped);
        last.map(|request| match request.state {
            State::Answered(ms) => Some(ms),
            State::Waiting | State::TimedOut | State::Failed => None,
        })
        .collect()
    }
}

fn settle(losses: &mut Losses, request: Request) {
    let is_answered = matches!(request.state, State::Answered(_));
    losses.settle(request.sent, is_answered);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PLAN: Plan = Plan {
        count: Some(3),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(250),
    };

    struct Run {
        start: Instant,
        probes: Probes,
    }

    fn run(plan: Plan) -> Run {
        let start = clock::now();
        Run {
            start,
            probes: Probes::new(plan, start),
        }
    }

    impl Run {
        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn poll(&mut self, ms: u64) -> Step {
            self.probes.poll(self.at(ms))
        }

        fn send(&mut self, ms: u64) {
            assert!(matches!(self.poll(ms), Step::Send(_)), "at {ms} ms");
            self.probes.on_sent(self.at(ms), true);
        }

        fn reply(&mut self, number: Option<u32>, ms: u64) -> Reply {
            self.probes.on_reply(number, self.at(ms), Duration::ZERO)
        }

        /// A reply at `ms` is the first to this one, after so many milliseconds.
        #[track_caller]
        fn check(&mut self, number: Option<u32>, ms: u64, expected: (u64, u64, bool)) {
            let Reply::First {
                sequence_number,
                sent: _,
                rtt,
                is_late,
            } = self.reply(number, ms)
            else {
                panic!("not the first reply");
            };
            assert_eq!((sequence_number, rtt.as_millis() as u64, is_late), expected);
        }
    }

    #[test]
    fn requests_leave_at_whole_intervals_whatever_the_loop_does() {
        let mut run = run(PLAN);
        run.send(0);
        assert_eq!(run.poll(0), Step::WaitUntil(run.at(100)));
        run.send(130);
        assert_eq!(run.poll(130), Step::WaitUntil(run.at(200)));
        run.send(200);
        assert_eq!(run.probes.lateness.max, 30.0);
        assert_eq!(run.probes.tally.missed, 0);
    }

    #[test]
    fn short_delays_are_made_up_for_and_long_ones_are_missed_slots() {
        let plan = Plan {
            count: None,
            interval: Duration::from_millis(10),
            ..PLAN
        };
        let mut run = run(plan);
        run.send(0);
        for _ in 0..5 {
            run.send(50);
        }
        assert_eq!(run.poll(50), Step::WaitUntil(run.at(60)));
        run.send(260);
        assert_eq!(run.probes.tally.missed, 20);
        assert_eq!(run.poll(260), Step::TimedOut(1));
        run.send(270);
    }

    #[test]
    fn answers_in_time_late_twice_and_never() {
        let mut run = run(PLAN);
        run.send(0);
        run.check(Some(1), 40, (1, 40, false));
        run.send(100);
        run.send(200);
        assert_eq!(run.poll(200), Step::WaitUntil(run.at(350)));
        assert_eq!(run.poll(350), Step::TimedOut(2));
        run.check(Some(3), 360, (3, 160, false));
        run.check(Some(2), 370, (2, 270, true));
        let twice = Reply::Duplicate { sequence_number: 2 };
        assert_eq!(run.reply(Some(2), 380), twice);
        assert_eq!(run.reply(Some(9), 380), Reply::Stray);
        assert_eq!(run.poll(380), Step::Done);
        let expected = Tally {
            sent: 3,
            received: 3,
            late: 1,
            duplicates: 1,
            reordered: 1,
            stray: 1,
            ..Tally::default()
        };
        assert_eq!(run.probes.tally, expected);
    }

    #[test]
    fn the_last_answer_is_waited_for() {
        let mut run = run(Plan {
            count: Some(1),
            ..PLAN
        });
        run.send(0);
        assert_eq!(run.poll(249), Step::WaitUntil(run.at(250)));
        assert_eq!(run.poll(250), Step::TimedOut(1));
        assert_eq!(run.poll(250), Step::Done);
        assert_eq!((run.probes.lost(), run.probes.loss_percent()), (1, 100.0));
    }

    /// A bare `pong` answers whatever was asked first.
    #[test]
    fn answers_without_a_number() {
        let mut run = run(PLAN);
        run.send(0);
        run.send(100);
        run.check(None, 110, (1, 110, false));
        run.check(None, 120, (2, 20, false));
        assert_eq!(run.reply(None, 130), Reply::Stray);
    }

    #[test]
    fn what_is_refused_is_not_waited_for() {
        let mut run = run(PLAN);
        run.send(0);
        let after = Duration::from_millis(2);
        let at = run.at(2);
        assert_eq!(run.probes.on_refused(1, at), Some((1, after)));
        assert_eq!(run.probes.on_refused(1, at), None);
        run.send(100);
        run.probes.on_sent(run.at(200), false);
        assert_eq!(run.poll(200), Step::WaitUntil(run.at(350)));
        assert_eq!(run.probes.losses().lost, 2);
    }

    /// The peer says how long it had the request; what can't be is not believed.
    #[test]
    fn the_peers_own_time_does_not_count() {
        for (turnaround, expected) in [(30, 70), (100, 0), (200, 100)] {
            let mut run = run(PLAN);
            run.send(0);
            let turnaround = Duration::from_millis(turnaround);
            let reply = run.probes.on_reply(Some(1), run.at(100), turnaround);
            let Reply::First { rtt, .. } = reply else {
                panic!("{reply:?}");
            };
            assert_eq!(rtt, Duration::from_millis(expected));
        }
    }

    /// 497 days of one datagram each 10 ms.
    #[test]
    fn numbers_wrap() {
        let mut run = run(Plan {
            count: None,
            ..PLAN
        });
        let sent = u64::from(u32::MAX) - 1;
        run.probes.tally.sent = sent;
        run.probes.oldest = sent + 1;
        run.probes.undecided = sent + 1;
        for ms in [0, 100, 200] {
            run.send(ms);
        }
        run.check(Some(u32::MAX), 210, (sent + 1, 210, false));
        run.check(Some(1), 220, (sent + 3, 20, false));
        run.check(Some(0), 230, (sent + 2, 130, false));
    }
}
