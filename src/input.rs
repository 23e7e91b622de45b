//! How a foreground tool asks a person, or the next line of stdin.
//!
//! The tool's thread puts a question on the [`Desk`]; the thread that holds the terminal
//! answers it with the line editor, or reads a line of stdin in a script or pipe.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc::SIGINT;
use nix::poll::PollFlags;

use crate::cancel::{Bell, Cancel};
use crate::cause;
use crate::outcome::Error;
use crate::output::Journal;

/// What the thread that holds the terminal has to see to. Its bell rings for each.
pub(crate) struct Desk {
    pub(crate) bell: Arc<Bell>,
    signals: Mutex<VecDeque<i32>>,
    questions: Mutex<VecDeque<Question>>,
}

pub(crate) struct Question {
    pub(crate) wanted: Wanted,
    answer: Arc<Mutex<Option<Answer>>>,
    answered: Arc<Bell>,
    /// Whoever asked has ended.
    withdrawn: Arc<AtomicBool>,
}

pub(crate) enum Wanted {
    Line {
        prompt: String,
        /// Without echo.
        secret: bool,
    },
    /// That the person edits this file, with the editor of their own.
    Edited(PathBuf),
}

pub(crate) enum Answer {
    Line(String),
    Edited,
    /// Ctrl-D, or the end of stdin.
    End,
    Failed(String),
}

impl Desk {
    pub(crate) fn new(bell: Arc<Bell>) -> Desk {
        Desk {
            bell,
            signals: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    pub(crate) fn put_signal(&self, signal: i32) {
        self.signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(signal);
        self.bell.ring();
    }

    pub(crate) fn take_signal(&self) -> Option<i32> {
        self.signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    pub(crate) fn clear_signals(&self) {
        self.signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn take_question(&self) -> Option<Question> {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.retain(|question| !question.is_withdrawn());
        questions.pop_front()
    }

    /// Takes Ctrl-C back, where there was one.
    pub(crate) fn take_interrupt(&self) -> bool {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        let before = signals.len();
        signals.retain(|signal| *signal != SIGINT);
        signals.len() < before
    }
}

impl Question {
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::SeqCst)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        self.answered.ring();
    }
}

/// A job's way to ask.
#[derive(Clone)]
pub(crate) struct Input {
    desk: Arc<Desk>,
    journal: Arc<Journal>,
}

impl Input {
    pub(crate) fn new(desk: Arc<Desk>, journal: Arc<Journal>) -> Input {
        Input { desk, journal }
    }

    /// Asks for a line, or with `secret` for one that is not shown; `None` at the end.
    ///
    /// In the background nobody is asked: the error says what to do `instead`.
    pub(crate) fn ask(
        &self,
        cancel: &Cancel,
        prompt: &str,
        secret: bool,
        instead: &str,
    ) -> Result<Option<String>, Error> {
        let wanted = Wanted::Line {
            prompt: prompt.to_owned(),
            secret,
        };
        match self.want(cancel, wanted, instead)? {
            Answer::Line(line) => Ok(Some(line)),
            Answer::Edited | Answer::End => Ok(None),
            Answer::Failed(why) => Err(Error::Unavailable(format!("cannot ask: {why}"))),
        }
    }

    /// Gives the terminal to `$VISUAL` or `$EDITOR` with this file, until it has ended.
    pub(crate) fn edit(&self, cancel: &Cancel, file: &Path, instead: &str) -> Result<(), Error> {
        match self.want(cancel, Wanted::Edited(file.to_owned()), instead)? {
            Answer::Failed(why) => Err(Error::Unavailable(format!("{why}; {instead}"))),
            Answer::Line(_) | Answer::Edited | Answer::End => Ok(()),
        }
    }

    fn want(&self, cancel: &Cancel, wanted: Wanted, instead: &str) -> Result<Answer, Error> {
        if self.journal.background_job().is_some() {
            return Err(Error::Usage(format!(
                "nobody can be asked in the background; {instead}"
            )));
        }
        let cannot = |error| Error::Unavailable(format!("cannot ask: {}", cause::of(&error)));
        let answered = Arc::new(Bell::new().map_err(cannot)?);
        let answer = Arc::new(Mutex::new(None));
        let withdrawn = Arc::new(AtomicBool::new(false));
        let question = Question {
            withdrawn: Arc::clone(&withdrawn),
            wanted,
            answer: Arc::clone(&answer),
            answered: Arc::clone(&answered),
        };
        self.desk
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(question);
        self.desk.bell.ring();
        if let Err(cancelled) = cancel.wait(answered.as_fd(), PollFlags::POLLIN, None) {
            withdrawn.store(true, Ordering::SeqCst);
            self.desk.bell.ring();
            return Err(cancelled.into());
        }
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(answer.unwrap_or(Answer::End))
    }
}
