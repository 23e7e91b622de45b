//! Replies that a simulated network holds back until they are due.

use std::collections::BTreeMap;
use std::time::Instant;

/// How many replies wait at a time: 10,000 a second, delayed for a second.
const COUNT_MAX: usize = 10_000;

/// What they take at a time: that many of 1472 octets, which Ethernet carries whole.
const OCTETS_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Delayed<T> {
    /// By due time and, where that is the same, in the order in which they came.
    waiting: BTreeMap<(Instant, u64), (usize, T)>,
    pushed: u64,
    octets: usize,
}

impl<T> Delayed<T> {
    pub(crate) fn new() -> Delayed<T> {
        Delayed {
            waiting: BTreeMap::new(),
            pushed: 0,
            octets: 0,
        }
    }

    /// `false`, and it is dropped, when too many or too much waits.
    pub(crate) fn push(&mut self, due: Instant, octets_len: usize, reply: T) -> bool {
        let octets_left = OCTETS_MAX - self.octets;
        if self.waiting.len() == COUNT_MAX || octets_len > octets_left {
            return false;
        }
        self.waiting.insert((due, self.pushed), (octets_len, reply));
        self.pushed += 1;
        self.octets += octets_len;
        true
    }

    /// The one that has been due for longest.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.waiting.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let (octets_len, reply) = first.remove();
        self.octets -= octets_len;
        Some(reply)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        let ((due, _), _) = self.waiting.first_key_value()?;
        Some(*due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn replies_leave_when_they_are_due_and_in_order() {
        let start = clock::now();
        let mut delayed = Delayed::new();
        for (due, name) in [(30, "a"), (10, "b"), (30, "c"), (20, "d"), (10, "e")] {
            assert!(delayed.push(start + ms(due), 100, name));
        }
        assert_eq!(delayed.next_due(), Some(start + ms(10)));
        assert_eq!(delayed.pop_due(start + ms(9)), None);
        let mut left =
            |now| std::iter::from_fn(|| delayed.pop_due(start + ms(now))).collect::<String>();
        assert_eq!(left(10), "be");
        assert_eq!(left(29), "d");
        assert_eq!(left(1000), "ac");
        assert_eq!(delayed.next_due(), None);
    }

    /// Replies of so many octets: how many can wait.
    #[track_caller]
    fn check_room(octets_len: usize, count_expected: usize) {
        let now = clock::now();
        let mut delayed = Delayed::new();
        let count = (0..=COUNT_MAX)
            .take_while(|_| delayed.push(now, octets_len, ()))
            .count();
        assert_eq!(count, count_expected, "{octets_len} octets");
        // Who leaves makes room.
        for _ in 0..count {
            assert_eq!(delayed.pop_due(now), Some(()));
            assert!(delayed.push(now, octets_len, ()));
            assert!(!delayed.push(now, octets_len, ()));
        }
    }

    #[test]
    fn no_more_waits_than_may() {
        check_room(0, COUNT_MAX);
        check_room(1472, COUNT_MAX);
        check_room(65_507, 256);
        check_room(OCTETS_MAX, 1);
        check_room(OCTETS_MAX + 1, 0);
        check_room(usize::MAX, 0);
    }
}
