//! The packets that simulated routers take and make: RFC 791, 792, 8200, 4443, 4884.
//!
//! Every reader is as distrustful as a router: what it cannot read is `None`, and is dropped.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;
/// The one port of the simulated hosts that takes connections.
const TCP_OPEN_PORT: [u8; 2] = 80u16.to_be_bytes();

/// One IP packet, whole, and what its headers say.
#[derive(Clone)]
pub struct Packet {
    pub octets: Vec<u8>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    pub protocol: u8,
    /// IPv6 has no such bit, and always means it.
    pub dont_fragment: bool,
    fragment_offset: u16,
    is_fragment: bool,
    transport_at: usize,
}

/// A line, as there may be thousands in the report of a test that failed.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to, hop_limit) = (self.source, self.destination, self.hop_limit);
        let (length, protocol) = (self.octets.len(), self.protocol);
        write!(
            f,
            "{from} > {to}, hop limit {hop_limit}, protocol {protocol}, {length} octets:"
        )?;
        self.octets
            .iter()
            .take(64)
            .try_for_each(|octet| write!(f, " {octet:02x}"))
    }
}

impl Packet {
    pub fn parse(octets: &[u8]) -> Option<Packet> {
        match octets.first()? >> 4 {
            4 => parse_v4(octets),
            6 => parse_v6(octets),
            _ => None,
        }
    }

    pub fn emit(from: IpAddr, to: IpAddr, hop_limit: u8, protocol: u8, transport: &[u8]) -> Packet {
        let length = |header: usize| u16::try_from(header + transport.len()).expect("small");
        let mut octets = Vec::new();
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                octets.extend([0x45, 0]);
                octets.extend(length(20).to_be_bytes());
                octets.extend([0, 0, 0, 0, hop_limit, protocol, 0, 0]);
                octets.extend(from.octets());
                octets.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                octets.extend([0x60, 0, 0, 0]);
                octets.extend(length(0).to_be_bytes());
                octets.extend([protocol, hop_limit]);
                octets.extend(from.octets());
                octets.extend(to.octets());
            }
            _ => unreachable!("a packet has one family"),
        }
        octets.extend(transport);
        let mut packet = Packet::parse(&octets).expect("just made");
        packet.set_checksums();
        packet
    }

    /// What is behind the IP header and its extensions.
    pub fn transport(&self) -> &[u8] {
        &self.octets[self.transport_at..]
    }

    pub fn is_echo_request(&self) -> bool {
        let is_first = self.fragment_offset == 0;
        let echo_request = if self.protocol == ICMP { 8 } else { 128 };
        is_first && self.is_icmp() && self.transport().first() == Some(&echo_request)
    }

    pub fn is_icmp(&self) -> bool {
        self.protocol == if self.source.is_ipv4() { ICMP } else { ICMPV6 }
    }

    /// RFC 1122 section 3.2.2 and RFC 4443 section 2.4: whether there may be errors about this.
    pub fn may_cause_errors(&self) -> bool {
        self.fragment_offset == 0 && (!self.is_icmp() || self.is_echo_request())
    }

    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.hop_limit = hop_limit;
        self.octets[if self.source.is_ipv4() { 8 } else { 7 }] = hop_limit;
        self.set_header_checksum();
    }

    /// As a NAT does it: another address and, if it has ports, maybe another port.
    pub fn set_source(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.octets[12..16].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => self.octets[8..24].copy_from_slice(&address.octets()),
        }
        self.source = address;
        self.set_checksums();
    }

    /// After a change of `octets`; a fragment's transport checksum stays as it is.
    pub fn set_checksums(&mut self) {
        self.set_header_checksum();
        let Some(at) = self.checksum_at() else { return };
        self.octets[at..at + 2].fill(0);
        let sum = !sum(&[&self.pseudo_header(), self.transport()]);
        // RFC 768: zero would say that there is none.
        let sum = if sum == 0 && self.protocol == UDP {
            0xffff
        } else {
            sum
        };
        self.octets[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// Linux leaves the checksum of UDP and TCP to the device, which finds the sum of the
    /// pseudo-header in its place. The simulator is the device.
    pub fn complete_checksum(&mut self) {
        let Some(at) = self.checksum_at() else { return };
        let partial = sum(&[&self.pseudo_header()]).to_be_bytes();
        if matches!(self.protocol, UDP | TCP) && self.octets[at..at + 2] == partial {
            self.set_checksums();
        }
    }

    pub fn has_right_checksum(&self) -> bool {
        let Some(at) = self.checksum_at() else {
            return true;
        };
        let is_absent = self.protocol == UDP && self.octets[at..at + 2] == [0, 0];
        let may_be_absent = is_absent && self.source.is_ipv4();
        may_be_absent || sum(&[&self.pseudo_header(), self.transport()]) == 0xffff
    }

    /// What an honest host answers. `seen` is the packet as it came there, which errors quote.
    pub fn answer(&self, seen: &Packet, hop_limit: u8) -> Option<Packet> {
        if !self.has_right_checksum() {
            return None;
        }
        match self.protocol {
            ICMP | ICMPV6 => self.echo_reply(hop_limit),
            UDP if self.fragment_offset == 0 => {
                let code = if self.source.is_ipv4() { 3 } else { 4 };
                let error = Error::Unreachable(code).quoting(seen, None, &[]);
                let protocol = if self.source.is_ipv4() { ICMP } else { ICMPV6 };
                let (from, to) = (self.destination, self.source);
                Some(Packet::emit(from, to, hop_limit, protocol, &error))
            }
            TCP if self.fragment_offset == 0 => self.tcp_reply(hop_limit),
            _ => None,
        }
    }

    /// Fragment by fragment, as the first one's checksum changes only by the type (RFC 1624).
    pub fn echo_reply(&self, hop_limit: u8) -> Option<Packet> {
        if self.fragment_offset == 0 && !self.is_echo_request() {
            return None;
        }
        let mut octets = self.octets.clone();
        let length = if self.source.is_ipv4() { 4 } else { 16 };
        let at = if self.source.is_ipv4() { 12 } else { 8 };
        octets[at..at + 2 * length].rotate_left(length);
        let mut reply = Packet::parse(&octets)?;
        reply.set_hop_limit(hop_limit);
        if self.fragment_offset == 0 {
            let old = *self.transport().first_chunk::<4>()?;
            let reply_type = if self.protocol == ICMP { 0 } else { 129 };
            let difference = [!old[0], !old[1], reply_type, old[1], !old[2], !old[3]];
            let checksum = (!sum(&[&difference])).to_be_bytes();
            let new = [reply_type, old[1], checksum[0], checksum[1]];
            let at = self.transport_at;
            reply.octets[at..at + 4].copy_from_slice(&new);
        }
        Some(reply)
    }

    /// SYN, ACK or RST, ACK for a SYN (RFC 9293 sections 3.10.7.1 and 3.10.7.2).
    fn tcp_reply(&self, hop_limit: u8) -> Option<Packet> {
        let syn = self.transport().first_chunk::<20>()?;
        if syn[13] & (TCP_SYN | TCP_ACK | TCP_RST) != TCP_SYN {
            return None;
        }
        let is_open = syn[2..4] == TCP_OPEN_PORT;
        let sequence_number = u32::from_be_bytes([syn[4], syn[5], syn[6], syn[7]]);
        let mut reply = Vec::new();
        reply.extend([syn[2], syn[3], syn[0], syn[1], 0, 0, 0, 0]);
        reply.extend(sequence_number.wrapping_add(1).to_be_bytes());
        let control = TCP_ACK | if is_open { TCP_SYN } else { TCP_RST };
        reply.extend([0x50, control, 0xff, 0xff, 0, 0, 0, 0]);
        Some(Packet::emit(
            self.destination,
            self.source,
            hop_limit,
            TCP,
            &reply,
        ))
    }

    fn set_header_checksum(&mut self) {
        if self.source.is_ipv4() {
            let length = usize::from(self.octets[0] & 0x0f) * 4;
            self.octets[10..12].fill(0);
            let checksum = !sum(&[&self.octets[..length]]);
            self.octets[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    fn checksum_at(&self) -> Option<usize> {
        let at = self.transport_at
            + match self.protocol {
                ICMP | ICMPV6 => 2,
                UDP => 6,
                TCP => 16,
                _ => return None,
            };
        (!self.is_fragment && at + 2 <= self.octets.len()).then_some(at)
    }

    fn pseudo_header(&self) -> Vec<u8> {
        let mut octets = match (self.source, self.destination) {
            (IpAddr::V4(_), _) if self.protocol == ICMP => return Vec::new(),
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => unreachable!("a packet has one family"),
        };
        let length = u32::try_from(self.transport().len()).expect("an IP packet");
        octets.extend(length.to_be_bytes());
        octets.extend([0, 0, 0, self.protocol]);
        octets
    }
}

fn parse_v4(octets: &[u8]) -> Option<Packet> {
    let header = octets.first_chunk::<20>()?;
    let transport_at = usize::from(header[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    (20 <= transport_at && transport_at <= length && length <= octets.len()).then(|| Packet {
        octets: octets[..length].to_vec(),
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        hop_limit: header[8],
        protocol: header[9],
        dont_fragment: fragment & 0x4000 != 0,
        fragment_offset: fragment & 0x1fff,
        is_fragment: fragment & 0x3fff != 0,
        transport_at,
    })
}

fn parse_v6(octets: &[u8]) -> Option<Packet> {
    let header = octets.first_chunk::<40>()?;
    let octets = octets.get(..40 + usize::from(u16::from_be_bytes([header[4], header[5]])))?;
    let address = |at: usize| {
        let address: [u8; 16] = header[at..at + 16].try_into().expect("16 octets");
        IpAddr::from(Ipv6Addr::from(address))
    };
    let mut packet = Packet {
        octets: octets.to_vec(),
        source: address(8),
        destination: address(24),
        hop_limit: header[7],
        protocol: header[6],
        dont_fragment: true,
        fragment_offset: 0,
        is_fragment: false,
        transport_at: 40,
    };
    // RFC 8200 section 4: hop-by-hop options, routing, fragment, destination options.
    while matches!(packet.protocol, 0 | 43 | 44 | 60) && packet.fragment_offset == 0 {
        let extension = octets.get(packet.transport_at..)?.first_chunk::<8>()?;
        let mut length = (usize::from(extension[1]) + 1) * 8;
        if packet.protocol == 44 {
            length = 8;
            packet.is_fragment = true;
            packet.fragment_offset = u16::from_be_bytes([extension[2], extension[3]]) >> 3;
        }
        packet.protocol = extension[0];
        packet.transport_at += length;
    }
    (packet.transport_at <= octets.len()).then_some(packet)
}

/// What a router or host complains about.
#[derive(Clone, Copy, PartialEq)]
pub enum Error {
    TimeExceeded,
    Unreachable(u8),
    TooBig(u16),
}

impl Error {
    /// The ICMP message, which quotes at most `limit` octets of `packet`, without its checksum.
    pub fn quoting(self, packet: &Packet, limit: Option<usize>, objects: &[u8]) -> Vec<u8> {
        let is_v4 = packet.source.is_ipv4();
        let mut message = match (self, is_v4) {
            (Error::TimeExceeded, true) => vec![11, 0, 0, 0, 0, 0, 0, 0],
            (Error::TimeExceeded, false) => vec![3, 0, 0, 0, 0, 0, 0, 0],
            (Error::Unreachable(code), true) => vec![3, code, 0, 0, 0, 0, 0, 0],
            (Error::Unreachable(code), false) => vec![1, code, 0, 0, 0, 0, 0, 0],
            (Error::TooBig(_), true) => vec![3, 4, 0, 0, 0, 0, 0, 0],
            (Error::TooBig(_), false) => vec![2, 0, 0, 0, 0, 0, 0, 0],
        };
        if let Error::TooBig(mtu) = self {
            message[6..8].copy_from_slice(&mtu.to_be_bytes());
        }
        let has_objects = !objects.is_empty() && (is_v4 || !matches!(self, Error::TooBig(_)));
        // RFC 1812 section 4.3.2.3: 576 octets in all; RFC 4443: 1280. RFC 4884 section 5.1:
        // 128 octets before extensions, which is also where older programs look for them.
        let usual = match (has_objects, is_v4) {
            (true, _) => 128,
            (false, true) => 548,
            (false, false) => 1232,
        };
        let quoted = limit.unwrap_or(usual).min(packet.octets.len());
        message.extend(&packet.octets[..quoted]);
        if has_objects {
            let unit = if is_v4 { 4 } else { 8 };
            let words = quoted.max(128).div_ceil(unit);
            message.resize(8 + words * unit, 0);
            message[if is_v4 { 5 } else { 4 }] = u8::try_from(words).expect("a quote of that size");
            message.extend([0x20, 0]);
            message.extend((!sum(&[&[0x20, 0], objects])).to_be_bytes());
            message.extend(objects);
        }
        message
    }
}

/// RFC 1071: the ones' complement sum. All parts but the last have an even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.fold(0u32, |sum, word| {
        sum + u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}
