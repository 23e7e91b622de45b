//! DER (X.690 section 10), as much as it takes to walk through a certificate.
//!
//! Left out: tags above 30 and lengths of more than 4 octets, which no certificate has.

use super::reader::Reader;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

const HIGH_TAG: u8 = 0x1f;
const LONG_LENGTH: u8 = 0x80;

/// The elements of a constructed one, from the first on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a> {
    octets: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// With class and form: the identifier octet.
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    /// With its tag and length.
    pub(super) octets: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Octets(#[from] super::Error),
    #[error("a tag or length that certificates do not have")]
    Form,
    #[error("another element than there should be")]
    Tag,
}

impl<'a> Elements<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Elements<'a> {
        Elements { octets }
    }

    /// `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, Error> {
        if self.octets.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(self.octets);
        let tag = reader.u8()?;
        if tag & HIGH_TAG == HIGH_TAG {
            return Err(Error::Form);
        }
        let length = parse_length(&mut reader)?;
        let contents = reader.take(length)?;
        let rest = reader.rest();
        let octets = &self.octets[..self.octets.len() - rest.len()];
        self.octets = rest;
        Ok(Some(Element {
            tag,
            contents,
            octets,
        }))
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Error> {
        let element = self.next()?.ok_or(super::Error::Truncated)?;
        match element.tag == tag {
            true => Ok(element),
            false => Err(Error::Tag),
        }
    }

    /// The next element, if it has this tag. Any other is still the next.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Error> {
        match self.octets.first() {
            Some(first) if *first == tag => self.next(),
            Some(_) | None => Ok(None),
        }
    }
}

impl<'a> Element<'a> {
    pub(super) fn elements(&self) -> Elements<'a> {
        Elements::new(self.contents)
    }
}

/// X.690 section 8.1.3, of which DER has the definite forms.
fn parse_length(reader: &mut Reader<'_>) -> Result<usize, Error> {
    let first = reader.u8()?;
    if first < LONG_LENGTH {
        return Ok(usize::from(first));
    }
    let count = usize::from(first & !LONG_LENGTH);
    if !(1..=4).contains(&count) {
        return Err(Error::Form);
    }
    let octets = reader.take(count)?;
    let add = |length: usize, octet: &u8| length << 8 | usize::from(*octet);
    Ok(octets.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(octets: &[u8], expected: Result<(u8, &[u8]), Error>) {
        let next = Elements::new(octets).next();
        let next = next.map(|element| element.expect("an element"));
        let found = next.map(|element| (element.tag, element.contents));
        assert_eq!(found, expected, "{octets:x?}");
    }

    #[test]
    fn elements() {
        let truncated = Err(super::super::Error::Truncated.into());
        check(b"\x02\x01\x05rest", Ok((INTEGER, b"\x05")));
        check(b"\x04\x00", Ok((OCTET_STRING, b"")));
        check(b"\x04\x81\x02ab", Ok((OCTET_STRING, b"ab")));
        let long = [&b"\x04\x82\x01\x00"[..], &[7; 256]].concat();
        check(&long, Ok((OCTET_STRING, &[7; 256])));
        check(&long[..259], truncated);
        check(b"\x04", truncated);
        check(b"\x04\x01", truncated);
        check(b"\x04\x84\xff\xff\xff\xffab", truncated);
        check(b"\x04\x82\x01", truncated);
        check(b"\x04\x85\x00\x00\x00\x00\x01a", Err(Error::Form));
        check(b"\x30\x80\x00\x00", Err(Error::Form));
        check(b"\x1f\x81\x01\x00", Err(Error::Form));
    }

    #[test]
    fn one_behind_the_other() {
        let mut elements = Elements::new(b"\x30\x03\x02\x01\x05\x01\x01\xff");
        assert_eq!(elements.optional(BOOLEAN), Ok(None));
        let sequence = elements.expect(SEQUENCE).expect("a sequence");
        assert_eq!(sequence.octets, b"\x30\x03\x02\x01\x05");
        let mut inside = sequence.elements();
        assert_eq!(inside.expect(BOOLEAN), Err(Error::Tag));
        let boolean = elements.optional(BOOLEAN).expect("well formed");
        assert!(boolean.is_some_and(|element| element.contents == b"\xff"));
        assert_eq!(elements.next(), Ok(None));
        let truncated = super::super::Error::Truncated.into();
        assert_eq!(elements.expect(BOOLEAN), Err(truncated));
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in vec(prop_oneof![0_u8..6, any::<u8>()], 0..64)) {
            let mut elements = Elements::new(&octets);
            while let Ok(Some(element)) = elements.next() {
                prop_assert!(element.octets.ends_with(element.contents));
            }
        }
    }
}
