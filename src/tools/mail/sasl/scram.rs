//! SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677), with channel binding and without.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Error;
use super::secret::Secret;

/// RFC 5802 section 5.1 and RFC 7677 section 4: fewer make the password easy to guess for whoever
/// pretends to be the server.
pub(super) const ITERATIONS_MIN: u32 = 4096;
/// About a second of work; a server must not keep us busy for longer.
pub(super) const ITERATIONS_MAX: u32 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

/// Before the server's first message.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) hash: Hash,
    pub(super) user: &'a str,
    pub(super) authorization_identity: Option<&'a str>,
    pub(super) password: &'a Secret,
    pub(super) nonce: &'a str,
    pub(super) channel_binding: ChannelBinding<'a>,
}

/// The flags of RFC 5802 section 6.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChannelBinding<'a> {
    /// `p`: a -PLUS, bound to tls-server-end-point with these octets.
    Used(&'a [u8]),
    /// `y`: we could, and the server does not offer it. A server that does refuses then, since
    /// someone has taken its offer away.
    NotOffered,
    /// `n`: we cannot.
    Unsupported,
}

/// What the server must send at the end, to prove that it knows the password.
#[derive(Debug)]
pub(super) struct ServerSignature(Secret);

/// Why the server does not accept, RFC 5802 section 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot decode what it was sent")]
    InvalidEncoding,
    #[error("does not support an extension that was used")]
    ExtensionsNotSupported,
    #[error("does not accept the password")]
    InvalidProof,
    #[error("has another channel binding: someone may be in between")]
    ChannelBindingsDontMatch,
    #[error(
        "supports channel binding, but its offer of it did not arrive: someone may be in between"
    )]
    ServerDoesSupportChannelBinding,
    #[error("does not support channel binding")]
    ChannelBindingNotSupported,
    #[error("does not support the channel binding tls-server-end-point")]
    UnsupportedChannelBindingType,
    #[error("does not know this user")]
    UnknownUser,
    #[error("cannot decode the user name")]
    InvalidUsernameEncoding,
    #[error("has no resources left")]
    NoResources,
    #[error("does not accept, for a reason without a name")]
    Other,
}

/// gs2-header, RFC 5802 section 7.
pub(super) fn gs2_header(flag: &str, authorization_identity: Option<&str>) -> String {
    match authorization_identity {
        Some(identity) => format!("{flag},a={},", saslname(identity)),
        None => format!("{flag},,"),
    }
}

impl Client<'_> {
    /// client-first-message.
    pub(super) fn emit_first(&self) -> Result<Secret, Error> {
        if !is_nonce(self.nonce) {
            return Err(Error::Nonce);
        }
        Ok(Secret::new(self.gs2_header() + &self.first_bare()))
    }

    /// client-final-message, for the server's first.
    pub(super) fn answer(self, challenge: &[u8]) -> Result<(Secret, ServerSignature), Error> {
        let message = str::from_utf8(challenge).map_err(|_| Error::Malformed)?;
        let server_first = ServerFirst::parse(message)?;
        let added = server_first.nonce.strip_prefix(self.nonce);
        if added.is_none_or(str::is_empty) {
            return Err(Error::ServerNonce);
        }
        let cbind_input = [self.gs2_header().as_bytes(), self.cbind_data()].concat();
        let cbind_input = STANDARD.encode(cbind_input);
        let without_proof = format!("c={cbind_input},r={}", server_first.nonce);
        let auth_message = format!("{},{message},{without_proof}", self.first_bare());

        // RFC 5802 section 3, whose names these are.
        let salted_password = self.hash.salted_password(self.password, &server_first);
        let client_key = self.hash.hmac(&salted_password, "Client Key");
        let stored_key = self.hash.digest(&client_key);
        let client_signature = self.hash.hmac(&stored_key, &auth_message);
        let server_key = self.hash.hmac(&salted_password, "Server Key");
        let server_signature = self.hash.hmac(&server_key, &auth_message);
        let pairs = client_key.octets().iter().zip(client_signature.octets());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();

        let response = format!("{without_proof},p={}", STANDARD.encode(proof));
        Ok((Secret::new(response), ServerSignature(server_signature)))
    }

    fn gs2_header(&self) -> String {
        let flag = match self.channel_binding {
            ChannelBinding::Used(_) => "p=tls-server-end-point",
            ChannelBinding::NotOffered => "y",
            ChannelBinding::Unsupported => "n",
        };
        gs2_header(flag, self.authorization_identity)
    }

    fn cbind_data(&self) -> &[u8] {
        match self.channel_binding {
            ChannelBinding::Used(octets) => octets,
            ChannelBinding::NotOffered | ChannelBinding::Unsupported => b"",
        }
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", saslname(self.user), self.nonce)
    }
}

impl ServerSignature {
    /// Checks the server's final message.
    pub(super) fn verify(&self, message: &[u8]) -> Result<(), Error> {
        let message = str::from_utf8(message).map_err(|_| Error::Malformed)?;
        check_server_error(message)?;
        // Extensions may follow.
        let verifier = message.split(',').next();
        let verifier = verifier.and_then(|first| first.strip_prefix("v="));
        let signature = STANDARD.decode(verifier.ok_or(Error::Malformed)?);
        let signature = signature.map_err(|_| Error::Malformed)?;
        match bool::from(signature.ct_eq(self.0.octets())) {
            true => Ok(()),
            false => Err(Error::ServerSignature),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst<'_> {
    fn parse(message: &str) -> Result<ServerFirst<'_>, Error> {
        check_server_error(message)?;
        if message.starts_with("m=") {
            return Err(Error::MandatoryExtension);
        }
        // Their order is fixed; extensions may follow.
        let mut attributes = message.split(',');
        let mut value = |name| {
            let attribute = attributes.next().ok_or(Error::Malformed)?;
            attribute.strip_prefix(name).ok_or(Error::Malformed)
        };
        let (nonce, salt, iterations) = (value("r=")?, value("s=")?, value("i=")?);
        let salt = STANDARD.decode(salt).map_err(|_| Error::Malformed)?;
        // posit-number, which has no sign and no leading zeros.
        let is_number = iterations.bytes().all(|octet| octet.is_ascii_digit());
        if salt.is_empty() || !is_nonce(nonce) || !is_number || iterations.starts_with('0') {
            return Err(Error::Malformed);
        }
        let iterations = iterations.parse().map_err(|_| Error::Malformed)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(Error::Iterations(iterations));
        }
        Ok(ServerFirst {
            nonce,
            salt,
            iterations,
        })
    }
}

impl Hash {
    fn salted_password(self, password: &Secret, server_first: &ServerFirst<'_>) -> Secret {
        let ServerFirst {
            salt, iterations, ..
        } = server_first;
        let password = password.octets();
        match self {
            Hash::Sha1 => {
                let mut key = vec![0; 20];
                pbkdf2_hmac::<Sha1>(password, salt, *iterations, &mut key);
                Secret::new(key)
            }
            Hash::Sha256 => {
                let mut key = vec![0; 32];
                pbkdf2_hmac::<Sha256>(password, salt, *iterations, &mut key);
                Secret::new(key)
            }
        }
    }

    fn hmac(self, key: &Secret, message: &str) -> Secret {
        fn with<M: Mac + KeyInit>(key: &[u8], message: &str) -> Secret {
            let mut mac =
                <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.update(message.as_bytes());
            Secret::new(&*mac.finalize().into_bytes())
        }
        match self {
            Hash::Sha1 => with::<Hmac<Sha1>>(key.octets(), message),
            Hash::Sha256 => with::<Hmac<Sha256>>(key.octets(), message),
        }
    }

    fn digest(self, key: &Secret) -> Secret {
        match self {
            Hash::Sha1 => Secret::new(&*Sha1::digest(key.octets())),
            Hash::Sha256 => Secret::new(&*Sha256::digest(key.octets())),
        }
    }
}

/// RFC 5802 section 5.1.
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn is_nonce(text: &str) -> bool {
    let is_printable = |octet: u8| octet.is_ascii_graphic() && octet != b',';
    !text.is_empty() && text.bytes().all(is_printable)
}

fn check_server_error(message: &str) -> Result<(), Error> {
    let first = message.split(',').next();
    let Some(value) = first.and_then(|first| first.strip_prefix("e=")) else {
        return Ok(());
    };
    Err(Error::Server(match value {
        "invalid-encoding" => ServerError::InvalidEncoding,
        "extensions-not-supported" => ServerError::ExtensionsNotSupported,
        "invalid-proof" => ServerError::InvalidProof,
        "channel-bindings-dont-match" => ServerError::ChannelBindingsDontMatch,
        "server-does-support-channel-binding" => ServerError::ServerDoesSupportChannelBinding,
        "channel-binding-not-supported" => ServerError::ChannelBindingNotSupported,
        "unsupported-channel-binding-type" => ServerError::UnsupportedChannelBindingType,
        "unknown-user" => ServerError::UnknownUser,
        "invalid-username-encoding" => ServerError::InvalidUsernameEncoding,
        "no-resources" => ServerError::NoResources,
        // other-error, and what may be added one day.
        _ => ServerError::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client<'a>(password: &'a Secret, nonce: &'a str) -> Client<'a> {
        Client {
            hash: Hash::Sha1,
            user: "user",
            authorization_identity: None,
            password,
            nonce,
            channel_binding: ChannelBinding::Unsupported,
        }
    }

    #[test]
    fn the_first_message_of_a_server() {
        #[track_caller]
        fn check(message: &str, expected: Result<(&str, &[u8], u32), Error>) {
            let expected = expected.map(|(nonce, salt, iterations)| ServerFirst {
                nonce,
                salt: salt.to_vec(),
                iterations,
            });
            assert_eq!(ServerFirst::parse(message), expected, "{message}");
        }
        check("r=ab+,s=AQI=,i=4096", Ok(("ab+", &[1, 2], 4096)));
        check(
            "r=a=b,s=AQI=,i=1000000,x=y,z",
            Ok(("a=b", &[1, 2], 1_000_000)),
        );
        check("r=a,s=AQI=,i=4095", Err(Error::Iterations(4095)));
        check("r=a,s=AQI=,i=1", Err(Error::Iterations(1)));
        check("r=a,s=AQI=,i=1000001", Err(Error::Iterations(1_000_001)));
        check("r=a,s=AQI=,i=4294967295", Err(Error::Iterations(u32::MAX)));
        check("m=x,r=a,s=AQI=,i=4096", Err(Error::MandatoryExtension));
        check(
            "e=unknown-user",
            Err(Error::Server(ServerError::UnknownUser)),
        );
        for malformed in [
            "",
            "r=a,s=AQI=",
            "s=AQI=,r=a,i=4096",
            "r=a,s=AQI,i=4096",
            "r=a,s=,i=4096",
            "r=,s=AQI=,i=4096",
            "r=a b,s=AQI=,i=4096",
            "r=\u{e4},s=AQI=,i=4096",
            "r=a,s=AQI=,i=",
            "r=a,s=AQI=,i=0",
            "r=a,s=AQI=,i=04096",
            "r=a,s=AQI=,i=+4096",
            "r=a,s=AQI=,i=-1",
            "r=a,s=AQI=,i=4294967296",
            "r=a,s=AQI=, i=4096",
        ] {
            check(malformed, Err(Error::Malformed));
        }
    }

    #[test]
    fn nonces() {
        let password = Secret::new("pencil");
        for nonce in ["", "a,b", "a b", "\u{e4}"] {
            assert_eq!(
                client(&password, nonce).emit_first().err(),
                Some(Error::Nonce),
                "{nonce}"
            );
        }
        // Ours alone, shortened, another one, ours at the end.
        for server_nonce in ["abc", "ab", "abC9", "9abc"] {
            let message = format!("r={server_nonce},s=AQI=,i=4096");
            let answer = client(&password, "abc").answer(message.as_bytes());
            assert_eq!(answer.err(), Some(Error::ServerNonce), "{server_nonce}");
        }
    }

    #[test]
    fn the_final_message_of_a_server() {
        #[track_caller]
        fn check(message: &[u8], expected: Result<(), Error>) {
            let signature = ServerSignature(Secret::new([1, 2, 3, 4]));
            assert_eq!(signature.verify(message), expected);
        }
        check(b"v=AQIDBA==", Ok(()));
        check(b"v=AQIDBA==,x=y", Ok(()));
        check(b"v=AQIDBQ==", Err(Error::ServerSignature));
        check(b"v=AQID", Err(Error::ServerSignature));
        check(b"v=", Err(Error::ServerSignature));
        for malformed in [&b""[..], b"v=AQIDBA", b"x=y,v=AQIDBA==", b"OK", b"v=\xff"] {
            check(malformed, Err(Error::Malformed));
        }
    }

    #[test]
    fn refusals_in_words() {
        #[track_caller]
        fn check(value: &str, words: &str) {
            let error = check_server_error(&format!("e={value},x=y")).expect_err(words);
            assert_eq!(error.to_string(), format!("the server {words}"));
        }
        check("invalid-proof", "does not accept the password");
        check("unknown-user", "does not know this user");
        check(
            "channel-bindings-dont-match",
            "has another channel binding: someone may be in between",
        );
        check(
            "unsupported-channel-binding-type",
            "does not support the channel binding tls-server-end-point",
        );
        check("sunspots", "does not accept, for a reason without a name");
        check("", "does not accept, for a reason without a name");
    }
}
