//! When to send, what to wait for, and what the answers add up to. Pure: time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Requests whose replies are still told apart; older ones are forgotten.
const REMEMBERED_MAX: usize = 16_384;

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// `None` goes on until stopped.
    pub(super) count: Option<u64>,
    pub(super) interval: Duration,
    /// How long after the last request its reply is waited for.
    pub(super) timeout: Duration,
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
    /// No request with this number is remembered.
    Unasked,
}

pub(super) struct Probes {
    plan: Plan,
    started: Instant,
    next_at: Instant,
    last_event: Instant,
    requests: BTreeMap<u64, Request>,
    unanswered: u64,
    pub(super) tally: Tally,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    sent: Instant,
    answered: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) transmitted: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) corrupted: u64,
    pub(super) errors: u64,
    /// The most requests that were ever on their way at once.
    pub(super) pipe: u64,
    pub(super) rtt: Option<Rtt>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rtt {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) last: f64,
    sum: f64,
    sum_of_squares: f64,
    count: u64,
}

impl Probes {
    pub(super) fn new(plan: Plan, now: Instant) -> Probes {
        Probes {
            plan,
            started: now,
            next_at: now,
            last_event: now,
            requests: BTreeMap::new(),
            unanswered: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn poll(&self, now: Instant) -> Step {
        let sent_all = self
            .plan
            .count
            .is_some_and(|count| self.tally.transmitted >= count);
        if !sent_all {
            return match self.next_at > now {
                true => Step::WaitUntil(self.next_at),
                false => Step::Send(self.tally.transmitted + 1),
            };
        }
        let last_sent = self
            .requests
            .values()
            .next_back()
            .map(|request| request.sent);
        match last_sent.map(|sent| sent + self.plan.timeout) {
            Some(end) if self.unanswered > 0 && end > now => Step::WaitUntil(end),
            _ => Step::Done,
        }
    }

    /// The request left, or would have if the system had let it.
    pub(super) fn on_sent(&mut self, sequence_number: u64, at: Instant) {
        self.tally.transmitted = sequence_number;
        self.last_event = at;
        // Requests leave at fixed instants, however late one was; but none is made up for.
        self.next_at = (self.next_at + self.plan.interval).max(at);
        self.requests.insert(
            sequence_number,
            Request {
                sent: at,
                answered: false,
            },
        );
        self.unanswered += 1;
        if self.requests.len() > REMEMBERED_MAX
            && let Some((_, forgotten)) = self.requests.pop_first()
            && !forgotten.answered
        {
            self.unanswered -= 1;
        }
    }

    /// A reply with the low 16 bits of a sequence number.
    pub(super) fn on_reply(&mut self, low_bits: u16, at: Instant) -> Reply {
        let Some(sequence_number) = self.whole(low_bits) else {
            return Reply::Unasked;
        };
        let Some(request) = self.requests.get_mut(&sequence_number) else {
            return Reply::Unasked;
        };
        let rtt = at.saturating_duration_since(request.sent);
        self.last_event = self.last_event.max(at);
        let on_their_way = self.tally.transmitted - sequence_number + 1;
        self.tally.pipe = self.tally.pipe.max(on_their_way);
        if std::mem::replace(&mut request.answered, true) {
            self.tally.duplicates += 1;
            return Reply::Duplicate {
                sequence_number,
                rtt,
            };
        }
        self.unanswered -= 1;
        self.tally.received += 1;
        let ms = rtt.as_secs_f64() * 1e3;
        self.tally.rtt = Some(Rtt::add(self.tally.rtt, ms));
        Reply::First {
            sequence_number,
            rtt,
        }
    }

    /// A router or the host said that the request will not be answered.
    pub(super) fn on_error(&mut self, low_bits: u16) -> Option<u64> {
        let sequence_number = self.whole(low_bits)?;
        let request = self.requests.get_mut(&sequence_number)?;
        self.tally.errors += 1;
        // Nothing more is to be waited for; a reply that comes all the same is the first.
        if !request.answered {
            self.unanswered -= 1;
            self.requests.remove(&sequence_number);
        }
        Some(sequence_number)
    }

    pub(super) fn on_corrupted(&mut self) {
        self.tally.corrupted += 1;
    }

    /// From the start to the last thing that happened.
    pub(super) fn elapsed(&self) -> Duration {
        self.last_event.saturating_duration_since(self.started)
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

impl Tally {
    pub(super) fn loss_percent(&self) -> f64 {
        if self.transmitted == 0 {
            return 0.0;
        }
        let lost = self.transmitted.saturating_sub(self.received);
        lost as f64 * 100.0 / self.transmitted as f64
    }
}

impl Rtt {
    fn add(before: Option<Rtt>, ms: f64) -> Rtt {
        let none = Rtt {
            min: ms,
            max: ms,
            last: ms,
            sum: 0.0,
            sum_of_squares: 0.0,
            count: 0,
        };
        let Rtt {
            min,
            max,
            sum,
            sum_of_squares,
            count,
            ..
        } = before.unwrap_or(none);
        Rtt {
            min: min.min(ms),
            max: max.max(ms),
            last: ms,
            sum: sum + ms,
            sum_of_squares: sum_of_squares + ms * ms,
            count: count + 1,
        }
    }

    pub(super) fn average(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The standard deviation, which iputils calls mdev.
    pub(super) fn deviation(&self) -> f64 {
        let mean_of_squares = self.sum_of_squares / self.count as f64;
        (mean_of_squares - self.average() * self.average())
            .max(0.0)
            .sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PLAN: Plan = Plan {
        count: Some(3),
        interval: Duration::from_millis(1000),
        timeout: Duration::from_millis(2000),
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
    fn a_suspended_machine_does_not_send_a_burst() {
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
    fn it_ends_with_the_last_reply_or_the_timeout() {
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
                Reply::Unasked,
                "{never}"
            );
        }
        let Tally {
            received,
            duplicates,
            ..
        } = probes.tally;
        assert_eq!((received, duplicates), (1, 1));
        assert_eq!(probes.tally.loss_percent(), 0.0);
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
        assert_eq!(
            (probes.tally.errors, probes.tally.loss_percent()),
            (1, 100.0)
        );
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
            Reply::Unasked,
            "forgotten"
        );
        assert!(probes.requests.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn round_trip_times_add_up() {
        let (mut probes, clock) = start(PLAN);
        for (number, ms) in [(1, 10), (2, 20), (3, 60)] {
            probes.on_sent(number, clock.at(0));
            probes.on_reply(number as u16, clock.at(ms));
        }
        let rtt = probes.tally.rtt.expect("three replies");
        assert_eq!((rtt.min, rtt.average(), rtt.max), (10.0, 30.0, 60.0));
        assert!(
            (rtt.deviation() - 21.602).abs() < 0.001,
            "{}",
            rtt.deviation()
        );
    }
}
