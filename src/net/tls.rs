//! TLS on a connection that ends with the job or at a deadline.

pub(crate) mod client;
pub(crate) mod files;
mod handshake;
pub(crate) mod pin;
pub(crate) mod refusal;
pub(crate) mod trust;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use native_tls::{HandshakeError, TlsAcceptor, TlsStream};
use openssl::ssl::{ShutdownState, SslStream};

use super::Error;
use super::tcp::Connection;
use crate::cause;
use crate::clock;
use handshake::{Broken, Offer, shake_hands};
use refusal::Refusal;
use trust::Trust;

/// RFC 5321 section 4.5.3.1.5 for a reply's line; other protocols' first lines are shorter.
const LINE_OCTETS_MAX: usize = 512;

/// RFC 8446 section 5.1: the types of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

pub(crate) enum Stream {
    Plain(Connection),
    Tls(Box<dyn Secured>),
}

/// The end of a client or of a server.
pub(crate) trait Secured: Read + Write + Send {
    fn timed(&mut self) -> &mut Timed;
    /// As far as that takes no answer.
    fn say_goodbye(&mut self);
    /// Whether the peer has; only clients are told.
    fn has_heard_goodbye(&mut self) -> bool {
        true
    }
}

impl Secured for SslStream<Timed> {
    fn timed(&mut self) -> &mut Timed {
        self.get_mut()
    }

    fn say_goodbye(&mut self) {
        let _ = self.shutdown();
    }

    fn has_heard_goodbye(&mut self) -> bool {
        self.get_shutdown().contains(ShutdownState::RECEIVED)
    }
}

impl Secured for TlsStream<Timed> {
    fn timed(&mut self) -> &mut Timed {
        self.get_mut()
    }

    fn say_goodbye(&mut self) {
        let _ = self.shutdown();
    }
}

impl Stream {
    /// What has come, at least one octet; none at the peer's end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        match self {
            Stream::Plain(connection) => connection.read(buffer, deadline),
            Stream::Tls(stream) => {
                stream.timed().deadline = deadline;
                let read = stream.read(buffer);
                read.map_err(|error| stream.timed().explain("cannot receive", error))
            }
        }
    }

    pub(crate) fn write_all(&mut self, octets: &[u8], deadline: Instant) -> Result<(), Error> {
        match self {
            Stream::Plain(connection) => connection.write_all(octets, deadline),
            Stream::Tls(stream) => {
                stream.timed().deadline = deadline;
                let written = stream.write_all(octets);
                written.map_err(|error| stream.timed().explain("cannot send", error))
            }
        }
    }

    /// Whether at its end anybody on the way may have cut it off (RFC 8446 section 6.1).
    pub(crate) fn is_cut_off(&mut self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => !stream.has_heard_goodbye(),
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
                stream.timed().is_closing = true;
                let _ = stream.write_all(last_words);
                stream.say_goodbye();
                stream.timed().connection.finish_sending();
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
    let offer = Offer {
        host,
        trust,
        identity: None,
    };
    match shake_hands(connection, &offer, deadline) {
        Ok((stream, _)) => Ok(Stream::Tls(Box::new(stream))),
        Err(Broken {
            failure: Some(failure),
            ..
        }) => Err(failure),
        Err(Broken {
            refusal: Some(refusal),
            ..
        }) => Err(Error::NotTrusted { refusal }),
        Err(Broken { why, .. }) => Err(Error::Tls {
            host: host.to_owned(),
            why,
        }),
    }
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

/// OpenSSL's errors are `error:CODE:library:function:reason:file:line:`.
pub(crate) fn reason(text: &str) -> String {
    let reason = text
        .strip_prefix("error:")
        .and_then(|text| text.split(':').nth(3));
    reason.unwrap_or(text).to_owned()
}

/// Whether a TLS record may begin with these octets, be they few.
fn is_record(octets: &[u8]) -> bool {
    let is_type = |octet: &u8| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(octet);
    // RFC 8446 section 5.1: 3, whatever the version.
    octets.first().is_none_or(is_type) && octets.get(1).is_none_or(|major| *major == 3)
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
    /// Of the certificate.
    refusal: Option<Box<Refusal>>,
    /// What the peer began with.
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
        let room = LINE_OCTETS_MAX.saturating_sub(notes.opening.len());
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

#[cfg(test)]
mod tests {
    use super::is_record;

    #[test]
    fn records_are_told_from_text() {
        for record in ["", "\x15", "\x16\x03", "\x16\x03\x01 anything"] {
            assert!(is_record(record.as_bytes()), "{record:?}");
        }
        for text in ["220 mx", "EHLO", "HTTP/1.1", "\x16\x04", "\x18\x03\x03"] {
            assert!(!is_record(text.as_bytes()), "{text:?}");
        }
    }
}
