//! Which address to ask next, how often, and when to give up. Pure: time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests on their way at once: the answers must fit into the socket's buffer, and a network
/// of unanswered questions into the kernel's table of neighbours.
const WINDOW: usize = 4096;
/// Beside the number of tries, in an address's octet.
const ALIVE: u8 = 0x80;
const UNREACHABLE: u8 = 0x40;
const WAITING: u8 = 0x20;
const TRIES: u8 = 0x1f;

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) count: u64,
    pub(super) tries: u8,
    /// Between two requests, to whomever.
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the address at this place.
    Send(u32),
    WaitUntil(Instant),
    Done,
}

pub(super) struct Search {
    plan: Plan,
    /// By place: how often it was asked, and what came of it.
    states: Vec<u8>,
    next: u64,
    next_at: Instant,
    /// In the order of sending, which is that of giving up.
    asked: VecDeque<(u32, Instant)>,
    waiting: usize,
    pub(super) alive: u64,
    /// Somebody said so, or the system did not even send.
    pub(super) unreachable: u64,
}

impl Search {
    pub(super) fn new(plan: Plan, now: Instant) -> Search {
        Search {
            plan,
            states: vec![0; usize::try_from(plan.count).unwrap_or(usize::MAX)],
            next: 0,
            next_at: now,
            asked: VecDeque::new(),
            waiting: 0,
            alive: 0,
            unreachable: 0,
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Step {
        loop {
            // Those who answered need not be asked again.
            while let Some((index, _)) = self.asked.front()
                && self.state(*index) & WAITING == 0
            {
                self.asked.pop_front();
            }
            let oldest = self.asked.front().copied();
            let expires = oldest.map(|(_, sent)| sent + self.plan.timeout);
            let expired = oldest.filter(|_| expires.is_some_and(|expires| expires <= now));
            let next = match expired {
                Some((index, _)) if self.state(index) & TRIES >= self.plan.tries => {
                    self.asked.pop_front();
                    self.stop_waiting(index);
                    continue;
                }
                Some((index, _)) => Some(index),
                None if self.next < self.plan.count && self.waiting < WINDOW => {
                    Some(self.next as u32)
                }
                None => None,
            };
            return match (next, expires) {
                (Some(_), _) if self.next_at > now => Step::WaitUntil(self.next_at),
                (Some(index), _) => Step::Send(index),
                (None, Some(expires)) => Step::WaitUntil(expires),
                (None, None) => Step::Done,
            };
        }
    }

    pub(super) fn on_sent(&mut self, index: u32, at: Instant) {
        self.begin(index);
        let state = &mut self.states[index as usize];
        match *state & WAITING {
            0 => self.waiting += 1,
            // Once more: it takes its place at the end.
            _ => _ = self.asked.pop_front(),
        }
        *state = (*state | WAITING) + 1;
        self.asked.push_back((index, at));
        self.next_at = (self.next_at + self.plan.interval).max(at);
    }

    /// The system will not send to this address.
    pub(super) fn on_refused(&mut self, index: u32) {
        self.begin(index);
        self.mark_unreachable(index);
    }

    fn begin(&mut self, index: u32) {
        if u64::from(index) == self.next {
            self.next += 1;
        }
    }

    /// Whether it is its first answer.
    pub(super) fn on_reply(&mut self, index: u32) -> bool {
        let state = self.state(index);
        if state & ALIVE != 0 || state & TRIES == 0 {
            return false;
        }
        if state & UNREACHABLE != 0 {
            // Whoever said so was wrong.
            self.unreachable -= 1;
        }
        self.stop_waiting(index);
        self.states[index as usize] = (self.state(index) & !UNREACHABLE) | ALIVE;
        self.alive += 1;
        true
    }

    /// Whether that is news about somebody who was asked.
    pub(super) fn on_unreachable(&mut self, index: u32) -> bool {
        let state = self.state(index);
        if state & (ALIVE | UNREACHABLE) != 0 || state & TRIES == 0 {
            return false;
        }
        self.mark_unreachable(index);
        true
    }

    fn mark_unreachable(&mut self, index: u32) {
        self.stop_waiting(index);
        self.states[index as usize] |= UNREACHABLE;
        self.unreachable += 1;
    }

    fn stop_waiting(&mut self, index: u32) {
        if self.state(index) & WAITING != 0 {
            self.states[index as usize] &= !WAITING;
            self.waiting -= 1;
        }
    }

    /// Asked as often as was to be, or refused by somebody, and not alive.
    pub(super) fn is_dead(&self, index: u32) -> bool {
        let state = self.state(index);
        state & (ALIVE | WAITING) == 0 && state & TRIES > 0
    }

    /// Asked, and nothing was heard in time.
    pub(super) fn silent(&self) -> u64 {
        let is_silent = |state: &&u8| **state & (ALIVE | UNREACHABLE | WAITING) == 0 && **state > 0;
        self.states.iter().filter(is_silent).count() as u64
    }

    pub(super) fn asked(&self) -> u64 {
        self.next
    }

    fn state(&self, index: u32) -> u8 {
        self.states[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn start(count: u64) -> (Search, Instant) {
        let now = clock::now();
        let plan = Plan {
            count,
            tries: 2,
            interval: Duration::ZERO,
            timeout: Duration::from_millis(500),
        };
        (Search::new(plan, now), now)
    }

    fn ms(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn who_is_silent_is_asked_again_and_then_given_up() {
        let (mut search, now) = start(2);
        for index in 0..2 {
            assert_eq!(search.poll(now), Step::Send(index));
            search.on_sent(index, now);
        }
        assert_eq!(search.poll(now), Step::WaitUntil(ms(now, 500)));
        assert!(search.on_reply(1));
        assert!(!search.on_reply(1), "a duplicate");
        assert_eq!(search.poll(ms(now, 500)), Step::Send(0));
        search.on_sent(0, ms(now, 500));
        assert_eq!(search.poll(ms(now, 501)), Step::WaitUntil(ms(now, 1000)));
        assert_eq!(search.poll(ms(now, 1000)), Step::Done);
        assert!(search.on_reply(0), "late, but alive");
        assert_eq!((search.alive, search.is_dead(0)), (2, false));
    }

    #[test]
    fn an_error_spares_the_second_try() {
        let (mut search, now) = start(1);
        search.on_sent(0, now);
        assert!(search.on_unreachable(0));
        assert!(!search.on_unreachable(0));
        assert_eq!(search.poll(now), Step::Done);
    }

    #[test]
    fn a_window_of_questions_is_open_at_a_time() {
        let (mut search, now) = start(10_000);
        let mut sent = 0;
        while let Step::Send(index) = search.poll(now) {
            search.on_sent(index, now);
            sent += 1;
        }
        assert_eq!(sent, WINDOW);
        for index in 0..100 {
            search.on_reply(index);
        }
        assert_eq!(search.poll(now), Step::Send(WINDOW as u32));
    }

    #[test]
    fn what_nobody_asked_for_is_no_answer() {
        let (mut search, now) = start(3);
        assert!(!search.on_reply(2) && !search.on_unreachable(2));
        assert_eq!(search.poll(now), Step::Send(0));
    }

    #[test]
    fn a_request_that_could_not_leave_yet_is_made_again() {
        let (mut search, now) = start(1);
        search.on_sent(0, now);
        assert_eq!(search.poll(ms(now, 500)), Step::Send(0));
        assert_eq!(search.poll(ms(now, 501)), Step::Send(0), "nothing was sent");
        search.on_sent(0, ms(now, 501));
        assert_eq!(search.poll(ms(now, 502)), Step::WaitUntil(ms(now, 1001)));
    }

    #[test]
    fn a_reply_refutes_who_said_that_there_is_nobody() {
        let (mut search, now) = start(1);
        search.on_sent(0, now);
        assert!(search.on_unreachable(0) && search.on_reply(0));
        assert_eq!(
            (search.alive, search.unreachable, search.silent()),
            (1, 0, 0)
        );
    }
}
