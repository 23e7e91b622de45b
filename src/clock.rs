//! The one place where time is read.
//!
//! Durations come from the monotonic clock; wall time is for people and header fields.
//! Pure logic is handed its instants instead of calling this.

use std::time::Instant;

use chrono::{DateTime, Local, SecondsFormat};

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn wall() -> DateTime<Local> {
    Local::now()
}

/// RFC 3339 with milliseconds, in local time with its offset.
pub(crate) fn stamp() -> String {
    wall().to_rfc3339_opts(SecondsFormat::Millis, false)
}
