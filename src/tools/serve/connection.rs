//! One connection: its socket, what has come, what is to go, and until when.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::answer::{Response, Work};
use super::conversation::{Conversation, Turn};
use super::desk::Desk;
use super::pool::{Permit, Pool};
use super::transfer::{Progress, Transport};
use crate::http::Refusal;
use crate::web::places::Place;

/// Answers to pipelined requests that are put together before they are sent.
const OUT_OCTETS_MAX: usize = 128 << 10;
/// Sent, and read, before another connection gets its turn.
const TURN_OCTETS_MAX: u64 = 4 << 20;
const TURN_READS_MAX: u32 = 16;
/// Larger bodies have a thread to themselves while there is one.
const LARGE_OCTETS_MIN: u64 = 256 << 10;
/// A client that takes nothing for so long gives the thread back.
const PATIENCE: Duration = Duration::from_millis(200);
/// After the last answer the client's octets are read for so long, and so many: closing before
/// that would make its system throw the answer away (RFC 9112 section 9.6).
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_OCTETS_MAX: usize = 4 << 20;
/// For a request with a body, from its first octet.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

pub(super) struct Connection {
    pub(super) transport: Transport,
    conversation: Conversation,
    /// What has come and was not taken.
    input: Vec<u8>,
    /// There is something in `input` that was not looked at.
    is_fresh: bool,
    pub(super) is_readable: bool,
    /// Behind a short read there may be more: the peer's end, or what came unheard.
    pub(super) reads_on: bool,
    /// The client takes its time, so that a thread is not worth it.
    is_slow: bool,
    lingers: Option<usize>,
    /// The loop comes back to it by itself.
    pub(super) is_queued: bool,
    /// Among those that may be open at a time.
    _place: Place,
    pub(super) deadline: Instant,
    /// With `--rate`: what may be sent, and since when it has been counted.
    allowance: (u64, Instant),
}

/// What a connection is to do next.
pub(super) enum Fate {
    /// It waits for its client.
    Waits,
    /// It has more to do, after the others.
    Again,
    /// It may send more after a while.
    Paused,
    /// It leaves the loop for a thread of the pool.
    Away(Errand),
    Over,
}

pub(super) enum Errand {
    Transfer(Permit),
    Work(Work),
    Handshake,
}

impl Connection {
    pub(super) fn new(
        transport: Transport,
        peer: SocketAddr,
        place: Place,
        desk: &Desk,
    ) -> Connection {
        Connection {
            is_readable: transport.is_plain(),
            transport,
            conversation: Conversation::new(peer),
            input: Vec::new(),
            is_fresh: false,
            reads_on: false,
            is_slow: false,
            lingers: None,
            is_queued: false,
            _place: place,
            deadline: desk.now + desk.site.limits.idle_time,
            allowance: (0, desk.now),
        }
    }

    /// One more than there may be: it is told so, and nothing else.
    pub(super) fn turn_away(&mut self, desk: &mut Desk) {
        const BUSY: &[u8] =
            b"HTTP/1.1 503 Service Unavailable\r\nServer: nsh\r\nRetry-After: 1\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";
        desk.counters.refused.add(1);
        self.conversation.closes = true;
        self.conversation.outgoing.push_octets(BUSY.to_vec());
    }

    pub(super) fn is_shaking(&self) -> bool {
        matches!(self.transport, Transport::Handshake(_))
    }

    /// Nothing is under way on it.
    pub(super) fn is_idle(&self) -> bool {
        self.conversation.outgoing.is_empty()
            && self.conversation.began.is_none()
            && self.lingers.is_none()
    }

    /// Does what can be done without waiting.
    pub(super) fn advance(&mut self, desk: &mut Desk, scratch: &mut [u8], pool: &Pool) -> Fate {
        if let Transport::Handshake(_) = self.transport {
            self.deadline = self.began_at(desk.now) + desk.site.limits.head_time;
            return match std::mem::take(&mut self.is_readable) {
                true => Fate::Away(Errand::Handshake),
                false => Fate::Waits,
            };
        }
        let mut budget = TURN_OCTETS_MAX;
        let mut reads = 0;
        loop {
            if !self.conversation.outgoing.is_empty()
                && let Some(fate) = self.send(desk, &mut budget)
            {
                // What the client does not take at once has a thread to itself.
                let is_large = self.conversation.outgoing.has_stream()
                    || self.conversation.outgoing.file_octets() >= LARGE_OCTETS_MIN;
                let is_free = matches!(fate, Fate::Waits | Fate::Again);
                if is_free
                    && is_large
                    && !self.is_slow
                    && desk.site.limits.rate.is_none()
                    && let Some(permit) = pool.permit()
                {
                    return Fate::Away(Errand::Transfer(permit));
                }
                return fate;
            }
            if self.conversation.closes && self.lingers.is_none() {
                self.transport.shut_down();
                self.lingers = Some(LINGER_OCTETS_MAX);
                self.deadline = desk.now + LINGER_FOR;
                self.input = Vec::new();
                self.is_fresh = false;
            }
            if std::mem::take(&mut self.is_fresh) {
                let input = std::mem::take(&mut self.input);
                let (taken, work) = self.converse(&input, desk);
                self.input = input;
                self.input.drain(..taken);
                match self.after_turns(work, desk) {
                    Some(fate) => return fate,
                    None => continue,
                }
            }
            if !self.is_readable {
                return Fate::Waits;
            }
            reads += 1;
            if reads > TURN_READS_MAX {
                return Fate::Again;
            }
            let count = match self.transport.receive(scratch) {
                Ok(0) => return Fate::Over,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    (self.is_readable, self.reads_on) = (false, false);
                    return Fate::Waits;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Fate::Over,
            };
            // A short read has emptied the socket.
            let is_emptied = count < scratch.len() && self.transport.is_plain();
            self.is_readable = !is_emptied || self.reads_on;
            if let Some(left) = &mut self.lingers {
                if *left < count {
                    return Fate::Over;
                }
                *left -= count;
                continue;
            }
            if self.input.is_empty() {
                let (taken, work) = self.converse(&scratch[..count], desk);
                self.input.extend_from_slice(&scratch[taken..count]);
                if let Some(fate) = self.after_turns(work, desk) {
                    return fate;
                }
            } else {
                self.input.extend_from_slice(&scratch[..count]);
                self.is_fresh = true;
            }
        }
    }

    fn began_at(&mut self, now: Instant) -> Instant {
        *self.conversation.began.get_or_insert(now)
    }

    /// Answers the requests in `octets`; how much of them was taken, and what takes time.
    fn converse(&mut self, octets: &[u8], desk: &mut Desk) -> (usize, Option<Work>) {
        let mut at = 0;
        self.is_fresh = false;
        while at < octets.len() && !self.conversation.closes {
            if !self.conversation.outgoing.is_empty() || desk.out.len() > OUT_OCTETS_MAX {
                self.is_fresh = true;
                break;
            }
            self.began_at(desk.now);
            let conversation = &mut self.conversation;
            let (taken, turn) = conversation.turn(&octets[at..], desk);
            at += taken;
            match turn {
                Turn::NeedsMore => break,
                Turn::Answered if conversation.is_receiving() => {}
                Turn::Answered => self.conversation.began = None,
                Turn::Later(work) => {
                    self.is_fresh = true;
                    return (at, Some(work));
                }
            }
        }
        (at, None)
    }

    /// Sends the answers, and sets the time until when the client has to do something.
    fn after_turns(&mut self, work: Option<Work>, desk: &mut Desk) -> Option<Fate> {
        if self.input.is_empty() {
            self.input = Vec::new();
            self.is_fresh = false;
        }
        let is_sent = self.send_out(desk);
        self.set_deadline(desk);
        match (is_sent, work) {
            (Err(_), _) => Some(Fate::Over),
            (Ok(()), Some(work)) => Some(Fate::Away(Errand::Work(work))),
            (Ok(()), None) => None,
        }
    }

    /// Sends what the turns have put together, in one call if the client takes it.
    fn send_out(&mut self, desk: &mut Desk) -> io::Result<()> {
        if desk.out.is_empty() {
            return Ok(());
        }
        let has_more = !self.conversation.outgoing.is_empty();
        let mut sent = 0;
        if !has_more && desk.site.limits.rate.is_none() {
            match self.transport.send(&desk.out, false) {
                Ok(count) => sent = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if sent < desk.out.len() {
            self.conversation
                .outgoing
                .push_front(desk.out[sent..].to_vec());
        }
        desk.out.clear();
        desk.out.shrink_to(2 * OUT_OCTETS_MAX);
        Ok(())
    }

    /// `None`: all has been sent.
    fn send(&mut self, desk: &mut Desk, budget: &mut u64) -> Option<Fate> {
        let mut allowance = *budget;
        if let Some(rate) = desk.site.limits.rate {
            allowance = self.allowed(rate, desk.now);
        }
        let before = allowance;
        let flushed = self
            .conversation
            .outgoing
            .flush(&mut self.transport, &mut allowance);
        let sent = before - allowance;
        *budget = budget.saturating_sub(sent);
        if desk.site.limits.rate.is_some() {
            self.allowance.0 = allowance;
        }
        if sent > 0 {
            self.deadline = desk.now + desk.site.limits.stall_time;
        }
        match flushed {
            Ok(Progress::Blocked) => Some(Fate::Waits),
            Ok(Progress::Spent) if desk.site.limits.rate.is_some() => Some(Fate::Paused),
            Ok(Progress::Spent) => Some(Fate::Again),
            Err(_) => Some(Fate::Over),
            Ok(Progress::Done) => {
                self.all_sent(desk);
                None
            }
        }
    }

    /// The answer is with the client.
    fn all_sent(&mut self, desk: &mut Desk) {
        self.conversation.sent(desk);
        self.is_slow = false;
        self.is_fresh = !self.input.is_empty();
        self.set_deadline(desk);
    }

    /// What may be sent at this rate since the last time.
    fn allowed(&mut self, rate: u64, now: Instant) -> u64 {
        let (left, since) = self.allowance;
        let span = now.saturating_duration_since(since);
        // Whole octets at least, however often it is asked; no more than a tenth of a second's.
        let earned = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let earned = earned.saturating_mul(rate) / 1_000_000;
        let paid = Duration::from_micros(earned.saturating_mul(1_000_000) / rate);
        let allowance = left.saturating_add(earned).min(rate / 10 + 1);
        self.allowance = (allowance, since + paid);
        allowance
    }

    /// Its time is up. Whether it ends without a further word.
    pub(super) fn expire(&mut self, desk: &mut Desk) -> bool {
        let waits_for_request = self.conversation.outgoing.is_empty() && self.lingers.is_none();
        let is_handshake = matches!(self.transport, Transport::Handshake(_));
        if !waits_for_request || self.conversation.began.is_none() || is_handshake {
            return true;
        }
        let input = std::mem::take(&mut self.input);
        let conversation = &mut self.conversation;
        conversation.refuse(TOO_SLOW, &input, desk);
        self.conversation.began = None;
        self.send_out(desk).is_err()
    }

    /// The work that took time is done.
    pub(super) fn resume(&mut self, response: Option<Response>, desk: &mut Desk) -> bool {
        self.conversation.resume(response, desk);
        self.is_fresh = !self.input.is_empty();
        let is_open = self.send_out(desk).is_ok();
        self.set_deadline(desk);
        is_open
    }

    /// A thread of the pool has sent what there was, or as much as the client took.
    pub(super) fn transferred(&mut self, desk: &mut Desk) {
        if self.conversation.outgoing.is_empty() {
            self.all_sent(desk);
        } else {
            self.set_deadline(desk);
        }
    }

    pub(super) fn shaken(&mut self, desk: &Desk) {
        if !matches!(self.transport, Transport::Handshake(_)) {
            self.conversation.began = None;
            self.set_deadline(desk);
        }
    }

    fn set_deadline(&mut self, desk: &Desk) {
        let limits = &desk.site.limits;
        self.deadline = match self.conversation.began {
            _ if !self.conversation.outgoing.is_empty() => desk.now + limits.stall_time,
            Some(began) if self.conversation.is_receiving() => began + BODY_TIME_MAX,
            Some(began) => began + limits.head_time,
            None => desk.now + limits.idle_time,
        };
    }

    /// It ends: what has been sent of the answer goes into the log.
    pub(super) fn end(&mut self, desk: &mut Desk) {
        self.conversation.sent(desk);
    }

    /// Sends in a thread of the pool, until all is gone, the client is slow, or `cut`.
    pub(super) fn transfer(&mut self, cut: &AtomicBool) -> io::Result<()> {
        const SLICE_OCTETS: u64 = 16 << 20;
        while !cut.load(Ordering::Relaxed) {
            let mut allowance = SLICE_OCTETS;
            match self
                .conversation
                .outgoing
                .flush(&mut self.transport, &mut allowance)?
            {
                Progress::Spent => {}
                Progress::Done => break,
                Progress::Blocked => {
                    if !self.transport.wait_for_room(PATIENCE) {
                        self.is_slow = true;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

const TOO_SLOW: Refusal = Refusal {
    status: 408,
    why: "the request did not come in time",
};
