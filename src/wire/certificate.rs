//! X.509 certificates (RFC 5280 section 4.1), as much as people and DANE want to know of one.
//!
//! Left out: whether it may be trusted, which the TLS library decides.

use chrono::NaiveDate;

use super::der::{self, Elements};

/// RFC 5280 sections 4.1.2.5.1 and 4.1.2.5.2.
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Context tags of TBSCertificate, and of dNSName in section 4.2.1.6.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const BMP_STRING: u8 = 0x1e;

/// 2.5.4.3, 2.5.4.10 and 2.5.29.17.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION_NAME: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Seconds since 1970, as is the end.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// For whom it is: the common name, or the organization's. Whoever made the certificate
    /// could write anything into it, as into all names here.
    pub(crate) subject: Option<String>,
    pub(crate) issuer: Option<String>,
    /// The dNSNames among the alternative names of the subject.
    pub(crate) dns_names: Vec<String>,
    /// SubjectPublicKeyInfo in DER, with its tag and length.
    pub(crate) public_key_info: Vec<u8>,
}

impl Certificate {
    /// For whom it is.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.dns_names.is_empty() {
            true => self.subject.iter().cloned().collect(),
            false => self.dns_names.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the certificate: {0}")]
    Der(#[from] der::Error),
    #[error("cannot read the certificate: a date that does not exist")]
    Time,
}

impl Certificate {
    pub(crate) fn parse(octets: &[u8]) -> Result<Certificate, Error> {
        let certificate = Elements::new(octets).expect(der::SEQUENCE)?;
        let mut parts = certificate.elements();
        let mut tbs = parts.expect(der::SEQUENCE)?.elements();
        parts.expect(der::SEQUENCE)?;
        parts.expect(der::BIT_STRING)?;
        tbs.optional(VERSION)?;
        tbs.expect(der::INTEGER)?;
        tbs.expect(der::SEQUENCE)?;
        let issuer = parse_name(tbs.expect(der::SEQUENCE)?.elements())?;
        let mut validity = tbs.expect(der::SEQUENCE)?.elements();
        let not_before = parse_time(&mut validity)?;
        let not_after = parse_time(&mut validity)?;
        let subject = parse_name(tbs.expect(der::SEQUENCE)?.elements())?;
        let public_key_info = tbs.expect(der::SEQUENCE)?.octets.to_vec();
        let mut dns_names = Vec::new();
        // Unique identifiers may stand in between, which nobody uses.
        while let Some(element) = tbs.next()? {
            if element.tag == EXTENSIONS {
                let extensions = element.elements().expect(der::SEQUENCE)?;
                dns_names = parse_dns_names(extensions.elements())?;
            }
        }
        Ok(Certificate {
            not_before,
            not_after,
            subject,
            issuer,
            dns_names,
            public_key_info,
        })
    }
}

/// RFC 5280 section 4.1.2.4: sets of attributes, of which the most telling one is taken.
fn parse_name(mut sets: Elements<'_>) -> Result<Option<String>, Error> {
    let mut common_name = None;
    let mut organization = None;
    while let Some(set) = sets.next()? {
        let mut attributes = set.elements();
        while let Some(attribute) = attributes.next()? {
            let mut parts = attribute.elements();
            let kind = parts.expect(der::OBJECT_IDENTIFIER)?.contents;
            let value = parts.next()?.map(text);
            match kind {
                COMMON_NAME => common_name = value,
                ORGANIZATION_NAME => organization = value,
                _ => {}
            }
        }
    }
    Ok(common_name.or(organization))
}

/// All kinds of strings in use are UTF-8, or ASCII by and large, but for the one of UTF-16.
fn text(string: der::Element<'_>) -> String {
    match string.tag {
        BMP_STRING => {
            let (units, _) = string.contents.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        }
        _ => String::from_utf8_lossy(string.contents).into_owned(),
    }
}

/// RFC 5280 section 4.1.2.5: seconds are there, and the zone is Z.
fn parse_time(validity: &mut Elements<'_>) -> Result<i64, Error> {
    let time = validity.next()?.ok_or(Error::Time)?;
    let digits = time.contents.strip_suffix(b"Z").ok_or(Error::Time)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::Time);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    let pairs: Vec<u32> = pairs.iter().map(number).collect();
    let (year, rest_of_time) = match (time.tag, &pairs[..]) {
        (UTC_TIME, [year @ (50..), rest @ ..]) => (1900 + year, rest),
        (UTC_TIME, [year, rest @ ..]) => (2000 + year, rest),
        (GENERALIZED_TIME, [century, year, rest @ ..]) => (century * 100 + year, rest),
        _ => return Err(Error::Time),
    };
    let &[month, day, hour, minute, second] = rest_of_time else {
        return Err(Error::Time);
    };
    let date = i32::try_from(year).ok();
    let date = date.and_then(|year| NaiveDate::from_ymd_opt(year, month, day));
    let time = date.and_then(|date| date.and_hms_opt(hour, minute, second));
    let time = time.filter(|_| rest.is_empty()).ok_or(Error::Time)?;
    Ok(time.and_utc().timestamp())
}

fn number([tens, ones]: &[u8; 2]) -> u32 {
    u32::from(tens - b'0') * 10 + u32::from(ones - b'0')
}

/// RFC 5280 section 4.2.1.6.
fn parse_dns_names(mut extensions: Elements<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    while let Some(extension) = extensions.next()? {
        let mut parts = extension.elements();
        let kind = parts.expect(der::OBJECT_IDENTIFIER)?.contents;
        parts.optional(der::BOOLEAN)?;
        let value = parts.expect(der::OCTET_STRING)?;
        if kind != SUBJECT_ALT_NAME {
            continue;
        }
        let mut alternatives = value.elements().expect(der::SEQUENCE)?.elements();
        while let Some(alternative) = alternatives.next()? {
            if alternative.tag == DNS_NAME {
                names.push(text(alternative));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
pub(crate) mod example {
    /// By OpenSSL 3.0: mx.example of Example Root, an EC key, until 2056.
    const HEX: &str = "\
        308201cc30820171a003020102020107300a06082a8648ce3d04030230293110300e060355040a0c0745\
        78616d706c653115301306035504030c0c4578616d706c6520526f6f743020170d323631313231313235\
        3233345a180f32303536313131333132353233345a30273110300e060355040a0c074578616d706c6531\
        13301106035504030c0a6d782e6578616d706c653059301306072a8648ce3d020106082a8648ce3d0301\
        07034200046e0df897b7a7d7a2ee132f419a66bc4d5a7f0897ee7e9b6d283052c0aa6b8edeb9f00be8a4\
        559151f04b3974f956932725996702451e1c21e50a693f5ae51938a3818930818630360603551d11042f\
        302d820a6d782e6578616d706c65820e2a2e6d61696c2e6578616d706c658704c0000201810961406578\
        616d706c65300c0603551d130101ff04023000301d0603551d0e041604145d93677b62da102490ac16a4\
        cead0411924d58d2301f0603551d230418301680143cbcd6e2ca34c27f82104effb5a9fad135aa899230\
        0a06082a8648ce3d040302034900304602210080e29b68fe684b9a2dfb28504731ed7e519324bb597104\
        9e3f4217af84aa74010221008a7ac079f513528a7104bde7308f045f9220d319732a49a9dbaa0171031a\
        111a";

    pub(crate) fn octets() -> Vec<u8> {
        from_hex(HEX)
    }

    pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let digit = |octet: u8| char::from(octet).to_digit(16).expect("a digit") as u8;
        let octet = |[high, low]: &[u8; 2]| digit(*high) << 4 | digit(*low);
        pairs.iter().map(octet).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_and_every_truncation() {
        let octets = example::octets();
        let certificate = Certificate::parse(&octets).expect("a certificate");
        // As `openssl x509 -dates` and `date -u +%s` have them.
        assert_eq!(certificate.not_before, 1_795_265_554);
        assert_eq!(certificate.not_after, 2_741_345_554);
        assert_eq!(certificate.subject.as_deref(), Some("mx.example"));
        assert_eq!(certificate.issuer.as_deref(), Some("Example Root"));
        assert_eq!(certificate.dns_names, ["mx.example", "*.mail.example"]);
        let key = example::from_hex("3059301306072a8648ce3d0201");
        assert!(certificate.public_key_info.starts_with(&key));
        assert_eq!(certificate.public_key_info.len(), 0x59 + 2);
        for end in 0..octets.len() {
            let truncated = Err(der::Error::from(super::super::Error::Truncated).into());
            assert_eq!(
                Certificate::parse(&octets[..end]),
                truncated,
                "{end} octets"
            );
        }
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(tag: u8, time: &str, expected: Option<i64>) {
            let length = u8::try_from(time.len()).expect("a short text");
            let octets = [&[tag, length], time.as_bytes()].concat();
            let found = parse_time(&mut Elements::new(&octets));
            assert_eq!(found, expected.ok_or(Error::Time), "{time}");
        }
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "500101000000Z", Some(-631_152_000));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        for wrong in [
            "",
            "Z",
            "7001010000Z",
            "700101000000",
            "700230000000Z",
            "7001010000000Z",
        ] {
            check(UTC_TIME, wrong, None);
        }
        check(UTC_TIME, "19700101000000Z", None);
        check(UTC_TIME, "70010100000-Z", None);
        check(GENERALIZED_TIME, "700101000000Z", None);
        check(GENERALIZED_TIME, "19700101000000.5Z", None);
        check(der::INTEGER, "700101000000Z", None);
    }

    #[test]
    fn names() {
        #[track_caller]
        fn check(octets: &[u8], expected: Option<&str>) {
            let name = parse_name(Elements::new(octets)).expect("a name");
            assert_eq!(name.as_deref(), expected);
        }
        check(b"", None);
        let organization = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x0a\x0c\x01O";
        check(organization, Some("O"));
        let wide = b"\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x1e\x04\x00\xfc\x20\xac";
        check(&[&wide[..], organization].concat(), Some("ü€"));
    }

    proptest! {
        #[test]
        fn no_octets_panic(changes in vec((0..460_usize, any::<u8>()), 1..5)) {
            let mut octets = example::octets();
            for (at, octet) in changes {
                octets[at] = octet;
            }
            let _ = Certificate::parse(&octets);
        }
    }
}
