//! TLS on a connection that ends with the job or at a deadline.

pub(crate) mod client;
pub(crate) mod files;
pub(crate) mod pin;
pub(crate) mod refusal;
pub(crate) mod roots;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use native_tls::{
    Certificate, HandshakeError, TlsAcceptor, TlsConnector, TlsConnectorBuilder, TlsStream,
};

use super::Error;
use super::tcp::Connection;
use crate::cause;
use crate::clock;
use crate::wire::tls_hello::{HELLO_OCTETS_MAX, is_record};

/// RFC 5321 section 4.5.3.1.5 for a reply's line; other protocols' first lines are shorter.
const LINE_OCTETS_MAX: usize = 512;

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

    /// Nothing follows on the last words, which are sent as far as that takes no waiting, also
    /// when the job is stopped.
    pub(crate) fn close(&mut self, last_words: &[u8]) {
        match self {
            Stream::Plain(connection) => {
                let _ = connection.write_now(last_words);
                connection.finish_sending();
            }
            Stream::Tls(stream) => {
                stream.get_mut().is_closing = true;
                let _ = stream.write_all(last_words);
                let _ = stream.shutdown();
                stream.get_ref().connection.finish_sending();
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
    match shake_hands(connection, host, &trust.builder(), deadline) {
        Ok((stream, _)) => Ok(Stream::Tls(Box::new(stream))),
        Err(Broken { failure, why, .. }) => Err(failure.unwrap_or_else(|| Error::Tls {
            host: host.to_owned(),
            why,
        })),
    }
}

impl Trust {
    fn builder(&self) -> TlsConnectorBuilder {
        let mut builder = TlsConnector::builder();
        builder.danger_accept_invalid_certs(self.insecure);
        builder.danger_accept_invalid_hostnames(self.insecure);
        let system = match self.insecure {
            true => &[],
            false => roots::outside_folders(),
        };
        for authority in system.iter().chain(&self.authorities) {
            builder.add_root_certificate(authority.clone());
        }
        builder
    }
}

/// A handshake that failed.
struct Broken {
    /// Of the connection.
    failure: Option<Error>,
    why: String,
    /// What came from the peer.
    opening: Vec<u8>,
}

/// With the octets that the peer began with.
fn shake_hands(
    connection: Connection,
    host: &str,
    builder: &TlsConnectorBuilder,
    deadline: Instant,
) -> Result<(TlsStream<Timed>, Vec<u8>), Broken> {
    let broken = |why: String| Broken {
        failure: None,
        why,
        opening: Vec::new(),
    };
    let connector = builder.build();
    let connector = connector.map_err(|error| broken(reason(&error.to_string())))?;
    let (timed, notes) = Timed::new(connection, deadline);
    let why = match connector.connect(host, timed) {
        Ok(mut stream) => {
            stream.get_mut().is_opening = false;
            return Ok((stream, std::mem::take(&mut lock(&notes).opening)));
        }
        Err(HandshakeError::WouldBlock(_)) => "the handshake broke off".to_owned(),
        Err(HandshakeError::Failure(error)) => reason(&error.to_string()),
    };
    let Notes { failure, opening } = std::mem::take(&mut *lock(&notes));
    Err(Broken {
        failure,
        why,
        opening,
    })
}

/// Shakes hands as a server.
pub(crate) fn accept(
    connection: Connection,
    acceptor: &TlsAcceptor,
    deadline: Instant,
) -> Result<Stream, Error> {
    let peer = connection.peer;
    let (timed, notes) = Timed::new(connection, deadline);
    let why = match acceptor.accept(timed) {
        Ok(mut stream) => {
            stream.get_mut().is_opening = false;
            return Ok(Stream::Tls(Box::new(stream)));
        }
        Err(HandshakeError::WouldBlock(_)) => "the handshake broke off".to_owned(),
        Err(HandshakeError::Failure(error)) => reason(&error.to_string()),
    };
    let failure = lock(&notes).failure.take();
    Err(failure.unwrap_or_else(|| Error::System {
        what: format!("no TLS with {peer}"),
        error: io::Error::other(why),
    }))
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
    is_opening: bool,
    /// Nothing is waited for any more.
    is_closing: bool,
    notes: Arc<Mutex<Notes>>,
}

/// What the TLS library would forget of its connection.
#[derive(Default)]
struct Notes {
    /// Why it failed, which an io::Error has no room for.
    failure: Option<Error>,
    /// What came until the handshake was done, up to [`HELLO_OCTETS_MAX`].
    opening: Vec<u8>,
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timed {
    fn new(connection: Connection, deadline: Instant) -> (Timed, Arc<Mutex<Notes>>) {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let timed = Timed {
            connection,
            deadline,
            is_opening: true,
            is_closing: false,
            notes: Arc::clone(&notes),
        };
        (timed, notes)
    }

    fn keep<T>(&mut self, result: Result<T, Error>) -> io::Result<T> {
        result.map_err(|error| {
            let text = error.to_string();
            lock(&self.notes).failure = Some(error);
            io::Error::other(text)
        })
    }

    fn explain(&mut self, what: &str, error: io::Error) -> Error {
        let failure = lock(&self.notes).failure.take();
        failure.unwrap_or_else(|| Error::System {
            what: what.to_owned(),
            error: io::Error::other(reason(&cause::of(&error))),
        })
    }

    fn note(&mut self, octets: &[u8]) {
        let mut notes = lock(&self.notes);
        let room = HELLO_OCTETS_MAX.saturating_sub(notes.opening.len());
        notes.opening.extend(octets.iter().take(room));
        if is_record(&notes.opening) {
            return;
        }
        // The library gives up after the few octets of a record's header. What else the peer says
        // tells more; it is there already, or it is not waited for.
        let mut line = [0; LINE_OCTETS_MAX];
        if let Ok(count) = self.connection.read(&mut line, clock::now()) {
            notes.opening.extend_from_slice(&line[..count]);
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.connection.read(buffer, self.deadline);
        if let (true, Ok(count)) = (self.is_opening, &read) {
            self.note(&buffer[..*count]);
        }
        self.keep(read)
    }
}

impl Write for Timed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.is_closing {
            return self.connection.write_now(octets);
        }
        let written = self.connection.write_all(octets, self.deadline);
        self.keep(written).map(|()| octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
