//! What a client answers until the server has accepted.

use std::mem;

use super::mechanism::Mechanism;
use super::secret::Secret;
use super::{CHALLENGE_OCTETS_MAX, Error, decode_challenge, messages, scram};

/// One authentication. No mechanism here has more than two challenges, so it cannot be kept
/// going; a third is an error, as is every one after an error.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    LoginUser {
        user: &'a str,
        password: &'a Secret,
    },
    LoginPassword {
        password: &'a Secret,
    },
    CramMd5 {
        user: &'a str,
        password: &'a Secret,
    },
    ScramFirst(scram::Client<'a>),
    ScramFinal(scram::ServerSignature),
    /// Over, but a server that refuses says why in a challenge, which gets this response.
    Bearer(&'static [u8]),
    Complete,
    Failed,
}

impl<'a> Exchange<'a> {
    /// With the initial response, where the mechanism has one.
    ///
    /// `nonce` is for SCRAM, fresh and unforeseeable. `channel_binding` is the hash of the
    /// server's certificate, RFC 5929 section 4.1. To have one and use a SCRAM without -PLUS tells
    /// the server that it has not offered -PLUS: where that is not true, it takes us for victims
    /// of a downgrade, and refuses (RFC 5802 section 6).
    pub(crate) fn start(
        mechanism: Mechanism,
        user: &'a str,
        authorization_identity: Option<&'a str>,
        secret: &'a Secret,
        nonce: &'a str,
        channel_binding: Option<&'a [u8]>,
    ) -> Result<(Exchange<'a>, Option<Secret>), Error> {
        check(mechanism, user, authorization_identity, secret)?;
        let scram = |hash| {
            let client = scram::Client {
                hash,
                user,
                authorization_identity,
                password: secret,
                nonce,
                channel_binding: bind(mechanism, channel_binding)?,
            };
            let response = client.emit_first()?;
            Ok((State::ScramFirst(client), Some(response)))
        };
        let password = secret;
        let (state, response) = match mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => scram(scram::Hash::Sha256)?,
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => scram(scram::Hash::Sha1)?,
            Mechanism::CramMd5 => (State::CramMd5 { user, password }, None),
            Mechanism::Login => (State::LoginUser { user, password }, None),
            Mechanism::Plain => {
                let response = messages::plain(user, authorization_identity, password);
                (State::Complete, Some(response))
            }
            // RFC 7628 section 3.2.3.
            Mechanism::OauthBearer => {
                let response = messages::oauthbearer(user, authorization_identity, secret);
                (State::Bearer(b"\x01"), Some(response))
            }
            Mechanism::Xoauth2 => {
                let response = messages::xoauth2(user, secret);
                (State::Bearer(b""), Some(response))
            }
        };
        Ok((Exchange { state }, response))
    }

    /// The response to the challenge of a 334.
    ///
    /// After an error there is nothing to say but `*`, RFC 4954 section 4.
    pub(crate) fn step(&mut self, challenge: &[u8]) -> Result<Secret, Error> {
        let state = mem::replace(&mut self.state, State::Failed);
        if challenge.len() > CHALLENGE_OCTETS_MAX {
            return Err(Error::ChallengeLength);
        }
        let (state, response) = match state {
            // The words of the challenges differ among servers; their order does not.
            State::LoginUser { user, password } => {
                (State::LoginPassword { password }, Secret::new(user))
            }
            State::LoginPassword { password } => (State::Complete, Secret::new(password.octets())),
            State::CramMd5 { user, password } => {
                let response = messages::cram_md5(user, password, challenge)?;
                (State::Complete, response)
            }
            State::ScramFirst(client) => {
                let (response, signature) = client.answer(challenge)?;
                (State::ScramFinal(signature), response)
            }
            State::ScramFinal(signature) => {
                signature.verify(challenge)?;
                (State::Complete, Secret::new(""))
            }
            State::Bearer(response) => (State::Failed, Secret::new(response)),
            State::Complete | State::Failed => return Err(Error::UnexpectedChallenge),
        };
        self.state = state;
        Ok(response)
    }

    /// The server has accepted, with the text of its 235: whether it had the right to.
    ///
    /// RFC 4954 section 4 has the signature of SCRAM in one more 334, but some servers put it
    /// into the text.
    pub(crate) fn finish(self, text: &str) -> Result<(), Error> {
        match self.state {
            State::Complete | State::Bearer(_) => Ok(()),
            State::ScramFinal(signature) => {
                let mut words = text.split_whitespace();
                let message = words.find_map(|word| {
                    let message = decode_challenge(word).ok()?;
                    message.starts_with(b"v=").then_some(message)
                });
                signature.verify(&message.ok_or(Error::NoServerSignature)?)
            }
            State::LoginUser { .. }
            | State::LoginPassword { .. }
            | State::CramMd5 { .. }
            | State::ScramFirst(_)
            | State::Failed => Err(Error::Unfinished),
        }
    }
}

fn bind(mechanism: Mechanism, octets: Option<&[u8]>) -> Result<scram::ChannelBinding<'_>, Error> {
    match (mechanism.is_plus(), octets) {
        (true, Some(octets)) => Ok(scram::ChannelBinding::Used(octets)),
        (true, None) => Err(Error::ChannelBinding(mechanism)),
        (false, Some(_)) => Ok(scram::ChannelBinding::NotOffered),
        (false, None) => Ok(scram::ChannelBinding::Unsupported),
    }
}

fn check(
    mechanism: Mechanism,
    user: &str,
    authorization_identity: Option<&str>,
    secret: &Secret,
) -> Result<(), Error> {
    if !mechanism.carries_user(user) {
        return Err(Error::UserName(mechanism));
    }
    let is_carried = |identity| mechanism.carries_authorization_identity(identity);
    if !authorization_identity.is_none_or(is_carried) {
        return Err(Error::AuthorizationIdentity(mechanism));
    }
    let octets = secret.octets();
    if mechanism.is_token() {
        let is_token = !octets.is_empty() && octets.iter().all(u8::is_ascii_graphic);
        return is_token.then_some(()).ok_or(Error::Token);
    }
    let text = str::from_utf8(octets).map_err(|_| Error::Password)?;
    let is_password = !text.is_empty() && !text.contains(char::is_control);
    is_password.then_some(()).ok_or(Error::Password)
}
