//! `bg`: says that a job runs in the background. Ctrl-Z has moved it there, running.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::job::newest_running;
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "bg",
        summary: "show that a job goes on in the background",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "bg",
                what: "the newest; after Ctrl-Z it runs on by itself",
            },
            Example {
                line: "bg 2",
                what: "by number",
            },
        ],
        statuses: &[(Status::NEGATIVE, "there is no such job, or it has ended")],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    /// A number or a command's name
    #[arg(value_name = "JOB")]
    job: Option<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let job = newest_running(&shell.session.jobs.listed(), arguments.job)?;
    shell
        .out()
        .notice(format!("[{}] runs in the background: {}", job.id, job.line));
    Ok(Status::OK)
}
