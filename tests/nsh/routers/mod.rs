//! A path of simulated routers, for tests of programs that look at paths.
//!
//! Router K is 10.9.K.1 and fd09:K::1 (K in decimal digits), the client 10.9.0.2 and fd09::2, and
//! behind the last router all of 10.10.0.0/16 and fd10::/16 is the target. Nothing here takes
//! time. What is left out: delays, paths of unlike length in one route, multicast.

mod hop;
mod link;
mod packet;

use std::net::IpAddr;

pub use hop::Hop;
pub use link::{Permitted, Ran};
pub use packet::{ICMP, Packet, TCP, UDP};

/// Routers, and the target behind them.
pub struct Path {
    hops: Vec<Hop>,
    target: Target,
    looping: Option<(usize, usize)>,
}

impl Path {
    /// A path of that many plain routers.
    pub fn of(hops: u8) -> Path {
        assert!(hops < 64, "replies start with a TTL of 64");
        Path {
            hops: (1..=hops).map(Hop::at).collect(),
            target: Target::default(),
            looping: None,
        }
    }

    /// Replaces the router with the same number.
    pub fn hop(mut self, hop: Hop) -> Path {
        let index = usize::from(hop.number) - 1;
        self.hops[index] = hop;
        self
    }

    pub fn target(mut self, target: Target) -> Path {
        self.target = target;
        self
    }

    /// A routing loop: router `last` sends everything back to router `first`.
    pub fn looping(mut self, first: u8, last: u8) -> Path {
        self.looping = Some((usize::from(first) - 1, usize::from(last) - 1));
        self
    }

    /// Runs a program in front of this path until it ends.
    pub fn run(mut self, permitted: Permitted, program: &str, arguments: &[&str]) -> Ran {
        link::run(permitted, program, arguments, |packet| self.answers(packet))
    }

    /// What comes back for a packet of the client.
    fn answers(&mut self, packet: &Packet) -> Vec<Vec<u8>> {
        let mut moving = packet.clone();
        let mut index = 0;
        while let Some(hop) = self.hops.get_mut(index) {
            if hop.is_at(packet.destination) {
                let answer = packet.answer(&moving, hop.reply_hop_limit());
                return octets(answer.filter(|_| !hop.silent));
            }
            if let Some(error) = hop.refusal(&moving) {
                return hop.complain(error, &moving, packet.source);
            }
            hop.forward(&mut moving);
            index = match self.looping {
                Some((first, last)) if index == last => first,
                _ => index + 1,
            };
        }
        if in_target(packet.destination) {
            let distance = u8::try_from(self.hops.len()).expect("hops are numbered by u8");
            return self.target.answers(packet, &moving, 64 - distance);
        }
        let no_route = packet::Error::Unreachable(0);
        let last = self.hops.last_mut();
        last.map_or_else(Vec::new, |hop| {
            hop.complain(no_route, &moving, packet.source)
        })
    }
}

fn octets(answer: Option<Packet>) -> Vec<Vec<u8>> {
    answer.into_iter().map(|packet| packet.octets).collect()
}

fn in_target(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => address.octets()[..2] == [10, 10],
        IpAddr::V6(address) => address.segments()[0] == 0xfd10,
    }
}

type Loses = Box<dyn FnMut(u64) -> bool + Send>;
type Answers = Box<dyn FnMut(&Packet) -> Vec<Vec<u8>> + Send>;

/// Answers echo requests, UDP with port unreachable, and TCP: port 80 is open, others closed.
#[derive(Default)]
pub struct Target {
    silent: bool,
    loses: Option<Loses>,
    answers: Option<Answers>,
    echo_requests: u64,
}

impl Target {
    pub fn silent(mut self) -> Target {
        self.silent = true;
        self
    }

    /// Whether it loses the nth echo request, counted from 1.
    pub fn loses(mut self, loses: impl FnMut(u64) -> bool + Send + 'static) -> Target {
        self.loses = Some(Box::new(loses));
        self
    }

    /// A peer that answers what the test likes: the IP packets for an IP packet.
    pub fn answering(
        mut self,
        answers: impl FnMut(&Packet) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Target {
        self.answers = Some(Box::new(answers));
        self
    }

    fn answers(&mut self, packet: &Packet, seen: &Packet, hop_limit: u8) -> Vec<Vec<u8>> {
        self.echo_requests += u64::from(packet.is_echo_request());
        let is_lost = packet.is_echo_request()
            && self
                .loses
                .as_mut()
                .is_some_and(|loses| loses(self.echo_requests));
        if self.silent || is_lost {
            return Vec::new();
        }
        if let Some(answers) = &mut self.answers {
            return answers(packet);
        }
        octets(packet.answer(seen, hop_limit))
    }
}
