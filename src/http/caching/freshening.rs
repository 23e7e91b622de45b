//! What validation and unsafe requests do to stored responses, RFC 9111 sections 3.2, 4.3.4 and
//! 4.4.

use super::date;
use super::freshness::{self, Terms};
use crate::http::head::Fields;

/// They describe the content as it is stored, whatever a 304 says.
const OF_THE_CONTENT: [&str; 4] = [
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
];

/// They are the 304's or nobody's: what is left out has begun anew.
const OF_THE_MESSAGE: [&str; 2] = ["age", "date"];

/// The fields of the stored response after a 304, which must have passed [`may_freshen`].
pub(crate) fn freshen(stored: &Fields, not_modified: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_one_of = |name: &[u8], names: &[&str]| {
        let mut names = names.iter();
        names.any(|listed| name.eq_ignore_ascii_case(listed.as_bytes()))
    };
    // A server that compresses on the fly weakens the entity-tag of a 200, and often forgets to
    // in a 304. The stored content still is what the stored one says.
    let has_etag = stored.first("etag").is_some();
    let replaces = |name: &[u8]| {
        let is_kept_etag = has_etag && name.eq_ignore_ascii_case(b"etag");
        !is_kept_etag && !is_one_of(name, &OF_THE_CONTENT)
    };
    let is_replaced = |name: &[u8]| {
        let mut sent = not_modified.0.iter();
        sent.any(|field| field.name.eq_ignore_ascii_case(name)) && replaces(name)
    };
    let kept = stored
        .0
        .iter()
        .filter(|field| !is_replaced(field.name) && !is_one_of(field.name, &OF_THE_MESSAGE));
    let sent = not_modified.0.iter().filter(|field| replaces(field.name));
    kept.chain(sent)
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

/// Whether a 304 is about this stored response, RFC 9111 section 4.3.4. One without a validator
/// is: it answers conditions that only this one's validators made.
pub(crate) fn may_freshen(stored: &Terms, not_modified: &Fields) -> bool {
    if let Some(etag) = freshness::etag(not_modified) {
        return match &stored.etag {
            Some(stored) => opaque_tag(stored) == opaque_tag(etag),
            None => etag.starts_with("W/") && has_same_date(stored, not_modified),
        };
    }
    has_same_date(stored, not_modified)
}

fn has_same_date(stored: &Terms, not_modified: &Fields) -> bool {
    let sent = freshness::last_modified(not_modified);
    let sent = sent.and_then(|text| date::parse(text.as_bytes()));
    sent.is_none() || sent == stored.last_modified
}

fn opaque_tag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

/// Whether what is stored for the target is out of date after this, RFC 9111 section 4.4.
///
/// Safe are the methods that the HTTP Method Registry calls so; an unknown one may have changed
/// anything.
pub(crate) fn invalidates(method: &[u8], status: u16) -> bool {
    let is_safe = matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PROPFIND" | b"REPORT" | b"SEARCH"
    );
    !is_safe && (200..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::{Mode, fields};
    use super::*;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    #[track_caller]
    fn check(stored: Lines, not_modified: Lines, expected: Lines) {
        let freshened = freshen(&fields(stored), &fields(not_modified));
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let freshened: Vec<_> = freshened
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let expected: Vec<_> = expected.iter().map(owned).collect();
        assert_eq!(freshened, expected);
    }

    #[test]
    fn a_304_brings_its_fields() {
        check(
            &[("A", "1"), ("B", "1"), ("b", "2"), ("Set-Cookie", "a=b")],
            &[("B", "3"), ("C", "4"), ("C", "5"), ("set-cookie", "a=c")],
            &[
                ("A", "1"),
                ("B", "3"),
                ("C", "4"),
                ("C", "5"),
                ("set-cookie", "a=c"),
            ],
        );
        check(&[("A", "1")], &[], &[("A", "1")]);
    }

    #[test]
    fn the_content_keeps_its_own() {
        let content = [
            ("Content-Length", "36"),
            ("Content-Type", "text/plain"),
            ("ETag", "W/\"a\""),
        ];
        let other = [
            ("content-length", "0"),
            ("Content-Type", "text/html"),
            ("Content-Encoding", "gzip"),
            ("Content-Range", "bytes 0-1/2"),
            ("ETag", "\"a\""),
        ];
        check(&content, &other, &content);
        check(&[], &[("ETag", "\"a\"")], &[("ETag", "\"a\"")]);
    }

    #[test]
    fn its_age_begins_anew() {
        check(&[("Age", "3600"), ("Date", "then")], &[], &[]);
        check(
            &[("Age", "3600"), ("Date", "then")],
            &[("Date", "now")],
            &[("Date", "now")],
        );
    }

    #[track_caller]
    fn check_may(stored: Lines, not_modified: Lines, expected: bool) {
        let epoch = UNIX_EPOCH;
        let terms = Terms::new(200, &fields(stored), epoch, epoch, Mode::default());
        assert_eq!(may_freshen(&terms, &fields(not_modified)), expected);
    }

    #[test]
    fn a_304_with_other_validators_is_not_about_this_response() {
        let date = ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let same = ("Last-Modified", "Sun Nov  6 08:49:37 1994");
        let later = ("Last-Modified", "Sun, 06 Nov 1994 08:49:38 GMT");
        let (strong, weak, other) = (("ETag", "\"a\""), ("ETag", "W/\"a\""), ("ETag", "\"b\""));
        for stored in [strong, weak] {
            check_may(&[stored], &[strong, date], true);
            check_may(&[stored], &[weak], true);
            check_may(&[stored], &[other], false);
            check_may(&[stored], &[], true);
        }
        check_may(&[date], &[same], true);
        check_may(&[date], &[later], false);
        check_may(&[date], &[], true);
        check_may(&[date], &[("Last-Modified", "0")], true);
        check_may(&[date], &[strong, same], false);
        check_may(&[date], &[weak, same], true);
    }

    #[test]
    fn unsafe_methods_invalidate_when_they_succeed() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
            assert!(invalidates(method.as_bytes(), 204), "{method}");
            assert!(invalidates(method.as_bytes(), 303), "{method}");
            assert!(!invalidates(method.as_bytes(), 404), "{method}");
            assert!(!invalidates(method.as_bytes(), 500), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "SEARCH"] {
            assert!(!invalidates(method.as_bytes(), 200), "{method}");
        }
    }
}
