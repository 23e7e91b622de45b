//! What nobody may read: passwords, tokens, and every response made of them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

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
}

/// Not even its length.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
