//! How many datagrams of each source are answered: a token bucket for every one.
//!
//! A source is an IPv4 address, or an IPv6 /56, out of which whoever has it can take a new
//! address for every datagram.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// These take about 2 MB. Honest senders are fewer, and made-up ones would fill any table.
const SOURCES_MAX: usize = 16_384;

/// How many sources are looked at to find one that can be forgotten: some, so that the table
/// empties after a flood, and few, so that a flood costs no more than its datagrams.
const LOOKED_AT_MAX: usize = 8;

/// End sites have a /56 or more as a rule (RFC 6177).
const IPV6_PREFIX_LENGTH: u32 = 56;

/// What a datagram costs. With this unit a rate per second times nanoseconds is exact, so that
/// nothing is rounded away however often a bucket is refilled.
const COST: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    buckets: HashMap<IpAddr, Bucket>,
    /// Whose buckets there are; the next to be looked at is at the front.
    order: VecDeque<IpAddr>,
    /// Of all newcomers for whom there is no place, together.
    shared: Option<Bucket>,
}

impl Limiter {
    /// A source that was silent has `burst` datagrams answered at once.
    pub(crate) fn new(rate_per_second: u32, burst: u32) -> Limiter {
        Limiter {
            rate: Rate {
                per_second: rate_per_second,
                burst,
            },
            buckets: HashMap::new(),
            order: VecDeque::new(),
            shared: None,
        }
    }

    /// Whether one more datagram of this source is answered.
    pub(crate) fn permits(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = prefix(source);
        let full = Bucket::full(self.rate, now);
        if !self.buckets.contains_key(&source) && self.has_place(now) {
            self.buckets.insert(source, full);
            self.order.push_back(source);
        }
        let bucket = match self.buckets.get_mut(&source) {
            Some(bucket) => bucket,
            None => self.shared.get_or_insert(full),
        };
        bucket.take(self.rate, now)
    }

    /// Makes one if need be: a source whose bucket is full again is as good as a new one.
    fn has_place(&mut self, now: Instant) -> bool {
        if self.buckets.len() < SOURCES_MAX {
            return true;
        }
        for _ in 0..LOOKED_AT_MAX {
            let Some(source) = self.order.pop_front() else {
                return false;
            };
            let bucket = self.buckets.get(&source);
            if bucket.is_none_or(|bucket| bucket.is_full(self.rate, now)) {
                self.buckets.remove(&source);
                return true;
            }
            self.order.push_back(source);
        }
        false
    }
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: u32,
    burst: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// As it was at `filled_at`.
    credit: u64,
    filled_at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket {
            credit: u64::from(rate.burst) * COST,
            filled_at: now,
        }
    }

    fn is_full(self, rate: Rate, now: Instant) -> bool {
        self.credit_at(rate, now) >= Bucket::full(rate, now).credit
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.credit = self.credit_at(rate, now);
        // A time before the last one gives nothing, and must not count twice later.
        self.filled_at = self.filled_at.max(now);
        match self.credit.checked_sub(COST) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }

    fn credit_at(self, rate: Rate, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.filled_at).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let refill = elapsed.saturating_mul(u64::from(rate.per_second));
        let credit = self.credit.saturating_add(refill);
        credit.min(Bucket::full(rate, now).credit)
    }
}

fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_LENGTH);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The source with this number, each in a network of its own.
    fn source(number: usize) -> IpAddr {
        let number = u32::try_from(number).expect("a small number");
        Ipv4Addr::from_bits(number).into()
    }

    /// One source asks at these milliseconds: `y` where it is answered.
    #[track_caller]
    fn check(rate_per_second: u32, burst: u32, times: &[u64], expected: &str) {
        let start = clock::now();
        let mut limiter = Limiter::new(rate_per_second, burst);
        let answers = times.iter().map(|time| {
            let is_permitted = limiter.permits(SOURCE, start + ms(*time));
            if is_permitted { 'y' } else { 'n' }
        });
        assert_eq!(answers.collect::<String>(), expected, "{times:?}");
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        check(10, 3, &[0, 0, 0, 0, 99, 100, 100, 199, 200], "yyynnynny");
        check(10, 2, &[0, 50, 100, 150, 200, 250], "yyynyn");
        check(1000, 1, &[0, 0, 1, 2, 2, 3], "ynyyny");
        // A long silence saves up no more than the burst.
        check(10, 2, &[0, 0, 3_600_000, 3_600_000, 3_600_000], "yyyyn");
        check(1, 0, &[0, 1000, 10_000], "nnn");
        check(0, 2, &[0, 0, 3_600_000], "yyn");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        check(1000, 2, &[7, 7, 7, 7, 7], "yynnn");
        check(10, 2, &[1000, 1000, 500, 0, 1000, 1099, 1100], "yynnnny");
    }

    /// Datagrams at these rates are not a whole number of nanoseconds apart.
    #[test]
    fn the_rate_is_exact_for_hours() {
        for (rate, step) in [(3, ms(71)), (7, Duration::from_nanos(33_333_337))] {
            let start = clock::now();
            let mut limiter = Limiter::new(rate, 2);
            let mut now = start;
            let mut permitted = 0;
            while now < start + Duration::from_secs(7200) {
                permitted += u64::from(limiter.permits(SOURCE, now));
                now += step;
            }
            // The burst at the start; what the rate adds last is due when the time is over.
            assert_eq!(permitted, 2 + u64::from(rate) * 7200 - 1, "{rate} a second");
        }
    }

    #[test]
    fn the_largest_figures_do_not_overflow() {
        let start = clock::now();
        let mut limiter = Limiter::new(u32::MAX, u32::MAX);
        assert!(limiter.permits(SOURCE, start));
        assert!(limiter.permits(SOURCE, start + Duration::from_secs(u64::from(u32::MAX))));
    }

    /// Whether what one has used is gone for the other.
    #[track_caller]
    fn check_same(one: &str, other: &str, is_same: bool) {
        let now = clock::now();
        let mut limiter = Limiter::new(1, 1);
        assert!(limiter.permits(one.parse().expect(one), now));
        let is_permitted = limiter.permits(other.parse().expect(other), now);
        assert_eq!(is_permitted, !is_same, "{one} and {other}");
    }

    #[test]
    fn what_one_source_is() {
        check_same("192.0.2.1", "192.0.2.1", true);
        check_same("192.0.2.1", "::ffff:192.0.2.1", true);
        check_same("192.0.2.1", "192.0.2.2", false);
        check_same("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
        let last = "2001:db8:0:ff:ffff:ffff:ffff:ffff";
        check_same("2001:db8::1", last, true);
        check_same("2001:db8::1", "2001:db8:0:100::1", false);
        check_same("2001:db8:0:100::", last, false);
    }

    /// A limiter without a free place, all of whose sources have used their burst.
    fn crowded(rate_per_second: u32, now: Instant) -> Limiter {
        let mut limiter = Limiter::new(rate_per_second, 1);
        for number in 0..SOURCES_MAX {
            assert!(limiter.permits(source(number), now), "{number}");
        }
        limiter
    }

    #[test]
    fn without_a_place_newcomers_have_one_bucket_together() {
        let start = clock::now();
        let mut limiter = crowded(1, start);
        let newcomers: Vec<IpAddr> = (0..1000).map(|n| source(SOURCES_MAX + n)).collect();
        let permitted = |limiter: &mut Limiter, now| {
            let permits = newcomers.iter().filter(|one| limiter.permits(**one, now));
            permits.count()
        };
        assert_eq!(permitted(&mut limiter, start), 1);
        assert_eq!(permitted(&mut limiter, start + ms(999)), 0);
        assert!(!limiter.permits(source(0), start + ms(999)), "an old one");
        // Then there are places again, each with a burst of its own.
        assert_eq!(permitted(&mut limiter, start + ms(1000)), 1000);
        assert_eq!(limiter.buckets.len(), SOURCES_MAX);
        assert_eq!(limiter.order.len(), SOURCES_MAX);
    }

    #[test]
    fn who_still_sends_is_not_forgotten_for_newcomers() {
        let start = clock::now();
        let mut limiter = crowded(1, start);
        let mut now = start;
        for number in 0..10_000 {
            now += ms(1);
            limiter.permits(source(SOURCES_MAX + number), now);
            let is_due = number % 1000 == 999;
            assert_eq!(limiter.permits(source(0), now), is_due, "{number}");
        }
        assert_eq!(limiter.buckets.len(), SOURCES_MAX);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_rate_nor_is_refused_below_it(
            rate in 1_u32..2000,
            burst in 1_u32..5,
            asks in prop::collection::vec((0_usize..3, 0_u64..2_000_000), 1..200),
        ) {
            let mut now = clock::now();
            let mut limiter = Limiter::new(rate, burst);
            let mut permitted: [Vec<Instant>; 3] = Default::default();
            for (number, gap_us) in asks {
                now += Duration::from_micros(gap_us);
                let is_permitted = limiter.permits(source(number), now);
                let times = &mut permitted[number];
                // In no span more than the burst and what the rate has added meanwhile.
                let is_due = (0..times.len()).all(|first| {
                    let span = (now - times[first]).as_nanos() * u128::from(rate);
                    let count = (times.len() - first + 1) as u128;
                    count * u128::from(COST) <= u128::from(burst) * u128::from(COST) + span
                });
                prop_assert_eq!(is_permitted, is_due);
                if is_permitted {
                    times.push(now);
                }
            }
        }
    }
}
