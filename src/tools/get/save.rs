//! A body into a file, which is there once it is whole.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::body::Sink;
use crate::cause;
use crate::clock;
use crate::http::client::Response;
use crate::http::head::ResponseHead;
use crate::http::range::{self, parse_content_range};
use crate::measure::{chart, size};
use crate::net;
use crate::output;
use crate::tool::{Context, Error};

const BAR_COLUMNS: usize = 30;
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Before the answer is known.
pub(super) struct Download {
    file: PathBuf,
    /// Where it grows.
    part: PathBuf,
    /// What breaks off is kept, and gone on with.
    kept: bool,
    /// Of an earlier download: how much is there, and as of when.
    earlier: Option<(u64, SystemTime)>,
}

impl Download {
    pub(super) fn new(file: &Path, kept: bool) -> Download {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let part = match kept {
            true => format!("{name}.part"),
            false => format!(".{name}.{:016x}", net::random()),
        };
        let part = file.with_file_name(part);
        let metadata = fs::metadata(&part).ok().filter(|_| kept);
        let earlier = metadata.and_then(|part| Some((part.len(), part.modified().ok()?)));
        Download {
            file: file.to_owned(),
            part,
            kept,
            earlier: earlier.filter(|(octets, _)| *octets > 0),
        }
    }

    /// The fields that ask for the rest. What broke off bears the server's date of the file, so
    /// that the rest of another version is never put behind it.
    pub(super) fn resume(&self) -> Option<(String, String)> {
        let (octets, modified) = self.earlier?;
        let date = httpdate::fmt_http_date(modified);
        Some((format!("bytes={octets}-"), date))
    }

    /// Nothing was missing (RFC 9110 section 15.5.17).
    pub(super) fn is_complete(&self, response: &Response) -> bool {
        let unsatisfied = self.earlier.map(|(octets, _)| range::unsatisfied(octets));
        let Some((text, head)) = unsatisfied.zip(response.parsed().ok()) else {
            return false;
        };
        head.status == 416 && head.fields.first("content-range") == Some(text.as_bytes())
    }

    /// What an earlier download has left is the file.
    pub(super) fn adopt(&self) -> Result<(), Error> {
        let renamed = fs::rename(&self.part, &self.file);
        renamed.map_err(|error| cannot_write(&self.file, &error))
    }

    pub(super) fn begin(
        self,
        context: &Context,
        head: &ResponseHead,
        announced: Option<u64>,
    ) -> Result<Sink, Error> {
        let had = self.earlier.map(|(octets, _)| octets).unwrap_or_default();
        if head.status == 206 && self.earlier.is_none() {
            return Err(Error::Unavailable(
                "the server sent a part of the file without being asked for one".to_owned(),
            ));
        }
        let content_range = head
            .fields
            .first("content-range")
            .and_then(parse_content_range);
        let is_rest = head.status == 206
            && content_range
                .as_ref()
                .is_some_and(|(part, _)| part.start == had);
        if head.status == 206 && !is_rest {
            return Err(Error::Unavailable(
                "the server sent another part of the file than it was asked for".to_owned(),
            ));
        }
        if had > 0 && !is_rest {
            context
                .out
                .notice("the file has changed, or cannot be continued: all of it is fetched");
        }
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(is_rest)
            .write(true)
            .truncate(!is_rest);
        let file = options
            .open(&self.part)
            .map_err(|error| cannot_write(&self.part, &error))?;
        let done = if is_rest { had } else { 0 };
        Ok(Sink::File(Saving {
            modified: last_modified(head),
            out: file,
            done,
            received: 0,
            complete: content_range.and_then(|(_, complete)| complete),
            all: announced.map(|octets| done + octets),
            began: clock::now(),
            drawn: None,
            download: self,
        }))
    }
}

fn last_modified(head: &ResponseHead) -> Option<SystemTime> {
    let date = head.fields.first("last-modified")?;
    httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()
}

/// A file that grows.
pub(super) struct Saving {
    download: Download,
    out: File,
    modified: Option<SystemTime>,
    done: u64,
    received: u64,
    all: Option<u64>,
    /// How long the server says the whole file is, where it sends a part.
    complete: Option<u64>,
    began: Instant,
    drawn: Option<Instant>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "progress")]
struct Progress {
    octets: u64,
    all: Option<u64>,
    per_second: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, speed) = (size::human(self.octets), size::human(self.per_second));
        let Some(all) = self.all.filter(|all| *all > 0) else {
            return write!(f, "{done}  {speed}/s");
        };
        let bar = chart::bar(self.octets.min(all), all, BAR_COLUMNS);
        let percent = self.octets.min(all) as f64 * 100.0 / all as f64;
        let left = all.saturating_sub(self.octets) / self.per_second.max(1);
        write!(
            f,
            "{percent:5.1}% ▕{bar:BAR_COLUMNS$}▏ {done} of {}  {speed}/s  {left} s left",
            size::human(all)
        )
    }
}

impl output::Event for Progress {}

impl Saving {
    pub(super) fn write(&mut self, context: &Context, octets: &[u8]) -> Result<(), Error> {
        let written = self.out.write_all(octets);
        written.map_err(|error| cannot_write(&self.download.part, &error))?;
        self.done += octets.len() as u64;
        self.received += octets.len() as u64;
        let now = clock::now();
        if self.drawn.is_none_or(|at| now >= at + BAR_INTERVAL) {
            self.drawn = Some(now);
            let seconds = now.duration_since(self.began).as_secs_f64().max(1e-3);
            let progress = Progress {
                octets: self.done,
                all: self.all,
                per_second: (self.received as f64 / seconds) as u64,
            };
            context.summarize(progress.to_string());
            context.out.redraw(&progress);
        }
        Ok(())
    }

    /// All of it is there: it gets its name, in one step.
    pub(super) fn finish(mut self) -> Result<u64, Error> {
        self.stamp();
        if let Some(complete) = self.complete
            && complete != self.done
        {
            return Err(Error::Unavailable(format!(
                "the server sent {} octets of {complete}; --continue goes on there",
                self.done
            )));
        }
        let renamed = fs::rename(&self.download.part, &self.download.file);
        renamed.map_err(|error| cannot_write(&self.download.file, &error))?;
        self.download.kept = true;
        Ok(self.done)
    }

    pub(super) fn broken(mut self) -> Option<String> {
        self.stamp();
        if !self.download.kept {
            return None;
        }
        let part = self.download.part.display();
        match self.modified {
            Some(_) => Some(format!(
                "{} octets are kept in {part}; --continue goes on there",
                self.done
            )),
            None => {
                // Without the server's date nobody could tell whether the rest belongs to it.
                self.download.kept = false;
                None
            }
        }
    }

    fn stamp(&mut self) {
        if let Some(modified) = self.modified {
            let _ = self.out.set_modified(modified);
        }
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.download.kept {
            let _ = fs::remove_file(&self.download.part);
        } else if let Some(modified) = self.modified {
            let _ = self.out.set_modified(modified);
        }
    }
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable(format!(
        "cannot write {}: {}",
        file.display(),
        cause::of(error)
    ))
}
