//! What comes back: which host it concerns, and what is told about it.

use std::net::IpAddr;
use std::time::Instant;

use super::{STRANGE_TOLD_MAX, Socket, Watch, cannot_receive};
use crate::clock;
use crate::net::inbox::Queued;
use crate::tool::Error;
use crate::tools::ping::answer::{Answer, Strange};
use crate::tools::ping::probes::Reply;
use crate::tools::ping::report::Event;
use crate::tools::ping::statistics::to_nanoseconds;

/// An answer, who sent it, with which hop limit, and when.
type Heard = (Answer, IpAddr, Option<u8>, Instant);

impl Watch<'_> {
    /// All that waits.
    pub(super) fn receive(&mut self) -> Result<(), Error> {
        // The rest of a flood waits until what is due has been sent.
        const MESSAGES_MAX: usize = 256;
        for place in 0..self.sockets.len() {
            while let Some((answer, from, ttl, at)) = self.receive_queued(place)? {
                self.take(answer, from, ttl, at);
            }
            for _ in 0..MESSAGES_MAX {
                let Socket { icmp, version, .. } = &mut self.sockets[place];
                let (mode, identifier) = (icmp.mode, icmp.identifier());
                let Some(received) = icmp.receive().map_err(cannot_receive)? else {
                    break;
                };
                let (from, at) = (received.from.ip(), received.at);
                let (answer, ttl) = self.own.recognise(&received, *version, mode, identifier);
                self.take(answer, from, ttl, at);
                // A flood has better things to do than to ask whether there is more.
                if self.telling.flood && !self.hosts.iter().any(|host| host.probes.is_waiting()) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next answer by the error queue; stamps are seen to on the way.
    fn receive_queued(&mut self, place: usize) -> Result<Option<Heard>, Error> {
        let socket = &mut self.sockets[place];
        let identifier = socket.icmp.identifier();
        loop {
            match socket.icmp.receive_queued().map_err(cannot_receive)? {
                None => return Ok(None),
                Some(Queued::Transmitted { number, at }) => {
                    // Those before it will have no stamp any more.
                    while let Some((packet, host, sequence_number)) = socket.unstamped.pop_front() {
                        if packet == number {
                            self.hosts[host].on_transmitted(sequence_number, at);
                            break;
                        }
                    }
                }
                Some(Queued::Problem(problem)) => {
                    let answer = self
                        .own
                        .recognise_queued(&problem, socket.version, identifier);
                    if let Some(router) = problem.router {
                        return Ok(Some((answer, router, problem.hop_limit, problem.at)));
                    }
                }
            }
        }
    }

    fn take(&mut self, answer: Answer, from: IpAddr, ttl: Option<u8>, at: Instant) {
        match answer {
            Answer::Foreign => {}
            Answer::Reply {
                host,
                sequence_number,
                octets,
            } => self.take_reply(host, sequence_number, octets, from, ttl, at),
            Answer::Problem {
                host,
                sequence_number,
                problem,
            } => {
                let probes = &mut self.hosts[host].probes;
                let icmp_seq = match problem.is_redirect() {
                    true => Some(u64::from(sequence_number)),
                    false => probes.on_error(sequence_number),
                };
                let Some(icmp_seq) = icmp_seq else { return };
                if !problem.is_redirect() {
                    self.hosts[host].oddities.problem = Some((from, problem));
                }
                if !self.telling.quiet {
                    self.context.out.emit(&Event::Error {
                        host: self.prefix(host),
                        from: self.label(host, from),
                        icmp_seq,
                        problem: problem.to_string(),
                    });
                }
            }
            Answer::Strange {
                host,
                sequence_number,
                octets,
                why,
            } => self.take_strange(host, sequence_number, octets, from, why),
        }
    }

    fn take_reply(
        &mut self,
        host: usize,
        low_bits: u16,
        octets: usize,
        from: IpAddr,
        ttl: Option<u8>,
        at: Instant,
    ) {
        let (icmp_seq, rtt, duplicate) = match self.hosts[host].probes.on_reply(low_bits, at) {
            Reply::First {
                sequence_number,
                rtt,
            } => (sequence_number, rtt, false),
            Reply::Duplicate {
                sequence_number,
                rtt,
            } => (sequence_number, rtt, true),
            Reply::Old => return self.take_strange(host, low_bits, octets, from, Strange::Old),
            Reply::Unsent => {
                return self.take_strange(host, low_bits, octets, from, Strange::Unsent);
            }
        };
        if self.telling.audible {
            self.context.out.ring();
        }
        if self.telling.quiet {
            return;
        }
        self.context.out.emit(&Event::Reply {
            host: self.prefix(host),
            octets,
            from: self.label(host, from),
            icmp_seq,
            ttl,
            rtt_ms: to_nanoseconds(rtt.as_secs_f64() * 1e3),
            duplicate,
            wall: self.telling.stamps.then(clock::unix_seconds),
        });
    }

    fn take_strange(
        &mut self,
        host: usize,
        low_bits: u16,
        octets: usize,
        from: IpAddr,
        why: Strange,
    ) {
        let followed = &mut self.hosts[host];
        if matches!(
            why,
            Strange::BadChecksum | Strange::Truncated | Strange::WrongOctet { .. }
        ) {
            followed.probes.on_corrupted();
        }
        followed.oddities.strange += 1;
        let is_told = followed.oddities.strange <= STRANGE_TOLD_MAX;
        followed.oddities.newest_strange = Some((from, why.clone()));
        if is_told && !self.telling.quiet {
            self.context.out.emit(&Event::NotCounted {
                host: self.prefix(host),
                octets,
                from: self.label(host, from),
                icmp_seq: u64::from(low_bits),
                why: why.to_string(),
            });
        }
    }

    /// An address as people know it.
    fn label(&self, host: usize, address: IpAddr) -> String {
        let host = &self.hosts[host];
        let is_asked = self.hosts.len() > 1 && host.address.ip() == address;
        let name = match is_asked {
            true => Some(host.name.clone()).filter(|name| *name != address.to_string()),
            false => self.names.as_ref().and_then(|names| {
                names.ask(address);
                names.of(address)
            }),
        };
        match name {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        }
    }
}
