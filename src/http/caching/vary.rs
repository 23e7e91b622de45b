//! Which stored response a request selects, RFC 9111 section 4.1.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::directives::elements;
use crate::http::head::{Fields, is_token};
use crate::http::negotiate::{self, WEIGHT_MAX, Weight};

/// Real responses vary on a handful. With more, hardly a second request would ever match.
const NAMES_MAX: usize = 16;

/// The request fields that the response was selected by, in order, with their values.
///
/// An absent field has an empty value. `None` where no later request can match: `*`, or a Vary
/// that is malformed or too long.
pub(crate) fn selecting(response: &Fields, request: &Fields) -> Option<Vec<(String, Vec<u8>)>> {
    let names = names(response)?.into_iter();
    let valued = names.map(|name| {
        let value = value(request, &name);
        (name, value)
    });
    Some(valued.collect())
}

/// The first field of `stored` that the request has otherwise; `None` if it matches.
pub(crate) fn missing<'s>(stored: &'s [(String, Vec<u8>)], request: &Fields) -> Option<&'s str> {
    let mut stored = stored.iter();
    let (name, _) = stored.find(|(name, stored)| value(request, name) != *stored)?;
    Some(name)
}

pub(super) fn names(response: &Fields) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for name in response.tokens("vary") {
        if name == b"*" || !is_token(name) || names.len() > NAMES_MAX {
            return None;
        }
        names.insert(str::from_utf8(name).ok()?.to_ascii_lowercase());
    }
    (names.len() <= NAMES_MAX).then_some(names)
}

fn value(request: &Fields, name: &str) -> Vec<u8> {
    let mut lines = request.all(name).peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let elements = lines.flat_map(elements);
    let value = match name {
        "accept-charset" | "accept-encoding" | "accept-language" => by_weight(elements),
        _ => elements.collect::<Vec<_>>().join(&b", "[..]),
    };
    match value.is_empty() {
        // Without a coding in it, Accept-Encoding means more than its absence. This is an empty
        // list too, and cannot be taken for absent.
        true => b",".to_vec(),
        false => value,
    }
}

/// The order in a list means nothing where each element has a weight.
fn by_weight<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut weighted: Vec<_> = elements
        .filter(|element| !element.is_empty())
        .map(parse_weighted)
        .collect();
    weighted.sort_by(|(one, weight), (other, other_weight)| {
        let key = (Reverse(weight), one);
        key.cmp(&(Reverse(other_weight), other))
    });
    let mut value = Vec::with_capacity(64);
    for (name, weight) in weighted {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(&name);
        emit_weight(weight, &mut value);
    }
    value
}

/// In lower case and without white space, as it mostly comes.
fn parse_weighted(element: &[u8]) -> (Cow<'_, [u8]>, Weight) {
    let differs = |octet: &u8| octet.is_ascii_uppercase() || octet.is_ascii_whitespace();
    if !element.iter().any(differs) {
        let (name, weight) = split_weight(element);
        return (Cow::Borrowed(name), weight);
    }
    let octets = element.iter().filter(|octet| !octet.is_ascii_whitespace());
    let normal: Vec<u8> = octets.map(u8::to_ascii_lowercase).collect();
    let (name, weight) = split_weight(&normal);
    (Cow::Owned(name.to_vec()), weight)
}

/// What has no weight that can be read is all name.
fn split_weight(element: &[u8]) -> (&[u8], Weight) {
    let at = element.iter().rposition(|octet| *octet == b';');
    let parts = at.map(|at| (&element[..at], &element[at + 1..]));
    let weighted = parts.and_then(|(name, q)| Some((name, negotiate::parse_weight(q)?)));
    weighted.unwrap_or((element, WEIGHT_MAX))
}

/// With as few decimals as will do; none at all for 1.
fn emit_weight(weight: Weight, value: &mut Vec<u8>) {
    if weight < WEIGHT_MAX {
        let decimals = format!(";q=0.{weight:03}");
        let shortest = decimals.trim_end_matches('0').trim_end_matches('.');
        value.extend_from_slice(shortest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields;
    use super::*;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    /// What keeps the second request from the answer to the first.
    #[track_caller]
    fn check(vary: &str, first: Lines, second: Lines, expected: Option<&str>) {
        let response = fields(&[("Vary", vary)]);
        let stored = selecting(&response, &fields(first)).expect(vary);
        assert_eq!(missing(&stored, &fields(first)), None);
        assert_eq!(missing(&stored, &fields(second)), expected, "{vary}");
    }

    #[test]
    fn requests_match_by_the_fields_named() {
        let foo = ("Foo", "1");
        check("foo", &[foo], &[("FOO", "1"), ("Other", "2")], None);
        check("Foo", &[foo], &[("Foo", "2")], Some("foo"));
        check("Foo", &[foo], &[], Some("foo"));
        check("Foo", &[], &[foo], Some("foo"));
        check("Foo", &[], &[("Foo", "")], Some("foo"));
        check("Foo", &[], &[], None);
        check("Foo, Bar", &[foo], &[foo], None);
        check("Foo, Bar", &[foo], &[foo, ("Bar", "1")], Some("bar"));
        check("Foo", &[("Foo", "a")], &[("Foo", "A")], Some("foo"));
        check("", &[foo], &[], None);
    }

    #[test]
    fn lines_and_white_space_do_not_matter() {
        let combined = [("Foo", "1, 2")];
        check("Foo", &combined, &[("Foo", "1"), ("Foo", "2")], None);
        check("Foo", &combined, &[("Foo", "1,2")], None);
        check("Foo", &combined, &[("Foo", "2, 1")], Some("foo"));
        check(
            "Foo",
            &[("Foo", "\"1,2\"")],
            &[("Foo", "\"1, 2\"")],
            Some("foo"),
        );
    }

    #[track_caller]
    fn check_language(value: &str, expected: &str) {
        let request = fields(&[("Accept-Language", value)]);
        let value = super::value(&request, "accept-language");
        assert_eq!(String::from_utf8_lossy(&value), expected);
    }

    #[test]
    fn negotiation_is_read_by_weight() {
        check_language("en, de", "de, en");
        check_language(" dE ,   eN;q=1.000", "de, en");
        check_language("fr;q=0.5, de;q=1.0", "de, fr;q=0.5");
        check_language(
            "a ; q=0.50,b;Q=0,c;q=0.012,,d;q=0.8",
            "d;q=0.8, a;q=0.5, c;q=0.012, b;q=0",
        );
        check_language("a;q=2, b;x", "a;q=2, b;x");
        check_language(" , ", ",");
    }

    #[test]
    fn what_never_matches() {
        let selecting = |vary: &str| selecting(&fields(&[("Vary", vary)]), &Fields::default());
        for vary in ["*", "Foo, *", "a b", "a;b", "\u{e9}"] {
            assert_eq!(selecting(vary), None, "{vary}");
        }
        let names = |count| {
            (0..count)
                .map(|name| format!("x{name}, x0,"))
                .collect::<String>()
        };
        assert!(selecting(&names(NAMES_MAX)).is_some());
        assert_eq!(selecting(&names(NAMES_MAX + 1)), None);
    }

    proptest! {
        #[test]
        fn a_request_always_matches_itself(
            name in "(accept-(language|encoding)|foo)",
            value in "([a-c]|;q=[01](\\.[0-9]{0,4})?|[,;\" \\\\]|\\PC){0,12}",
        ) {
            let request = [(&*name, value.trim())];
            check(&name, &request, &request, None);
        }
    }
}
