//! `source`: runs a script in this shell.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};

use super::{Builtin, read};
use crate::shell::{Origin, SOURCES_MAX, Shell, Source};
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "source",
        summary: "run a script, with its variables kept",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "source scripts/hello.nsh",
                what: "run a script",
            },
            Example {
                line: "source lab.nsh 127.0.0.1",
                what: "the script sees it as $1",
            },
        ],
        statuses: &[(
            Status::NEGATIVE,
            "or any other: of the command that ended the script",
        )],
        command: Arguments::command,
    },
    run,
    waits: false,
};

#[derive(Parser)]
struct Arguments {
    /// Looked for beside the script that names it, here, and in scripts/
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// $1, $2, ... of the script
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let source = Source::open(&locate(shell, &arguments.file))?;
    if shell
        .sources()
        .any(|outer| is_file(outer) && outer.origin == source.origin)
    {
        let text = format!(
            "'{}' is being run already; it cannot source itself",
            source.name
        );
        return Err(Error::Usage(shell.with_sources(text)));
    }
    if shell.sources().filter(|outer| is_file(outer)).count() >= SOURCES_MAX {
        let text = format!("more than {SOURCES_MAX} scripts inside each other");
        return Err(Error::Usage(shell.with_sources(text)));
    }
    Ok(shell.run_source(source, &arguments.arguments))
}

fn is_file(source: &Source) -> bool {
    matches!(source.origin, Origin::File(_))
}

/// The first place where the file is; where it is nowhere, the error names it as it was given.
fn locate(shell: &Shell, file: &Path) -> PathBuf {
    let beside = shell.sources().filter_map(|source| match &source.origin {
        Origin::File(path) => path
            .parent()
            .map(|folder| (folder.to_owned(), &source.name)),
        _ => None,
    });
    // The name stays as short as the one that led here.
    let beside = beside
        .last()
        .map(|(_, name)| Path::new(name).with_file_name(file));
    let places = [
        beside,
        Some(file.to_owned()),
        Some(Path::new("scripts").join(file)),
    ];
    let mut places = places.into_iter().flatten();
    places
        .find(|place| place.exists())
        .unwrap_or_else(|| file.to_owned())
}
