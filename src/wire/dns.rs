//! DNS messages (RFC 1035): a query, and of its response what it takes to deliver mail.
//!
//! Left out: validating DNSSEC, which the resolver does (the AD bit, RFC 6840 section 5.7), and
//! the authority section, which is for those who cache.

pub(crate) mod name;
pub(crate) mod record;

use std::fmt;

use super::reader::Reader;
use name::Name;
use record::{Data, Kind, Record};

/// What fits into one packet on every path, as the DNS Flag Day of 2020 settled it.
pub(crate) const EDNS_OCTETS: u16 = 1232;

const HEADER_OCTETS: usize = 12;
/// Type, class, TTL and length, behind a record's owner.
const RECORD_FIELDS_OCTETS: usize = 10;

/// RFC 1035 section 4.1.1, AD by RFC 4035 section 3.2.3.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const AUTHENTIC_DATA: u16 = 0x0020;
const RCODE: u16 = 0x000f;

const INTERNET: u16 = 1;
const OPT: u16 = 41;
/// RFC 6891 section 6.1.3, the upper bit of the flags.
const DNSSEC_OK: u16 = 0x8000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) id: u16,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    /// Without it for servers that do not know it (RFC 6891 section 7).
    pub(crate) edns: Option<Edns>,
    /// RFC 6840 section 5.7: the response's AD bit is of interest.
    pub(crate) authentic_data: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The longest response that UDP may bring.
    pub(crate) octets: u16,
    pub(crate) dnssec_ok: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: u16,
    /// Some servers do not repeat the question of a query that they do not understand.
    question: Option<Question>,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) recursion_available: bool,
    pub(crate) authentic_data: bool,
    pub(crate) rcode: Rcode,
    /// Of the types that can be asked for here. None of a truncated response: what is there may
    /// be part of a set (RFC 2181 section 9).
    pub(crate) answers: Vec<Record>,
}

/// RFC 1035 section 4.1.1, with the upper bits of RFC 6891 section 6.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError,
    FormatError,
    ServerFailure,
    NameError,
    NotImplemented,
    Refused,
    Other(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Octets(#[from] super::Error),
    #[error("not a response to one question")]
    NotResponse,
    #[error("a name with a label of an unknown type")]
    LabelType,
    #[error("a name longer than 255 octets")]
    NameLength,
    #[error("a name with a pointer that leads nowhere")]
    Pointer,
    #[error("a record that is longer or shorter than its data")]
    Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    name: Name,
    kind: u16,
    class: u16,
}

impl Query {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let authentic_data = if self.authentic_data {
            AUTHENTIC_DATA
        } else {
            0
        };
        let additional = u16::from(self.edns.is_some());
        let header = [
            self.id,
            RECURSION_DESIRED | authentic_data,
            1,
            0,
            0,
            additional,
        ];
        let mut octets: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
        octets.extend(self.name.octets());
        octets.extend(self.kind.number().to_be_bytes());
        octets.extend(INTERNET.to_be_bytes());
        if let Some(edns) = self.edns {
            let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
            // RFC 6891 section 6.1.2: the root, and version 0 in what would be the TTL.
            octets.push(0);
            let fields = [OPT, edns.octets, 0, flags, 0];
            octets.extend(fields.into_iter().flat_map(u16::to_be_bytes));
        }
        octets
    }
}

impl Response {
    pub(crate) fn parse(message: &[u8]) -> Result<Response, Error> {
        let mut reader = Reader::new(message);
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let questions = reader.u16()?;
        let records = [reader.u16()?, reader.u16()?, reader.u16()?].map(u32::from);
        if flags & RESPONSE == 0 || flags & OPCODE != 0 || questions > 1 {
            return Err(Error::NotResponse);
        }
        let (question, at) = match questions {
            0 => (None, HEADER_OCTETS),
            _ => {
                let (question, at) = Question::parse(message)?;
                (Some(question), at)
            }
        };
        let mut response = Response {
            id,
            question,
            authoritative: flags & AUTHORITATIVE != 0,
            truncated: flags & TRUNCATED != 0,
            recursion_available: flags & RECURSION_AVAILABLE != 0,
            authentic_data: flags & AUTHENTIC_DATA != 0,
            rcode: Rcode::from(flags & RCODE),
            answers: Vec::new(),
        };
        if !response.truncated {
            response.parse_records(message, at, records)?;
        }
        Ok(response)
    }

    /// Whether this answers that query, and not another or nobody's.
    pub(crate) fn matches(&self, query: &Query) -> bool {
        let is_question = match &self.question {
            Some(question) => {
                question.name == query.name
                    && question.kind == query.kind.number()
                    && question.class == INTERNET
            }
            None => matches!(self.rcode, Rcode::FormatError | Rcode::NotImplemented),
        };
        self.id == query.id && is_question
    }

    /// A record takes 11 octets at least, and a message has 65,535 at most, which limits both
    /// the time and the number of answers.
    fn parse_records(
        &mut self,
        message: &[u8],
        mut at: usize,
        [answers, authority, additional]: [u32; 3],
    ) -> Result<(), Error> {
        for number in 0..answers + authority + additional {
            let (owner, fields_at) = Name::parse(message, at)?;
            let fields = message.get(fields_at..).ok_or(super::Error::Truncated)?;
            let mut reader = Reader::new(fields);
            let kind = reader.u16()?;
            let class = reader.u16()?;
            let ttl = reader.u32()?;
            let length = usize::from(reader.u16()?);
            reader.take(length)?;
            let data_at = fields_at + RECORD_FIELDS_OCTETS;
            at = data_at + length;
            if kind == OPT && number >= answers + authority {
                let low = self.rcode.number() & RCODE;
                self.rcode = Rcode::from(u16::from(ttl.to_be_bytes()[0]) << 4 | low);
            }
            if number >= answers || class != INTERNET {
                continue;
            }
            if let Some(kind) = Kind::from_number(kind) {
                let data = Data::parse(kind, message, data_at..at)?;
                // RFC 2181 section 8: what would be negative is 0.
                let ttl = if ttl >> 31 == 0 { ttl } else { 0 };
                self.answers.push(Record { owner, ttl, data });
            }
        }
        Ok(())
    }
}

impl Question {
    fn parse(message: &[u8]) -> Result<(Question, usize), Error> {
        let (name, at) = Name::parse(message, HEADER_OCTETS)?;
        let mut reader = Reader::new(message.get(at..).ok_or(super::Error::Truncated)?);
        let question = Question {
            name,
            kind: reader.u16()?,
            class: reader.u16()?,
        };
        Ok((question, at + 4))
    }
}

impl Rcode {
    fn number(self) -> u16 {
        match self {
            Rcode::NoError => 0,
            Rcode::FormatError => 1,
            Rcode::ServerFailure => 2,
            Rcode::NameError => 3,
            Rcode::NotImplemented => 4,
            Rcode::Refused => 5,
            Rcode::Other(number) => number,
        }
    }
}

impl From<u16> for Rcode {
    fn from(number: u16) -> Rcode {
        match number {
            0 => Rcode::NoError,
            1 => Rcode::FormatError,
            2 => Rcode::ServerFailure,
            3 => Rcode::NameError,
            4 => Rcode::NotImplemented,
            5 => Rcode::Refused,
            other => Rcode::Other(other),
        }
    }
}

/// By the mnemonics that people search for.
impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rcode::NoError => "NOERROR",
            Rcode::FormatError => "FORMERR",
            Rcode::ServerFailure => "SERVFAIL",
            Rcode::NameError => "NXDOMAIN",
            Rcode::NotImplemented => "NOTIMP",
            Rcode::Refused => "REFUSED",
            Rcode::Other(number) => return write!(f, "RCODE {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// example.org MX? with 20 mx.example.net, 10 mx1.example.org, an address and an OPT behind.
    const MX: &[u8] = b"\x12\x34\x81\xa0\x00\x01\x00\x02\x00\x00\x00\x02\
        \x07example\x03org\x00\x00\x0f\x00\x01\
        \xc0\x0c\x00\x0f\x00\x01\x00\x00\x01\x2c\x00\x12\x00\x14\x02mx\x07example\x03net\x00\
        \xc0\x0c\x00\x0f\x00\x01\x00\x00\x01\x2c\x00\x08\x00\x0a\x03mx1\xc0\x0c\
        \xc0\x49\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01\
        \x00\x00\x29\x20\x00\x00\x00\x00\x00\x00\x00";

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn query() -> Query {
        Query {
            id: 0x1234,
            name: name("example.org"),
            kind: Kind::Mx,
            edns: Some(Edns {
                octets: EDNS_OCTETS,
                dnssec_ok: true,
            }),
            authentic_data: true,
        }
    }

    /// The response, with other octets at this place.
    fn with(at: usize, octets: &[u8]) -> Vec<u8> {
        [&MX[..at], octets, &MX[at + octets.len()..]].concat()
    }

    #[test]
    fn queries_octet_by_octet() {
        let expected = b"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\
            \x07example\x03org\x00\x00\x0f\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
        assert_eq!(query().emit(), expected);
        let plain = Query {
            id: 0xffff,
            name: name("mx.example.org"),
            kind: Kind::Aaaa,
            edns: None,
            authentic_data: false,
        };
        let expected = b"\xff\xff\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
            \x02mx\x07example\x03org\x00\x00\x1c\x00\x01";
        assert_eq!(plain.emit(), expected);
    }

    #[test]
    fn a_response_and_every_truncation() {
        let response = Response::parse(MX).expect("a response");
        assert!(response.matches(&query()));
        assert!(response.authentic_data && response.recursion_available);
        assert!(!response.authoritative && !response.truncated);
        assert_eq!(response.rcode, Rcode::NoError);
        let record = |preference, exchange| Record {
            owner: name("example.org"),
            ttl: 300,
            data: Data::Mx {
                preference,
                exchange: name(exchange),
            },
        };
        let expected = [record(20, "mx.example.net"), record(10, "mx1.example.org")];
        assert_eq!(response.answers, expected);
        for end in 0..MX.len() {
            let truncated = Err(super::super::Error::Truncated.into());
            assert_eq!(Response::parse(&MX[..end]), truncated, "{end} octets");
        }
    }

    #[test]
    fn a_response_to_another_query_does_not_match() {
        #[track_caller]
        fn check(message: &[u8], expected: bool) {
            let response = Response::parse(message).expect("a response");
            assert_eq!(response.matches(&query()), expected, "{response:?}");
        }
        check(&with(13, b"EXAMPLE"), true);
        check(&with(0, b"\x12\x35"), false);
        check(&with(13, b"Fxample"), false);
        check(&with(25, b"\x00\x01"), false);
        check(&with(27, b"\x00\x03"), false);
        // Without the question, it must be one that the server does not understand.
        let header = |flags: &[u8]| [b"\x12\x34", flags, &[0; 8]].concat();
        check(&header(b"\x81\x81"), true);
        check(&header(b"\x81\x84"), true);
        check(&header(b"\x81\x80"), false);
        check(&header(b"\x81\x83"), false);
    }

    #[test]
    fn flags_and_rcodes() {
        #[track_caller]
        fn check(message: &[u8], expected: Rcode, text: &str) {
            let rcode = Response::parse(message).expect("a response").rcode;
            assert_eq!((rcode, &*rcode.to_string()), (expected, text));
        }
        check(&with(3, b"\x81"), Rcode::FormatError, "FORMERR");
        check(&with(3, b"\x82"), Rcode::ServerFailure, "SERVFAIL");
        check(&with(3, b"\x83"), Rcode::NameError, "NXDOMAIN");
        check(&with(3, b"\x84"), Rcode::NotImplemented, "NOTIMP");
        check(&with(3, b"\x85"), Rcode::Refused, "REFUSED");
        check(&with(3, b"\x89"), Rcode::Other(9), "RCODE 9");
        // RFC 6891 section 6.1.3: BADVERS is 16, a 1 in the OPT record and a 0 in the header.
        check(&with(MX.len() - 6, b"\x01"), Rcode::Other(16), "RCODE 16");
        for not_response in [with(2, b"\x01"), with(2, b"\xa1"), with(5, b"\x02")] {
            assert_eq!(Response::parse(&not_response), Err(Error::NotResponse));
        }
    }

    #[test]
    fn of_a_truncated_response_nothing_is_used() {
        let response = Response::parse(&with(2, b"\x83")[..40]).expect("a response");
        assert!(response.truncated && response.matches(&query()));
        assert_eq!(response.answers, []);
    }

    #[test]
    fn what_is_of_no_concern_is_skipped() {
        #[track_caller]
        fn check(message: &[u8], answers: usize) {
            let response = Response::parse(message).expect("a response");
            assert_eq!(response.answers.len(), answers);
        }
        check(MX, 2);
        check(&with(31, b"\x00\x10"), 1);
        check(&with(33, b"\x00\x03"), 1);
        check(&[MX, b"garbage"].concat(), 2);
    }

    #[test]
    fn a_negative_ttl_is_0() {
        let response = Response::parse(&with(35, b"\x80")).expect("a response");
        assert_eq!(response.answers[0].ttl, 0);
    }

    proptest! {
        #[test]
        fn no_octets_panic(
            changes in vec((0..MX.len(), any::<u8>()), 0..6),
            rest in vec(any::<u8>(), 0..200),
        ) {
            let mut message = MX.to_vec();
            for (at, octet) in changes {
                message[at] = octet;
            }
            let _ = Response::parse(&message);
            let _ = Response::parse(&[&message[..HEADER_OCTETS], &rest].concat());
        }
    }
}
