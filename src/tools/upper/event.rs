//! What the server tells.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::net;
use crate::output::{self, Printable, Tone};
use crate::tool::Endpoint;

/// Shown of a question in the log.
const SHOWN_OCTETS_MAX: usize = 80;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Listening {
        address: String,
        protocols: &'static str,
        reach: &'static str,
    },
    Closed {
        peer: String,
        octets: u64,
        seconds: f64,
    },
    Answered {
        peer: String,
        protocol: &'static str,
        question: String,
        answer: String,
    },
    Refused {
        peer: String,
        reason: String,
    },
}

impl Event {
    pub(super) fn listening(address: SocketAddr, endpoints: &[Endpoint]) -> Event {
        let protocols = match endpoints {
            [Endpoint::Tcp(_)] => "TCP",
            [Endpoint::Udp(_)] => "UDP",
            _ => "TCP and UDP",
        };
        Event::Listening {
            address: address.to_string(),
            protocols,
            reach: net::reach(address),
        }
    }

    pub(super) fn answered(peer: SocketAddr, protocol: &'static str, question: &[u8]) -> Event {
        let whole = question.strip_suffix(b"\n").unwrap_or(question);
        let shown = &whole[..whole.len().min(SHOWN_OCTETS_MAX)];
        let rest = match whole.len() - shown.len() {
            0 => String::new(),
            more => format!(" ... and {more} octets"),
        };
        Event::Answered {
            peer: peer.to_string(),
            protocol,
            question: format!("{}{rest}", Printable(shown)),
            answer: format!("{}{rest}", Printable(&shown.to_ascii_uppercase())),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening {
                address,
                protocols,
                reach,
            } => {
                write!(f, "listening on {address} ({protocols}), reachable {reach}")
            }
            Event::Closed {
                peer,
                octets,
                seconds,
            } => {
                write!(f, "{peer} left after {octets} octets in {seconds:.3} s")
            }
            Event::Answered {
                peer,
                protocol,
                question,
                answer,
            } => {
                write!(f, "From {peer} ({protocol}) '{question}', to it '{answer}'")
            }
            Event::Refused { peer, reason } => write!(f, "{peer} was refused: {reason}"),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Listening { .. } => Tone::Good,
            Event::Refused { .. } => Tone::Caution,
            Event::Closed { .. } | Event::Answered { .. } => Tone::Plain,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) open: u64,
    pub(super) datagrams: u64,
    pub(super) octets: u64,
    /// Datagrams that were not answered, and connections that there was no room for.
    pub(super) refused: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            accepted,
            open,
            datagrams,
            octets,
            refused,
        } = self;
        write!(
            f,
            "{open} connections ({accepted} so far), {datagrams} datagrams, {octets} octets"
        )?;
        match refused {
            0 => Ok(()),
            count => write!(f, ", {count} refused"),
        }
    }
}
