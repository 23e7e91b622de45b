//! Addresses of the envelope: RFC 5321 section 4.1.2, and RFC 6531 section 3.3 for those that
//! are not ASCII.
//!
//! Left out: source routes, and address literals of other kinds than IPv4 and IPv6.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_OCTETS_MAX: usize = 64;
/// RFC 5321 section 4.5.3.1.2.
const DOMAIN_OCTETS_MAX: usize = 255;
/// RFC 1035 section 2.3.4.
const LABEL_OCTETS_MAX: usize = 63;

/// As it was written: quotes stay, and so do capitals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    local_part: String,
    domain: String,
}

/// What is wrong, and the character (counted from 1) it begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at character {character})")]
pub(crate) struct AddressError {
    pub(crate) problem: AddressProblem,
    pub(crate) character: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressProblem {
    #[error("an address is missing")]
    Missing,
    #[error("a line end or another control character")]
    Control,
    #[error("{}", unquoted(*.0))]
    Unquoted(char),
    #[error("the quotes are not closed")]
    QuotesOpen,
    #[error("the < is not closed, or something follows its >")]
    Brackets,
    #[error("the @ is missing")]
    NoAt,
    #[error("the @ is missing; a name with a comma stands in quotes")]
    NoAtInList,
    #[error("nothing stands before the @")]
    NoLocalPart,
    #[error("without quotes a dot needs a character on both sides")]
    Dot,
    #[error("more than {LOCAL_PART_OCTETS_MAX} octets before the @")]
    LocalPartLength,
    #[error("nothing stands behind the @")]
    NoDomain,
    #[error("more than {DOMAIN_OCTETS_MAX} octets behind the @")]
    DomainLength,
    #[error("between dots a domain has 1 to {LABEL_OCTETS_MAX} octets, hyphens only inside")]
    Label,
    #[error("no address literal such as [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal,
}

fn unquoted(character: char) -> String {
    match character {
        ' ' => "no space is allowed here; it is USER@DOMAIN or NAME <USER@DOMAIN>".to_owned(),
        ';' => "';' is not allowed here without quotes; between addresses is a comma".to_owned(),
        other => format!("{other:?} is not allowed here without quotes"),
    }
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
        let (local_part, domain) =
            split(text).map_err(|(place, problem)| AddressError::at(text, place, problem))?;
        Ok(Address {
            local_part: local_part.to_owned(),
            domain: domain.to_owned(),
        })
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// RFC 6531: only a server with SMTPUTF8 can be told this address.
    pub(crate) fn needs_utf8(&self) -> bool {
        !self.local_part.is_ascii() || !self.domain.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl AddressError {
    /// At an octet of a text.
    pub(crate) fn at(text: &str, place: usize, problem: AddressProblem) -> AddressError {
        let error = AddressError {
            problem,
            character: 1,
        };
        error.behind(text, place)
    }

    /// The same error in a longer text, of which this was the part from `place` on.
    pub(crate) fn behind(self, text: &str, place: usize) -> AddressError {
        let before = text.get(..place).unwrap_or(text).chars().count();
        AddressError {
            character: self.character + before,
            ..self
        }
    }
}

/// The two parts, or what is wrong at which octet.
fn split(text: &str) -> Result<(&str, &str), (usize, AddressProblem)> {
    if let Some(place) = text.find(char::is_control) {
        return Err((place, AddressProblem::Control));
    }
    let end = match text.chars().next() {
        None => return Err((0, AddressProblem::Missing)),
        Some('"') => check_quoted(text)?,
        Some(_) => check_dotted(text)?,
    };
    let (local_part, rest) = text.split_at(end);
    let domain = rest.strip_prefix('@').ok_or((end, AddressProblem::NoAt))?;
    if local_part.is_empty() {
        return Err((0, AddressProblem::NoLocalPart));
    }
    if local_part.len() > LOCAL_PART_OCTETS_MAX {
        return Err((0, AddressProblem::LocalPartLength));
    }
    check_domain(domain).map_err(|(place, problem)| (end + 1 + place, problem))?;
    Ok((local_part, domain))
}

/// RFC 5321 section 4.1.2, Quoted-string: where it ends.
fn check_quoted(text: &str) -> Result<usize, (usize, AddressProblem)> {
    let mut characters = text.char_indices().skip(1);
    while let Some((place, character)) = characters.next() {
        match character {
            '"' if place == 1 => return Err((0, AddressProblem::NoLocalPart)),
            '"' => return Ok(place + 1),
            '\\' => match characters.next() {
                Some((_, escaped)) if escaped.is_ascii() => {}
                Some(_) => return Err((place, AddressProblem::Unquoted('\\'))),
                None => break,
            },
            _ => {}
        }
    }
    Err((0, AddressProblem::QuotesOpen))
}

/// RFC 5321 section 4.1.2, Dot-string: where it ends.
fn check_dotted(text: &str) -> Result<usize, (usize, AddressProblem)> {
    let end = text.find('@').unwrap_or(text.len());
    let local_part = text.get(..end).unwrap_or_default();
    if let Some((place, character)) = local_part.char_indices().find(|(_, c)| !is_dotted(*c)) {
        return Err((place, AddressProblem::Unquoted(character)));
    }
    let is_edge = |place: &usize| *place == 0 || *place + 1 == local_part.len();
    let mut dots = local_part.match_indices('.').map(|(place, _)| place);
    match dots.find(is_edge).or(local_part.find("..")) {
        Some(place) => Err((place, AddressProblem::Dot)),
        None => Ok(end),
    }
}

/// RFC 5322 section 3.2.3, atext, and the dot; RFC 6531 adds all that is not ASCII.
fn is_dotted(character: char) -> bool {
    let is_visible = !character.is_ascii() && !character.is_whitespace();
    character.is_ascii_alphanumeric() || is_visible || "!#$%&'*+-/=?^_`{|}~.".contains(character)
}

fn check_domain(domain: &str) -> Result<(), (usize, AddressProblem)> {
    if domain.is_empty() {
        return Err((0, AddressProblem::NoDomain));
    }
    if domain.len() > DOMAIN_OCTETS_MAX {
        return Err((0, AddressProblem::DomainLength));
    }
    if domain.starts_with('[') {
        let is_literal = is_address_literal(domain);
        return is_literal.then_some(()).ok_or((0, AddressProblem::Literal));
    }
    let mut start = 0;
    for label in domain.split('.') {
        let unlike = |(_, character): &(usize, char)| !is_label_character(*character);
        if let Some((place, character)) = label.char_indices().find(unlike) {
            return Err((start + place, AddressProblem::Unquoted(character)));
        }
        let has_length = (1..=LABEL_OCTETS_MAX).contains(&label.len());
        if !has_length || label.starts_with('-') || label.ends_with('-') {
            return Err((start, AddressProblem::Label));
        }
        start += label.len() + 1;
    }
    Ok(())
}

/// The underscore is not in the RFC, but in the names of many a container.
fn is_label_character(character: char) -> bool {
    let is_letter = character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    is_letter || !character.is_ascii() && !character.is_whitespace()
}

/// RFC 5321 section 4.1.3.
pub(super) fn is_address_literal(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|inner| match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, domain: &str, needs_utf8: bool) {
        let address = Address::parse(text).expect(text);
        assert_eq!(address.to_string(), text);
        assert_eq!(address.domain(), domain);
        assert_eq!(address.needs_utf8(), needs_utf8);
    }

    #[test]
    fn addresses() {
        check("ann@example.org", "example.org", false);
        check("-Ann.o'Neil+x=1@EXAMPLE.org", "EXAMPLE.org", false);
        check("root@localhost", "localhost", false);
        check("root@mail_1.lab", "mail_1.lab", false);
        check("\"a b@c\\\"<>,\"@d.example", "d.example", false);
        check("a@[192.0.2.1]", "[192.0.2.1]", false);
        check("a@[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]", false);
        check("jörg@example.org", "example.org", true);
        check("a@bücher.example", "bücher.example", true);
        check("\"ü b\"@c.example", "c.example", true);
        let longest = format!("{}@{}", "a".repeat(64), domain(255));
        check(&longest, &domain(255), false);
    }

    /// A domain of that many octets.
    fn domain(octets: usize) -> String {
        format!("{}.", "d".repeat(63)).repeat(4)[..octets].to_owned()
    }

    #[test]
    fn what_is_no_address() {
        #[track_caller]
        fn check(text: &str, words: &str) {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.to_string(), words, "{text:?}");
        }
        check("", "an address is missing (at character 1)");
        check("ann", "the @ is missing (at character 4)");
        check("@b.c", "nothing stands before the @ (at character 1)");
        check("\"\"@b.c", "nothing stands before the @ (at character 1)");
        check("ann@", "nothing stands behind the @ (at character 5)");
        check(
            "ü b@c",
            "no space is allowed here; it is USER@DOMAIN or NAME <USER@DOMAIN> (at character 2)",
        );
        check(
            "a@b@c",
            "'@' is not allowed here without quotes (at character 4)",
        );
        check(
            "a@b c",
            "no space is allowed here; it is USER@DOMAIN or NAME <USER@DOMAIN> (at character 4)",
        );
        check(
            "<a@b>",
            "'<' is not allowed here without quotes (at character 1)",
        );
        check("\"a@b.c", "the quotes are not closed (at character 1)");
        check("\"a\\\"@b.c", "the quotes are not closed (at character 1)");
        check("\"a\"b@c", "the @ is missing (at character 4)");
        let dot = "without quotes a dot needs a character on both sides";
        check("a..b@c", &format!("{dot} (at character 2)"));
        check(".a@c", &format!("{dot} (at character 1)"));
        check("a.@c", &format!("{dot} (at character 2)"));
        let control = "a line end or another control character";
        for text in ["a@b\r\nDATA", "a@b\nx", "a@b\0", "a@b\u{85}", "\"x\r\"@y"] {
            let place = text.chars().position(char::is_control).expect(text) + 1;
            check(text, &format!("{control} (at character {place})"));
        }
        let label = "between dots a domain has 1 to 63 octets, hyphens only inside";
        check("a@b..c", &format!("{label} (at character 5)"));
        check("a@b.c.", &format!("{label} (at character 7)"));
        check("a@b.-c", &format!("{label} (at character 5)"));
        let long = "d".repeat(64);
        check(&format!("a@{long}"), &format!("{label} (at character 3)"));
        check(
            &format!("{long}d@e"),
            "more than 64 octets before the @ (at character 1)",
        );
        check(
            &format!("a@{}", domain(256)),
            "more than 255 octets behind the @ (at character 3)",
        );
        let literal = "no address literal such as [192.0.2.1] or [IPv6:2001:db8::1]";
        for text in ["a@[", "a@[]", "a@[1.2.3]", "a@[::1]", "a@[IPv6:fe80::1%1]"] {
            check(text, &format!("{literal} (at character 3)"));
        }
    }

    proptest! {
        /// An address never ends its command or its angle brackets.
        #[test]
        fn nothing_gets_out(text in "[a\"\\\\@.<> \r\n\0ü\\[\\]:-]{0,12}|\\PC{0,12}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!text.contains(char::is_control));
                prop_assert_eq!(address.to_string(), &text[..]);
                let is_quoted = text.starts_with('"');
                prop_assert!(is_quoted || !text.contains(['<', '>', ' ', ',', ';']));
            }
        }
    }
}
