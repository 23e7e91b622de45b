//! `get`: fetches a URL over HTTP and HTTPS, directly or through a proxy.

mod body;
mod fetch;
mod report;
mod save;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};

use crate::duration;
use crate::http::head::{is_token, is_value_octet};
use crate::tool::{Context, Error, Example, Group, Kind, Manual, Status, Tool};

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "get",
        summary: "fetch a URL over HTTP or HTTPS",
        group: Group::Network,
        examples: &[
            Example {
                line: "get http://127.0.0.1:8080/",
                what: "the body to stdout",
            },
            Example {
                line: "get localhost:8080/big.iso -o big.iso --continue",
                what: "into a file, going on where it broke off",
            },
            Example {
                line: "get -v --via 127.0.0.1:8888 http://example.com/",
                what: "through a proxy, with heads and times",
            },
            Example {
                line: "get --head --expect 404 localhost:8080/nowhere",
                what: "check a status",
            },
            Example {
                line: "get -d 'a=1&b=2' localhost:8080/form",
                what: "POST",
            },
        ],
        statuses: &[
            (
                Status::NEGATIVE,
                "the answer is 4xx or 5xx, or not what --expect wants",
            ),
            (
                Status::UNAVAILABLE,
                "cannot resolve or connect, or the answer broke off",
            ),
            (Status::TIMED_OUT, "no answer in time"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |_| Kind::Foreground,
};

#[derive(Parser)]
struct Arguments {
    /// http:// where there is no scheme
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    /// Through this HTTP proxy: the request names the whole URL, or CONNECT opens a tunnel
    #[arg(long, value_name = "HOST:PORT")]
    via: Option<String>,
    /// The body goes into this file, which is there once it is complete
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Go on where an earlier '-o FILE --continue' broke off
    #[arg(long = "continue", requires = "output")]
    resume: bool,
    /// Only the head of the answer (HEAD)
    #[arg(long, conflicts_with_all = ["data", "output", "method"])]
    head: bool,
    /// The method; without it GET, or POST with -d
    #[arg(short = 'X', long, value_parser = parse_method)]
    method: Option<String>,
    /// A field of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_field)]
    fields: Vec<(String, String)>,
    /// Send this, or the content of @FILE
    #[arg(short, long, value_name = "DATA|@FILE")]
    data: Option<String>,
    /// Believe this certificate authority (PEM) too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// Believe any certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Follow redirects, ten at most
    #[arg(short = 'L', long)]
    location: bool,
    /// Succeed with this status and no other
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    expect: Option<u16>,
    /// How long to wait for a connection, and for each further part of the answer
    #[arg(short, long, value_name = "SPAN", value_parser = duration::parse, default_value = "30")]
    timeout: Duration,
    /// Show the heads of request and answer, and how long each step took
    #[arg(short, long)]
    verbose: bool,
}

impl Arguments {
    fn method(&self) -> &str {
        match &self.method {
            Some(method) => method,
            None if self.head => "HEAD",
            None if self.data.is_some() => "POST",
            None => "GET",
        }
    }
}

fn parse_method(text: &str) -> Result<String, &'static str> {
    match is_token(text.as_bytes()) && text != "CONNECT" {
        true => Ok(text.to_owned()),
        false => Err("a method is a word like PUT; for CONNECT there is --via"),
    }
}

fn parse_field(text: &str) -> Result<(String, String), &'static str> {
    const OWN: [&str; 3] = ["connection", "content-length", "transfer-encoding"];
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    let value = value.trim();
    if !is_token(name.as_bytes()) || !value.bytes().all(is_value_octet) {
        return Err(
            "a name of letters, digits and hyphens, and one line without control characters",
        );
    }
    match OWN.contains(&name.to_ascii_lowercase().as_str()) {
        true => Err("that field says how the request is sent, which get decides"),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    fetch::run(context, &arguments)
}
