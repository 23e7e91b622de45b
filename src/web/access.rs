//! The access log: every request into the file, and as many lines as a person can follow to
//! the job's output.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;
use crate::output::{self, Output, Printable};

/// Written to the file at once.
const BUFFER_OCTETS: usize = 64 << 10;
/// A line is in the file after this long at the latest.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Shown by each loop in one window; the rest is counted.
const SHOWN_MAX: u32 = 100;
const WINDOW: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    // The Common Log Format of NCSA httpd.
    Common,
    // The same with the fields Referer and User-Agent.
    Combined,
    Json,
}

/// One request and what was answered.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename = "request")]
pub(crate) struct Record<'a> {
    pub(crate) peer: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Cow<'a, str>>,
    /// The first line of the request.
    pub(crate) request: Cow<'a, str>,
    pub(crate) status: u16,
    /// Of the body, as far as it was sent.
    pub(crate) octets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<Cow<'a, str>>,
    pub(crate) milliseconds: f64,
    #[serde(skip)]
    pub(crate) began: Instant,
    #[serde(skip)]
    pub(crate) format: Format,
    #[serde(skip)]
    pub(crate) date: Arc<str>,
}

impl Record<'_> {
    pub(crate) fn into_owned(self) -> Record<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        Record {
            peer: self.peer,
            user: self.user.map(owned),
            request: owned(self.request),
            referer: self.referer.map(owned),
            user_agent: self.user_agent.map(owned),
            status: self.status,
            octets: self.octets,
            milliseconds: self.milliseconds,
            began: self.began,
            format: self.format,
            date: self.date,
        }
    }
}

impl Record<'_> {
    /// Most of what a small answer costs beside the kernel is this line, so it is put together
    /// without the machinery of `format!` where that is easy.
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = |parts: &[&str]| parts.iter().for_each(|part| out.extend(part.as_bytes()));
        let peer = self.peer.to_canonical().to_string();
        let user = escaped(self.user.as_deref().unwrap_or("-"));
        text(&[&peer, " - ", &user, " [", &self.date, "] \""]);
        text(&[
            &escaped(&self.request),
            "\" ",
            &self.status.to_string(),
            " ",
        ]);
        match self.octets {
            0 => text(&["-"]),
            octets => text(&[&octets.to_string()]),
        }
        if self.format != Format::Common {
            let referer = escaped(self.referer.as_deref().unwrap_or("-"));
            let agent = escaped(self.user_agent.as_deref().unwrap_or("-"));
            text(&[" \"", &referer, "\" \"", &agent, "\""]);
        }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        self.write(&mut line);
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

impl output::Event for Record<'_> {}

/// So that nobody can forge a line or end a quoted field: what is not printable ASCII, and `"`
/// and `\`, as `\x22`.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |octet: u8| matches!(octet, b' '..=b'~') && octet != b'"' && octet != b'\\';
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(2 * text.len());
    for octet in text.bytes() {
        match is_plain(octet) {
            true => escaped.push(char::from(octet)),
            false => escaped.push_str(&format!("\\x{octet:02x}")),
        }
    }
    Cow::Owned(escaped)
}

/// A whole request head, as `--verbose` shows it.
#[derive(Serialize)]
#[serde(tag = "event", rename = "head")]
struct Head {
    peer: IpAddr,
    head: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "From {}:", self.peer.to_canonical())?;
        for line in self.head.trim_end().lines() {
            write!(f, "\n  {}", Printable(line.as_bytes()))?;
        }
        Ok(())
    }
}

impl output::Event for Head {}

/// Requests that were too many to show.
#[derive(Serialize)]
#[serde(tag = "event", rename = "skipped_requests")]
struct Skipped {
    requests: u64,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "... and {} requests more (--log FILE has them all)",
            self.requests
        )
    }
}

impl output::Event for Skipped {}

/// One loop's.
pub(crate) struct AccessLog {
    out: Output,
    pub(crate) format: Format,
    file: Option<File>,
    buffer: Vec<u8>,
    flushed: Instant,
    window: Instant,
    shown: u32,
    skipped: u64,
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl AccessLog {
    pub(crate) fn new(out: Output, format: Format, file: Option<File>, now: Instant) -> AccessLog {
        AccessLog {
            out,
            format,
            file,
            buffer: Vec::new(),
            flushed: now,
            window: now,
            shown: 0,
            skipped: 0,
        }
    }

    /// Whether a record would go anywhere.
    pub(crate) fn wants(&mut self, now: Instant) -> bool {
        if self.file.is_some() || self.has_room(now) {
            return true;
        }
        self.skipped += 1;
        false
    }

    pub(crate) fn record(&mut self, record: &Record, now: Instant) {
        self.record_as(record, record, now);
    }

    /// The same for what has more to say than the common formats have room for.
    pub(crate) fn record_as(&mut self, record: &Record, event: &impl output::Event, now: Instant) {
        self.write(record, event, now);
        self.show(event, now);
    }

    /// To the file only.
    pub(crate) fn write(&mut self, record: &Record, event: &impl output::Event, now: Instant) {
        if self.file.is_some() {
            match self.format {
                Format::Json => {
                    let time = clock::stamp();
                    let json = serde_json::to_string(&Timed { event, time });
                    let json = json.unwrap_or_default();
                    self.buffer.extend(output::safe_json(&json).as_bytes());
                }
                Format::Common | Format::Combined => record.write(&mut self.buffer),
            }
            self.buffer.push(b'\n');
            if self.buffer.len() >= BUFFER_OCTETS {
                self.flush(now);
            }
        }
    }

    /// To the job's output only.
    pub(crate) fn show(&mut self, event: &impl output::Event, now: Instant) {
        if self.has_room(now) {
            self.shown += 1;
            self.out.emit(event);
        } else {
            self.skipped += 1;
        }
    }

    pub(crate) fn head(&mut self, peer: IpAddr, head: &[u8], now: Instant) {
        if self.has_room(now) {
            let head = String::from_utf8_lossy(head).into_owned();
            self.out.emit(&Head { peer, head });
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if now >= self.window + WINDOW {
            self.tell_skipped();
            self.window = now;
            self.shown = 0;
        }
        self.shown < SHOWN_MAX
    }

    fn tell_skipped(&mut self) {
        if self.skipped > 0 {
            let requests = std::mem::take(&mut self.skipped);
            self.out.emit(&Skipped { requests });
        }
    }

    /// When it should be looked at again, if at all.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        let waits = !self.buffer.is_empty() || self.skipped > 0;
        waits.then(|| self.flushed + FLUSH_INTERVAL)
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.flushed = now;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.buffer)
        {
            let why = crate::cause::of(&error);
            self.out.warn(format!("the access log is given up: {why}"));
            self.file = None;
        }
        self.buffer.clear();
        if now >= self.window + WINDOW {
            self.tell_skipped();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush(clock::now());
        self.tell_skipped();
    }
}

#[derive(Serialize)]
struct Timed<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    time: String,
}
