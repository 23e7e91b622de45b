//! The server and the reflector: one thread that answers datagrams over a network that is as bad
//! as somebody wants it to be.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::PollFlags;
use serde::Serialize;

use super::answering::{Answerer, Question, Silence, is_count};
use super::delayed::Delayed;
use super::impairment::{Fate, Impairment};
use crate::cancel::Cancelled;
use crate::clock;
use crate::echo::Gate;
use crate::net::inbox::{Inbox, Received};
use crate::net::{self, udp};
use crate::output::{self, Printable, Tone};
use crate::tool::{Context, Endpoint, Error, Status};

/// Answered before delayed answers get their turn.
const DATAGRAMS_MAX: usize = 256;
/// Shown of a datagram.
const SHOWN_OCTETS_MAX: usize = 80;

pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    /// `udpping server`, `STAMP reflector`.
    pub(super) what: &'static str,
    pub(super) is_verbose: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Tally {
    received: u64,
    answered: u64,
    requests_lost: u64,
    replies_lost: u64,
    duplicated: u64,
    refused: u64,
    not_understood: u64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Listening {
        address: String,
        what: &'static str,
        reach: &'static str,
    },
    /// In both directions, where each is told.
    Answered {
        peer: String,
        request: String,
        reply: String,
        /// `lost`, `twice`.
        #[serde(skip_serializing_if = "Option::is_none")]
        fate: Option<&'static str>,
        delay_ms: f64,
    },
    Lost {
        peer: String,
        request: String,
    },
    Refused {
        peer: String,
        reason: String,
        untold: u64,
    },
    ServerStatistics(Tally),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening {
                address,
                what,
                reach,
            } => write!(f, "{what} on {address} (UDP), reachable {reach}"),
            Event::Answered {
                peer,
                request,
                reply,
                fate,
                delay_ms,
            } => {
                write!(f, "From {peer} '{request}', to it '{reply}'")?;
                if *delay_ms > 0.0 {
                    write!(f, " after {delay_ms:.1} ms")?;
                }
                match fate {
                    Some(fate) => write!(f, ", {fate}"),
                    None => Ok(()),
                }
            }
            Event::Lost { peer, request } => write!(f, "From {peer} '{request}', lost"),
            Event::Refused {
                peer,
                reason,
                untold,
            } => {
                write!(f, "no answer to {peer}: {reason}")?;
                match untold {
                    0 => Ok(()),
                    more => write!(f, " (and {more} more)"),
                }
            }
            Event::ServerStatistics(tally) => write!(f, "{tally}"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} received, {} answered", self.received, self.answered)?;
        for (count, what) in [
            (self.requests_lost, "requests lost"),
            (self.replies_lost, "replies lost"),
            (self.duplicated, "replies sent twice"),
            (self.refused, "refused"),
            (self.not_understood, "not understood"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Listening { .. } => Tone::Good,
            Event::Lost { .. } | Event::Refused { .. } => Tone::Caution,
            Event::Answered { .. } | Event::ServerStatistics(_) => Tone::Plain,
        }
    }
}

struct Server<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    socket: UdpSocket,
    answerer: Answerer,
    gate: Gate,
    impairment: Impairment,
    delayed: Delayed<Answer>,
    tally: Tally,
    /// For `jobs`.
    shown: Arc<Mutex<Tally>>,
}

#[derive(Clone)]
struct Answer {
    octets: Vec<u8>,
    to: SocketAddr,
    from: Option<IpAddr>,
}

pub(super) fn run(
    context: &Context,
    wanted: &Wanted,
    answerer: Answerer,
    gate: Gate,
    impairment: Impairment,
) -> Result<Status, Error> {
    let cannot = |error: net::Error| context.with_neighbour(error, Endpoint::Udp(wanted.address));
    let socket = udp::bind(wanted.address).map_err(cannot)?;
    let unusable = |error| {
        let what = "cannot set up the socket".to_owned();
        Error::from(net::Error::System { what, error })
    };
    udp::stamp_arrivals(&socket).map_err(unusable)?;
    let address = socket.local_addr().map_err(unusable)?;
    clock::wake_sharply();
    let mut server = Server {
        context,
        wanted,
        socket,
        answerer,
        gate,
        impairment,
        delayed: Delayed::new(),
        tally: Tally::default(),
        shown: Arc::default(),
    };
    let shown = Arc::clone(&server.shown);
    context.summarize_with(move || lock(&shown).to_string());
    let listening = Event::Listening {
        address: address.to_string(),
        what: wanted.what,
        reach: net::reach(address),
    };
    context.ready(&[Endpoint::Udp(address)], &listening);
    let Err(Cancelled) = server.serve();
    *lock(&server.shown) = server.tally;
    context.out.emit(&Event::ServerStatistics(server.tally));
    Err(Error::Cancelled)
}

fn lock(shown: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server<'_> {
    fn serve(&mut self) -> Result<std::convert::Infallible, Cancelled> {
        let mut inbox = Inbox::new(udp::PAYLOAD_OCTETS_MAX);
        loop {
            let mut more = false;
            for _ in 0..DATAGRAMS_MAX {
                // Errors are earlier answers' that met a closed port.
                let Ok(received) = inbox.receive(&self.socket) else {
                    continue;
                };
                more = received.is_some();
                match received {
                    Some(received) => self.on_datagram(&received),
                    None => break,
                }
            }
            let now = clock::now();
            while let Some(answer) = self.delayed.pop_due(now) {
                self.send(&answer);
            }
            *lock(&self.shown) = self.tally;
            let deadlines = [self.delayed.next_due(), more.then_some(now)];
            let deadline = deadlines.into_iter().flatten().min();
            let cancel = &self.context.cancel;
            cancel.wait(self.socket.as_fd(), PollFlags::POLLIN, deadline)?;
        }
    }

    fn on_datagram(&mut self, datagram: &Received) {
        let (from, octets) = (datagram.from, datagram.octets);
        let now = clock::now();
        if let Err(reason) = self.gate.check(from, now) {
            self.tally.received += 1;
            return self.on_silence(from, Silence::Refused(reason), now);
        }
        let is_count = self.answerer.counts() && is_count(octets);
        self.tally.received += u64::from(!is_count);
        if !is_count && self.impairment.on_request() {
            self.tally.requests_lost += 1;
            if self.wanted.is_verbose {
                let (peer, request) = (from.to_string(), shown(octets));
                self.context.out.emit(&Event::Lost { peer, request });
            }
            return;
        }
        let (now, wall) = clock::both();
        let since_1970 = wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let question = Question {
            from,
            to: datagram.to,
            octets,
            hop_limit: datagram.hop_limit,
            received: since_1970.saturating_sub(now.saturating_duration_since(datagram.at)),
        };
        match self.answerer.answer(&question, now, since_1970) {
            Err(silence) => self.on_silence(from, silence, now),
            Ok(octets) if is_count => self.send(&Answer {
                octets,
                to: from,
                from: datagram.to,
            }),
            Ok(reply) => {
                let fate = self.impairment.on_reply();
                if self.wanted.is_verbose {
                    self.tell(&question, &reply, fate);
                }
                let answer = Answer {
                    octets: reply,
                    to: from,
                    from: datagram.to,
                };
                self.deliver(answer, fate, now);
            }
        }
    }

    fn deliver(&mut self, answer: Answer, fate: Fate, now: Instant) {
        if fate.lost {
            self.tally.replies_lost += 1;
            return;
        }
        let twice = (fate.copies > 1).then(|| answer.clone());
        if !self.deliver_one(answer, fate.delay, now) {
            self.tally.replies_lost += 1;
            return;
        }
        self.tally.answered += 1;
        let is_twice = twice.is_some_and(|answer| self.deliver_one(answer, fate.delay, now));
        self.tally.duplicated += u64::from(is_twice);
    }

    /// `false` where there is no room for more that is delayed, as in a full queue on the way.
    fn deliver_one(&mut self, answer: Answer, delay: Duration, now: Instant) -> bool {
        if delay.is_zero() {
            self.send(&answer);
            return true;
        }
        let octets = answer.octets.len();
        self.delayed.push(now + delay, octets, answer)
    }

    /// A full queue here loses the answer, as one on the way would.
    fn send(&self, answer: &Answer) {
        let _ = udp::send(&self.socket, &answer.octets, answer.to, answer.from, None);
    }

    fn on_silence(&mut self, from: SocketAddr, silence: Silence, now: Instant) {
        let reason = match silence {
            Silence::NotUnderstood => {
                self.tally.not_understood += 1;
                return;
            }
            Silence::Refused(reason) => reason,
        };
        self.tally.refused += 1;
        if let Some(untold) = self.gate.refuse(reason, now) {
            self.context.out.emit(&Event::Refused {
                peer: from.to_string(),
                reason: reason.to_string(),
                untold,
            });
        }
    }

    fn tell(&self, question: &Question, reply: &[u8], fate: Fate) {
        self.context.out.emit(&Event::Answered {
            peer: question.from.to_string(),
            request: shown(question.octets),
            reply: shown(reply),
            fate: match fate {
                Fate { lost: true, .. } => Some("lost"),
                Fate { copies: 2.., .. } => Some("twice"),
                Fate { .. } => None,
            },
            delay_ms: fate.delay.as_secs_f64() * 1e3,
        });
    }
}

/// Words as they are, and packets as what they are.
fn shown(octets: &[u8]) -> String {
    let is_text = |octet: &u8| octet.is_ascii_graphic() || octet.is_ascii_whitespace();
    let shown = &octets[..octets.len().min(SHOWN_OCTETS_MAX)];
    let text = match std::str::from_utf8(shown) {
        Ok(text)
            if shown
                .iter()
                .all(|octet| is_text(octet) || !octet.is_ascii()) =>
        {
            text.trim_end_matches('.').trim_end().to_owned()
        }
        _ => return format!("{} octets", octets.len()),
    };
    Printable(text.as_bytes()).to_string()
}
