//! What all connections of a loop use.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::library::Library;
use super::metrics::{Counters, Metrics};
use super::site::Site;
use crate::web::access::AccessLog;

pub(super) struct Desk {
    pub(super) site: Arc<Site>,
    pub(super) library: Library,
    pub(super) metrics: Arc<Metrics>,
    pub(super) counters: Arc<Counters>,
    pub(super) log: AccessLog,
    /// Answers on their way to one connection.
    pub(super) out: Vec<u8>,
    pub(super) now: Instant,
    pub(super) date: Date,
    /// The server ends: every answer is its connection's last.
    pub(super) drains: bool,
}

/// What changes once a second.
pub(super) struct Date {
    pub(super) wall: SystemTime,
    second: Option<u64>,
    /// The field lines of every answer.
    pub(super) fields: String,
    /// As the access log has it.
    pub(super) local: Arc<str>,
}

impl Desk {
    pub(super) fn new(
        site: Arc<Site>,
        metrics: Arc<Metrics>,
        counters: Arc<Counters>,
        log: AccessLog,
        now: Instant,
    ) -> Desk {
        Desk {
            site,
            library: Library::default(),
            metrics,
            counters,
            log,
            out: Vec::new(),
            now,
            date: Date {
                wall: SystemTime::UNIX_EPOCH,
                second: None,
                fields: String::new(),
                local: "".into(),
            },
            drains: false,
        }
    }

    pub(super) fn set_time(&mut self, now: Instant, wall: SystemTime) {
        self.now = now;
        self.date.wall = wall;
        let since = wall.duration_since(SystemTime::UNIX_EPOCH);
        let second = since.map_or(0, |since| since.as_secs());
        if self.date.second != Some(second) {
            self.date.second = Some(second);
            let date =
                httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            self.date.fields = format!("Date: {date}\r\nServer: nsh\r\n");
            let local = chrono::DateTime::<chrono::Local>::from(wall);
            self.date.local = local.format("%d/%b/%Y:%H:%M:%S %z").to_string().into();
        }
    }
}
