//! `sleep`: waits.

use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "sleep",
        summary: "wait for a time span",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "sleep 0.5",
                what: "half a second",
            },
            Example {
                line: "sleep 200ms",
                what: "with a unit: us ms s m h d",
            },
        ],
        statuses: &[],
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
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    shell
        .context
        .cancel
        .sleep_until(clock::now() + arguments.span)?;
    Ok(Status::OK)
}
