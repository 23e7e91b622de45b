//! What the clients of `mail --sink` are told, and what is left of their messages.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{place, sink};
use crate::support::matches;

#[test]
fn a_session_with_two_messages() {
    let mut server = sink("");
    let mut client = server.connect();
    client.check(
        "C: EHLO client.example
        250-sink.localhost
        250-SIZE 26214400
        250-8BITMIME
        250-SMTPUTF8
        250-PIPELINING
        250-CHUNKING
        250-HELP
        250-ENHANCEDSTATUSCODES
        250 AUTH PLAIN LOGIN
        C: MAIL FROM:<ann@client.example> SIZE=40
        250 2.1.0 the sender is accepted
        C: RCPT TO:<bob@mail.example>
        250 2.1.5 the recipient is accepted
        C: DATA
        354 the message ends with a dot alone on a line
        C: Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=
        C: From: somebody@else.example
        C: \n        C: ..
        C: .
        250 2.0.0 message 1 is accepted
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        235 2.7.0 any password is right
        C: MAIL FROM:<>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<c@d>
        250 2.1.5 the recipient is accepted
        C: RCPT TO:<e@f>
        250 2.1.5 the recipient is accepted
        C: BDAT 2 LAST
        C: \n        250 2.0.0 message 2 is accepted
        C: QUIT
        221 2.0.0 good bye",
    );
    client.expect_end();
    let mut event = server.message();
    let file = event["file"].take();
    let file = file.as_str().expect("a file");
    event["client"].take();
    event["time"].take();
    let expected = json!({
        "event": "message", "number": 1, "from": "ann@client.example", "to": ["bob@mail.example"],
        "subject": "Grüße", "octets": 72, "file": null, "client": null, "tls": false,
        "user": null, "job": 1, "time": null,
    });
    assert_eq!(event, expected);
    let pattern = "Return-Path: <ann@client.example>\r\n\
         Received: from client.example ([127.0.0.1])\r\n\
         \tby sink.localhost with ESMTP id 1\r\n\
         \tfor <bob@mail.example>;\r\n\
         \t..., ... 20... ...:...:... ...\r\n\
         Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
         From: somebody@else.example\r\n\
         \r\n\
         .\r\n";
    let text = server.place.read(file);
    assert!(matches(pattern, &text), "{text}");
    let event = server.message();
    assert_eq!(
        (&event["to"], &event["user"]),
        (&json!(["c@d", "e@f"]), &json!("ann"))
    );
    let text = server.place.read(event["file"].as_str().expect("a file"));
    assert!(text.starts_with("Return-Path: <>\r\n"), "{text}");
    assert!(!text.contains("c@d"), "{text}");
}

/// Nobody else on this machine reads them, and no client has a say in their names.
#[test]
fn files() {
    let server = sink("");
    let mut client = server.connect();
    client.check(
        "C: HELO ../../helo\n501 5.5.4 this is not the name of a host or an address in brackets",
    );
    client.check("C: HELO ..\n250 sink.localhost");
    client.send(
        "MAIL FROM:<../../a@../b>\r\nRCPT TO:<../../c@../d>\r\nDATA\r\n\
         Subject: ../../../e\r\n.\r\n",
    );
    client.check(
        "250 2.1.0 the sender is accepted
        250 2.1.5 the recipient is accepted
        354 the message ends with a dot alone on a line
        250 2.0.0 message 1 is accepted",
    );
    let folder = server.place.path().join("sink");
    let mode = |path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(folder.clone()), 0o700);
    let files = server.files();
    assert!(
        matches("20...-...-0001.eml", &files[0]) && files.len() == 1,
        "{files:?}"
    );
    assert_eq!(mode(folder.join(&files[0])), 0o600);
}

/// RFC 2920: replies in the order of the commands, also where messages lie between them.
#[test]
fn commands_in_one_piece() {
    let server = sink("--no-keep");
    let mut client = server.connect();
    let message = "MAIL FROM:<a@b>\r\nRCPT TO:<refuse@x>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n";
    client.send(format!(
        "HELO c\r\n{message}NOOP\r\n{message}QUIT\r\nNOOP\r\n"
    ));
    let replies = |number: u32| {
        format!(
            "250 2.1.0 the sender is accepted\n550 5.1.1 there is no such mailbox\n\
             250 2.1.5 the recipient is accepted\n354 the message ends with a dot alone on a line\n\
             250 2.0.0 message {number} is accepted\n"
        )
    };
    client.check(&format!(
        "250 sink.localhost\n{}250 2.0.0 nothing is done\n{}221 2.0.0 good bye",
        replies(1),
        replies(2)
    ));
    client.expect_end();
    assert!(!server.place.path().join("sink").exists());
}

#[test]
fn recipients_that_misbehave() {
    let server = sink("");
    let mut client = server.connect();
    client.check(
        "C: HELO c
        250 sink.localhost
        C: MAIL FROM:<a@b>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<refuse@any.example>
        550 5.1.1 there is no such mailbox
        C: RCPT TO:<later@any.example>
        451 4.2.1 try again later
        C: RCPT TO:<full@any.example>
        452 4.2.2 the mailbox is full
        C: DATA
        554 5.5.1 there are no recipients
        C: RCPT TO:<reject@any.example>
        250 2.1.5 the recipient is accepted
        C: DATA
        354 the message ends with a dot alone on a line
        C: .
        554 5.6.0 the message is rejected
        C: QUIT
        221 2.0.0 good bye",
    );
    assert!(server.files().is_empty());
}

/// The client keeps its message, and may have more luck with the next.
#[test]
fn a_folder_that_is_gone() {
    let mut server = sink("");
    let mut client = server.connect();
    let envelope = "C: MAIL FROM:<a@b>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<c@d>
        250 2.1.5 the recipient is accepted
        C: DATA
        354 the message ends with a dot alone on a line
        C: .";
    let folder = server.place.path().join("sink");
    fs::remove_dir(&folder).expect("it is empty");
    client.check("C: HELO c\n250 sink.localhost");
    client.check(envelope);
    client.check("451 4.3.0 the message could not be kept");
    let event = server.nsh.event("not_kept");
    assert_eq!(event["reason"], "No such file or directory");
    fs::create_dir(&folder).expect("room on the disk");
    client.check(envelope);
    client.check("250 2.0.0 message 2 is accepted");
    assert_eq!(server.files().len(), 1);
}

#[test]
fn what_a_person_sees() {
    let place = place();
    let mut nsh = place.start(&["-c", "mail --sink -p 0 -v --no-keep"]);
    let line = nsh.line();
    let pattern = "[1] listening on 127.0.0.1:... (SMTP), messages are not kept, reachable from \
                   this machine only";
    assert!(matches(pattern, &line), "{line}");
    let address = line.split(' ').nth(3).expect("an address");
    let mut client = super::Client::connect(address);
    client.send(
        "EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@x>\r\n\
         RCPT TO:<2@x>\r\nRCPT TO:<3@x>\r\nRCPT TO:<4@x>\r\nDATA\r\nSubject: \x1b[2J\r\n.\r\n\
         QUIT\r\n",
    );
    while client.line().is_some() {}
    let said = [
        "S: 220 sink.localhost ESMTP accepts everything and delivers nothing",
        "C: EHLO c",
        "S: 250-sink.localhost",
        "S: 250-SIZE 26214400",
        "S: 250-8BITMIME",
        "S: 250-SMTPUTF8",
        "S: 250-PIPELINING",
        "S: 250-CHUNKING",
        "S: 250-HELP",
        "S: 250-ENHANCEDSTATUSCODES",
        "S: 250 AUTH PLAIN LOGIN",
        "C: AUTH PLAIN ***",
        "S: 235 2.7.0 any password is right",
        "C: MAIL FROM:<a@b>",
        "S: 250 2.1.0 the sender is accepted",
        "C: RCPT TO:<1@x>",
        "S: 250 2.1.5 the recipient is accepted",
        "C: RCPT TO:<2@x>",
        "S: 250 2.1.5 the recipient is accepted",
        "C: RCPT TO:<3@x>",
        "S: 250 2.1.5 the recipient is accepted",
        "C: RCPT TO:<4@x>",
        "S: 250 2.1.5 the recipient is accepted",
        "C: DATA",
        "S: 354 the message ends with a dot alone on a line",
        "C: ... a message of 15 octets",
        "C: .",
    ];
    for said in said {
        let line = nsh.line();
        assert!(
            matches(&format!("[1] 127.0.0.1:... {said}"), &line),
            "{line}"
        );
    }
    assert_eq!(
        nsh.line(),
        "[1] message 1 from <a@b> to <1@x>, <2@x>, <3@x> and 1 more: '\\x1b[2J' (15 octets, \
         user ann)"
    );
}

#[test]
fn jobs_tell_what_was_caught() {
    let place = place();
    let ran = place.run(&["-q", "-c", "mail --sink -p 0 --no-keep; jobs; stop 1"]);
    let pattern =
        "...mail --sink -p 0 --no-keep  | 0 messages, 0 octets, 0 connections (0 so far)...";
    assert!(matches(pattern, &ran.stdout) && ran.status == 0, "{ran:?}");
}

/// Also where it does not show what is said.
#[test]
fn what_is_refused_is_told() {
    let mut server = sink("--no-keep");
    let mut client = server.connect();
    client.send("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<refuse@b>\r\nQUIT\r\n");
    while client.line().is_some() {}
    let event = server.nsh.event("refused");
    assert_eq!(event["reason"], "550 5.1.1 there is no such mailbox");
}
