//! `logs`: what a job printed, also after it ended.

use std::os::fd::AsFd;

use clap::{ArgMatches, CommandFactory, Parser};
use nix::poll::PollFlags;

use super::{Builtin, read};
use crate::job::{Job, select};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "logs",
        summary: "show what a job printed",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "logs 2",
                what: "its last 1,000 lines, also after it ended",
            },
            Example {
                line: "logs -f -n 5 2",
                what: "the last five, and then as they come",
            },
        ],
        statuses: &[(Status::NEGATIVE, "there is no such job")],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// A number or a command's name
    #[arg(value_name = "JOB")]
    job: String,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Go on until the job ends
    #[arg(short, long)]
    follow: bool,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let jobs = select(&shell.session.jobs.listed(), &[arguments.job])?;
    for job in &jobs {
        let (lines, next) = job.output.journal().lines_after(0);
        let skip = arguments
            .lines
            .map_or(0, |wanted| lines.len().saturating_sub(wanted));
        shell.out().copy(&lines[skip..]);
        if arguments.follow {
            follow(shell, job, next)?;
        }
    }
    Ok(Status::OK)
}

fn follow(shell: &Shell, job: &Job, mut next: u64) -> Result<(), Error> {
    let bell = job.follow()?;
    let _mute = job.output.journal().mute();
    loop {
        bell.clear();
        let ended = job.ended().is_some();
        let (lines, after) = job.output.journal().lines_after(next);
        shell.out().copy(&lines);
        next = after;
        if ended {
            return Ok(());
        }
        shell
            .context
            .cancel
            .wait(bell.as_fd(), PollFlags::POLLIN, None)?;
    }
}
