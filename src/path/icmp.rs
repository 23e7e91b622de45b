//! Probing with echo requests (RFC 792, RFC 4443).
//!
//! Some routers take the first four octets of an ICMP message for ports when they choose a way,
//! and the checksum is among them. Two octets of the payload make up for the sequence number,
//! so that the checksum stays the same; two more, the flow's number, change it on purpose.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::{
    Answer, COOKIE_OCTETS, IPV4_HEADER_OCTETS, Probe, What, ip_header_octets, message_of,
    queued_answer, told,
};
use crate::net::icmp::{IcmpSocket, Mode, Options};
use crate::net::inbox::Queued;
use crate::net::{self, random, udp};
use crate::wire::icmp::{self, ECHO_HEADER_OCTETS, Echo, Message, Version};
use std::net::IpAddr;

/// What makes up for the sequence number, the flow, and the cookie.
const PAYLOAD_OCTETS_MIN: usize = 2 + 2 + COOKIE_OCTETS;

pub(crate) struct Prober {
    socket: IcmpSocket,
    target: SocketAddr,
    version: Version,
    source: Option<IpAddr>,
    cookie: [u8; COOKIE_OCTETS],
}

impl Prober {
    pub(super) fn open(target: SocketAddr, options: &Options) -> Result<Prober, net::Error> {
        // A raw socket sees more of what routers quote.
        let is_v4 = target.is_ipv4();
        let socket = match IcmpSocket::open_as(Mode::Raw, is_v4, options) {
            Err(net::Error::NotPermitted(_)) => {
                IcmpSocket::open_as(Mode::Datagram, is_v4, options)?
            }
            other => other?,
        };
        Ok(Prober {
            socket,
            target,
            version: Version::of(target.ip()),
            source: udp::source_towards(target, options).ok(),
            cookie: random().to_be_bytes(),
        })
    }

    pub(super) fn forbid_fragments(&mut self) -> io::Result<()> {
        self.socket.forbid_fragments(self.target.is_ipv4())
    }

    pub(super) fn octets_min(&self) -> usize {
        ip_header_octets(self.version) + ECHO_HEADER_OCTETS + PAYLOAD_OCTETS_MIN
    }

    pub(super) fn send(&mut self, probe: Probe) -> io::Result<Instant> {
        let octets = probe.octets.max(self.octets_min());
        let mut payload = vec![0; octets - ip_header_octets(self.version) - ECHO_HEADER_OCTETS];
        // In one's complement arithmetic a number and its inverse add up to nothing.
        payload[..2].copy_from_slice(&(!probe.key).to_be_bytes());
        payload[2..4].copy_from_slice(&probe.flow.to_be_bytes());
        payload[4..PAYLOAD_OCTETS_MIN].copy_from_slice(&self.cookie);
        let echo = Echo {
            identifier: self.socket.identifier(),
            sequence_number: probe.key,
            payload: &payload,
        };
        let message = echo.emit_request(self.version);
        let sent = self
            .socket
            .send(&message, &self.target, Some(probe.hop_limit))?;
        Ok(sent.at)
    }

    pub(super) fn receive(&mut self) -> io::Result<Vec<Answer>> {
        let (identifier, mode) = (self.socket.identifier(), self.socket.mode);
        let mut answers = Vec::new();
        while let Some(queued) = self.socket.receive_queued()? {
            let Queued::Problem(problem) = queued else {
                continue;
            };
            if let Ok(echo) = icmp::parse_quoted_request(self.version, problem.quote)
                && echo.identifier == identifier
                && quotes_cookie(&echo, self.cookie)
            {
                answers.extend(queued_answer(&problem, self.version, echo.sequence_number));
            }
        }
        while let Some(received) = self.socket.receive()? {
            let from = received.from.ip();
            let Some((message, hop_limit)) = message_of(&received, self.version, mode) else {
                continue;
            };
            if let Ok(Message::EchoReply(echo)) = Message::parse(self.version, message) {
                let is_own = echo.identifier == identifier
                    && from == self.target.ip()
                    && echo.payload.get(4..PAYLOAD_OCTETS_MIN) == Some(&self.cookie);
                if is_own {
                    answers.push(Answer {
                        key: echo.sequence_number,
                        from,
                        at: received.at,
                        what: What::Reached,
                        hop_limit,
                        translated: None,
                        objects: Vec::new(),
                    });
                }
                continue;
            }
            let Some(told) = told(&received, self.version) else {
                continue;
            };
            let quoted = icmp::parse_quoted_request(self.version, told.packet.payload);
            if let Ok(echo) = quoted
                && told.packet.protocol == self.version.protocol()
                && echo.identifier == identifier
                && quotes_cookie(&echo, self.cookie)
            {
                let source = told.packet.source;
                answers.push(Answer {
                    key: echo.sequence_number,
                    from: told.from,
                    at: told.at,
                    what: What::Problem(told.problem),
                    hop_limit: told.hop_limit,
                    translated: self.source.filter(|own| *own != source).map(|_| source),
                    objects: told.objects,
                });
            }
        }
        Ok(answers)
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.socket.as_fd()]
    }
}

/// Routers may quote less than the cookie.
fn quotes_cookie(echo: &Echo, cookie: [u8; COOKIE_OCTETS]) -> bool {
    let quoted = echo.payload.get(4..PAYLOAD_OCTETS_MIN);
    quoted.is_none_or(|quoted| quoted == cookie)
}

const _: () = assert!(IPV4_HEADER_OCTETS + ECHO_HEADER_OCTETS + PAYLOAD_OCTETS_MIN <= 60);
