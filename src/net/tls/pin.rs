//! The certificate or the key that a server is known by.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate, or of its SubjectPublicKeyInfo (RFC 7469 section 2.4), which
/// stays when the certificate is renewed with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is a SHA-256: 64 hexadecimal digits, or 44 characters of base64")]
pub(crate) struct Error;

impl Pin {
    pub(crate) fn of(octets: &[u8]) -> Pin {
        Pin(Sha256::digest(octets).into())
    }

    pub(crate) fn matches(&self, certificate: &[u8], public_key_info: &[u8]) -> bool {
        [certificate, public_key_info].map(Pin::of).contains(self)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// As openssl prints fingerprints, with colons, as others do without, and as curl takes pins.
impl FromStr for Pin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pin, Error> {
        let bare = text.strip_prefix("sha256//").unwrap_or(text);
        let octets = match bare.len() {
            44 => STANDARD.decode(bare).map_err(|_| Error)?,
            _ => from_hex(&bare.replace(':', "")).ok_or(Error)?,
        };
        Ok(Pin(octets.try_into().map_err(|_| Error)?))
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| u8::try_from(char::from(octet).to_digit(16)?).ok();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let octet = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    let octets: Option<Vec<u8>> = pairs.iter().map(octet).collect();
    octets.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2 appendix B.1: the SHA-256 of "abc".
    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const BASE64: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    #[test]
    fn one_pin_in_every_way_to_write_it() {
        let (pairs, _) = HEX.as_bytes().as_chunks::<2>();
        let pairs: Vec<_> = pairs.iter().map(|pair| pair.escape_ascii()).collect();
        let colons: Vec<String> = pairs.iter().map(ToString::to_string).collect();
        let colons = colons.join(":").to_uppercase();
        for text in [HEX, &colons, BASE64, &format!("sha256//{BASE64}")] {
            let pin: Pin = text.parse().expect(text);
            assert!(pin.matches(b"abc", b""), "{text}");
            assert!(pin.matches(b"", b"abc"), "{text}");
            assert!(!pin.matches(b"abd", b"ab"), "{text}");
        }
    }

    #[test]
    fn what_is_no_pin() {
        let short = &HEX[..62];
        let longer = format!("{HEX}00");
        let wrong = HEX.replace('b', "g");
        let no_padding = BASE64.replace('=', "A");
        for text in ["", short, &longer, &wrong, "ü", &no_padding, &BASE64[1..]] {
            assert_eq!(text.parse::<Pin>(), Err(Error), "{text}");
        }
    }
}
