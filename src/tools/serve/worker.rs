//! One of the server's loops: a listener of its own, and its connections.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;

use super::connection::{Connection, Errand, Fate};
use super::desk::Desk;
use super::errand::{self, Mailbox, Outcome, Return};
use super::shared::Shared;
use super::transfer::{Handshake, Transport};
use crate::clock;
use crate::net::tcp;

const LISTENER: Token = Token(usize::MAX);
const MAILBOX: Token = Token(usize::MAX - 1);
/// Accepted before connections get their turn.
const ACCEPTED_MAX: usize = 64;
/// Connections beyond the limit that are told so; still more are closed at once.
const TURNED_AWAY_MAX: usize = 1024;
const SCRATCH_OCTETS: usize = 32 << 10;
/// Deadlines are looked at no more often.
const TICK: Duration = Duration::from_millis(250);
/// How often a connection with `--rate` sends.
const RATE_TICK: Duration = Duration::from_millis(20);

enum Slot {
    Free,
    Here(Box<Connection>),
    /// In a thread of the pool.
    Away {
        /// Something happened on it meanwhile.
        woken: bool,
    },
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    desk: Desk,
    poll: Poll,
    listener: Option<TcpListener>,
    mailbox: Arc<Mailbox>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Connections with more to do.
    again: Vec<usize>,
    paused: Vec<usize>,
    /// When the paused ones may send again.
    rate_due: Instant,
    accepts_again: bool,
    /// After an accept that failed for want of descriptors.
    accepts_at: Option<Instant>,
    /// Given up for a moment when there are no more descriptors.
    spare: Option<File>,
    scratch: Vec<u8>,
    /// No deadline is earlier.
    next_deadline: Option<Instant>,
    ticked: Instant,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut listener: TcpListener,
        desk: Desk,
    ) -> io::Result<Worker> {
        let desk_now = desk.now;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), MAILBOX)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Worker {
            shared,
            ticked: desk_now,
            desk,
            poll,
            listener: Some(listener),
            mailbox: Arc::new(Mailbox::new(waker)),
            slots: Vec::new(),
            free: Vec::new(),
            again: Vec::new(),
            paused: Vec::new(),
            rate_due: desk_now,
            accepts_again: false,
            accepts_at: None,
            spare: File::open("/dev/null").ok(),
            scratch: vec![0; SCRATCH_OCTETS],
            next_deadline: None,
        })
    }

    pub(super) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// Until the server ends and no connection is left.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(512);
        loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            let (now, wall) = clock::both();
            self.desk.set_time(now, wall);
            for event in &events {
                match event.token() {
                    LISTENER => self.accepts_again = true,
                    MAILBOX => {}
                    Token(slot) => match self.slots.get_mut(slot) {
                        Some(Slot::Here(connection)) => {
                            // A handshake may be waiting for either.
                            connection.is_readable |=
                                event.is_readable() || connection.is_shaking();
                            connection.reads_on |= event.is_read_closed();
                            self.advance(slot);
                        }
                        Some(Slot::Away { woken, .. }) => *woken = true,
                        Some(Slot::Free) | None => {}
                    },
                }
            }
            self.take_returned();
            for slot in std::mem::take(&mut self.again) {
                self.advance_queued(slot);
            }
            if std::mem::take(&mut self.accepts_again) {
                self.accept();
            }
            self.tick();
            if let Some(end) = self.shared.ends_at.get()
                && self.drain(*end)
            {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        if self.accepts_again || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let tick = self.next_deadline.map(|at| at.max(self.ticked + TICK));
        let rate = (!self.paused.is_empty()).then_some(self.rate_due);
        let next = [
            tick,
            rate,
            self.accepts_at,
            self.shared.ends_at.get().copied(),
            self.desk.log.next_flush(),
            self.desk.library.expires(),
        ];
        let next = next.into_iter().flatten().min()?;
        // mio counts whole milliseconds, and rounds up.
        Some(next.saturating_duration_since(clock::now()))
    }

    fn advance(&mut self, slot: usize) {
        let Some(Slot::Here(connection)) = self.slots.get_mut(slot) else {
            return;
        };
        let fate = connection.advance(&mut self.desk, &mut self.scratch, &self.shared.pool);
        let deadline = connection.deadline;
        match fate {
            Fate::Waits => {}
            Fate::Again | Fate::Paused if connection.is_queued => {}
            Fate::Again => {
                connection.is_queued = true;
                self.again.push(slot);
            }
            Fate::Paused => {
                connection.is_queued = true;
                self.paused.push(slot);
            }
            Fate::Away(errand) => return self.send_away(slot, errand),
            Fate::Over => return self.close(slot),
        }
        let earliest = self.next_deadline.map_or(deadline, |at| at.min(deadline));
        self.next_deadline = Some(earliest);
    }

    fn advance_queued(&mut self, slot: usize) {
        if let Some(Slot::Here(connection)) = self.slots.get_mut(slot) {
            connection.is_queued = false;
            self.advance(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        match std::mem::replace(entry, Slot::Free) {
            Slot::Here(mut connection) => {
                connection.end(&mut self.desk);
                self.forget(slot);
            }
            Slot::Away { .. } => self.forget(slot),
            Slot::Free => {}
        }
    }

    fn forget(&mut self, slot: usize) {
        self.free.push(slot);
        self.desk.counters.closed.add(1);
        // One that had to wait for a descriptor may be accepted now.
        self.accepts_again |= self.spare.is_none();
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTED_MAX {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_descriptors(&error) => return self.turn_one_away(),
                // That client is gone already.
                Err(_) => {}
            }
        }
        self.accepts_again = true;
    }

    /// Without a free descriptor a client would wait in the queue for ever: with the spare one
    /// it is accepted and closed.
    fn turn_one_away(&mut self) {
        if self.spare.take().is_some()
            && let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept)
        {
            self.desk.counters.refused.add(1);
            drop(stream);
            self.accepts_again = true;
        } else {
            self.accepts_at = Some(self.desk.now + TICK);
        }
        self.spare = File::open("/dev/null").ok();
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        let limits = &self.shared.site.limits;
        let is_own = peer.ip().to_canonical().is_loopback()
            || stream.local_addr().is_ok_and(|own| own.ip() == peer.ip());
        let place = self.shared.places.take(peer.ip(), is_own);
        let is_too_many = !place.fits;
        let is_far_too_many = place.before >= limits.connections + TURNED_AWAY_MAX;
        let stream = tcp::out_of_the_way(OwnedFd::from(stream).into());
        let _ = stream.set_nodelay(true);
        let stream = TcpStream::from_std(stream);
        let transport = match &self.shared.tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                let begin = Handshake::Begin(stream, Arc::clone(tls));
                Transport::Handshake(Box::new(begin))
            }
        };
        let mut connection = Box::new(Connection::new(transport, peer, place, &self.desk));
        self.desk.counters.accepted.add(1);
        if is_too_many {
            connection.turn_away(&mut self.desk);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        let registered = connection.transport.register(self.poll.registry(), slot);
        self.slots[slot] = Slot::Here(connection);
        if registered.is_err() || is_far_too_many {
            return self.close(slot);
        }
        self.advance(slot);
    }

    fn send_away(&mut self, slot: usize, errand: Errand) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        let Slot::Here(connection) = std::mem::replace(entry, Slot::Free) else {
            return;
        };
        let mut connection = connection;
        connection.is_queued = false;
        *entry = Slot::Away { woken: false };
        let (mailbox, shared) = (Arc::clone(&self.mailbox), Arc::clone(&self.shared));
        let task = move || {
            let outcome = errand::run(errand, &mut connection, &shared);
            mailbox.put(Return {
                slot,
                connection,
                outcome,
            });
        };
        // Where a thousand tasks wait already, the connection is lost with its task.
        if self.shared.pool.run(Box::new(task)).is_err() {
            self.close(slot);
        }
    }

    fn take_returned(&mut self) {
        for Return {
            slot,
            mut connection,
            outcome,
        } in self.mailbox.take()
        {
            // What happened meanwhile was not looked at.
            let is_handshake = matches!(connection.transport, Transport::Handshake(_));
            let was_woken = matches!(self.slots[slot], Slot::Away { woken: true, .. });
            connection.is_readable = !is_handshake || was_woken;
            connection.reads_on = true;
            let goes_on = match outcome {
                Outcome::Transferred => {
                    connection.transferred(&mut self.desk);
                    true
                }
                Outcome::Shaken => {
                    connection.shaken(&self.desk);
                    true
                }
                Outcome::Worked(response) => {
                    connection.resume(response.map(|response| *response), &mut self.desk)
                }
                Outcome::Failed => {
                    self.slots[slot] = Slot::Here(connection);
                    self.close(slot);
                    continue;
                }
            };
            self.slots[slot] = Slot::Here(connection);
            match goes_on {
                true => self.advance(slot),
                false => self.close(slot),
            }
        }
    }

    fn tick(&mut self) {
        let now = self.desk.now;
        if self.rate_due <= now {
            self.rate_due = now + RATE_TICK;
            for slot in std::mem::take(&mut self.paused) {
                self.advance_queued(slot);
            }
        }
        if self.accepts_at.is_some_and(|at| at <= now) {
            self.accepts_at = None;
            self.accepts_again = true;
        }
        if self.desk.library.expires().is_some_and(|at| at <= now) {
            self.desk.library.clear();
        }
        if self.desk.log.next_flush().is_some_and(|at| at <= now) {
            self.desk.log.flush(now);
        }
        if now < self.ticked + TICK || self.next_deadline.is_none_or(|at| at > now) {
            return;
        }
        self.ticked = now;
        self.next_deadline = None;
        for slot in 0..self.slots.len() {
            let Slot::Here(connection) = &mut self.slots[slot] else {
                continue;
            };
            if connection.deadline > now {
                let deadline = connection.deadline;
                let earliest = self.next_deadline.map_or(deadline, |at| at.min(deadline));
                self.next_deadline = Some(earliest);
            } else if connection.expire(&mut self.desk) {
                self.close(slot);
            } else {
                self.advance(slot);
            }
        }
    }

    /// Closes what is idle; whether nothing is left.
    fn drain(&mut self, end: Instant) -> bool {
        self.listener = None;
        self.desk.drains = true;
        let is_cut = end <= self.desk.now;
        self.shared.is_cut.fetch_or(is_cut, Ordering::Relaxed);
        let mut left = 0;
        for slot in 0..self.slots.len() {
            match &self.slots[slot] {
                Slot::Here(connection) if is_cut || connection.is_idle() => self.close(slot),
                Slot::Here(_) => left += 1,
                Slot::Away { .. } => left += usize::from(!is_cut),
                Slot::Free => {}
            }
        }
        left == 0
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    matches!(
        errno,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
    )
}
