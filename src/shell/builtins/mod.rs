//! The shell's own commands, a file each. Adding one is a file, a `mod` line and a row here.

mod alias;
mod ask;
mod bg;
mod echo;
mod exit;
mod expect;
mod fg;
mod help;
mod history;
mod jobs;
mod logs;
mod repeat;
mod set;
mod sleep;
mod source;
mod stop;
mod time;
mod timeout;
mod unset;
mod wait;

use clap::{ArgMatches, FromArgMatches};

use super::Shell;
use crate::tool::{Error, Manual, Status};

pub(crate) struct Builtin {
    pub(crate) manual: Manual,
    pub(crate) run: fn(&mut Shell, &ArgMatches) -> Result<Status, Error>,
    /// It may take long, so it gets a thread and can be stopped or sent to the background.
    pub(crate) waits: bool,
}

pub(crate) const TABLE: &[Builtin] = &[
    jobs::BUILTIN,
    stop::BUILTIN,
    wait::BUILTIN,
    fg::BUILTIN,
    bg::BUILTIN,
    logs::BUILTIN,
    source::BUILTIN,
    expect::BUILTIN,
    repeat::BUILTIN,
    timeout::BUILTIN,
    time::BUILTIN,
    sleep::BUILTIN,
    echo::BUILTIN,
    ask::BUILTIN,
    set::BUILTIN,
    unset::BUILTIN,
    alias::BUILTIN,
    history::BUILTIN,
    help::BUILTIN,
    exit::BUILTIN,
];

/// The arguments as the command's own type.
fn read<T: FromArgMatches>(matches: &ArgMatches) -> Result<T, Error> {
    T::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))
}
