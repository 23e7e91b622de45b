//! `exit`: leaves the shell or the script.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "exit",
        summary: "stop all jobs and leave",
        group: Group::Shell,
        examples: &[
            Example {
                line: "exit",
                what: "asks once when jobs still run",
            },
            Example {
                line: "exit --force",
                what: "does not ask",
            },
            Example {
                line: "exit 3",
                what: "with a status of its own",
            },
        ],
        statuses: &[(
            Status::NEGATIVE,
            "or any other: STATUS, else the last command's",
        )],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    /// The exit status; without it the last command's
    status: Option<u8>,
    /// Don't ask, whatever runs
    #[arg(short, long)]
    force: bool,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let status = arguments.status.map_or(shell.status, Status);
    shell.exit = Some(status);
    shell.leaves_anyway = arguments.force;
    Ok(status)
}
