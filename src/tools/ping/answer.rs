//! What a received message is to this ping.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::net::icmp::Mode;
use crate::net::inbox::{QueuedProblem, Received};
use crate::path::message_of;
use crate::wire;
use crate::wire::icmp::{self, ECHO_HEADER_OCTETS, Echo, Message, Problem, Version};

/// In front of the payload, so that only an answer to this very ping counts.
pub(super) const COOKIE_OCTETS: usize = 8;

/// Whom an answer concerns, by its place among the hosts, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Reply {
        host: usize,
        sequence_number: u16,
        octets: usize,
    },
    Problem {
        host: usize,
        sequence_number: u16,
        problem: Problem,
    },
    /// It has this ping's identifier, but does not count.
    Strange {
        host: usize,
        sequence_number: u16,
        octets: usize,
        why: Strange,
    },
    /// Not for this ping.
    Foreign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Strange {
    /// Somebody else than was asked.
    DifferentAddress,
    BadChecksum,
    Truncated,
    WrongOctet {
        place: usize,
        expected: u8,
        got: u8,
    },
    /// The cookie is not the one that was sent.
    Forged,
    Unsent,
    Old,
}

impl std::fmt::Display for Strange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Strange::DifferentAddress => f.write_str("DIFFERENT ADDRESS!"),
            Strange::BadChecksum => f.write_str("BAD CHECKSUM!"),
            Strange::Truncated => f.write_str("truncated"),
            Strange::WrongOctet {
                place,
                expected,
                got,
            } => write!(
                f,
                "wrong data byte #{place} should be {expected:#x} but was {got:#x}"
            ),
            Strange::Forged => f.write_str("not what was sent"),
            Strange::Unsent => f.write_str("never sent"),
            Strange::Old => f.write_str("too old"),
        }
    }
}

/// How this ping's own messages are told from others.
pub(super) struct Own {
    addresses: Vec<IpAddr>,
    by_address: HashMap<IpAddr, usize>,
    by_cookie: HashMap<[u8; COOKIE_OCTETS], usize>,
    /// What is sent behind the cookie, and instead of it where there is no room for one.
    template: Vec<u8>,
}

impl Own {
    /// `hosts` in order: each one's address and cookie.
    pub(super) fn new(hosts: &[(IpAddr, [u8; COOKIE_OCTETS])], template: Vec<u8>) -> Own {
        // Of two hosts with one address the cookies decide.
        let by_address = hosts.iter().enumerate().rev();
        Own {
            addresses: hosts.iter().map(|host| host.0).collect(),
            by_address: by_address.map(|(index, host)| (host.0, index)).collect(),
            by_cookie: (0..)
                .zip(hosts)
                .map(|(index, host)| (host.1, index))
                .collect(),
            template,
        }
    }

    /// The payload for a host.
    pub(super) fn payload(&mut self, cookie: [u8; COOKIE_OCTETS]) -> &[u8] {
        if let Some(place) = self.template.first_chunk_mut() {
            *place = cookie;
        }
        &self.template
    }

    /// What arrived on the socket with this identifier.
    pub(super) fn recognise(
        &self,
        received: &Received,
        version: Version,
        mode: Mode,
        identifier: u16,
    ) -> (Answer, Option<u8>) {
        let Some((message, hop_limit)) = message_of(received, version, mode) else {
            return (Answer::Foreign, None);
        };
        let from = received.from.ip();
        (self.message(message, from, version, identifier), hop_limit)
    }

    fn message(&self, message: &[u8], from: IpAddr, version: Version, identifier: u16) -> Answer {
        match Message::parse(version, message) {
            Ok(Message::EchoReply(echo)) if echo.identifier == identifier => {
                self.reply(&echo, from)
            }
            Ok(Message::Problem { problem, quote }) => {
                let quoted = icmp::parse_quoted_packet(version, quote);
                let Ok((packet, echo)) = quoted else {
                    return Answer::Foreign;
                };
                if echo.identifier != identifier {
                    return Answer::Foreign;
                }
                self.problem(&echo, packet.destination, problem)
            }
            // Whose it was is not certain, but it came from a host that is asked.
            Err(wire::Error::Checksum) => {
                let numbers = icmp::parse_echo_numbers(message);
                match (self.by_address.get(&from), numbers) {
                    (Some(host), Ok((own, sequence_number))) if own == identifier => {
                        Answer::Strange {
                            host: *host,
                            sequence_number,
                            octets: message.len(),
                            why: Strange::BadChecksum,
                        }
                    }
                    _ => Answer::Foreign,
                }
            }
            Ok(_) | Err(_) => Answer::Foreign,
        }
    }

    /// What the error queue told.
    pub(super) fn recognise_queued(
        &self,
        queued: &QueuedProblem,
        version: Version,
        identifier: u16,
    ) -> Answer {
        let problem = Problem::new(version, queued.kind, queued.code, queued.info);
        let echo = icmp::parse_quoted_request(version, queued.quote);
        match (problem, echo, queued.destination) {
            (Some(problem), Ok(echo), Some(destination)) if echo.identifier == identifier => {
                self.problem(&echo, destination.ip(), problem)
            }
            _ => Answer::Foreign,
        }
    }

    /// By the quoted cookie where the router quoted so much, else by the address.
    fn problem(&self, echo: &Echo, destination: IpAddr, problem: Problem) -> Answer {
        let by_cookie = echo.payload.first_chunk();
        let by_cookie = by_cookie.and_then(|cookie| self.by_cookie.get(cookie));
        match by_cookie.or_else(|| self.by_address.get(&destination)) {
            Some(host) => Answer::Problem {
                host: *host,
                sequence_number: echo.sequence_number,
                problem,
            },
            None => Answer::Foreign,
        }
    }

    fn reply(&self, echo: &Echo, from: IpAddr) -> Answer {
        let by_address = || self.by_address.get(&from).copied();
        let cookie = echo.payload.first_chunk();
        let by_cookie = cookie.and_then(|cookie| self.by_cookie.get(cookie).copied());
        let has_cookie = self.template.len() >= COOKIE_OCTETS;
        let octets = ECHO_HEADER_OCTETS + echo.payload.len();
        let strange = |host: Option<usize>, why: Strange| Answer::Strange {
            // One from nowhere, with the right identifier, is told beside the first host.
            host: host.or_else(by_address).or(by_cookie).unwrap_or(0),
            sequence_number: echo.sequence_number,
            octets,
            why,
        };
        match echo.payload.len().cmp(&self.template.len()) {
            Ordering::Less => return strange(by_cookie, Strange::Truncated),
            Ordering::Greater => return strange(by_cookie, Strange::Forged),
            Ordering::Equal => {}
        }
        let host = match by_cookie {
            Some(host) if has_cookie => host,
            _ if has_cookie => return strange(None, Strange::Forged),
            _ => match by_address() {
                Some(host) => host,
                None => return strange(None, Strange::DifferentAddress),
            },
        };
        let skipped = if has_cookie { COOKIE_OCTETS } else { 0 };
        let mut pairs = self
            .template
            .iter()
            .zip(echo.payload)
            .enumerate()
            .skip(skipped);
        if let Some((place, (expected, got))) = pairs.find(|(_, (sent, got))| sent != got) {
            let (expected, got) = (*expected, *got);
            let why = Strange::WrongOctet {
                place,
                expected,
                got,
            };
            return strange(Some(host), why);
        }
        let asked = self.addresses[host];
        if asked != from && !asked.is_multicast() {
            return strange(Some(host), Strange::DifferentAddress);
        }
        Answer::Reply {
            host,
            sequence_number: echo.sequence_number,
            octets,
        }
    }
}
