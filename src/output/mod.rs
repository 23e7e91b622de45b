//! Events become lines: on the screen, in the job's ring (`logs`), and in its log file.
//!
//! Tools call [`Output::emit`] and never wait for the terminal. Nothing outside this folder
//! (and the line editor) writes to stdout or stderr.

mod colour;
mod journal;
mod log_file;
mod sanitize;
mod screen;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub(crate) use colour::{Choice, Colours, paint};
pub(crate) use journal::{Journal, Line, says};
pub(crate) use log_file::LogFile;
pub(crate) use sanitize::{Glyph, Printable, glyphs};
pub(crate) use screen::{Screen, Surface};

use crate::{cause, clock};

/// One fact: `Display` is what a person reads, `Serialize` the same as JSON.
///
/// The JSON object names its kind in a field `event`; enums get that from
/// `#[serde(tag = "event", rename_all = "snake_case")]`. A line feed in the text separates
/// lines; what a peer sent goes through [`Printable`], so that it can't forge one.
pub(crate) trait Event: Serialize + fmt::Display {
    fn tone(&self) -> Tone {
        Tone::Plain
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
}

/// Results go to stdout, notices and errors to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Results,
    Notices,
}

/// Where a job, or the shell itself, says things.
#[derive(Clone)]
pub(crate) struct Output {
    journal: Arc<Journal>,
    json: bool,
    quiet: bool,
    /// An `expect` inside another's command has its own.
    captures: Vec<Arc<Capture>>,
    /// A command inside a command may have a log file besides the outer one's.
    logs: Vec<Arc<Mutex<Log>>>,
}

/// What `--log` names, until a write fails.
type Log = Option<LogFile>;

/// The envelope of an event in JSON.
#[derive(Serialize)]
struct Record<'a, E: Event> {
    #[serde(flatten)]
    event: &'a E,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<u32>,
    time: String,
}

impl Output {
    pub(crate) fn new(journal: Arc<Journal>, json: bool, quiet: bool) -> Output {
        Output {
            journal,
            json,
            quiet,
            captures: Vec::new(),
            logs: Vec::new(),
        }
    }

    pub(crate) fn with_json(mut self, json: bool) -> Output {
        self.json |= json;
        self
    }

    /// Everything goes to this file too.
    pub(crate) fn with_log(mut self, log: Option<LogFile>) -> Output {
        if log.is_some() {
            self.logs.push(Arc::new(Mutex::new(log)));
        }
        self
    }

    /// What is said through the returned output is also kept, for whoever checks it.
    pub(crate) fn captured(&self) -> (Output, Arc<Capture>) {
        let capture = Arc::new(Capture::default());
        let mut output = self.clone();
        output.captures.push(Arc::clone(&capture));
        (output, capture)
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The terminal's bell, for whoever is not looking.
    pub(crate) fn ring(&self) {
        self.journal.ring();
    }

    pub(crate) fn emit<E: Event>(&self, event: &E) {
        self.write(Stream::Results, event);
    }

    /// Whether [`Output::octets`] has somebody to take them: a program that reads stdout.
    pub(crate) fn takes_octets(&self) -> bool {
        !self.json && self.journal.background_job().is_none() && self.journal.is_lossless()
    }

    /// Octets as they are, in their place among the lines, for a program that reads stdout.
    pub(crate) fn octets(&self, octets: &[u8]) {
        for capture in &self.captures {
            capture.push_octets(octets);
        }
        self.journal.write_octets(octets);
    }

    /// Shows an event in place of the last one that was shown so, where a person watches this
    /// job; anywhere else it is not shown at all.
    pub(crate) fn redraw<E: Event>(&self, event: &E) {
        if !self.json && self.journal.background_job().is_none() {
            let lines: Vec<String> = event
                .to_string()
                .split('\n')
                .map(|line| sanitize::line(line, false))
                .collect();
            self.journal.redraw(&lines);
        }
    }

    /// The same for a job of its own.
    pub(crate) fn for_job(&self, journal: Arc<Journal>) -> Output {
        Output {
            journal,
            json: self.json,
            quiet: self.quiet,
            captures: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// An event about the work rather than its result; `--quiet` leaves it out.
    pub(crate) fn tell<E: Event>(&self, event: &E) {
        if !self.quiet {
            self.write(Stream::Notices, event);
        }
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.tell(&Said::Notice { text: text.into() });
    }

    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.write(Stream::Notices, &Said::Warning { text: text.into() });
    }

    pub(crate) fn error(&self, text: impl Into<String>, status: u8) {
        self.write(
            Stream::Notices,
            &Said::Error {
                text: text.into(),
                status,
            },
        );
    }

    /// Lines of another job, as they were.
    pub(crate) fn copy(&self, lines: &[Line]) {
        for line in lines {
            self.push(line.clone());
        }
    }

    fn write<E: Event>(&self, stream: Stream, event: &E) {
        let human = event.to_string();
        if self.json {
            return self.push(Line {
                stream,
                tone: Tone::Plain,
                json: true,
                text: sanitize::line(&self.to_json(event), true).into(),
                human: Some(human.into()),
            });
        }
        for line in human.split('\n') {
            self.push(Line {
                stream,
                tone: event.tone(),
                json: false,
                text: sanitize::line(line, false).into(),
                human: None,
            });
        }
    }

    fn push(&self, line: Line) {
        for capture in &self.captures {
            capture.push(line.human.as_ref().unwrap_or(&line.text));
        }
        for error in self.logs.iter().filter_map(|log| append(log, &line)) {
            self.journal.write(Line {
                stream: Stream::Notices,
                tone: Tone::Bad,
                json: false,
                text: format!("log file given up: {}", cause::of(&error)).into(),
                human: None,
            });
        }
        self.journal.write(line);
    }

    fn to_json<E: Event>(&self, event: &E) -> String {
        let job = self.journal.background_job();
        let time = clock::stamp();
        serde_json::to_string(&Record { event, job, time })
            .expect("an event has string keys and no failing fields")
    }
}

/// JSON for a file that somebody may show on a terminal.
pub(crate) fn safe_json(json: &str) -> String {
    sanitize::line(json, true)
}

fn append(log: &Mutex<Log>, line: &Line) -> Option<std::io::Error> {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let error = log.as_mut()?.append(line).err()?;
    *log = None;
    Some(error)
}

/// What the shell, and a tool about itself, has to say.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said {
    Notice { text: String },
    Warning { text: String },
    Error { text: String, status: u8 },
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Notice { text } | Said::Warning { text } | Said::Error { text, .. } => {
                f.write_str(text)
            }
        }
    }
}

impl Event for Said {
    fn tone(&self) -> Tone {
        match self {
            Said::Notice { .. } => Tone::Plain,
            Said::Warning { .. } => Tone::Caution,
            Said::Error { .. } => Tone::Bad,
        }
    }
}

/// A plain text as a result: `echo`, `help`.
#[derive(Serialize)]
#[serde(tag = "event", rename = "text")]
pub(crate) struct Text {
    pub(crate) text: String,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Event for Text {}

/// What `expect` looks at: the newest lines of a command.
#[derive(Default)]
pub(crate) struct Capture(Mutex<String>);

/// More than any lab prints; the oldest go first, so that an endless command costs no more.
const CAPTURE_OCTETS_MAX: usize = 1 << 20;

impl Capture {
    fn push(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
        Capture::shorten(&mut text);
    }

    fn push_octets(&self, octets: &[u8]) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(octets));
        Capture::shorten(&mut text);
    }

    fn shorten(text: &mut String) {
        if text.len() > CAPTURE_OCTETS_MAX {
            let half = text.ceil_char_boundary(text.len() / 2);
            text.drain(..half);
        }
    }

    pub(crate) fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
