//! Packets that end on the way, and who answers them: what `trace` and `ping --mtu` share.
//!
//! A [`Prober`] sends a packet with a hop limit and a key, and gives back answers with their
//! keys. All packets of one flow look alike to routers that spread flows over several ways
//! (Paris traceroute): what differs is in fields that they do not look at.

pub(crate) mod departure;
mod icmp;
pub(crate) mod mtu;
pub(crate) mod round;
mod tcp;
mod udp;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::poll::PollFlags;

use crate::net;
use crate::net::icmp::{Mode, Options};
use crate::net::inbox::{QueuedProblem, Received};
use crate::net::packet::PacketSocket;
use crate::wire::extension::{self, Object};
use crate::wire::icmp::{Meaning, Message, Problem, Version};
use crate::wire::ip;

pub(crate) const IPV4_HEADER_OCTETS: usize = 20;
pub(crate) const IPV6_HEADER_OCTETS: usize = 40;
/// In a packet, so that only an answer to this very one counts.
const COOKIE_OCTETS: usize = 8;

/// Of an answer to one of the packets, but nobody knows which. None is sent with it.
pub(crate) const UNKNOWN_KEY: u16 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    Icmp,
    Udp,
    Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Tells its answer from others.
    pub(crate) key: u16,
    pub(crate) hop_limit: u8,
    /// Packets of one flow take one way.
    pub(crate) flow: u16,
    /// Of the whole packet with all headers; as small as possible where less is asked for.
    pub(crate) octets: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) key: u16,
    pub(crate) from: IpAddr,
    pub(crate) at: Instant,
    pub(crate) what: What,
    /// With which the answer arrived.
    pub(crate) hop_limit: Option<u8>,
    /// The sender's address as the router saw it, where it is not ours.
    pub(crate) translated: Option<IpAddr>,
    pub(crate) objects: Vec<Object>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The target itself answered.
    Reached,
    /// The target accepts connections on the port, or refuses them.
    Open,
    Closed,
    Problem(Problem),
}

impl What {
    pub(crate) fn is_reached(self) -> bool {
        matches!(self, What::Reached | What::Open | What::Closed)
    }

    /// No packet goes farther.
    pub(crate) fn is_end(self) -> bool {
        match self {
            What::Reached | What::Open | What::Closed => true,
            What::Problem(problem) => problem.meaning() != Meaning::HopLimit,
        }
    }
}

pub(crate) struct Prober {
    way: Way,
    next_key: u16,
}

enum Way {
    Icmp(icmp::Prober),
    Udp(udp::Prober),
    Tcp(tcp::Prober),
}

impl Prober {
    pub(crate) fn open(
        protocol: Protocol,
        target: SocketAddr,
        options: &Options,
    ) -> Result<Prober, net::Error> {
        let options = &Options {
            preferred: Some(flow_of(target.ip())),
            ..options.clone()
        };
        let way = match protocol {
            Protocol::Icmp => Way::Icmp(icmp::Prober::open(target, options)?),
            Protocol::Udp => Way::Udp(udp::Prober::open(target, options)?),
            Protocol::Tcp => Way::Tcp(tcp::Prober::open(target, options)?),
        };
        Ok(Prober { way, next_key: 1 })
    }

    /// The first of so many keys that nobody else uses.
    pub(crate) fn reserve_keys(&mut self, count: usize) -> u16 {
        // One of an answer that nobody knows is left out.
        let end = usize::from(self.next_key) + count;
        let first = if end > usize::from(u16::MAX) {
            1
        } else {
            self.next_key
        };
        self.next_key = first + count as u16;
        first
    }

    /// From now on nobody may fragment packets, whatever is known of the path.
    pub(crate) fn forbid_fragments(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Icmp(prober) => prober.forbid_fragments(),
            Way::Udp(prober) => prober.forbid_fragments(),
            Way::Tcp(prober) => prober.forbid_fragments(),
        }
    }

    /// From now on the flow of a packet is kept, even where that leaves answers unknown.
    pub(crate) fn keep_flows(&mut self) {
        if let Way::Udp(prober) = &mut self.way {
            prober.keep_flows();
        }
    }

    /// The least that a packet can hold.
    pub(crate) fn octets_min(&self) -> usize {
        match &self.way {
            Way::Icmp(prober) => prober.octets_min(),
            Way::Udp(prober) => prober.octets_min(),
            Way::Tcp(prober) => prober.octets_min(),
        }
    }

    /// Says when it left.
    pub(crate) fn send(&mut self, probe: Probe) -> io::Result<Instant> {
        match &mut self.way {
            Way::Icmp(prober) => prober.send(probe),
            Way::Udp(prober) => prober.send(probe),
            Way::Tcp(prober) => prober.send(probe),
        }
    }

    /// What came; nothing if nothing waits.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Answer>> {
        match &mut self.way {
            Way::Icmp(prober) => prober.receive(),
            Way::Udp(prober) => prober.receive(),
            Way::Tcp(prober) => prober.receive(),
        }
    }

    /// What shows on the descriptors when something came.
    pub(crate) fn interest(&self) -> PollFlags {
        match &self.way {
            Way::Tcp(prober) => prober.interest(),
            Way::Icmp(_) | Way::Udp(_) => PollFlags::POLLIN,
        }
    }

    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.way {
            Way::Icmp(prober) => prober.fds(),
            Way::Udp(prober) => prober.fds(),
            Way::Tcp(prober) => prober.fds(),
        }
    }
}

/// A port or identifier above those that people give to servers: the same for each trace to a
/// host, so that it takes the same way again.
fn flow_of(target: IpAddr) -> u16 {
    const FIRST: u64 = 33_000;
    const COUNT: u64 = 27_000;
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    (FIRST + hasher.finish() % COUNT) as u16
}

fn ip_header_octets(version: Version) -> usize {
    match version {
        Version::V4 => IPV4_HEADER_OCTETS,
        Version::V6 => IPV6_HEADER_OCTETS,
    }
}

/// An error message in full, as raw sockets see them.
struct Told<'a> {
    from: IpAddr,
    at: Instant,
    hop_limit: Option<u8>,
    problem: Problem,
    packet: ip::Packet<'a>,
    objects: Vec<Object>,
}

/// An ICMP error that a raw socket received; `None` for anything else.
fn told<'a>(received: &Received<'a>, version: Version) -> Option<Told<'a>> {
    let (message, hop_limit) = message_of(received, version, Mode::Raw)?;
    let Ok(Message::Problem { problem, quote }) = Message::parse(version, message) else {
        return None;
    };
    // A redirect is no answer: the packet went on.
    if !problem.is_fatal() {
        return None;
    }
    let (quote, extension) = extension::split(version, problem.kind, problem.info, quote);
    Some(Told {
        from: received.from.ip(),
        at: received.at,
        hop_limit,
        problem,
        packet: ip::Packet::parse(quote).ok()?,
        objects: objects(extension),
    })
}

/// The ICMP message in what was received, and the hop limit that it came with.
pub(crate) fn message_of<'a>(
    received: &Received<'a>,
    version: Version,
    mode: Mode,
) -> Option<(&'a [u8], Option<u8>)> {
    match mode {
        Mode::Raw if version == Version::V4 => {
            let packet = ip::Packet::parse(received.octets).ok()?;
            Some((packet.payload, Some(packet.hop_limit)))
        }
        _ => Some((received.octets, received.hop_limit)),
    }
}

fn objects(extension: Option<&[u8]>) -> Vec<Object> {
    let parsed = extension.and_then(|octets| extension::parse(octets).ok());
    parsed.unwrap_or_default()
}

/// What the error queue told, with the key that the quote holds.
fn queued_answer(queued: &QueuedProblem, version: Version, key: u16) -> Option<Answer> {
    let problem = Problem::new(version, queued.kind, queued.code, queued.info)?;
    Some(Answer {
        key,
        from: queued.router?,
        at: queued.at,
        what: What::Problem(Some(problem).filter(Problem::is_fatal)?),
        hop_limit: queued.hop_limit,
        translated: None,
        objects: objects(queued.extension),
    })
}

/// A raw ICMP socket that sees errors about other protocols' packets, where that is permitted.
fn open_listener(
    target: SocketAddr,
    options: &Options,
    protocol: u8,
    source_port: u16,
) -> Option<PacketSocket> {
    let expected = net::filter::Expected {
        is_v4: target.is_ipv4(),
        protocol,
        offset: 0,
        value: source_port,
        echo_replies: false,
    };
    net::icmp::listen(expected, options).ok()
}
