//! `unset`: forgets variables.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "unset",
        summary: "forget variables",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "unset HOST",
                what: "as if it had never been set",
            },
            Example {
                line: "set A=1 B=2; unset A B",
                what: "several",
            },
        ],
        statuses: &[],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    for name in &arguments.names {
        shell.scope().variables.remove(name);
    }
    Ok(Status::OK)
}
