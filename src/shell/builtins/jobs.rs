//! `jobs`: what runs, and what ran.

use std::fmt;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser};
use serde::Serialize;

use super::{Builtin, read};
use crate::job::{Job, State};
use crate::output::{Event, Tone};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "jobs",
        summary: "list what runs in the background",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "jobs",
                what: "number, state, time, what it does and how it goes",
            },
            Example {
                line: "jobs -l",
                what: "with the last line each printed",
            },
            Example {
                line: "jobs --json",
                what: "an object per job",
            },
        ],
        statuses: &[],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    /// Show when each started and the last line it printed
    #[arg(short, long)]
    long: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "job")]
struct Row {
    id: u32,
    name: String,
    command: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    seconds: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    summary: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listening: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_line: Option<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.status {
            Some(status) => format!("{} ({status})", self.state),
            None => self.state.to_owned(),
        };
        let id = format!("[{}]", self.id);
        let time = duration::human(Duration::from_secs_f64(self.seconds));
        write!(f, "{id:5} {state:10} {time:>9}  {}", self.command)?;
        if !self.summary.is_empty() {
            write!(f, "  | {}", self.summary)?;
        }
        if let Some(started) = &self.started {
            write!(f, "\n      started {started}")?;
        }
        if let Some(line) = &self.last_line {
            write!(f, "\n      last line: {line}")?;
        }
        Ok(())
    }
}

impl Event for Row {
    fn tone(&self) -> Tone {
        match self.state {
            "stuck" => Tone::Bad,
            "stopping" => Tone::Caution,
            _ => Tone::Plain,
        }
    }
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    for job in shell.session.jobs.listed() {
        shell.out().emit(&row(&job, arguments.long));
    }
    Ok(Status::OK)
}

fn row(job: &Job, long: bool) -> Row {
    let so_far = clock::now().saturating_duration_since(job.started);
    let (state, status, span) = match job.state() {
        State::Running => ("running", None, so_far),
        State::Stopping => ("stopping", None, so_far),
        State::Stuck => ("stuck", None, so_far),
        State::Done {
            status: Status::INTERRUPTED,
            after,
        } => ("stopped", None, after),
        State::Done { status, after } => ("done", Some(status.0), after),
    };
    let started = clock::wall() - so_far;
    let last_line = || {
        let (lines, _) = job.output.journal().lines_after(0);
        lines.last().map(|line| line.text.to_string())
    };
    Row {
        id: job.id,
        name: job.name.clone(),
        command: job.line.clone(),
        state,
        status,
        seconds: span.as_secs_f64(),
        summary: job.progress.summary(),
        listening: job
            .progress
            .listening()
            .iter()
            .map(|endpoint| endpoint.address().to_string())
            .collect(),
        started: long.then(|| started.format("%Y-%m-%d %H:%M:%S").to_string()),
        last_line: if long { last_line() } else { None },
    }
}
