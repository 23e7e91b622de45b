//! Sends, listens, and tells what became of each datagram.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use nix::poll::PollFlags;

use super::dialect::{Dialect, Heard};
use super::peer::Peer;
use super::probes::{Plan, Probes, Reply, Step};
use super::report::Event;
use super::statistics::Statistics;
use crate::cancel::{Cancelled, Wake};
use crate::clock::{self, Timeline};
use crate::net::icmp::Options;
use crate::net::inbox::{Queued, QueuedProblem, Received};
use crate::net::packet::PacketSocket;
use crate::net::{cannot_send, udp};
use crate::tool::{Context, Error, Status};
use crate::wire::icmp::{Problem, Version};

pub(super) struct Wanted {
    pub(super) host: String,
    pub(super) peer: SocketAddr,
    pub(super) dialect: Dialect,
    pub(super) plan: Plan,
    pub(super) options: Options,
    pub(super) is_quiet: bool,
}

struct Client<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    timeline: Timeline,
    probes: Probes,
    peer: Peer,
    /// The server has said how many requests came.
    is_counted: bool,
}

/// Taken, as are errors, before it is looked whether something is due, and whether to stop.
const DATAGRAMS_MAX: usize = 256;
/// How often, and how long each time, a server is asked how many requests came.
const COUNT_TRIES: usize = 3;
const COUNT_PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn run(context: &Context, wanted: &Wanted) -> Result<Status, Error> {
    let (mut socket, _) = udp::open_probe(wanted.peer, &wanted.options)?;
    socket
        .tell_errors(wanted.peer.is_ipv4())
        .map_err(|error| Error::Unavailable(format!("cannot learn of errors (UDP): {error}")))?;
    clock::wake_sharply();
    let plan = &wanted.plan;
    context.out.emit(&Event::Start {
        host: wanted.host.clone(),
        address: wanted.peer.to_string(),
        octets: wanted.dialect.octets(),
        authenticated: wanted.dialect.is_authenticated(),
        interval_ms: plan.interval.as_secs_f64() * 1e3,
        count: plan.count,
    });
    let mut client = Client {
        context,
        wanted,
        timeline: Timeline::start(),
        probes: Probes::new(*plan, clock::now()),
        peer: Peer::default(),
        is_counted: false,
    };
    let ended = client.follow(&mut socket);
    if ended.is_ok() {
        client.ask_count(&mut socket);
    }
    let statistics = Statistics::of(wanted, &client.probes, &client.peer, &client.timeline);
    let status = match client.probes.tally.received {
        0 => Status::NEGATIVE,
        _ => Status::OK,
    };
    context.out.emit(&Event::Statistics(Box::new(statistics)));
    match ended {
        // It has no other end.
        Err(Cancelled) if plan.count.is_some() => Err(Error::Cancelled),
        _ => Ok(status),
    }
}

impl Client<'_> {
    fn follow(&mut self, socket: &mut PacketSocket) -> Result<(), Cancelled> {
        loop {
            // Who sends as fast as it can never waits.
            if self.context.cancel.is_cancelled() {
                return Err(Cancelled);
            }
            match self.probes.poll(clock::now()) {
                Step::Send(number) => self.send(socket, number),
                Step::TimedOut(number) => {
                    self.tell(number, |request, sequence_number| Event::TimedOut {
                        request,
                        sequence_number,
                    })
                }
                Step::WaitUntil(deadline) => {
                    let socket = socket.as_fd();
                    let cancel = &self.context.cancel;
                    cancel.wait(socket, PollFlags::POLLIN, Some(deadline))?;
                }
                Step::Done => return Ok(()),
            }
            self.listen(socket);
        }
    }

    /// Where the last replies are missing only the server knows whether their requests came.
    fn ask_count(&mut self, socket: &mut PacketSocket) {
        let totals = self.peer.directions.totals(self.probes.tally.sent);
        if !self.peer.is_telling || totals.undecided == 0 {
            return;
        }
        for _ in 0..COUNT_TRIES {
            let now = clock::now();
            let Some(octets) = self.wanted.dialect.emit_count(&self.time_of_day(now)) else {
                return;
            };
            let _ = socket.send(&octets, &self.wanted.peer, None);
            let deadline = now + COUNT_PATIENCE;
            while !self.is_counted && clock::now() < deadline {
                let cancel = &self.context.cancel;
                match cancel.wait(socket.as_fd(), PollFlags::POLLIN, Some(deadline)) {
                    Ok(Wake::Ready) => self.listen(socket),
                    Ok(Wake::TimedOut | Wake::Nudged) => break,
                    Err(Cancelled) => return,
                }
            }
        }
    }

    fn send(&mut self, socket: &PacketSocket, number: u64) {
        let now = clock::now();
        let time = self.time_of_day(now);
        let octets = self
            .wanted
            .dialect
            .emit(number, &time, self.timeline.at(now));
        match socket.send(&octets, &self.wanted.peer, None) {
            Ok(at) => self.probes.on_sent(at, true),
            Err(error) => {
                self.probes.on_sent(now, false);
                let problem = cannot_send(&self.wanted.peer, octets.len(), &error);
                self.peer.on_trouble(&problem);
                self.tell(number, |request, sequence_number| Event::SendError {
                    request,
                    sequence_number,
                    problem,
                });
            }
        }
    }

    /// Whatever waits.
    fn listen(&mut self, socket: &mut PacketSocket) {
        // An error that is not the datagrams' own shows again at the next send.
        for _ in 0..DATAGRAMS_MAX {
            let Ok(Some(received)) = socket.receive() else {
                break;
            };
            self.on_received(&received);
        }
        for _ in 0..DATAGRAMS_MAX {
            let Ok(Some(queued)) = socket.receive_queued() else {
                break;
            };
            if let Queued::Problem(problem) = queued {
                self.on_problem(&problem);
            }
        }
    }

    fn on_received(&mut self, received: &Received) {
        let from = received.from;
        let now = self.timeline.at(received.at);
        let heard = match from == self.wanted.peer {
            true => self.wanted.dialect.parse(received.octets, now),
            false => None,
        };
        let Some(heard) = heard else {
            return self.peer.on_stranger(from);
        };
        let can_count = matches!(self.wanted.dialect, Dialect::Words { .. });
        if let (true, Some(0), Some(reflection)) = (can_count, heard.number, heard.reflection) {
            self.is_counted = true;
            return self.peer.on_final_count(reflection.requests);
        }
        let turnaround = heard.turnaround();
        match self.probes.on_reply(heard.number, received.at, turnaround) {
            Reply::First {
                sequence_number,
                sent,
                rtt,
                is_late,
            } => {
                self.learn(sequence_number, sent, received.at, &heard);
                self.tell(sequence_number, |request, sequence_number| Event::Reply {
                    request,
                    sequence_number,
                    from: from.to_string(),
                    rtt_ms: rtt.as_secs_f64() * 1e3,
                    late: is_late,
                });
            }
            Reply::Duplicate { sequence_number } => {
                self.peer.on_duplicate(sequence_number, &heard);
                self.tell(sequence_number, |request, sequence_number| {
                    Event::Duplicate {
                        request,
                        sequence_number,
                        from: from.to_string(),
                    }
                });
            }
            Reply::Stray => {}
        }
    }

    fn learn(&mut self, number: u64, sent: Instant, at: Instant, heard: &Heard) {
        let sent = self.timeline.at(sent).as_nanos().cast_signed();
        let received = self.timeline.at(at).as_nanos().cast_signed();
        self.peer.on_reply(number, sent, received, heard);
    }

    fn on_problem(&mut self, queued: &QueuedProblem) {
        let peer = self.wanted.peer;
        let version = Version::of(peer.ip());
        let Some(problem) = Problem::new(version, queued.kind, queued.code, queued.info) else {
            return;
        };
        let quoted = self.wanted.dialect.quoted(queued.quote);
        let known = quoted.and_then(|number| self.probes.on_refused(number, queued.at));
        let Some((number, after)) = known.filter(|_| problem.is_fatal()) else {
            return;
        };
        let from = queued.router.unwrap_or(peer.ip());
        self.peer.on_problem(from, problem);
        self.tell(number, |request, sequence_number| Event::Refused {
            request,
            sequence_number,
            from: from.to_string(),
            icmp_type: queued.kind,
            icmp_code: queued.code,
            problem: problem.to_string(),
            after_ms: after.as_secs_f64() * 1e3,
        });
    }

    fn tell(&self, number: u64, event: impl FnOnce(String, u32) -> Event) {
        if self.wanted.is_quiet {
            return;
        }
        let time = self.probes.sent_at(number).map(|at| self.time_of_day(at));
        let dialect = &self.wanted.dialect;
        let request = dialect.name(number, &time.unwrap_or_default());
        self.context
            .out
            .emit(&event(request, dialect.on_wire(number)));
    }

    /// `hh:mm:ss`, in local time.
    fn time_of_day(&self, at: Instant) -> String {
        let since_1970: Duration = self.timeline.at(at);
        let wall = DateTime::<Local>::from(std::time::UNIX_EPOCH + since_1970);
        wall.format("%H:%M:%S").to_string()
    }
}
