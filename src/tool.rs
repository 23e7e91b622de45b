//! The contract between the shell and its commands.
//!
//! A tool is a row ([`Tool`]): its manual, how its arguments look, and a function that is run
//! in a thread of its own with a [`Context`], which is all it may touch.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use clap::ArgMatches;

use crate::cancel::{Bell, Cancel};
use crate::input::Input;
pub(crate) use crate::outcome::{Error, Status};
use crate::output::{Event, Output};

/// What `help`, completion, hints and the man page are made from.
pub(crate) struct Manual {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) group: Group,
    pub(crate) examples: &'static [Example],
    /// Exit statuses beyond 0, 2 (usage) and 130 (Ctrl-C), which all commands have.
    pub(crate) statuses: &'static [(Status, &'static str)],
    pub(crate) command: fn() -> clap::Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Network,
    Jobs,
    Scripts,
    Shell,
}

pub(crate) struct Example {
    pub(crate) line: &'static str,
    pub(crate) what: &'static str,
}

pub(crate) struct Tool {
    pub(crate) manual: Manual,
    pub(crate) run: fn(&Context, &ArgMatches) -> Result<Status, Error>,
    pub(crate) kind: fn(&ArgMatches) -> Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Holds the prompt until it ends.
    Foreground,
    /// Becomes a background job as soon as it calls [`Context::ready`].
    Server,
}

/// All that a job may touch.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) out: Output,
    pub(crate) input: Input,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<Progress>,
    pub(crate) neighbours: Neighbours,
}

/// Where a server listens: TCP and UDP have ports of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

impl Endpoint {
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Endpoint::Tcp(address) | Endpoint::Udp(address) => address,
        }
    }

    /// Whether only one of two can be had.
    pub(crate) fn overlaps(self, other: Endpoint) -> bool {
        let (has, wanted) = (self.address(), other.address());
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
            && has.port() == wanted.port()
            && (has.ip() == wanted.ip()
                || has.ip().is_unspecified()
                || wanted.ip().is_unspecified())
    }
}

/// Which other job of this shell listens there: its number and line.
pub(crate) type Neighbours = Arc<dyn Fn(Endpoint) -> Option<(u32, String)> + Send + Sync>;

impl Context {
    /// Why an address cannot be had, and who has it where that is a job of this shell.
    pub(crate) fn with_neighbour(&self, error: impl Into<Error>, endpoint: Endpoint) -> Error {
        match ((self.neighbours)(endpoint), error.into()) {
            (Some((id, line)), Error::Unavailable(text)) => Error::Unavailable(format!(
                "{text}: job {id} has it ({line}); 'stop {id}' frees it, and -p 0 takes a free port"
            )),
            (_, error) => error,
        }
    }

    /// What `jobs` shows beside the job while it runs.
    pub(crate) fn summarize(&self, summary: String) {
        *self
            .progress
            .summary
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = summary;
    }

    /// The same, worked out whenever somebody looks.
    pub(crate) fn summarize_with(&self, summary: impl Fn() -> String + Send + 'static) {
        *self
            .progress
            .live_summary
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Box::new(summary));
    }

    /// While it is in the foreground of a terminal, `q` ends the job, as is meant: there is no
    /// interruption.
    pub(crate) fn end_on_q(&self) {
        self.progress.ends_on_q.store(true, Ordering::SeqCst);
        self.progress.ring();
    }

    /// A server listens there: it goes to the background, says so, and the
    /// prompt, or the next line, may come.
    pub(crate) fn ready<E: Event>(&self, listening: &[Endpoint], event: &E) {
        let mut known = self
            .progress
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.extend_from_slice(listening);
        drop(known);
        self.out.journal().set_foreground(false);
        self.out.emit(event);
        self.progress.ready.store(true, Ordering::SeqCst);
        self.progress.ring();
    }
}

/// What others can see of a running job, and how they learn that something changed.
#[derive(Default)]
pub(crate) struct Progress {
    summary: Mutex<String>,
    live_summary: Mutex<Option<LiveSummary>>,
    ready: AtomicBool,
    ends_on_q: AtomicBool,
    listening: Mutex<Vec<Endpoint>>,
    grace: Mutex<Duration>,
    watchers: Mutex<Vec<Weak<Bell>>>,
}

type LiveSummary = Box<dyn Fn() -> String + Send>;

impl Progress {
    pub(crate) fn summary(&self) -> String {
        let live = self.live_summary.lock();
        if let Some(live) = &*live.unwrap_or_else(PoisonError::into_inner) {
            return live();
        }
        self.summary
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where it accepts, once it is ready.
    pub(crate) fn listening(&self) -> Vec<Endpoint> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How long it may take to end what it is doing when it is stopped.
    pub(crate) fn set_grace(&self, grace: Duration) {
        *self.grace.lock().unwrap_or_else(PoisonError::into_inner) = grace;
    }

    pub(crate) fn grace(&self) -> Duration {
        *self.grace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(crate) fn ends_on_q(&self) -> bool {
        self.ends_on_q.load(Ordering::SeqCst)
    }

    /// `bell` rings when the job gets ready, and when it ends.
    pub(crate) fn watch(&self, bell: &Arc<Bell>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        if !watchers
            .iter()
            .any(|watcher| watcher.as_ptr() == Arc::as_ptr(bell))
        {
            watchers.push(Arc::downgrade(bell));
        }
    }

    pub(crate) fn ring(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in watchers.iter().filter_map(Weak::upgrade) {
            bell.ring();
        }
    }
}
