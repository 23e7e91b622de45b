//! What a monitor of heartbeats has to tell.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::duration::human;
use crate::output::{self, Tone};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Up {
        name: Arc<str>,
        address: SocketAddr,
        /// For how long nothing had been heard; `None` for a new sender.
        #[serde(rename = "after_ms", serialize_with = "optional_ms")]
        after: Option<Duration>,
    },
    Down {
        name: Arc<str>,
        /// When it was last seen.
        #[serde(skip)]
        since: Instant,
        #[serde(rename = "silent_ms", serialize_with = "ms")]
        silence: Duration,
        missed: u64,
    },
    /// Once in a silence, where beats are seldom lost.
    Late {
        name: Arc<str>,
        #[serde(rename = "by_ms", serialize_with = "ms")]
        by: Duration,
    },
    /// Once for a gap, where beats are seldom lost.
    Lost {
        name: Arc<str>,
        count: u64,
    },
    /// So many sequence numbers behind the newest.
    Reordered {
        name: Arc<str>,
        by: u64,
    },
    Duplicate {
        name: Arc<str>,
    },
    Restarted {
        name: Arc<str>,
    },
    Moved {
        name: Arc<str>,
        from: SocketAddr,
        to: SocketAddr,
    },
    Left {
        name: Arc<str>,
    },
    Rejected {
        reason: Reason,
        name: Arc<str>,
        address: SocketAddr,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// Of a run that is over, or too far back to know whether it has been seen.
    #[error("a heartbeat that was seen before, or is older than what was")]
    Replayed,
    /// The first of a run, but not of now: a recording, or a clock that is wrong.
    #[error("its time is not ours: a recording, or a clock that is more than 5 minutes wrong")]
    Stale,
    /// There is no room for another sender.
    #[error("there are too many senders")]
    TooMany,
}

fn ms<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64() * 1e3)
}

fn optional_ms<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let ms = span.map(|span| span.as_secs_f64() * 1e3);
    ms.serialize(serializer)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Up {
                name,
                address,
                after,
            } => {
                write!(f, "{name} is up at {address}")?;
                match after {
                    Some(after) => write!(f, ", after {} of silence", human(*after)),
                    None => Ok(()),
                }
            }
            Event::Down {
                name,
                silence,
                missed,
                ..
            } => write!(
                f,
                "{name} is down: silent for {}, {missed} missed",
                human(*silence)
            ),
            Event::Late { name, by } => write!(f, "{name} is late by {}", human(*by)),
            Event::Lost { name, count: 1 } => write!(f, "a heartbeat of {name} was lost"),
            Event::Lost { name, count } => write!(f, "{count} heartbeats of {name} were lost"),
            Event::Reordered { name, by } => {
                write!(f, "a heartbeat of {name} came after {by} younger ones")
            }
            Event::Duplicate { name } => write!(f, "a heartbeat of {name} came twice"),
            Event::Restarted { name } => write!(f, "{name} was started anew"),
            Event::Moved { name, from, to } => write!(f, "{name} moved from {from} to {to}"),
            Event::Left { name } => write!(f, "{name} said bye"),
            Event::Rejected {
                reason,
                name,
                address,
            } => write!(f, "rejected {name} from {address}: {reason}"),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Up { .. } => Tone::Good,
            Event::Down { .. } | Event::Rejected { .. } => Tone::Bad,
            Event::Left { .. } => Tone::Plain,
            Event::Late { .. }
            | Event::Lost { .. }
            | Event::Reordered { .. }
            | Event::Duplicate { .. }
            | Event::Restarted { .. }
            | Event::Moved { .. } => Tone::Caution,
        }
    }
}

/// For tests: an event in words, with milliseconds since `start`.
#[cfg(test)]
pub(super) fn words(event: Event, start: Instant) -> String {
    match event {
        Event::Up {
            name,
            after: Some(after),
            ..
        } => format!("up {name} after {}", after.as_millis()),
        Event::Up { name, address, .. } => format!("up {name} {address}"),
        Event::Down {
            name,
            since,
            missed,
            ..
        } => {
            let since = (since - start).as_millis();
            format!("down {name} since {since} missed {missed}")
        }
        Event::Late { name, by } => format!("late {name} by {}", by.as_millis()),
        Event::Lost { name, count } => format!("lost {name} {count}"),
        Event::Reordered { name, by } => format!("reordered {name} by {by}"),
        Event::Duplicate { name } => format!("duplicate {name}"),
        Event::Restarted { name } => format!("restarted {name}"),
        Event::Moved { name, from, to } => format!("moved {name} {from} {to}"),
        Event::Left { name } => format!("left {name}"),
        Event::Rejected { reason, name, .. } => format!("rejected {name} {reason:?}"),
    }
}
