//! TLS as mail wants it: from the first octet or in the middle of a dialogue (RFC 3207, RFC 8314),
//! with what was agreed on, and with reasons where it was not.

use std::net::SocketAddr;
use std::time::Instant;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{SslRef, SslVersion};
use openssl::x509::X509Ref;

use super::files::Identity;
use super::handshake::{Broken, Offer, shake_hands};
use super::pin::Pin;
use super::refusal::Refusal;
use super::trust::{Scrutiny, Trust};
use super::{Stream, is_record, reason};
use crate::cancel::{Cancel, Cancelled};
use crate::clock;
use crate::net;
use crate::net::tcp::{self, Connection};
use crate::wire::certificate::{self, Certificate};

const SECONDS_A_DAY: i64 = 86_400;
/// As much of a greeting as fits into a message.
const GREETING_CHARACTERS_MAX: usize = 80;

#[derive(Clone)]
pub(crate) struct Options {
    /// Told to the server (SNI), and looked for in its certificate.
    pub(crate) host: String,
    pub(crate) trust: Trust,
    /// Beside all else that is asked of the certificate, one of them must be its; none for any.
    pub(crate) pins: Vec<Pin>,
    /// For servers that ask who is there.
    pub(crate) identity: Option<Identity>,
}

/// What was agreed on, and with whom.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) version: &'static str,
    /// By the name that IANA has for it.
    pub(crate) suite: &'static str,
    /// What the server has shown, in DER; its own certificate comes first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The server's own, if it can be read.
    pub(crate) leaf: Option<Certificate>,
    /// Why it would be refused, by whoever is strict.
    pub(crate) doubt: Option<Box<Refusal>>,
    /// Negative when it has expired.
    pub(crate) days_left: Option<i64>,
    /// tls-server-end-point of RFC 5929 section 4.
    pub(crate) channel_binding: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Net(#[from] net::Error),
    #[error("no TLS with {host}: {}", in_clear(.line))]
    PlainText { host: String, line: String },
    #[error("no TLS with {host}: {why}")]
    Handshake { host: String, why: String },
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error(
        "the certificate of {host} is not the pinned one: its SHA-256 is {certificate}, and its \
         public key's is {public_key}"
    )]
    NotPinned {
        host: String,
        certificate: Pin,
        public_key: Pin,
    },
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
}

fn in_clear(line: &str) -> String {
    match line.starts_with("220") {
        true => {
            format!(
                "that port speaks plain text first (SMTP greeting '{line}'); take --tls starttls"
            )
        }
        false => format!("that port speaks plain text ('{line}')"),
    }
}

/// On a connection that was in clear so far, or new. Of what has come in clear nothing may be
/// left.
pub(crate) fn begin(
    mut connection: Connection,
    options: &Options,
    deadline: Instant,
) -> Result<(Stream, Session), Error> {
    connection.hurry()?;
    let offer = Offer {
        host: &options.host,
        trust: &options.trust,
        identity: options.identity.as_ref(),
    };
    let shaken = shake_hands(connection, &offer, deadline);
    let (stream, doubt) = shaken.map_err(|broken| explain(broken, &options.host))?;
    let session = Session::of(stream.ssl(), doubt, options)?;
    Ok((Stream::Tls(Box::new(stream)), session))
}

/// Whether a server that says nothing in clear waits for TLS.
pub(crate) fn is_spoken_by(
    peer: SocketAddr,
    host: &str,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<bool, Cancelled> {
    let connection = match tcp::connect(peer, deadline, cancel) {
        Ok(connection) => connection,
        Err(net::Error::Cancelled) => return Err(Cancelled),
        Err(_) => return Ok(false),
    };
    let anybody = Trust {
        scrutiny: Scrutiny::None,
        ..Trust::default()
    };
    let offer = Offer {
        host,
        trust: &anybody,
        identity: None,
    };
    match shake_hands(connection, &offer, deadline) {
        Ok(_) => Ok(true),
        Err(Broken {
            failure: Some(net::Error::Cancelled),
            ..
        }) => Err(Cancelled),
        // An alert is TLS, too.
        Err(Broken { opening, .. }) => Ok(!opening.is_empty() && is_record(&opening)),
    }
}

impl Session {
    fn of(ssl: &SslRef, doubt: Option<Box<Refusal>>, options: &Options) -> Result<Session, Error> {
        let unreadable = |error: ErrorStack| Error::Handshake {
            host: options.host.clone(),
            why: reason(&error.to_string()),
        };
        let own = ssl.peer_certificate().ok_or_else(|| Error::Handshake {
            host: options.host.clone(),
            why: "the server has no certificate".to_owned(),
        })?;
        let shown = ssl.peer_cert_chain().into_iter().flatten();
        let chain: Result<Vec<_>, _> = shown.map(X509Ref::to_der).collect();
        let chain = chain.map_err(unreadable)?;
        let own_octets = chain.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = Certificate::parse(own_octets);
        if !options.pins.is_empty() {
            let key = &leaf.as_ref().map_err(|error| *error)?.public_key_info;
            if !options.pins.iter().any(|pin| pin.matches(own_octets, key)) {
                return Err(Error::NotPinned {
                    host: options.host.clone(),
                    certificate: Pin::of(own_octets),
                    public_key: Pin::of(key),
                });
            }
        }
        let leaf = leaf.ok();
        let now = clock::wall().timestamp();
        let days_left = |leaf: &Certificate| {
            let seconds_left = leaf.not_after.saturating_sub(now);
            seconds_left.div_euclid(SECONDS_A_DAY)
        };
        let suite = ssl.current_cipher();
        Ok(Session {
            version: match ssl.version2() {
                Some(SslVersion::TLS1_3) => "TLS 1.3",
                Some(SslVersion::TLS1_2) => "TLS 1.2",
                _ => ssl.version_str(),
            },
            suite: suite.map_or("unknown", |suite| {
                suite.standard_name().unwrap_or_else(|| suite.name())
            }),
            chain,
            days_left: leaf.as_ref().map(days_left),
            leaf,
            doubt,
            channel_binding: server_end_point(&own),
        })
    }
}

/// RFC 5929 section 4.1: by the hash function of its signature, or a better one.
fn server_end_point(own: &X509Ref) -> Option<Vec<u8>> {
    let signature = own.signature_algorithm().object().nid();
    let digest = match signature.signature_algorithms()?.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        digest => MessageDigest::from_nid(digest)?,
    };
    Some(own.digest(digest).ok()?.to_vec())
}

fn explain(broken: Broken, host: &str) -> Error {
    let host = host.to_owned();
    let Broken {
        failure,
        refusal,
        why,
        opening,
    } = broken;
    if let Some(error @ net::Error::Cancelled) = failure {
        return error.into();
    }
    if !is_record(&opening) {
        let line = String::from_utf8_lossy(&opening);
        let line = line.lines().next().unwrap_or_default();
        let line = line.chars().take(GREETING_CHARACTERS_MAX).collect();
        return Error::PlainText { host, line };
    }
    match (failure, refusal) {
        (Some(error), _) => error.into(),
        (None, Some(refusal)) => Error::Refused(refusal),
        (None, None) => Error::Handshake { host, why },
    }
}

#[cfg(test)]
mod servers;
#[cfg(test)]
mod tests;
