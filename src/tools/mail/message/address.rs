//! Mailboxes as people write them: `Ann <ann@example.org>, bob@example.org`, RFC 5322
//! section 3.4.
//!
//! Display names may have dots and letters of any script without quotes. Left out: groups,
//! comments and encoded-words, which nobody types.

use crate::wire::smtp::Address;
use crate::wire::smtp::address::{AddressError, AddressProblem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) display_name: Option<String>,
    pub(crate) address: Address,
}

impl Mailbox {
    pub(crate) fn parse(text: &str) -> Result<Mailbox, AddressError> {
        if let Some(place) = text.find(char::is_control) {
            return Err(AddressError::at(text, place, AddressProblem::Control));
        }
        let end = text.trim_end().len();
        let trimmed = text.get(..end).unwrap_or(text);
        let start = end - trimmed.trim_start().len();
        let Some((open, _)) = outside_quotes(trimmed).find(|(_, character)| *character == '<')
        else {
            let address = trimmed.get(start..).unwrap_or_default();
            return Ok(Mailbox {
                display_name: None,
                address: Address::parse(address).map_err(|error| error.behind(text, start))?,
            });
        };
        let (name, rest) = trimmed.split_at(open);
        let address = rest
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix('>'));
        let address = address.ok_or(AddressError::at(text, open, AddressProblem::Brackets))?;
        Ok(Mailbox {
            display_name: parse_display_name(name)?,
            address: Address::parse(address).map_err(|error| error.behind(text, open + 1))?,
        })
    }

    /// At least one, with commas between them.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Mailbox>, AddressError> {
        let mut mailboxes = Vec::new();
        let mut start = 0;
        let commas = outside_quotes(text).filter(|(_, character)| *character == ',');
        for end in commas.map(|(place, _)| place).chain([text.len()]) {
            let item = text.get(start..end).unwrap_or_default();
            let parsed = Mailbox::parse(item).map_err(|mut error| {
                if error.problem == AddressProblem::NoAt && item.len() < text.len() {
                    error.problem = AddressProblem::NoAtInList;
                }
                error.behind(text, start)
            });
            mailboxes.push(parsed?);
            start = end + 1;
        }
        Ok(mailboxes)
    }
}

/// The characters that are not quoted, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.char_indices().filter(move |(_, character)| {
        let was_quoted = is_quoted;
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        !was_quoted && !is_quoted
    })
}

/// Words and quoted strings; `None` when they come to nothing.
fn parse_display_name(text: &str) -> Result<Option<String>, AddressError> {
    let mut name = String::new();
    let mut opened = None;
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' if opened.is_some() => opened = None,
            '"' => opened = Some(place),
            '\\' if opened.is_some() => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '>' | ',' | ';' | ':' if opened.is_none() => {
                return Err(AddressError::at(
                    text,
                    place,
                    AddressProblem::Unquoted(character),
                ));
            }
            ' ' if opened.is_none() && (name.is_empty() || name.ends_with(' ')) => {}
            _ => name.push(character),
        }
    }
    if let Some(place) = opened {
        return Err(AddressError::at(text, place, AddressProblem::QuotesOpen));
    }
    name.truncate(name.trim_end().len());
    Ok((!name.is_empty()).then_some(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let mailboxes = Mailbox::parse_list(text).expect(text);
        let found: Vec<(&str, String)> = mailboxes
            .iter()
            .map(|mailbox| {
                let name = mailbox.display_name.as_deref().unwrap_or("-");
                (name, mailbox.address.to_string())
            })
            .collect();
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(name, address)| (*name, (*address).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
        if let [only] = &mailboxes[..] {
            assert_eq!(Mailbox::parse(text).as_ref(), Ok(only), "{text}");
        }
    }

    #[test]
    fn mailboxes() {
        check("a@b.c", &[("-", "a@b.c")]);
        check("  <a@b.c> ", &[("-", "a@b.c")]);
        check("Ann <a@b.c>", &[("Ann", "a@b.c")]);
        check("Ann<a@b.c>", &[("Ann", "a@b.c")]);
        check(
            " J. R.  O'Neil (work) <a@b.c>",
            &[("J. R. O'Neil (work)", "a@b.c")],
        );
        check("Jörg Ø <ü@b.c>", &[("Jörg Ø", "ü@b.c")]);
        check(
            "\"Smith, \\\"A\\\" \\\\ <x>\" <a@b.c>",
            &[("Smith, \"A\" \\ <x>", "a@b.c")],
        );
        check("\"\" <a@b.c>", &[("-", "a@b.c")]);
        check("a@b.c <a@b.c>", &[("a@b.c", "a@b.c")]);
        check("\"a,<b\"@c.d", &[("-", "\"a,<b\"@c.d")]);
    }

    #[test]
    fn lists() {
        check("A <a@b>, c@d", &[("A", "a@b"), ("-", "c@d")]);
        check(
            "\"A, B\" <a@b>,\"c,d\"@e , F <\"g,h\"@i>",
            &[("A, B", "a@b"), ("-", "\"c,d\"@e"), ("F", "\"g,h\"@i")],
        );
    }

    #[test]
    fn what_is_wrong_and_where() {
        #[track_caller]
        fn check(text: &str, problem: AddressProblem, character: usize) {
            let expected = AddressError { problem, character };
            assert_eq!(Mailbox::parse_list(text), Err(expected), "{text:?}");
        }
        check("", AddressProblem::Missing, 1);
        check("  ", AddressProblem::Missing, 1);
        check("a@b, ", AddressProblem::Missing, 5);
        check("a@b,,c@d", AddressProblem::Missing, 5);
        check("Ann <>", AddressProblem::Missing, 6);
        check("Jörg <ann>", AddressProblem::NoAt, 10);
        check("Doe, Jane <j@y>", AddressProblem::NoAtInList, 4);
        check("ä@b, Jörg <x@y z>", AddressProblem::Unquoted(' '), 15);
        check("Ann a@b", AddressProblem::Unquoted(' '), 4);
        check("Ann <a@b", AddressProblem::Brackets, 5);
        check("Ann <a@b> x", AddressProblem::Brackets, 5);
        check("Ann <a@b> <c@d>", AddressProblem::Unquoted('>'), 9);
        check("Ann > <a@b>", AddressProblem::Unquoted('>'), 5);
        check("Team: <a@b>", AddressProblem::Unquoted(':'), 5);
        check("a@b; c@d", AddressProblem::Unquoted(';'), 4);
        check("\"Ann <a@b>", AddressProblem::QuotesOpen, 1);
        check("Ann\r\nBcc: x <a@b>", AddressProblem::Control, 4);
        check("c@d, \"A\0\" <a@b>", AddressProblem::Control, 8);
        assert!(Mailbox::parse("a@b, c@d").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_line_end_gets_through(
            text in "([aü ,;:@.<>\"\\\\\r\n\0]|a@b|\"x\"|<c@d>){0,12}",
        ) {
            match Mailbox::parse_list(&text) {
                Ok(mailboxes) => {
                    prop_assert!(!mailboxes.is_empty());
                    prop_assert!(!text.contains(char::is_control));
                }
                Err(error) => prop_assert!(error.character <= text.chars().count() + 1),
            }
        }
    }
}
