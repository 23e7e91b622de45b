//! `mail`: SMTP (RFC 5321) for labs. So far it catches mail.

mod sink;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "mail",
        summary: "send mail, look where it goes, catch it in a lab",
        group: Group::Network,
        examples: &[
            Example {
                line: "mail --sink",
                what: "accept all mail on 127.0.0.1:2525, and keep it in ./sink",
            },
            Example {
                line: "mail --sink -v --no-keep",
                what: "watch what mail programs say",
            },
            Example {
                line: "mail --sink --tls-cert cert.pem --tls-key key.pem",
                what: "offer STARTTLS",
            },
        ],
        statuses: &[
            (Status::UNAVAILABLE, "the port is taken"),
            (Status::NOT_PERMITTED, "this user may not use the port"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |matches| {
        if matches.get_flag("sink") {
            Kind::Server
        } else {
            Kind::Foreground
        }
    },
};

#[derive(Parser)]
struct Arguments {
    /// Accept all mail, show it and keep it, and deliver nothing; only mail to refuse@, later@,
    /// full@ and reject@ any domain is refused, each in another way
    #[arg(long)]
    sink: bool,
    #[command(flatten)]
    catching: sink::Arguments,
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    match arguments.sink {
        true => sink::run(context, &arguments.catching),
        false => Err(Error::Usage(
            "only --sink is there so far, which catches mail: mail --sink".to_owned(),
        )),
    }
}
