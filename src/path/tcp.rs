//! Probing with connection requests (RFC 9293): SYN segments of our own where raw sockets are
//! permitted, which keep their ports and so their way; else connection attempts, each from
//! another port.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::{
    Answer, Probe, What, ip_header_octets, message_of, open_listener, queued_answer, told,
};
use crate::clock;
use crate::net::icmp::{Mode, Options};
use crate::net::inbox::{Inbox, Queued};
use crate::net::option::Fragmentation;
use crate::net::packet::PacketSocket;
use crate::net::segment::{self, Attempt, Outcome, Segments};
use crate::net::{self, random, udp};
use crate::wire::icmp::Version;
use crate::wire::tcp::{self, PROTOCOL, SYN_OCTETS};

/// Connection attempts that wait for an answer; the oldest are given up.
const ATTEMPTS_MAX: usize = 256;
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// Of what a router quotes, enough for TCP's header.
const QUOTE_OCTETS: usize = 1500;

pub(crate) struct Prober {
    target: SocketAddr,
    version: Version,
    options: Options,
    way: Way,
}

enum Way {
    Segments {
        segments: Segments,
        listener: PacketSocket,
        /// Sequence numbers begin here; the key is added in their upper half, because a
        /// refusal acknowledges the data behind the header, too.
        base: u32,
    },
    Attempts {
        /// In the order of starting, with their keys.
        attempts: Vec<(u16, Instant, Attempt)>,
        inbox: Inbox,
    },
}

impl Prober {
    pub(super) fn open(target: SocketAddr, options: &Options) -> Result<Prober, net::Error> {
        let source = udp::source_towards(target, options)?;
        let segments = segment::open_raw(source, target, options).ok();
        let raw = segments.and_then(|segments| {
            let port = segments.local.port();
            let listener = open_listener(target, options, PROTOCOL, port)?;
            Some((segments, listener))
        });
        let way = match raw {
            Some((segments, listener)) => Way::Segments {
                segments,
                listener,
                base: random() as u32,
            },
            None => Way::Attempts {
                attempts: Vec::new(),
                inbox: Inbox::new(QUOTE_OCTETS),
            },
        };
        Ok(Prober {
            target,
            version: Version::of(target.ip()),
            options: options.clone(),
            way,
        })
    }

    pub(super) fn forbid_fragments(&mut self) -> io::Result<()> {
        self.options.fragmentation = Some(Fragmentation::Probe);
        match &self.way {
            Way::Segments { segments, .. } => {
                segments.packets.forbid_fragments(self.target.is_ipv4())
            }
            Way::Attempts { .. } => Ok(()),
        }
    }

    pub(super) fn octets_min(&self) -> usize {
        ip_header_octets(self.version) + SYN_OCTETS
    }

    /// The flow is a destination port here, too.
    pub(super) fn send(&mut self, probe: Probe) -> io::Result<Instant> {
        match &mut self.way {
            Way::Segments { segments, base, .. } => {
                let sequence_number = base.wrapping_add(u32::from(probe.key) << 16);
                let octets = probe.octets.saturating_sub(ip_header_octets(self.version));
                let syn = tcp::emit_syn(segments.local, self.target, sequence_number, octets);
                // A raw socket takes no port.
                let mut peer = self.target;
                peer.set_port(0);
                segments.packets.send(&syn, &peer, Some(probe.hop_limit))
            }
            Way::Attempts { attempts, .. } => {
                if attempts.len() >= ATTEMPTS_MAX {
                    attempts.remove(0);
                }
                let (attempt, at) = Attempt::start(self.target, probe.hop_limit, &self.options)?;
                attempts.push((probe.key, at, attempt));
                Ok(at)
            }
        }
    }

    pub(super) fn receive(&mut self) -> io::Result<Vec<Answer>> {
        let (target, version) = (self.target, self.version);
        match &mut self.way {
            Way::Segments {
                segments,
                listener,
                base,
            } => {
                let local = segments.local.ip();
                let mut answers = receive_answers(&mut segments.packets, target, version, *base)?;
                receive_errors(listener, target, local, version, *base, &mut answers)?;
                Ok(answers)
            }
            Way::Attempts { attempts, inbox } => receive_outcomes(attempts, inbox, target, version),
        }
    }

    pub(super) fn interest(&self) -> PollFlags {
        match self.way {
            Way::Segments { .. } => PollFlags::POLLIN,
            Way::Attempts { .. } => PollFlags::POLLOUT,
        }
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.way {
            Way::Segments {
                segments, listener, ..
            } => vec![segments.packets.as_fd(), listener.as_fd()],
            Way::Attempts { attempts, .. } => {
                attempts.iter().map(|attempt| attempt.2.as_fd()).collect()
            }
        }
    }
}

fn key_of(sequence_number: u32, base: u32) -> u16 {
    (sequence_number.wrapping_sub(base) >> 16) as u16
}

fn reached(key: u16, what: What, from: IpAddr, at: Instant, hop_limit: Option<u8>) -> Answer {
    Answer {
        key,
        from,
        at,
        what,
        hop_limit,
        translated: None,
        objects: Vec::new(),
    }
}

fn receive_answers(
    packets: &mut PacketSocket,
    target: SocketAddr,
    version: Version,
    base: u32,
) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while let Some(received) = packets.receive()? {
        let (from, at) = (received.from.ip(), received.at);
        let Some((segment, hop_limit)) = message_of(&received, version, Mode::Raw) else {
            continue;
        };
        if let Ok((is_open, acknowledged)) = tcp::parse_answer(segment)
            && from == target.ip()
        {
            let key = key_of(acknowledged.wrapping_sub(1), base);
            let what = if is_open { What::Open } else { What::Closed };
            answers.push(reached(key, what, from, at, hop_limit));
        }
    }
    Ok(answers)
}

fn receive_errors(
    listener: &mut PacketSocket,
    target: SocketAddr,
    local: IpAddr,
    version: Version,
    base: u32,
    answers: &mut Vec<Answer>,
) -> io::Result<()> {
    while let Some(received) = listener.receive()? {
        let Some(told) = told(&received, version) else {
            continue;
        };
        if let Ok(quoted) = tcp::parse_quote(told.packet.payload)
            && told.packet.protocol == PROTOCOL
            && told.packet.destination == target.ip()
        {
            let key = key_of(quoted.sequence_number, base);
            let source = told.packet.source;
            answers.push(Answer {
                key,
                from: told.from,
                at: told.at,
                what: What::Problem(told.problem),
                hop_limit: told.hop_limit,
                translated: (source != local).then_some(source),
                objects: told.objects,
            });
        }
    }
    Ok(())
}

fn receive_outcomes(
    attempts: &mut Vec<(u16, Instant, Attempt)>,
    inbox: &mut Inbox,
    target: SocketAddr,
    version: Version,
) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    // A system repeats a request that nobody answers for minutes.
    let now = clock::now();
    attempts.retain(|(_, started, _)| now - *started < ATTEMPT_MAX);
    let mut index = 0;
    while let Some((key, _, attempt)) = attempts.get(index) {
        let is_over = match attempt.outcome(inbox)? {
            Outcome::Waiting => false,
            Outcome::Failed => true,
            outcome @ (Outcome::Accepted | Outcome::Refused) => {
                let what = match outcome {
                    Outcome::Accepted => What::Open,
                    _ => What::Closed,
                };
                answers.push(reached(*key, what, target.ip(), clock::now(), None));
                true
            }
            Outcome::Queued(Queued::Transmitted { .. }) => false,
            Outcome::Queued(Queued::Problem(problem)) => {
                answers.extend(queued_answer(&problem, version, *key));
                true
            }
        };
        match is_over {
            true => drop(attempts.remove(index)),
            false => index += 1,
        }
    }
    Ok(answers)
}
