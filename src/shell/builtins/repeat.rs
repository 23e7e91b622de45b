//! `repeat`: runs a command again and again.

use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "repeat",
        summary: "run a command again and again",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "repeat -n 3 echo hi",
                what: "three times",
            },
            Example {
                line: "repeat -n 60 -d 1s --until-ok ping -c 1 -t 0.2 127.0.0.1",
                what: "until a host answers, a minute at most",
            },
        ],
        statuses: &[(Status::NEGATIVE, "or any other: the last run's status")],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// How many times; without it until stopped
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Wait between the runs
    #[arg(short, long, value_parser = duration::parse, default_value = "0")]
    delay: Duration,
    /// End at the first run with status 0
    #[arg(long)]
    until_ok: bool,
    /// End at the first run with another status
    #[arg(long, conflicts_with = "until_ok")]
    while_ok: bool,
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
    let mut status = Status::OK;
    let mut done = 0;
    while arguments.count.is_none_or(|count| done < count) {
        if done > 0 {
            shell
                .context
                .cancel
                .sleep_until(clock::now() + arguments.delay)?;
        }
        status = shell.run_words(&arguments.command);
        done += 1;
        shell
            .context
            .summarize(format!("{done} runs, last status {}", status.0));
        if shell.context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let hopeless = matches!(status, Status::USAGE | Status::UNKNOWN_COMMAND);
        let ends =
            (arguments.until_ok && status.is_ok()) || (arguments.while_ok && !status.is_ok());
        if hopeless || ends || shell.exit.is_some() {
            break;
        }
    }
    Ok(status)
}
