//! When to send to one host, what to wait for, and what the answers add up to. Pure: time is
//! passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::measure::loss::Losses;
use crate::measure::rtt::Rtts;

/// Requests whose replies are still told apart; older ones are forgotten. The wire has 16 bits
/// for their numbers.
const REMEMBERED_MAX: usize = 16_384;
/// A flood goes on at least this often, whether anything is answered or not.
const FLOOD_INTERVAL_MAX: Duration = Duration::from_millis(10);
/// Between the requests of a ping that adapts to the answers.
const ADAPTIVE_INTERVAL_MIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// `None` goes on until stopped.
    pub(super) count: Option<u64>,
    pub(super) pace: Pace,
    pub(super) interval: Duration,
    /// How long after the last request its reply is waited for.
    pub(super) timeout: Duration,
    /// When all ends.
    pub(super) deadline: Option<Instant>,
    /// Requests that are sent without waiting for a reply.
    pub(super) preload: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Steady,
    /// As soon as the last request is answered, or after the interval.
    Adaptive,
    /// As fast as answers come, or a hundred times a second.
    Flood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the request with this sequence number, from 1.
    Send(u64),
    WaitUntil(Instant),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    First {
        sequence_number: u64,
        rtt: Duration,
    },
    Duplicate {
        sequence_number: u64,
        rtt: Duration,
    },
    /// Its request is forgotten.
    Old,
    /// No request had this number.
    Unsent,
}

pub(super) struct Probes {
    plan: Plan,
    started: Instant,
    next_at: Instant,
    last_sent: Instant,
    last_event: Instant,
    requests: VecDeque<Request>,
    /// The number of the first of them.
    oldest: u64,
    unanswered: u64,
    newest_answered: u64,
    /// The newest of which the outcome is known, which is what a flood waits for.
    newest_settled: u64,
    /// Of the requests that are forgotten.
    settled: Losses,
    pub(super) tally: Tally,
    pub(super) rtts: Rtts,
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
    Failed,
    /// The machine slept, and its network with it.
    Suspended,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) transmitted: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) corrupted: u64,
    pub(super) errors: u64,
    /// Answers to later requests came first.
    pub(super) reordered: u64,
    /// Requests that the machine slept through, which are neither answered nor lost.
    pub(super) suspended: u64,
    /// The most requests that were ever on their way at once.
    pub(super) pipe: u64,
}

impl Probes {
    /// The first request leaves at `start`.
    pub(super) fn new(plan: Plan, start: Instant) -> Probes {
        Probes {
            plan,
            started: start,
            next_at: start,
            last_sent: start,
            last_event: start,
            requests: VecDeque::new(),
            oldest: 1,
            unanswered: 0,
            newest_answered: 0,
            newest_settled: 0,
            settled: Losses::default(),
            tally: Tally::default(),
            rtts: Rtts::default(),
        }
    }

    pub(super) fn poll(&self, now: Instant) -> Step {
        let until = |at: Instant| Step::WaitUntil(self.plan.deadline.map_or(at, |end| at.min(end)));
        if self.plan.deadline.is_some_and(|end| end <= now) {
            return Step::Done;
        }
        let sent_all = self
            .plan
            .count
            .is_some_and(|count| self.tally.transmitted >= count);
        if !sent_all {
            let due = self.due();
            return match due > now {
                true => until(due),
                false => Step::Send(self.tally.transmitted + 1),
            };
        }
        match self.last_sent + self.plan.timeout {
            end if self.unanswered > 0 && end > now => until(end),
            _ => Step::Done,
        }
    }

    /// When the next request is to leave.
    fn due(&self) -> Instant {
        let on_their_way = self.tally.transmitted - self.newest_settled;
        let is_first = self.tally.transmitted == 0;
        match self.plan.pace {
            _ if is_first => self.next_at,
            Pace::Steady if self.tally.transmitted < self.plan.preload => self.last_sent,
            Pace::Steady => self.next_at,
            Pace::Flood if on_their_way < self.plan.preload.max(1) => self.last_sent,
            Pace::Flood => self.last_sent + FLOOD_INTERVAL_MAX,
            Pace::Adaptive if on_their_way < self.plan.preload.max(1) => {
                self.last_sent + ADAPTIVE_INTERVAL_MIN
            }
            Pace::Adaptive => self.last_sent + self.plan.interval,
        }
    }

    /// The request left, or would have if the system had let it.
    pub(super) fn on_sent(&mut self, sequence_number: u64, at: Instant) {
        self.tally.transmitted = sequence_number;
        self.last_event = at;
        self.last_sent = at;
        // Requests leave at fixed instants, however late one was; but none is made up for.
        self.next_at = match sequence_number < self.plan.preload {
            true => at,
            false => (self.next_at + self.plan.interval).max(at),
        };
        self.requests.push_back(Request {
            sent: at,
            state: State::Waiting,
        });
        self.unanswered += 1;
        if self.requests.len() > REMEMBERED_MAX
            && let Some(forgotten) = self.requests.pop_front()
        {
            self.oldest += 1;
            self.unanswered -= u64::from(forgotten.state == State::Waiting);
            settle(&mut self.settled, &forgotten);
        }
    }

    /// The kernel says more exactly when the request left.
    pub(super) fn on_transmitted(&mut self, sequence_number: u64, at: Instant) {
        let Some(request) = self.request(sequence_number) else {
            return;
        };
        // Not before the call that sent it; far after it, the wall clock was set meanwhile.
        const LATER_MAX: Duration = Duration::from_millis(100);
        let is_plausible = at >= request.sent && at - request.sent < LATER_MAX;
        if request.state == State::Waiting && is_plausible {
            request.sent = at;
        }
    }

    /// A reply with the low 16 bits of a sequence number.
    pub(super) fn on_reply(&mut self, low_bits: u16, at: Instant) -> Reply {
        let Some(sequence_number) = self.whole(low_bits) else {
            return Reply::Unsent;
        };
        let Some(request) = self.request(sequence_number) else {
            return Reply::Old;
        };
        let rtt = at.saturating_duration_since(request.sent);
        let ms = rtt.as_secs_f64() * 1e3;
        let before = std::mem::replace(&mut request.state, State::Answered(ms));
        self.last_event = self.last_event.max(at);
        let on_their_way = self.tally.transmitted - sequence_number + 1;
        self.tally.pipe = self.tally.pipe.max(on_their_way);
        match before {
            State::Answered(first) => {
                if let Some(request) = self.request(sequence_number) {
                    request.state = State::Answered(first);
                }
                self.tally.duplicates += 1;
                return Reply::Duplicate {
                    sequence_number,
                    rtt,
                };
            }
            State::Waiting => self.unanswered -= 1,
            State::Suspended => self.tally.suspended -= 1,
            State::Failed => {}
        }
        self.tally.received += 1;
        self.tally.reordered += u64::from(sequence_number < self.newest_answered);
        self.newest_answered = self.newest_answered.max(sequence_number);
        self.newest_settled = self.newest_settled.max(sequence_number);
        self.rtts.add(rtt);
        Reply::First {
            sequence_number,
            rtt,
        }
    }

    /// A router, the host or this system said that the request will not be answered.
    pub(super) fn on_error(&mut self, low_bits: u16) -> Option<u64> {
        let sequence_number = self.whole(low_bits)?;
        let request = self.request(sequence_number)?;
        // Nothing more is to be waited for; a reply that comes all the same counts.
        if request.state == State::Waiting {
            request.state = State::Failed;
            self.unanswered -= 1;
            self.newest_settled = self.newest_settled.max(sequence_number);
        }
        self.tally.errors += 1;
        Some(sequence_number)
    }

    pub(super) fn on_corrupted(&mut self) {
        self.tally.corrupted += 1;
    }

    /// The machine slept: what was on its way will not be heard of, and that is nobody's loss.
    pub(super) fn on_suspended(&mut self, now: Instant) {
        for request in &mut self.requests {
            let is_late = now.saturating_duration_since(request.sent) >= self.plan.timeout;
            if request.state == State::Waiting && !is_late {
                request.state = State::Suspended;
                self.tally.suspended += 1;
                self.unanswered -= 1;
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.unanswered > 0
    }

    pub(super) fn is_waiting_for(&self, sequence_number: u64) -> bool {
        let index = sequence_number.checked_sub(self.oldest);
        let request = index.and_then(|index| self.requests.get(index as usize));
        request.is_some_and(|request| request.state == State::Waiting)
    }

    /// All that was lost up to `now`; what may still be answered in time is left out.
    pub(super) fn losses(&self, now: Instant) -> Losses {
        let mut losses = self.settled.clone();
        for request in &self.requests {
            let is_late = now.saturating_duration_since(request.sent) >= self.plan.timeout;
            if request.state != State::Waiting || is_late {
                settle(&mut losses, request);
            }
        }
        losses.end_outage(now);
        losses
    }

    /// The newest round-trip times in milliseconds, `None` for what was not answered.
    pub(super) fn last(&self, count: usize) -> Vec<Option<f64>> {
        let skipped = self.requests.len().saturating_sub(count);
        let last = self.requests.iter().skip(skipped);
        last.map(|request| match request.state {
            State::Answered(ms) => Some(ms),
            State::Waiting | State::Failed | State::Suspended => None,
        })
        .collect()
    }

    /// From the start to the last thing that happened.
    pub(super) fn elapsed(&self) -> Duration {
        self.last_event.saturating_duration_since(self.started)
    }

    pub(super) fn loss_percent(&self) -> f64 {
        let counted = self.tally.transmitted - self.tally.suspended;
        let lost = counted.saturating_sub(self.tally.received);
        lost as f64 * 100.0 / counted.max(1) as f64
    }

    fn request(&mut self, sequence_number: u64) -> Option<&mut Request> {
        let index = sequence_number.checked_sub(self.oldest)?;
        self.requests.get_mut(usize::try_from(index).ok()?)
    }

    /// The newest number sent that ends in these bits.
    fn whole(&self, low_bits: u16) -> Option<u64> {
        let newest = self.tally.transmitted;
        let back = (newest as u16).wrapping_sub(low_bits);
        newest
            .checked_sub(u64::from(back))
            .filter(|number| *number > 0)
    }
}

fn settle(losses: &mut Losses, request: &Request) {
    match request.state {
        State::Answered(_) => losses.settle(request.sent, true),
        State::Waiting | State::Failed => losses.settle(request.sent, false),
        State::Suspended => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PLAN: Plan = Plan {
        count: Some(3),
        pace: Pace::Steady,
        interval: Duration::from_millis(1000),
        timeout: Duration::from_millis(2000),
        deadline: None,
        preload: 1,
    };

    struct Clock(Instant);

    impl Clock {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn start(plan: Plan) -> (Probes, Clock) {
        let clock = Clock(clock::now());
        (Probes::new(plan, clock.0), clock)
    }

    fn first(sequence_number: u64, ms: u64) -> Reply {
        Reply::First {
            sequence_number,
            rtt: Duration::from_millis(ms),
        }
    }

    #[test]
    fn requests_leave_one_interval_apart_whatever_the_loop_does() {
        let (mut probes, clock) = start(PLAN);
        assert_eq!(probes.poll(clock.at(0)), Step::Send(1));
        probes.on_sent(1, clock.at(30));
        assert_eq!(probes.poll(clock.at(31)), Step::WaitUntil(clock.at(1000)));
        assert_eq!(probes.poll(clock.at(1300)), Step::Send(2));
        probes.on_sent(2, clock.at(1300));
        assert_eq!(probes.poll(clock.at(1301)), Step::WaitUntil(clock.at(2000)));
    }

    #[test]
    fn a_late_loop_does_not_send_a_burst() {
        let (mut probes, clock) = start(PLAN);
        probes.on_sent(1, clock.at(0));
        probes.on_sent(2, clock.at(60_000));
        assert_eq!(probes.poll(clock.at(60_000)), Step::Send(3));
        probes.on_sent(3, clock.at(60_000));
        assert_eq!(
            probes.poll(clock.at(60_001)),
            Step::WaitUntil(clock.at(62_000))
        );
    }

    #[test]
    fn what_the_machine_slept_through_is_not_lost() {
        let (mut probes, clock) = start(PLAN);
        probes.on_sent(1, clock.at(0));
        probes.on_reply(1, clock.at(1));
        probes.on_sent(2, clock.at(1000));
        probes.on_suspended(clock.at(1500));
        probes.on_sent(3, clock.at(2000));
        probes.on_reply(3, clock.at(2001));
        assert_eq!(probes.poll(clock.at(2002)), Step::Done);
        assert_eq!((probes.tally.suspended, probes.loss_percent()), (1, 0.0));
        assert_eq!(probes.losses(clock.at(2002)).sent, 2);
    }

    #[test]
    fn it_ends_with_the_last_reply_or_the_timeout_or_the_deadline() {
        let (mut probes, clock) = start(PLAN);
        for number in 1..=3 {
            probes.on_sent(number, clock.at(number * 1000));
        }
        assert_eq!(probes.on_reply(1, clock.at(3001)), first(1, 2001));
        assert_eq!(probes.on_reply(3, clock.at(3002)), first(3, 2));
        assert_eq!(probes.poll(clock.at(3003)), Step::WaitUntil(clock.at(5000)));
        assert_eq!(probes.poll(clock.at(5000)), Step::Done);
        assert_eq!(probes.on_reply(2, clock.at(4999)), first(2, 2999));
        assert_eq!(probes.poll(clock.at(4999)), Step::Done);
        assert_eq!(probes.tally.reordered, 1, "2 came after 3");
        let (mut probes, clock) = start(PLAN);
        probes.plan.deadline = Some(clock.at(500));
        probes.on_sent(1, clock.at(0));
        assert_eq!(probes.poll(clock.at(1)), Step::WaitUntil(clock.at(500)));
        assert_eq!(probes.poll(clock.at(500)), Step::Done);
    }

    #[test]
    fn a_flood_follows_the_answers_and_gives_up_on_none() {
        let (mut probes, clock) = start(Plan {
            pace: Pace::Flood,
            count: None,
            ..PLAN
        });
        probes.on_sent(1, clock.at(0));
        assert_eq!(probes.poll(clock.at(1)), Step::WaitUntil(clock.at(10)));
        assert_eq!(probes.poll(clock.at(10)), Step::Send(2));
        probes.on_sent(2, clock.at(10));
        probes.on_reply(2, clock.at(11));
        assert_eq!(probes.poll(clock.at(11)), Step::Send(3), "1 is lost");
    }

    #[test]
    fn a_preload_leaves_at_once() {
        let (mut probes, clock) = start(Plan {
            preload: 3,
            count: None,
            ..PLAN
        });
        for number in 1..=3 {
            assert_eq!(probes.poll(clock.at(0)), Step::Send(number));
            probes.on_sent(number, clock.at(0));
        }
        assert_eq!(probes.poll(clock.at(0)), Step::WaitUntil(clock.at(1000)));
    }

    #[test]
    fn duplicates_and_what_was_never_asked_for_do_not_count() {
        let (mut probes, clock) = start(PLAN);
        probes.on_sent(1, clock.at(0));
        assert_eq!(probes.on_reply(1, clock.at(5)), first(1, 5));
        let again = Reply::Duplicate {
            sequence_number: 1,
            rtt: Duration::from_millis(9),
        };
        assert_eq!(probes.on_reply(1, clock.at(9)), again);
        for never in [0, 2, 8, u16::MAX] {
            assert_eq!(
                probes.on_reply(never, clock.at(9)),
                Reply::Unsent,
                "{never}"
            );
        }
        assert_eq!((probes.tally.received, probes.tally.duplicates), (1, 1));
        assert_eq!(probes.loss_percent(), 0.0);
        assert_eq!(probes.last(9), [Some(5.0)]);
    }

    #[test]
    fn the_kernels_stamp_counts_where_it_can_be_true() {
        let (mut probes, clock) = start(PLAN);
        probes.on_sent(1, clock.at(10));
        probes.on_transmitted(1, clock.at(9));
        probes.on_transmitted(1, clock.at(500));
        probes.on_transmitted(1, clock.at(12));
        assert_eq!(probes.on_reply(1, clock.at(15)), first(1, 3));
    }

    #[test]
    fn an_error_ends_the_wait_for_its_request() {
        let (mut probes, clock) = start(Plan {
            count: Some(1),
            ..PLAN
        });
        probes.on_sent(1, clock.at(0));
        assert_eq!(probes.on_error(1), Some(1));
        assert_eq!(probes.on_error(7), None);
        assert_eq!(probes.poll(clock.at(1)), Step::Done);
        assert_eq!((probes.tally.errors, probes.loss_percent()), (1, 100.0));
    }

    #[test]
    fn sequence_numbers_wrap_on_the_wire_only() {
        let (mut probes, clock) = start(Plan {
            count: None,
            ..PLAN
        });
        for number in 1..=70_000 {
            probes.on_sent(number, clock.at(number));
        }
        let low_bits = (70_000_u64 % 65_536) as u16;
        assert_eq!(
            probes.on_reply(low_bits, clock.at(70_003)),
            first(70_000, 3)
        );
        assert_eq!(
            probes.on_reply(65_535, clock.at(70_003)),
            first(65_535, 4468)
        );
        assert_eq!(
            probes.on_reply(low_bits + 1, clock.at(70_003)),
            Reply::Old,
            "forgotten"
        );
        assert!(probes.requests.len() <= REMEMBERED_MAX);
        assert_eq!(probes.losses(clock.at(80_000)).sent, 70_000);
        assert_eq!(
            probes.losses(clock.at(70_003)).sent,
            68_004,
            "the others may be answered yet"
        );
    }
}
