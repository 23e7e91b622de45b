//! The sender of heartbeats: a sign of life each interval, until it is stopped.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use serde::Serialize;

use crate::cancel::{Cancelled, Wake};
use crate::clock::{self, Timeline};
use crate::net::icmp::Options;
use crate::net::inbox::Queued;
use crate::net::packet::PacketSocket;
use crate::net::{self, cannot_send, udp};
use crate::output::{self, Tone};
use crate::tool::{Context, Error, Status};
use crate::wire::heartbeat::{Beat, Kind};
use crate::wire::icmp::{Problem, Version};
use crate::wire::mac::Key;

pub(super) struct Wanted {
    pub(super) peer: SocketAddr,
    pub(super) name: String,
    pub(super) interval: Duration,
    /// `None` goes on until stopped.
    pub(super) count: Option<u64>,
    pub(super) key: Option<Key>,
    pub(super) options: Options,
}

/// Routers and hosts complain once a second at most (RFC 4443 section 2.4, RFC 1812 section 4.3.2.8).
const RECOVERED_AFTER: Duration = Duration::from_secs(3);
/// Taken, as are errors, before it is looked whether a heartbeat is due.
const DATAGRAMS_MAX: usize = 256;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Beating {
        name: String,
        address: String,
        interval_ms: f64,
        authenticated: bool,
    },
    /// From now on; it is tried again all the same.
    Trouble {
        problem: String,
    },
    /// What was wrong is no more, as far as a sender can know.
    Recovered,
    Ended {
        name: String,
        sent: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Beating {
                name,
                address,
                interval_ms,
                authenticated,
            } => {
                let how = if *authenticated {
                    ""
                } else {
                    ", not authenticated"
                };
                write!(
                    f,
                    "'{name}' beats to {address}, once each {interval_ms} ms{how}"
                )
            }
            Event::Trouble { problem } => f.write_str(problem),
            Event::Recovered => f.write_str("nobody refuses the heartbeats any more"),
            Event::Ended { name, sent } => {
                write!(f, "'{name}' sent {sent} heartbeats and said bye")
            }
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Beating { .. } | Event::Recovered => Tone::Good,
            Event::Trouble { .. } => Tone::Bad,
            Event::Ended { .. } => Tone::Plain,
        }
    }
}

struct Sender<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    socket: PacketSocket,
    timeline: Timeline,
    boot: u64,
    sent: u64,
    /// When the heartbeats last met trouble, as long as it goes on.
    trouble: Option<Instant>,
}

pub(super) fn run(context: &Context, wanted: &Wanted) -> Result<Status, Error> {
    let (mut socket, _) = udp::open_probe(wanted.peer, &wanted.options)?;
    socket
        .tell_errors(wanted.peer.is_ipv4())
        .map_err(|error| Error::Unavailable(format!("cannot learn of errors (UDP): {error}")))?;
    let timeline = Timeline::start();
    let started = clock::now();
    let mut sender = Sender {
        context,
        wanted,
        socket,
        timeline,
        boot: u64::try_from(timeline.at(started).as_nanos()).unwrap_or(u64::MAX),
        sent: 0,
        trouble: None,
    };
    context.out.emit(&Event::Beating {
        name: wanted.name.clone(),
        address: wanted.peer.to_string(),
        interval_ms: wanted.interval.as_secs_f64() * 1e3,
        authenticated: wanted.key.is_some(),
    });
    let ended = sender.beat(started);
    let _ = sender.send(Kind::Bye);
    context.out.emit(&Event::Ended {
        name: wanted.name.clone(),
        sent: sender.sent,
    });
    match ended {
        Err(Cancelled) if wanted.count.is_some() => Err(Error::Cancelled),
        _ if sender.trouble.is_some() => Ok(Status::NEGATIVE),
        _ => Ok(Status::OK),
    }
}

impl Sender<'_> {
    fn beat(&mut self, mut due: Instant) -> Result<(), Cancelled> {
        while self.wanted.count.is_none_or(|count| self.sent < count) {
            if let Err(error) = self.send(Kind::Heartbeat) {
                self.on_trouble(cannot_send(&self.wanted.peer, 0, &error));
            }
            self.sent += 1;
            self.context
                .summarize(format!("{} heartbeats sent", self.sent));
            // At fixed instants, and none is made up for.
            due = (due + self.wanted.interval).max(clock::now());
            self.listen_until(due)?;
        }
        Ok(())
    }

    fn send(&self, kind: Kind) -> std::io::Result<Instant> {
        let beat = Beat {
            kind,
            name: &self.wanted.name,
            boot: self.boot,
            sequence_number: self.sent,
            sent: self.timeline.at(clock::now()),
            interval: self.wanted.interval,
        };
        let octets = beat.emit(self.wanted.key.as_ref());
        self.socket.send(&octets, &self.wanted.peer, None)
    }

    /// A monitor never answers, but others may say that there is none.
    fn listen_until(&mut self, due: Instant) -> Result<(), Cancelled> {
        loop {
            let cancel = &self.context.cancel;
            let wake = cancel.wait(self.socket.as_fd(), PollFlags::POLLIN, Some(due))?;
            for _ in 0..DATAGRAMS_MAX {
                let Ok(Some(_)) = self.socket.receive() else {
                    break;
                };
            }
            self.take_problems();
            // In a flood there is always something to take.
            if wake == Wake::TimedOut || clock::now() >= due {
                break;
            }
        }
        let quiet = |since: Instant| clock::now().saturating_duration_since(since);
        if self
            .trouble
            .is_some_and(|since| quiet(since) >= RECOVERED_AFTER)
        {
            self.trouble = None;
            self.context.out.emit(&Event::Recovered);
        }
        Ok(())
    }

    fn take_problems(&mut self) {
        let version = Version::of(self.wanted.peer.ip());
        let mut newest = None;
        for _ in 0..DATAGRAMS_MAX {
            let Ok(Some(queued)) = self.socket.receive_queued() else {
                break;
            };
            if let Queued::Problem(queued) = queued {
                let known = Problem::new(version, queued.kind, queued.code, queued.info);
                let fatal = known.filter(Problem::is_fatal);
                newest = fatal.zip(Some(queued.router)).or(newest);
            }
        }
        if let Some((problem, router)) = newest {
            self.on_trouble(self.explain(problem, router));
        }
    }

    fn explain(&self, problem: Problem, router: Option<std::net::IpAddr>) -> String {
        let peer = self.wanted.peer;
        let from = router.unwrap_or(peer.ip());
        match problem.is_port_unreachable() {
            true => format!(
                "{from} says 'port unreachable': no monitor listens on {peer}; start it with {}",
                net::starting_line("udpping --monitor", peer)
            ),
            false => format!("{from} says '{problem}' about heartbeats to {peer}"),
        }
    }

    /// Told once, however long it lasts.
    fn on_trouble(&mut self, problem: String) {
        if self.trouble.replace(clock::now()).is_none() {
            self.context.out.emit(&Event::Trouble { problem });
        }
    }
}
