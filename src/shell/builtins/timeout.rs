//! `timeout`: ends a command that takes too long.

use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "timeout",
        summary: "end a command that takes too long",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "timeout 3s ping -c 2 127.0.0.1",
                what: "three seconds at most",
            },
            Example {
                line: "timeout 200ms sleep 10",
                what: "ends with status 124",
            },
        ],
        statuses: &[(
            Status::TIMED_OUT,
            "the time was up; else the command's status",
        )],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// Seconds, or with a unit: 200ms, 3s, 5m
    #[arg(value_parser = duration::parse)]
    span: Duration,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_hint = ValueHint::CommandWithArguments
    )]
    command: Vec<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let deadline = clock::now() + arguments.span;
    let out = shell.out().clone();
    shell.run_words_until(&arguments.command, Some(deadline), out)
}
