//! Runs what people type and what scripts say.
//!
//! A [`Shell`] runs lists of commands. The one on the main thread holds the terminal: its
//! commands become foreground jobs. Those in a job's thread (`repeat`, `source x.nsh &`) run
//! their commands as parts of that job.

pub(crate) mod builtins;
mod call;
mod complete;
mod editor;
mod foreground;
mod grammar;
mod highlight;
mod history;
mod lending;
mod manual;
mod plain;
mod repl;
mod report;
mod reserve;
mod run;
mod scope;
mod signals;
mod source;
mod terminal;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use manual::{completions, man_page};
pub(crate) use repl::{run_prompt, run_stdin};
pub(crate) use signals::start as start_signals;
pub(crate) use source::{Origin, Source};
pub(crate) use terminal::{remember as remember_terminal, restore as restore_terminal};

use crate::input::Desk;
use crate::job::JobTable;
use crate::output::{Output, Screen};
use crate::tool::{Context, Status};
use grammar::{AndOr, Command, Operator};
use history::History;
use plain::LineReader;
use reserve::Reserve;
use scope::Scope;

/// Scripts that source scripts that source scripts ...
const SOURCES_MAX: usize = 32;

pub(crate) fn is_command(name: &str) -> bool {
    call::find(name).is_some()
}

/// What all shells of this process share.
pub(crate) struct Session {
    pub(crate) jobs: Arc<JobTable>,
    pub(crate) screen: Arc<Screen>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) stdin: Mutex<LineReader>,
    pub(crate) history: Mutex<History>,
    /// A person is at the prompt.
    pub(crate) interactive: bool,
    pub(crate) keep_going: bool,
    reserve: Mutex<Reserve>,
    /// SIGTERM or SIGHUP came: the thread that serves signals ends the process.
    terminating: AtomicBool,
}

/// Where a shell's commands run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Terminal,
    Job,
}

#[derive(Clone)]
struct Frame {
    source: Arc<Source>,
    /// Of the command being run.
    offset: usize,
    arguments: Arc<[String]>,
}

pub(crate) struct Shell {
    pub(crate) session: Arc<Session>,
    pub(crate) context: Context,
    scope: Arc<Mutex<Scope>>,
    frames: Vec<Frame>,
    place: Place,
    nesting: usize,
    pub(crate) status: Status,
    /// `exit` was called.
    pub(crate) exit: Option<Status>,
    /// `exit --force`: without asking about jobs.
    pub(crate) leaves_anyway: bool,
    /// The last source ended early, by its own fault.
    stopped: bool,
    /// Ctrl-C: the whole line or script ends.
    interrupted: bool,
}

impl Session {
    pub(crate) fn new(
        jobs: Arc<JobTable>,
        screen: Arc<Screen>,
        desk: Arc<Desk>,
        interactive: bool,
        keep_going: bool,
    ) -> Session {
        let mut reserve = Reserve::default();
        reserve.hold(run::RESERVED_DESCRIPTORS, RawFd::MAX);
        let stdin = Mutex::default();
        let history = Mutex::default();
        Session {
            jobs,
            screen,
            desk,
            stdin,
            history,
            interactive,
            keep_going,
            reserve: Mutex::new(reserve),
            terminating: AtomicBool::new(false),
        }
    }

    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a signal is ending the process, nothing else is to be done or said.
    pub(crate) fn leave_to_signal(&self) {
        while self.terminating.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

impl Shell {
    pub(crate) fn new(session: Arc<Session>, context: Context) -> Shell {
        Shell {
            session,
            context,
            scope: Arc::default(),
            frames: Vec::new(),
            place: Place::Terminal,
            nesting: 0,
            status: Status::OK,
            exit: None,
            leaves_anyway: false,
            stopped: false,
            interrupted: false,
        }
    }

    /// A shell for a job's thread, with this one's variables or a copy of them.
    fn for_job(&self, scope: Arc<Mutex<Scope>>) -> Shell {
        Shell {
            session: Arc::clone(&self.session),
            context: self.context.clone(),
            scope,
            frames: self.frames.clone(),
            place: Place::Job,
            nesting: self.nesting + 1,
            status: self.status,
            exit: None,
            leaves_anyway: false,
            stopped: false,
            interrupted: false,
        }
    }

    pub(crate) fn out(&self) -> &Output {
        &self.context.out
    }

    pub(crate) fn scope(&self) -> MutexGuard<'_, Scope> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By `exit`, by Ctrl-C, or because a script's command failed.
    pub(crate) fn ended_early(&self) -> bool {
        self.exit.is_some() || self.stopped || self.interrupted
    }

    fn must_end(&self) -> bool {
        self.interrupted
            || self.exit.is_some()
            || self.context.cancel.is_cancelled()
            || self.session.screen.lost().is_some()
    }

    /// Runs all of `source`. A script stops at the first command that fails and is not a
    /// condition of `&&` or `||`.
    pub(crate) fn run_source(&mut self, source: Source, arguments: &[String]) -> Status {
        let strict = source.origin != Origin::Prompt && !self.session.keep_going;
        let source = Arc::new(source);
        let frame = Frame {
            source: Arc::clone(&source),
            offset: 0,
            arguments: arguments.into(),
        };
        self.frames.push(frame);
        match grammar::parse(&source.text) {
            Ok(lists) => self.run_lists(&lists, strict),
            Err(error) => {
                self.stopped = true;
                self.status = self.refuse(error.offset, &error.fault.to_string(), Status::USAGE);
            }
        }
        self.frames.pop();
        self.status
    }

    fn run_lists(&mut self, lists: &[AndOr], strict: bool) {
        for list in lists {
            let decisive = self.run_list(list);
            // Built-ins that end at once see no signals.
            if self.place == Place::Terminal && self.session.desk.take_interrupt() {
                self.interrupted = true;
            }
            if self.interrupted {
                self.status = Status::INTERRUPTED;
            }
            if self.must_end() {
                return;
            }
            self.stopped = strict && decisive && !self.status.is_ok();
            if self.stopped {
                self.tell_where_it_stopped();
                return;
            }
        }
    }

    /// True when the list's last command ran, so that its status counts.
    fn run_list(&mut self, list: &AndOr) -> bool {
        if list.background {
            self.status = self.run_in_background(list);
            return true;
        }
        self.run_and_or(list)
    }

    fn run_and_or(&mut self, list: &AndOr) -> bool {
        self.status = self.run_command(&list.first);
        let mut decisive = true;
        for (operator, command) in &list.rest {
            decisive = match operator {
                Operator::Or => !self.status.is_ok(),
                Operator::And | Operator::Sequence | Operator::Background => self.status.is_ok(),
            };
            if self.must_end() {
                return false;
            }
            if decisive {
                self.status = self.run_command(command);
            }
        }
        decisive
    }

    fn run_command(&mut self, command: &Command) -> Status {
        self.set_offset(command.start());
        match self.expand(command) {
            Ok(words) => self.run_words(&words),
            Err(status) => status,
        }
    }

    /// The command's words with values in place.
    fn expand(&mut self, command: &Command) -> Result<Vec<String>, Status> {
        let frame = self.frames.last().cloned();
        let arguments = frame.as_ref().map_or(&[][..], |frame| &frame.arguments);
        let name = frame
            .as_ref()
            .map_or("nsh", |frame| frame.source.name.as_str());
        let mut words = Vec::new();
        for word in &command.words {
            let scope = self.scope();
            let value = |variable: &str| scope.value(variable, self.status, name, arguments);
            let expanded = grammar::expand(word, &value, arguments);
            drop(scope);
            match expanded {
                Ok(expanded) => words.extend(expanded),
                Err(unset) => {
                    let text = format!("the variable {} is not set", unset.name);
                    return Err(self.refuse(unset.offset, &text, Status::USAGE));
                }
            }
        }
        Ok(words)
    }
}
