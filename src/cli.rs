//! `nsh`, `nsh -c LINE`, `nsh FILE [ARG...]` and the global options.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueHint};

use crate::output::Choice;
use crate::session::{self, Face, Options};
use crate::shell;
use crate::tool::Status;

/// An interactive network shell: network tools and lab servers as jobs, sessions as scripts.
///
/// Without LINE or FILE commands are read from the terminal, or from stdin where that is a
/// pipe. 'nsh -c help' lists the commands.
#[derive(Parser)]
#[command(name = "nsh", version)]
struct Cli {
    /// Run these commands and end
    #[arg(short = 'c', value_name = "LINE", id = "command")]
    command: Option<String>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
    /// Colour; auto follows NO_COLOR, CLICOLOR_FORCE and whether there is a terminal
    #[arg(
        long,
        visible_alias = "colour",
        value_name = "WHEN",
        default_value = "auto"
    )]
    color: Choice,
    /// Leave out notices; results and errors stay
    #[arg(short, long)]
    quiet: bool,
    /// Go on after a command of a script has failed
    #[arg(short, long)]
    keep_going: bool,
    /// Don't read the rc file
    #[arg(long)]
    norc: bool,
    /// Read this at the prompt's start instead of $XDG_CONFIG_HOME/nsh/nshrc
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "norc")]
    rcfile: Option<PathBuf>,
    /// Print the man page, for `nsh --man | man -l -`
    #[arg(long)]
    man: bool,
    /// Print a completion script for another shell
    #[arg(long, value_name = "SHELL")]
    completions: Option<clap_complete::Shell>,
    /// A script to run ('-' is stdin), and its arguments: $1, $2, ...
    #[arg(
        value_name = "FILE [ARG]",
        value_hint = ValueHint::FilePath,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

pub(crate) fn run() -> Status {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Status::USAGE
            } else {
                Status::OK
            };
        }
    };
    // Options behind FILE are the script's; what stands in FILE's place and is none is an error.
    if let Some(word) = cli
        .words
        .first()
        .filter(|word| word.len() > 1 && word.starts_with('-'))
    {
        let text = format!("unexpected argument '{word}' found");
        let _ = Cli::command()
            .error(ErrorKind::UnknownArgument, text)
            .print();
        return Status::USAGE;
    }
    if cli.man {
        return match shell::man_page(Cli::command()) {
            Ok(page) => print(&page),
            Err(_) => Status::NEGATIVE,
        };
    }
    if let Some(target) = cli.completions {
        return print(&shell::completions(Cli::command(), target));
    }
    let options = Options {
        json: cli.json,
        colour: cli.color,
        quiet: cli.quiet,
        keep_going: cli.keep_going,
    };
    session::run(face(cli), &options)
}

fn face(cli: Cli) -> Face {
    let mut words = cli.words;
    if let Some(line) = cli.command {
        return Face::Line {
            line,
            arguments: words,
        };
    }
    if words.is_empty() && io::stdin().is_terminal() {
        let rc_file = if cli.norc {
            None
        } else {
            cli.rcfile.or_else(default_rc_file)
        };
        return Face::Prompt { rc_file };
    }
    let arguments = words.split_off(words.len().min(1));
    match words.pop() {
        Some(file) if file != "-" => Face::Script {
            file: PathBuf::from(file),
            arguments,
        },
        Some(_) | None => Face::Stdin { arguments },
    }
}

/// `$XDG_CONFIG_HOME/nsh/nshrc`, where there is one.
fn default_rc_file() -> Option<PathBuf> {
    let folder = match std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
        Some(config) => PathBuf::from(config),
        None => std::env::home_dir()?.join(".config"),
    };
    Some(folder.join("nsh/nshrc")).filter(|path| path.is_file())
}

fn print(octets: &[u8]) -> Status {
    match io::stdout().write_all(octets) {
        Ok(()) => Status::OK,
        Err(_) => Status::NEGATIVE,
    }
}
