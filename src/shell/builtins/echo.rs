//! `echo`: prints its words.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::output::Text;
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "echo",
        summary: "print words",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "echo hello",
                what: "print a line",
            },
            Example {
                line: "echo \"status $?\"",
                what: "with a value",
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
    /// Printed with a space between them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    shell.out().emit(&Text {
        text: arguments.words.join(" "),
    });
    Ok(Status::OK)
}
