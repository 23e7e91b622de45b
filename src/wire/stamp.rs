//! STAMP test packets, RFC 8762 with the SSID of RFC 8972, without and with authentication.
//!
//! TWAMP Light, RFC 5357 appendix I, has the same packets, some of them shorter. Left out: what
//! any TLV means. All are sent back as not understood, that with the HMAC of the others among
//! them, so whatever follows the base packet is never authenticated.

use super::mac::{Key, MAC_OCTETS};
use super::reader::Reader;
use super::timestamp::{ErrorEstimate, Timestamp};

/// RFC 8762 sections 4.2.1 and 4.3.1.
pub(crate) const OCTETS: usize = 44;
/// RFC 8762 sections 4.2.2 and 4.3.2.
pub(crate) const AUTHENTICATED_OCTETS: usize = 112;

/// RFC 8762 section 4.4: the HMAC is over all that is in front of it, and truncated.
const AUTHENTICATED_PART_OCTETS: usize = 96;

/// RFC 8972 section 4: the flag for what a reflector has not understood.
const UNRECOGNIZED: u8 = 0x80;
/// RFC 8972 section 5.1: no TLV has this type.
const RESERVED: u8 = 0;

/// What a session-sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) sequence_number: u32,
    /// T1.
    pub(crate) timestamp: Timestamp,
    pub(crate) error_estimate: ErrorEstimate,
    pub(crate) ssid: u16,
}

/// What a session-reflector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) sequence_number: u32,
    /// T3.
    pub(crate) timestamp: Timestamp,
    /// Of T2 and T3.
    pub(crate) error_estimate: ErrorEstimate,
    pub(crate) ssid: u16,
    /// T2.
    pub(crate) receive_timestamp: Timestamp,
    pub(crate) session_sender: SessionSender,
    /// The TTL or hop limit that the request came with, if the reflector knows.
    pub(crate) ttl: Option<u8>,
}

/// The fields of the request, as the reflector returns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionSender {
    pub(crate) sequence_number: u32,
    pub(crate) timestamp: Timestamp,
    pub(crate) error_estimate: ErrorEstimate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Octets(#[from] super::Error),
    #[error("wrong HMAC")]
    WrongMac,
}

impl Request {
    /// With zeros behind it up to that many octets.
    pub(crate) fn emit(&self, octets: usize, key: Option<&Key>) -> Vec<u8> {
        let octets = octets.max(base_octets(key));
        let mut packet = Vec::with_capacity(octets);
        packet.extend(self.sequence_number.to_be_bytes());
        packet.resize(packet.len() + mbz(12, key), 0);
        packet.extend(self.timestamp.0.to_be_bytes());
        packet.extend(self.error_estimate.emit().to_be_bytes());
        packet.extend(self.ssid.to_be_bytes());
        packet.resize(octets, 0);
        authenticate(&mut packet, key);
        packet
    }

    /// Without authentication, 14 octets do: those of a TWAMP Light sender without padding.
    pub(crate) fn parse(packet: &[u8], key: Option<&Key>) -> Result<Request, Error> {
        verify(packet, key)?;
        let mut reader = Reader::new(packet);
        let sequence_number = reader.u32()?;
        reader.take(mbz(12, key))?;
        Ok(Request {
            sequence_number,
            timestamp: timestamp(&mut reader)?,
            error_estimate: ErrorEstimate::parse(reader.u16()?),
            ssid: reader.u16().unwrap_or(0),
        })
    }
}

impl Reply {
    /// As long as the request that it answers, unless that was shorter than a reply can be.
    pub(crate) fn emit(&self, request: &[u8], key: Option<&Key>) -> Vec<u8> {
        let mut packet = Vec::with_capacity(request.len().max(base_octets(key)));
        packet.extend(self.sequence_number.to_be_bytes());
        packet.resize(packet.len() + mbz(12, key), 0);
        packet.extend(self.timestamp.0.to_be_bytes());
        packet.extend(self.error_estimate.emit().to_be_bytes());
        packet.extend(self.ssid.to_be_bytes());
        packet.resize(packet.len() + mbz(4, key), 0);
        packet.extend(self.receive_timestamp.0.to_be_bytes());
        packet.resize(packet.len() + mbz(8, key), 0);
        packet.extend(self.session_sender.sequence_number.to_be_bytes());
        packet.resize(packet.len() + mbz(12, key), 0);
        packet.extend(self.session_sender.timestamp.0.to_be_bytes());
        packet.extend(self.session_sender.error_estimate.emit().to_be_bytes());
        packet.resize(packet.len() + 2 + mbz(4, key), 0);
        // RFC 5357 section 4.2.1: 255 if it cannot be known.
        packet.push(self.ttl.unwrap_or(u8::MAX));
        packet.resize(base_octets(key), 0);
        authenticate(&mut packet, key);

        let behind = request.get(packet.len()..).unwrap_or_default();
        packet.extend(reflect_tlvs(behind).unwrap_or_else(|| behind.to_vec()));
        packet
    }

    /// Without authentication, 38 octets do: some TWAMP Light reflectors leave out the TTL or
    /// what follows it.
    pub(crate) fn parse(packet: &[u8], key: Option<&Key>) -> Result<Reply, Error> {
        verify(packet, key)?;
        let mut reader = Reader::new(packet);
        let sequence_number = reader.u32()?;
        reader.take(mbz(12, key))?;
        let t3 = timestamp(&mut reader)?;
        let error_estimate = ErrorEstimate::parse(reader.u16()?);
        let ssid = reader.u16()?;
        reader.take(mbz(4, key))?;
        let receive_timestamp = timestamp(&mut reader)?;
        reader.take(mbz(8, key))?;
        let sender_sequence_number = reader.u32()?;
        reader.take(mbz(12, key))?;
        let session_sender = SessionSender {
            sequence_number: sender_sequence_number,
            timestamp: timestamp(&mut reader)?,
            error_estimate: ErrorEstimate::parse(reader.u16()?),
        };
        let ttl = reader.take(2 + mbz(4, key)).and_then(|_| reader.u8()).ok();
        Ok(Reply {
            sequence_number,
            timestamp: t3,
            error_estimate,
            ssid,
            receive_timestamp,
            session_sender,
            // No packet arrives with 0: it is from a reflector that does not know.
            ttl: ttl.filter(|ttl| *ttl != 0),
        })
    }
}

pub(crate) fn base_octets(key: Option<&Key>) -> usize {
    match key {
        Some(_) => AUTHENTICATED_OCTETS,
        None => OCTETS,
    }
}

/// How many octets must be zero where authenticated packets have some between the fields: the
/// others have the same fields without them.
fn mbz(octets: usize, key: Option<&Key>) -> usize {
    match key {
        Some(_) => octets,
        None => 0,
    }
}

fn timestamp(reader: &mut Reader<'_>) -> Result<Timestamp, Error> {
    Ok(Timestamp(u64::from_be_bytes(reader.array()?)))
}

fn authenticate(packet: &mut [u8], key: Option<&Key>) {
    let Some(key) = key else { return };
    let (authenticated, rest) = packet.split_at_mut(AUTHENTICATED_PART_OCTETS);
    rest[..MAC_OCTETS].copy_from_slice(&key.sign(authenticated));
}

fn verify(packet: &[u8], key: Option<&Key>) -> Result<(), Error> {
    let Some(key) = key else { return Ok(()) };
    let mut reader = Reader::new(packet);
    let authenticated = reader.take(AUTHENTICATED_PART_OCTETS)?;
    match key.verifies(authenticated, &reader.array()?) {
        true => Ok(()),
        false => Err(Error::WrongMac),
    }
}

/// RFC 8972 section 4: what a reflector that understands none of them does with TLVs.
///
/// `None` means padding, which TWAMP Light fills with zeros or anything else. Only TLVs that end
/// where the packet does are told from that, so none is ever reported as malformed.
fn reflect_tlvs(behind: &[u8]) -> Option<Vec<u8>> {
    let mut reflected = Vec::with_capacity(behind.len());
    let mut reader = Reader::new(behind);
    while reflected.len() < behind.len() {
        let [_flags, kind] = reader.array().ok()?;
        let length = reader.u16().ok()?;
        let value = reader.take(length.into()).ok()?;
        if kind == RESERVED {
            return None;
        }
        reflected.extend([UNRECOGNIZED, kind]);
        reflected.extend(length.to_be_bytes());
        reflected.extend(value);
    }
    Some(reflected)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const TRUNCATED: Error = Error::Octets(super::super::Error::Truncated);

    /// The figures of RFC 8762 sections 4.2.1 to 4.3.2 with the SSID, row by row.
    const REQUEST: &str = "00000007 eeaab4c0 80000000 8f84 1234
        00000000 00000000 00000000 00000000 00000000 00000000 00000000";
    const REPLY: &str = "00000005 eeaab4c1 00000000 0181 1234 eeaab4c0 c0000000
        00000007 eeaab4c0 80000000 8f84 0000 3f 000000";
    const AUTHENTICATED_REQUEST: &str = "00000007 00000000 00000000 00000000
        eeaab4c0 80000000 8f84 1234 00000000
        00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        0d823542 2e07c2b6 30985aa8 8b0c2b0c";
    const AUTHENTICATED_REPLY: &str = "00000005 00000000 00000000 00000000
        eeaab4c1 00000000 0181 1234 00000000 eeaab4c0 c0000000 00000000 00000000
        00000007 00000000 00000000 00000000 eeaab4c0 80000000 8f84 000000000000
        3f 000000 00000000 00000000 00000000
        6eea6b47 42ebbf22 78018fe7 abb7d7a5";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(octet).collect()
    }

    fn key() -> Key {
        Key::new(&Vec::from_iter(1..=32))
    }

    fn request() -> Request {
        Request {
            sequence_number: 7,
            timestamp: Timestamp(0xeeaa_b4c0_8000_0000),
            error_estimate: ErrorEstimate::parse(0x8f84),
            ssid: 0x1234,
        }
    }

    fn reply() -> Reply {
        Reply {
            sequence_number: 5,
            timestamp: Timestamp(0xeeaa_b4c1_0000_0000),
            error_estimate: ErrorEstimate::parse(0x0181),
            ssid: 0x1234,
            receive_timestamp: Timestamp(0xeeaa_b4c0_c000_0000),
            session_sender: SessionSender {
                sequence_number: 7,
                timestamp: Timestamp(0xeeaa_b4c0_8000_0000),
                error_estimate: ErrorEstimate::parse(0x8f84),
            },
            ttl: Some(63),
        }
    }

    #[test]
    fn packets() {
        #[track_caller]
        fn check(key: Option<&Key>, request_hex: &str, reply_hex: &str) {
            let octets = [request_hex, reply_hex].map(octets);
            assert_eq!(request().emit(0, key), octets[0]);
            assert_eq!(Request::parse(&octets[0], key), Ok(request()));
            assert_eq!(reply().emit(&octets[0], key), octets[1]);
            assert_eq!(Reply::parse(&octets[1], key), Ok(reply()));
        }
        check(None, REQUEST, REPLY);
        check(Some(&key()), AUTHENTICATED_REQUEST, AUTHENTICATED_REPLY);
    }

    #[test]
    fn padding_makes_packets_longer_but_never_shorter() {
        for (key, base) in [(None, OCTETS), (Some(&key()), AUTHENTICATED_OCTETS)] {
            for octets in [0, 14, 43, 44, 45, 111, 112, 113, 1472] {
                let sent = request().emit(octets, key);
                assert_eq!(sent.len(), octets.max(base));
                assert_eq!(reply().emit(&sent, key).len(), sent.len());
            }
        }
    }

    #[test]
    fn short_packets_of_twamp_light() {
        let sent = octets(REQUEST);
        let without_ssid = Request {
            ssid: 0,
            ..request()
        };
        assert_eq!(Request::parse(&sent[..13], None), Err(TRUNCATED));
        assert_eq!(Request::parse(&sent[..14], None), Ok(without_ssid));
        assert_eq!(Request::parse(&sent[..15], None), Ok(without_ssid));
        assert_eq!(Request::parse(&sent[..16], None), Ok(request()));
        assert_eq!(reply().emit(&sent[..14], None), octets(REPLY));

        let mut received = octets(REPLY);
        let without_ttl = Reply {
            ttl: None,
            ..reply()
        };
        assert_eq!(Reply::parse(&received[..37], None), Err(TRUNCATED));
        assert_eq!(Reply::parse(&received[..38], None), Ok(without_ttl));
        assert_eq!(Reply::parse(&received[..40], None), Ok(without_ttl));
        assert_eq!(Reply::parse(&received[..41], None), Ok(reply()));
        received[40] = 0;
        assert_eq!(Reply::parse(&received, None), Ok(without_ttl));
        assert_eq!(without_ttl.emit(&sent, None)[40], 255);
    }

    #[test]
    fn what_follows_the_base_packet_comes_back() {
        #[track_caller]
        fn check(sent: &str, returned: &str) {
            for (key, hex) in [(None, REQUEST), (Some(&key()), AUTHENTICATED_REQUEST)] {
                let base = octets(hex);
                let reflected = reply().emit(&[&*base, &octets(sent)].concat(), key);
                assert_eq!(reflected[base.len()..], octets(returned));
                assert_eq!(Reply::parse(&reflected, key), Ok(reply()));
            }
        }
        #[track_caller]
        fn check_padding(sent: &str) {
            check(sent, sent);
        }
        check("80010004 01020304", "80010004 01020304");
        check("00010000", "80010000");
        check("60040002 b800 ff080002 abcd", "80040002 b800 80080002 abcd");
        check_padding("");
        check_padding("00000000 00000000");
        check_padding("00010000 00000000");
        check_padding("00010000 0001");
        check_padding("00010005 01020304");
        check_padding("00010003 01020304");
        check_padding("0001ffff 01020304");
        check_padding("5a17c3");
    }

    #[test]
    fn whoever_does_not_have_the_key_is_noticed() {
        let (key, other) = (key(), Key::new(b"another"));
        let sent = request().emit(120, Some(&key));
        let received = reply().emit(&sent, Some(&key));
        for at in 0..AUTHENTICATED_OCTETS {
            for (packet, bit) in [(&sent, 1), (&received, 0x80)] {
                let mut packet = packet.clone();
                packet[at] ^= bit;
                let parsed = Request::parse(&packet, Some(&key));
                assert_eq!(parsed, Err(Error::WrongMac), "octet {at}");
                let parsed = Reply::parse(&packet, Some(&key));
                assert_eq!(parsed, Err(Error::WrongMac), "octet {at}");
            }
            assert_eq!(Request::parse(&sent[..at], Some(&key)), Err(TRUNCATED));
        }
        assert_eq!(Request::parse(&sent, Some(&other)), Err(Error::WrongMac));
        assert_eq!(Reply::parse(&received, Some(&other)), Err(Error::WrongMac));
        assert_eq!(format!("{:?}", Key::new(b"secret")), "Key");
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(
            mut octets in vec(any::<u8>(), OCTETS),
            behind in vec(any::<u8>(), 0..200),
        ) {
            octets[40] = octets[40].max(1);
            let request = Request::parse(&octets, None).expect("it is whole");
            let reply = Reply::parse(&octets, None).expect("it is whole");
            for key in [None, Some(&key())] {
                let packet = request.emit(behind.len(), key);
                prop_assert_eq!(Request::parse(&packet, key), Ok(request));
                let packet = reply.emit(&[&*packet, &behind].concat(), key);
                prop_assert_eq!(Reply::parse(&packet, key), Ok(reply));
            }
        }

        #[test]
        fn no_octets_panic(packet in vec(any::<u8>(), 0..200)) {
            let is_truncated = Request::parse(&packet, None) == Err(TRUNCATED);
            prop_assert_eq!(is_truncated, packet.len() < 14);
            let is_truncated = Reply::parse(&packet, None) == Err(TRUNCATED);
            prop_assert_eq!(is_truncated, packet.len() < 38);
            let is_truncated = Reply::parse(&packet, Some(&key())) == Err(TRUNCATED);
            prop_assert_eq!(is_truncated, packet.len() < AUTHENTICATED_OCTETS);
            for key in [None, Some(&key())] {
                let reflected = reply().emit(&packet, key);
                prop_assert_eq!(reflected.len(), packet.len().max(base_octets(key)));
            }
        }
    }
}
