//! What nobody may read: passwords, tokens, and every response made of them.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// RFC 3986 section 2.3: the others are unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Overwritten when dropped; there is no way to print, copy or serialize it by accident.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(octets: impl Into<Vec<u8>>) -> Secret {
        Secret(Zeroizing::new(octets.into()))
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// As it goes over the wire. Base64 of a password is the password.
    pub(crate) fn to_base64(&self) -> Secret {
        Secret::new(STANDARD.encode(&*self.0))
    }

    /// As others may write it: itself, in hexadecimal, for a URL, and in base64 behind any number
    /// of octets, without the characters that its neighbours have a part in.
    pub(crate) fn shapes(&self) -> Vec<Secret> {
        let octets = self.octets();
        // So little of base64 is anywhere.
        if octets.len() < 4 {
            return vec![Secret::new(octets)];
        }
        let mut hex = String::with_capacity(octets.len() * 2);
        for octet in octets {
            // Writing to a String does not fail.
            let _ = write!(hex, "{octet:02x}");
        }
        let url = Zeroizing::new(percent_encode(octets, RESERVED).to_string());
        let form = url.replace("%20", "+");
        let mut shapes = vec![
            octets.to_vec(),
            hex.to_uppercase().into(),
            hex.into(),
            url.to_lowercase().into(),
            url.as_bytes().to_vec(),
            form.to_lowercase().into(),
            form.into(),
        ];
        for before in 0..3 {
            let shifted = Zeroizing::new([&[0; 3][..before], octets].concat());
            let own = (before * 4).div_ceil(3)..shifted.len() * 4 / 3;
            for alphabet in [STANDARD, URL_SAFE] {
                let encoded = Secret::new(alphabet.encode(&*shifted));
                shapes.push(encoded.octets()[own.clone()].to_vec());
            }
        }
        shapes.into_iter().map(Secret::new).collect()
    }
}

/// Not even its length.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
