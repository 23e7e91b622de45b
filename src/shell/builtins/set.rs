//! `set`: variables.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::output::Text;
use crate::shell::Shell;
use crate::shell::grammar::{is_name, quote};
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "set",
        summary: "set or list variables",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "set HOST=127.0.0.1; ping -c 1 $HOST",
                what: "a value for later",
            },
            Example {
                line: "set",
                what: "list them",
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
    /// NAME=VALUE; without any, the variables are listed
    #[arg(value_name = "NAME=VALUE", allow_hyphen_values = true)]
    assignments: Vec<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    if arguments.assignments.is_empty() {
        let variables = shell.scope().variables.clone();
        for (name, value) in variables {
            shell.out().emit(&Text {
                text: format!("set {name}={}", quote(&value)),
            });
        }
    }
    for assignment in &arguments.assignments {
        match assignment.split_once('=') {
            Some((name, value)) if is_name(name) => {
                shell
                    .scope()
                    .variables
                    .insert(name.to_owned(), value.to_owned());
            }
            _ => {
                let text = format!(
                    "'{assignment}' is not NAME=VALUE, with letters, digits and _ in the name"
                );
                return Err(Error::Usage(text));
            }
        }
    }
    Ok(Status::OK)
}
