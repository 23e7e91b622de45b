//! Under which name a server keeps the message it has accepted, RFC 5321 section 4.2.
//!
//! There is no standard for it, so these are the habits of those that are met most.

use crate::wire::smtp::Reply;

/// Longer words are no names.
const OCTETS_MAX: usize = 100;

pub(super) fn parse(reply: &Reply) -> Option<String> {
    let mut lines = reply.lines.iter();
    lines.find_map(|line| {
        let id = find(line)?;
        let is_name = (1..=OCTETS_MAX).contains(&id.len()) && id.bytes().all(is_name_octet);
        is_name.then(|| id.to_owned())
    })
}

fn find(line: &str) -> Option<&str> {
    postfix(line)
        .or_else(|| exchange(line))
        .or_else(|| exim(line))
        .or_else(|| sendmail(line))
        .or_else(|| gmail(line))
}

/// `2.0.0 Ok: queued as 4D1F2A`; a filter in front may pass it on in parentheses.
fn postfix(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("queued as ")?;
    let id = rest.split_ascii_whitespace().next()?;
    Some(id.trim_end_matches([')', '.', ',', ';']))
}

/// `2.6.0 <a@b> [InternalId=47, Hostname=c] Queued mail for delivery`.
fn exchange(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("[InternalId=")?;
    rest.split([',', ']']).next()
}

/// `OK id=1tDq7x-000000001Ab-2cD3`.
fn exim(line: &str) -> Option<&str> {
    line.split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("id="))
}

/// `2.0.0 4AL9x1 Message accepted for delivery`, and OpenSMTPD says the same.
fn sendmail(line: &str) -> Option<&str> {
    let (front, _) = line.split_once(" Message accepted")?;
    let id = front.rsplit(' ').next()?;
    // An enhanced code in its place is no name.
    (!id.contains('.') && id != "OK" && id != "Ok").then_some(id)
}

/// `2.0.0 OK  1763730000 a1-2002si42.7 - gsmtp`.
fn gmail(line: &str) -> Option<&str> {
    let front = line.trim_end().strip_suffix("- gsmtp")?;
    front.split_ascii_whitespace().next_back()
}

fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> Option<String> {
        parse(&Reply {
            code: 250,
            enhanced: None,
            lines: text.split('\n').map(str::to_owned).collect(),
        })
    }

    #[test]
    fn names_of_messages() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(id(text).as_deref(), expected, "{text}");
        }
        check("2.0.0 Ok: queued as 9CC449A698E", Some("9CC449A698E"));
        check(
            "2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4XyZ",
            Some("4XyZ"),
        );
        check("OK (250 2.0.0 Ok: queued as 4XyZ).", Some("4XyZ"));
        check(
            "OK id=1tDq7x-000000001Ab-2cD3",
            Some("1tDq7x-000000001Ab-2cD3"),
        );
        check("2.0.0 4AL9x1 Message accepted for delivery", Some("4AL9x1"));
        check("2.0.0 Message accepted for delivery", None);
        check("OK Message accepted", None);
        check(
            "2.0.0 OK  1763730000 a1-2002si42.7 - gsmtp",
            Some("a1-2002si42.7"),
        );
        check(
            "2.6.0 <a@b> [InternalId=4711, Hostname=c] Queued mail for delivery",
            Some("4711"),
        );
        check("thanks\nqueued as X1", Some("X1"));
        check("2.0.0 Ok", None);
        check("", None);
        check("queued as ", None);
        check("queued as \u{1b}[2J", None);
        check(&format!("id={}", "x".repeat(101)), None);
    }

    proptest! {
        #[test]
        fn a_name_is_short_and_printable(
            text in "(queued as |id=|\\[InternalId=| Message accepted|- gsmtp|\\PC{0,3}|[, \\])]){0,8}",
        ) {
            if let Some(id) = id(&text) {
                prop_assert!(id.len() <= OCTETS_MAX && id.bytes().all(|octet| octet.is_ascii_graphic()));
            }
        }
    }
}
