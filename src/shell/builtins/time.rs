//! `time`: how long a command takes.

use std::fmt;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};
use serde::Serialize;

use super::{Builtin, read};
use crate::output::Event;
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "time",
        summary: "tell how long a command takes",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "time sleep 0.1",
                what: "a tenth of a second and little more",
            },
            Example {
                line: "time ping -c 1 127.0.0.1",
                what: "a whole ping",
            },
        ],
        statuses: &[(Status::NEGATIVE, "or any other: the command's status")],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_hint = ValueHint::CommandWithArguments
    )]
    command: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "time")]
struct Took {
    seconds: f64,
    status: u8,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "took {}",
            duration::human(Duration::from_secs_f64(self.seconds))
        )
    }
}

impl Event for Took {}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let started = clock::now();
    let status = shell.run_words(&arguments.command);
    let seconds = clock::now().duration_since(started).as_secs_f64();
    shell.out().tell(&Took {
        seconds,
        status: status.0,
    });
    Ok(status)
}
