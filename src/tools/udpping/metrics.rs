//! A monitor's figures for those who collect figures, in the OpenMetrics text format 1.0.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::roster::Roster;
use super::sender::{Sender, State};
use super::table::word;
use crate::cancel::Cancel;
use crate::clock;
use crate::http::head::parse_request;
use crate::net::peer::Peer;
use crate::net::{self, accept, tcp};
use crate::tool::{Context, Endpoint, Error};

/// One asks after the other, so nobody may take long.
const PATIENCE: Duration = Duration::from_secs(2);
const HEAD_OCTETS_MAX: usize = 8 << 10;

/// Answers until the job is stopped; where.
pub(super) fn serve(
    context: &Context,
    address: SocketAddr,
    text: impl Fn() -> String + Send + 'static,
) -> Result<SocketAddr, Error> {
    let listener = tcp::listen(address)
        .map_err(|error| context.with_neighbour(error, Endpoint::Tcp(address)))?;
    let unusable = |error| {
        let what = format!("cannot serve metrics on {address}");
        Error::from(net::Error::System { what, error })
    };
    listener.set_nonblocking(true).map_err(unusable)?;
    let bound = listener.local_addr().map_err(unusable)?;
    let cancel = context.cancel.clone();
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || answer_all(&listener, &cancel, &text))
        .map_err(unusable)?;
    Ok(bound)
}

fn answer_all(listener: &TcpListener, cancel: &Cancel, text: &dyn Fn() -> String) {
    while let Ok((stream, address)) = accept::accept(listener, cancel) {
        if stream.set_nonblocking(false).is_ok()
            && let Ok(peer) = Peer::connected(stream, address)
        {
            // Who does not wait for the answer needs none.
            let _ = answer(&peer, cancel, text);
        }
    }
}

fn answer(peer: &Peer, cancel: &Cancel, text: &dyn Fn() -> String) -> Result<(), net::Error> {
    let deadline = clock::now() + PATIENCE;
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() >= HEAD_OCTETS_MAX {
            return Ok(());
        }
        let room = HEAD_OCTETS_MAX - head.len();
        if peer.receive(&mut head, room, deadline, cancel)? == 0 {
            return Ok(());
        }
    };
    // Nothing behind the head concerns us, and the connection ends with the answer.
    head.truncate(end);
    let (status, body) = match parse_request(&head) {
        Ok(request) if request.method != b"GET" && request.method != b"HEAD" => {
            ("405 Method Not Allowed", String::new())
        }
        Ok(request) if path(request.target) == b"/metrics" => ("200 OK", text()),
        Ok(_) => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        Err(_) => ("400 Bad Request", String::new()),
    };
    let kind = match status {
        "200 OK" => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let fields = format!(
        "HTTP/1.1 {status}\r\n{allow}Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let is_head = head.starts_with(b"HEAD ");
    let body = if is_head { "" } else { &body };
    peer.send_all(format!("{fields}{body}").as_bytes(), PATIENCE, cancel)
}

/// Without the query.
fn path(target: &[u8]) -> &[u8] {
    target
        .split(|octet| *octet == b'?')
        .next()
        .unwrap_or_default()
}

pub(super) fn text(roster: &Roster, rejected: u64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Sender) -> f64| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "# TYPE nsh_heartbeat_{name} {kind}");
        let _ = writeln!(text, "# HELP nsh_heartbeat_{name} {help}");
        for sender in roster.senders() {
            // Names have no character that would need an escape, nor have addresses.
            let (label, value) = (&sender.name, value(sender));
            let _ = writeln!(
                text,
                "nsh_heartbeat_{name}{suffix}{{sender=\"{label}\"}} {value}"
            );
        }
    };
    let seconds = |span: Duration| span.as_secs_f64();
    let now = clock::now();
    family("up", "gauge", "Whether its heartbeats come.", &|sender| {
        f64::from(u8::from(matches!(sender.state, State::Up | State::Late)))
    });
    family(
        "silence_seconds",
        "gauge",
        "Since its newest heartbeat.",
        &|sender| seconds(now.saturating_duration_since(sender.last_seen)),
    );
    family("received", "counter", "Heartbeats that came.", &|sender| {
        sender.received as f64
    });
    family(
        "lost",
        "gauge",
        "Heartbeats that did not come.",
        &|sender| sender.lost as f64,
    );
    family(
        "reordered",
        "counter",
        "Heartbeats that came after younger ones.",
        &|sender| sender.reordered as f64,
    );
    family(
        "restarts",
        "counter",
        "How often it was started anew.",
        &|sender| f64::from(sender.restarts),
    );
    family(
        "jitter_seconds",
        "gauge",
        "RFC 3550 section 6.4.1.",
        &|sender| seconds(sender.jitter),
    );
    let _ = writeln!(text, "# TYPE nsh_heartbeat_senders gauge");
    let _ = writeln!(text, "# HELP nsh_heartbeat_senders Senders by state.");
    for state in [State::Up, State::Late, State::Down, State::Left] {
        let count = roster
            .senders()
            .iter()
            .filter(|sender| sender.state == state)
            .count();
        let _ = writeln!(
            text,
            "nsh_heartbeat_senders{{state=\"{}\"}} {count}",
            word(state)
        );
    }
    let _ = writeln!(text, "# TYPE nsh_heartbeat_rejected counter");
    let _ = writeln!(
        text,
        "# HELP nsh_heartbeat_rejected Datagrams that were not believed."
    );
    let _ = writeln!(text, "nsh_heartbeat_rejected_total {rejected}");
    text.push_str("# EOF\n");
    text
}
