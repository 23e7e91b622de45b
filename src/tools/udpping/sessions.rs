//! How many requests each session has sent, for as long as there is room to remember it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

const SESSIONS_MAX: usize = 16_384;
/// A session that is silent for so long is over.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) struct Sessions<K, T> {
    sessions: HashMap<K, Session<T>>,
}

pub(super) struct Session<T> {
    pub(super) requests: u32,
    pub(super) more: T,
    last: Instant,
}

impl<K: Eq + Hash, T: Default> Sessions<K, T> {
    pub(super) fn new() -> Sessions<K, T> {
        Sessions {
            sessions: HashMap::new(),
        }
    }

    /// One more request of this session.
    pub(super) fn count(&mut self, session: K, now: Instant) -> &mut Session<T> {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&session) {
            self.forget(now);
        }
        let known = self.sessions.entry(session).or_insert_with(|| Session {
            requests: 0,
            more: T::default(),
            last: now,
        });
        known.requests = known.requests.wrapping_add(1);
        known.last = now;
        known
    }

    /// So far, none if it is not known.
    pub(super) fn requests(&self, session: K) -> u32 {
        let known = self.sessions.get(&session);
        known.map_or(0, |session| session.requests)
    }

    /// Those that are over, or else the older half.
    fn forget(&mut self, now: Instant) {
        let age = |session: &Session<T>| now.saturating_duration_since(session.last);
        self.sessions
            .retain(|_, session| age(session) < SILENCE_MAX);
        if self.sessions.len() < SESSIONS_MAX {
            return;
        }
        let mut ages: Vec<Duration> = self.sessions.values().map(age).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        self.sessions.retain(|_, session| age(session) < median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn sessions_are_counted_apart_and_the_old_are_forgotten() {
        let start = clock::now();
        let mut sessions = Sessions::<_, ()>::new();
        let counts = ["a", "b", "a", "a"].map(|name| sessions.count(name, start).requests);
        assert_eq!(counts, [1, 1, 2, 3]);
        let mut sessions = Sessions::<_, ()>::new();
        for number in 0..5 * SESSIONS_MAX as u64 {
            let now = start + Duration::from_millis(number);
            sessions.count(number, now);
            assert!(sessions.sessions.len() <= SESSIONS_MAX);
        }
        let newest = 5 * SESSIONS_MAX as u64 - 1;
        let now = start + Duration::from_millis(newest);
        assert_eq!(sessions.count(newest, now).requests, 2);
        assert_eq!(sessions.count(0, now).requests, 1);
    }
}
