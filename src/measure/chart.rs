//! Small pictures of figures.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What was lost.
const LOST: char = '×';

/// One character for each value, between the smallest and the largest; `None` is a loss.
pub(crate) fn sparkline(values: impl Iterator<Item = Option<f64>> + Clone) -> String {
    let known = values.clone().flatten();
    let (min, max) = known.fold((f64::MAX, f64::MIN), |(min, max), value| {
        (min.min(value), max.max(value))
    });
    // What varies by less than a tenth looks flat.
    let span = (max - min).max(min * 0.1).max(f64::MIN_POSITIVE);
    let bar = |value: f64| {
        let step = (value - min) / span * (BARS.len() - 1) as f64;
        BARS[(step.round() as usize).min(BARS.len() - 1)]
    };
    values.map(|value| value.map_or(LOST, bar)).collect()
}

/// Lower edge and count of each bin; narrow ones at the low end where values differ widely.
pub(crate) fn bins(samples: &[f32], count: usize) -> Vec<(f64, u64)> {
    const WIDE: f64 = 8.0;
    let (min, max) = samples
        .iter()
        .fold((f64::MAX, 0.0_f64), |(min, max), sample| {
            (min.min(f64::from(*sample)), max.max(f64::from(*sample)))
        });
    if samples.is_empty() || max <= min {
        return samples
            .first()
            .map_or(Vec::new(), |_| vec![(min, samples.len() as u64)]);
    }
    let is_wide = min > 0.0 && max > WIDE * min;
    let edge = |index: usize| {
        let part = index as f64 / count as f64;
        match is_wide {
            true => min * (max / min).powf(part),
            false => min + (max - min) * part,
        }
    };
    let mut bins: Vec<(f64, u64)> = (0..count).map(|index| (edge(index), 0)).collect();
    for sample in samples {
        let above = bins.partition_point(|(edge, _)| *edge <= f64::from(*sample));
        bins[above.saturating_sub(1)].1 += 1;
    }
    bins
}

/// A bar as long as `value` is of `max`, at least a sliver for what is there at all.
pub(crate) fn bar(value: u64, max: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let eighths = (value * 8 * width as u64).div_ceil(max.max(1)) as usize;
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8 - 1]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines() {
        let line = |values: &[Option<f64>]| sparkline(values.iter().copied());
        assert_eq!(line(&[Some(1.0), None, Some(8.0), Some(4.5)]), "▁×█▅");
        assert_eq!(line(&[Some(5.0), Some(5.01), Some(5.02)]), "▁▁▁");
        assert_eq!(line(&[None, None]), "××");
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[Some(0.0), Some(0.0)]), "▁▁");
    }

    #[test]
    fn every_sample_is_in_a_bin() {
        let even = bins(&[1.0, 2.0, 3.0, 4.0, 5.0], 2);
        assert_eq!(even, [(1.0, 2), (3.0, 3)]);
        let wide = bins(&[1.0, 2.0, 100.0], 2);
        assert_eq!(wide, [(1.0, 2), (10.0, 1)]);
        assert_eq!(bins(&[7.0, 7.0], 4), [(7.0, 2)]);
        assert_eq!(bins(&[], 4), []);
    }

    #[test]
    fn bars() {
        assert_eq!(bar(4, 4, 3), "███");
        assert_eq!(bar(1, 2, 3), "█▌");
        assert_eq!(bar(1, 1_000_000, 3), "▏");
        assert_eq!(bar(0, 0, 3), "");
    }
}
