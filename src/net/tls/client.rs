//! TLS as mail wants it: from the first octet or in the middle of a dialogue (RFC 3207, RFC 8314),
//! with what was agreed on, and with reasons where it was not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use native_tls::{Identity, Protocol};

use super::pin::Pin;
use super::refusal::{Refusal, Verdict};
use super::{Broken, Stream, Timed, Trust, shake_hands};
use crate::cancel::{Cancel, Cancelled};
use crate::clock;
use crate::net;
use crate::net::tcp::{self, Connection};
use crate::wire::certificate::{self, Certificate};
use crate::wire::tls_hello::{self, CipherSuite, ServerHello, Version, is_record};

/// For what only makes an error clearer.
const LOOK_TIME: Duration = Duration::from_secs(5);
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
    pub(crate) version: Version,
    pub(crate) suite: CipherSuite,
    /// The server's own certificate, in DER and read.
    pub(crate) leaf_octets: Vec<u8>,
    pub(crate) leaf: Certificate,
    /// Negative when it has expired.
    pub(crate) days_left: i64,
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
    #[error("cannot tell what {host} agreed to: {error}")]
    Hello {
        host: String,
        error: tls_hello::Error,
    },
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

/// TLS from the first octet on.
pub(crate) fn begin(
    connection: Connection,
    options: &Options,
    deadline: Instant,
) -> Result<(Stream, Session), Error> {
    let (peer, cancel) = (connection.peer, connection.cancel.clone());
    let begun = upgrade(connection, options, deadline);
    let Err(Error::Refused(mut refusal)) = begun else {
        return begun;
    };
    let deadline = deadline.min(clock::now() + LOOK_TIME);
    let again = tcp::connect(peer, deadline, &cancel).ok();
    refusal.certificate = again.and_then(|again| look(again, &options.host, deadline));
    Err(Error::Refused(refusal))
}

/// TLS on a connection that was in clear so far. Of what has come in clear nothing may be left.
pub(crate) fn upgrade(
    mut connection: Connection,
    options: &Options,
    deadline: Instant,
) -> Result<(Stream, Session), Error> {
    connection.hurry()?;
    let mut builder = options.trust.builder();
    // RFC 8997: mail does without anything older.
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Some(identity) = &options.identity {
        builder.identity(identity.clone());
    }
    let shaken = shake_hands(connection, &options.host, &builder, deadline);
    let (stream, opening) = shaken.map_err(|broken| explain(broken, &options.host))?;
    let session = Session::of(&stream, &opening, options)?;
    Ok((Stream::Tls(Box::new(stream)), session))
}

/// The certificate of a server that is not believed, on a connection of its own: the library
/// drops what it refuses, and TLS 1.3 shows it to nobody else. Only for people to read.
pub(crate) fn look(connection: Connection, host: &str, deadline: Instant) -> Option<Certificate> {
    let (stream, _) = shake_hands(connection, host, &anybody(), deadline).ok()?;
    Certificate::parse(&leaf_octets(&stream)?).ok()
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
    match shake_hands(connection, host, &anybody(), deadline) {
        Ok(_) => Ok(true),
        Err(Broken {
            failure: Some(net::Error::Cancelled),
            ..
        }) => Err(Cancelled),
        // An alert is TLS, too.
        Err(Broken { opening, .. }) => Ok(!opening.is_empty() && is_record(&opening)),
    }
}

fn anybody() -> native_tls::TlsConnectorBuilder {
    let trust = Trust {
        authorities: Vec::new(),
        insecure: true,
    };
    trust.builder()
}

impl Session {
    fn of(
        stream: &native_tls::TlsStream<Timed>,
        opening: &[u8],
        options: &Options,
    ) -> Result<Session, Error> {
        let host = || options.host.clone();
        let hello = ServerHello::parse(opening)
            .and_then(|hello| hello.ok_or(crate::wire::Error::Truncated.into()))
            .map_err(|error| Error::Hello {
                host: host(),
                error,
            })?;
        let leaf_octets = leaf_octets(stream).ok_or_else(|| Error::Handshake {
            host: host(),
            why: "the server has no certificate".to_owned(),
        })?;
        let leaf = Certificate::parse(&leaf_octets)?;
        let is_pinned = |pin: &Pin| pin.matches(&leaf_octets, &leaf.public_key_info);
        if !options.pins.is_empty() && !options.pins.iter().any(is_pinned) {
            return Err(Error::NotPinned {
                host: host(),
                certificate: Pin::of(&leaf_octets),
                public_key: Pin::of(&leaf.public_key_info),
            });
        }
        let seconds_left = leaf.not_after.saturating_sub(clock::wall().timestamp());
        Ok(Session {
            version: hello.version,
            suite: hello.cipher_suite,
            leaf_octets,
            leaf,
            days_left: seconds_left.div_euclid(SECONDS_A_DAY),
            channel_binding: stream.tls_server_end_point().ok().flatten(),
        })
    }
}

fn leaf_octets(stream: &native_tls::TlsStream<Timed>) -> Option<Vec<u8>> {
    stream.peer_certificate().ok()??.to_der().ok()
}

fn explain(broken: Broken, host: &str) -> Error {
    let host = host.to_owned();
    let Broken {
        failure,
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
    if let Some(error) = failure {
        return error.into();
    }
    match Verdict::of(&why) {
        Some(verdict) => Error::Refused(Box::new(Refusal {
            host,
            verdict,
            certificate: None,
        })),
        None if why == "unexpected EOF" => Error::Handshake {
            host,
            why: "the server closed the connection".to_owned(),
        },
        None => Error::Handshake { host, why },
    }
}

#[cfg(test)]
mod servers;
#[cfg(test)]
mod tests;
