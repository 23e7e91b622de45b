//! Ranges of octets, RFC 9110 section 14.

use std::ops::Range;

/// Clients that seek or resume ask for one range, and a few for some. Each part costs a header
/// section of its own, so that thousands of them would cost more than the octets themselves
/// (CVE-2011-3192).
const RANGES_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Answer with all of it: no ranges, another unit's, malformed or too many.
    Whole,
    /// At least one, in the order of the request. None is empty, and no two overlap.
    Parts(Vec<Range<u64>>),
    Unsatisfiable,
}

/// A Range field, for a representation of `size` octets.
pub(crate) fn parse(field: Option<&[u8]>, size: u64) -> Ranges {
    let Some(parts) = field.and_then(|field| parse_parts(field, size)) else {
        return Ranges::Whole;
    };
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    // Without overlaps the parts also sum up to no more than the whole.
    if parts.iter().any(Range::is_empty) || overlap(&parts) {
        return Ranges::Whole;
    }
    Ranges::Parts(parts)
}

/// The satisfiable parts; `None` if anything is malformed, or if there are too many.
fn parse_parts(field: &[u8], size: u64) -> Option<Vec<Range<u64>>> {
    let set = after_unit(field, b'=')?;
    let specs = set.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
    let (mut count, mut parts) = (0, Vec::new());
    for spec in specs.filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > RANGES_MAX {
            return None;
        }
        parts.extend(parse_part(spec, size)?);
    }
    (count > 0).then_some(parts)
}

/// `Some(None)` is well-formed, but unsatisfiable.
fn parse_part(spec: &[u8], size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = split_at(spec, b'-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        // All of nothing is satisfiable by section 14.1.2, but Content-Range cannot say it.
        return Some((suffix > 0).then(|| size.saturating_sub(suffix)..size));
    }
    let first = number(first)?;
    let last = match last {
        [] => u64::MAX,
        digits => number(digits)?,
    };
    if first > last {
        return None;
    }
    Some((first < size).then(|| first..last.saturating_add(1).min(size)))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| part.start);
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    pairs.any(|(before, after)| after.start < before.end)
}

/// The Content-Range of a part, which must not be empty.
pub(crate) fn content_range(part: &Range<u64>, size: u64) -> String {
    let last = part.end.saturating_sub(1);
    format!("bytes {}-{last}/{size}", part.start)
}

/// The Content-Range of a 416 response.
pub(crate) fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// A Content-Range's part, and the complete length if it is known.
///
/// `None` if it is invalid, another unit's, or of a 416 response.
pub(crate) fn parse_content_range(field: &[u8]) -> Option<(Range<u64>, Option<u64>)> {
    // A number that was cut off to the largest one would be a wrong place in a file.
    let exact = |digits| number(digits).filter(|value| *value < u64::MAX);
    let (part, complete) = split_at(after_unit(field, b' ')?, b'/')?;
    let (first, last) = split_at(part, b'-')?;
    let (first, last) = (exact(first)?, exact(last)?);
    let complete = match complete {
        b"*" => None,
        digits => Some(exact(digits)?),
    };
    let is_valid = first <= last && complete.is_none_or(|complete| last < complete);
    is_valid.then_some((first..last + 1, complete))
}

fn after_unit(field: &[u8], separator: u8) -> Option<&[u8]> {
    let (unit, rest) = split_at(field, separator)?;
    unit.eq_ignore_ascii_case(b"bytes").then_some(rest)
}

fn split_at(octets: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, octets)?;
    Some((&octets[..at], &octets[at + 1..]))
}

/// 1*DIGIT. What is too large for 64 bits is as far behind the end as the largest that is not.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let append = |value: u64, digit: &u8| {
        let digit = u64::from(digit - b'0');
        value.saturating_mul(10).saturating_add(digit)
    };
    Some(digits.iter().fold(0, append))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of 10,000 octets, as in RFC 9110 section 14.1.2: the parts as Content-Range says them,
    /// `whole`, or what a 416 response says.
    #[track_caller]
    fn check(field: &str, expected: &str) {
        check_of(10_000, field, expected);
    }

    #[track_caller]
    fn check_of(size: u64, field: &str, expected: &str) {
        let answer = match parse(Some(field.as_bytes()), size) {
            Ranges::Whole => "whole".to_owned(),
            Ranges::Unsatisfiable => unsatisfied(size),
            Ranges::Parts(parts) => {
                let emit = |part| content_range(part, size);
                parts.iter().map(emit).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(answer, expected, "{field}");
    }

    #[test]
    fn ranges_of_the_rfc() {
        check("bytes=0-499", "bytes 0-499/10000");
        check("bytes=500-999", "bytes 500-999/10000");
        check("bytes=-500", "bytes 9500-9999/10000");
        check("bytes=9500-", "bytes 9500-9999/10000");
        check("bytes=0-0,-1", "bytes 0-0/10000, bytes 9999-9999/10000");
        check(
            "bytes= 0-999, 4500-5499, -1000",
            "bytes 0-999/10000, bytes 4500-5499/10000, bytes 9000-9999/10000",
        );
        check("bytes=500-700,601-999", "whole");
    }

    #[test]
    fn ranges_end_where_the_representation_does() {
        check("BYTES=9999-20000", "bytes 9999-9999/10000");
        check("bytes=-20000", "bytes 0-9999/10000");
        check("bytes=5-99999999999999999999999", "bytes 5-9999/10000");
        check("bytes=10000-", "bytes */10000");
        check("bytes=99999999999999999999999-", "bytes */10000");
        check("bytes=-0", "bytes */10000");
        check("bytes=-0, ,\t7-7,10000-", "bytes 7-7/10000");
        check_of(0, "bytes=0-", "bytes */0");
        check_of(0, "bytes=-5", "whole");
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for field in ["", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b"] {
            check(field, "whole");
        }
        for field in ["bytes=5-2", "bytes=5-2,7-8", "bytes=+1-2", "bytes=1--2"] {
            check(field, "whole");
        }
        for field in ["bytes =1-2", "bytes=1 - 2", "bytes 1-2", "lines=1-2"] {
            check(field, "whole");
        }
        assert_eq!(parse(None, 10), Ranges::Whole);
    }

    #[test]
    fn no_request_makes_the_answer_larger_than_the_whole() {
        check("bytes=0-,0-", "whole");
        check("bytes=7-8,0-7", "whole");
        check("bytes=7-8,0-6", "bytes 7-8/10000, bytes 0-6/10000");
        let many = |count| (0..count).map(|first| format!("{0}-{0},", first * 2));
        let field = |count| format!("bytes={}", many(count).collect::<String>());
        let parts = |count| match parse(Some(field(count).as_bytes()), 10_000) {
            Ranges::Parts(parts) => parts.len(),
            _ => 0,
        };
        assert_eq!((parts(16), parts(17)), (16, 0));
    }

    #[test]
    fn content_ranges() {
        let parse = |field: &str| parse_content_range(field.as_bytes());
        assert_eq!(parse("bytes 42-1233/1234"), Some((42..1234, Some(1234))));
        assert_eq!(parse("Bytes 42-1233/*"), Some((42..1234, None)));
        for field in [
            "bytes */1234",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes=0-4/10",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
        for field in [
            "bytes 0-18446744073709551615/*",
            "bytes 0-4/",
            "bytes 0- 4/10",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_and_sum_up_to_the_whole_at_most(
            field in "bytes=([0-9]{0,2}-[0-9]{0,2}, ?){0,5}[0-9]{0,20}-[0-9]{0,20}",
            size in prop_oneof![0..100_u64, Just(u64::MAX)],
        ) {
            if let Ranges::Parts(parts) = parse(Some(field.as_bytes()), size) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                let sum: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
                prop_assert!(sum <= u128::from(size), "{:?}", parts);
            }
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..40), size: u64) {
            let _ = parse(Some(&octets), size);
            let _ = parse_content_range(&octets);
            let _ = parse_content_range(&[b"bytes ".as_slice(), &octets].concat());
        }
    }
}
