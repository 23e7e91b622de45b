//! The server: one thread, one event loop, any number of clients.
//!
//! A connection is read only when all its answers so far are written, so that a client that
//! does not read costs one buffer. Datagrams are answered with one hop less than they came
//! with, so that two servers that are made to answer each other fall silent.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Arguments;
use super::event::{Event, Tally};
use super::sockets;
use super::stream::{Outcome, turn};
use crate::clock;
use crate::echo::Gate;
use crate::net::accept::{SHORTAGE, is_shortage};
use crate::net::inbox::Inbox;
use crate::net::{self, tcp, udp};
use crate::tool::{Context, Error, Status};

const STOP: Token = Token(0);
const LISTENER: Token = Token(1);
const DATAGRAMS: Token = Token(2);
const FIRST_CONNECTION: usize = 3;

const CONNECTIONS_MAX: usize = 16_384;
const BUFFER_OCTETS: usize = 64 << 10;
/// An answer has one hop less than its question, so that this many pass between two servers at
/// most that are made to answer each other.
const HOPS_MAX: u8 = 64;
/// Of datagrams of each source, a second.
const RATE_MAX: u32 = 1000;
/// Answered, and accepted, before anything else gets its turn.
const DATAGRAMS_MAX: usize = 256;
const ACCEPTED_MAX: usize = 256;

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    since: Instant,
    octets: u64,
    /// Not yet written.
    pending: Vec<u8>,
    /// The peer sends nothing more.
    ended: bool,
}

struct Server<'a> {
    context: &'a Context,
    verbose: bool,
    poll: Poll,
    listener: Option<TcpListener>,
    datagrams: Option<UdpSocket>,
    inbox: Inbox,
    gate: Gate,
    connections: HashMap<usize, Connection>,
    next_token: usize,
    /// Connections with more to do than their turn allowed.
    again: Vec<usize>,
    accept_again: bool,
    /// Out of descriptors, it tries again then: other jobs may have given some back.
    accepts_at: Option<Instant>,
    datagrams_again: bool,
    buffer: Vec<u8>,
    tally: Tally,
    /// For `jobs`.
    shown: Arc<Mutex<Tally>>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Status, Error> {
    let mut server = Server::bind(context, arguments)?;
    let served = server.serve();
    *lock(&server.shown) = server.tally;
    served.map_err(cannot_wait)?;
    Err(Error::Cancelled)
}

fn cannot_wait(error: io::Error) -> net::Error {
    net::Error::System {
        what: "cannot wait for clients".to_owned(),
        error,
    }
}

fn lock(shown: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Server<'a> {
    fn bind(context: &'a Context, arguments: &Arguments) -> Result<Server<'a>, Error> {
        let sockets = sockets::bind(arguments)
            .map_err(|(error, endpoint)| context.with_neighbour(error, endpoint))?;
        let (address, endpoints) = (sockets.address, sockets.endpoints());
        let poll = Poll::new().map_err(cannot_wait)?;
        let mut server = Server {
            context,
            verbose: arguments.verbose,
            poll,
            listener: sockets.listener,
            datagrams: sockets.datagrams,
            connections: HashMap::new(),
            next_token: FIRST_CONNECTION,
            again: Vec::new(),
            accept_again: false,
            accepts_at: None,
            datagrams_again: false,
            inbox: Inbox::new(BUFFER_OCTETS),
            gate: Gate::new(
                arguments.rate_limit.unwrap_or(RATE_MAX),
                arguments.rate_limit.is_none(),
            ),
            buffer: vec![0; BUFFER_OCTETS],
            tally: Tally::default(),
            shown: Arc::default(),
        };
        server.register().map_err(cannot_wait)?;
        let listening = Event::listening(address, &endpoints);
        let shown = Arc::clone(&server.shown);
        context.summarize_with(move || lock(&shown).to_string());
        context.ready(&endpoints, &listening);
        Ok(server)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        let stop = self.context.cancel.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&stop), STOP, Interest::READABLE)?;
        if let Some(listener) = &mut self.listener {
            registry.register(listener, LISTENER, Interest::READABLE)?;
        }
        if let Some(datagrams) = &mut self.datagrams {
            registry.register(datagrams, DATAGRAMS, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Until the job is stopped.
    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.context.cancel.is_cancelled() {
            *lock(&self.shown) = self.tally;
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for token in std::mem::take(&mut self.again) {
                self.advance(token);
            }
            let is_due = self.accepts_at.is_some_and(|at| at <= clock::now());
            if std::mem::take(&mut self.accept_again) || is_due {
                self.accept();
            }
            if std::mem::take(&mut self.datagrams_again) {
                self.answer_datagrams();
            }
            for event in &events {
                match event.token() {
                    STOP if self.context.cancel.is_cancelled() => return Ok(()),
                    STOP => {}
                    LISTENER => self.accept(),
                    DATAGRAMS => self.answer_datagrams(),
                    Token(token) => self.advance(token),
                }
            }
        }
        Ok(())
    }

    fn wait(&self) -> Option<Duration> {
        if self.accept_again || self.datagrams_again || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        self.accepts_at
            .map(|at| at.saturating_duration_since(clock::now()))
    }

    fn accept(&mut self) {
        self.accepts_at = None;
        for _ in 0..ACCEPTED_MAX {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) if is_shortage(&error) => {
                    self.accepts_at = Some(clock::now() + SHORTAGE);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // That client is gone already.
                Err(_) => {}
            }
        }
        self.accept_again = true;
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.tally.refused += 1;
            return self.context.out.emit(&Event::Refused {
                peer: peer.to_string(),
                reason: "there are 16,384 connections already".to_owned(),
            });
        }
        let stream = tcp::out_of_the_way(OwnedFd::from(stream).into());
        let stream = TcpStream::from_std(stream);
        self.tally.accepted += 1;
        let token = self.next_token;
        self.next_token += 1;
        let mut connection = Connection {
            stream,
            peer,
            since: clock::now(),
            octets: 0,
            pending: Vec::new(),
            ended: false,
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let _ = connection.stream.set_nodelay(true);
        if registry
            .register(&mut connection.stream, Token(token), both)
            .is_ok()
        {
            self.connections.insert(token, connection);
            self.tally.open += 1;
            self.advance(token);
        }
    }

    /// Does what can be done for a connection without waiting.
    fn advance(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let before = connection.octets;
        let mut log = |octets: &[u8]| {
            if self.verbose {
                self.context
                    .out
                    .emit(&Event::answered(connection.peer, "TCP", octets));
            }
        };
        let stream = &mut connection.stream;
        let state = (
            &mut connection.pending,
            &mut connection.ended,
            &mut connection.octets,
        );
        let outcome = turn(stream, state, &mut self.buffer, &mut log);
        self.tally.octets += connection.octets - before;
        match outcome {
            Outcome::Waits => {}
            Outcome::HasMore => self.again.push(token),
            Outcome::Over => self.close(token),
        }
    }

    fn close(&mut self, token: usize) {
        let Some(connection) = self.connections.remove(&token) else {
            return;
        };
        let (peer, octets) = (connection.peer.to_string(), connection.octets);
        let seconds = clock::now().duration_since(connection.since).as_secs_f64();
        drop(connection);
        self.tally.open -= 1;
        self.context.out.emit(&Event::Closed {
            peer,
            octets,
            seconds,
        });
        // One that had to wait for a descriptor may be accepted now.
        self.accept_again = true;
    }

    fn answer_datagrams(&mut self) {
        let Some(socket) = &self.datagrams else {
            return;
        };
        for _ in 0..DATAGRAMS_MAX {
            let datagram = match self.inbox.receive(socket) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return,
                Err(_) => continue,
            };
            let peer = datagram.from;
            if let Err(reason) = self.gate.check(peer, clock::now()) {
                self.tally.refused += 1;
                if let Some(untold) = self.gate.refuse(reason, clock::now()) {
                    let more = match untold {
                        0 => String::new(),
                        untold => format!(" (and {untold} more)"),
                    };
                    self.context.out.emit(&Event::Refused {
                        peer: peer.to_string(),
                        reason: format!("{reason}{more}"),
                    });
                }
                continue;
            }
            if self.verbose {
                let event = Event::answered(peer, "UDP", datagram.octets);
                self.context.out.emit(&event);
            }
            let octets = &mut self.buffer[..datagram.octets.len()];
            octets.copy_from_slice(datagram.octets);
            octets.make_ascii_uppercase();
            self.tally.datagrams += 1;
            self.tally.octets += octets.len() as u64;
            let hop_limit = datagram
                .hop_limit
                .unwrap_or(0)
                .min(HOPS_MAX)
                .saturating_sub(1);
            if hop_limit > 0 {
                // Like a full queue on the way, a full one here loses the answer.
                let _ = udp::send(socket, octets, peer, datagram.to, Some(hop_limit));
            }
        }
        self.datagrams_again = true;
    }
}
