//! Round-trip times: moments, percentiles and jitter.

use std::time::Duration;

/// More samples than this are thinned out, each having had the same chance to stay.
const SAMPLES_MAX: usize = 16_384;

/// Of one peer, in the order of arrival. Times are milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rtts {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) last: f64,
    pub(crate) average: f64,
    /// Exponentially weighted, an eighth for the newest.
    pub(crate) smoothed: f64,
    /// RFC 3550 section 6.4.1, of the differences of consecutive round-trip times.
    pub(crate) jitter: f64,
    squares: f64,
    samples: Vec<f32>,
    dice: u64,
}

/// 0 when nothing was added, as all figures here.
impl Rtts {
    pub(crate) fn add(&mut self, rtt: Duration) {
        let ms = rtt.as_secs_f64() * 1e3;
        self.count += 1;
        if self.count == 1 {
            (self.min, self.max, self.smoothed) = (ms, ms, ms);
        } else {
            self.jitter += ((ms - self.last).abs() - self.jitter) / 16.0;
            self.smoothed += (ms - self.smoothed) / 8.0;
        }
        self.min = self.min.min(ms);
        self.max = self.max.max(ms);
        self.last = ms;
        // Welford's way, which loses no digits to the difference of large sums.
        let distance = ms - self.average;
        self.average += distance / self.count as f64;
        self.squares += distance * (ms - self.average);
        self.keep(ms as f32);
    }

    fn keep(&mut self, ms: f32) {
        if self.samples.len() < SAMPLES_MAX {
            return self.samples.push(ms);
        }
        // xorshift64; the seed may be anything but 0.
        self.dice ^= self.count | 1;
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let place = (self.dice % self.count) as usize;
        if let Some(sample) = self.samples.get_mut(place) {
            *sample = ms;
        }
    }

    /// The standard deviation, which iputils calls mdev.
    pub(crate) fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    /// The smallest time that so many per cent of the answers took at most.
    pub(crate) fn percentiles<const N: usize>(&self, percents: [f64; N]) -> [f64; N] {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f32::total_cmp);
        percents.map(|percent| {
            let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
            sorted
                .get(rank.saturating_sub(1))
                .map_or(0.0, |ms| f64::from(*ms))
        })
    }

    /// Up to 16,384 of them.
    pub(crate) fn samples(&self) -> &[f32] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Rtts {
        let mut rtts = Rtts::default();
        for ms in times {
            rtts.add(Duration::from_millis(*ms));
        }
        rtts
    }

    #[test]
    fn moments() {
        let rtts = of(&[10, 20, 60]);
        assert_eq!((rtts.min, rtts.average, rtts.max), (10.0, 30.0, 60.0));
        assert!((rtts.deviation() - 21.602).abs() < 0.001, "{rtts:?}");
        let none = of(&[]);
        assert_eq!((none.deviation(), none.percentiles([50.0])), (0.0, [0.0]));
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<u64> = (1..=100).rev().collect();
        let percents = of(&times).percentiles([0.0, 50.0, 90.0, 99.0, 100.0]);
        assert_eq!(percents, [1.0, 50.0, 90.0, 99.0, 100.0]);
        assert_eq!(of(&[7]).percentiles([50.0, 99.0]), [7.0, 7.0]);
    }

    /// RFC 3550: J += (|D| - J) / 16.
    #[test]
    fn jitter_of_the_rfc() {
        assert_eq!(of(&[10, 26]).jitter, 1.0);
        assert_eq!(of(&[10, 26, 10]).jitter, 1.0 + 15.0 / 16.0);
        assert_eq!(of(&[5, 5, 5]).jitter, 0.0);
    }

    #[test]
    fn many_samples_are_thinned_evenly() {
        let mut rtts = Rtts::default();
        for number in 0..400_000 {
            rtts.add(Duration::from_micros(number));
        }
        assert_eq!(rtts.samples().len(), SAMPLES_MAX);
        let [half] = rtts.percentiles([50.0]);
        assert!((half - 200.0).abs() < 5.0, "{half}");
    }
}
