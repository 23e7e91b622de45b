//! What waits to be sent on a connection, and the sending.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use native_tls::{MidHandshakeTlsStream, TlsAcceptor, TlsStream};
use nix::poll::{PollFd, PollFlags};
use rustix::net::SendFlags;

use super::folder::Entries;
use super::representation::{Content, Representation};
use crate::cancel::{Wake, poll_until};
use crate::clock;
use crate::http::chunked;

/// Given to the kernel in one call.
const CALL_OCTETS_MAX: u64 = 1 << 20;
/// A TLS record, which is all that one call encrypts (RFC 8446 section 5.1).
const TLS_OCTETS_MAX: usize = 16 << 10;

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Handshake(Box<Handshake>),
    /// A handshake that failed.
    Closed,
}

pub(super) enum Handshake {
    Begin(TcpStream, Arc<TlsAcceptor>),
    Going(MidHandshakeTlsStream<TcpStream>),
}

impl Transport {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Transport::Plain(stream) => Some(stream),
            Transport::Tls(stream) => Some(stream.get_ref()),
            Transport::Handshake(handshake) => match &**handshake {
                Handshake::Begin(stream, _) => Some(stream),
                Handshake::Going(handshake) => Some(handshake.get_ref()),
            },
            Transport::Closed => None,
        }
    }

    /// Hears of all that happens on it, once each time.
    pub(super) fn register(&mut self, registry: &Registry, slot: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Transport::Plain(stream) => registry.register(stream, Token(slot), both),
            Transport::Handshake(handshake) => match &mut **handshake {
                Handshake::Begin(stream, _) => registry.register(stream, Token(slot), both),
                Handshake::Going(_) => Ok(()),
            },
            Transport::Tls(_) | Transport::Closed => Ok(()),
        }
    }

    /// A client that speaks HTTP where TLS is expected.
    pub(super) fn hears_plain_http(&self) -> bool {
        let mut first = [0];
        let begins = matches!(self, Transport::Handshake(handshake) if matches!(**handshake, Handshake::Begin(..)));
        let peeked = self.socket().map(|socket| socket.peek(&mut first));
        begins && matches!(peeked, Some(Ok(1))) && first[0].is_ascii_uppercase()
    }

    pub(super) fn answer_plainly(&mut self) {
        const SORRY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: nsh\r\nConnection: close\r\n\
            Content-Type: text/plain\r\nContent-Length: 42\r\n\r\n\
            This port speaks HTTPS. Ask for https://.\n";
        if let Some(Handshake::Begin(mut stream, _)) = self.take_handshake() {
            // What has come is read, or closing would take the answer back.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write(SORRY);
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    pub(super) fn take_handshake(&mut self) -> Option<Handshake> {
        match std::mem::replace(self, Transport::Closed) {
            Transport::Handshake(handshake) => Some(*handshake),
            Transport::Plain(_) | Transport::Tls(_) | Transport::Closed => None,
        }
    }

    /// Until it takes more octets; whether it does in time.
    pub(super) fn wait_for_room(&self, patience: Duration) -> bool {
        let Some(socket) = self.socket() else {
            return false;
        };
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        let deadline = clock::now() + patience;
        matches!(poll_until(&mut fds, Some(deadline)), Ok(Wake::Ready))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Transport::Plain(_))
    }

    pub(super) fn receive(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(octets),
            Transport::Tls(stream) => stream.read(octets),
            Transport::Handshake(_) | Transport::Closed => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// `more`: something follows at once, so that the kernel fills its segments.
    pub(super) fn send(&mut self, octets: &[u8], more: bool) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => {
                let mut flags = SendFlags::NOSIGNAL;
                flags.set(SendFlags::MORE, more);
                Ok(rustix::net::send(stream, octets, flags)?)
            }
            Transport::Tls(stream) => stream.write(octets),
            Transport::Handshake(_) | Transport::Closed => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn send_part(&mut self, page: &Representation, part: &Range<u64>) -> io::Result<usize> {
        let octets = (part.end - part.start).min(CALL_OCTETS_MAX);
        match (&page.content, &mut *self) {
            (Content::Memory(octets), transport) => {
                let start = usize::try_from(part.start).unwrap_or(usize::MAX);
                let end = usize::try_from(part.end).unwrap_or(usize::MAX);
                let octets = octets.get(start..end).ok_or(ErrorKind::UnexpectedEof)?;
                transport.send(octets, false)
            }
            #[cfg(target_os = "linux")]
            (Content::File(file), Transport::Plain(stream)) => {
                let mut at = part.start;
                let count = usize::try_from(octets).unwrap_or(usize::MAX);
                match rustix::fs::sendfile(stream, file, Some(&mut at), count)? {
                    // The file has become shorter; the length that was announced cannot be kept.
                    0 => Err(ErrorKind::UnexpectedEof.into()),
                    sent => Ok(sent),
                }
            }
            (content, transport) => {
                let count = TLS_OCTETS_MAX.min(usize::try_from(octets).unwrap_or(usize::MAX));
                let mut octets = vec![0; count];
                content.read_at(&mut octets, part.start)?;
                transport.send(&octets, false)
            }
        }
    }

    /// Nothing more will be sent; what the peer still sends can be read.
    pub(super) fn shut_down(&mut self) {
        if let Transport::Tls(stream) = self {
            let _ = stream.shutdown();
        }
        let _ = self.socket().map(|socket| socket.shutdown(Shutdown::Write));
    }
}

enum Segment {
    Octets(Vec<u8>, usize),
    File(Arc<Representation>, Range<u64>),
    Stream(Entries, Framing),
}

/// How a body of unknown length ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Close,
}

#[derive(Default)]
pub(super) struct Outgoing {
    segments: VecDeque<Segment>,
    /// Of files and listings, since it was asked.
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left.
    Done,
    /// The peer takes no more now.
    Blocked,
    /// As much as was allowed has been sent.
    Spent,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(super) fn push_octets(&mut self, octets: Vec<u8>) {
        if !octets.is_empty() {
            self.segments.push_back(Segment::Octets(octets, 0));
        }
    }

    /// A head that was made for what is in here.
    pub(super) fn push_front(&mut self, octets: Vec<u8>) {
        self.segments.push_front(Segment::Octets(octets, 0));
    }

    pub(super) fn append(&mut self, mut later: Outgoing) {
        self.segments.append(&mut later.segments);
        self.sent += later.sent;
    }

    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// All of it.
    pub(super) fn of(page: Arc<Representation>) -> Outgoing {
        let mut outgoing = Outgoing::default();
        let whole = 0..page.size;
        outgoing.push_file(page, whole);
        outgoing
    }

    pub(super) fn push_file(&mut self, page: Arc<Representation>, part: Range<u64>) {
        self.segments.push_back(Segment::File(page, part));
    }

    pub(super) fn push_stream(&mut self, entries: Entries, framing: Framing) {
        self.segments.push_back(Segment::Stream(entries, framing));
    }

    /// How much of files is left to send.
    pub(super) fn file_octets(&self) -> u64 {
        let octets = |segment: &Segment| match segment {
            Segment::File(_, part) => part.end - part.start,
            Segment::Octets(..) | Segment::Stream(..) => 0,
        };
        self.segments.iter().map(octets).sum()
    }

    pub(super) fn has_stream(&self) -> bool {
        let is_stream = |segment: &Segment| matches!(segment, Segment::Stream(..));
        self.segments.iter().any(is_stream)
    }

    /// Sends what the peer takes, not much more than `allowance`, from which it is taken off.
    pub(super) fn flush(
        &mut self,
        transport: &mut Transport,
        allowance: &mut u64,
    ) -> io::Result<Progress> {
        while let Some(segment) = self.segments.front_mut() {
            if *allowance == 0 {
                return Ok(Progress::Spent);
            }
            if let Segment::Stream(entries, framing) = segment {
                let (framed, is_last) = next_piece(entries, *framing);
                self.sent += framed.len() as u64;
                if is_last {
                    self.segments.pop_front();
                }
                self.segments.push_front(Segment::Octets(framed, 0));
                continue;
            }
            let more = self.segments.len() > 1;
            let Some(segment) = self.segments.front_mut() else {
                break;
            };
            let sent = match segment {
                Segment::Octets(octets, at) => {
                    let end = octets.len().min(at.saturating_add(cap(*allowance)));
                    transport.send(&octets[*at..end], more)
                }
                Segment::File(page, part) => {
                    let end = part.end.min(part.start.saturating_add(*allowance));
                    transport.send_part(page, &(part.start..end))
                }
                Segment::Stream(..) => Ok(0),
            };
            let sent = match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Blocked);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                sent => sent?,
            };
            *allowance = allowance.saturating_sub(sent as u64);
            let is_over = match segment {
                Segment::Octets(octets, at) => {
                    *at += sent;
                    *at >= octets.len()
                }
                Segment::File(_, part) => {
                    part.start += sent as u64;
                    self.sent += sent as u64;
                    part.start >= part.end
                }
                Segment::Stream(..) => false,
            };
            if is_over {
                self.segments.pop_front();
            }
        }
        // The room is given back: an idle connection costs next to nothing.
        self.segments = VecDeque::new();
        Ok(Progress::Done)
    }
}

fn cap(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}

/// Octets for the wire, and whether they are the last.
fn next_piece(entries: &mut Entries, framing: Framing) -> (Vec<u8>, bool) {
    let mut piece = Vec::new();
    let is_last = !entries.next(&mut piece);
    match framing {
        Framing::Close => (piece, is_last),
        Framing::Chunked if is_last => (chunked::LAST.to_vec(), true),
        Framing::Chunked => {
            let mut framed = Vec::with_capacity(piece.len() + 16);
            chunked::frame(&piece, &mut framed);
            (framed, false)
        }
    }
}
