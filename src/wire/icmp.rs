//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and the errors that concern an echo.
//!
//! Left out: everything that a host which sends echoes neither sends nor is sent about them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::reader::Reader;
use super::{Error, checksum, ip};

/// Type, code, checksum, identifier and sequence number.
pub const ECHO_HEADER_OCTETS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    V4,
    V6,
}

impl Version {
    #[must_use]
    pub fn of(address: IpAddr) -> Version {
        match address {
            IpAddr::V4(_) => Version::V4,
            IpAddr::V6(_) => Version::V6,
        }
    }

    /// The number in the IP header's protocol field.
    #[must_use]
    pub fn protocol(self) -> u8 {
        match self {
            Version::V4 => 1,
            Version::V6 => 58,
        }
    }

    fn echo_request_type(self) -> u8 {
        match self {
            Version::V4 => 8,
            Version::V6 => 128,
        }
    }

    fn echo_reply_type(self) -> u8 {
        match self {
            Version::V4 => 0,
            Version::V6 => 129,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    pub identifier: u16,
    pub sequence_number: u16,
    pub payload: &'a [u8],
}

impl Echo<'_> {
    /// An echo request. The checksum of ICMPv6 covers addresses, which the kernel fills in.
    #[must_use]
    pub fn emit_request(&self, version: Version) -> Vec<u8> {
        let mut octets = Vec::with_capacity(ECHO_HEADER_OCTETS + self.payload.len());
        octets.extend_from_slice(&[version.echo_request_type(), 0, 0, 0]);
        octets.extend_from_slice(&self.identifier.to_be_bytes());
        octets.extend_from_slice(&self.sequence_number.to_be_bytes());
        octets.extend_from_slice(self.payload);
        if version == Version::V4 {
            let checksum = checksum::internet(&octets);
            octets[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        octets
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    EchoReply(Echo<'a>),
    Problem {
        problem: Problem,
        quote: &'a [u8],
    },
    /// Of no concern to a sender of echoes.
    Other {
        kind: u8,
        code: u8,
    },
}

impl Message<'_> {
    /// Reads a message; that of IPv4 with its checksum, which for IPv6 the kernel has checked.
    pub fn parse(version: Version, octets: &[u8]) -> Result<Message<'_>, Error> {
        let mut reader = Reader::new(octets);
        let kind = reader.u8()?;
        let code = reader.u8()?;
        reader.u16()?;
        if version == Version::V4 && checksum::internet(octets) != 0 {
            return Err(Error::Checksum);
        }
        if kind == version.echo_reply_type() {
            return Ok(Message::EchoReply(parse_echo(reader)?));
        }
        let info = reader.u32()?;
        Ok(match Problem::new(version, kind, code, info) {
            Some(problem) => Message::Problem {
                problem,
                quote: reader.rest(),
            },
            None => Message::Other { kind, code },
        })
    }
}

fn parse_echo(mut reader: Reader<'_>) -> Result<Echo<'_>, Error> {
    let identifier = reader.u16()?;
    let sequence_number = reader.u16()?;
    Ok(Echo {
        identifier,
        sequence_number,
        payload: reader.rest(),
    })
}

/// Identifier and sequence number of an echo whose checksum may be wrong.
pub fn parse_echo_numbers(octets: &[u8]) -> Result<(u16, u16), Error> {
    let mut reader = Reader::new(octets);
    reader.take(4)?;
    Ok((reader.u16()?, reader.u16()?))
}

/// The echo request that an error quotes, with the IP header in front or without it.
///
/// Routers may quote as little as 8 octets of it, which is its header.
pub fn parse_quoted_request(version: Version, quote: &[u8]) -> Result<Echo<'_>, Error> {
    let mut reader = Reader::new(quote);
    let kind = reader.u8()?;
    reader.take(3)?;
    if kind != version.echo_request_type() {
        return Err(Error::Version);
    }
    parse_echo(reader)
}

/// Like [`parse_quoted_request`], behind the IP header that raw sockets see, with the
/// destination it was sent to.
pub fn parse_quoted_packet(
    version: Version,
    quote: &[u8],
) -> Result<(ip::Packet<'_>, Echo<'_>), Error> {
    let packet = ip::Packet::parse(quote)?;
    if packet.protocol != version.protocol() {
        return Err(Error::Version);
    }
    Ok((packet, parse_quoted_request(version, packet.payload)?))
}

/// An ICMP error, as RFC 792, RFC 1191, RFC 1812 and RFC 4443 number them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    version: Version,
    pub kind: u8,
    pub code: u8,
    /// The message's second word: an MTU, a pointer, a gateway.
    pub info: u32,
}

/// What an error means for the packet, in both versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The network or host cannot be reached from there.
    NoRoute,
    /// Nobody has that address on the last link.
    NoHost,
    /// A rule forbids it.
    Prohibited,
    PortUnreachable,
    ProtocolUnreachable,
    /// It does not fit, and may not be fragmented.
    TooBig {
        mtu: u32,
    },
    /// The hop limit ran out on the way.
    HopLimit,
    Other,
}

impl Problem {
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match (self.version, self.kind, self.code) {
            (Version::V4, 3, 0 | 6 | 8 | 11) | (Version::V6, 1, 0) => Meaning::NoRoute,
            (Version::V4, 3, 1 | 7 | 12) | (Version::V6, 1, 3) => Meaning::NoHost,
            (Version::V4, 3, 9 | 10 | 13) | (Version::V6, 1, 1 | 5 | 6) => Meaning::Prohibited,
            (Version::V4, 3, 3) | (Version::V6, 1, 4) => Meaning::PortUnreachable,
            (Version::V4, 3, 2) | (Version::V6, 4, 1) => Meaning::ProtocolUnreachable,
            // RFC 1191: the low half; before it, zero.
            (Version::V4, 3, 4) => Meaning::TooBig {
                mtu: self.info & 0xffff,
            },
            (Version::V6, 2, _) => Meaning::TooBig { mtu: self.info },
            (Version::V4, 11, 0) | (Version::V6, 3, 0) => Meaning::HopLimit,
            _ => Meaning::Other,
        }
    }

    /// The packet itself got no farther; a redirect or a source quench says something else.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.version == Version::V6 || !matches!(self.kind, 4 | 5)
    }

    #[must_use]
    pub fn is_port_unreachable(&self) -> bool {
        self.meaning() == Meaning::PortUnreachable
    }

    #[must_use]
    pub fn new(version: Version, kind: u8, code: u8, info: u32) -> Option<Problem> {
        let is_problem = match version {
            Version::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
            Version::V6 => matches!(kind, 1..=4),
        };
        is_problem.then_some(Problem {
            version,
            kind,
            code,
            info,
        })
    }

    /// A redirect names a better way; the packet itself was passed on.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        self.version == Version::V4 && self.kind == 5
    }
}

/// As iputils' ping words it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            version,
            kind,
            code,
            info,
        } = *self;
        match (version, kind) {
            (Version::V4, 3) => fmt_unreachable(f, code, info),
            (Version::V4, 4) => f.write_str("Source Quench"),
            (Version::V4, 5) => {
                let what = match code {
                    0 => "Network",
                    1 => "Host",
                    2 => "Type of Service and Network",
                    3 => "Type of Service and Host",
                    _ => return write!(f, "Redirect, Bad Code: {code}"),
                };
                write!(f, "Redirect {what}(New nexthop: {})", Ipv4Addr::from(info))
            }
            (Version::V4, 11) => match code {
                0 => f.write_str("Time to live exceeded"),
                1 => f.write_str("Frag reassembly time exceeded"),
                _ => write!(f, "Time exceeded, Bad Code: {code}"),
            },
            (Version::V4, _) => write!(f, "Parameter problem: pointer = {}", info >> 24),
            (Version::V6, 1) => fmt_unreachable_v6(f, code),
            (Version::V6, 2) => write!(f, "Packet too big: mtu={info}"),
            (Version::V6, 3) => match code {
                0 => f.write_str("Time exceeded: Hop limit"),
                1 => f.write_str("Time exceeded: Defragmentation failure"),
                _ => write!(f, "Time exceeded: code {code}"),
            },
            (Version::V6, _) => {
                let what = match code {
                    0 => "Wrong header field ",
                    1 => "Unknown header ",
                    2 => "Unknown option ",
                    _ => "",
                };
                write!(f, "Parameter problem: {what}at {info}")
            }
        }
    }
}

fn fmt_unreachable(f: &mut fmt::Formatter<'_>, code: u8, info: u32) -> fmt::Result {
    f.write_str(match code {
        0 => "Destination Net Unreachable",
        1 => "Destination Host Unreachable",
        2 => "Destination Protocol Unreachable",
        3 => "Destination Port Unreachable",
        4 => return write!(f, "Frag needed and DF set (mtu = {})", info & 0xffff),
        5 => "Source Route Failed",
        6 => "Destination Net Unknown",
        7 => "Destination Host Unknown",
        8 => "Source Host Isolated",
        9 => "Destination Net Prohibited",
        10 => "Destination Host Prohibited",
        11 => "Destination Net Unreachable for Type of Service",
        12 => "Destination Host Unreachable for Type of Service",
        13 => "Packet filtered",
        14 => "Precedence Violation",
        15 => "Precedence Cutoff",
        _ => return write!(f, "Dest Unreachable, Bad Code: {code}"),
    })
}

fn fmt_unreachable_v6(f: &mut fmt::Formatter<'_>, code: u8) -> fmt::Result {
    f.write_str("Destination unreachable: ")?;
    f.write_str(match code {
        0 => "No route",
        1 => "Administratively prohibited",
        2 => "Beyond scope of source address",
        3 => "Address unreachable",
        4 => "Port unreachable",
        5 => "Source address failed ingress/egress policy",
        6 => "Reject route to destination",
        _ => return write!(f, "Unknown code {code}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An echo of "abc" with identifier 0x1234 and sequence number 5, by RFC 792's picture.
    const REQUEST: [u8; 11] = [8, 0, 0x21, 0x64, 0x12, 0x34, 0, 5, b'a', b'b', b'c'];
    const REPLY: [u8; 11] = [0, 0, 0x29, 0x64, 0x12, 0x34, 0, 5, b'a', b'b', b'c'];
    const ECHO: Echo<'static> = Echo {
        identifier: 0x1234,
        sequence_number: 5,
        payload: b"abc",
    };

    /// A host unreachable that quotes the request to 10.0.0.2 with 8 octets, as RFC 792 asks.
    fn unreachable() -> Vec<u8> {
        let mut octets = vec![3, 1, 0, 0, 0, 0, 0, 0];
        octets.extend([
            0x45, 0, 0, 31, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        octets.extend(&REQUEST[..8]);
        let checksum = checksum::internet(&octets);
        octets[2..4].copy_from_slice(&checksum.to_be_bytes());
        octets
    }

    #[test]
    fn echo_request_octet_by_octet() {
        assert_eq!(ECHO.emit_request(Version::V4), REQUEST);
        let v6 = [128, 0, 0, 0, 0x12, 0x34, 0, 5, b'a', b'b', b'c'];
        assert_eq!(ECHO.emit_request(Version::V6), v6);
    }

    #[test]
    fn echo_reply_and_every_truncation() {
        assert_eq!(
            Message::parse(Version::V4, &REPLY),
            Ok(Message::EchoReply(ECHO))
        );
        let v6 = [129, 0, 9, 9, 0x12, 0x34, 0, 5, b'a', b'b', b'c'];
        assert_eq!(
            Message::parse(Version::V6, &v6),
            Ok(Message::EchoReply(ECHO))
        );
        for end in 0..8 {
            assert_eq!(
                Message::parse(Version::V6, &v6[..end]),
                Err(Error::Truncated),
                "{end}"
            );
        }
        for end in 4..11 {
            assert!(Message::parse(Version::V4, &REPLY[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_changed_octet_is_noticed() {
        for index in 0..REPLY.len() {
            let mut octets = REPLY;
            octets[index] ^= 1;
            assert_eq!(
                Message::parse(Version::V4, &octets),
                Err(Error::Checksum),
                "{index}"
            );
        }
    }

    #[test]
    fn an_error_names_the_request_it_is_about() {
        let octets = unreachable();
        let Ok(Message::Problem { problem, quote }) = Message::parse(Version::V4, &octets) else {
            panic!("{:?}", Message::parse(Version::V4, &octets));
        };
        assert_eq!(problem.to_string(), "Destination Host Unreachable");
        let (packet, echo) = parse_quoted_packet(Version::V4, quote).expect("a whole quote");
        assert_eq!(packet.destination.to_string(), "10.0.0.2");
        assert_eq!(
            echo,
            Echo {
                payload: b"",
                ..ECHO
            }
        );
        for end in 0..quote.len() {
            assert!(
                parse_quoted_packet(Version::V4, &quote[..end]).is_err(),
                "{end} octets"
            );
        }
    }

    #[test]
    fn errors_in_words() {
        #[track_caller]
        fn check(version: Version, kind: u8, code: u8, info: u32, words: &str) {
            let problem = Problem::new(version, kind, code, info).expect("an error");
            assert_eq!(problem.to_string(), words);
        }
        check(
            Version::V4,
            3,
            4,
            1400,
            "Frag needed and DF set (mtu = 1400)",
        );
        check(Version::V4, 3, 13, 0, "Packet filtered");
        check(
            Version::V4,
            5,
            1,
            0x0a00_0001,
            "Redirect Host(New nexthop: 10.0.0.1)",
        );
        check(Version::V4, 11, 0, 0, "Time to live exceeded");
        check(
            Version::V6,
            1,
            4,
            0,
            "Destination unreachable: Port unreachable",
        );
        check(Version::V6, 2, 0, 1280, "Packet too big: mtu=1280");
        check(Version::V6, 3, 0, 0, "Time exceeded: Hop limit");
        assert_eq!(Problem::new(Version::V4, 8, 0, 0), None);
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            for version in [Version::V4, Version::V6] {
                let _ = Message::parse(version, &octets);
                let _ = parse_quoted_packet(version, &octets);
                let _ = parse_quoted_request(version, &octets);
            }
        }
    }
}
