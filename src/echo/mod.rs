//! What servers that answer datagrams must not be used for: answering each other for ever, and
//! sending victims more than was sent to them. Pure.

mod limit;
mod loops;

use std::net::SocketAddr;
use std::time::Instant;

pub(crate) use loops::{Reason, RecentStamps};

/// Answers a source may have at once after a silence.
const BURST_SECONDS: u32 = 1;

/// Decides who is answered.
pub(crate) struct Gate {
    limiter: limit::Limiter,
    spares_loopback: bool,
    notice: loops::Notice,
}

impl Gate {
    /// So many answers a second for each source. Unless it says otherwise, this machine may have
    /// as many as it likes: it would only flood itself.
    pub(crate) fn new(per_second: u32, spares_loopback: bool) -> Gate {
        Gate {
            limiter: limit::Limiter::new(per_second, per_second.saturating_mul(BURST_SECONDS)),
            spares_loopback,
            notice: loops::Notice::default(),
        }
    }

    pub(crate) fn check(&mut self, from: SocketAddr, now: Instant) -> Result<(), Reason> {
        if loops::is_suspicious_port(from.port()) {
            return Err(Reason::Port);
        }
        let is_spared = self.spares_loopback && from.ip().to_canonical().is_loopback();
        match is_spared || self.limiter.permits(from.ip(), now) {
            true => Ok(()),
            false => Err(Reason::Rate),
        }
    }

    /// Whether it is to be told, and how many of its kind were not told before.
    pub(crate) fn refuse(&mut self, reason: Reason, now: Instant) -> Option<u64> {
        self.notice.tell(reason, now)
    }
}
