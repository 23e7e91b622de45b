//! Names of differentiated services code points.

/// `EF`, `af41`, `46`: RFC 2474, 2597, 3246, 5865 and 8622.
pub(crate) fn parse(text: &str) -> Result<u8, &'static str> {
    const INVALID: &str = "write CS0 to CS7, AF11 to AF43, EF, VA, LE, or a number from 0 to 63";
    if let Ok(number) = text.parse::<u8>() {
        return Some(number).filter(|number| *number < 64).ok_or(INVALID);
    }
    let name = text.to_ascii_uppercase();
    let digits = |prefix: &str, max: &[u8]| {
        let digits = name.strip_prefix(prefix)?.as_bytes();
        let values: Vec<u8> = digits
            .iter()
            .map(|digit| digit.wrapping_sub(b'0'))
            .collect();
        let is_known = values.len() == max.len() && values.iter().zip(max).all(|(v, max)| v <= max);
        is_known.then_some(values)
    };
    let class = digits("CS", &[7]).map(|values| values[0] << 3);
    let assured = digits("AF", &[4, 3])
        .filter(|values| values.iter().all(|value| *value > 0))
        .map(|values| values[0] << 3 | values[1] << 1);
    match name.as_str() {
        "EF" => Ok(46),
        "VA" => Ok(44),
        "LE" => Ok(1),
        _ => class.or(assured).ok_or(INVALID),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names() {
        for (name, point) in [
            ("EF", 46),
            ("ef", 46),
            ("AF11", 10),
            ("AF41", 34),
            ("AF43", 38),
            ("CS0", 0),
            ("CS6", 48),
            ("LE", 1),
            ("63", 63),
        ] {
            assert_eq!(parse(name), Ok(point), "{name}");
        }
        for wrong in ["", "64", "AF44", "AF04", "AF10", "CS8", "CS", "XX", "AF411"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
