//! Resource records (RFC 1035 section 3.3; AAAA by RFC 3596, TLSA by RFC 6698).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::Error;
use super::name::Name;
use crate::wire;
use crate::wire::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    A,
    Cname,
    Mx,
    Aaaa,
    Tlsa,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Cname(Name),
    Mx { preference: u16, exchange: Name },
    Aaaa(Ipv6Addr),
    Tlsa(Tlsa),
}

/// RFC 6698 section 2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tlsa {
    pub(crate) usage: u8,
    pub(crate) selector: u8,
    pub(crate) matching_type: u8,
    pub(crate) data: Vec<u8>,
}

impl Data {
    /// Names may be compressed, so that they are read from the whole message.
    pub(super) fn parse(kind: Kind, message: &[u8], place: Range<usize>) -> Result<Data, Error> {
        let Range { start, end } = place;
        let octets = message.get(place).ok_or(wire::Error::Truncated)?;
        let mut reader = Reader::new(octets);
        let name = |at| match Name::parse(message, at)? {
            (name, behind) if behind == end => Ok(name),
            _ => Err(Error::Data),
        };
        let short = |_| Error::Data;
        Ok(match kind {
            Kind::A => Data::A(Ipv4Addr::from(
                <[u8; 4]>::try_from(octets).map_err(|_| Error::Data)?,
            )),
            Kind::Aaaa => Data::Aaaa(Ipv6Addr::from(
                <[u8; 16]>::try_from(octets).map_err(|_| Error::Data)?,
            )),
            Kind::Cname => Data::Cname(name(start)?),
            Kind::Mx => Data::Mx {
                preference: reader.u16().map_err(short)?,
                exchange: name(start + 2)?,
            },
            Kind::Tlsa => Data::Tlsa(Tlsa {
                usage: reader.u8().map_err(short)?,
                selector: reader.u8().map_err(short)?,
                matching_type: reader.u8().map_err(short)?,
                data: reader.rest().to_vec(),
            }),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Data::A(_) => Kind::A,
            Data::Cname(_) => Kind::Cname,
            Data::Mx { .. } => Kind::Mx,
            Data::Aaaa(_) => Kind::Aaaa,
            Data::Tlsa(_) => Kind::Tlsa,
        }
    }
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::A, Kind::Cname, Kind::Mx, Kind::Aaaa, Kind::Tlsa];

    /// As IANA assigned them.
    pub(super) fn number(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Cname => 5,
            Kind::Mx => 15,
            Kind::Aaaa => 28,
            Kind::Tlsa => 52,
        }
    }

    pub(super) fn from_number(number: u16) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// The data alone, behind an octet; shorter and longer by one they are refused.
    #[track_caller]
    fn check(kind: Kind, octets: &[u8], expected: Data) {
        let message = [b"\x00", octets, b"\x00"].concat();
        let parse = |end| Data::parse(kind, &message, 1..end);
        let end = 1 + octets.len();
        assert_eq!(expected.kind(), kind);
        assert_eq!(parse(end), Ok(expected));
        assert_eq!(parse(end - 1), Err(Error::Data));
        assert_eq!(parse(end + 1), Err(Error::Data));
    }

    #[test]
    fn data() {
        check(Kind::A, b"\xc0\x00\x02\x01", Data::A([192, 0, 2, 1].into()));
        let octets = b"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        let address = "2001:db8::1".parse().expect("an address");
        check(Kind::Aaaa, octets, Data::Aaaa(address));
        check(Kind::Cname, b"\x01a\x00", Data::Cname(name("a")));
        check(Kind::Cname, b"\x01a\xc0\x00", Data::Cname(name("a")));
        let exchange = name("mx.a");
        let preference = 0x0102;
        let mx = Data::Mx {
            preference,
            exchange,
        };
        check(Kind::Mx, b"\x01\x02\x02mx\x01a\x00", mx);
    }

    #[test]
    fn tlsa() {
        let parse = |octets: &[u8]| Data::parse(Kind::Tlsa, octets, 0..octets.len());
        let tlsa = Tlsa {
            usage: 3,
            selector: 1,
            matching_type: 2,
            data: b"digest".to_vec(),
        };
        assert_eq!(parse(b"\x03\x01\x02digest"), Ok(Data::Tlsa(tlsa)));
        assert_eq!(parse(b"\x03\x01"), Err(Error::Data));
    }
}
