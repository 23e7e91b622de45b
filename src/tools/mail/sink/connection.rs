//! One client: octets go into its session, and what the session wants is done.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::event::{Event, Message, Speaker};
use super::fields;
use super::session::{Action, Received, Session};
use super::{HOSTNAME, Shared};
use crate::net::Error;
use crate::net::tcp::Connection;
use crate::net::tls::{self, Stream};
use crate::{cause, clock};

/// Read at once.
const BUFFER_OCTETS: usize = 64 << 10;
/// A handshake is a few round trips.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// After the last reply the client's octets are read for so long, and so many: closing before
/// that would make its system throw the reply away.
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_OCTETS_MAX: usize = 4 << 20;

struct Visit<'a> {
    shared: &'a Shared,
    client: SocketAddr,
    session: Session,
    /// To be written.
    out: Vec<u8>,
}

/// Why the exchange of lines does not go on.
enum Pause {
    StartTls,
    Close,
    /// The client has closed.
    Over,
}

/// Until the client or the server closes, or the job is stopped.
pub(super) fn serve(shared: &Shared, stream: TcpStream, client: SocketAddr) {
    let mut visit = Visit {
        shared,
        client,
        session: Session::new(shared.options.clone()),
        out: Vec::new(),
    };
    match visit.run(stream) {
        Ok(()) if visit.session.is_in_message() => {
            visit.tell_broken(format!("{client} left in the middle of a message"));
        }
        Ok(()) | Err(Error::Cancelled) => {}
        Err(error) => visit.tell_broken(error.to_string()),
    }
}

impl Visit<'_> {
    fn run(&mut self, stream: TcpStream) -> Result<(), Error> {
        let _ = stream.set_nodelay(true);
        let cancel = &self.shared.context.cancel;
        let connection = Connection::dialled(stream, self.client, cancel)?;
        let mut stream = Stream::Plain(connection);
        if self.shared.options.is_tls {
            stream = self.secure(stream)?;
        }
        self.reply(self.session.greeting());
        loop {
            match self.exchange(&mut stream) {
                Ok(Pause::StartTls) => {
                    stream = self.secure(stream)?;
                    self.session.tls_started();
                }
                Ok(Pause::Close) => {
                    stream.close(b"");
                    linger(&mut stream);
                    return Ok(());
                }
                Ok(Pause::Over) => return Ok(()),
                Err(error) => {
                    self.take_leave(&mut stream, &error);
                    return Err(error);
                }
            }
        }
    }

    fn secure(&self, stream: Stream) -> Result<Stream, Error> {
        let deadline = clock::now() + self.shared.timeout.min(HANDSHAKE_MAX);
        match (stream, &self.shared.acceptor) {
            (Stream::Plain(connection), Some(acceptor)) => {
                tls::accept(connection, acceptor, deadline)
            }
            (stream, _) => Ok(stream),
        }
    }

    /// RFC 2920 section 3.2: replies to commands that come together go together.
    fn exchange(&mut self, stream: &mut Stream) -> Result<Pause, Error> {
        let mut buffer = vec![0; BUFFER_OCTETS];
        loop {
            let pause = self.advance();
            let deadline = clock::now() + self.shared.timeout;
            stream.write_all(&self.out, deadline)?;
            self.out.clear();
            if let Some(pause) = pause {
                return Ok(pause);
            }
            let deadline = clock::now() + self.shared.timeout;
            match stream.read(&mut buffer, deadline)? {
                0 => return Ok(Pause::Over),
                count => self.session.receive(&buffer[..count]),
            }
        }
    }

    /// Until the session needs octets, or the connection something else.
    fn advance(&mut self) -> Option<Pause> {
        loop {
            match self.session.poll()? {
                Action::Heard(line) => self.tell_said(Speaker::Client, line),
                Action::Reply(octets) => self.reply(octets),
                Action::Message(received) => {
                    let number = self.keep(received);
                    self.session.on_kept(number);
                }
                Action::StartTls => return Some(Pause::StartTls),
                Action::Close => return Some(Pause::Close),
            }
        }
    }

    /// The number of the message, unless it is lost here.
    fn keep(&self, received: Received) -> Option<u64> {
        let tally = &self.shared.tally;
        let number = tally.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let out = &self.shared.context.out;
        let file = match self.write(number, &received) {
            Ok(file) => file,
            Err(error) => {
                out.emit(&Event::NotKept {
                    number,
                    client: self.client.to_string(),
                    reason: cause::of(&error),
                });
                return None;
            }
        };
        let octets = received.octets.len();
        tally.messages.fetch_add(1, Ordering::Relaxed);
        tally.octets.fetch_add(octets as u64, Ordering::Relaxed);
        out.emit(&Event::Message(Message {
            number,
            subject: fields::subject(&received.octets),
            from: received.mail_from,
            to: received.recipients,
            octets,
            file,
            client: self.client.to_string(),
            tls: received.is_tls,
            user: received.user,
        }));
        Some(number)
    }

    fn write(&self, number: u64, received: &Received) -> std::io::Result<Option<String>> {
        let Some(folder) = &self.shared.folder else {
            return Ok(None);
        };
        let now = clock::wall();
        let client = self.client.ip();
        let trace = fields::trace_fields(received, number, client, HOSTNAME, &now.to_rfc2822());
        let file = folder.keep(number, now, &[&trace, &received.octets])?;
        Ok(Some(file.display().to_string()))
    }

    fn reply(&mut self, octets: Vec<u8>) {
        for line in String::from_utf8_lossy(&octets).lines() {
            self.tell_said(Speaker::Server, line.to_owned());
            if !self.shared.verbose && line.starts_with(['4', '5']) {
                self.shared.context.out.emit(&Event::Refused {
                    client: self.client.to_string(),
                    reason: line.to_owned(),
                });
            }
        }
        self.out.extend(octets);
    }

    /// RFC 5321 section 3.8: a server that closes by itself says so.
    fn take_leave(&mut self, stream: &mut Stream, error: &Error) {
        let last_words: &[u8] = match error {
            Error::Cancelled => b"421 4.3.2 the server is stopped\r\n",
            Error::TimedOut(_) => b"421 4.4.2 nothing has happened for too long\r\n",
            _ => b"",
        };
        for line in String::from_utf8_lossy(last_words).lines() {
            self.tell_said(Speaker::Server, line.to_owned());
        }
        stream.close(last_words);
    }

    fn tell_said(&self, by: Speaker, line: String) {
        if self.shared.verbose {
            let client = self.client.to_string();
            self.shared
                .context
                .out
                .emit(&Event::Said { client, by, line });
        }
    }

    fn tell_broken(&self, reason: String) {
        let client = self.client.to_string();
        self.shared
            .context
            .out
            .emit(&Event::Broken { client, reason });
    }
}

fn linger(stream: &mut Stream) {
    let deadline = clock::now() + LINGER_FOR;
    let (mut buffer, mut octets) = (vec![0; BUFFER_OCTETS], 0);
    while octets < LINGER_OCTETS_MAX {
        match stream.read(&mut buffer, deadline) {
            Ok(count @ 1..) => octets += count,
            Ok(_) | Err(_) => return,
        }
    }
}
