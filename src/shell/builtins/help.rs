//! `help`: what there is, and how it is used.

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};

use super::{Builtin, read};
use crate::output::Text;
use crate::shell::Shell;
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
    match shell.help(arguments.topic.as_deref()) {
        Ok(text) => {
            shell.out().emit(&Text { text });
            Ok(Status::OK)
        }
        Err(text) => {
            let status = Status::UNKNOWN_COMMAND;
            shell.out().error(text, status.0);
            Ok(status)
        }
    }
}
