//! TLS on a connection that ends with the job or at a deadline.

pub(crate) mod files;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use native_tls::{Certificate, HandshakeError, TlsConnector, TlsStream};

use super::Error;
use super::tcp::Connection;

/// Whom to believe.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// Beside those of the system.
    pub(crate) authorities: Vec<Certificate>,
    /// Anybody who answers.
    pub(crate) insecure: bool,
}

pub(crate) enum Stream {
    Plain(Connection),
    Tls(Box<TlsStream<Timed>>),
}

impl Stream {
    /// What has come, at least one octet; none at the peer's end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        match self {
            Stream::Plain(connection) => connection.read(buffer, deadline),
            Stream::Tls(stream) => {
                stream.get_mut().deadline = deadline;
                let read = stream.read(buffer);
                read.map_err(|error| stream.get_mut().explain("cannot receive", error))
            }
        }
    }

    pub(crate) fn write_all(&mut self, octets: &[u8], deadline: Instant) -> Result<(), Error> {
        match self {
            Stream::Plain(connection) => connection.write_all(octets, deadline),
            Stream::Tls(stream) => {
                stream.get_mut().deadline = deadline;
                let written = stream.write_all(octets);
                written.map_err(|error| stream.get_mut().explain("cannot send", error))
            }
        }
    }
}

/// Shakes hands as a client with the server that calls itself `host`.
pub(crate) fn connect(
    connection: Connection,
    host: &str,
    trust: &Trust,
    deadline: Instant,
) -> Result<Stream, Error> {
    let failed = |why: String| Error::Tls {
        host: host.to_owned(),
        why,
    };
    let mut builder = TlsConnector::builder();
    builder.danger_accept_invalid_certs(trust.insecure);
    builder.danger_accept_invalid_hostnames(trust.insecure);
    for authority in &trust.authorities {
        builder.add_root_certificate(authority.clone());
    }
    let connector = builder.build().map_err(|error| failed(error.to_string()))?;
    let failure = Failure::default();
    let timed = Timed {
        connection,
        deadline,
        failure: Arc::clone(&failure),
    };
    let why = match connector.connect(host, timed) {
        Ok(stream) => return Ok(Stream::Tls(Box::new(stream))),
        Err(HandshakeError::WouldBlock(_)) => "the handshake broke off".to_owned(),
        Err(HandshakeError::Failure(error)) => reason(&error.to_string()),
    };
    Err(take(&failure).unwrap_or_else(|| failed(why)))
}

/// OpenSSL's errors are `error:CODE:library:function:reason:file:line:`, and what it made of the
/// certificate in brackets.
pub(crate) fn reason(text: &str) -> String {
    if !text.starts_with("error:") {
        return text.to_owned();
    }
    let reason = text.split(':').nth(4).unwrap_or(text);
    match text.rsplit_once('(') {
        Some((_, verdict)) => format!("{reason} ({verdict}"),
        None => reason.to_owned(),
    }
}

/// Waits like a blocking socket, until its deadline.
pub(crate) struct Timed {
    connection: Connection,
    deadline: Instant,
    failure: Failure,
}

/// Why a connection failed, which an io::Error has no room for.
type Failure = Arc<Mutex<Option<Error>>>;

fn take(failure: &Failure) -> Option<Error> {
    failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

impl Timed {
    fn keep<T>(&mut self, result: Result<T, Error>) -> io::Result<T> {
        result.map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other(text)
        })
    }

    fn explain(&mut self, what: &str, error: io::Error) -> Error {
        take(&self.failure).unwrap_or_else(|| Error::System {
            what: what.to_owned(),
            error,
        })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.connection.read(buffer, self.deadline);
        self.keep(read)
    }
}

impl Write for Timed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.connection.write_all(octets, self.deadline);
        self.keep(written).map(|()| octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
