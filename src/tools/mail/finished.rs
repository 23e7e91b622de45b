//! `--message`: a message that is finished already, such as a draft that was kept.

use std::path::Path;

use super::files::octets_of;
use super::letter::Letter;
use super::message::address::Mailbox;
use crate::tool::Error;
use crate::wire::smtp::Address;

/// RFC 5322 section 2.1.1.
const LINE_OCTETS_MAX: usize = 998;

/// With the envelope that is given; what is missing of it the message says itself.
pub(super) fn read(file: &Path, from: Option<Address>, to: &[Mailbox]) -> Result<Letter, Error> {
    let to = to.iter().map(|mailbox| mailbox.address.clone()).collect();
    let letter = parse(&octets_of(file)?, from, to);
    let letter = letter.map(|letter| Letter {
        file: Some(file.to_owned()),
        ..letter
    });
    letter.map_err(|why| Error::Usage(format!("{}: {why}", file.display())))
}

fn parse(octets: &[u8], from: Option<Address>, to: Vec<Address>) -> Result<Letter, String> {
    let mut header = Vec::new();
    let mut body: Vec<&[u8]> = Vec::new();
    let mut is_header = true;
    for (index, line) in lines(octets).enumerate() {
        if let Some(octet) = line.iter().find(|octet| matches!(octet, 0 | b'\r')) {
            let what = if *octet == 0 { "NUL" } else { "CR without LF" };
            return Err(format!("line {} has {what}", index + 1));
        }
        if line.len() > LINE_OCTETS_MAX {
            let number = index + 1;
            return Err(format!(
                "line {number} is longer than {LINE_OCTETS_MAX} octets"
            ));
        }
        is_header &= !line.is_empty();
        match (is_header, header.last_mut()) {
            (false, _) => body.push(line),
            (true, Some(Field { lines, .. }))
                if line.starts_with(b" ") || line.starts_with(b"\t") =>
            {
                lines.push(line);
            }
            (true, _) => header.push(
                Field::parse(line)
                    .ok_or_else(|| format!("line {} is no header field", index + 1))?,
            ),
        }
    }
    let values = |name: &str| {
        let named = header.iter().filter(move |field| field.is(name));
        named.map(Field::value).collect::<Vec<String>>()
    };
    let mailboxes = |name: &str| -> Result<Vec<Address>, String> {
        let mut addresses = Vec::new();
        for value in values(name) {
            let list = Mailbox::parse_list(&value).map_err(|error| {
                let option = if name == "From" { "--from" } else { "--to" };
                format!("{name}: {error}; give {option}")
            })?;
            addresses.extend(list.into_iter().map(|mailbox| mailbox.address));
        }
        Ok(addresses)
    };
    let from = match from {
        Some(from) => from,
        None => mailboxes("From")?
            .into_iter()
            .next()
            .ok_or("it has no From; give --from")?,
    };
    let mut recipients: Vec<Address> = Vec::new();
    let named =
        || Ok::<_, String>([mailboxes("To")?, mailboxes("Cc")?, mailboxes("Bcc")?].concat());
    for recipient in if to.is_empty() { named()? } else { to } {
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    if recipients.is_empty() {
        return Err("it names no recipient; give --to".to_owned());
    }
    let message_id = values("Message-ID").into_iter().next();
    // Who is not to be seen is in the envelope alone; the way back is the receiver's to say.
    let is_sent = |field: &&Field| !field.is("Bcc") && !field.is("Return-Path");
    let header = header.iter().filter(is_sent).flat_map(|field| &field.lines);
    let mut octets = Vec::with_capacity(octets.len());
    for line in header.chain(&body) {
        octets.extend_from_slice(line);
        octets.extend_from_slice(b"\r\n");
    }
    Ok(Letter {
        message_id,
        file: None,
        from,
        recipients,
        octets: octets.into(),
        is_typed: false,
    })
}

/// Whatever ends them; the last one need not have an end.
fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = octets.split_inclusive(|octet| *octet == b'\n');
    lines.map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

struct Field<'a> {
    name: &'a [u8],
    /// The first one with the name.
    lines: Vec<&'a [u8]>,
}

impl<'a> Field<'a> {
    fn parse(line: &'a [u8]) -> Option<Field<'a>> {
        let colon = line.iter().position(|octet| *octet == b':')?;
        let name = line.get(..colon)?;
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        is_name.then(|| Field {
            name,
            lines: vec![line],
        })
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Unfolded (RFC 5322 section 2.2.3).
    fn value(&self) -> String {
        let line = String::from_utf8_lossy(&self.lines.concat()).into_owned();
        line[self.name.len() + 1..].trim().replace('\t', " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelope, or what is wrong.
    #[track_caller]
    fn check(text: &str, to: &[&str], expected: &str) -> Vec<u8> {
        let address = |text: &&str| Address::parse(text).expect(text);
        let letter = parse(text.as_bytes(), None, to.iter().map(address).collect());
        let (found, octets) = match letter {
            Ok(letter) => {
                let to: Vec<_> = letter.recipients.iter().map(ToString::to_string).collect();
                let id = letter.message_id.expect("an id");
                let found = format!("{} > {} {id}", letter.from, to.join(" "));
                (found, letter.octets.to_vec())
            }
            Err(why) => (why, Vec::new()),
        };
        assert_eq!(found, expected);
        octets
    }

    #[test]
    fn the_envelope_is_its_own_unless_given() {
        let text = "Return-Path: <x@y.z>\nfrom: Ann\n <a@b.c>\nTo: b@b.c,\n\tc@b.c, b@b.c\nBCC: d@b.c,\n e@b.c\n\
                    Message-ID: <1@b.c>\n\nBcc: not a field\n.\n";
        let octets = check(text, &[], "a@b.c > b@b.c c@b.c d@b.c e@b.c <1@b.c>");
        let expected = "from: Ann\r\n <a@b.c>\r\nTo: b@b.c,\r\n\tc@b.c, b@b.c\r\nMessage-ID: <1@b.c>\r\n\r\n\
                        Bcc: not a field\r\n.\r\n";
        assert_eq!(String::from_utf8_lossy(&octets), expected);
        check(text, &["f@b.c"], "a@b.c > f@b.c <1@b.c>");
        // Its own ones need not be such as could be sent to.
        let hidden = "From: a@b.c\nTo: undisclosed-recipients:;\nMessage-ID: <1@b.c>\n\nhi";
        check(hidden, &["f@b.c"], "a@b.c > f@b.c <1@b.c>");
    }

    #[test]
    fn what_is_no_message() {
        check("", &[], "it has no From; give --from");
        check("hi\n", &[], "line 1 is no header field");
        check(
            "From: a@b.c\n\nTo: b@b.c",
            &[],
            "it names no recipient; give --to",
        );
        check("From: a@b.c\n\n\0", &[], "line 3 has NUL");
        check(
            "From: a@b.c\rBcc: b@b.c\n\nhi",
            &[],
            "line 1 has CR without LF",
        );
        let long = format!("From: a@b.c\n\n{}\n", "x".repeat(999));
        check(&long, &[], "line 3 is longer than 998 octets");
    }
}
