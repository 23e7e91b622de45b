//! `ask`: a value from whoever runs the script.

use clap::{ArgMatches, CommandFactory, Parser};

use super::{Builtin, read};
use crate::shell::Shell;
use crate::shell::grammar::is_name;
use crate::tool::{Error, Example, Group, Manual, Status};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "ask",
        summary: "ask for a variable's value",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "ask HOST 'Which host? '",
                what: "the answer is $HOST",
            },
            Example {
                line: "ask --secret KEY 'Key: '",
                what: "without showing it",
            },
        ],
        statuses: &[(Status::NEGATIVE, "no answer: Ctrl-D, or the end of stdin")],
        command: Arguments::command,
    },
    run,
    waits: true,
};

#[derive(Parser)]
struct Arguments {
    /// The variable
    name: String,
    /// What to ask
    prompt: Option<String>,
    /// Don't show what is typed
    #[arg(long)]
    secret: bool,
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    let name = arguments.name;
    if !is_name(&name) {
        return Err(Error::Usage(format!(
            "'{name}' cannot be a variable's name"
        )));
    }
    let prompt = arguments.prompt.unwrap_or_else(|| format!("{name}: "));
    let instead = format!("give the value with 'set {name}=...'");
    let context = &shell.context;
    match context
        .input
        .ask(&context.cancel, &prompt, arguments.secret, &instead)?
    {
        Some(line) => {
            shell.scope().variables.insert(name, line);
            Ok(Status::OK)
        }
        None => Ok(Status::NEGATIVE),
    }
}
