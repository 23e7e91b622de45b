//! As much of IPv4 (RFC 791) and IPv6 (RFC 8200) headers as a received or quoted packet needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Error;
use super::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// 1 is ICMP, 58 is ICMPv6.
    pub protocol: u8,
    /// What follows the header, options included in none of it; it may be cut short.
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// Reads the header. In a quote the rest is often cut off, so that lengths are not checked.
    pub fn parse(octets: &[u8]) -> Result<Packet<'_>, Error> {
        match octets.first().ok_or(Error::Truncated)? >> 4 {
            4 => parse_v4(octets),
            6 => parse_v6(octets),
            _ => Err(Error::Version),
        }
    }
}

fn parse_v4(octets: &[u8]) -> Result<Packet<'_>, Error> {
    let mut reader = Reader::new(octets);
    let header_octets = usize::from(reader.u8()? & 0xf) * 4;
    let options_octets = header_octets.checked_sub(20).ok_or(Error::Version)?;
    reader.take(7)?;
    let hop_limit = reader.u8()?;
    let protocol = reader.u8()?;
    reader.take(2)?;
    let source = Ipv4Addr::from(reader.array()?).into();
    let destination = Ipv4Addr::from(reader.array()?).into();
    reader.take(options_octets)?;
    Ok(Packet {
        source,
        destination,
        hop_limit,
        protocol,
        payload: reader.rest(),
    })
}

fn parse_v6(octets: &[u8]) -> Result<Packet<'_>, Error> {
    let mut reader = Reader::new(octets);
    reader.take(6)?;
    let protocol = reader.u8()?;
    let hop_limit = reader.u8()?;
    let source = Ipv6Addr::from(reader.array()?).into();
    let destination = Ipv6Addr::from(reader.array()?).into();
    Ok(Packet {
        source,
        destination,
        hop_limit,
        protocol,
        payload: reader.rest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one word of options, as captured.
    const V4: [u8; 26] = [
        0x46, 0, 0, 26, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0, 0xab, 0xcd,
    ];

    #[test]
    fn options_are_skipped() {
        let packet = Packet::parse(&V4).expect("a whole header");
        assert_eq!(packet.source, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(packet.destination, IpAddr::from([10, 0, 0, 2]));
        assert_eq!((packet.hop_limit, packet.protocol), (64, 1));
        assert_eq!(packet.payload, [0xab, 0xcd]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..24 {
            assert_eq!(
                Packet::parse(&V4[..end]),
                Err(Error::Truncated),
                "{end} octets"
            );
        }
        let mut v6 = [0; 40];
        v6[0] = 0x60;
        for end in 0..40 {
            assert_eq!(
                Packet::parse(&v6[..end]),
                Err(Error::Truncated),
                "{end} octets"
            );
        }
        assert!(Packet::parse(&v6).is_ok());
        assert_eq!(
            Packet::parse(&[0x41; 40]),
            Err(Error::Version),
            "a header of 4 octets"
        );
    }
}
