//! A message as it is written and as it travels: RFC 5322 with MIME (RFC 2045 to RFC 2049).
//!
//! Nothing random and no clock here: both are passed in, and the same message is always the
//! same octets. There is no Bcc: who is to stay unseen is in the envelope alone.

pub(crate) mod address;
mod body;
mod header;
#[cfg(test)]
mod oracle;
pub(crate) mod stuffing;

use chrono::{DateTime, FixedOffset};

use self::address::Mailbox;
use self::body::Part;
use self::header::Header;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    pub(crate) subject: String,
    pub(crate) date: DateTime<FixedOffset>,
    /// Makes the Message-ID and the boundaries.
    pub(crate) random: u128,
    pub(crate) text: String,
    /// The same in HTML; instead of the text when that is empty.
    pub(crate) html: Option<String>,
    pub(crate) attachments: Vec<Attachment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Without folders.
    pub(crate) file_name: String,
    pub(crate) octets: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a line end or another control character in {field} (at character {character})")]
    Control {
        field: &'static str,
        character: usize,
    },
    #[error("the file name of an attachment needs 1 to 255 octets")]
    FileNameLength,
}

impl Message {
    /// The octets before dot-stuffing: 7bit, but for addresses that need UTF-8.
    pub(crate) fn emit(&self) -> Result<Vec<u8>, Error> {
        let mut header = Header::default();
        // `to_rfc2822` panics after the year 9999.
        let date = self.date.format("%a, %-d %b %Y %H:%M:%S %z").to_string();
        header.add("Date", &[date]);
        header.add_mailboxes("From", std::slice::from_ref(&self.from))?;
        for (name, mailboxes) in [("To", &self.to), ("Cc", &self.cc)] {
            if !mailboxes.is_empty() {
                header.add_mailboxes(name, mailboxes)?;
            }
        }
        if self.to.is_empty() && self.cc.is_empty() {
            // Some filters take a message without recipients for spam.
            header.add("To", &["undisclosed-recipients:;"]);
        }
        header.add_text("Subject", &self.subject)?;
        header.add("Message-ID", &[self.message_id()]);
        header.add("MIME-Version", &["1.0"]);
        let mut output = Vec::new();
        self.body().emit(header, &mut output)?;
        Ok(output)
    }

    /// RFC 5322 section 3.6.4. The domain is the sender's, which says nothing new.
    pub(crate) fn message_id(&self) -> String {
        format!("<{:032x}@{}>", self.random, self.from.address.domain())
    }

    fn body(&self) -> Part<'_> {
        let plain = Part::Text {
            subtype: "plain",
            text: &self.text,
        };
        let html = self.html.as_deref().map(|text| Part::Text {
            subtype: "html",
            text,
        });
        let shown = match html {
            None => plain,
            Some(html) if self.text.is_empty() => html,
            Some(html) => self.multipart("alternative", vec![plain, html]),
        };
        if self.attachments.is_empty() {
            return shown;
        }
        let attachments = self.attachments.iter().map(Part::Attachment);
        self.multipart("mixed", [shown].into_iter().chain(attachments).collect())
    }

    fn multipart<'a>(&self, subtype: &'static str, parts: Vec<Part<'a>>) -> Part<'a> {
        // Neither quoted-printable nor base64 has "=_", and a 7bit text cannot know the rest.
        let boundary = format!("=_{:032x}_{subtype}", self.random);
        Part::Multipart {
            subtype,
            boundary,
            parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> Message {
        Message {
            from: Mailbox::parse("Ann <ann@example.org>").expect("a mailbox"),
            to: Mailbox::parse_list("Bob <bob@example.net>, c@d.example").expect("mailboxes"),
            cc: Vec::new(),
            subject: "hello".to_owned(),
            date: DateTime::parse_from_rfc3339("2026-11-01T09:08:07+01:30").expect("a date"),
            random: 0xabc,
            text: "hi\n".to_owned(),
            html: None,
            attachments: Vec::new(),
        }
    }

    #[track_caller]
    fn check(message: &Message, expected: &[&str]) {
        let octets = message.emit().expect("a message");
        let text = String::from_utf8(octets).expect("UTF-8");
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_text() {
        let id = "Message-ID: <00000000000000000000000000000abc@example.org>";
        check(
            &message(),
            &[
                "Date: Sun, 1 Nov 2026 09:08:07 +0130",
                "From: Ann <ann@example.org>",
                "To: Bob <bob@example.net>, c@d.example",
                "Subject: hello",
                id,
                "MIME-Version: 1.0",
                "Content-Type: text/plain; charset=utf-8",
                "Content-Transfer-Encoding: 7bit",
                "",
                "hi",
                "",
            ],
        );
        assert!(id.ends_with(&message().message_id()));
    }

    #[test]
    fn nobody_to_be_seen() {
        let mut message = message();
        message.to.clear();
        let octets = message.emit().expect("a message");
        let text = String::from_utf8(octets).expect("UTF-8");
        assert!(
            text.contains("\r\nTo: undisclosed-recipients:;\r\n"),
            "{text}"
        );
        message.cc = Mailbox::parse_list("c@d").expect("a mailbox");
        let octets = message.emit().expect("a message");
        let text = String::from_utf8(octets).expect("UTF-8");
        assert!(
            text.contains("\r\nCc: c@d\r\n") && !text.contains("\r\nTo:"),
            "{text}"
        );
    }

    #[test]
    fn html_and_an_attachment() {
        let mut message = message();
        message.html = Some("<p>hi".to_owned());
        message.attachments.push(Attachment {
            file_name: "a.png".to_owned(),
            octets: b"abc".to_vec(),
        });
        let octets = message.emit().expect("a message");
        let text = String::from_utf8(octets).expect("UTF-8");
        let (_, parts) = text.split_once("MIME-Version: 1.0\r\n").expect("MIME");
        let hex = "00000000000000000000000000000abc";
        let expected = [
            "Content-Type: multipart/mixed;",
            " boundary=\"=_HEX_mixed\"",
            "",
            "--=_HEX_mixed",
            "Content-Type: multipart/alternative;",
            " boundary=\"=_HEX_alternative\"",
            "",
            "--=_HEX_alternative",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "hi",
            "",
            "--=_HEX_alternative",
            "Content-Type: text/html; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "<p>hi",
            "",
            "--=_HEX_alternative--",
            "",
            "--=_HEX_mixed",
            "Content-Type: image/png",
            "Content-Transfer-Encoding: base64",
            "Content-Disposition: attachment; filename=\"a.png\"",
            "",
            "YWJj",
            "",
            "--=_HEX_mixed--",
            "",
        ];
        let expected = expected.join("\r\n").replace("HEX", hex);
        assert_eq!(parts, expected);
        message.text.clear();
        message.attachments.clear();
        let octets = message.emit().expect("a message");
        let html_alone =
            b"text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<p>hi\r\n";
        assert!(octets.ends_with(html_alone));
    }

    #[test]
    fn what_only_smtputf8_carries() {
        let mut message = message();
        message.from.display_name = Some("Jörg".to_owned());
        assert!(message.emit().expect("a message").is_ascii());
        message.cc = Mailbox::parse_list("jörg@example.org").expect("a mailbox");
        assert!(!message.emit().expect("a message").is_ascii());
        message.cc = Mailbox::parse_list("a@bücher.example").expect("a mailbox");
        assert!(!message.emit().expect("a message").is_ascii());
    }

    #[test]
    fn a_line_end_in_a_field_is_an_error_that_names_it() {
        let mut message = message();
        message.subject = "a\r\nBcc: x@y.z".to_owned();
        let error = message.emit().expect_err("an error").to_string();
        let words = "a line end or another control character in Subject (at character 2)";
        assert_eq!(error, words);
    }

    proptest! {
        #[test]
        fn every_line_can_travel(
            subject in "\\PC{0,300}",
            text in "([.\r\nß \0]|From |[a-z]{500}){0,12}",
            html in proptest::option::of("([.\r\n\u{1f980}]|[a-z ]{0,900}){0,4}"),
            octets in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let file_name = "ü.txt".to_owned();
            let attachments = vec![Attachment { file_name, octets }];
            let message = Message { subject, text, html, attachments, ..message() };
            let octets = message.emit().expect("a message");
            let text = String::from_utf8(octets).expect("UTF-8");
            prop_assert!(text.is_ascii() && text.ends_with("\r\n") && !text.contains('\0'));
            for line in text.split("\r\n") {
                prop_assert!(line.len() <= 998 && !line.contains(['\r', '\n']), "{:?}", line);
            }
        }
    }
}
