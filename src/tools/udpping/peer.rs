//! What is learnt of the other side: who lost what, how its clock runs, who interferes.

use std::net::{IpAddr, SocketAddr};

use super::dialect::{Heard, Reflection};
use crate::measure::direction::Directions;
use crate::measure::one_way::Delays;
use crate::measure::sample::Sample;
use crate::wire::icmp::Problem;

#[derive(Default)]
pub(super) struct Peer {
    /// The newest of those who answered without being asked, and how many datagrams they sent.
    pub(super) stranger: Option<SocketAddr>,
    pub(super) strangers: u64,
    /// Why the newest that did not leave did not.
    pub(super) trouble: Option<String>,
    pub(super) problem: Option<(IpAddr, Problem)>,
    /// What was left of the newest request's hop limit, there.
    pub(super) hop_limit: Option<u8>,
    /// It tells what it sees.
    pub(super) is_telling: bool,
    pub(super) directions: Directions,
    pub(super) delays: Delays,
    /// Its stamps are whole multiples of that.
    pub(super) grain_ns: Grain,
    /// How many requests it has told of.
    requests: u64,
}

impl Peer {
    pub(super) fn on_stranger(&mut self, from: SocketAddr) {
        self.stranger = Some(from);
        self.strangers += 1;
    }

    pub(super) fn on_trouble(&mut self, problem: &str) {
        self.trouble = Some(problem.to_owned());
    }

    pub(super) fn on_problem(&mut self, from: IpAddr, problem: Problem) {
        self.problem = Some((from, problem));
    }

    /// The first reply to a request: when that was sent and when it came, by the own clock.
    pub(super) fn on_reply(&mut self, number: u64, sent: i128, received: i128, heard: &Heard) {
        let Some(reflection) = heard.reflection else {
            return;
        };
        self.is_telling = true;
        self.hop_limit = reflection.hop_limit;
        self.count(number, reflection);
        self.grain_ns.refine(reflection.received);
        self.grain_ns.refine(reflection.sent);
        let stamps = [sent, reflection.received, reflection.sent, received];
        let stamps = stamps.map(|nanoseconds| i64::try_from(nanoseconds).ok());
        if let [Some(t1_ns), Some(t2_ns), Some(t3_ns), Some(t4_ns)] = stamps {
            self.delays.add(Sample {
                t1_ns,
                t2_ns,
                t3_ns,
                t4_ns,
            });
        }
    }

    pub(super) fn on_duplicate(&mut self, number: u64, heard: &Heard) {
        if let Some(reflection) = heard.reflection {
            self.count(number, reflection);
        }
    }

    /// So many requests of this session it has had, in the low 32 bits.
    pub(super) fn on_final_count(&mut self, requests: u32) {
        self.directions
            .on_final_count(widen(requests, self.requests));
    }

    fn count(&mut self, number: u64, reflection: Reflection) {
        let requests = widen(reflection.requests, self.requests);
        self.requests = self.requests.max(requests);
        if let (Some(sent), Some(seen)) = (number.checked_sub(1), requests.checked_sub(1)) {
            self.directions.on_reply(sent, seen);
        }
    }
}

/// Some clocks tell only milliseconds, and what is worked out from them is no better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grain(pub(super) i64);

impl Default for Grain {
    fn default() -> Grain {
        Grain(1_000_000)
    }
}

impl Grain {
    fn refine(&mut self, stamp: i128) {
        let is_multiple = |grain: i64| {
            // NTP's fractions are rounded by a nanosecond.
            let rest = stamp.rem_euclid(grain.into());
            rest <= 1 || rest >= i128::from(grain) - 1
        };
        while self.0 > 1 && !is_multiple(self.0) {
            self.0 /= 1000;
        }
    }
}

/// The number with these low bits that is nearest to a known one.
fn widen(low_bits: u32, near: u64) -> u64 {
    let apart = low_bits.wrapping_sub(near as u32).cast_signed();
    near.checked_add_signed(apart.into())
        .unwrap_or(low_bits.into())
}

#[cfg(test)]
mod tests {
    use super::{Grain, widen};

    #[test]
    fn coarse_clocks() {
        let grain = |stamps: &[i128]| {
            let mut grain = Grain::default();
            stamps.iter().for_each(|stamp| grain.refine(*stamp));
            grain.0
        };
        assert_eq!(grain(&[5_000_000, 7_000_001]), 1_000_000);
        assert_eq!(grain(&[5_000_000, 7_123_000]), 1000);
        assert_eq!(grain(&[5_000_000, 7_123_456]), 1);
    }

    #[test]
    fn counts_wrap() {
        const WRAP: u64 = 1 << 32;
        assert_eq!(widen(5, 3), 5);
        assert_eq!(widen(3, 5), 3);
        assert_eq!(widen(2, WRAP - 1), WRAP + 2);
        assert_eq!(widen(u32::MAX, WRAP + 2), WRAP - 1);
        assert_eq!(widen(u32::MAX, 2), WRAP - 1);
    }
}
