//! The line editor: rustyline, set up so that output of jobs, many open descriptors and odd
//! terminals don't harm it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Cmd, CompletionType, Config, ExternalPrinter, KeyCode, KeyEvent, Modifiers};

use super::reserve::Reserve;
use super::scope::Scope;
use super::{Session, complete, grammar, highlight, history};
use crate::job::JobTable;

/// The editor waits with select(2), which takes numbers below this only.
const SELECT_LIMIT: RawFd = 1024;
/// What it opens for each line.
const DESCRIPTORS_PER_LINE: usize = 2;
/// Kept so that it finds such numbers even when sockets take all others. When they are given
/// back, a server may be faster to take one than the reserve; so it holds some more.
const RESERVED_DESCRIPTORS: usize = 12;

pub(super) struct Editor {
    inner: rustyline::Editor<Helper, FileHistory>,
    history_file: Option<PathBuf>,
    reserve: Reserve,
}

thread_local! {
    /// The thread that holds the terminal has the editor; what is typed ahead waits in it.
    static EDITOR: RefCell<Option<Editor>> = const { RefCell::new(None) };
}

pub(super) fn install(editor: Editor) {
    EDITOR.set(Some(editor));
}

/// Does something with the editor, where there is one.
pub(super) fn with<T>(work: impl FnOnce(&mut Editor) -> T) -> Option<T> {
    EDITOR.with_borrow_mut(|editor| editor.as_mut().map(work))
}

pub(super) enum Trouble {
    /// Ctrl-C: the line is dropped.
    Interrupted,
    Failed(ReadlineError),
}

impl Editor {
    pub(super) fn open(
        session: &Arc<Session>,
        scope: Arc<Mutex<Scope>>,
    ) -> Result<Editor, ReadlineError> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(history::LINES_MAX)?
            .bracketed_paste(true)
            .build();
        let mut inner = rustyline::Editor::with_config(config)?;
        // Ctrl-Z would stop the whole process, and all servers with it.
        inner.bind_sequence(KeyEvent(KeyCode::Char('Z'), Modifiers::CTRL), Cmd::Noop);
        inner.set_helper(Some(Helper::new(session, scope)));
        // What is neither a file nor missing may be endless.
        let history_file =
            history::file().filter(|path| path.is_file() || path.symlink_metadata().is_err());
        if history_file.is_none() {
            let text = "history is kept for this session only: there is no folder or file for it";
            session.jobs.notices.warn(text);
        }
        if let Some(path) = &history_file {
            // Missing at first.
            let _ = inner.load_history(path);
            history::keep_private(path);
        }
        let mut known = session
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known
            .lines
            .extend(inner.history().iter().map(|line| line.to_owned()));
        drop(known);
        let mut printer = inner.create_external_printer()?;
        let print = move |text| _ = printer.print(text);
        session.screen.start_printer(Some(Box::new(print)))?;
        Ok(Editor {
            inner,
            history_file,
            reserve: Reserve::default(),
        })
    }

    /// A line, or `None` at Ctrl-D.
    pub(super) fn read(&mut self, jobs: &JobTable) -> Result<Option<String>, Trouble> {
        self.edit(&prompt(jobs.running().len()))
    }

    /// A line for a tool that asks: no history, no completion, and a secret is not shown.
    pub(super) fn ask(&mut self, prompt: &str, secret: bool) -> Result<Option<String>, Trouble> {
        let history = std::mem::replace(self.inner.history_mut(), FileHistory::new());
        self.set_asking(Some(Asking { secret }));
        let line = self.edit(prompt);
        self.set_asking(None);
        *self.inner.history_mut() = history;
        line
    }

    fn set_asking(&mut self, asking: Option<Asking>) {
        if let Some(helper) = self.inner.helper_mut() {
            helper.asking = asking;
        }
    }

    fn edit(&mut self, prompt: &str) -> Result<Option<String>, Trouble> {
        self.reserve.release(DESCRIPTORS_PER_LINE);
        let line = self.inner.readline(prompt);
        self.reserve.hold(RESERVED_DESCRIPTORS, SELECT_LIMIT);
        match line {
            Ok(line) => Ok(Some(line)),
            Err(ReadlineError::Eof) => Ok(None),
            Err(ReadlineError::Interrupted) => Err(Trouble::Interrupted),
            Err(error) => Err(Trouble::Failed(error)),
        }
    }

    pub(super) fn remember(&mut self, line: &str) -> Result<(), ReadlineError> {
        if self.inner.add_history_entry(line)?
            && let Some(path) = &self.history_file
        {
            self.reserve.release(DESCRIPTORS_PER_LINE);
            let result = self.inner.append_history(path);
            self.reserve.hold(RESERVED_DESCRIPTORS, SELECT_LIMIT);
            if result.is_err() {
                // Told once; what is typed stays in memory.
                self.history_file = None;
            }
            return result;
        }
        Ok(())
    }
}

fn prompt(running: usize) -> String {
    match running {
        0 => "nsh> ".to_owned(),
        _ => format!("nsh[{running}]> "),
    }
}

/// What the editor asks while a line is being typed.
struct Helper {
    session: Arc<Session>,
    scope: Arc<Mutex<Scope>>,
    from_history: HistoryHinter,
    colour: bool,
    asking: Option<Asking>,
}

struct Asking {
    secret: bool,
}

impl Helper {
    fn new(session: &Arc<Session>, scope: Arc<Mutex<Scope>>) -> Helper {
        Helper {
            session: Arc::clone(session),
            scope,
            from_history: HistoryHinter::new(),
            colour: session.screen.colours().in_editor(),
            asking: None,
        }
    }

    fn scope(&self) -> Scope {
        self.scope
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl rustyline::Helper for Helper {}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.asking.is_some() {
            return Ok((position, Vec::new()));
        }
        let state = complete::State::of(&self.session, &self.scope());
        let (start, candidates) = complete::complete(&line[..position], &state);
        let pairs = candidates.into_iter().map(|candidate| Pair {
            display: candidate.shown,
            replacement: candidate.inserted,
        });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Helper {
    type Hint = String;

    /// The newest line of history that goes on like this one, else the command's usage.
    fn hint(
        &self,
        line: &str,
        position: usize,
        context: &rustyline::Context<'_>,
    ) -> Option<String> {
        if self.asking.is_some() || position < line.len() || line.contains('\n') {
            return None;
        }
        self.from_history
            .hint(line, position, context)
            .filter(|hint| !hint.contains('\n'))
            .or_else(|| complete::usage_hint(line))
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.asking {
            // About as wide as the line, so that the cursor moves.
            Some(Asking { secret: true }) => Cow::Owned(" ".repeat(line.chars().count())),
            None if self.colour => Cow::Owned(highlight::line(line, &self.scope())),
            Some(Asking { secret: false }) | None => Cow::Borrowed(line),
        }
    }

    /// The number of jobs as it is now, in the width the prompt had when it was drawn.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        drawn: &'p str,
        default: bool,
    ) -> Cow<'b, str> {
        if !default || !drawn.starts_with("nsh[") {
            return Cow::Borrowed(drawn);
        }
        let now = format!("nsh[{}]> ", self.session.jobs.running().len());
        let width = drawn.len();
        if now.len() <= width {
            Cow::Owned(format!("{now:<width$}"))
        } else {
            Cow::Borrowed(drawn)
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour {
            Cow::Owned(highlight::hint(hint))
        } else {
            Cow::Borrowed(hint)
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colour || self.asking.is_some()
    }
}

impl Validator for Helper {
    /// Enter goes on to another line while a quote is open, or after `\` and `&&`.
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let unfinished = self.asking.is_none()
            && grammar::parse(context.input()).is_err_and(|error| error.is_unfinished());
        Ok(if unfinished {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}
