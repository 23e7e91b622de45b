//! The handshake of a client.
//!
//! It is OpenSSL's own, since native-tls shows neither the chain of a server nor what it refuses,
//! and reads all of the system's authorities for each connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVersion};

use super::files::Identity;
use super::refusal::Refusal;
use super::trust::{SECURITY_LEVEL, Trust};
use super::{Connection, Notes, Timed, lock, reason};
use crate::net::Error;

/// What a client brings along.
pub(super) struct Offer<'a> {
    /// Told to the server (SNI), and looked for in its certificate.
    pub(super) host: &'a str,
    pub(super) trust: &'a Trust,
    pub(super) identity: Option<&'a Identity>,
}

/// A handshake that failed.
pub(super) struct Broken {
    /// Of the connection.
    pub(super) failure: Option<Error>,
    /// Of the certificate.
    pub(super) refusal: Option<Box<Refusal>>,
    pub(super) why: String,
    /// What came from the peer.
    pub(super) opening: Vec<u8>,
}

/// With what there is to say against the certificate, where that is no reason to end here.
pub(super) fn shake_hands(
    connection: Connection,
    offer: &Offer,
    deadline: Instant,
) -> Result<(SslStream<Timed>, Option<Box<Refusal>>), Broken> {
    let (timed, notes) = Timed::new(connection, deadline);
    let prepared = offer.prepare(&notes).map_err(HandshakeError::from);
    let why = match prepared.and_then(|ssl| ssl.connect(timed)) {
        Ok(mut stream) => {
            stream.get_mut().is_opening = false;
            return Ok((stream, lock(&notes).refusal.take()));
        }
        Err(HandshakeError::WouldBlock(_)) => "the handshake broke off".to_owned(),
        Err(HandshakeError::SetupFailure(error)) => reason(&error.to_string()),
        Err(HandshakeError::Failure(stopped)) => match reason(&stopped.error().to_string()) {
            end if end == "unexpected EOF" => "the server closed the connection".to_owned(),
            why => why,
        },
    };
    let Notes {
        failure,
        refusal,
        opening,
    } = std::mem::take(&mut *lock(&notes));
    Err(Broken {
        failure,
        refusal,
        why,
        opening,
    })
}

impl Offer<'_> {
    fn prepare(&self, notes: &Arc<Mutex<Notes>>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(context()?)?;
        // RFC 6066 section 3: without the dot at the end, and not for addresses.
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        if host.parse::<IpAddr>().is_err() {
            ssl.set_hostname(host)?;
        }
        if let Some(identity) = self.identity {
            ssl.set_certificate(&identity.certificate)?;
            ssl.set_private_key(&identity.key)?;
            for issuer in &identity.issuers {
                ssl.add_chain_cert(issuer.clone())?;
            }
        }
        self.trust.ask(&mut ssl, host, notes)?;
        Ok(ssl)
    }
}

/// What all handshakes have in common; it takes about as long to make as one of them.
fn context() -> Result<&'static SslContext, ErrorStack> {
    static CONTEXT: OnceLock<SslContext> = OnceLock::new();
    if let Some(context) = CONTEXT.get() {
        return Ok(context);
    }
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    // RFC 8996 has done away with what is older.
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_security_level(SECURITY_LEVEL.cast_unsigned());
    // RFC 9325 section 3.5; whom it shows then would have to be judged again.
    context.set_options(SslOptions::NO_RENEGOTIATION);
    context.set_read_ahead(true);
    Ok(CONTEXT.get_or_init(|| context.build()))
}
