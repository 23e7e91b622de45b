//! TLS, from the first octet or with STARTTLS (RFC 3207).

use super::{Client, Server, place, sink_in};

const ENVELOPE: &str = "C: MAIL FROM:<a@b>
    250 2.1.0 the sender is accepted
    C: RCPT TO:<c@d>
    250 2.1.5 the recipient is accepted
    C: DATA
    354 the message ends with a dot alone on a line
    C: .
    250 2.0.0 message 1 is accepted
    C: QUIT
    221 2.0.0 good bye";

fn certified(options: &str) -> Server {
    let place = place();
    place.certify();
    let options = format!("--tls-cert cert.pem --tls-key key.pem {options}");
    sink_in(place, &options)
}

/// The last line of the reply to EHLO is the first of these that is there.
#[track_caller]
fn ehlo(client: &mut Client, last: &str) {
    client.check("C: EHLO c");
    let mut lines = Vec::new();
    while let Some(line) = client.line() {
        let is_last = line.starts_with("250 ");
        lines.push(line);
        if is_last {
            break;
        }
    }
    assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
    let offers_auth = lines.iter().any(|line| line.contains("AUTH"));
    assert_eq!(offers_auth, last.contains("AUTH"), "{lines:?}");
}

#[test]
fn starttls() {
    let mut server = certified("");
    let mut client = server.connect();
    ehlo(&mut client, "250 STARTTLS");
    client.check(
        "C: AUTH PLAIN AGFubgBzZWNyZXQ=
        538 5.7.11 passwords are only for TLS
        C: STARTTLS
        220 2.0.0 begin TLS",
    );
    let mut client = client.secure(&server.place.read("cert.pem"));
    client.check("C: MAIL FROM:<a@b>\n503 5.5.1 EHLO or HELO comes first");
    ehlo(&mut client, "250 AUTH PLAIN LOGIN");
    client.check("C: AUTH PLAIN AGFubgBzZWNyZXQ=\n235 2.7.0 any password is right");
    client.check(ENVELOPE);
    client.expect_end();
    let event = server.message();
    assert_eq!(
        (&event["tls"], &event["user"]),
        (&true.into(), &"ann".into())
    );
    let text = server.place.read(event["file"].as_str().expect("a file"));
    assert!(text.contains("with ESMTPSA id 1"), "{text}");
}

#[test]
fn tls_from_the_first_octet() {
    let mut server = certified("--implicit-tls");
    let client = Client::connect(&server.address);
    let mut client = client.secure(&server.place.read("cert.pem"));
    client.check("220 sink.localhost ESMTP accepts everything and delivers nothing");
    ehlo(&mut client, "250 AUTH PLAIN LOGIN");
    client.check("C: STARTTLS\n503 5.5.1 TLS is already in use");
    client.check(ENVELOPE);
    client.expect_end();
    assert_eq!(server.message()["tls"], true);
}

/// What was sent before TLS is not run as if it had come through it.
#[test]
fn nothing_is_smuggled_across_the_start_of_tls() {
    let server = certified("");
    let mut client = server.connect();
    client.send("EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n");
    let mut last = None;
    while let Some(line) = client.line() {
        last = Some(line);
    }
    let expected = "421 4.7.0 something came behind STARTTLS and before TLS";
    assert_eq!(last.as_deref(), Some(expected));
}

#[test]
fn a_handshake_that_fails_harms_nobody() {
    let mut server = certified("");
    let mut client = server.connect();
    ehlo(&mut client, "250 STARTTLS");
    client.check("C: STARTTLS\n220 2.0.0 begin TLS");
    client.send("MAIL FROM:<a@b>\r\n");
    let event = server.nsh.event("broken");
    let reason = event["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("no TLS with 127.0.0.1:"), "{reason}");
    ehlo(&mut server.connect(), "250 STARTTLS");
}
