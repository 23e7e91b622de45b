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
