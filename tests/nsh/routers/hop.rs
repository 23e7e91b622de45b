//! One router: what it forwards, and what it says about the rest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::link::now;
use super::packet::{Error, ICMP, ICMPV6, Packet, TCP, UDP};

/// Whose address a NAT puts in place of the client's.
const NAT_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NAT_V6: Ipv6Addr = Ipv6Addr::new(0xfd51, 0, 0, 0, 0, 0, 0, 1);

#[derive(Default)]
pub struct Hop {
    pub number: u8,
    addresses: Vec<IpAddr>,
    per_packet: bool,
    pub silent: bool,
    quoting: Option<usize>,
    objects: Vec<u8>,
    mtu: Option<u16>,
    black_hole: bool,
    unreachable: Option<u8>,
    translated_source: bool,
    limit: Limit,
    errors_sent: usize,
}

#[derive(Default)]
enum Limit {
    #[default]
    None,
    Count(usize),
    Interval(Duration, Option<Instant>),
}

impl Hop {
    /// A plain router, which answers time exceeded.
    pub fn at(number: u8) -> Hop {
        let v6 = format!("fd09:{number}::1").parse();
        Hop {
            number,
            addresses: vec![
                Ipv4Addr::new(10, 9, number, 1).into(),
                v6.expect("decimal digits are hexadecimal digits"),
            ],
            ..Hop::default()
        }
    }

    pub fn silent(mut self) -> Hop {
        self.silent = true;
        self
    }

    /// A parallel router, chosen by flow: by ports, and for ICMP by checksum and identifier.
    pub fn also(mut self, address: &str) -> Hop {
        self.addresses.push(address.parse().expect("an address"));
        self
    }

    /// Parallel routers take turns in answering, whatever the flow.
    pub fn per_packet(mut self) -> Hop {
        self.per_packet = true;
        self
    }

    /// Errors quote that many octets of the packet: 28 is the least in RFC 792, 48 its equal in
    /// IPv6. Otherwise they quote what fits into 576 or 1280 octets.
    pub fn quoting(mut self, octets: usize) -> Hop {
        self.quoting = Some(octets);
        self
    }

    /// Label, traffic class, bottom of stack, TTL: RFC 4950.
    pub fn labels(mut self, stack: &[(u32, u8, bool, u8)]) -> Hop {
        let entries = stack.iter().flat_map(|&(label, class, is_bottom, ttl)| {
            let word = label << 12 | u32::from(class) << 9 | u32::from(is_bottom) << 8;
            (word | u32::from(ttl)).to_be_bytes()
        });
        self.add_object(1, 1, entries.collect());
        self
    }

    /// The name of the incoming interface: RFC 5837 section 4.3.
    pub fn interface(mut self, name: &str) -> Hop {
        let length = (1 + name.len()).next_multiple_of(4);
        let mut name_information = vec![u8::try_from(length).expect("at most 63 octets")];
        name_information.extend(name.bytes());
        name_information.resize(length, 0);
        self.add_object(2, 0b0000_0010, name_information);
        self
    }

    /// Forwards at most that much, and says so about what may not be fragmented.
    pub fn mtu(mut self, octets: u16) -> Hop {
        self.mtu = Some(octets);
        self
    }

    /// Says nothing about what is larger than its MTU.
    pub fn black_hole(mut self) -> Hop {
        self.black_hole = true;
        self
    }

    /// Sends destination unreachable with this code about all that comes.
    pub fn unreachable(mut self, code: u8) -> Hop {
        self.unreachable = Some(code);
        self
    }

    /// Translates the source address, and does not translate back what errors quote.
    pub fn natted(mut self) -> Hop {
        self.translated_source = true;
        self
    }

    /// Sends that many errors and no more.
    pub fn limited(mut self, errors: usize) -> Hop {
        self.limit = Limit::Count(errors);
        self
    }

    pub fn limited_to_one_per(mut self, interval: Duration) -> Hop {
        self.limit = Limit::Interval(interval, None);
        self
    }

    /// RFC 4884 section 8.
    fn add_object(&mut self, class: u8, class_type: u8, payload: Vec<u8>) {
        let length = u16::try_from(4 + payload.len()).expect("a short object");
        self.objects.extend(length.to_be_bytes());
        self.objects.extend([class, class_type]);
        self.objects.extend(payload);
    }

    pub fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Why this router does not forward a packet.
    pub fn refusal(&self, packet: &Packet) -> Option<Error> {
        if let Some(code) = self.unreachable {
            return Some(Error::Unreachable(code));
        }
        if packet.hop_limit <= 1 {
            return Some(Error::TimeExceeded);
        }
        let mtu = self.mtu.filter(|_| packet.dont_fragment)?;
        (packet.octets.len() > usize::from(mtu)).then_some(Error::TooBig(mtu))
    }

    pub fn forward(&self, packet: &mut Packet) {
        if self.translated_source {
            let source = if packet.source.is_ipv4() {
                NAT_V4.into()
            } else {
                NAT_V6.into()
            };
            packet.set_source(source);
        }
        packet.set_hop_limit(packet.hop_limit - 1);
    }

    /// `about` is the packet as it came here, `client` who sent it.
    pub fn complain(&mut self, error: Error, about: &Packet, client: IpAddr) -> Vec<Vec<u8>> {
        let hides = self.black_hole && matches!(error, Error::TooBig(_));
        if self.silent || hides || !about.may_cause_errors() || !self.within_limit() {
            return Vec::new();
        }
        let message = error.quoting(about, self.quoting, &self.objects);
        let protocol = if client.is_ipv4() { ICMP } else { ICMPV6 };
        let from = self.address_for(about);
        self.errors_sent += 1;
        vec![Packet::emit(from, client, self.reply_hop_limit(), protocol, &message).octets]
    }

    fn within_limit(&mut self) -> bool {
        match &mut self.limit {
            Limit::None => true,
            Limit::Count(errors) => self.errors_sent < *errors,
            Limit::Interval(interval, last) => {
                let is_over = last.is_none_or(|last| last.elapsed() >= *interval);
                if is_over {
                    *last = Some(now());
                }
                is_over
            }
        }
    }

    fn address_for(&self, packet: &Packet) -> IpAddr {
        let is_same = |address: &&IpAddr| address.is_ipv4() == packet.source.is_ipv4();
        let parallel: Vec<&IpAddr> = self.addresses.iter().filter(is_same).collect();
        let choice = if self.per_packet {
            self.errors_sent
        } else {
            flow(packet, self.number)
        };
        *parallel[choice % parallel.len()]
    }

    pub fn reply_hop_limit(&self) -> u8 {
        65 - self.number
    }
}

/// What a router at `number` makes of a packet's flow.
fn flow(packet: &Packet, number: u8) -> usize {
    let identity = match packet.protocol {
        UDP | TCP => packet.transport().get(..4),
        // The checksum and the identifier.
        ICMP | ICMPV6 => packet.transport().get(2..6),
        _ => None,
    };
    let mut hasher = DefaultHasher::new();
    (
        number,
        packet.source,
        packet.destination,
        packet.protocol,
        identity,
    )
        .hash(&mut hasher);
    usize::try_from(hasher.finish() >> 33).expect("31 bits")
}
