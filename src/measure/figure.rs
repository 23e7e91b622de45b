//! Figures as iputils prints them.

use std::fmt;

/// Three significant digits at least, as iputils prints times.
pub(crate) struct Milliseconds(pub(crate) f64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= 99.95 => write!(f, "{ms:.0}"),
            ms if ms >= 9.995 => write!(f, "{ms:.1}"),
            ms if ms >= 0.9995 => write!(f, "{ms:.2}"),
            ms => write!(f, "{ms:.3}"),
        }
    }
}

/// C's `%g`: six significant digits, no trailing zeros.
pub(crate) struct Percent(pub(crate) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.0 {
            percent if percent >= 100.0 => 3,
            percent if percent >= 10.0 => 4,
            percent if percent >= 1.0 => 5,
            _ => 6,
        };
        let text = format!("{:.places$}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_iputils_prints_them() {
        let times = [0.0314, 0.9996, 1.5, 9.996, 42.25, 99.96, 1234.5].map(Milliseconds);
        let times: Vec<String> = times.iter().map(ToString::to_string).collect();
        assert_eq!(
            times,
            ["0.031", "1.00", "1.50", "10.0", "42.2", "100", "1234"]
        );
        let percents = [0.0, 100.0, 100.0 / 3.0, 0.5, 100.0 / 7000.0].map(Percent);
        let percents: Vec<String> = percents.iter().map(ToString::to_string).collect();
        assert_eq!(percents, ["0", "100", "33.3333", "0.5", "0.014286"]);
    }
}
