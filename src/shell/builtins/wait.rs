//! `wait`: until jobs have ended.

use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::cancel::Wake;
use crate::job::{JobTable, select};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "wait",
        summary: "wait until jobs have ended",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "wait 3",
                what: "its status is job 3's",
            },
            Example {
                line: "wait all --timeout 5",
                what: "five seconds at most",
            },
            Example {
                line: "wait --any all",
                what: "until the first ends",
            },
        ],
        statuses: &[
            (
                Status::NEGATIVE,
                "there is no such job; else the last job's status",
            ),
            (Status::TIMED_OUT, "the time was up"),
        ],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// A number, a range (3-5), a command's name, or all
    #[arg(value_name = "JOB", default_value = "all")]
    jobs: Vec<String>,
    /// Seconds, or with a unit: 200ms, 3s, 5m
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Until one of them has ended
    #[arg(long)]
    any: bool,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let mut jobs = select(&shell.session.jobs.listed(), &arguments.jobs)?;
    // In the background it would wait for itself; and of all, earlier ends are no news.
    let (own, all) = (shell.out().journal().job, arguments.jobs == ["all"]);
    jobs.retain(|job| Some(job.id) != own && !(all && job.ended().is_some()));
    let deadline = arguments.timeout.map(|span| clock::now() + span);
    let done = || {
        let mut ended = jobs.iter().map(|job| job.ended().is_some());
        jobs.is_empty()
            || if arguments.any {
                ended.any(|ended| ended)
            } else {
                ended.all(|ended| ended)
            }
    };
    if JobTable::wait(&jobs, &shell.context.cancel, deadline, done)? == Wake::TimedOut {
        let still = jobs.iter().filter(|job| job.ended().is_none());
        let names: Vec<String> = still
            .map(|job| format!("[{}] {}", job.id, job.line))
            .collect();
        return Err(Error::TimedOut(format!(
            "still running: {}",
            names.join(", ")
        )));
    }
    let mut ended = jobs.iter().filter_map(|job| job.ended());
    Ok(if arguments.any {
        ended.min_by_key(|status| status.0)
    } else {
        ended.next_back()
    }
    .unwrap_or(Status::OK))
}
