//! SASL (RFC 4422) as the client of an SMTP server speaks it, RFC 4954.
//!
//! Everything that a client sends here is a [`secret::Secret`], since base64 hides nothing.
//!
//! Left out: SASLprep (RFC 4013) but for its control characters, which are refused. All other text
//! goes out as the UTF-8 that it came as, without NFKC, whose tables are large. What people type
//! is nearly always in that form already; where it is not, SCRAM finds the password wrong. Left
//! out, too: the host and port of OAUTHBEARER, which bearer tokens do not need, and channel
//! bindings other than tls-server-end-point.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use mechanism::Mechanism;
use scram::ServerError;

pub(crate) mod exchange;
pub(crate) mod mechanism;
mod messages;
pub(crate) mod scram;
pub(crate) mod secret;
#[cfg(test)]
mod tests;

/// RFC 4954 section 4: the longest line of an exchange.
const CHALLENGE_OCTETS_MAX: usize = 12_288;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} cannot carry this user name")]
    UserName(Mechanism),
    #[error("{0} cannot carry this authorization identity")]
    AuthorizationIdentity(Mechanism),
    #[error("a password is UTF-8 of at least one character, without control characters")]
    Password,
    #[error("a bearer token is printable ASCII without spaces")]
    Token,
    #[error("{0} needs the channel binding of a TLS connection")]
    ChannelBinding(Mechanism),
    #[error("a nonce is printable ASCII without commas")]
    Nonce,
    #[error("the server's challenge has more than {CHALLENGE_OCTETS_MAX} octets")]
    ChallengeLength,
    #[error("the server's challenge is not base64")]
    Base64,
    #[error("the server's challenge does not have the form that the mechanism prescribes")]
    Malformed,
    #[error("the server sends a challenge where the mechanism has none")]
    UnexpectedChallenge,
    #[error("the server's nonce does not continue ours")]
    ServerNonce,
    #[error(
        "the server wants {0} iterations, not {min} to {max}",
        min = scram::ITERATIONS_MIN,
        max = scram::ITERATIONS_MAX
    )]
    Iterations(u32),
    #[error("the server wants an extension of SCRAM, and there is none")]
    MandatoryExtension,
    #[error("the server {0}")]
    Server(ServerError),
    #[error("the server's signature is wrong: it does not know the password")]
    ServerSignature,
    #[error("the server accepts without the signature that proves it knows the password")]
    NoServerSignature,
    #[error("the server accepts before the exchange is over")]
    Unfinished,
}

/// The octets of a challenge, from the text of a 334.
pub(crate) fn decode_challenge(text: &str) -> Result<Vec<u8>, Error> {
    if text.len() > CHALLENGE_OCTETS_MAX {
        return Err(Error::ChallengeLength);
    }
    // A server whose challenge is empty may send the space before it, or not.
    STANDARD.decode(text.trim()).map_err(|_| Error::Base64)
}
