//! Time spans as people write and read them.

use std::time::Duration;

/// A year. Longer spans are typing errors, and would overflow an `Instant`.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// `2`, `0.5` (seconds), `200ms`, `50us`, `3s`, `5m`, `1h`, `2d`.
pub(crate) fn parse(text: &str) -> Result<Duration, Invalid> {
    parse_in(text, 1.0)
}

/// The same, but a number alone is milliseconds.
pub(crate) fn parse_ms(text: &str) -> Result<Duration, Invalid> {
    parse_in(text, 1e-3)
}

/// A number alone is in units of so many seconds.
fn parse_in(text: &str, default_unit: f64) -> Result<Duration, Invalid> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "" => default_unit,
        "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(Invalid),
    };
    if !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(Invalid);
    }
    let number: f64 = digits.parse().map_err(|_| Invalid)?;
    let span = Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| Invalid)?;
    if span > SPAN_MAX {
        Err(Invalid)
    } else {
        Ok(span)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time span up to a year; write seconds (0.5) or a unit (200ms, 3s, 5m, 1h, 2d)")]
pub(crate) struct Invalid;

/// `870 µs`, `12.5 ms`, `3.1 s`, `5 m 20 s`, `2 h 5 m`, `3 d 4 h`.
pub(crate) fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span < Duration::from_millis(1) => format!("{} µs", span.as_micros()),
        0 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let ms = Duration::from_millis;
        assert_eq!(parse("2"), Ok(ms(2000)));
        assert_eq!(parse("0.25"), Ok(ms(250)));
        assert_eq!(parse(".5s"), Ok(ms(500)));
        assert_eq!(parse("200ms"), Ok(ms(200)));
        assert_eq!(parse("1.5m"), Ok(ms(90_000)));
        assert_eq!(parse_ms("1.5"), Ok(Duration::from_micros(1500)));
        assert_eq!(parse_ms("2s"), Ok(ms(2000)));
        for wrong in [
            "", "s", "-1", "1x", "1e3", "nan", "inf", "400d", "1 s", "1ms2",
        ] {
            assert_eq!(parse(wrong), Err(Invalid), "{wrong:?}");
        }
    }

    #[test]
    fn spans_for_people() {
        assert_eq!(human(Duration::from_micros(870)), "870 µs");
        assert_eq!(human(Duration::from_micros(12_540)), "12.5 ms");
        assert_eq!(human(Duration::from_secs(320)), "5 m 20 s");
        assert_eq!(human(Duration::from_secs(90_000)), "1 d 1 h");
    }
}
