//! What a TLS server says in clear before anything else: its ServerHello (RFC 8446 section
//! 4.1.3, RFC 5246 section 7.4.1.3), which names the version and the cipher suite.
//!
//! A HelloRetryRequest does as well: section 4.1.4 of RFC 8446 has the ServerHello behind it say
//! the same of both.

use std::fmt;

use super::Error as WireError;
use super::reader::Reader;

/// RFC 8446 section 5.1 for a record. No ServerHello needs more than one, even with the largest
/// key shares there are.
pub(crate) const HELLO_OCTETS_MAX: usize = 16 << 10;

/// RFC 8446 section 5.1: the types of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// RFC 8446 section 4: of handshake messages.
const SERVER_HELLO: u8 = 2;
/// RFC 8446 section 4.2.1.
const SUPPORTED_VERSIONS: u16 = 43;
const RANDOM_OCTETS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerHello {
    pub(crate) version: Version,
    pub(crate) cipher_suite: CipherSuite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CipherSuite(u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Octets(#[from] WireError),
    #[error("not a record of TLS")]
    NotTls,
    #[error("another message than a ServerHello")]
    Message,
}

/// Whether a TLS record may begin with these octets, be they few.
pub(crate) fn is_record(octets: &[u8]) -> bool {
    let is_type = |octet: &u8| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(octet);
    // RFC 8446 section 5.1: 3, whatever the version.
    octets.first().is_none_or(is_type) && octets.get(1).is_none_or(|major| *major == 3)
}

impl ServerHello {
    /// By what the server has sent so far; `None` means that the ServerHello is not complete.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<ServerHello>, Error> {
        let message = handshake_octets(input)?;
        let mut reader = Reader::new(&message);
        let (Ok(kind), Ok([high, middle, low])) = (reader.u8(), reader.array()) else {
            return Ok(None);
        };
        if kind != SERVER_HELLO {
            return Err(Error::Message);
        }
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match reader.take(length) {
            Ok(body) => ServerHello::parse_body(body).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn parse_body(body: &[u8]) -> Result<ServerHello, Error> {
        let mut reader = Reader::new(body);
        let mut version = reader.u16()?;
        reader.take(RANDOM_OCTETS)?;
        let session_id_octets = reader.u8()?;
        reader.take(session_id_octets.into())?;
        let cipher_suite = reader.u16()?;
        let _compression = reader.u8()?;
        let rest = reader.rest();
        // RFC 5246 section 7.4.1.3: without extensions there is not even their length.
        if !rest.is_empty() {
            let mut reader = Reader::new(rest);
            let octets = reader.u16()?;
            version = selected_version(reader.take(octets.into())?)?.unwrap_or(version);
        }
        Ok(ServerHello {
            version: Version(version),
            cipher_suite: CipherSuite(cipher_suite),
        })
    }
}

/// What is in the handshake's records. Warnings may come in front of them; what follows after
/// the keys have changed is not in clear.
fn handshake_octets(input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut octets = Vec::new();
    let mut rest = input;
    while let Some((header, behind)) = rest.split_first_chunk::<5>() {
        let [kind, _, _, high, low] = *header;
        if !is_record(header) {
            return Err(Error::NotTls);
        }
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (fragment, behind) = behind.split_at(length);
        match kind {
            HANDSHAKE => octets.extend_from_slice(fragment),
            ALERT => {}
            _ => break,
        }
        rest = behind;
    }
    match is_record(rest) {
        true => Ok(octets),
        false => Err(Error::NotTls),
    }
}

/// RFC 8446 section 4.2.1: of TLS 1.3 and above, whose ServerHello looks like one of TLS 1.2.
fn selected_version(mut extensions: &[u8]) -> Result<Option<u16>, Error> {
    while !extensions.is_empty() {
        let mut reader = Reader::new(extensions);
        let kind = reader.u16()?;
        let octets = reader.u16()?;
        let data = reader.take(octets.into())?;
        if kind == SUPPORTED_VERSIONS {
            return Ok(Some(Reader::new(data).u16()?));
        }
        extensions = reader.rest();
    }
    Ok(None)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSL 3.0"),
            minor @ 0x0301..=0x0304 => write!(f, "TLS 1.{}", minor - 0x0301),
            other => write!(f, "TLS {other:#06x}"),
        }
    }
}

/// By the names that IANA has for them.
impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = SUITES.iter().find(|(number, _)| *number == self.0);
        match known {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

/// Those that OpenSSL, GnuTLS and Windows agree on with each other in practice.
const SUITES: [(u16, &str); 37] = [
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM"),
    (0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A handshake message in records of this many octets.
    fn records(kind: u8, body: &[u8], fragment_octets: usize) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(body.len()).expect("short").to_be_bytes();
        let message = [&[kind], &length[..], body].concat();
        let record = |fragment: &[u8]| {
            let length = u16::try_from(fragment.len()).expect("short").to_be_bytes();
            [&[HANDSHAKE, 3, 3], &length[..], fragment].concat()
        };
        message.chunks(fragment_octets).flat_map(record).collect()
    }

    fn body(version: u16, session_id: &[u8], suite: u16, extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; RANDOM_OCTETS]);
        body.push(u8::try_from(session_id.len()).expect("short"));
        body.extend(session_id);
        body.extend(suite.to_be_bytes());
        body.push(0);
        if let Some(extensions) = extensions {
            let length = u16::try_from(extensions.len()).expect("short");
            body.extend(length.to_be_bytes());
            body.extend(extensions);
        }
        body
    }

    /// key_share in front of supported_versions.
    const OF_1_3: &[u8] = b"\x00\x33\x00\x05\x00\x1d\x00\x01\x09\x00\x2b\x00\x02\x03\x04";

    /// Whole, with more behind it, in many records, and behind a warning: the same. Every part of
    /// it is incomplete.
    #[track_caller]
    fn check(body: &[u8], version: &str, suite: &str) {
        let told = |octets: &[u8]| {
            let hello = ServerHello::parse(octets).expect("a hello")?;
            Some((hello.version.to_string(), hello.cipher_suite.to_string()))
        };
        let expected = Some((version.to_owned(), suite.to_owned()));
        let whole = records(SERVER_HELLO, body, 1 << 14);
        for end in 0..whole.len() {
            assert_eq!(told(&whole[..end]), None, "{end} octets");
        }
        assert_eq!(told(&whole), expected);
        let ccs = b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02ab";
        assert_eq!(told(&[&whole[..], ccs].concat()), expected);
        assert_eq!(told(&records(SERVER_HELLO, body, 3)), expected);
        let warning = b"\x15\x03\x03\x00\x02\x01\x70";
        assert_eq!(told(&[warning, &whole[..]].concat()), expected);
    }

    #[test]
    fn versions_and_suites() {
        let body_1_3 = body(0x0303, &[1; 32], 0x1302, Some(OF_1_3));
        check(&body_1_3, "TLS 1.3", "TLS_AES_256_GCM_SHA384");
        let body_1_2 = body(0x0303, &[], 0xc02f, Some(b"\xff\x01\x00\x01\x00"));
        let suite = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        check(&body_1_2, "TLS 1.2", suite);
        let body_1_0 = body(0x0301, &[2], 0x0035, None);
        check(&body_1_0, "TLS 1.0", "TLS_RSA_WITH_AES_256_CBC_SHA");
        check(&body(0x0300, &[], 0x00ff, None), "SSL 3.0", "0x00ff");
        let draft = b"\x00\x2b\x00\x02\x7f\x1c";
        check(
            &body(0x0303, &[], 0x1301, Some(draft)),
            "TLS 0x7f1c",
            "TLS_AES_128_GCM_SHA256",
        );
        assert!(SUITES.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn what_is_no_hello() {
        #[track_caller]
        fn check(octets: &[u8], expected: Error) {
            assert_eq!(ServerHello::parse(octets), Err(expected), "{octets:x?}");
        }
        check(b"2", Error::NotTls);
        check(b"220 mx.example ESMTP\r\n", Error::NotTls);
        check(b"\x16\x32", Error::NotTls);
        check(b"\x15\x03\x01\x00\x02\x02\x28HTTP", Error::NotTls);
        check(&records(11, b"abc", 100), Error::Message);
        let truncated = Error::from(WireError::Truncated);
        check(&records(SERVER_HELLO, b"\x03\x03", 100), truncated);
        let whole = body(0x0303, &[], 0x1301, Some(OF_1_3));
        let cut = &whole[..whole.len() - 1];
        check(&records(SERVER_HELLO, cut, 100), truncated);
        let alert = b"\x15\x03\x01\x00\x02\x02\x28";
        assert_eq!(ServerHello::parse(alert), Ok(None));
    }

    #[test]
    fn records_are_told_from_text() {
        for record in ["", "\x15", "\x16\x03", "\x16\x03\x01 anything"] {
            assert!(is_record(record.as_bytes()), "{record:?}");
        }
        for text in ["220 mx", "EHLO", "HTTP/1.1", "\x16\x04", "\x18\x03\x03"] {
            assert!(!is_record(text.as_bytes()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(changes in vec((0..70_usize, any::<u8>()), 1..6)) {
            let mut octets = records(SERVER_HELLO, &body(0x0303, &[1], 0x1301, Some(OF_1_3)), 20);
            for (at, octet) in changes {
                octets[at] = octet;
            }
            let _ = ServerHello::parse(&octets);
        }
    }
}
