//! Which address to ask next, how often, and when to give up. Pure: time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests on their way at once: the answers must fit into the socket's buffer, and a network
/// of unanswered questions into the kernel's table of neighbours.
const WINDOW: usize = 4096;
/// Beside the number of tries, in an address's octet.
const ALIVE: u8 = 0x80;
const UNREACHABLE: u8 = 0x40;
const TRIES: u8 = 0x3f;

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
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Step {
        // Those who answered need not be asked again.
        while let Some((index, _)) = self.asked.front() {
            if self.state(*index) & (ALIVE | UNREACHABLE) == 0 {
                break;
            }
            self.asked.pop_front();
        }
        let expires = self
            .asked
            .front()
            .map(|(_, sent)| *sent + self.plan.timeout);
        let is_expired = expires.is_some_and(|expires| expires <= now);
        if self.next_at > now && (is_expired || self.next < self.plan.count) {
            return Step::WaitUntil(self.next_at);
        }
        if is_expired && let Some((index, _)) = self.asked.pop_front() {
            self.waiting -= 1;
            if self.state(index) & TRIES < self.plan.tries {
                return Step::Send(index);
            }
            return self.poll(now);
        }
        if self.next < self.plan.count && self.waiting < WINDOW {
            return Step::Send(self.next as u32);
        }
        expires.map_or(Step::Done, Step::WaitUntil)
    }

    pub(super) fn on_sent(&mut self, index: u32, at: Instant) {
        self.begin(index);
        self.waiting += 1;
        self.states[index as usize] += 1;
        self.asked.push_back((index, at));
        self.next_at = (self.next_at + self.plan.interval).max(at);
    }

    fn begin(&mut self, index: u32) {
        if u64::from(index) == self.next {
            self.next += 1;
        }
    }

    /// Whether it is its first answer.
    pub(super) fn on_reply(&mut self, index: u32) -> bool {
        let state = self.states[index as usize];
        if state & ALIVE != 0 || state & TRIES == 0 {
            return false;
        }
        // After the last try has expired nothing is waited for any more.
        self.settle(index);
        self.states[index as usize] = state | ALIVE;
        self.alive += 1;
        true
    }

    /// Whether that is news.
    pub(super) fn on_unreachable(&mut self, index: u32) -> bool {
        self.begin(index);
        let state = self.states[index as usize];
        if state & (ALIVE | UNREACHABLE) != 0 {
            return false;
        }
        self.settle(index);
        self.states[index as usize] = state | UNREACHABLE;
        true
    }

    fn settle(&mut self, index: u32) {
        let state = self.states[index as usize];
        if state & UNREACHABLE == 0 && state & TRIES > 0 {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }

    pub(super) fn is_alive(&self, index: u32) -> bool {
        self.state(index) & ALIVE != 0
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
        assert_eq!((search.alive, search.is_alive(0)), (2, true));
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
    fn an_answer_that_nobody_asked_for_is_none() {
        let (mut search, _) = start(3);
        assert!(!search.on_reply(2));
    }
}
