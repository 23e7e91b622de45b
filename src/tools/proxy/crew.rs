//! The threads. Each serves one connection at a time while something happens on it, and goes
//! back to the lobby; there are as many as there is work for, up to a limit.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{refuse, turn_away};
use super::client::{Client, Next, TOO_SLOW};
use super::exchange::{After, exchange};
use super::failure::Failure;
use super::lobby::{Guest, Visit};
use super::shared::Shared;
use super::tally::TunnelRecord;
use super::tunnel::Tunnel;
use crate::clock;
use crate::http::caching::cache_status::ErrorType;
use crate::net::peer::Peer;

/// Idle threads that are kept: starting one takes longer than an exchange.
const IDLE_MAX: usize = 64;
/// An exchange needs little.
const STACK_OCTETS: usize = 256 << 10;
/// After the last answer the client's octets are read for so long, and so many: closing before
/// that would make its system throw the answer away (RFC 9112 section 9.6).
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_OCTETS_MAX: usize = 4 << 20;
/// Larger buffers are given back after an exchange.
const KEPT_OCTETS_MAX: usize = 16 << 10;

pub(super) struct Crew {
    shared: Arc<Shared>,
    idle: AtomicUsize,
    headcount: Arc<Headcount>,
}

/// Of the threads; by itself, so that a thread counted out holds nothing of the crew any more.
#[derive(Default)]
struct Headcount {
    threads: Mutex<usize>,
    left: Condvar,
}

/// What a thread uses again and again.
#[derive(Default)]
struct Scratch {
    head: Vec<u8>,
    out: Vec<u8>,
}

impl Crew {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Arc<Crew>> {
        let crew = Arc::new(Crew {
            shared,
            idle: AtomicUsize::new(0),
            headcount: Arc::default(),
        });
        crew.hire()?;
        Ok(crew)
    }

    fn hire(self: &Arc<Self>) -> io::Result<()> {
        self.idle.fetch_add(1, Ordering::SeqCst);
        let hired = self.employ(|crew| crew.work());
        if !matches!(hired, Ok(true)) {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
        hired.map(|_| ())
    }

    /// A thread for this work, unless there are as many as there may be.
    fn employ(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Crew>) + Send + 'static,
    ) -> io::Result<bool> {
        let mut threads = self.headcount.lock();
        if *threads >= self.shared.limits.threads {
            return Ok(false);
        }
        let (captured, headcount) = (Arc::clone(self), Arc::clone(&self.headcount));
        thread::Builder::new()
            .name("proxy".to_owned())
            .stack_size(STACK_OCTETS)
            .spawn(move || {
                let _leaving = Leaving(headcount);
                let crew = captured;
                work(&crew);
            })?;
        *threads += 1;
        Ok(true)
    }

    fn work(self: &Arc<Self>) {
        let mut scratch = Scratch::default();
        loop {
            let visit = self.shared.lobby.wait();
            if matches!(visit, Visit::Nothing) {
                continue;
            }
            if self.shared.is_closing()
                && let Visit::Guest(Guest::Tunnel(tunnel)) = visit
            {
                return tunnel.run(&self.shared);
            }
            if matches!(visit, Visit::Closed) || self.shared.is_closing() {
                return;
            }
            // Somebody else must wait now. Without a further thread the next visitor waits.
            if self.idle.fetch_sub(1, Ordering::SeqCst) == 1 {
                let _ = self.hire();
            }
            match visit {
                Visit::New(stream, address) => self.welcome(stream, address, &mut scratch),
                Visit::Guest(Guest::Client(client)) => self.serve(*client, &mut scratch),
                Visit::Guest(Guest::Tunnel(tunnel)) => tunnel.run(&self.shared),
                Visit::Nothing | Visit::Closed => {}
            }
            scratch.head.shrink_to(KEPT_OCTETS_MAX);
            scratch.out.shrink_to(KEPT_OCTETS_MAX);
            if self.idle.fetch_add(1, Ordering::SeqCst) >= IDLE_MAX {
                self.idle.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr, scratch: &mut Scratch) {
        let shared = &self.shared;
        let peer = Peer::accepted(stream, address);
        let ip = address.ip().to_canonical();
        shared.tally.count_accepted();
        let is_own = ip.is_loopback() || shared.own_addresses.contains(&ip);
        let place = shared.places.take(ip, is_own);
        let permitted = shared
            .rules
            .clients
            .as_ref()
            .is_none_or(|clients| clients.permits(ip));
        let refusal = match (permitted, place.fits) {
            (true, true) => return self.serve(Client::new(peer, place), scratch),
            (true, false) => {
                Failure::new(ErrorType::ConnectionLimitReached, "Too many connections")
                    .why("The proxy has as many connections as it may have.")
                    .advice("Try again in a moment.")
            }
            (false, _) => Failure::denied(format!("This proxy is not for {ip}"))
                .why("It was started for other addresses.")
                .advice("Whoever runs it can permit more with --allow."),
        };
        shared.tally.count_refused();
        turn_away(&peer, &refusal, shared, &mut scratch.out);
        peer.finish_sending();
        // What it has sent already must not make its system throw the answer away.
        scratch.head.clear();
        let _ = peer.receive_now(&mut scratch.head, KEPT_OCTETS_MAX);
    }

    /// Until the client goes, or waits.
    fn serve(&self, mut client: Client, scratch: &mut Scratch) {
        let shared = &self.shared;
        loop {
            let after = match client.next(shared) {
                Next::Head(found) => {
                    scratch.head.clear();
                    scratch
                        .head
                        .extend_from_slice(&client.buffer[found.clone()]);
                    client.buffer.drain(..found.end);
                    exchange(&mut client, &scratch.head, shared, &mut scratch.out)
                }
                Next::Waits => return self.seat(client),
                Next::Refused(refusal) => {
                    let start = std::mem::take(&mut client.buffer);
                    refuse(&mut client, refusal, &start, shared, &mut scratch.out)
                }
                Next::Over => After::Close,
            };
            if !matches!(after, After::Next) {
                shared.tally.settle(&mut client.ledger);
            }
            match after {
                After::Next if shared.is_closing() => {
                    shared.tally.settle(&mut client.ledger);
                    return self.part(client);
                }
                After::Next => {}
                After::Close => return self.part(client),
                After::Linger => {
                    linger(&client.peer, shared);
                    return self.part(client);
                }
                After::Reset => return client.peer.reset(),
                After::Tunnel(opened) => {
                    let address = client.address();
                    let record = TunnelRecord::new(&shared.tally, address, opened.destination);
                    let origin = opened.origin;
                    let Client {
                        peer,
                        buffer,
                        place,
                        ..
                    } = client;
                    let ends = (peer, origin.peer);
                    let tunnel =
                        Tunnel::new(ends, buffer, origin.buffer, &opened.fault, place, record);
                    return tunnel.run(shared);
                }
            }
        }
    }

    fn seat(&self, mut client: Client) {
        let shared = &self.shared;
        shared.tally.settle(&mut client.ledger);
        if let Some(origin) = client.origin.take_if(|origin| !origin.is_personal) {
            shared.upstream.keep(origin, clock::now());
        }
        client.shrink();
        let deadline = client.deadline(shared);
        // A client that has asked for nothing ends with the lobby.
        let _ = shared.lobby.seat(Guest::Client(Box::new(client)), deadline);
    }

    /// Nobody new is let in; what is under way goes on.
    pub(super) fn close(self: &Arc<Self>) {
        for tunnel in self.shared.close() {
            // Without a thread it ends.
            let _ = self.employ(move |crew| tunnel.run(&crew.shared));
        }
    }

    /// Its connection to an origin may be of use to others.
    fn part(&self, mut client: Client) {
        if let Some(origin) = client.origin.take() {
            self.shared.upstream.keep(origin, clock::now());
        }
    }

    /// Somebody waits for visitors, whatever has become of the others.
    pub(super) fn look_after(self: &Arc<Self>) {
        if self.idle.load(Ordering::SeqCst) == 0 {
            let _ = self.hire();
        }
    }

    /// Those that waited too long in the lobby are told so where they have begun a request.
    pub(super) fn dismiss_overdue(&self, now: Instant) {
        for guest in self.shared.lobby.overdue(now) {
            // The thread that does this waits for nobody.
            if let Guest::Client(client) = guest
                && client.is_in_head()
            {
                let refusal = Failure::refusal(TOO_SLOW);
                turn_away(&client.peer, &refusal, &self.shared, &mut Vec::new());
                client.peer.finish_sending();
            }
        }
    }

    /// Waits until all threads have ended.
    pub(super) fn wait_until(&self, deadline: Instant) {
        let mut threads = self.headcount.lock();
        while *threads > 0 {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            let waited = self.headcount.left.wait_timeout(threads, left);
            threads = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Headcount {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a thread out, also when it panics.
struct Leaving(Arc<Headcount>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.left.notify_all();
    }
}

fn linger(peer: &Peer, shared: &Shared) {
    peer.finish_sending();
    let deadline = clock::now() + LINGER_FOR;
    let (mut buffer, mut octets) = (Vec::new(), 0);
    while octets < LINGER_OCTETS_MAX {
        buffer.clear();
        match peer.receive(&mut buffer, KEPT_OCTETS_MAX, deadline, &shared.cut) {
            Ok(count @ 1..) => octets += count,
            Ok(_) | Err(_) => return,
        }
    }
}
