//! The responses of the mechanisms that have only one.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::Error;
use super::scram::gs2_header;
use super::secret::Secret;

/// RFC 4616 section 2.
pub(super) fn plain(user: &str, authorization_identity: Option<&str>, password: &Secret) -> Secret {
    let identity = authorization_identity.unwrap_or_default().as_bytes();
    Secret::new([identity, b"\0", user.as_bytes(), b"\0", password.octets()].concat())
}

/// RFC 2195 section 2.
pub(super) fn cram_md5(user: &str, password: &Secret, challenge: &[u8]) -> Result<Secret, Error> {
    // What answers an empty challenge once, answers it every time.
    if challenge.is_empty() {
        return Err(Error::Malformed);
    }
    let mut mac =
        Hmac::<Md5>::new_from_slice(password.octets()).expect("HMAC takes a key of any length");
    mac.update(challenge);
    let digest = mac.finalize().into_bytes();
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Secret::new(format!("{user} {digest}")))
}

/// RFC 7628 section 3.1. Servers look for the user in the authorization identity, as in the
/// examples of section 4.
pub(super) fn oauthbearer(user: &str, identity: Option<&str>, token: &Secret) -> Secret {
    let identity = identity.or(Some(user)).filter(|name| !name.is_empty());
    let header = gs2_header("n", identity);
    bearer(&header, token)
}

/// As Google and Microsoft describe it; there is no RFC.
pub(super) fn xoauth2(user: &str, token: &Secret) -> Secret {
    bearer(&format!("user={user}"), token)
}

fn bearer(front: &str, token: &Secret) -> Secret {
    let parts = [
        front.as_bytes(),
        b"\x01auth=Bearer ",
        token.octets(),
        b"\x01\x01",
    ];
    Secret::new(parts.concat())
}
