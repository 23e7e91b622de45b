//! TCP (RFC 9293): a connection request, and as much of an answer as tells what it answers.

use std::net::SocketAddr;

use super::reader::Reader;
use super::{Error, checksum, udp};

/// With the options that every system sends; some firewalls drop a request without them.
pub const SYN_OCTETS: usize = 20 + OPTIONS.len();
/// Largest segment 1460, selective acknowledgements permitted, a timestamp, window scale 7.
const OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
pub const PROTOCOL: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A SYN, with zeros as data up to `octets`.
#[must_use]
pub fn emit_syn(
    source: SocketAddr,
    destination: SocketAddr,
    sequence_number: u32,
    octets: usize,
) -> Vec<u8> {
    const WINDOW: u16 = 64_240;
    let mut segment = vec![0; octets.max(SYN_OCTETS)];
    segment[0..2].copy_from_slice(&source.port().to_be_bytes());
    segment[2..4].copy_from_slice(&destination.port().to_be_bytes());
    segment[4..8].copy_from_slice(&sequence_number.to_be_bytes());
    // The header's length in words of 4 octets.
    segment[12] = ((SYN_OCTETS / 4) as u8) << 4;
    segment[13] = SYN;
    segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    segment[20..SYN_OCTETS].copy_from_slice(&OPTIONS);
    let mut covered = udp::pseudo_header(source.ip(), destination.ip(), PROTOCOL, segment.len());
    covered.extend(&segment);
    segment[16..18].copy_from_slice(&checksum::internet(&covered).to_be_bytes());
    segment
}

/// What a segment, or the beginning of one that an ICMP error quotes, is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence_number: u32,
}

pub fn parse_quote(octets: &[u8]) -> Result<Segment, Error> {
    let mut reader = Reader::new(octets);
    Ok(Segment {
        source_port: reader.u16()?,
        destination_port: reader.u16()?,
        sequence_number: reader.u32()?,
    })
}

/// Whether a SYN's answer accepts it (SYN ACK) or refuses it (RST ACK), and the number that it
/// acknowledges.
pub fn parse_answer(octets: &[u8]) -> Result<(bool, u32), Error> {
    let mut reader = Reader::new(octets);
    reader.take(8)?;
    let acknowledged = reader.u32()?;
    reader.u8()?;
    let flags = reader.u8()?;
    match flags & (SYN | RST | ACK) {
        kind if kind == SYN | ACK => Ok((true, acknowledged)),
        kind if kind == RST | ACK => Ok((false, acknowledged)),
        _ => Err(Error::Version),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9293 section 3.1, field by field.
    #[test]
    fn a_syn_octet_by_octet() {
        let source = "10.0.0.1:4660".parse().expect("an address");
        let destination = "10.0.0.2:80".parse().expect("an address");
        let syn = emit_syn(source, destination, 0x0102_0304, 0);
        let start = [
            0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0,
        ];
        assert_eq!(syn[..16], start);
        let mut covered = udp::pseudo_header(source.ip(), destination.ip(), PROTOCOL, syn.len());
        covered.extend(&syn);
        assert_eq!(checksum::internet(&covered), 0);
    }

    #[test]
    fn answers_acknowledge_what_they_answer() {
        let mut octets = [
            0,
            80,
            0x12,
            0x34,
            0,
            0,
            0,
            9,
            1,
            2,
            3,
            5,
            0x50,
            SYN | ACK,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        assert_eq!(parse_answer(&octets), Ok((true, 0x0102_0305)));
        octets[13] = RST | ACK;
        assert_eq!(parse_answer(&octets), Ok((false, 0x0102_0305)));
        octets[13] = ACK;
        assert_eq!(parse_answer(&octets), Err(Error::Version));
        for end in 0..14 {
            assert_eq!(parse_answer(&octets[..end]), Err(Error::Truncated), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_quote(&octets);
            let _ = parse_answer(&octets);
        }
    }
}
