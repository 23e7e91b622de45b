//! UDP (RFC 768): as much of its header as a quoted packet needs, and its checksum.

use std::net::{IpAddr, SocketAddr};

use super::Error;
use super::checksum;
use super::reader::Reader;

pub const UDP_HEADER_OCTETS: usize = 8;

/// A datagram that an ICMP error quotes; the payload may be cut off, or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<'a> {
    pub source_port: u16,
    pub destination_port: u16,
    pub checksum: u16,
    pub payload: &'a [u8],
}

pub fn parse_quote(octets: &[u8]) -> Result<Quote<'_>, Error> {
    let mut reader = Reader::new(octets);
    let source_port = reader.u16()?;
    let destination_port = reader.u16()?;
    reader.u16()?;
    Ok(Quote {
        source_port,
        destination_port,
        checksum: reader.u16()?,
        payload: reader.rest(),
    })
}

/// What the checksum of this datagram is, by the pseudo header of RFC 768 or RFC 8200.
#[must_use]
pub fn checksum(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> u16 {
    const PROTOCOL: u8 = 17;
    let octets = UDP_HEADER_OCTETS + payload.len();
    let mut covered = pseudo_header(source.ip(), destination.ip(), PROTOCOL, octets);
    covered.extend(source.port().to_be_bytes());
    covered.extend(destination.port().to_be_bytes());
    // A datagram holds no more than 65,535 octets.
    covered.extend((octets as u16).to_be_bytes());
    covered.extend([0, 0]);
    covered.extend(payload);
    checksum::internet(&covered)
}

/// What stands in front of UDP and TCP for their checksums.
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, octets: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(40 + octets);
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    header.extend((octets as u32).to_be_bytes());
    header.extend([0, 0, 0, protocol]);
    header
}

/// The 16 bits that, in place of zeros in the payload, turn the checksum `is` into `wanted`.
#[must_use]
pub fn compensate(is: u16, wanted: u16) -> u16 {
    // Checksums are inverted sums: ~is + x = ~wanted, in one's complement.
    let sum = u32::from(!wanted) + u32::from(is);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_checksum_can_be_chosen() {
        for addresses in [
            ("10.0.0.1:1234", "10.0.0.2:33434"),
            ("[fd00::1]:5", "[fd00::2]:6"),
        ] {
            let source = addresses.0.parse().expect("an address");
            let destination = addresses.1.parse().expect("an address");
            for wanted in [1, 2, 0x1234, 0xfffe] {
                let mut payload = *b"\0\0some octets";
                let is = checksum(source, destination, &payload);
                payload[..2].copy_from_slice(&compensate(is, wanted).to_be_bytes());
                assert_eq!(checksum(source, destination, &payload), wanted);
            }
        }
    }

    /// A datagram of 4 octets from port 1 to port 2, and all shorter quotes of it.
    #[test]
    fn quotes_may_be_cut_short() {
        let octets = [0, 1, 0, 2, 0, 12, 0xab, 0xcd, 1, 2, 3, 4];
        for end in 0..=12 {
            match parse_quote(&octets[..end]) {
                Err(error) => assert!(end < 8 && error == Error::Truncated),
                Ok(quote) => {
                    let Quote {
                        source_port,
                        destination_port,
                        checksum,
                        payload,
                    } = quote;
                    assert_eq!((source_port, destination_port, checksum), (1, 2, 0xabcd));
                    assert_eq!(payload.len(), end - 8);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_quote(&octets);
        }
    }
}
