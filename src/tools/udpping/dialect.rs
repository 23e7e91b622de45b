//! What is sent and what comes back: the lab's words, or STAMP's packets.

use std::time::Duration;

use crate::wire::mac::Key;
use crate::wire::ping_pong;
use crate::wire::stamp;
use crate::wire::timestamp::{ErrorEstimate, Timestamp};

/// Routers on the way take theirs off, and the reflector tells what is left: RFC 8762 section 4.
pub(super) const STAMP_HOP_LIMIT: u8 = 255;

/// Nobody here knows whether the clock is right; what is said of it is that it may be this wrong.
pub(super) const CLOCK_ERROR: Duration = Duration::from_millis(1);

pub(super) enum Dialect {
    /// `PING 1 14:05:09`, with a session for servers that tell what they see of it.
    Words { session: Option<u32>, octets: usize },
    Stamp {
        session: u16,
        key: Option<Key>,
        octets: usize,
    },
}

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    /// Which request it answers, counted from 1, in the low 32 bits; a bare `pong` does not tell.
    pub(super) number: Option<u32>,
    pub(super) reflection: Option<Reflection>,
}

/// What the other side saw of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reflection {
    /// How many requests of this session had come, with this one, in the low 32 bits.
    pub(super) requests: u32,
    /// When the request came and the reply left, by its clock, in nanoseconds since 1970.
    pub(super) received: i128,
    pub(super) sent: i128,
    /// What was left of the request's hop limit.
    pub(super) hop_limit: Option<u8>,
}

impl Heard {
    /// How long the other side had the request; nothing, where it does not tell or its clock was
    /// set meanwhile.
    pub(super) fn turnaround(&self) -> Duration {
        let between = |reflection: Reflection| reflection.sent - reflection.received;
        let nanoseconds = self.reflection.map_or(0, between);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
    }
}

impl Dialect {
    /// Of each request, at least.
    pub(super) fn octets(&self) -> usize {
        match self {
            Dialect::Words { session, octets } => {
                let least = ping_pong::Request {
                    sequence_number: 1,
                    time: "14:05:09",
                    session: *session,
                };
                least.emit(*octets).len()
            }
            Dialect::Stamp { octets, .. } => *octets,
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        matches!(self, Dialect::Stamp { key: Some(_), .. })
    }

    /// The request with this number, counted from 1, at this time of day and since 1970.
    pub(super) fn emit(&self, number: u64, time: &str, now: Duration) -> Vec<u8> {
        match self {
            Dialect::Words { session, octets } => ping_pong::Request {
                sequence_number: number as u32,
                time,
                session: *session,
            }
            .emit(*octets),
            Dialect::Stamp {
                session,
                key,
                octets,
            } => {
                let request = stamp::Request {
                    sequence_number: self.on_wire(number),
                    timestamp: Timestamp::of(now),
                    error_estimate: ErrorEstimate::of(CLOCK_ERROR, false),
                    ssid: *session,
                };
                request.emit(*octets, key.as_ref())
            }
        }
    }

    /// Asks how many requests of the session have come, where that can be asked.
    pub(super) fn emit_count(&self, time: &str) -> Option<Vec<u8>> {
        match self {
            Dialect::Words {
                session: Some(_), ..
            } => Some(self.emit(0, time, Duration::ZERO)),
            Dialect::Words { .. } | Dialect::Stamp { .. } => None,
        }
    }

    /// What was heard, near this time since 1970; `None` for what is no reply to this session.
    pub(super) fn parse(&self, octets: &[u8], now: Duration) -> Option<Heard> {
        match self {
            Dialect::Words { session, .. } => {
                let reply = ping_pong::Reply::parse(octets);
                let report = reply
                    .report
                    .filter(|report| Some(report.session) == *session);
                Some(Heard {
                    number: reply.sequence_number,
                    reflection: report.map(|report| Reflection {
                        requests: report.requests,
                        received: report.received.as_nanos().cast_signed(),
                        sent: (report.received.as_nanos() + report.turnaround.as_nanos())
                            .cast_signed(),
                        hop_limit: None,
                    }),
                })
            }
            Dialect::Stamp { session, key, .. } => {
                let reply = stamp::Reply::parse(octets, key.as_ref()).ok()?;
                let is_ptp = reply.error_estimate.is_ptp;
                let since_1970 = |at: Timestamp| at.nanoseconds_since_1970(is_ptp, now);
                // TWAMP Light knows no session, and leaves 0 there.
                if reply.ssid != *session && reply.ssid != 0 {
                    return None;
                }
                Some(Heard {
                    number: Some(reply.session_sender.sequence_number.wrapping_add(1)),
                    reflection: Some(Reflection {
                        requests: reply.sequence_number.wrapping_add(1),
                        received: since_1970(reply.receive_timestamp),
                        sent: since_1970(reply.timestamp),
                        hop_limit: reply.ttl,
                    }),
                })
            }
        }
    }

    /// Which request an ICMP error quotes, counted from 1, in the low 32 bits.
    pub(super) fn quoted(&self, octets: &[u8]) -> Option<u32> {
        match self {
            Dialect::Words { .. } => Some(ping_pong::Request::parse(octets)?.sequence_number),
            Dialect::Stamp { .. } => {
                let number = octets.first_chunk().copied().map(u32::from_be_bytes)?;
                Some(number.wrapping_add(1))
            }
        }
    }

    /// STAMP counts from 0.
    pub(super) fn on_wire(&self, number: u64) -> u32 {
        match self {
            Dialect::Words { .. } => number as u32,
            Dialect::Stamp { .. } => number.wrapping_sub(1) as u32,
        }
    }

    /// How a request is called.
    pub(super) fn name(&self, number: u64, time: &str) -> String {
        let number = self.on_wire(number);
        match self {
            Dialect::Words { .. } => format!("PING {number} {time}"),
            Dialect::Stamp { .. } => format!("STAMP {number}"),
        }
    }
}
