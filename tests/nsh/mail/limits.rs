//! What a client may ask for, and for how long.

use super::{Client, sink};

#[test]
fn octets_of_a_message() {
    let server = sink("--max-size 1K --no-keep");
    let mut client = server.connect();
    client.send("EHLO c\r\n");
    client.check("250-sink.localhost\n250-SIZE 1024");
    while !client.line().expect("a reply").starts_with("250 ") {}
    client.check("C: MAIL FROM:<a@b> SIZE=1025\n552 5.3.4 the message is too large");
    let message = |octets: usize, reply: &str| {
        format!(
            "C: MAIL FROM:<a@b>
            250 2.1.0 the sender is accepted
            C: RCPT TO:<c@d>
            250 2.1.5 the recipient is accepted
            C: DATA
            354 the message ends with a dot alone on a line
            C: {}
            C: .
            {reply}",
            "a".repeat(octets - 2)
        )
    };
    client.check(&message(1024, "250 2.0.0 message 1 is accepted"));
    client.check(&message(1025, "552 5.3.4 the message is too large"));
    client.check(&message(3_000_000, "552 5.3.4 the message is too large"));
    client.check("C: NOOP\n250 2.0.0 nothing is done");
}

#[test]
fn connections() {
    let mut server = sink("--no-keep");
    let clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    let mut client = Client::connect(&server.address);
    client.check("421 4.3.2 there are too many connections");
    client.expect_end();
    let event = server.nsh.event("refused");
    assert_eq!(event["reason"], "there are 100 connections already");
    for mut client in clients {
        client.check("C: QUIT\n221 2.0.0 good bye");
    }
}

#[test]
fn silence() {
    let mut server = sink("--no-keep --timeout 50ms");
    let mut client = server.connect();
    client.check("421 4.4.2 nothing has happened for too long");
    client.expect_end();
    let event = server.nsh.event("broken");
    let reason = event["reason"].as_str().expect("a reason");
    assert!(reason.ends_with(" does not answer"), "{reason}");
}
