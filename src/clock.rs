//! The one place where time is read.
//!
//! Durations come from the monotonic clock; wall time is for people and header fields.
//! Pure logic is handed its instants instead of calling this.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Local, SecondsFormat};
#[cfg(target_os = "linux")]
use nix::time::{ClockId, clock_gettime};

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

/// For header fields and what is kept across restarts.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn system() -> SystemTime {
    SystemTime::now()
}

/// Both clocks at the same instant: the kernel stamps packets with the wall clock, whose
/// difference from now is an age that the monotonic clock understands.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn both() -> (Instant, SystemTime) {
    const APART_MAX: Duration = Duration::from_nanos(400);
    const TRIES: usize = 4;
    let mut before = now();
    let mut wall = SystemTime::now();
    // A thread that is put aside between two readings tries again.
    for _ in 0..TRIES {
        let after = now();
        if after - before < APART_MAX {
            break;
        }
        before = after;
        wall = SystemTime::now();
    }
    (before, wall)
}

/// Wall time as it goes on from one reading of both clocks: whoever sets the wall clock later
/// changes nothing about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    instant: Instant,
    since_1970: Duration,
}

impl Timeline {
    pub(crate) fn start() -> Timeline {
        let (instant, wall) = both();
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH);
        Timeline {
            instant,
            since_1970: since_1970.unwrap_or_default(),
        }
    }

    /// Since 1970.
    pub(crate) fn at(&self, instant: Instant) -> Duration {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.since_1970 + later,
            None => self
                .since_1970
                .saturating_sub(self.instant.duration_since(instant)),
        }
    }
}

/// From now on this thread's waits end within microseconds of their deadlines. Otherwise the
/// kernel takes 50 µs more, to wake several threads at once.
#[cfg(target_os = "linux")]
pub(crate) fn wake_sharply() {
    // Where it is not permitted, waits end a little later.
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn wake_sharply() {}

/// How long the machine has been suspended since it started; durations leave that out.
#[cfg(target_os = "linux")]
pub(crate) fn slept() -> Duration {
    let read = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let monotonic = read(ClockId::CLOCK_MONOTONIC);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(monotonic)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn slept() -> Duration {
    Duration::ZERO
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> f64 {
    let since = system().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
