//! Which addresses of a host to connect to, and when: RFC 8305 sections 4 and 5.
//!
//! All addresses are known beforehand, since the system's resolver answers for both families at
//! once (section 3 is left out), and nothing is remembered about former connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// RFC 8305 section 5 recommends this Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Names may have hundreds of addresses. These are begun within two seconds; each holds a
/// descriptor.
const ATTEMPTS_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect to it, and go on.
    Start(SocketAddr),
    /// Nothing else is to be done until then, unless an attempt fails or succeeds before.
    WaitUntil(Instant),
    /// All attempts have, or the time is up.
    Failed,
}

pub(super) struct Attempts {
    waiting: VecDeque<SocketAddr>,
    underway: Vec<SocketAddr>,
    next_at: Instant,
    deadline: Instant,
}

impl Attempts {
    pub(super) fn new(addresses: &[SocketAddr], now: Instant, deadline: Instant) -> Attempts {
        Attempts {
            waiting: interleave(addresses),
            underway: Vec::new(),
            next_at: now,
            deadline,
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::Failed;
        }
        if now >= self.next_at
            && let Some(address) = self.waiting.pop_front()
        {
            self.underway.push(address);
            self.next_at = now + ATTEMPT_DELAY;
            return Step::Start(address);
        }
        match (self.waiting.is_empty(), self.underway.is_empty()) {
            (true, true) => Step::Failed,
            (true, false) => Step::WaitUntil(self.deadline),
            (false, _) => Step::WaitUntil(self.next_at.min(self.deadline)),
        }
    }

    /// The next attempt takes the place of one that failed at once.
    pub(super) fn on_failure(&mut self, address: SocketAddr, now: Instant) {
        self.underway.retain(|underway| *underway != address);
        self.next_at = now;
    }
}

/// IPv6 first, then by turns, each family in the order of the resolver (RFC 6724), none twice.
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let leads = |address: &&SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let mut leading = addresses.iter().filter(leads);
    let mut others = addresses.iter().filter(|address| !leads(address));
    let mut order = VecDeque::new();
    loop {
        let pair = [leading.next(), others.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if order.len() < ATTEMPTS_MAX && !order.contains(address) {
                order.push_back(*address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn address(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 80)
    }

    fn addresses(ips: &str) -> Vec<SocketAddr> {
        ips.split_whitespace().map(address).collect()
    }

    /// The order in which addresses are tried when each fails at once.
    #[track_caller]
    fn check_order(ips: &str, expected: &str) {
        let now = clock::now();
        let deadline = now + Duration::from_secs(5);
        let mut attempts = Attempts::new(&addresses(ips), now, deadline);
        let mut tried = Vec::new();
        while let Step::Start(address) = attempts.poll(now) {
            attempts.on_failure(address, now);
            tried.push(address);
        }
        assert_eq!(tried, addresses(expected));
        assert_eq!(attempts.poll(now), Step::Failed);
    }

    #[test]
    fn families_take_turns() {
        check_order("", "");
        check_order("192.0.2.1", "192.0.2.1");
        check_order("192.0.2.1 ::1", "192.0.2.1 ::1");
        check_order("::1 ::2 192.0.2.1 ::3", "::1 192.0.2.1 ::2 ::3");
        check_order(
            "192.0.2.1 192.0.2.2 192.0.2.3 ::1",
            "192.0.2.1 ::1 192.0.2.2 192.0.2.3",
        );
        check_order("::1 ::1 192.0.2.1 ::1", "::1 192.0.2.1");
        check_order(
            "::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8 ::9 192.0.2.1",
            "::1 192.0.2.1 ::2 ::3 ::4 ::5 ::6 ::7",
        );
    }

    /// At some milliseconds after the start of a dial to `::1`, `192.0.2.1` and `::2` within two
    /// seconds: what is to be done (`::1`, `until 250`, `failed`), or what has failed (`-::1`).
    #[track_caller]
    fn check(steps: &[(u64, &str)]) {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut attempts = Attempts::new(&addresses("::1 ::2 192.0.2.1"), start, at(2000));
        for (ms, expected) in steps {
            if let Some(failed) = expected.strip_prefix('-') {
                attempts.on_failure(address(failed), at(*ms));
                continue;
            }
            let step = match attempts.poll(at(*ms)) {
                Step::Start(address) => address.ip().to_string(),
                Step::WaitUntil(until) => format!("until {}", (until - start).as_millis()),
                Step::Failed => "failed".to_owned(),
            };
            assert_eq!(step, *expected, "at {ms} ms");
        }
    }

    #[test]
    fn silent_addresses_are_passed_over_by_and_by() {
        check(&[
            (0, "::1"),
            (0, "until 250"),
            (249, "until 250"),
            (250, "192.0.2.1"),
            (250, "until 500"),
            (620, "::2"),
            (620, "until 2000"),
            (1999, "until 2000"),
            (2000, "failed"),
        ]);
    }

    #[test]
    fn a_failure_starts_the_next_at_once_and_the_last_ends_it() {
        check(&[
            (0, "::1"),
            (10, "-::1"),
            (10, "192.0.2.1"),
            (10, "until 260"),
            (260, "::2"),
            (300, "-::2"),
            (300, "until 2000"),
            (310, "-192.0.2.1"),
            (310, "failed"),
        ]);
    }

    #[test]
    fn no_attempt_starts_after_the_deadline() {
        check(&[(2000, "failed")]);
        check(&[(0, "::1"), (1900, "192.0.2.1"), (1900, "until 2000")]);
        check(&[(0, "::1"), (2100, "-::1"), (2100, "failed")]);
    }

    proptest! {
        #[test]
        fn whatever_a_name_has_each_is_tried_once_and_few_at_a_time(
            ips in proptest::collection::vec((any::<bool>(), 0..20_u8), 0..40),
            events in proptest::collection::vec((0..400_u64, any::<prop::sample::Index>()), 0..40),
        ) {
            let ip = |(is_v6, last): &(bool, u8)| match is_v6 {
                true => IpAddr::from([0, 0, 0, 0, 0, 0, 0, u16::from(*last)]),
                false => IpAddr::from([192, 0, 2, *last]),
            };
            let addresses: Vec<_> = ips.iter().map(|host| SocketAddr::new(ip(host), 80)).collect();
            let mut now = clock::now();
            let mut attempts = Attempts::new(&addresses, now, now + Duration::from_secs(5));
            let (mut tried, mut underway) = (Vec::new(), Vec::new());
            for (ms, which) in events {
                while let Step::Start(address) = attempts.poll(now) {
                    prop_assert!(addresses.contains(&address) && !tried.contains(&address));
                    tried.push(address);
                    underway.push(address);
                }
                now += Duration::from_millis(ms);
                if !underway.is_empty() && ms % 2 == 0 {
                    attempts.on_failure(underway.remove(which.index(underway.len())), now);
                }
            }
            prop_assert!(tried.len() <= ATTEMPTS_MAX);
            prop_assert_eq!(attempts.poll(now + Duration::from_secs(5)), Step::Failed);
        }
    }
}
