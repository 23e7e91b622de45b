//! `stop`: ends jobs.

use std::fmt;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser};
use serde::Serialize;

use super::{Builtin, read};
use crate::job::{Job, JobTable, State, select};
use crate::output::{Event, Tone};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "stop",
        summary: "end jobs",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "stop 1 3-5",
                what: "by number",
            },
            Example {
                line: "stop ping",
                what: "all jobs of a command",
            },
            Example {
                line: "stop all",
                what: "everything",
            },
        ],
        statuses: &[(
            Status::NEGATIVE,
            "there is no such job, or one did not end in 2 s",
        )],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// A number, a range (3-5), a command's name, or all
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "stopped")]
struct Stopped {
    id: u32,
    command: String,
    /// It did not end in time and is left alone.
    stuck: bool,
    ran_seconds: f64,
    stop_seconds: f64,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let human = |seconds| duration::human(Duration::from_secs_f64(seconds));
        let Stopped { id, command, .. } = self;
        if self.stuck {
            let waited = human(self.stop_seconds);
            return write!(
                f,
                "[{id}] does not end, left alone after {waited}: {command}"
            );
        }
        let ran = human(self.ran_seconds);
        write!(f, "[{id}] stopped after {ran}: {command}")
    }
}

impl Event for Stopped {
    fn tone(&self) -> Tone {
        if self.stuck { Tone::Bad } else { Tone::Plain }
    }
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let mut jobs = select(&shell.session.jobs.listed(), &arguments.jobs)?;
    let own = shell.out().journal().job;
    jobs.retain(|job| job.ended().is_none() && Some(job.id) != own);
    let began = clock::now();
    JobTable::stop(&jobs, &shell.context.cancel, |waiting| {
        shell.out().notice(format!("waiting for {waiting} to end"));
    })?;
    let mut status = Status::OK;
    for job in &jobs {
        let stopped = stopped(job, clock::now().duration_since(began));
        if stopped.stuck {
            status = Status::NEGATIVE;
        }
        shell.out().tell(&stopped);
    }
    Ok(status)
}

fn stopped(job: &Job, stopping: Duration) -> Stopped {
    let (stuck, ran) = match job.state() {
        State::Done { after, .. } => (false, after),
        _ => (true, clock::now().saturating_duration_since(job.started)),
    };
    Stopped {
        id: job.id,
        command: job.line.clone(),
        stuck,
        ran_seconds: ran.as_secs_f64(),
        stop_seconds: stopping.as_secs_f64(),
    }
}
