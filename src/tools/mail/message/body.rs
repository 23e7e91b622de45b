//! Bodies and their parts: RFC 2045 and RFC 2046.
//!
//! A text goes as 7bit where that is possible, else as quoted-printable or base64, whichever is
//! shorter; so a server needs no 8BITMIME. An attachment is base64 and comes out as it went in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::header::{Header, push_hex};
use super::stuffing::{Stuffing, Transfer};
use super::{Attachment, Error};

/// RFC 5322 section 2.1.1, without the CRLF.
const LINE_OCTETS_MAX: usize = 998;
/// RFC 2045 section 6.7 (5), without the "=" of a soft line break.
const QUOTED_LINE_OCTETS: usize = 75;
/// What RFC 2045 section 6.8's lines of 76 characters encode.
const BASE64_LINE_INPUT_OCTETS: usize = 57;

pub(super) enum Part<'a> {
    Text {
        subtype: &'static str,
        text: &'a str,
    },
    Attachment(&'a Attachment),
    Multipart {
        subtype: &'static str,
        boundary: String,
        parts: Vec<Part<'a>>,
    },
}

impl Part<'_> {
    /// The fields of the part, behind those that are in `header`, and its body.
    pub(super) fn emit(&self, mut header: Header, output: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Part::Text { subtype, text } => emit_text(subtype, text, header, output),
            Part::Attachment(attachment) => {
                let media_type = media_type(attachment);
                header.add("Content-Type", &media_type);
                header.add("Content-Transfer-Encoding", &["base64"]);
                header.add_attachment(&attachment.file_name)?;
                end_header(header, output);
                emit_base64(&attachment.octets, output);
            }
            Part::Multipart {
                subtype,
                boundary,
                parts,
            } => {
                let media_type = format!("multipart/{subtype};");
                header.add(
                    "Content-Type",
                    &[media_type, format!("boundary=\"{boundary}\"")],
                );
                end_header(header, output);
                for part in parts {
                    output.extend(format!("--{boundary}\r\n").bytes());
                    part.emit(Header::default(), output)?;
                    // RFC 2046 section 5.1.1: it belongs to the boundary, not to the part.
                    output.extend(b"\r\n");
                }
                output.extend(format!("--{boundary}--\r\n").bytes());
            }
        }
        Ok(())
    }
}

fn end_header(header: Header, output: &mut Vec<u8>) {
    output.extend(header.into_octets());
    output.extend(b"\r\n");
}

fn emit_text(subtype: &str, text: &str, mut header: Header, output: &mut Vec<u8>) {
    let text = with_crlf(text);
    let media_type = [format!("text/{subtype};"), "charset=utf-8".to_owned()];
    header.add("Content-Type", &media_type);
    let encoding = "Content-Transfer-Encoding";
    if is_seven_bit(&text) {
        header.add(encoding, &["7bit"]);
        end_header(header, output);
        return output.extend(text);
    }
    let quoted = quoted_printable(&text);
    if quoted.len() <= base64_octets(text.len()) {
        header.add(encoding, &["quoted-printable"]);
        end_header(header, output);
        return output.extend(quoted.into_bytes());
    }
    header.add(encoding, &["base64"]);
    end_header(header, output);
    emit_base64(&text, output);
}

fn with_crlf(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut stuffing = Stuffing::new(Transfer::Bdat);
    stuffing.push(text.as_bytes(), &mut octets);
    stuffing.finish(&mut octets);
    octets
}

/// The lines, without their CRLF, of a text that has no other line ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split_inclusive(|octet| *octet == b'\n');
    lines.map(|line| line.strip_suffix(b"\r\n").unwrap_or(line))
}

fn is_seven_bit(text: &[u8]) -> bool {
    let is_plain = |octet: &u8| matches!(octet, b'\t' | b' '..=b'~');
    lines(text).all(|line| {
        // What keeps messages in one file puts a > before this word.
        let is_separator = line.starts_with(b"From ");
        line.len() <= LINE_OCTETS_MAX && line.iter().all(is_plain) && !is_separator
    })
}

/// RFC 2045 section 6.7.
fn quoted_printable(text: &[u8]) -> String {
    let mut output = String::with_capacity(text.len() + text.len() / 8);
    for line in lines(text) {
        quote_line(line, &mut output);
        output.push_str("\r\n");
    }
    output
}

fn quote_line(line: &[u8], output: &mut String) {
    let mut column = 0;
    let mut rest = line;
    while let [octet, next @ ..] = rest {
        let is_literal = match octet {
            b'=' => false,
            // The rule's (3): not at the end of a line.
            b' ' | b'\t' => !next.is_empty(),
            b'F' => column > 0 || !rest.starts_with(b"From "),
            _ => octet.is_ascii_graphic(),
        };
        let width = if is_literal { 1 } else { 3 };
        if column + width > QUOTED_LINE_OCTETS {
            output.push_str("=\r\n");
            // Again, since this octet begins a line now.
            column = 0;
            continue;
        }
        match is_literal {
            true => output.push(char::from(*octet)),
            false => push_hex(output, '=', *octet),
        }
        column += width;
        rest = next;
    }
}

fn base64_octets(octets: usize) -> usize {
    octets.div_ceil(3) * 4 + octets.div_ceil(BASE64_LINE_INPUT_OCTETS) * 2
}

fn emit_base64(octets: &[u8], output: &mut Vec<u8>) {
    output.reserve(base64_octets(octets.len()));
    let mut line = String::new();
    for part in octets.chunks(BASE64_LINE_INPUT_OCTETS) {
        line.clear();
        STANDARD.encode_string(part, &mut line);
        output.extend(line.as_bytes());
        output.extend(b"\r\n");
    }
}

fn media_type(attachment: &Attachment) -> Vec<String> {
    const UNKNOWN: &str = "application/octet-stream";
    let guess = mime_guess::from_path(&attachment.file_name).first_raw();
    let guess = guess.unwrap_or(UNKNOWN);
    // RFC 2046 sections 5.1 and 5.2.1: these must not be base64.
    if guess.starts_with("message/") || guess.starts_with("multipart/") {
        return vec![UNKNOWN.to_owned()];
    }
    let is_utf8 = guess.starts_with("text/") && str::from_utf8(&attachment.octets).is_ok();
    match is_utf8 {
        true => vec![format!("{guess};"), "charset=utf-8".to_owned()],
        false => vec![guess.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emit(part: &Part<'_>) -> String {
        let mut output = Vec::new();
        part.emit(Header::default(), &mut output).expect("a part");
        String::from_utf8(output).expect("UTF-8")
    }

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, encoding: &str, body: &str) {
            let header = format!(
                "Content-Type: text/plain; charset=utf-8\r\n\
                 Content-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let subtype = "plain";
            assert_eq!(
                emit(&Part::Text { subtype, text }),
                header + body,
                "{text:?}"
            );
        }
        check("", "7bit", "");
        check("a\nb\r\nc\rd", "7bit", "a\r\nb\r\nc\r\nd\r\n");
        check("-- \n.\n", "7bit", "-- \r\n.\r\n");
        let longest = "x".repeat(998);
        check(&longest, "7bit", &format!("{longest}\r\n"));
        let lines = format!("{}=\r\n", "x".repeat(75)).repeat(13) + &"x".repeat(24) + "\r\n";
        check(&"x".repeat(999), "quoted-printable", &lines);
        check(
            "ß = \t\nFrom me and more\n",
            "quoted-printable",
            "=C3=9F =3D =09\r\n=46rom me and more\r\n",
        );
        check("\0\x1b\x7f", "base64", "ABt/DQo=\r\n");
        check(
            "a\0 and some more",
            "quoted-printable",
            "a=00 and some more\r\n",
        );
        check("日本", "base64", "5pel5pysDQo=\r\n");
    }

    #[test]
    fn a_soft_line_break_makes_no_separator() {
        let text = format!("ß{}From me", "x".repeat(69));
        let quoted = quoted_printable(text.as_bytes());
        let expected = format!("=C3=9F{}=\r\n=46rom me\r\n", "x".repeat(69));
        assert_eq!(quoted, expected);
    }

    #[test]
    fn attachments() {
        #[track_caller]
        fn check(file_name: &str, octets: &[u8], media_type: &str, body: &str) {
            let attachment = Attachment {
                file_name: file_name.to_owned(),
                octets: octets.to_owned(),
            };
            let expected = format!(
                "Content-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"{file_name}\"\r\n\r\n{body}"
            );
            assert_eq!(emit(&Part::Attachment(&attachment)), expected);
        }
        check("a.pdf", b"", "application/pdf", "");
        check(
            "a.txt",
            b"x\ry\0\n",
            "text/plain; charset=utf-8",
            "eA15AAo=\r\n",
        );
        check("a.TXT", b"\xff", "text/plain", "/w==\r\n");
        check("a.eml", b"x", "application/octet-stream", "eA==\r\n");
        check("a", b"x", "application/octet-stream", "eA==\r\n");
        let two_lines = format!("{}\r\nAA==\r\n", "AAAA".repeat(19));
        check("a.bin", &[0; 58], "application/octet-stream", &two_lines);
    }

    /// RFC 2045 section 6.7, backwards.
    fn unquote(text: &str) -> Vec<u8> {
        let text = text.replace("=\r\n", "");
        let mut octets = Vec::new();
        let mut rest = text.as_bytes();
        while let [octet, next @ ..] = rest {
            rest = next;
            if let (b'=', Some((digits, next))) = (octet, next.split_at_checked(2)) {
                let digits = str::from_utf8(digits).expect("digits");
                octets.push(u8::from_str_radix(digits, 16).expect("digits"));
                rest = next;
            } else {
                octets.push(*octet);
            }
        }
        octets
    }

    proptest! {
        #[test]
        fn quoted_printable_says_the_same(text in "([ =\tFß.\r\n\0]|From |[a-z]{0,80}){0,40}") {
            let text = with_crlf(&text);
            let quoted = quoted_printable(&text);
            prop_assert!(quoted.is_ascii());
            for line in quoted.split("\r\n") {
                prop_assert!(line.len() <= 76 && !line.ends_with([' ', '\t']), "{}", line);
                prop_assert!(!line.starts_with("From ") && !line.contains(['\r', '\n', '\0']));
            }
            prop_assert_eq!(unquote(&quoted), text);
        }
    }
}
