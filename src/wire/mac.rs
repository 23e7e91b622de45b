//! Message authentication: HMAC-SHA-256 (RFC 2104, RFC 6234), of which half is sent.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// RFC 2104 section 5: half of the hash, and not less than 80 bits.
pub(crate) const MAC_OCTETS: usize = 16;

/// What both sides share.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(octets: &[u8]) -> Key {
        Key(Hmac::new_from_slice(octets).expect("HMAC takes keys of any length"))
    }

    pub(crate) fn sign(&self, octets: &[u8]) -> [u8; MAC_OCTETS] {
        let mac = self.0.clone().chain_update(octets).finalize().into_bytes();
        *mac.first_chunk().expect("SHA-256 gives 32 octets")
    }

    /// In constant time.
    pub(crate) fn verifies(&self, octets: &[u8], mac: &[u8; MAC_OCTETS]) -> bool {
        let hmac = self.0.clone().chain_update(octets);
        hmac.verify_truncated_left(mac).is_ok()
    }
}

/// A key does not belong into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
