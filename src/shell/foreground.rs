//! Holding the prompt (or the next line) while a job is in the foreground.

use std::os::fd::AsFd;
use std::sync::Arc;

use nix::libc::{SIGINT, SIGQUIT, SIGTSTP};
use nix::poll::PollFlags;

use super::editor::{self, Trouble};
use super::plain::{self, Read};
use super::terminal::Key;
use super::{Place, Shell, terminal};
use crate::input::{Answer, Question, Wanted};
use crate::job::{Job, JobTable, guarded};
use crate::tool::{Error, Status};

impl Shell {
    /// Waits until the job ends, or is a server and ready, or leaves the foreground.
    pub(crate) fn hold(&mut self, job: &Arc<Job>) -> Result<Status, Error> {
        let done = || job.ended().is_some() || job.progress.is_ready();
        if self.place == Place::Job {
            JobTable::wait(&[Arc::clone(job)], &self.context.cancel, None, done)?;
            self.scope().last_background = Some(job.id);
            return Ok(job.ended().unwrap_or(Status::OK));
        }
        let status = self.attend(job);
        if job.progress.ends_on_q() && editor::with(|_| ()).is_none() {
            terminal::restore();
        }
        while let Some(question) = self.session.desk.take_question() {
            question.answer(Answer::Failed("nobody attends to the job".to_owned()));
        }
        self.session.screen.drain();
        self.session.jobs.tidy();
        status
    }

    pub(crate) fn holds_terminal(&self) -> bool {
        self.place == Place::Terminal
    }

    /// Sees to signals and questions while the job runs.
    fn attend(&mut self, job: &Arc<Job>) -> Result<Status, Error> {
        let desk = Arc::clone(&self.session.desk);
        let mut told_to_stop = false;
        // By a key that is there for it: that is no interruption.
        let mut told_by_key = false;
        // Whether keys may still come.
        let mut keys = true;
        job.progress.watch(&desk.bell);
        loop {
            desk.bell.clear();
            if let Some(status) = job.ended() {
                self.session.leave_to_signal();
                self.interrupted |= told_to_stop && !told_by_key;
                return Ok(match status {
                    Status::INTERRUPTED if told_by_key => Status::OK,
                    status => status,
                });
            }
            // What was told to stop meanwhile is waited for.
            if !told_to_stop && !job.is_foreground() && job.progress.is_ready() {
                self.scope().last_background = Some(job.id);
                return Ok(Status::OK);
            }
            let signal = desk.take_signal();
            if signal.is_some() {
                // There may be another one.
                desk.bell.ring();
            }
            match signal {
                Some(SIGINT) if told_to_stop => {
                    self.interrupted = true;
                    job.set_foreground(false);
                    self.out().warn(format!(
                        "[{}] does not end; left alone: {}",
                        job.id, job.line
                    ));
                    return Ok(Status::INTERRUPTED);
                }
                Some(SIGINT) => {
                    told_to_stop = true;
                    job.stop();
                }
                Some(SIGTSTP) if job.is_foreground() => {
                    job.set_foreground(false);
                    self.session.screen.leave_picture();
                    self.scope().last_background = Some(job.id);
                    let (id, line) = (job.id, &job.line);
                    self.out()
                        .notice(format!("[{id}] goes on in the background: {line}"));
                    return Ok(Status::OK);
                }
                Some(SIGQUIT) => job.nudge(),
                _ => {}
            }
            if let Some(question) = desk.take_question() {
                self.answer(&question);
                // The wait for the answer may have taken other rings.
                desk.bell.ring();
            }
            if self.session.screen.lost().is_some() {
                job.stop();
            }
            // Only signals and the job's own progress end this; the shell is not cancelled.
            let stdin = std::io::stdin();
            let mut fds = vec![desk.bell.as_fd()];
            let is_wanted = job.progress.ends_on_q() && job.is_foreground();
            // What is typed behind the key is for the prompt.
            let is_watched = is_wanted && !told_to_stop && keys && terminal::is_ours();
            if is_watched {
                terminal::hold_keys();
                fds.push(stdin.as_fd());
            }
            let _ = self.context.cancel.wait_any(&fds, PollFlags::POLLIN, None);
            match is_watched.then(terminal::take_key) {
                Some(Key::Pressed(b'q')) => {
                    (told_to_stop, told_by_key) = (true, true);
                    job.stop();
                }
                Some(Key::Gone) => keys = false,
                _ => {}
            }
        }
    }

    fn answer(&self, question: &Question) {
        let session = &self.session;
        session.screen.drain();
        let (prompt, secret) = match &question.wanted {
            Wanted::Line { prompt, secret } => (prompt.as_str(), *secret),
            Wanted::Edited(file) => return question.answer(self.lend(question, file)),
        };
        session.screen.set_editing(true);
        let edited = editor::with(|editor| guarded(|| editor.ask(prompt, secret)));
        session.screen.set_editing(false);
        if question.is_withdrawn() && edited.is_some() {
            self.out()
                .warn("the command that asked has ended; the answer is dropped");
        }
        let answer = match edited {
            Some(Ok(Ok(Some(line)))) => Answer::Line(line),
            Some(Ok(Ok(None))) => Answer::End,
            // The job is about to be stopped, and must not take this for an answer.
            Some(Ok(Err(Trouble::Interrupted))) => return session.desk.put_signal(SIGINT),
            Some(Ok(Err(Trouble::Failed(error)))) => Answer::Failed(error.to_string()),
            Some(Err(panic)) => Answer::Failed(panic),
            None => match self.answer_plainly(question, prompt, secret) {
                Some(answer) => answer,
                None => return session.desk.put_signal(SIGINT),
            },
        };
        question.answer(answer);
    }

    /// `None` for Ctrl-C.
    fn answer_plainly(&self, question: &Question, prompt: &str, secret: bool) -> Option<Answer> {
        let screen = &self.session.screen;
        screen.prompt(prompt);
        terminal::set_echo(!secret);
        let read = plain::read_line(&self.session, &|| !question.is_withdrawn());
        terminal::set_echo(true);
        if secret {
            screen.prompt("\n");
        }
        Some(match read {
            Read::Line(octets) => Answer::Line(String::from_utf8_lossy(&octets).replace('\0', "")),
            Read::End => Answer::End,
            Read::Interrupted => return None,
            Read::Failed(error) => Answer::Failed(error.to_string()),
        })
    }
}
