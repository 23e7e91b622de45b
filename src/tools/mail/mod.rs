//! `mail`: an SMTP client (RFC 5321) that explains itself, and for labs a server that catches mail.
//!
//! What to say to a server is the [`dialogue`]'s business, which knows no sockets; the [`courier`]
//! has those. A [`message`] is built from what [`compose`] found in the options or asked for.

mod addressees;
mod addresses;
mod arguments;
mod attempts;
mod broken;
mod compose;
mod counts;
mod courier;
mod dane;
mod destination;
mod dialogue;
mod direct;
mod drafts;
mod exchangers;
mod files;
mod finished;
mod letter;
mod line;
mod message;
mod netrc;
mod outbox;
mod password;
mod preview;
mod recorder;
mod report;
mod route;
mod sasl;
mod send;
mod side_by_side;
mod sink;

use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::duration;
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "mail",
        summary: "send mail, look where it goes, catch it in a lab",
        group: Group::Network,
        examples: &[
            Example {
                line: "mail --server mail.example.org --user ann --from ann@example.org --to bob@example.org --subject Hello --body Hi",
                what: "over TLS, with a password that is asked for",
            },
            Example {
                line: "mail --server 127.0.0.1:2525 --tls none --from a@lab.test --to b@lab.test --subject Hello --body Hi",
                what: "to the sink below, in clear",
            },
            Example {
                line: "mail --mx --from ann@example.org --to bob@example.net --subject Hello --body Hi",
                what: "straight to the mail exchangers of example.net",
            },
            Example {
                line: "mail --route bob@example.net",
                what: "how far a message would come, at each of these exchangers",
            },
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
            (Status(3), "some recipients were accepted"),
            (
                Status(40),
                "4N: not now, 5N: never, at stage N: 0 dns 1 connect 2 tls 3 greeting 4 ehlo 5 auth 6 mail 7 rcpt 8 data 9 final dot",
            ),
            (
                Status::UNAVAILABLE,
                "the sink's port is taken, or a password command or name server is not to be had",
            ),
            (
                Status::NOT_PERMITTED,
                "this user may not use the sink's port, or others may read the password's file",
            ),
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
#[command(
    override_usage = "mail --server HOST[:PORT] --from MAILBOX --to MAILBOXES [OPTIONS]\n       mail --mx --from MAILBOX --to MAILBOXES [OPTIONS]\n       mail --route ADDRESS [OPTIONS]\n       mail --sink [OPTIONS]"
)]
struct Arguments {
    #[command(flatten)]
    sending: arguments::Arguments,
    /// How long to wait for each answer [default: 30s, with --sink 5m; 10m at least for the last]
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    timeout: Option<Duration>,
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
    if arguments.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Error::Usage(
            "--timeout 0 leaves no time to answer".to_owned(),
        ));
    }
    if let Some(to) = &arguments.sending.route {
        let timeout = arguments.timeout.unwrap_or(send::TIMEOUT);
        return route::run(context, &arguments.sending, timeout, to);
    }
    match arguments.sink {
        true => sink::run(context, &arguments.catching, arguments.timeout),
        false => send::run(context, &arguments.sending, arguments.timeout),
    }
}
