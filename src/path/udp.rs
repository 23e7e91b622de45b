//! Probing with datagrams to a port where nobody listens (RFC 1812 section 4.3.3.1).
//!
//! Ports stay the same, so that all probes of a flow take one way; a flow is a destination
//! port. The key is in the payload, and in the checksum for routers that quote no more than
//! UDP's header: two octets of the payload are chosen so that the checksum is the key.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::{
    Answer, COOKIE_OCTETS, Probe, What, ip_header_octets, open_listener, queued_answer, told,
};
use crate::net::icmp::Options;
use crate::net::inbox::Queued;
use crate::net::packet::PacketSocket;
use crate::net::udp;
use crate::net::{self, random};
use crate::wire::icmp::Version;
use crate::wire::udp::{self as datagram, UDP_HEADER_OCTETS};

const PROTOCOL: u8 = 17;
/// What makes the checksum, the key, and the cookie.
const PAYLOAD_OCTETS_MIN: usize = 2 + 2 + COOKIE_OCTETS;
/// Destination ports above those of the flows, for routers that quote no payload: each key
/// has a port of its own then, because the error queue tells the port and nothing else.
const PORT_PER_KEY: u16 = 1000;

pub(crate) struct Prober {
    socket: PacketSocket,
    /// Sees whole quotes, where it is permitted.
    listener: Option<PacketSocket>,
    target: SocketAddr,
    version: Version,
    source: SocketAddr,
    cookie: [u8; COOKIE_OCTETS],
    /// A router quoted too little.
    by_port: bool,
    keeps_flows: bool,
}

impl Prober {
    pub(super) fn open(target: SocketAddr, options: &Options) -> Result<Prober, net::Error> {
        let address = udp::source_towards(target, options)?;
        let (mut socket, port) = udp::open_probe(target, options)?;
        let source = SocketAddr::new(address, port);
        let listener = open_listener(target, options, PROTOCOL, source.port());
        if listener.is_none() {
            socket
                .tell_errors(target.is_ipv4())
                .map_err(|error| net::Error::System {
                    what: "cannot learn of errors (UDP)".to_owned(),
                    error,
                })?;
        }
        Ok(Prober {
            socket,
            listener,
            target,
            version: Version::of(target.ip()),
            source,
            cookie: random().to_be_bytes(),
            by_port: false,
            keeps_flows: false,
        })
    }

    pub(super) fn forbid_fragments(&mut self) -> io::Result<()> {
        self.socket.forbid_fragments(self.target.is_ipv4())
    }

    pub(super) fn keep_flows(&mut self) {
        self.keeps_flows = true;
    }

    pub(super) fn octets_min(&self) -> usize {
        ip_header_octets(self.version) + UDP_HEADER_OCTETS + PAYLOAD_OCTETS_MIN
    }

    fn destination(&self, probe: Probe) -> SocketAddr {
        let offset = match self.by_port {
            true => PORT_PER_KEY.wrapping_add(probe.key),
            false => probe.flow,
        };
        SocketAddr::new(
            self.target.ip(),
            self.target.port().wrapping_add(offset).max(1),
        )
    }

    pub(super) fn send(&mut self, probe: Probe) -> io::Result<Instant> {
        let octets = probe.octets.max(self.octets_min());
        let mut payload = vec![0; octets - ip_header_octets(self.version) - UDP_HEADER_OCTETS];
        payload[2..4].copy_from_slice(&probe.key.to_be_bytes());
        payload[4..PAYLOAD_OCTETS_MIN].copy_from_slice(&self.cookie);
        let destination = self.destination(probe);
        let sum = datagram::checksum(self.source, destination, &payload);
        payload[..2].copy_from_slice(&datagram::compensate(sum, probe.key).to_be_bytes());
        self.socket
            .send(&payload, &destination, Some(probe.hop_limit))
    }

    pub(super) fn receive(&mut self) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        if let Some(listener) = &mut self.listener {
            while let Some(received) = listener.receive()? {
                let Some(told) = told(&received, self.version) else {
                    continue;
                };
                let Ok(quoted) = datagram::parse_quote(told.packet.payload) else {
                    continue;
                };
                let is_own = told.packet.protocol == PROTOCOL
                    && quoted.source_port == self.source.port()
                    && told.packet.destination == self.target.ip();
                let key = key_of(quoted.payload, self.cookie).unwrap_or(quoted.checksum);
                let has_cookie = quoted.payload.get(4..PAYLOAD_OCTETS_MIN);
                if !is_own || has_cookie.is_some_and(|quoted| quoted != self.cookie) {
                    continue;
                }
                let source = told.packet.source;
                answers.push(Answer {
                    key,
                    from: told.from,
                    at: told.at,
                    what: meaning(What::Problem(told.problem), told.from, self.target),
                    hop_limit: told.hop_limit,
                    translated: (source != self.source.ip()).then_some(source),
                    objects: told.objects,
                });
            }
        }
        self.receive_queued(&mut answers)?;
        while let Some(received) = self.socket.receive()? {
            // Somebody listens on the port after all, and answers with what it was sent.
            if let Some(key) = key_of(received.octets, self.cookie)
                && received.from.ip() == self.target.ip()
            {
                answers.push(Answer {
                    key,
                    from: received.from.ip(),
                    at: received.at,
                    what: What::Reached,
                    hop_limit: received.hop_limit,
                    translated: None,
                    objects: Vec::new(),
                });
            }
        }
        Ok(answers)
    }

    /// The queue is used where there is no listener.
    fn receive_queued(&mut self, answers: &mut Vec<Answer>) -> io::Result<()> {
        while let Some(queued) = self.socket.receive_queued()? {
            let Queued::Problem(problem) = queued else {
                continue;
            };
            let port = problem
                .destination
                .map_or(0, |destination| destination.port());
            let by_port = port.wrapping_sub(self.target.port());
            let key = match key_of(problem.quote, self.cookie) {
                Some(key) => Some(key),
                None if self.by_port => by_port.checked_sub(PORT_PER_KEY),
                None => None,
            };
            // An answer to nobody knows what; from now on ports tell.
            self.by_port |= key.is_none() && !self.keeps_flows;
            let key = key.or(Some(super::UNKNOWN_KEY));
            let answer = key.and_then(|key| queued_answer(&problem, self.version, key));
            if let Some(mut answer) = answer {
                answer.what = meaning(answer.what, answer.from, self.target);
                answers.push(answer);
            }
        }
        Ok(())
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.socket.as_fd()];
        fds.extend(self.listener.as_ref().map(AsFd::as_fd));
        fds
    }
}

/// That nobody listens there is what was hoped for.
fn meaning(what: What, from: IpAddr, target: SocketAddr) -> What {
    match what {
        What::Problem(problem) if problem.is_port_unreachable() && from == target.ip() => {
            What::Reached
        }
        other => other,
    }
}

fn key_of(payload: &[u8], cookie: [u8; COOKIE_OCTETS]) -> Option<u16> {
    let is_own = payload.get(4..PAYLOAD_OCTETS_MIN)? == cookie;
    let key = payload.get(2..4)?.first_chunk()?;
    is_own.then_some(u16::from_be_bytes(*key))
}
