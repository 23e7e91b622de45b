//! `history`: the lines typed so far.

use std::fmt;
use std::sync::PoisonError;

use clap::{ArgMatches, CommandFactory, Parser};
use serde::Serialize;

use super::{Builtin, read};
use crate::output::Event;
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "history",
        summary: "show the lines typed so far",
        group: Group::Shell,
        examples: &[
            Example {
                line: "history -n 20",
                what: "the last twenty",
            },
            Example {
                line: "history -n 5 --script",
                what: "as they could stand in a script",
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
    /// Only the last N
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Without numbers
    #[arg(long)]
    script: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "history")]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<usize>,
    line: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{number:5}  {}", self.line),
            None => f.write_str(&self.line),
        }
    }
}

impl Event for Entry {}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let history = shell
        .session
        .history
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let lines = history.lines.clone();
    drop(history);
    let skip = arguments
        .lines
        .map_or(0, |wanted| lines.len().saturating_sub(wanted));
    for (index, line) in lines.into_iter().enumerate().skip(skip) {
        let number = (!arguments.script).then_some(index + 1);
        shell.out().emit(&Entry { number, line });
    }
    Ok(Status::OK)
}
