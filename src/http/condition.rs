//! Preconditions, RFC 9110 section 13: whether what the client holds or expects is current.

use std::time::SystemTime;

use super::head::Fields;

/// What tells one state of a representation from another, RFC 9110 section 8.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validators<'a> {
    /// With its quotes, and `W/` where it is weak.
    pub(crate) etag: Option<&'a str>,
    /// Whole seconds.
    pub(crate) last_modified: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answer as if there were no condition; `range` says whether a Range field counts.
    Proceed {
        range: bool,
    },
    NotModified,
    PreconditionFailed,
}

/// In the order of RFC 9110 section 13.2.2. Without `current` there is no such representation.
pub(crate) fn evaluate(
    fields: &Fields,
    is_get_or_head: bool,
    current: Option<&Validators>,
) -> Outcome {
    if fields.first("if-match").is_some() {
        if !is_listed(fields, "if-match", current, equal_strongly) {
            return Outcome::PreconditionFailed;
        }
    } else if is_modified_since(fields, "if-unmodified-since", current) == Some(true) {
        return Outcome::PreconditionFailed;
    }
    if fields.first("if-none-match").is_some() {
        if is_listed(fields, "if-none-match", current, equal_weakly) {
            return match is_get_or_head {
                true => Outcome::NotModified,
                false => Outcome::PreconditionFailed,
            };
        }
    } else if is_get_or_head
        && is_modified_since(fields, "if-modified-since", current) == Some(false)
    {
        return Outcome::NotModified;
    }
    let range = fields.first("if-range").is_none() || is_same(fields, current);
    Outcome::Proceed { range }
}

fn is_listed(
    fields: &Fields,
    name: &str,
    current: Option<&Validators>,
    equal: fn(&[u8], &[u8]) -> bool,
) -> bool {
    let Some(current) = current else { return false };
    if only_line(fields, name) == Some(b"*") {
        return true;
    }
    let Some(etag) = current.etag else {
        return false;
    };
    let mut listed = fields.all(name).flat_map(elements);
    listed.any(|element| is_entity_tag(element) && equal(element, etag.as_bytes()))
}

/// `None` when the field does not count: absent, no date, or nothing to compare it with.
fn is_modified_since(fields: &Fields, name: &str, current: Option<&Validators>) -> Option<bool> {
    let since = parse_date(only_line(fields, name)?)?;
    Some(current?.last_modified? > since)
}

/// If-Range, RFC 9110 section 13.1.5.
fn is_same(fields: &Fields, current: Option<&Validators>) -> bool {
    let (Some(value), Some(current)) = (only_line(fields, "if-range"), current) else {
        return false;
    };
    if is_entity_tag(value) {
        let etag = current.etag.map(str::as_bytes);
        return etag.is_some_and(|etag| equal_strongly(value, etag));
    }
    // The RFC also wants the date to be a strong validator, that is, clearly older than the
    // response it came with. Only the clock of back then could tell, so being equal is enough.
    let date = parse_date(value);
    date.is_some() && date == current.last_modified
}

/// RFC 9110 section 5.3 forbids several lines of what is no list; none of them counts then.
fn only_line<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    let mut lines = fields.all(name);
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// What stands between commas. An entity-tag may contain commas, and its backslashes are
/// ordinary octets, unlike those of a quoted-string.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let separates = move |octet: &u8| {
        quoted ^= *octet == b'"';
        !quoted && *octet == b','
    };
    line.split(separates).map(<[u8]>::trim_ascii)
}

/// RFC 9110 section 8.8.3.
pub(crate) fn is_entity_tag(element: &[u8]) -> bool {
    match opaque_tag(element) {
        [b'"', inside @ .., b'"'] => inside
            .iter()
            .all(|octet| matches!(octet, b'!' | b'#'..=b'~' | 0x80..)),
        _ => false,
    }
}

fn opaque_tag(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

fn equal_weakly(one: &[u8], other: &[u8]) -> bool {
    opaque_tag(one) == opaque_tag(other)
}

fn equal_strongly(one: &[u8], other: &[u8]) -> bool {
    one == other && !one.starts_with(b"W/")
}

#[cfg(test)]
mod tests {
    use super::super::head::Field;
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const ALL: Outcome = Outcome::Proceed { range: false };
    const PROCEED: Outcome = Outcome::Proceed { range: true };
    use Outcome::{NotModified, PreconditionFailed};

    /// A GET and a PUT with these fields, of what has this entity-tag and was last modified at
    /// `MODIFIED`.
    #[track_caller]
    fn check(etag: &str, lines: &[(&str, &str)], get: Outcome, put: Outcome) {
        let validators = Validators {
            etag: Some(etag).filter(|etag| !etag.is_empty()),
            last_modified: httpdate::parse_http_date(MODIFIED).ok(),
        };
        let fields = fields(lines);
        assert_eq!(evaluate(&fields, true, Some(&validators)), get, "GET");
        assert_eq!(evaluate(&fields, false, Some(&validators)), put, "PUT");
    }

    fn fields<'a>(lines: &[(&'a str, &'a str)]) -> Fields<'a> {
        let field = |(name, value): &(&'a str, &'a str)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
        };
        Fields(lines.iter().map(field).collect())
    }

    /// Whether If-None-Match finds this entity-tag in a list, and whether If-Match does.
    #[track_caller]
    fn check_list(etag: &str, list: &str, weakly: bool, strongly: bool) {
        let (get, put) = match weakly {
            true => (NotModified, PreconditionFailed),
            false => (PROCEED, PROCEED),
        };
        check(etag, &[("If-None-Match", list)], get, put);
        let outcome = match strongly {
            true => PROCEED,
            false => PreconditionFailed,
        };
        check(etag, &[("If-Match", list)], outcome, outcome);
    }

    /// RFC 9110 section 8.8.3.2 has the table.
    #[test]
    fn entity_tags_compare_weakly_or_strongly() {
        for (etag, value, weakly, strongly) in [
            ("W/\"1\"", "W/\"1\"", true, false),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", true, false),
            ("\"1\"", "W/\"1\"", true, false),
            ("\"1\"", "\"1\"", true, true),
        ] {
            check_list(etag, value, weakly, strongly);
            let outcome = Outcome::Proceed { range: strongly };
            check(etag, &[("If-Range", value)], outcome, outcome);
        }
    }

    #[test]
    fn lists() {
        check_list("\"b\"", "\"a\" ,, \"b\",W/\"c\"", true, true);
        check_list("\"a,b\"", "\"x\", \"a,b\"", true, true);
        check_list("\"b\"", "\"a,b\", \"c\"", false, false);
        check_list("\"\\\"", "\"\\\", \"b\"", true, true);
        check_list("\"ü\"", "\"ü\"", true, true);
        check_list("", "\"a\"", false, false);
        check_list("", "*", true, true);
        let lines = [("If-None-Match", "\"a\""), ("if-none-match", "\"b\"")];
        check("\"b\"", &lines, NotModified, PreconditionFailed);
    }

    #[test]
    fn what_is_malformed_matches_nothing() {
        for list in [
            "",
            "a",
            "\"a",
            "w/\"a\"",
            "W/W/\"a\"",
            "\"a\"\"a\"",
            "\"a \"",
            "*, *",
        ] {
            check_list("\"a\"", list, false, false);
            check_list(list, list, false, false);
        }
        check_list("\"a\"", "a b, \"a\"", true, true);
    }

    #[test]
    fn dates() {
        let since = |value| [("If-Modified-Since", value)];
        let unmodified = |value| [("If-Unmodified-Since", value)];
        check("", &since(BEFORE), PROCEED, PROCEED);
        check("", &since(MODIFIED), NotModified, PROCEED);
        check(
            "",
            &since("Sunday, 06-Nov-94 08:49:38 GMT"),
            NotModified,
            PROCEED,
        );
        check("", &since("Sun Nov  6 08:49:38 1994"), NotModified, PROCEED);
        check("", &since("tomorrow"), PROCEED, PROCEED);
        check("", &[since(AFTER), since(AFTER)].concat(), PROCEED, PROCEED);
        check(
            "",
            &unmodified(BEFORE),
            PreconditionFailed,
            PreconditionFailed,
        );
        check("", &unmodified(MODIFIED), PROCEED, PROCEED);
        check("", &unmodified("0"), PROCEED, PROCEED);
        check("", &[("If-Range", MODIFIED)], PROCEED, PROCEED);
        check("", &[("If-Range", AFTER)], ALL, ALL);
        check("", &[("If-Range", "0")], ALL, ALL);
        check("", &[("If-Range", MODIFIED); 2], ALL, ALL);
    }

    #[test]
    fn entity_tags_come_before_dates() {
        let lines = [("If-None-Match", "\"a\""), ("If-Modified-Since", AFTER)];
        check("\"b\"", &lines, PROCEED, PROCEED);
        let lines = [("If-Match", "\"b\""), ("If-Unmodified-Since", BEFORE)];
        check("\"b\"", &lines, PROCEED, PROCEED);
        let lines = [("If-Match", "\"a\""), ("If-None-Match", "\"b\"")];
        check("\"b\"", &lines, PreconditionFailed, PreconditionFailed);
        let lines = [("If-None-Match", "\"b\""), ("If-Range", "\"a\"")];
        check("\"b\"", &lines, NotModified, PreconditionFailed);
    }

    /// `If-None-Match: *` creates, `If-Match: *` does not.
    #[test]
    fn what_does_not_exist_matches_nothing() {
        let put = |name, value| evaluate(&fields(&[(name, value)]), false, None);
        assert_eq!(put("If-None-Match", "*"), PROCEED);
        assert_eq!(put("If-Match", "*"), PreconditionFailed);
        assert_eq!(put("If-Match", "\"a\""), PreconditionFailed);
        assert_eq!(put("If-Unmodified-Since", BEFORE), PROCEED);
        assert_eq!(put("If-Range", "\"a\""), ALL);
    }
}
