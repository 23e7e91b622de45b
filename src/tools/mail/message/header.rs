//! Header fields, RFC 5322 section 2.2: folded, with encoded-words (RFC 2047) where ASCII does
//! not do, and file names in both forms that are in use (RFC 2183 and RFC 2231).
//!
//! A field is a name and atoms; a line may be folded before each atom, and nowhere else.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use super::address::Mailbox;

/// RFC 2047 section 2 for lines with encoded-words; RFC 5322 section 2.1.1 would like 78.
const LINE_OCTETS: usize = 76;
/// RFC 2047 section 2.
const ENCODED_WORD_OCTETS_MAX: usize = 75;
/// Of an encoded-word without its text.
const FRAME_OCTETS: usize = "=?utf-8?Q??=".len();
/// Longer words and quoted phrases become encoded-words, which can be folded.
const UNFOLDED_OCTETS_MAX: usize = 60;
/// Of a parameter's section, RFC 2231 section 3, so that the line stays under 78.
const SECTION_OCTETS_MAX: usize = 54;
/// What file systems take.
const FILE_NAME_OCTETS_MAX: usize = 255;

/// The fields in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Header(Vec<u8>);

impl Header {
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.0
    }

    /// A field whose atoms nobody outside has chosen.
    pub(super) fn add<A: AsRef<str>>(&mut self, name: &str, atoms: &[A]) {
        self.0.extend(name.bytes());
        self.0.push(b':');
        let mut column = name.len() + 1;
        for (index, atom) in atoms.iter().map(AsRef::as_ref).enumerate() {
            // The first stays with the name: some do not find a Message-ID on the second line.
            if index > 0 && column + 1 + atom.len() > LINE_OCTETS {
                self.0.extend(b"\r\n");
                column = 0;
            }
            self.0.push(b' ');
            self.0.extend(atom.bytes());
            column += 1 + atom.len();
        }
        self.0.extend(b"\r\n");
    }

    /// RFC 5322 section 3.6.5.
    pub(super) fn add_text(&mut self, name: &'static str, text: &str) -> Result<(), Error> {
        check(name, text)?;
        let atoms = match words(text) {
            Some(words) => words.into_iter().map(str::to_owned).collect(),
            None => encoded_words(text, LINE_OCTETS - name.len() - ": ".len()),
        };
        self.add(name, &atoms);
        Ok(())
    }

    /// RFC 5322 section 3.6.3.
    pub(super) fn add_mailboxes(
        &mut self,
        name: &'static str,
        mailboxes: &[Mailbox],
    ) -> Result<(), Error> {
        let mut atoms = Vec::new();
        for (index, mailbox) in mailboxes.iter().enumerate() {
            let comma = if index + 1 < mailboxes.len() { "," } else { "" };
            let address = &mailbox.address;
            match &mailbox.display_name {
                None => atoms.push(format!("{address}{comma}")),
                Some(display_name) => {
                    check(name, display_name)?;
                    atoms.extend(phrase(display_name, LINE_OCTETS - name.len() - ": ".len()));
                    atoms.push(format!("<{address}>{comma}"));
                }
            }
        }
        self.add(name, &atoms);
        Ok(())
    }

    /// RFC 2183: `Content-Disposition: attachment`.
    pub(super) fn add_attachment(&mut self, file_name: &str) -> Result<(), Error> {
        check("file name", file_name)?;
        if file_name.is_empty() || file_name.len() > FILE_NAME_OCTETS_MAX {
            return Err(Error::FileNameLength);
        }
        let mut atoms = vec!["attachment".to_owned()];
        let is_quotable = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        if !file_name.chars().all(is_quotable) || file_name.len() > UNFOLDED_OCTETS_MAX {
            // Before the other: Python's email package believes the first it finds.
            atoms.extend(extended_file_name(file_name));
        }
        let quote = |c| if is_quotable(c) { c } else { '_' };
        let quoted: String = file_name.chars().map(quote).collect();
        atoms.push(format!("filename=\"{quoted}\""));
        let last = atoms.len() - 1;
        for atom in atoms.iter_mut().take(last) {
            atom.push(';');
        }
        self.add("Content-Disposition", &atoms);
        Ok(())
    }
}

/// A line end would begin a field of its own, and no other control character has a use.
fn check(field: &'static str, text: &str) -> Result<(), Error> {
    let place = text.chars().position(|c| c.is_control() && c != '\t');
    match place {
        Some(place) => Err(Error::Control {
            field,
            character: place + 1,
        }),
        None => Ok(()),
    }
}

/// The words of a text that can stand as it is, wherever it is folded.
fn words(text: &str) -> Option<Vec<&str>> {
    let is_word = |word: &&str| (1..=UNFOLDED_OCTETS_MAX).contains(&word.len());
    let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    let words: Vec<&str> = text.split(' ').collect();
    // "=?" would be taken for the beginning of an encoded-word.
    let is_plain = is_printable && !text.contains("=?") && words.iter().all(is_word);
    is_plain.then_some(words)
}

/// RFC 5322 section 3.2.5.
fn phrase(text: &str, first_octets: usize) -> Vec<String> {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    match words(text) {
        Some(words) if text.chars().all(is_atom) => words.into_iter().map(str::to_owned).collect(),
        Some(_) if text.len() <= UNFOLDED_OCTETS_MAX => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            vec![format!("\"{escaped}\"")]
        }
        _ => encoded_words(text, first_octets),
    }
}

/// RFC 2047 section 5 (3): these stand for themselves in a phrase, too.
fn is_q_literal(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!*+-/".contains(&octet)
}

fn q_octets(octet: u8) -> usize {
    if is_q_literal(octet) || octet == b' ' {
        1
    } else {
        3
    }
}

/// Whichever of Q and B is shorter. The first word has at most `first_octets`.
fn encoded_words(text: &str, first_octets: usize) -> Vec<String> {
    let q_total: usize = text.bytes().map(q_octets).sum();
    let is_q = q_total <= text.len().div_ceil(3) * 4;
    let length = |part: &str| match is_q {
        true => part.bytes().map(q_octets).sum(),
        false => part.len().div_ceil(3) * 4,
    };
    let mut octets_max = first_octets.min(ENCODED_WORD_OCTETS_MAX) - FRAME_OCTETS;
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // RFC 2047 section 5: a character is never split.
        let ends = rest.char_indices().map(|(place, c)| place + c.len_utf8());
        let fits = |end: &usize| {
            rest.get(..*end)
                .is_some_and(|part| length(part) <= octets_max)
        };
        let end = ends.take_while(fits).last().unwrap_or(rest.len());
        let (part, next) = rest.split_at(end);
        words.push(if is_q {
            q_word(part)
        } else {
            format!("=?utf-8?B?{}?=", STANDARD.encode(part))
        });
        octets_max = ENCODED_WORD_OCTETS_MAX - FRAME_OCTETS;
        rest = next;
    }
    words
}

fn q_word(part: &str) -> String {
    let mut word = "=?utf-8?Q?".to_owned();
    for octet in part.bytes() {
        match octet {
            b' ' => word.push('_'),
            _ if is_q_literal(octet) => word.push(char::from(octet)),
            _ => push_hex(&mut word, '=', octet),
        }
    }
    word + "?="
}

/// RFC 2231 sections 3 and 4: in sections when one would be too long.
fn extended_file_name(file_name: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for character in file_name.chars() {
        let mut encoded = String::new();
        let mut octets = [0; 4];
        for octet in character.encode_utf8(&mut octets).bytes() {
            match octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                true => encoded.push(char::from(octet)),
                false => push_hex(&mut encoded, '%', octet),
            }
        }
        match sections.last_mut() {
            Some(last) if last.len() + encoded.len() <= SECTION_OCTETS_MAX => *last += &encoded,
            _ => sections.push(encoded),
        }
    }
    if let [only] = &sections[..] {
        return vec![format!("filename*=utf-8''{only}")];
    }
    let charset = |number| if number == 0 { "utf-8''" } else { "" };
    (0..)
        .zip(&sections)
        .map(|(number, section)| format!("filename*{number}*={}{section}", charset(number)))
        .collect()
}

pub(super) fn push_hex(text: &mut String, mark: char, octet: u8) {
    // Writing to a String does not fail.
    let _ = write!(text, "{mark}{octet:02X}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(text: &str) -> String {
        let mut header = Header::default();
        header.add_text("Subject", text).expect(text);
        String::from_utf8(header.into_octets()).expect("UTF-8")
    }

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, field: &str) {
            assert_eq!(subject(text), format!("Subject:{field}\r\n"));
        }
        check("", "");
        check("hello, world (1 = 1)?", " hello, world (1 = 1)?");
        check(
            "Grüße aus dem Norden",
            " =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_dem_Norden?=",
        );
        check("日本語", " =?utf-8?B?5pel5pys6Kqe?=");
        check("=?x", " =?utf-8?B?PT94?=");
        check(" a  b\t", " =?utf-8?Q?_a__b=09?=");
        let long = "word ".repeat(20);
        let folded = format!(
            " {}\r\n{}",
            "word ".repeat(13).trim_end(),
            " word".repeat(7)
        );
        check(long.trim_end(), &folded);
        let word = "x".repeat(100);
        let split = format!(
            " =?utf-8?Q?{}?=\r\n =?utf-8?Q?{}?=",
            &word[..55],
            &word[55..]
        );
        check(&word, &split);
    }

    #[test]
    fn mailboxes() {
        #[track_caller]
        fn check(text: &str, field: &str) {
            let mut header = Header::default();
            let mailboxes = Mailbox::parse_list(text).expect(text);
            header.add_mailboxes("To", &mailboxes).expect(text);
            let found = String::from_utf8(header.into_octets()).expect("UTF-8");
            assert_eq!(found, format!("To: {field}\r\n"));
        }
        check("ann@b.c", "ann@b.c");
        check("Ann Lee <ann@b.c>, d@e", "Ann Lee <ann@b.c>, d@e");
        check(
            "J. \"R\\\"\\\\\" Lee <a@b.c>",
            "\"J. R\\\"\\\\ Lee\" <a@b.c>",
        );
        check(
            "Jörg Lee-Smith <a@b.c>",
            "=?utf-8?Q?J=C3=B6rg_Lee-Smith?= <a@b.c>",
        );
        check(
            "\"=?utf-8?Q?x?=\" <a@b.c>",
            "=?utf-8?B?PT91dGYtOD9RP3g/PQ==?= <a@b.c>",
        );
        check("Ü <ü@b.c>", "=?utf-8?B?w5w=?= <ü@b.c>");
        let many = ["ann@example.org"; 6].join(", ");
        let folded = ["ann@example.org"; 4].join(", ") + ",\r\n ann@example.org, ann@example.org";
        check(&many, &folded);
    }

    #[test]
    fn file_names() {
        #[track_caller]
        fn check(name: &str, parameters: &str) {
            let mut header = Header::default();
            header.add_attachment(name).expect(name);
            let found = String::from_utf8(header.into_octets()).expect("UTF-8");
            assert_eq!(
                found,
                format!("Content-Disposition: attachment; {parameters}\r\n")
            );
        }
        check("a b;.pdf", "filename=\"a b;.pdf\"");
        check(
            "naïve.txt",
            "filename*=utf-8''na%C3%AFve.txt;\r\n filename=\"na_ve.txt\"",
        );
        check("\"\\.c", "filename*=utf-8''%22%5C.c; filename=\"__.c\"");
        let long = format!("{}.tar", "ü".repeat(10));
        let sections = "filename*0*=utf-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC;";
        let rest = "filename*1*=%C3%BC.tar; filename=\"__________.tar\"";
        let mut header = Header::default();
        header.add_attachment(&long).expect("a name");
        let found = String::from_utf8(header.into_octets()).expect("UTF-8");
        assert_eq!(
            found,
            format!("Content-Disposition: attachment;\r\n {sections}\r\n {rest}\r\n")
        );
        for wrong in ["", &"x".repeat(256)] {
            let added = Header::default().add_attachment(wrong);
            assert_eq!(added, Err(Error::FileNameLength));
        }
    }

    #[test]
    fn no_field_of_somebody_else() {
        let mut header = Header::default();
        for text in [
            "a\r\nBcc: x@y.z",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\x1b[2J",
            "a\u{85}b",
        ] {
            let error = |field| {
                Err(Error::Control {
                    field,
                    character: 2,
                })
            };
            assert_eq!(header.add_text("Subject", text), error("Subject"));
            assert_eq!(header.add_attachment(text), error("file name"));
            let mut mailbox = Mailbox::parse("ann@b.c").expect("a mailbox");
            mailbox.display_name = Some(text.to_owned());
            assert_eq!(header.add_mailboxes("From", &[mailbox]), error("From"));
        }
        assert_eq!(header.into_octets(), b"");
    }

    proptest! {
        #[test]
        fn lines_are_short_and_words_are_whole(text in "\\PC{0,200}|[a-zß =?_]{0,200}") {
            let field = subject(&text);
            for (number, line) in (0..).zip(field.split_terminator("\r\n")) {
                prop_assert!(line.len() <= LINE_OCTETS && line.is_ascii(), "{}", line);
                prop_assert!(number == 0 || line.starts_with(' ') && !line.trim().is_empty());
                for word in line.split(' ') {
                    let Some(rest) = word.strip_prefix("=?utf-8?B?") else {
                        continue;
                    };
                    let encoded = rest.strip_suffix("?=").expect("an encoded-word");
                    let octets = STANDARD.decode(encoded).expect("base64");
                    prop_assert!(String::from_utf8(octets).is_ok() && word.len() <= 75);
                }
            }
        }
    }
}
