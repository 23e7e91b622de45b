//! From words to a command: the row they name, and their arguments read by clap.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, ValueHint};

use super::builtins::{self, Builtin};
use crate::tool::{Error, Group, Manual, Tool};
use crate::tools;

/// How far off a name may be to be suggested.
const SUGGESTION_DISTANCE_MAX: usize = 2;

#[derive(Clone, Copy)]
pub(crate) enum Row {
    Tool(&'static Tool),
    Builtin(&'static Builtin),
}

impl Row {
    pub(crate) fn manual(self) -> &'static Manual {
        match self {
            Row::Tool(tool) => &tool.manual,
            Row::Builtin(builtin) => &builtin.manual,
        }
    }
}

/// All commands: the tools first, then the built-ins.
pub(crate) fn rows() -> impl Iterator<Item = Row> {
    let tools = tools::TABLE.iter().map(|tool| Row::Tool(tool));
    tools.chain(builtins::TABLE.iter().map(Row::Builtin))
}

pub(crate) fn find(name: &str) -> Option<Row> {
    rows().find(|row| row.manual().name == name)
}

/// `unknown command 'pign' (did you mean 'ping'?)`
pub(crate) fn unknown(name: &str, aliases: &[String]) -> String {
    match nearest(name, aliases) {
        Some(near) => format!("unknown command '{name}' (did you mean '{near}'?)"),
        None => format!("unknown command '{name}'; 'help' lists them"),
    }
}

fn nearest(name: &str, aliases: &[String]) -> Option<String> {
    let names = rows()
        .map(|row| row.manual().name.to_owned())
        .chain(aliases.iter().cloned());
    names
        .map(|known| (strsim::osa_distance(name, &known), known))
        .filter(|(distance, known)| {
            *distance > 0 && *distance <= SUGGESTION_DISTANCE_MAX.min(known.len() - 1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

pub(crate) enum Parsed {
    Arguments(ArgMatches),
    /// The user asked for help; this is it.
    Help(String),
}

/// Reads `arguments`, the words after the command's name.
pub(crate) fn parse(row: Row, arguments: &[String]) -> Result<Parsed, Error> {
    match command(row)
        .no_binary_name(true)
        .try_get_matches_from(arguments)
    {
        Ok(matches) => Ok(Parsed::Arguments(matches)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Parsed::Help(error.to_string().trim_end().to_owned()))
        }
        Err(error) => Err(usage(row.manual().name, &error)),
    }
}

/// The row's clap command, with what all commands have and its help whole.
pub(crate) fn command(row: Row) -> clap::Command {
    let manual = row.manual();
    let mut command = (manual.command)()
        .name(manual.name)
        .bin_name(manual.name)
        .about(manual.summary)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .after_help(after_help(manual))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object per event"),
        );
    let has_own_log = command
        .get_arguments()
        .any(|own| own.get_long() == Some("log"));
    if is_job(row) && !has_own_log {
        command = command.arg(
            Arg::new("log")
                .long("log")
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .value_parser(clap::value_parser!(PathBuf))
                .help("Append all events to FILE too; kept below 10 MiB by renaming it"),
        );
    }
    command
}

/// What `--log` names, unless it is an option of the tool's own.
pub(crate) fn log_path(row: Row, matches: &ArgMatches) -> Option<&PathBuf> {
    let named = is_job(row).then(|| matches.try_get_one("log"));
    named?.ok().flatten()
}

/// Whether it gets a thread; the rest of the built-ins ends at once.
pub(crate) fn is_job(row: Row) -> bool {
    match row {
        Row::Tool(_) => true,
        Row::Builtin(builtin) => builtin.waits,
    }
}

fn after_help(manual: &Manual) -> String {
    let mut text = "Examples:\n".to_owned();
    let width = manual
        .examples
        .iter()
        .map(|example| example.line.len())
        .max()
        .unwrap_or(0);
    for example in manual.examples {
        text.push_str(&format!("  {:width$}   {}\n", example.line, example.what));
    }
    text.push_str("\nExit status:\n  0     done\n");
    for (status, meaning) in manual.statuses {
        text.push_str(&format!("  {:<5} {meaning}\n", status.0));
    }
    text.push_str("  2     wrong usage");
    if manual.group == Group::Network {
        text.push_str("\n  130   stopped by Ctrl-C or 'stop'");
    }
    text
}

/// clap's message on one line: what is wrong and what is near it, without the usage.
fn usage(name: &str, error: &clap::Error) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let told: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Error::Usage(format!(
        "{}; see 'help {name}'",
        told.join("; ").replace(":; ", ": ")
    ))
}
