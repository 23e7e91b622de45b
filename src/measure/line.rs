//! The straight line that a peer's clock offset follows, and how far off it may be.
//!
//! Each exchange leaves the offset a range as wide as its round trip: it is at most T2 - T1 when
//! the request leaves, and at least T3 - T4 when the reply arrives. Nothing observable says where
//! in the range it is, as that depends on how unlike the two ways are; but the line has to pass
//! through all of the ranges, which is what [`Estimate::bound_at`] reports.

use super::sample::Sample;

/// No two clocks drift apart faster: a bad quartz is off by 100 ppm, and adjtimex(2) slews by up
/// to 500, on either side.
pub(crate) const DRIFT_PPM_MAX: f64 = 1_000.0;

/// Fewer points fit a line by chance.
const DRIFT_POINTS_MIN: usize = 8;

/// A drift is told when it is this sure (95 %); a worse one would not help to correct delays.
const DRIFT_ERROR_PPM_MAX: f64 = 1.0;

/// How far ranges may miss the line: own stamps come from two clocks, read one after the other.
const MISS_NS_MAX: f64 = 1_000.0;

/// A part per million is so many nanoseconds per second.
const PPM: f64 = 1e3;

/// The offset is the peer's clock minus our own.
#[derive(Debug, Clone)]
pub(crate) struct Estimate {
    /// `None` while it is not sure. The offset then follows one that is at least likely, or the
    /// least that is possible.
    pub(crate) drift_ppm: Option<f64>,
    origin_ns: i64,
    /// The first offset, from which all others are counted: a double has not enough digits for
    /// nanoseconds when the peer's clock is years off.
    base_ns: i64,
    pivot_s: f64,
    pivot_ns: f64,
    ns_per_s: f64,
    ranges: Vec<Range>,
}

/// What one exchange says. Seconds since the origin, nanoseconds above the base.
#[derive(Debug, Clone, Copy)]
struct Range {
    sent_s: f64,
    received_s: f64,
    /// At `sent_s`.
    highest_ns: f64,
    /// At `received_s`.
    lowest_ns: f64,
}

#[derive(Debug, Clone, Copy)]
struct Slope {
    ns_per_s: f64,
    /// With 95 % confidence.
    error_ppm: f64,
}

/// The drift is `ns_per_s` or more (or less) if the offset at some instant is 0, and by
/// `per_ns` less for each nanosecond that it is higher.
#[derive(Clone, Copy)]
struct Limit {
    ns_per_s: f64,
    per_ns: f64,
}

impl Estimate {
    /// Through samples with little delay, whose weight is the greater the less they have of it.
    pub(crate) fn fit<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> Option<Estimate> {
        let first = samples.clone().next()?;
        let (origin_ns, base_ns) = (first.t1_ns, first.offset_ns());
        let ranges: Vec<Range> = samples
            .map(|sample| Range::new(sample, origin_ns, base_ns))
            .collect();
        let weights = weights(&ranges);
        let mean = |value: fn(&Range) -> f64| {
            let weighed = ranges.iter().zip(&weights);
            weighed.map(|(range, weight)| value(range) * weight).sum()
        };
        let (pivot_s, pivot_ns) = (mean(Range::middle_s), mean(Range::middle_ns));
        let slope = slope(&ranges, &weights, pivot_s, pivot_ns);
        let is_sure = |slope: &Slope| slope.error_ppm <= DRIFT_ERROR_PPM_MAX;
        let is_likely = |slope: &Slope| slope.error_ppm * PPM < slope.ns_per_s.abs();
        let slope = slope.filter(|slope| is_sure(slope) || is_likely(slope));
        let (least, most) = drift_limits(&ranges);
        // Not clamp, which panics when the ranges contradict each other.
        let ns_per_s = slope.map_or(0.0, |slope| slope.ns_per_s);
        let ns_per_s = ns_per_s.min(most).max(least);
        Some(Estimate {
            drift_ppm: slope.filter(is_sure).map(|_| ns_per_s / PPM),
            origin_ns,
            base_ns,
            pivot_s,
            pivot_ns,
            ns_per_s,
            ranges,
        })
    }

    pub(crate) fn offset_at(&self, own_ns: i64) -> i64 {
        let offset = self.offset(seconds(own_ns, self.origin_ns));
        self.base_ns.saturating_add(offset.round() as i64)
    }

    /// The true offset is no further from `offset_at`, however unlike the two ways are, as long
    /// as the drift has not changed.
    pub(crate) fn bound_at(&self, own_ns: i64) -> i64 {
        let at_s = seconds(own_ns, self.origin_ns);
        let offset = self.offset(at_s);
        let (lowest, highest) = self.limits(at_s);
        let bound = (offset - lowest).abs().max((highest - offset).abs());
        // Two roundings, this one and that of the offset.
        (bound.ceil() as i64).saturating_add(1)
    }

    /// Whether any line passes through all ranges. If none does, the drift has changed.
    pub(crate) fn is_straight(&self) -> bool {
        let (lowest, highest) = self.limits(self.pivot_s);
        lowest - highest <= MISS_NS_MAX
    }

    fn offset(&self, at_s: f64) -> f64 {
        self.pivot_ns + self.ns_per_s * (at_s - self.pivot_s)
    }

    /// The lowest and the highest offset that any line through all ranges has at an instant.
    ///
    /// Each end of a range limits the drift from below or from above, depending on the offset;
    /// an offset is possible when all limits from below are under all limits from above.
    fn limits(&self, at_s: f64) -> (f64, f64) {
        let max = DRIFT_PPM_MAX * PPM;
        let constant = |ns_per_s| Limit {
            ns_per_s,
            per_ns: 0.0,
        };
        let (mut below, mut above) = (vec![constant(-max)], vec![constant(max)]);
        let (mut lowest, mut highest) = (f64::NEG_INFINITY, f64::INFINITY);
        for range in &self.ranges {
            let (top, bottom) = (range.sent_s - at_s, range.received_s - at_s);
            match top {
                0.0 => highest = highest.min(range.highest_ns),
                _ if top > 0.0 => above.push(Limit::new(range.highest_ns, top)),
                _ => below.push(Limit::new(range.highest_ns, top)),
            }
            match bottom {
                0.0 => lowest = lowest.max(range.lowest_ns),
                _ if bottom > 0.0 => below.push(Limit::new(range.lowest_ns, bottom)),
                _ => above.push(Limit::new(range.lowest_ns, bottom)),
            }
        }
        for under in &below {
            for over in &above {
                let per_ns = over.per_ns - under.per_ns;
                let meet_ns = (over.ns_per_s - under.ns_per_s) / per_ns;
                if per_ns > 0.0 {
                    highest = highest.min(meet_ns);
                } else if per_ns < 0.0 {
                    lowest = lowest.max(meet_ns);
                }
            }
        }
        (lowest, highest)
    }
}

impl Range {
    fn new(sample: &Sample, origin_ns: i64, base_ns: i64) -> Range {
        Range {
            sent_s: seconds(sample.t1_ns, origin_ns),
            received_s: seconds(sample.t4_ns, origin_ns),
            highest_ns: sample.highest_ns().saturating_sub(base_ns) as f64,
            lowest_ns: sample.lowest_ns().saturating_sub(base_ns) as f64,
        }
    }

    fn middle_s(&self) -> f64 {
        f64::midpoint(self.sent_s, self.received_s)
    }

    fn middle_ns(&self) -> f64 {
        f64::midpoint(self.lowest_ns, self.highest_ns)
    }

    fn width_ns(&self) -> f64 {
        self.highest_ns - self.lowest_ns
    }
}

impl Limit {
    fn new(offset_ns: f64, later_s: f64) -> Limit {
        Limit {
            ns_per_s: offset_ns / later_s,
            per_ns: 1.0 / later_s,
        }
    }
}

fn seconds(own_ns: i64, origin_ns: i64) -> f64 {
    own_ns.saturating_sub(origin_ns) as f64 / 1e9
}

/// What is above the shortest round trip is delay of one way or the other, and spoils the middle
/// by up to half of it. The mean of it keeps a single lucky sample from deciding alone.
fn weights(ranges: &[Range]) -> Vec<f64> {
    let widths = || ranges.iter().map(Range::width_ns);
    let shortest = widths().fold(f64::INFINITY, f64::min);
    let mean = widths().map(|width| width - shortest).sum::<f64>() / ranges.len() as f64;
    let weights = widths().map(|width| (1.0 + mean + width - shortest).powi(-2));
    let sum: f64 = weights.clone().sum();
    weights.map(|weight| weight / sum).collect()
}

/// Weighted least squares.
fn slope(ranges: &[Range], weights: &[f64], pivot_s: f64, pivot_ns: f64) -> Option<Slope> {
    let weighed = || {
        let points = ranges.iter().zip(weights);
        points.map(|(range, weight)| {
            let (s, ns) = (range.middle_s() - pivot_s, range.middle_ns() - pivot_ns);
            (s, ns, *weight)
        })
    };
    let spread: f64 = weighed().map(|(s, _, weight)| weight * s * s).sum();
    if ranges.len() < DRIFT_POINTS_MIN || spread <= 0.0 {
        return None;
    }
    let products = weighed().map(|(s, ns, weight)| weight * s * ns);
    let ns_per_s = products.sum::<f64>() / spread;
    let residues = weighed().map(|(s, ns, weight)| weight * (ns - ns_per_s * s).powi(2));
    let variance = residues.sum::<f64>() / (ranges.len() - 2) as f64;
    let error_ppm = 2.0 * (variance / spread).sqrt() / PPM;
    Some(Slope {
        ns_per_s,
        error_ppm,
    })
}

/// The least and the greatest drift of any line through all ranges, in nanoseconds per second.
fn drift_limits(ranges: &[Range]) -> (f64, f64) {
    let (mut least, mut most) = (-DRIFT_PPM_MAX * PPM, DRIFT_PPM_MAX * PPM);
    for top in ranges {
        for bottom in ranges {
            let later_s = top.sent_s - bottom.received_s;
            let limit = (top.highest_ns - bottom.lowest_ns) / later_s;
            if later_s > 0.0 {
                most = most.min(limit);
            } else if later_s < 0.0 {
                least = least.max(limit);
            }
        }
    }
    (least, most)
}

#[cfg(test)]
mod tests {
    use super::super::sample::world::START_NS;
    use super::*;

    /// An exchange that begins so many milliseconds after the start, with a peer whose clock is
    /// right then by `offset_ns`. The delays are microseconds.
    fn exchange(ms: i64, offset_ns: i64, up_us: i64, down_us: i64) -> Sample {
        let t1_ns = START_NS + ms * 1_000_000;
        let t2_ns = t1_ns + up_us * 1_000 + offset_ns;
        let t3_ns = t2_ns + 5_000;
        let t4_ns = t3_ns + down_us * 1_000 - offset_ns;
        Sample {
            t1_ns,
            t2_ns,
            t3_ns,
            t4_ns,
        }
    }

    fn fit(samples: &[Sample]) -> Estimate {
        Estimate::fit(samples.iter()).expect("there are samples")
    }

    #[test]
    fn one_exchange_leaves_half_its_round_trip_open() {
        let estimate = fit(&[exchange(0, -250, 100, 300)]);
        assert_eq!(estimate.drift_ppm, None);
        let t4_ns = START_NS + 405_000;
        // The way up was the shorter one, by 200 us: so the offset seems to be 100 us lower.
        assert_eq!(estimate.offset_at(t4_ns), -100_250);
        let bound = estimate.bound_at(t4_ns);
        assert!((200_000..=200_500).contains(&bound), "{bound}");
        let later = estimate.bound_at(t4_ns + 1_000_000_000);
        assert!(
            (later - bound - 1_000_000).abs() < 500,
            "1,000 ppm: {later}"
        );
    }

    #[test]
    fn ranges_that_overlap_leave_less_open_than_each_of_them() {
        let estimate = fit(&[exchange(0, 0, 10, 990), exchange(1, 0, 990, 10)]);
        let bound = estimate.bound_at(START_NS + 1_000_000);
        assert!(bound < 15_000, "{bound} of 500,000");
    }

    #[test]
    fn a_drift_of_few_points_is_used_when_there_must_be_one() {
        let minutes = |ppm| {
            let offset = move |minute| minute * 60 * ppm * 1_000;
            [0, 1, 2].map(|minute| exchange(minute * 60_000, offset(minute), 100, 100))
        };
        let estimate = fit(&minutes(200));
        assert_eq!(estimate.drift_ppm, None);
        let error = estimate.offset_at(START_NS + 120_000_000_000) - 24_000_000;
        assert!(error.abs() < 300_000, "{error}");
        assert!(fit(&minutes(0)).is_straight());
    }

    #[test]
    fn a_bend_is_noticed() {
        let offsets = |last| [0, 0, 0, last].into_iter().zip(0..);
        let of = |last| {
            let samples: Vec<Sample> = offsets(last)
                .map(|(offset, second)| exchange(second * 1_000, offset, 10, 10))
                .collect();
            fit(&samples)
        };
        assert!(of(0).is_straight());
        assert!(of(9_000).is_straight(), "within the round trips");
        assert!(!of(100_000).is_straight());
    }

    /// 2^53 ns are 104 days; this peer believes in 1970.
    #[test]
    fn nanoseconds_survive_a_clock_that_is_decades_off() {
        let offset_ns = -START_NS + 12_345;
        let estimate = fit(&[
            exchange(0, offset_ns, 10, 10),
            exchange(9, offset_ns, 10, 10),
        ]);
        assert_eq!(estimate.offset_at(START_NS), offset_ns);
    }
}
