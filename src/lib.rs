//! nsh, an interactive network shell.
//!
//! A line becomes words, a call, a job, packets; replies become events, and events become
//! lines:
//!
//! ```text
//! "ping -c 3 $host &"          shell: prompt, script or -c   a line of text
//!   -> words, operators        shell::grammar                quotes and $host resolved
//!   -> a row, its arguments    shell::call                   looked up in the tables, read by clap
//!   -> Job 4, thread ping#4    job                           owns a Context: out, input, cancel
//!   -> Step::Send(1)           tools::ping::probes           pure: what to do at this instant
//!   -> octets                  wire::icmp                    pure: how it looks on the wire
//!   -> the network             net::icmp                     the system calls
//!   <- octets, peer, stamps    net -> wire -> probes         back up the same steps
//!   -> Event::Reply            tools::ping                   facts, not text
//!   -> one line                output                        "64 bytes from ..." or {"event":"reply",...}
//!   -> Status                  job -> shell                  $?, jobs, exit status
//! ```
//!
//! What holds everywhere:
//!
//! - Imports point one way: `cli -> session -> shell -> job, tools -> tool -> output, input,
//!   cancel, clock`, and `tools -> web, path, http -> net -> cancel`, `tools, path -> wire`.
//!   `wire`, `measure` and all of `http` but its client know no sockets, clock or threads. No
//!   tool imports another; what `ping` and `trace` share of probing a path hop by hop is `path`,
//!   what `serve`, `proxy` and `get` share of the protocol is `http`, and what `serve` and
//!   `proxy` share of being a server of pages (log, look, passwords) is `web`, where `mail` finds
//!   its certificate, too. What keeps `upper` and `udpping` from being misused is `echo`.
//! - Every wait of a job goes through `cancel`, so that `stop` ends it within milliseconds.
//! - Only `output` and the line editor write to the terminal.
//! - `unsafe` is denied everywhere but in `net::option`.
//! - Nothing that a peer sends can panic, grow without a named limit, or steer the terminal.

mod cancel;
mod cause;
mod cli;
mod clock;
mod duration;
mod echo;
mod home;
mod http;
mod input;
mod job;
mod measure;
mod net;
mod outcome;
mod output;
mod path;
mod session;
mod shell;
mod tool;
mod tools;
mod web;
pub mod wire;

use std::process::ExitCode;

/// The whole program; `main` is only this.
pub fn run() -> ExitCode {
    ExitCode::from(cli::run().0)
}
