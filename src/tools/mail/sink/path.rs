//! Paths of the envelope, RFC 5321 section 4.1.2, read liberally: what is in doubt is accepted,
//! as long as its end is certain and it cannot break a header field.

/// RFC 5321 section 4.5.3.1.3: with the angle brackets. This leaves a domain less than the 255
/// octets that it may have by itself.
const PATH_OCTETS_MAX: usize = 256;
/// RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_OCTETS_MAX: usize = 64;

/// Without angle brackets and source route. Empty is the null reverse-path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) mailbox: &'a str,
    pub(crate) local_part: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("it goes between < and >")]
    NoBrackets,
    #[error("it has no domain")]
    NoDomain,
    #[error("it has a character that needs quotes or is not allowed")]
    Character,
    #[error("it or a part of it is empty")]
    Empty,
    #[error("it is longer than 256 octets, or its local part than 64")]
    TooLong,
}

/// Reads a path off the front of `text`, with what is behind it.
pub(crate) fn parse(text: &str) -> Result<(Path<'_>, &str), Error> {
    let inside = text.strip_prefix('<').ok_or(Error::NoBrackets)?;
    let end = find_unquoted(inside, '>').ok_or(Error::NoBrackets)?;
    let (path, rest) = (&inside[..end], &inside[end + 1..]);
    if path.len() + 2 > PATH_OCTETS_MAX {
        return Err(Error::TooLong);
    }
    // RFC 5321 appendix C: a source route is accepted and ignored.
    let mailbox = match path.strip_prefix('@') {
        Some(_) => path.split_once(':').ok_or(Error::NoDomain)?.1,
        None => path,
    };
    let local_part = match find_unquoted(mailbox, '@') {
        Some(at) => check_mailbox(&mailbox[..at], &mailbox[at + 1..])?,
        // RFC 5321 section 4.5.1: the one mailbox that needs no domain.
        None if mailbox.is_empty() || mailbox.eq_ignore_ascii_case("postmaster") => mailbox,
        None => return Err(Error::NoDomain),
    };
    let path = Path {
        mailbox,
        local_part,
    };
    Ok((path, rest))
}

/// Where `wanted` is outside of a quoted string.
fn find_unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == wanted && !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn check_mailbox<'a>(local_part: &'a str, domain: &str) -> Result<&'a str, Error> {
    if local_part.is_empty() || domain.is_empty() {
        return Err(Error::Empty);
    }
    if local_part.len() > LOCAL_PART_OCTETS_MAX {
        return Err(Error::TooLong);
    }
    let is_valid = (is_quoted_string(local_part) || is_atoms(local_part))
        && (is_address_literal(domain) || is_atoms(domain));
    is_valid.then_some(local_part).ok_or(Error::Character)
}

/// RFC 5322 section 3.2.3, with dots anywhere: some telephone companies have given out such.
fn is_atoms(text: &str) -> bool {
    text.chars()
        .all(|character| !character.is_control() && !r#" ()<>[]:;@\,""#.contains(character))
}

fn is_quoted_string(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"') else {
        return false;
    };
    let mut is_escaped = false;
    let end = inside.bytes().position(|octet| {
        let was_escaped = std::mem::take(&mut is_escaped);
        is_escaped = octet == b'\\' && !was_escaped;
        octet == b'"' && !was_escaped
    });
    end.is_some_and(|end| end + 1 == inside.len())
}

fn is_address_literal(domain: &str) -> bool {
    let inside = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| {
        let is_dcontent = |octet| matches!(octet, b'!'..=b'Z' | b'^'..=b'~');
        !inside.is_empty() && inside.bytes().all(is_dcontent)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, mailbox: &str, local_part: &str) {
        let path = Path {
            mailbox,
            local_part,
        };
        for rest in ["", " SIZE=1", "> \"<a@b>"] {
            let text = format!("{text}{rest}");
            assert_eq!(parse(&text), Ok((path, rest)), "{text}");
        }
    }

    #[test]
    fn paths() {
        check("<ann@mail.example>", "ann@mail.example", "ann");
        check("<>", "", "");
        check("<PostMaster>", "PostMaster", "PostMaster");
        check("<a..b.@x>", "a..b.@x", "a..b.");
        check(
            "<@a.example,@b.example:ann@c.example>",
            "ann@c.example",
            "ann",
        );
        check(r#"<"a>b@ \"c"@x>"#, r#""a>b@ \"c"@x"#, r#""a>b@ \"c""#);
        check("<ann@[192.0.2.1]>", "ann@[192.0.2.1]", "ann");
        check("<ann@[IPv6:2001:db8::1]>", "ann@[IPv6:2001:db8::1]", "ann");
        check("<jürgen@müller.example>", "jürgen@müller.example", "jürgen");
    }

    #[track_caller]
    fn check_error(text: &str, error: Error) {
        assert_eq!(parse(text), Err(error), "{text}");
    }

    #[test]
    fn errors() {
        for text in ["", "ann@x", "<ann@x", " <ann@x>", r#"<"ann@x>"#] {
            check_error(text, Error::NoBrackets);
        }
        for text in ["<root>", "<@x>", r#"<"a@b">"#] {
            check_error(text, Error::NoDomain);
        }
        for text in ["<@>", "<@a:b@>", "<ann@>", "<@a:@b>"] {
            let error = parse(text).expect_err(text);
            assert!(matches!(error, Error::Empty | Error::NoDomain), "{text}");
        }
        let wrong = [
            "<a@b@c>", "<a b@c>", "<a@b c>", "<a<b@c>", "<a(b)@c>", "<a@[]>",
        ];
        for text in wrong
            .into_iter()
            .chain([r#"<"a"b@c>"#, r#"<a"b"@c>"#, "<a@[b>"])
        {
            check_error(text, Error::Character);
        }
    }

    #[test]
    fn limits() {
        let of =
            |local: usize, domain: usize| format!("<{}@{}>", "l".repeat(local), "d".repeat(domain));
        check_error(&of(65, 1), Error::TooLong);
        check_error(&of(1, 253), Error::TooLong);
        for (local, domain) in [(64, 189), (1, 252)] {
            assert!(parse(&of(local, domain)).is_ok(), "{local} {domain}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_longer_than_a_path(text in r#"<?["\\@<>:\[\] a.\PC]{0,300}>?"#) {
            if let Ok((path, rest)) = parse(&text) {
                prop_assert!(path.mailbox.len() + rest.len() + 2 <= text.len());
                prop_assert!(path.mailbox.len() + 2 <= PATH_OCTETS_MAX);
                prop_assert!(path.mailbox.starts_with(path.local_part));
            }
        }
    }
}
