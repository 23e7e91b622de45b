//! `fg`: a job back to the foreground.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::job::{Job, newest_running};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "fg",
        summary: "bring a job to the foreground",
        group: Group::Jobs,
        examples: &[
            Example {
                line: "fg",
                what: "the newest",
            },
            Example {
                line: "fg 2",
                what: "Ctrl-C then ends it, Ctrl-Z sends it back",
            },
        ],
        statuses: &[(
            Status::NEGATIVE,
            "there is no such job; else the job's status",
        )],
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
    shell.hold_again(&job)
}

impl Shell {
    fn hold_again(&mut self, job: &std::sync::Arc<Job>) -> Result<Status, Error> {
        if !self.holds_terminal() {
            let text = "only the prompt and its scripts have a foreground; use 'wait' here";
            return Err(Error::Usage(text.to_owned()));
        }
        self.out().notice(job.line.clone());
        job.set_foreground(true);
        self.hold(job)
    }
}
