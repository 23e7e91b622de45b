//! What the client likes best: Accept-Encoding and Accept, RFC 9110 section 12.5.

use std::cmp::Reverse;

use super::head::Fields;

/// In the server's order of preference. `Identity` is always available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
    Identity,
}

/// A qvalue in thousandths. What weighs 0 is not acceptable.
pub(crate) type Weight = u16;

pub(crate) const WEIGHT_MAX: Weight = 1000;

/// Of `available`, what the client likes best; ties go to the server's order.
///
/// `None` if nothing is acceptable.
pub(crate) fn coding(fields: &Fields, available: &[Coding]) -> Option<Coding> {
    let lines = fields.all("accept-encoding");
    let elements = lines.flat_map(|line| split(line, b','));
    let listed: Vec<_> = elements
        .filter_map(|element| parse_weighted(split(element, b';')))
        .collect();
    let weight_of = |names: &[&str]| {
        let weights = listed.iter().filter(|(listed, _)| {
            let mut names = names.iter();
            names.any(|name| listed.eq_ignore_ascii_case(name.as_bytes()))
        });
        weights.map(|(_, weight)| *weight).max()
    };
    let any = weight_of(&["*"]);
    let identity = weight_of(Coding::Identity.names());
    let weigh = |coding: Coding| match coding {
        Coding::Identity => identity,
        Coding::Zstd | Coding::Brotli | Coding::Gzip => weight_of(coding.names()).or(any),
    };

    let codings = available.iter().copied().chain([Coding::Identity]);
    let weighed = codings.map(|coding| (weigh(coding).unwrap_or(0), coding));
    let best = weighed
        .filter(|(weight, _)| *weight > 0)
        .min_by_key(|(weight, coding)| (Reverse(*weight), *coding));
    match best {
        Some((_, coding)) => Some(coding),
        // Acceptable unless it is excluded, but whatever was asked for comes first.
        None => (identity.is_none() && any != Some(0)).then_some(Coding::Identity),
    }
}

impl Coding {
    fn names(self) -> &'static [&'static str] {
        match self {
            Coding::Zstd => &["zstd"],
            Coding::Brotli => &["br"],
            Coding::Gzip => &["gzip", "x-gzip"],
            Coding::Identity => &["identity"],
        }
    }
}

/// Of `offered`, what the client likes best; the first of them when nothing is said or fits.
pub(crate) fn media_type<'o>(fields: &Fields, offered: &[&'o str]) -> &'o str {
    let elements = fields.all("accept").flat_map(|line| split(line, b','));
    let ranges: Vec<_> = elements.filter_map(parse_media_range).collect();
    let weigh = |offer| {
        let fitting = ranges
            .iter()
            .filter_map(|(range, weight)| Some((specificity(range, offer)?, *weight)));
        fitting.max().map_or(0, |(_, weight)| weight)
    };
    let mut best = (0, offered.first().copied().unwrap_or_default());
    for offer in offered {
        let weight = weigh(offer);
        if weight > best.0 {
            best = (weight, offer);
        }
    }
    best.1
}

/// Ranges with parameters mean only representations that have them, and none is offered with
/// any. Except for a charset: text is UTF-8 here, whether its media type says so or not.
fn parse_media_range(element: &[u8]) -> Option<(&[u8], Weight)> {
    let says_nothing =
        |parameter: &[u8]| parameter.is_empty() || parameter.eq_ignore_ascii_case(b"charset=utf-8");
    parse_weighted(split(element, b';').filter(|parameter| !says_nothing(parameter)))
}

fn specificity(range: &[u8], media_type: &str) -> Option<u8> {
    if range == b"*/*" {
        return Some(0);
    }
    if range.eq_ignore_ascii_case(media_type.as_bytes()) {
        return Some(2);
    }
    let (main_type, _) = media_type.split_once('/')?;
    let range = range.strip_suffix(b"/*")?;
    range
        .eq_ignore_ascii_case(main_type.as_bytes())
        .then_some(1)
}

/// A name and nothing but a weight behind it.
pub(crate) fn parse_weighted<'a>(
    mut parts: impl Iterator<Item = &'a [u8]>,
) -> Option<(&'a [u8], Weight)> {
    let name = parts.next()?;
    let weight = parts.next().map_or(Some(WEIGHT_MAX), parse_weight)?;
    parts.next().is_none().then_some((name, weight))
}

/// RFC 9110 section 12.4.2.
pub(crate) fn parse_weight(parameter: &[u8]) -> Option<Weight> {
    const DECIMALS_MAX: usize = 3;
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), rest @ ..] = parameter else {
        return None;
    };
    let decimals = match rest {
        [] => rest,
        [b'.', decimals @ ..] => decimals,
        _ => return None,
    };
    if decimals.len() > DECIMALS_MAX || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = [whole].into_iter().chain(decimals).chain(b"000");
    let weight = digits
        .take(1 + DECIMALS_MAX)
        .fold(0, |weight, digit| weight * 10 + Weight::from(digit - b'0'));
    (weight <= WEIGHT_MAX).then_some(weight)
}

/// What stands between separators that are not in a quoted-string.
fn split(octets: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |octet: &u8| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        quoted ^= *octet == b'"';
        escaped = quoted && *octet == b'\\';
        !quoted && *octet == separator
    };
    octets.split(separates).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::super::head::Field;
    use super::*;

    fn fields<'a>(name: &'a str, lines: &[&'a str]) -> Fields<'a> {
        let field = |value: &&'a str| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
        };
        Fields(lines.iter().map(field).collect())
    }

    #[track_caller]
    fn check_coding(lines: &[&str], expected: Option<Coding>) {
        let available = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        let fields = fields("Accept-Encoding", lines);
        assert_eq!(coding(&fields, &available), expected, "{lines:?}");
    }

    #[test]
    fn codings() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        check_coding(&[], Some(Identity));
        check_coding(&[""], Some(Identity));
        check_coding(&["gzip, deflate, br, zstd"], Some(Zstd));
        check_coding(&["gzip", "br"], Some(Brotli));
        check_coding(&["X-GZIP"], Some(Gzip));
        check_coding(&["br;q=0.5 , gzip ; q=0.501"], Some(Gzip));
        check_coding(&["zstd;q=0.999, gzip;Q=1.000"], Some(Gzip));
        check_coding(&["gzip;q=0.001"], Some(Gzip));
        check_coding(&["gzip;q=0.5, identity"], Some(Identity));
        check_coding(&["gzip, identity"], Some(Gzip));
        check_coding(&["deflate, gzip;q=0"], Some(Identity));
        check_coding(&["*"], Some(Zstd));
        check_coding(&["zstd;q=0, *;q=0.5, gzip;q=0.4"], Some(Brotli));
        check_coding(&["*;q=0, gzip"], Some(Gzip));
        check_coding(&["*;q=0, identity;q=0.1"], Some(Identity));
        check_coding(&["*;q=0"], None);
        check_coding(&["identity;q=0, deflate"], None);
        let gzip_only = fields("Accept-Encoding", &["zstd, gzip;q=0.1"]);
        assert_eq!(coding(&gzip_only, &[Gzip]), Some(Gzip));
    }

    #[test]
    fn a_malformed_coding_is_ignored() {
        for weight in [
            "2", "1.001", "0.1234", "-1", ".5", "", "1;q=1", "1 0", "1;a=b",
        ] {
            let line = format!("br;q={weight}, gzip;q=0.1");
            check_coding(&[&line], Some(Coding::Gzip));
        }
    }

    #[track_caller]
    fn check_media_type(lines: &[&str], expected: &str) {
        let offered = ["text/html", "application/json", "text/plain"];
        let best = media_type(&fields("Accept", lines), &offered);
        assert_eq!(best, expected, "{lines:?}");
    }

    #[test]
    fn media_types() {
        check_media_type(&[], "text/html");
        check_media_type(&["*/*"], "text/html");
        check_media_type(&["image/png"], "text/html");
        check_media_type(&["Application/JSON"], "application/json");
        check_media_type(&["image/png, application/*;q=0.1"], "application/json");
        check_media_type(
            &["text/*;q=0.3", "text/plain;q=0.7, */*;q=0.5"],
            "text/plain",
        );
        check_media_type(
            &["*/*, text/html;q=0.1, application/json;q=0"],
            "text/plain",
        );
        check_media_type(&["text/html;level=1, text/plain;q=0.1"], "text/plain");
        check_media_type(
            &["text/plain; charset=UTF-8;q=0.9, */*;q=0.1"],
            "text/plain",
        );
        check_media_type(&["a/b;c=\"\\\",text/plain\", text/*;q=0.5"], "text/html");
        check_media_type(&["text/html, image/gif, *; q=.2, */*; q=.2"], "text/html");
    }
}
