//! Domain names (RFC 1035 sections 2.3.4, 3.1 and 4.1.4; compared and shown by RFC 4343).
//!
//! Left out: internationalized names, which are to be A-labels (`xn--`) already.

use std::fmt;
use std::str::FromStr;

use super::Error as MessageError;
use crate::wire;
use crate::wire::reader::Reader;

/// RFC 1035 section 2.3.4.
const LABEL_OCTETS_MAX: usize = 63;
/// RFC 1035 section 2.3.4, with the length octets and the root's.
const NAME_OCTETS_MAX: usize = 255;
/// As many as a name has labels: a pointer to a pointer says nothing new, and whoever sends
/// thousands of them wants nothing but our time.
const POINTERS_MAX: usize = 127;

/// Never compressed, as on the wire: labels with their lengths, the root's empty one last.
#[derive(Clone)]
pub(crate) struct Name {
    octets: Vec<u8>,
}

/// Why a text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a domain name has no empty labels")]
    EmptyLabel,
    #[error("a label of a domain name has at most 63 octets")]
    LabelLength,
    #[error("a domain name has at most 253 octets")]
    Length,
    #[error("a domain name has no {0:?} here; other scripts are written as xn--")]
    Character(char),
}

impl Name {
    /// RFC 7505: as an exchange, it says that there is none.
    pub(crate) fn is_root(&self) -> bool {
        self.octets == [0]
    }

    /// This name with labels in front, such as `_25._tcp`.
    pub(crate) fn prefixed(&self, labels: &str) -> Result<Name, Error> {
        let mut octets = labels.parse::<Name>()?.octets;
        octets.pop();
        octets.extend(&self.octets);
        Name::new(octets)
    }

    /// A name at its place in a message, and the place behind it.
    ///
    /// RFC 1035 section 4.1.4 has pointers to a prior occurrence. Each must lead in front of the
    /// labels that it continues, which rules out loops.
    pub(super) fn parse(message: &[u8], start: usize) -> Result<(Name, usize), MessageError> {
        let mut octets = Vec::new();
        let (mut at, mut labels_at) = (start, start);
        let mut behind = None;
        let mut pointers = 0;
        loop {
            let mut reader = Reader::new(message.get(at..).ok_or(wire::Error::Truncated)?);
            let length = reader.u8()?;
            match length >> 6 {
                0b00 => {
                    octets.push(length);
                    octets.extend(reader.take(usize::from(length))?);
                    at += 1 + usize::from(length);
                    if octets.len() > NAME_OCTETS_MAX {
                        return Err(MessageError::NameLength);
                    }
                    if length == 0 {
                        return Ok((Name { octets }, behind.unwrap_or(at)));
                    }
                }
                0b11 => {
                    behind.get_or_insert(at + 2);
                    at = u16::from_be_bytes([length & 0x3f, reader.u8()?]).into();
                    pointers += 1;
                    if at >= labels_at || pointers > POINTERS_MAX {
                        return Err(MessageError::Pointer);
                    }
                    labels_at = at;
                }
                _ => return Err(MessageError::LabelType),
            }
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn new(octets: Vec<u8>) -> Result<Name, Error> {
        match octets.len() {
            ..=NAME_OCTETS_MAX => Ok(Name { octets }),
            _ => Err(Error::Length),
        }
    }
}

/// With a dot at the end or without; escapes are not read.
impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        let is_wrong = |c: &char| !c.is_ascii_graphic() || *c == '\\';
        if let Some(wrong) = text.chars().find(is_wrong) {
            return Err(Error::Character(wrong));
        }
        let mut octets = Vec::with_capacity(text.len() + 2);
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            match u8::try_from(label.len()) {
                Ok(0) => return Err(Error::EmptyLabel),
                Ok(length) if label.len() <= LABEL_OCTETS_MAX => octets.push(length),
                Ok(_) | Err(_) => return Err(Error::LabelLength),
            }
            octets.extend(label.bytes());
        }
        octets.push(0);
        Name::new(octets)
    }
}

/// RFC 4343 section 3: without regard to case. Lengths are at most 63, and no letters.
impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.octets.eq_ignore_ascii_case(&other.octets)
    }
}

impl Eq for Name {}

/// RFC 4343 section 2.1, without the dot at the end.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        let mut rest = &self.octets[..];
        let mut separator = "";
        while let Some((length @ 1.., behind)) = rest.split_first() {
            f.write_str(separator)?;
            let (label, behind) = behind.split_at(usize::from(*length).min(behind.len()));
            for octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            separator = ".";
            rest = behind;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// RFC 1035 section 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
    fn message() -> Vec<u8> {
        let mut message = vec![0; 93];
        message[20..32].copy_from_slice(b"\x01F\x03ISI\x04ARPA\x00");
        message[40..46].copy_from_slice(b"\x03FOO\xc0\x14");
        message[64..66].copy_from_slice(b"\xc0\x1a");
        message
    }

    #[test]
    fn compression_of_the_rfc() {
        #[track_caller]
        fn check(at: usize, text: &str, behind: usize) {
            let (name, end) = Name::parse(&message(), at).expect(text);
            assert_eq!((&*name.to_string(), end), (text, behind));
        }
        check(20, "F.ISI.ARPA", 32);
        check(40, "FOO.F.ISI.ARPA", 46);
        check(64, "ARPA", 66);
        check(92, ".", 93);
    }

    #[test]
    fn pointers_lead_to_what_is_earlier() {
        #[track_caller]
        fn check(message: &[u8], at: usize, expected: MessageError) {
            assert_eq!(Name::parse(message, at), Err(expected), "{message:x?}");
        }
        let truncated = MessageError::from(wire::Error::Truncated);
        check(b"\xc0\x00", 0, MessageError::Pointer);
        check(b"\x01a\xc0\x00", 0, MessageError::Pointer);
        check(b"\x01a\xc0\x04\x00", 0, MessageError::Pointer);
        check(b"\xc0\x02\xc0\x00", 2, MessageError::Pointer);
        check(b"\x01a\x01b\xc0\x02", 2, MessageError::Pointer);
        check(b"\x01a\xff\xff", 0, MessageError::Pointer);
        check(b"\x40a\x00", 0, MessageError::LabelType);
        check(b"\x80a\x00", 0, MessageError::LabelType);
        check(b"", 0, truncated);
        check(b"\x00", 2, truncated);
        check(b"\x01", 0, truncated);
        check(b"\x01a", 0, truncated);
        check(b"\x00\xc0", 1, truncated);
        // Each pointer leads to the one before it.
        let chain = (0..200_u16).flat_map(|n| (0xc000 | (n * 2).saturating_sub(1)).to_be_bytes());
        let chain: Vec<u8> = [0].into_iter().chain(chain).collect();
        assert!(Name::parse(&chain, 1 + 2 * 126).is_ok_and(|(name, _)| name.is_root()));
        check(&chain, 1 + 2 * 127, MessageError::Pointer);
    }

    #[test]
    fn the_longest_name_has_255_octets() {
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat();
        let (name, end) = Name::parse(&longest, 0).expect("the longest name");
        assert_eq!((name.to_string().len(), end), (253, 255));
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert_eq!(name.prefixed("a"), Err(Error::Length));
        let longer = [b"\x00\x01a", &longest[..254], b"\xc0\x00"].concat();
        assert_eq!(Name::parse(&longer, 1), Err(MessageError::NameLength));
    }

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Result<&[u8], Error>) {
            let name = text.parse::<Name>().map(|name| name.octets);
            assert_eq!(name.as_deref(), expected.as_deref(), "{text}");
        }
        check("a.Example", Ok(b"\x01a\x07Example\x00"));
        check("_25._tcp.x.", Ok(b"\x03_25\x04_tcp\x01x\x00"));
        for empty in ["", ".", "a..b", ".a", "a.."] {
            check(empty, Err(Error::EmptyLabel));
        }
        check(&"a".repeat(64), Err(Error::LabelLength));
        check(&"a".repeat(300), Err(Error::LabelLength));
        check(&"a.".repeat(128), Err(Error::Length));
        assert!("a.".repeat(127).parse::<Name>().is_ok());
        check("a b", Err(Error::Character(' ')));
        check("a\\.b", Err(Error::Character('\\')));
        check("bücher.example", Err(Error::Character('ü')));
        check("a\r\n", Err(Error::Character('\r')));
    }

    #[test]
    fn odd_octets_are_shown_so_that_nothing_is_mistaken() {
        let (name, _) = Name::parse(b"\x07a.b\\\0 \xff\x01c\x00", 0).expect("a name");
        assert_eq!(name.to_string(), r"a\.b\\\000\032\255.c");
    }

    #[test]
    fn case_does_not_matter() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        assert_eq!(name("MX.Example"), name("mx.example."));
        assert_ne!(name("mx.example"), name("mxexample"));
        assert_eq!(
            name("example").prefixed("_25._tcp"),
            Ok(name("_25._tcp.example"))
        );
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in vec(prop_oneof![Just(0xc0), 0_u8..4, any::<u8>()], 0..300)) {
            for at in 0..=octets.len() {
                if let Ok((name, behind)) = Name::parse(&octets, at) {
                    prop_assert!(behind <= octets.len());
                    prop_assert!(name.octets.len() <= NAME_OCTETS_MAX);
                    prop_assert!(Name::parse(&name.octets, 0).is_ok_and(|(same, _)| same == name));
                    let _ = name.to_string();
                }
            }
        }
    }
}
