//! `upper`: the classic first client and server. What is sent comes back with ASCII `a-z` as
//! `A-Z` and every other octet untouched, over TCP and UDP.
//!
//! The smallest tool, and the one to copy for a new one.

mod client;
mod event;
mod server;
mod sockets;
mod stream;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};

use crate::duration;
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "upper",
        summary: "serve or ask for upper case, over TCP and UDP",
        group: Group::Network,
        examples: &[
            Example {
                line: "upper --server",
                what: "serve on 127.0.0.1:13000",
            },
            Example {
                line: "upper 127.0.0.1 13000 hello",
                what: "ask over TCP: HELLO",
            },
            Example {
                line: "upper 127.0.0.1 13000 --udp hello",
                what: "ask over UDP",
            },
            Example {
                line: "upper 127.0.0.1 13000",
                what: "ask for lines until an empty one",
            },
        ],
        statuses: &[
            (
                Status::UNAVAILABLE,
                "nothing listens there, or the port is taken",
            ),
            (Status::TIMED_OUT, "no answer in time"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |matches| {
        if matches.get_flag("server") {
            Kind::Server
        } else {
            Kind::Foreground
        }
    },
};

#[derive(Parser)]
#[command(override_usage = "upper [OPTIONS] HOST PORT [TEXT]...\n       upper --server [OPTIONS]")]
struct Arguments {
    /// The server's name or address
    #[arg(required_unless_present = "server", value_hint = ValueHint::Hostname)]
    host: Option<String>,
    /// The server's port
    #[arg(required_unless_present = "server", id = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    peer_port: Option<u16>,
    /// What to send ('--' before it if it begins with a hyphen); without it, lines are asked for
    text: Vec<String>,
    /// Serve instead of asking
    #[arg(long, conflicts_with_all = ["host", "timeout"])]
    server: bool,
    /// Where to serve; 0 takes a free port
    #[arg(
        short = 'p',
        long = "port",
        id = "own_port",
        value_name = "PORT",
        default_value = "13000",
        requires = "server"
    )]
    own_port: u16,
    /// The address to serve on
    #[arg(short, long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into(), requires = "server")]
    bind: IpAddr,
    /// Only TCP
    #[arg(long)]
    tcp: bool,
    /// Only UDP
    #[arg(long, conflicts_with = "tcp")]
    udp: bool,
    /// How long to wait for the connection and for each answer
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse, default_value = "2")]
    timeout: Duration,
    /// Answers over UDP to each source, a second [default: 1000, and any number to this machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "server")]
    rate_limit: Option<u32>,
    /// Show each question and its answer as the server sees them
    #[arg(short, long, requires = "server")]
    verbose: bool,
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    match (&arguments.host, arguments.peer_port) {
        (Some(host), Some(port)) => client::run(context, &arguments, host, port),
        _ => server::run(context, &arguments),
    }
}
