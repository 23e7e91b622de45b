//! Where connections wait that need no thread now: the listener's new ones, clients between two
//! requests or in the middle of a head, tunnels that carry nothing. Idle threads wait here too,
//! and each is woken for one of them.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::client::Client;
use super::tunnel::Tunnel;
use crate::cancel::Bell;

pub(super) struct Lobby {
    epoll: Epoll,
    /// Until the lobby is closed.
    listener: RwLock<Option<TcpListener>>,
    closing: Bell,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    waiting: HashMap<u64, (Guest, Instant)>,
    next: u64,
    is_closed: bool,
}

pub(super) enum Guest {
    Client(Box<Client>),
    Tunnel(Box<Tunnel>),
}

/// What a thread is woken for.
pub(super) enum Visit {
    New(TcpStream, SocketAddr),
    Guest(Guest),
    /// Somebody else was quicker, or no connection can be accepted now.
    Nothing,
    Closed,
}

const LISTENER: u64 = 0;
const CLOSING: u64 = 1;
const FIRST_GUEST: u64 = 2;

impl Lobby {
    /// `listener` does not block.
    pub(super) fn open(listener: TcpListener) -> io::Result<Lobby> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let closing = Bell::new()?;
        epoll.add(&closing, EpollEvent::new(EpollFlags::EPOLLIN, CLOSING))?;
        epoll.add(&listener, once(LISTENER))?;
        let guests = Guests {
            next: FIRST_GUEST,
            ..Guests::default()
        };
        Ok(Lobby {
            epoll,
            listener: RwLock::new(Some(listener)),
            closing,
            guests: Mutex::new(guests),
        })
    }

    /// Until it shows something, or the deadline passes. Once the lobby is closed, it comes back.
    pub(super) fn seat(&self, guest: Guest, deadline: Instant) -> Option<Guest> {
        let mut guests = self.guests();
        if guests.is_closed {
            return Some(guest);
        }
        let number = guests.next;
        guests.next += 1;
        let seated = match &guest {
            Guest::Client(client) => self.epoll.add(&client.peer, once(number)),
            Guest::Tunnel(tunnel) => {
                let mut ends = tunnel.ends().into_iter();
                ends.try_for_each(|(end, may_speak)| match may_speak {
                    true => self.epoll.add(end, once(number)),
                    // It would say again and again that it has ended.
                    false => {
                        let flags = EpollFlags::EPOLLONESHOT;
                        self.epoll.add(end, EpollEvent::new(flags, number))
                    }
                })
            }
        };
        // Without memory for that in the kernel the connection ends.
        if seated.is_ok() {
            guests.waiting.insert(number, (guest, deadline));
        }
        None
    }

    /// Waits for work.
    pub(super) fn wait(&self) -> Visit {
        let mut events = [EpollEvent::empty()];
        match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(1..) => {}
            Ok(_) | Err(Errno::EINTR) => return Visit::Nothing,
            Err(_) => return Visit::Closed,
        }
        match events[0].data() {
            CLOSING => Visit::Closed,
            LISTENER => self.accept(),
            number => {
                let woken = self.guests().waiting.remove(&number);
                woken.map_or(Visit::Nothing, |(guest, _)| {
                    self.dismiss(&guest);
                    Visit::Guest(guest)
                })
            }
        }
    }

    fn accept(&self) -> Visit {
        let listener = self.listener.read().unwrap_or_else(PoisonError::into_inner);
        let Some(listener) = &*listener else {
            return Visit::Closed;
        };
        let accepted = listener.accept();
        let is_out_of_descriptors = |error: &io::Error| {
            !matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
            )
        };
        // The kernel would say at once again that there is a connection. The next round of
        // `watch_listener` looks after it.
        if !accepted.as_ref().is_err_and(is_out_of_descriptors) {
            let _ = self.epoll.modify(listener, &mut once(LISTENER));
        }
        match accepted {
            // On Linux it blocks, whatever its listener does.
            Ok((stream, address)) => Visit::New(stream, address),
            Err(_) => Visit::Nothing,
        }
    }

    /// New connections may be accepted again.
    pub(super) fn watch_listener(&self) {
        let listener = self.listener.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &*listener {
            let _ = self.epoll.modify(listener, &mut once(LISTENER));
        }
    }

    fn dismiss(&self, guest: &Guest) {
        match guest {
            Guest::Client(client) => {
                let _ = self.epoll.delete(&client.peer);
            }
            Guest::Tunnel(tunnel) => {
                for (end, _) in tunnel.ends() {
                    let _ = self.epoll.delete(end);
                }
            }
        }
    }

    /// Those that have waited too long, no more waiting.
    pub(super) fn overdue(&self, now: Instant) -> Vec<Guest> {
        let mut guests = self.guests();
        let late = guests
            .waiting
            .extract_if(|_, (_, deadline)| *deadline <= now)
            .map(|(_, (guest, _))| guest);
        let late: Vec<Guest> = late.collect();
        for guest in &late {
            self.dismiss(guest);
        }
        late
    }

    /// Nobody waits here from now on, and the port is free. Tunnels that only pause come back.
    pub(super) fn close(&self, now: Instant) -> Vec<Tunnel> {
        let mut listener = self
            .listener
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        drop(listener.take());
        let mut guests = self.guests();
        guests.is_closed = true;
        let waiting = std::mem::take(&mut guests.waiting);
        drop(guests);
        let pausing = waiting.into_values().filter_map(|(guest, _)| {
            self.dismiss(&guest);
            match guest {
                Guest::Tunnel(tunnel) if tunnel.is_pausing(now) => Some(*tunnel),
                Guest::Tunnel(_) | Guest::Client(_) => None,
            }
        });
        let pausing = pausing.collect();
        self.closing.ring();
        pausing
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event, for one thread.
fn once(number: u64) -> EpollEvent {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLONESHOT;
    EpollEvent::new(flags, number)
}
