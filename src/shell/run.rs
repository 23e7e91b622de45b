//! Runs one command: in the shell itself, as a job, or as part of the job this shell is in.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::ArgMatches;

use super::call::{self, Parsed, Row};
use super::grammar::{self, AndOr};
use super::{Place, Shell};
use crate::cause;
use crate::job::{Job, Start, Work, run_child};
use crate::output::{LogFile, Output, Text};
use crate::tool::{Error, Kind, Status};

/// `repeat repeat repeat ...`: each level takes more of the thread's stack.
const NESTING_MAX: usize = 64;

/// What a built-in that waits needs: two bells.
pub(super) const RESERVED_DESCRIPTORS: usize = 2;

/// A command with its arguments read.
#[derive(Clone)]
struct Call {
    row: Row,
    matches: ArgMatches,
    name: String,
    /// As `jobs` shows it.
    line: String,
}

impl Call {
    fn json(&self) -> bool {
        self.matches.get_flag("json")
    }

    /// The output as `--json` and `--log` want it.
    fn output(&self, output: Output) -> Result<Output, Error> {
        Ok(output.with_json(self.json()).with_log(self.log_file()?))
    }

    /// What `--log` names, opened.
    fn log_file(&self) -> Result<Option<LogFile>, Error> {
        let Some(path) = call::log_path(self.row, &self.matches) else {
            return Ok(None);
        };
        LogFile::open(path).map(Some).map_err(|error| {
            let (path, why) = (path.display(), cause::of(&error));
            Error::Usage(format!("cannot append to log file '{path}': {why}"))
        })
    }

    fn kind(&self) -> Kind {
        match self.row {
            Row::Tool(tool) => (tool.kind)(&self.matches),
            Row::Builtin(_) => Kind::Foreground,
        }
    }
}

impl Shell {
    /// Runs a command and says what went wrong with it.
    pub(crate) fn run_words(&mut self, words: &[String]) -> Status {
        let call = match self.resolve(words) {
            Ok(call) => call,
            Err(status) => return status,
        };
        match self.run_call(&call) {
            Ok(status) => status,
            Err(Error::Cancelled) => Status::INTERRUPTED,
            Err(error) => self.fail(&call.name, &error),
        }
    }

    /// As a part of the job this shell is in, with its output and deadline.
    pub(crate) fn run_words_until(
        &mut self,
        words: &[String],
        deadline: Option<Instant>,
        output: Output,
    ) -> Result<Status, Error> {
        let call = match self.resolve(words) {
            Ok(call) => call,
            Err(status) => return Ok(status),
        };
        if call.kind() == Kind::Server && deadline.is_none() {
            let name = &call.name;
            return Err(Error::Usage(format!(
                "a server does not end; start it first, then 'expect TEXT from {name}'"
            )));
        }
        let output = call.output(output)?;
        let (name, label) = (call.name.clone(), self.label());
        run_child(
            &self.context,
            &name,
            label,
            output,
            deadline,
            self.work(call),
        )
    }

    /// Finds the command and reads its arguments. The error is told, and its status returned;
    /// so is help that was asked for.
    fn resolve(&mut self, words: &[String]) -> Result<Call, Status> {
        let words = &self.without_alias(words);
        let Some(name) = words.first() else {
            return Err(self.fail("nsh", &Error::Usage("there is no command".to_owned())));
        };
        if self.nesting > NESTING_MAX {
            let text = format!("more than {NESTING_MAX} commands inside each other");
            return Err(self.fail(name, &Error::Usage(text)));
        }
        let Some(row) = call::find(name) else {
            let text = call::unknown(name, &self.scope().alias_names());
            return Err(self.refuse(self.offset(), &text, Status::UNKNOWN_COMMAND));
        };
        match call::parse(row, &words[1..]) {
            Ok(Parsed::Arguments(matches)) => Ok(Call {
                row,
                matches,
                name: name.clone(),
                line: words_line(words),
            }),
            Ok(Parsed::Help(text)) => {
                self.out().emit(&Text { text });
                Err(Status::OK)
            }
            Err(error) => {
                let text = format!("{name}: {error}");
                Err(self.refuse(self.offset(), &text, Status::USAGE))
            }
        }
    }

    /// The words of an alias in its place; they are not looked up again.
    fn without_alias(&self, words: &[String]) -> Vec<String> {
        let alias = words.first().and_then(|name| self.scope().alias(name));
        match alias {
            Some(alias) => alias.iter().chain(&words[1..]).cloned().collect(),
            None => words.to_vec(),
        }
    }

    fn run_call(&mut self, call: &Call) -> Result<Status, Error> {
        match (call.row, self.place) {
            (Row::Builtin(builtin), place) if !builtin.waits || place == Place::Job => {
                let out = self.context.out.clone();
                self.context.out = call.output(out.clone())?;
                self.nesting += 1;
                let result = (builtin.run)(self, &call.matches);
                self.nesting -= 1;
                self.context.out = out;
                result
            }
            (Row::Tool(_), Place::Job) if call.kind() == Kind::Foreground => {
                let out = call.output(self.context.out.clone())?;
                let work = self.work(call.clone());
                run_child(&self.context, &call.name, self.label(), out, None, work)
            }
            _ => {
                // A server goes to the background by itself, once it is ready.
                let job = match (self.start(call.clone(), true), call.row) {
                    // `stop` must run when servers have taken all descriptors.
                    (Err(Error::Unavailable(_)), Row::Builtin(_)) => {
                        self.session.reserve().release(RESERVED_DESCRIPTORS);
                        self.start(call.clone(), true)?
                    }
                    (started, _) => started?,
                };
                let status = self.hold(&job);
                self.session
                    .reserve()
                    .hold(RESERVED_DESCRIPTORS, RawFd::MAX);
                status
            }
        }
    }

    /// What a job's thread does to run the command.
    fn work(&self, call: Call) -> Work {
        match call.row {
            Row::Tool(tool) => Box::new(move |context| (tool.run)(context, &call.matches)),
            Row::Builtin(builtin) => {
                let mut shell = self.for_job(Arc::clone(&self.scope));
                Box::new(move |context| {
                    shell.context = context.clone();
                    (builtin.run)(&mut shell, &call.matches)
                })
            }
        }
    }

    fn start(&self, call: Call, foreground: bool) -> Result<Arc<Job>, Error> {
        let start = Start {
            name: call.name.clone(),
            line: call.line.clone(),
            foreground,
            json: call.json(),
            log: call.log_file()?,
            position: self.label(),
            work: self.work(call),
        };
        self.session.jobs.start(start)
    }

    /// Starts `a && b &` as one job and goes on.
    pub(super) fn run_in_background(&mut self, list: &AndOr) -> Status {
        self.set_offset(list.first.start());
        let started = if list.rest.is_empty() {
            match self
                .expand(&list.first)
                .and_then(|words| self.resolve(&words))
            {
                Ok(call) if call::is_job(call.row) => self.start_alone(call),
                Ok(call) => self.start_list(list, call.name),
                Err(status) => return status,
            }
        } else {
            self.start_list(list, "list".to_owned())
        };
        started.unwrap_or_else(|error| self.fail("nsh", &error))
    }

    fn start_alone(&mut self, call: Call) -> Result<Status, Error> {
        if call.kind() == Kind::Server {
            return self.run_call(&call);
        }
        let job = self.start(call, false)?;
        self.scope().last_background = Some(job.id);
        self.tell_started(&job);
        Ok(Status::OK)
    }

    fn start_list(&mut self, list: &AndOr, name: String) -> Result<Status, Error> {
        // Its own copy of the variables, as in a subshell.
        let scope = self.scope().clone();
        let mut shell = self.for_job(Arc::new(Mutex::new(scope)));
        let commands = list.clone();
        let work: Work = Box::new(move |context| {
            shell.context = context.clone();
            shell.run_and_or(&commands);
            Ok(shell.exit.unwrap_or(shell.status))
        });
        let line = self.text(list.first.start(), list.end());
        let position = self.label();
        let start = Start {
            name,
            line,
            foreground: false,
            json: false,
            log: None,
            position,
            work,
        };
        let job = self.session.jobs.start(start)?;
        self.scope().last_background = Some(job.id);
        self.tell_started(&job);
        Ok(Status::OK)
    }

    fn tell_started(&self, job: &Job) {
        self.out()
            .notice(format!("[{}] started: {}", job.id, job.line));
    }
}

/// The words as a line that reads back the same.
fn words_line(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| grammar::quote(word)).collect();
    quoted.join(" ")
}
