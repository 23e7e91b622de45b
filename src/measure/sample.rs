//! The four stamps of an exchange (RFC 8762 section 4.3), and what they say by themselves.

use super::line::DRIFT_PPM_MAX;

/// What the stamps of one exchange may be wrong by, beyond any delay.
const STAMP_ERROR_NS: i64 = 1_000;

/// One answered request, in nanoseconds since 1970: T1 and T4 by the own clock, T2 and T3 by the
/// peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) t1_ns: i64,
    pub(crate) t2_ns: i64,
    pub(crate) t3_ns: i64,
    pub(crate) t4_ns: i64,
}

impl Sample {
    /// Without the peer's own time, and never negative. The stamps of a peer that was stepped
    /// between them do not tell its time, which is then left in.
    pub(crate) fn rtt_ns(&self) -> i64 {
        let elapsed = self.elapsed_ns().max(0);
        if self.is_torn() {
            return elapsed;
        }
        elapsed - self.residence_ns()
    }

    /// The peer's clock was stepped between T2 and T3.
    pub(crate) fn is_torn(&self) -> bool {
        let residence = self.residence_ns();
        residence < 0 || residence > self.elapsed_ns()
    }

    /// The way up, and the offset with it: the offset is no higher when the request leaves.
    pub(crate) fn highest_ns(&self) -> i64 {
        self.t2_ns.saturating_sub(self.t1_ns)
    }

    /// The offset without the way down: it is no lower when the reply arrives.
    pub(crate) fn lowest_ns(&self) -> i64 {
        self.t3_ns.saturating_sub(self.t4_ns)
    }

    /// If both ways take the same time.
    pub(crate) fn offset_ns(&self) -> i64 {
        i64::midpoint(self.highest_ns(), self.lowest_ns())
    }

    fn elapsed_ns(&self) -> i64 {
        self.t4_ns.saturating_sub(self.t1_ns)
    }

    fn residence_ns(&self) -> i64 {
        self.t3_ns.saturating_sub(self.t2_ns)
    }

    /// Whether one clock without a step can have given both. The peer's stamp cannot be earlier
    /// than our request, nor later than our reply.
    pub(super) fn agrees(&self, other: &Sample) -> bool {
        let under = |low: &Sample, high: &Sample| {
            let apart_ns = low.t4_ns.abs_diff(high.t1_ns) as f64;
            let drift_ns = (apart_ns * DRIFT_PPM_MAX / 1e6) as i64;
            let above_ns = low.lowest_ns().saturating_sub(high.highest_ns());
            above_ns <= drift_ns.saturating_add(STAMP_ERROR_NS)
        };
        under(self, other) && under(other, self)
    }
}

#[cfg(test)]
pub(super) mod world {
    use super::Sample;

    pub(crate) const START_NS: i64 = 1_800_000_000_000_000_000;

    /// xorshift64.
    pub(crate) struct Dice(pub(crate) u64);

    impl Dice {
        /// From 0 to 1.
        pub(crate) fn roll(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
            -mean * (1.0 - self.roll()).ln()
        }
    }

    /// A peer with its clock, at the end of a path. Each way takes at least its delay, and on
    /// average its jitter more.
    #[derive(Clone, Copy)]
    pub(crate) struct World {
        pub(crate) offset_ns: i64,
        pub(crate) drift_ppm: f64,
        pub(crate) up_us: (f64, f64),
        pub(crate) down_us: (f64, f64),
    }

    pub(crate) const LOOPBACK: World = World {
        offset_ns: 0,
        drift_ppm: 0.0,
        up_us: (6.0, 20.0),
        down_us: (9.0, 20.0),
    };

    impl World {
        pub(crate) fn offset_at(&self, own_ns: i64) -> i64 {
            let since_ns = (own_ns - START_NS) as f64;
            self.offset_ns + (since_ns * self.drift_ppm / 1e6).round() as i64
        }

        pub(crate) fn exchange(&self, t1_ns: i64, dice: &mut Dice) -> Sample {
            let delay = |(least, jitter): (f64, f64), dice: &mut Dice| {
                ((least + dice.exponential(jitter)) * 1e3) as i64
            };
            let own_t2_ns = t1_ns + delay(self.up_us, dice);
            let own_t3_ns = own_t2_ns + 4_000;
            Sample {
                t1_ns,
                t2_ns: own_t2_ns + self.offset_at(own_t2_ns),
                t3_ns: own_t3_ns + self.offset_at(own_t3_ns),
                t4_ns: own_t3_ns + delay(self.down_us, dice),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_leave_out_the_peers_time_unless_it_makes_no_sense() {
        let rtt_ns = |t1_ns, t2_ns, t3_ns, t4_ns| {
            let sample = Sample {
                t1_ns,
                t2_ns,
                t3_ns,
                t4_ns,
            };
            (sample.rtt_ns(), sample.is_torn())
        };
        assert_eq!(rtt_ns(100, 7_000, 7_030, 200), (70, false));
        assert_eq!(rtt_ns(100, 7_000, 7_100, 200), (0, false));
        assert_eq!(rtt_ns(100, 7_000, 7_101, 200), (100, true));
        assert_eq!(rtt_ns(100, 7_000, 3_000, 200), (100, true));
        assert_eq!(rtt_ns(200, 7_000, 7_000, 100), (0, true));
    }
}
