//! The monitor: who is up, who is late, who is down, and what the ways from them lose.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use serde::Serialize;

use super::event::Event as Beats;
use super::metrics;
use super::roster::{Plan, Roster};
use super::table::Table;
use crate::cancel::Cancelled;
use crate::clock::{self, Timeline};
use crate::net::inbox::Inbox;
use crate::net::{self, udp};
use crate::output::{self, Tone};
use crate::tool::{Context, Endpoint, Error, Status};
use crate::wire::heartbeat::Beat;
use crate::wire::mac::Key;

const SUMMARY_INTERVAL: Duration = Duration::from_millis(500);
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// Of one kind of refusal, told once in so long.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// Until who is silent is looked for while more and more comes.
const FLOODED_FOR_MAX: Duration = Duration::from_secs(1);
/// How long heartbeats may wait for others.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// Taken before what is due is looked at.
const DATAGRAMS_MAX: usize = 1024;

pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    pub(super) plan: Plan,
    pub(super) key: Option<Key>,
    /// A port for OpenMetrics.
    pub(super) metrics: Option<u16>,
    /// A table in the foreground instead of a line for each event.
    pub(super) is_live: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Listening {
        address: String,
        reach: &'static str,
        authenticated: bool,
        metrics: Option<String>,
    },
    Rejected {
        address: String,
        reason: String,
        untold: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening {
                address,
                reach,
                authenticated,
                metrics,
            } => {
                let how = if *authenticated {
                    ""
                } else {
                    ", not authenticated"
                };
                write!(f, "monitor on {address} (UDP{how}), reachable {reach}")?;
                match metrics {
                    Some(url) => write!(f, "; metrics at {url}"),
                    None => Ok(()),
                }
            }
            Event::Rejected {
                address,
                reason,
                untold,
            } => {
                write!(f, "rejected from {address}: {reason}")?;
                match untold {
                    0 => Ok(()),
                    more => write!(f, " (and {more} more)"),
                }
            }
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Listening { .. } => Tone::Good,
            Event::Rejected { .. } => Tone::Bad,
        }
    }
}

struct Monitor<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    socket: UdpSocket,
    timeline: Timeline,
    roster: Arc<Mutex<Roster>>,
    events: Vec<Beats>,
    /// Datagrams that were not believed.
    rejected: Arc<AtomicU64>,
    /// Of each reason, when it was told and how often it was not since.
    told: HashMap<String, (Instant, u64)>,
    shown_at: Instant,
}

pub(super) fn run(context: &Context, wanted: &Wanted) -> Result<Status, Error> {
    let cannot = |error: net::Error| context.with_neighbour(error, Endpoint::Udp(wanted.address));
    let socket = udp::bind(wanted.address).map_err(cannot)?;
    let unusable = |error| {
        let what = "cannot set up the socket".to_owned();
        Error::from(net::Error::System { what, error })
    };
    udp::stamp_arrivals(&socket).map_err(unusable)?;
    udp::let_wait(&socket).map_err(unusable)?;
    let address = socket.local_addr().map_err(unusable)?;
    let roster = Arc::new(Mutex::new(Roster::new(wanted.plan)));
    let rejected = Arc::new(AtomicU64::new(0));
    let mut endpoints = vec![Endpoint::Udp(address)];
    let metrics = match wanted.metrics {
        Some(port) => {
            let at = SocketAddr::new(address.ip(), port);
            let (served, rejected) = (Arc::clone(&roster), Arc::clone(&rejected));
            let text = move || metrics::text(&lock(&served), rejected.load(Ordering::Relaxed));
            let bound = metrics::serve(context, at, text)?;
            endpoints.push(Endpoint::Tcp(bound));
            Some(format!("http://{bound}/metrics"))
        }
        None => None,
    };
    let listening = Event::Listening {
        address: address.to_string(),
        reach: net::reach(address),
        authenticated: wanted.key.is_some(),
        metrics,
    };
    let mut monitor = Monitor {
        context,
        wanted,
        socket,
        timeline: Timeline::start(),
        roster,
        events: Vec::new(),
        rejected,
        told: HashMap::new(),
        shown_at: clock::now(),
    };
    monitor.show(clock::now());
    match wanted.is_live {
        true => {
            context.out.emit(&listening);
            context.end_on_q();
        }
        false => context.ready(&endpoints, &listening),
    }
    let Err(Cancelled) = monitor.watch();
    let now = clock::now();
    monitor.show(now);
    let rejected = monitor.rejected.load(Ordering::Relaxed);
    let table = Table::of(&lock(&monitor.roster), rejected, now);
    context.out.emit(&table);
    match wanted.is_live {
        true => Ok(Status::OK),
        false => Err(Error::Cancelled),
    }
}

/// A thread that panicked has left it as it was between two beats.
pub(super) fn lock(roster: &Mutex<Roster>) -> MutexGuard<'_, Roster> {
    roster.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Monitor<'_> {
    fn watch(&mut self) -> Result<std::convert::Infallible, Cancelled> {
        let mut inbox = Inbox::new(udp::PAYLOAD_OCTETS_MAX);
        let mut polled_at = clock::now();
        loop {
            let has_more = self.take(&mut inbox);
            let now = clock::now();
            // Who waits in the queue is not silent; but a flood must not hide a death for ever.
            let is_flooded = now.saturating_duration_since(polled_at) >= FLOODED_FOR_MAX;
            let due = match has_more && !is_flooded {
                true => Some(now),
                false => {
                    polled_at = now;
                    lock(&self.roster).poll(now, &mut self.events)
                }
            };
            self.tell();
            let interval = match self.wanted.is_live {
                true => REDRAW_INTERVAL,
                false => SUMMARY_INTERVAL,
            };
            if now.saturating_duration_since(self.shown_at) >= interval {
                self.show(now);
            }
            let next = due.map_or(self.shown_at + interval, |due| {
                due.min(self.shown_at + interval)
            });
            let cancel = &self.context.cancel;
            cancel.wait(self.socket.as_fd(), PollFlags::POLLIN, Some(next))?;
            if !has_more {
                // The kernel knows when each came; taken together they cost half as much.
                let gathered = clock::now() + GATHERED_FOR;
                cancel.sleep_until(due.map_or(gathered, |due| due.min(gathered)))?;
            }
        }
    }

    /// Whether more may wait.
    fn take(&mut self, inbox: &mut Inbox) -> bool {
        let roster = Arc::clone(&self.roster);
        let mut roster = lock(&roster);
        for _ in 0..DATAGRAMS_MAX {
            let Ok(Some(received)) = inbox.receive(&self.socket) else {
                return false;
            };
            match Beat::parse(received.octets, self.wanted.key.as_ref()) {
                Ok(beat) => {
                    let wall = self.timeline.at(received.at);
                    let (at, from) = (received.at, received.from);
                    roster.on_beat(at, wall, from, &beat, &mut self.events);
                }
                Err(invalid) => self.reject(received.from, invalid.to_string()),
            }
        }
        true
    }

    fn tell(&mut self) {
        for event in std::mem::take(&mut self.events) {
            if let Beats::Rejected {
                reason, address, ..
            } = event
            {
                self.reject(address, reason.to_string());
            } else if !self.wanted.is_live {
                self.context.out.emit(&event);
            }
        }
    }

    fn reject(&mut self, from: SocketAddr, reason: String) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let now = clock::now();
        let known = self.told.get_mut(&reason);
        if let Some((told_at, untold)) = known {
            let is_new = now.saturating_duration_since(*told_at) < TELL_INTERVAL;
            if is_new || self.wanted.is_live {
                *untold += 1;
                return;
            }
        }
        let before = self.told.insert(reason.clone(), (now, 0));
        if !self.wanted.is_live {
            self.context.out.emit(&Event::Rejected {
                address: from.to_string(),
                reason,
                untold: before.map_or(0, |(_, untold)| untold),
            });
        }
    }

    fn show(&mut self, now: Instant) {
        self.shown_at = now;
        let roster = lock(&self.roster);
        let [up, late, down] = roster.count();
        let rejected = self.rejected.load(Ordering::Relaxed);
        let last = match rejected {
            0 => String::new(),
            count => format!(", {count} rejected"),
        };
        self.context
            .summarize(format!("{up} up, {late} late, {down} down{last}"));
        if self.wanted.is_live {
            let table = Table::of(&roster, rejected, now);
            self.context.out.redraw(&table);
        }
    }
}
