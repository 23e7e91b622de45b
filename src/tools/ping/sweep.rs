//! Searches ranges and lists: who answers at all?
//!
//! What a request needs to be recognised by its answer is in its payload, under a keyed hash, so
//! that a million addresses need an octet of memory each and nobody can forge an answer.

mod addresses;
mod report;
mod search;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::targets::Target;
use super::watch::cannot_receive;
use super::{Arguments, SWEEP_TIMEOUT};
use crate::cancel::Wake;
use crate::clock;
use crate::measure::rtt::Rtts;
use crate::net;
use crate::net::icmp::{IcmpSocket, Options};
use crate::net::inbox::Queued;
use crate::output::Text;
use crate::path::message_of;
use crate::tool::{Context, Error, Status};
use crate::wire::icmp::{self, Echo, Message, Version};
use addresses::Addresses;
use report::Event;
use search::{Plan, Search, Step};

/// A keyed hash, the place among the addresses, and when it was sent.
const TOKEN_OCTETS: usize = 8 + 4 + 8;
/// Requests that leave before answers are read.
const BURST: usize = 64;
/// How long the system gets to send what it has.
const BACK_OFF: Duration = Duration::from_millis(1);
const SUMMARY_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    All,
    Alive,
    Dead,
    Nothing,
}

struct Sweep<'a> {
    context: &'a Context,
    addresses: Addresses,
    search: Search,
    sockets: Vec<(Version, IcmpSocket)>,
    payload: Vec<u8>,
    key: RandomState,
    started: Instant,
    listing: Listing,
    sent: u64,
    not_sent: Option<(u64, String)>,
    rtts: Rtts,
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    targets: &[Target],
) -> Result<Status, Error> {
    if usize::from(arguments.size) < TOKEN_OCTETS {
        let text = format!(
            "a search needs {TOKEN_OCTETS} octets of payload; take -s {TOKEN_OCTETS} or more"
        );
        return Err(Error::Usage(text));
    }
    let addresses = Addresses::new(context, arguments, targets)?;
    let timeout = arguments.timeout.unwrap_or(SWEEP_TIMEOUT);
    let plan = Plan {
        count: addresses.count,
        tries: arguments.tries,
        interval: arguments.interval.unwrap_or_default(),
        timeout,
    };
    let options = Options {
        transmit_stamps: false,
        large_buffer: true,
        ..arguments.options()
    };
    let mut sockets = Vec::new();
    for version in [Version::V4, Version::V6] {
        let is_v4 = version == Version::V4;
        if addresses.has_family(is_v4) {
            sockets.push((version, IcmpSocket::open(is_v4, &options)?));
        }
    }
    let listing = match (arguments.alive, arguments.dead, arguments.quiet) {
        (_, true, _) => Listing::Dead,
        (true, ..) => Listing::Alive,
        (.., true) => Listing::Nothing,
        _ => Listing::All,
    };
    let started = clock::now();
    let mut sweep = Sweep {
        context,
        search: Search::new(plan, started),
        addresses,
        sockets,
        payload: arguments.payload(),
        key: RandomState::new(),
        started,
        listing,
        sent: 0,
        not_sent: None,
        rtts: Rtts::default(),
    };
    let is_plain = matches!(listing, Listing::Alive | Listing::Dead);
    let names = told(targets);
    if !is_plain {
        context.out.emit(&Event::Search {
            targets: names.clone(),
            addresses: sweep.addresses.count,
            tries: arguments.tries,
            timeout_ms: timeout.as_secs_f64() * 1e3,
        });
    }
    let ended = sweep.run(arguments.deadline.map(|span| started + span));
    if listing == Listing::Dead {
        sweep.list_dead();
    }
    if !is_plain {
        context.out.emit(&sweep.found(names));
    }
    ended?;
    let alive = sweep.search.alive;
    let good = match listing {
        Listing::Dead => alive < sweep.addresses.count,
        _ => alive > 0,
    };
    let good = good && !sweep.addresses.has_unknown;
    Ok(if good { Status::OK } else { Status::NEGATIVE })
}

/// The first of the targets, and how many more.
fn told(targets: &[Target]) -> String {
    const NAMED_MAX: usize = 4;
    let name = |target: &Target| match target {
        Target::Host(host) => host.clone(),
        Target::Range(range) => range.to_string(),
    };
    let mut names: Vec<String> = targets.iter().take(NAMED_MAX).map(name).collect();
    if targets.len() > NAMED_MAX {
        names.push(format!("and {} more", targets.len() - NAMED_MAX));
    }
    names.join(" ")
}

impl Sweep<'_> {
    fn run(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let mut summarize_at = self.started + SUMMARY_INTERVAL;
        loop {
            if self.context.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            self.receive()?;
            let wait_until = self.send_burst();
            let now = clock::now();
            if now >= summarize_at {
                summarize_at = now + SUMMARY_INTERVAL;
                self.context.summarize(format!(
                    "{} of {} asked, {} alive",
                    self.search.asked(),
                    self.addresses.count,
                    self.search.alive
                ));
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(());
            }
            let Some(mut wait_until) = wait_until else {
                return Ok(());
            };
            if wait_until <= now {
                continue;
            }
            wait_until = deadline.map_or(wait_until, |deadline| wait_until.min(deadline));
            let fds: Vec<_> = self.sockets.iter().map(|socket| socket.1.as_fd()).collect();
            let cancel = &self.context.cancel;
            // How it goes is in the summary; there is nothing more to tell.
            while cancel.wait_any(&fds, PollFlags::POLLIN, Some(wait_until))? == Wake::Nudged {}
        }
    }

    /// Sends what is due, up to a burst; until when to wait then, if anything is left.
    fn send_burst(&mut self) -> Option<Instant> {
        for _ in 0..BURST {
            let now = clock::now();
            match self.search.poll(now) {
                Step::Send(index) => {
                    if !self.send(index, now) {
                        return Some(now + BACK_OFF);
                    }
                }
                Step::WaitUntil(at) => return Some(at),
                Step::Done => return None,
            }
        }
        Some(clock::now())
    }

    /// Whether the system took it, or never will.
    fn send(&mut self, index: u32, now: Instant) -> bool {
        let address = self.addresses.socket_address(index);
        let version = Version::of(address.ip());
        let sent_ns = u64::try_from((now - self.started).as_nanos()).unwrap_or(u64::MAX);
        let token = self.key.hash_one((index, sent_ns));
        self.payload[..8].copy_from_slice(&token.to_be_bytes());
        self.payload[8..12].copy_from_slice(&index.to_be_bytes());
        self.payload[12..TOKEN_OCTETS].copy_from_slice(&sent_ns.to_be_bytes());
        let socket = self.sockets.iter_mut().find(|socket| socket.0 == version);
        let (_, socket) = socket.expect("opened for each family among the addresses");
        let echo = Echo {
            identifier: socket.identifier(),
            sequence_number: index as u16,
            payload: &self.payload,
        };
        let octets = echo.emit_request(version);
        match socket.send(&octets, &address, None) {
            Ok(_) => {
                self.sent += 1;
                self.search.on_sent(index, now);
                true
            }
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                if matches!(errno, Errno::ENOBUFS | Errno::EAGAIN) {
                    return false;
                }
                let why = net::cannot_send(&address, octets.len(), &error);
                let count = self.not_sent.as_ref().map_or(0, |not_sent| not_sent.0);
                self.not_sent = Some((count + 1, why));
                self.search.on_refused(index);
                true
            }
        }
    }

    fn receive(&mut self) -> Result<(), Error> {
        for place in 0..self.sockets.len() {
            loop {
                let (version, socket) = &mut self.sockets[place];
                let (version, identifier) = (*version, socket.identifier());
                let problem = match socket.receive_queued().map_err(cannot_receive)? {
                    None => break,
                    Some(Queued::Transmitted { .. }) => continue,
                    Some(Queued::Problem(problem)) => problem,
                };
                let echo = icmp::parse_quoted_request(version, problem.quote);
                let told = icmp::Problem::new(version, problem.kind, problem.code, problem.info);
                if let (Some(router), Some(destination), Some(told), Ok(echo)) =
                    (problem.router, problem.destination, told, echo)
                    && echo.identifier == identifier
                {
                    self.take_problem(destination.ip(), router, told);
                }
            }
            loop {
                let (version, socket) = &mut self.sockets[place];
                let (version, mode, identifier) = (*version, socket.mode, socket.identifier());
                let Some(received) = socket.receive().map_err(cannot_receive)? else {
                    break;
                };
                let (from, at) = (received.from.ip(), received.at);
                let Some((message, ttl)) = message_of(&received, version, mode) else {
                    continue;
                };
                match Message::parse(version, message) {
                    Ok(Message::EchoReply(echo)) if echo.identifier == identifier => {
                        let token = read_token(echo.payload);
                        self.take_reply(token, from, ttl, at);
                    }
                    Ok(Message::Problem { problem, quote }) => {
                        if let Ok((packet, echo)) = icmp::parse_quoted_packet(version, quote)
                            && echo.identifier == identifier
                        {
                            let destination = packet.destination;
                            self.take_problem(destination, from, problem);
                        }
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn take_reply(
        &mut self,
        token: Option<(u64, u32, u64)>,
        from: IpAddr,
        ttl: Option<u8>,
        at: Instant,
    ) {
        let Some((token, index, sent_ns)) = token else {
            return;
        };
        let is_own = u64::from(index) < self.addresses.count
            && self.key.hash_one((index, sent_ns)) == token
            && self.addresses.at(index) == from;
        if !is_own || !self.search.on_reply(index) {
            return;
        }
        let rtt = at.saturating_duration_since(self.started + Duration::from_nanos(sent_ns));
        self.rtts.add(rtt);
        match self.listing {
            Listing::All => self.context.out.emit(&Event::Alive {
                host: self.addresses.name(index),
                rtt_ms: rtt.as_secs_f64() * 1e3,
                ttl,
            }),
            Listing::Alive => self.list(index),
            Listing::Dead | Listing::Nothing => {}
        }
    }

    fn take_problem(&mut self, destination: IpAddr, router: IpAddr, problem: icmp::Problem) {
        let Some(index) = self.addresses.place_of(destination) else {
            return;
        };
        if problem.is_redirect() || !self.search.on_unreachable(index) {
            return;
        }
        // In a range most addresses belong to nobody.
        if self.listing == Listing::All && self.addresses.is_single(index) {
            self.context.out.emit(&Event::Unreachable {
                host: self.addresses.name(index),
                from: router.to_string(),
                problem: problem.to_string(),
            });
        }
    }

    fn list(&self, index: u32) {
        let text = self.addresses.given(index);
        self.context.out.emit(&Text { text });
    }

    fn list_dead(&self) {
        for index in 0..self.addresses.count as u32 {
            if self.search.is_dead(index) && !self.context.cancel.is_cancelled() {
                self.list(index);
            }
        }
    }

    fn found(&self, targets: String) -> Event {
        let alive = self.search.alive;
        Event::Found {
            targets,
            addresses: self.addresses.count,
            alive,
            unreachable: self.search.unreachable,
            silent: self.search.silent(),
            not_asked: self.addresses.count - self.search.asked(),
            sent: self.sent,
            time_ms: (clock::now() - self.started).as_secs_f64() * 1e3,
            min_ms: self.rtts.min,
            avg_ms: self.rtts.average,
            max_ms: self.rtts.max,
            not_sent: self.not_sent.clone(),
        }
    }
}

/// Hash, place and time in a payload.
fn read_token(payload: &[u8]) -> Option<(u64, u32, u64)> {
    let (token, rest) = payload.split_first_chunk()?;
    let (index, rest) = rest.split_first_chunk()?;
    let sent_ns = rest.first_chunk()?;
    Some((
        u64::from_be_bytes(*token),
        u32::from_be_bytes(*index),
        u64::from_be_bytes(*sent_ns),
    ))
}
