//! The end of sessions that were not to end yet.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::{Client, place, sink, sink_in};
use crate::support::Running;

const DATA: &str = "C: HELO c
    250 sink.localhost
    C: MAIL FROM:<a@b>
    250 2.1.0 the sender is accepted
    C: RCPT TO:<c@d>
    250 2.1.5 the recipient is accepted
    C: DATA
    354 the message ends with a dot alone on a line
    C: half a message";

/// RFC 5321 section 3.8: with a reply, so that the client keeps its message.
#[test]
fn stop_ends_sessions_and_leaves_no_half_file() {
    let place = place();
    let server = sink_in(place, "-b 127.0.0.99");
    let address = server.address.clone();
    let mut idle = server.connect();
    let mut busy = server.connect();
    busy.check(DATA);
    let folder = server.place.path().join("sink");
    server.nsh.signal(Signal::SIGINT);
    for client in [&mut idle, &mut busy] {
        client.check("421 4.3.2 the server is stopped");
        client.expect_end();
    }
    assert_eq!(server.nsh.end().status, 130);
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn stop_ends_a_handshake() {
    let place = place();
    place.certify();
    let mut command = place.nsh();
    command.arg("--json").stdin(Stdio::piped());
    let mut nsh = Running::of(command);
    let mut stdin = nsh.child.stdin.take().expect("a pipe");
    let line = "mail --sink -p 0 --tls-cert cert.pem --tls-key key.pem\n";
    stdin.write_all(line.as_bytes()).expect("it reads");
    let address = nsh.event("listening")["address"].clone();
    let mut client = Client::connect(address.as_str().expect("an address"));
    client.send("EHLO c\r\nSTARTTLS\r\n");
    while client.line().expect("a reply") != "220 2.0.0 begin TLS" {}
    stdin.write_all(b"stop 1\n").expect("it reads");
    drop(stdin);
    let ran = nsh.end();
    assert!(ran.stderr.contains("\"stuck\":false"), "{ran:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_message() {
    let mut server = sink("");
    let mut client = server.connect();
    client.check(DATA);
    client.send_end();
    client.expect_end();
    let event = server.nsh.event("broken");
    let reason = event["reason"].as_str().expect("a reason");
    assert!(
        reason.ends_with(" left in the middle of a message"),
        "{reason}"
    );
    assert!(server.files().is_empty());
}
