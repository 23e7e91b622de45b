//! Follows hosts one by one, with a statistic for each.

mod hear;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::answer::{COOKIE_OCTETS, Own};
use super::probes::{Plan, Probes, Step};
use super::report::Event;
use super::statistics::{Statistics, Wanted};
use super::verdict::Oddities;
use crate::cancel::Wake;
use crate::measure::figure::Percent;
use crate::net::icmp::{IcmpSocket, Options};
use crate::net::reverse::Names;
use crate::net::{self, random};
use crate::tool::{Context, Error};
use crate::wire::icmp::{Echo, Version};
use crate::{cause, clock};

/// How often `jobs` learns how it goes.
const SUMMARY_INTERVAL: Duration = Duration::from_millis(100);
/// Answers that do not count are told so often, and then only counted.
const STRANGE_TOLD_MAX: u64 = 20;
/// Packets whose stamps are waited for; some drivers give none.
const UNSTAMPED_MAX: usize = 4096;
/// Hosts are asked one after the other, not in one burst.
const STAGGER_MAX: Duration = Duration::from_millis(2);

/// What is told while it goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Telling {
    /// Only the statistics.
    pub(super) quiet: bool,
    pub(super) flood: bool,
    pub(super) stamps: bool,
    pub(super) no_answer_yet: bool,
    pub(super) audible: bool,
    pub(super) wanted: Wanted,
}

pub(super) struct Watch<'a> {
    context: &'a Context,
    telling: Telling,
    own: Own,
    hosts: Vec<Host>,
    sockets: Vec<Socket>,
    /// Names of addresses that answer, unless only numbers are wanted.
    names: Option<Names>,
    summarized_at: Instant,
    slept: Duration,
}

struct Host {
    name: String,
    address: SocketAddr,
    cookie: [u8; COOKIE_OCTETS],
    /// Its place among the sockets.
    socket: usize,
    probes: Probes,
    oddities: Oddities,
}

struct Socket {
    icmp: IcmpSocket,
    version: Version,
    /// The packets whose transmit stamps are still to come: number, host, sequence number.
    unstamped: VecDeque<(u32, usize, u64)>,
}

impl<'a> Watch<'a> {
    pub(super) fn open(
        context: &'a Context,
        hosts: Vec<(String, SocketAddr)>,
        template: Vec<u8>,
        plan: Plan,
        options: &Options,
        telling: Telling,
    ) -> Result<Watch<'a>, Error> {
        let mut sockets: Vec<Socket> = Vec::new();
        let now = clock::now();
        let count = hosts.len() as u32;
        let stagger = (plan.interval / count.max(1)).min(STAGGER_MAX);
        let mut opened = Vec::new();
        for (index, (name, address)) in (0..).zip(hosts) {
            let version = Version::of(address.ip());
            let socket = match sockets.iter().position(|socket| socket.version == version) {
                Some(place) => place,
                None => {
                    sockets.push(Socket {
                        icmp: IcmpSocket::open(version == Version::V4, options)?,
                        version,
                        unstamped: VecDeque::new(),
                    });
                    sockets.len() - 1
                }
            };
            opened.push(Host {
                name,
                address,
                cookie: random().to_be_bytes(),
                socket,
                probes: Probes::new(plan, now + stagger * index),
                oddities: Oddities::default(),
            });
        }
        let known: Vec<(IpAddr, [u8; COOKIE_OCTETS])> = opened
            .iter()
            .map(|host| (host.address.ip(), host.cookie))
            .collect();
        Ok(Watch {
            context,
            telling,
            own: Own::new(&known, template),
            hosts: opened,
            sockets,
            names: None,
            summarized_at: now,
            slept: clock::slept(),
        })
    }

    /// Answers are shown with the names of their addresses, as soon as those are known.
    pub(super) fn name_addresses(&mut self) {
        self.names = Names::new().ok();
        for host in &self.hosts {
            if let Some(names) = &self.names {
                names.ask(host.address.ip());
            }
        }
    }

    /// Until all is answered or given up, or the job is stopped.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        loop {
            if self.context.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if !self.telling.flood {
                self.notice_sleep();
            }
            // In a flood the answer is often there before anybody could wait for it.
            self.receive()?;
            let (sent, wait_until) = self.send_due();
            let Some(wait_until) = wait_until else {
                return Ok(());
            };
            if sent {
                continue;
            }
            self.summarize_before(wait_until);
            let fds: Vec<_> = self
                .sockets
                .iter()
                .map(|socket| socket.icmp.as_fd())
                .collect();
            let cancel = &self.context.cancel;
            match cancel.wait_any(&fds, PollFlags::POLLIN, Some(wait_until))? {
                Wake::Nudged => self.tell_interim(),
                Wake::Ready | Wake::TimedOut => {}
            }
        }
    }

    /// Sends what is due; whether anything was, and when the next is, if there is any.
    fn send_due(&mut self) -> (bool, Option<Instant>) {
        let mut sent = false;
        let mut wait_until: Option<Instant> = None;
        for index in 0..self.hosts.len() {
            let now = clock::now();
            match self.hosts[index].probes.poll(now) {
                Step::Send(sequence_number) => {
                    self.send(index, sequence_number);
                    sent = true;
                    wait_until = Some(now);
                }
                Step::WaitUntil(at) => {
                    wait_until = Some(wait_until.map_or(at, |earlier| earlier.min(at)));
                }
                Step::Done => {}
            }
        }
        (sent, wait_until)
    }

    fn send(&mut self, index: usize, sequence_number: u64) {
        self.tell_no_answer_yet(index, sequence_number);
        let host = &mut self.hosts[index];
        let socket = &mut self.sockets[host.socket];
        let echo = Echo {
            identifier: socket.icmp.identifier(),
            // The wire has the low 16 bits.
            sequence_number: sequence_number as u16,
            payload: self.own.payload(host.cookie),
        };
        let octets = echo.emit_request(socket.version);
        match socket.icmp.send(&octets, &host.address, None) {
            Ok(sent) => {
                host.probes.on_sent(sequence_number, sent.at);
                if socket.icmp.has_transmit_stamps() {
                    let packet = (sent.number, index, sequence_number);
                    socket.unstamped.push_back(packet);
                    if socket.unstamped.len() > UNSTAMPED_MAX {
                        socket.unstamped.pop_front();
                    }
                }
            }
            Err(error) => {
                host.probes.on_sent(sequence_number, clock::now());
                host.probes.on_error(sequence_number as u16);
                socket.unstamped.clear();
                let problem = net::cannot_send(&host.address, octets.len(), &error);
                host.oddities.not_sent = Some(problem.clone());
                host.oddities.not_sent_count += 1;
                let host = self.prefix(index);
                self.context.out.emit(&Event::SendError {
                    host,
                    icmp_seq: sequence_number,
                    problem,
                });
            }
        }
    }

    fn tell_no_answer_yet(&self, index: usize, sequence_number: u64) {
        let host = &self.hosts[index];
        let last = sequence_number - 1;
        if self.telling.no_answer_yet && !self.telling.quiet && host.probes.is_waiting_for(last) {
            self.context.out.emit(&Event::NoAnswerYet {
                host: self.prefix(index),
                icmp_seq: last,
            });
        }
    }

    /// The host's name where there are several.
    fn prefix(&self, index: usize) -> Option<String> {
        (self.hosts.len() > 1).then(|| self.hosts[index].name.clone())
    }

    /// After a sleep of the machine nobody answers what was asked before.
    fn notice_sleep(&mut self) {
        const NOTICED_MIN: Duration = Duration::from_millis(100);
        let slept = clock::slept();
        if slept.saturating_sub(self.slept) > NOTICED_MIN {
            for host in &mut self.hosts {
                host.probes.on_suspended(clock::now());
            }
        }
        self.slept = slept;
    }

    fn tell_interim(&self) {
        for (index, host) in self.hosts.iter().enumerate() {
            let (tally, rtts) = (&host.probes.tally, &host.probes.rtts);
            self.context.out.tell(&Event::Interim {
                host: self.prefix(index),
                received: tally.received,
                transmitted: tally.transmitted,
                loss_percent: host.probes.loss_percent(),
                min_ms: rtts.min,
                avg_ms: rtts.average,
                ewma_ms: rtts.smoothed,
                max_ms: rtts.max,
            });
        }
    }

    /// `jobs` shows how it goes, but nothing waits for that.
    fn summarize_before(&mut self, wait_until: Instant) {
        let now = clock::now();
        let is_idle = wait_until.saturating_duration_since(now) > SUMMARY_INTERVAL / 10;
        if is_idle || now - self.summarized_at > SUMMARY_INTERVAL {
            self.summarized_at = now;
            self.context.summarize(self.summary());
        }
    }

    fn summary(&self) -> String {
        if let [host] = self.hosts.as_slice() {
            let (tally, rtts) = (&host.probes.tally, &host.probes.rtts);
            let mut summary = format!("{} sent, {} received", tally.transmitted, tally.received);
            if tally.transmitted > tally.received + 1 {
                let loss = Percent(host.probes.loss_percent());
                summary.push_str(&format!(", {loss}% loss"));
            }
            if rtts.count > 0 {
                let (last, average) = (rtts.last, rtts.average);
                summary.push_str(&format!(", last {last:.3} ms, avg {average:.3} ms"));
            }
            return summary;
        }
        let answering = self
            .hosts
            .iter()
            .filter(|host| host.probes.tally.received > 0);
        let sent = self.hosts.iter().map(|host| host.probes.tally.transmitted);
        let (sent, hosts) = (sent.sum::<u64>(), self.hosts.len());
        format!("{} of {hosts} hosts answer, {sent} sent", answering.count())
    }

    pub(super) fn statistics(&self) -> Vec<Statistics> {
        let now = clock::now();
        let of = |host: &Host| {
            Statistics::of(
                &host.name,
                host.address.ip(),
                &host.probes,
                &host.oddities,
                self.telling.wanted,
                now,
            )
        };
        self.hosts.iter().map(of).collect()
    }
}

impl Host {
    /// A group's packets come back before they have left.
    fn on_transmitted(&mut self, sequence_number: u64, at: Instant) {
        if !self.address.ip().is_multicast() {
            self.probes.on_transmitted(sequence_number, at);
        }
    }
}

pub(super) fn cannot_receive(error: std::io::Error) -> Error {
    Error::Unavailable(format!("cannot receive: {}", cause::of(&error)))
}
