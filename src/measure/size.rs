//! Amounts of octets as people read them.

/// `956 B`, `1.4 KiB`, `10.0 MiB`.
pub(crate) fn human(octets: u64) -> String {
    let (figure, unit) = parts(octets);
    format!("{figure} {unit}")
}

pub(crate) fn parts(octets: u64) -> (String, &'static str) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut figure, mut unit) = (octets as f64, 0);
    // 1023.95 would be written as 1024.0.
    while figure >= 1023.95 {
        figure /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => (octets.to_string(), UNITS[0]),
        _ => (format!("{figure:.1}"), UNITS[unit]),
    }
}

/// `512`, `100K`, `1M`, `2G`.
pub(crate) fn parse(text: &str) -> Result<u64, &'static str> {
    const INVALID: &str = "write octets (512) or a unit (100K, 1M, 2G)";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => return Err(INVALID),
    };
    let number: u64 = digits.parse().map_err(|_| INVALID)?;
    number
        .checked_mul(unit)
        .filter(|octets| *octets > 0)
        .ok_or(INVALID)
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1024), "1.0 KiB");
        assert_eq!(human(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(human(u64::MAX), "16.0 EiB");
    }
}
