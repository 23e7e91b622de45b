//! `alias`: own names for commands.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::output::Text;
use crate::shell::Shell;
use crate::shell::grammar::{self, quote};
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "alias",
        summary: "give a command with its options a name",
        group: Group::Shell,
        examples: &[
            Example {
                line: "alias p3='ping -c 3'; p3 127.0.0.1",
                what: "a short name",
            },
            Example {
                line: "alias",
                what: "list them",
            },
            Example {
                line: "alias --remove p3",
                what: "take one back",
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
    /// NAME='COMMAND ...'; NAME alone shows one, nothing lists all
    #[arg(value_name = "NAME=COMMAND")]
    definition: Option<String>,
    /// Forget this alias
    #[arg(long, value_name = "NAME", conflicts_with = "definition")]
    remove: Option<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    if let Some(name) = arguments.remove {
        let removed = shell.scope().aliases.remove(&name);
        return match removed {
            Some(_) => Ok(Status::OK),
            None => Err(Error::Negative(format!("no alias '{name}'"))),
        };
    }
    match arguments
        .definition
        .as_deref()
        .map(|text| (text, text.split_once('=')))
    {
        Some((_, Some((name, command)))) => define(shell, name, command)?,
        Some((name, None)) if shell.scope().aliases.contains_key(name) => {
            show(shell, |known| known == name);
        }
        Some((name, None)) => return Err(Error::Negative(format!("no alias '{name}'"))),
        None => show(shell, |_| true),
    }
    Ok(Status::OK)
}

fn define(shell: &Shell, name: &str, command: &str) -> Result<(), Error> {
    if name.is_empty() || quote(name) != name {
        return Err(Error::Usage(format!(
            "'{name}' cannot be an alias: it would need quotes"
        )));
    }
    let words = one_command(command).ok_or_else(|| {
        Error::Usage(format!(
            "'{command}' is not one command with fixed arguments"
        ))
    })?;
    shell.scope().aliases.insert(name.to_owned(), words);
    Ok(())
}

/// The words, where there are no operators and variables.
fn one_command(text: &str) -> Option<Vec<String>> {
    let lists = grammar::parse(text).ok()?;
    let [list] = lists.as_slice() else {
        return None;
    };
    if list.background || !list.rest.is_empty() {
        return None;
    }
    let words = list.first.words.iter();
    let words: Result<Vec<_>, _> = words
        .map(|word| grammar::expand(word, &|_| None, &[]))
        .collect();
    Some(words.ok()?.concat())
}

fn show(shell: &Shell, wanted: impl Fn(&str) -> bool) {
    let aliases = shell.scope().aliases.clone();
    for (name, words) in aliases.iter().filter(|(name, _)| wanted(name)) {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let command = quote(&quoted.join(" "));
        shell.out().emit(&Text {
            text: format!("alias {name}={command}"),
        });
    }
}
