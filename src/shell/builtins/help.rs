//! `help`: what there is, and how it is used.

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};

use super::{Builtin, read};
use crate::output::Text;
use crate::shell::{Shell, call, manual};
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "help",
        summary: "list commands, or explain one",
        group: Group::Shell,
        examples: &[
            Example {
                line: "help",
                what: "all commands",
            },
            Example {
                line: "help ping",
                what: "options, examples and exit statuses of one",
            },
        ],
        statuses: &[(Status::UNKNOWN_COMMAND, "there is no such command")],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    #[arg(value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    topic: Option<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let text = match arguments.topic {
        None => manual::overview(),
        Some(topic) => match call::find(&topic) {
            Some(row) => manual::of(row),
            None => {
                let status = Status::UNKNOWN_COMMAND;
                shell.out().error(
                    call::unknown(&topic, &shell.scope().alias_names()),
                    status.0,
                );
                return Ok(status);
            }
        },
    };
    shell.out().emit(&Text { text });
    Ok(Status::OK)
}
