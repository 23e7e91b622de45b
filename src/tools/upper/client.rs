//! Asks a server, and explains why it does not answer.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Arguments;
use crate::clock;
use crate::net::resolve::{Family, resolve};
use crate::net::tcp::{self, Connection};
use crate::net::{self, udp};
use crate::output::{self, Printable};
use crate::tool::{Context, Error, Status};

/// A longer line of an answer is shown in pieces.
const LINE_OCTETS_MAX: usize = 16 << 10;

#[derive(Serialize)]
#[serde(tag = "event", rename = "answer")]
struct Answer {
    text: String,
    milliseconds: f64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl output::Event for Answer {}

enum Link {
    Tcp(Connection),
    Udp(UdpSocket),
}

struct Client<'a> {
    context: &'a Context,
    peer: SocketAddr,
    timeout: Duration,
    link: Link,
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    host: &str,
    port: u16,
) -> Result<Status, Error> {
    let peer = resolve(host, port, Family::Any, &context.cancel)?[0];
    let deadline = clock::now() + arguments.timeout;
    let link = if arguments.udp {
        Link::Udp(udp::connect(peer)?)
    } else {
        let connected = tcp::connect(peer, deadline, &context.cancel);
        Link::Tcp(connected.map_err(|error| explain(error, peer))?)
    };
    let mut client = Client {
        context,
        peer,
        timeout: arguments.timeout,
        link,
    };
    if !arguments.text.is_empty() {
        client.ask(&arguments.text.join(" "))?;
        return Ok(Status::OK);
    }
    while let Some(line) = client.next_line()? {
        client.ask(&line)?;
    }
    Ok(Status::OK)
}

impl Client<'_> {
    /// `None` at an empty line or the end.
    fn next_line(&self) -> Result<Option<String>, Error> {
        let instead = "give TEXT behind the port";
        let line = self
            .context
            .input
            .ask(&self.context.cancel, "> ", false, instead)?;
        Ok(line.filter(|line| !line.is_empty()))
    }

    fn ask(&mut self, text: &str) -> Result<(), Error> {
        let asked = clock::now();
        let deadline = asked + self.timeout;
        let (context, peer) = (self.context, self.peer);
        let asking = match &mut self.link {
            Link::Tcp(connection) => ask_tcp(context, connection, peer, text, deadline),
            Link::Udp(socket) => ask_udp(context, socket, peer, text, deadline),
        };
        asking.map_err(|error| explain(error, peer))
    }
}

/// Sends the lines of `text` and takes as many lines back.
fn ask_tcp(
    context: &Context,
    connection: &mut Connection,
    peer: SocketAddr,
    text: &str,
    deadline: Instant,
) -> Result<(), net::Error> {
    let asked = clock::now();
    connection.write_all(format!("{text}\n").as_bytes(), deadline)?;
    let mut missing = 1 + text.matches('\n').count();
    let mut waiting = Vec::new();
    let mut buffer = [0; LINE_OCTETS_MAX];
    while missing > 0 {
        if clock::now() > deadline {
            let what = "the server sends and sends, but no end of the line".to_owned();
            return Err(net::Error::TimedOut(what));
        }
        let count = connection.read(&mut buffer, deadline)?;
        waiting.extend_from_slice(&buffer[..count]);
        while let Some(end) = line_end(&waiting, count == 0) {
            let rest = waiting.split_off(end);
            let line = std::mem::replace(&mut waiting, rest);
            missing = missing.saturating_sub(usize::from(line.ends_with(b"\n")));
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            context.out.emit(&answer(line, asked));
        }
        if count == 0 && missing > 0 {
            return Err(net::Error::Closed(peer));
        }
    }
    Ok(())
}

/// Where the first line ends, its line feed included.
fn line_end(octets: &[u8], ended: bool) -> Option<usize> {
    let newline = octets.iter().position(|octet| *octet == b'\n');
    let cut = ended || octets.len() >= LINE_OCTETS_MAX;
    newline
        .map(|at| at + 1)
        .or((cut && !octets.is_empty()).then_some(octets.len()))
}

fn ask_udp(
    context: &Context,
    socket: &UdpSocket,
    peer: SocketAddr,
    text: &str,
    deadline: Instant,
) -> Result<(), net::Error> {
    let asked = clock::now();
    let mut buffer = vec![0; udp::PAYLOAD_OCTETS_MAX];
    let cancel = &context.cancel;
    let got = udp::exchange(socket, peer, text.as_bytes(), &mut buffer, deadline, cancel)?;
    context.out.emit(&answer(got, asked));
    Ok(())
}

fn answer(octets: &[u8], asked: Instant) -> Answer {
    let milliseconds = clock::now().duration_since(asked).as_secs_f64() * 1e3;
    Answer {
        text: Printable(octets).to_string(),
        milliseconds,
    }
}

/// With what to do about it.
fn explain(error: net::Error, peer: SocketAddr) -> Error {
    let advice = match error {
        net::Error::Refused(_) => "start it with",
        net::Error::PortUnreachable(_) => "start it, or mend the port, with",
        net::Error::NoDatagram(_) => "if it is not running, start it with",
        _ => return error.into(),
    };
    let server = net::starting_line("upper --server", peer);
    match Error::from(error) {
        Error::TimedOut(text) => Error::TimedOut(format!("{text}; {advice} {server}")),
        error => Error::Unavailable(format!("{error}; {advice} {server}")),
    }
}
