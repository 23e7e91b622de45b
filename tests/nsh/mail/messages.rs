//! What is written, and what arrives at the sink.

use std::io::Write;
use std::process::Stdio;

use super::server::{BYE, ENVELOPE, HELLO, LETTER, tell_in};
use super::{Server, sink};
use crate::prompt::Terminal;
use crate::support::{Ran, Running, matches, place};

const ADDRESSES: &str = "--from 'Ann <ann@a.test>' --to bob@b.test";

/// In the file, and as the same text with the line ends of mail.
const BODIES: [(&str, &str); 8] = [
    ("one\ntwo\n", "one\r\ntwo\r\n"),
    ("no end", "no end\r\n"),
    ("", ""),
    (".\n..\n.a\n.\n", ".\r\n..\r\n.a\r\n.\r\n"),
    (
        "a\n.\r\nMAIL FROM:<x@y.test>\r\n",
        "a\r\n.\r\nMAIL FROM:<x@y.test>\r\n",
    ),
    ("a\r.\rb\r", "a\r\n.\r\nb\r\n"),
    ("a\r\n.\nQUIT\n", "a\r\n.\r\nQUIT\r\n"),
    ("\n\n.\n", "\r\n\r\n.\r\n"),
];

/// Runs `mail` in the sink's place.
#[track_caller]
fn send(server: &Server, options: &str, input: &str) -> Ran {
    let line = format!("mail --server {} --tls none {options}", server.address);
    let ran = server.place.run_with_input(&["-c", &line], input);
    assert_eq!(ran.status, 0, "{ran:#?}");
    ran
}

/// What has arrived, without the trace fields.
fn arrived(server: &mut Server) -> String {
    let event = server.message();
    let text = server.place.read(event["file"].as_str().expect("a file"));
    let (_, message) = text.split_once("\r\nDate: ").expect("a date");
    format!("Date: {message}")
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").expect("a body").1
}

/// A folded field is one line again.
fn field(message: &str, name: &str) -> Vec<String> {
    let (header, _) = message.split_once("\r\n\r\n").expect("a header");
    let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let start = format!("{name}: ");
    header
        .split("\r\n")
        .filter_map(|line| Some(line.strip_prefix(&start)?.to_owned()))
        .collect()
}

#[test]
fn recipients_seen_and_unseen() {
    let mut server = sink("");
    let options = format!(
        "{ADDRESSES} --to 'Eve <eve@b.test>, bob@b.test' --cc c@c.test --bcc d@d.test,bob@b.test --subject s --body text"
    );
    send(&server, &options, "");
    let event = server.message();
    assert_eq!(event["from"], "ann@a.test");
    let to = ["bob@b.test", "eve@b.test", "c@c.test", "d@d.test"];
    assert_eq!(event["to"], serde_json::json!(to));
    let text = server.place.read(event["file"].as_str().expect("a file"));
    let lines = text.lines().map(str::to_lowercase);
    let mut names = lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
    assert!(
        !text.contains("d@d.test") && !names.any(|name| name.contains("bcc")),
        "{text}"
    );
    assert_eq!(field(&text, "From"), ["Ann <ann@a.test>"]);
    assert_eq!(
        field(&text, "To"),
        ["bob@b.test, Eve <eve@b.test>, bob@b.test"]
    );
    assert_eq!(field(&text, "Cc"), ["c@c.test"]);
    let unseen = "--from ann@a.test --bcc d@d.test --subject s --body text";
    send(&server, unseen, "");
    let text = arrived(&mut server);
    assert_eq!(field(&text, "To"), ["undisclosed-recipients:;"]);
    assert!(!text.contains("d@d.test"), "{text}");
}

/// The body that is in the file, and what arrives; soft line breaks are left to the message's own
/// tests.
#[test]
fn bodies() {
    let mut server = sink("");
    for (written, expected) in BODIES {
        server.place.write("body", written);
        send(
            &server,
            &format!("{ADDRESSES} --subject s --body-file body"),
            "",
        );
        assert_eq!(body(&arrived(&mut server)), expected, "{written:?}");
    }
    let long = "x".repeat(5000);
    server.place.write("body", format!("{long}\nend\n"));
    send(
        &server,
        &format!("{ADDRESSES} --subject s --body-file body"),
        "",
    );
    let text = arrived(&mut server);
    assert!(text.split("\r\n").all(|line| line.len() <= 998), "{text}");
    assert_eq!(
        field(&text, "Content-Transfer-Encoding"),
        ["quoted-printable"]
    );
    assert_eq!(
        body(&text).replace("=\r\n", ""),
        format!("{long}\r\nend\r\n")
    );
}

/// RFC 5321 section 4.5.2: the same where a dot is the end.
#[test]
fn bodies_by_data() {
    let options = LETTER.replace("--body text", "--body-file body");
    for (written, expected) in BODIES {
        let place = place();
        place.write("body", written);
        let script = format!("{HELLO}{ENVELOPE}S: 250 ok\n{BYE}");
        let told = tell_in(place, &format!("--tls none {options}"), &script);
        told.check(0, "bob@b.test: accepted: ok");
        let (_, message) = told.said.split_once("\r\n\r\n").expect("a body");
        let stuffed = expected.replace("\r\n.", "\r\n..");
        let stuffed = match stuffed.starts_with('.') {
            true => format!(".{stuffed}"),
            false => stuffed,
        };
        assert_eq!(message, format!("{stuffed}.\r\nQUIT\r\n"), "{written:?}");
    }
}

#[test]
fn letters_of_every_script() {
    let mut server = sink("");
    let options = "--from 'Jörg Müller <j@a.test>' --to '山田 <y@b.test>' --subject 'Grüße 🦀' --body 'schön'";
    send(&server, options, "");
    let event = server.message();
    assert_eq!(event["subject"], "Grüße 🦀");
    let text = server.place.read(event["file"].as_str().expect("a file"));
    assert!(text.is_ascii(), "{text}");
    assert!(
        matches("=?utf-8?...?= <j@a.test>", &field(&text, "From")[0]),
        "{text}"
    );
    assert!(
        matches("=?utf-8?...?= <y@b.test>", &field(&text, "To")[0]),
        "{text}"
    );
    assert!(text.contains("sch=C3=B6n"), "{text}");
}

#[test]
fn attachments_and_html() {
    let mut server = sink("");
    server.place.write("page.html", "<p>hi</p>\n");
    server
        .place
        .write("a picture.png", [0, 1, 2, b'\r', b'\n', b'.', 255]);
    server.place.write("ü.bin", "");
    let options = format!(
        "{ADDRESSES} --subject s --body text --html page.html --attach 'a picture.png' --attach ü.bin"
    );
    send(&server, &options, "");
    let text = arrived(&mut server);
    assert!(
        field(&text, "Content-Type")[0].starts_with("multipart/mixed; boundary="),
        "{text}"
    );
    let pattern = "...Content-Type: multipart/alternative;...text/plain...\r\n\r\ntext\r\n...text/html...\r\n\r\n\
                   <p>hi</p>\r\n...image/png\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: \
                   attachment; filename=\"a picture.png\"\r\n\r\nAAECDQou/w==\r\n...\
                   filename*=utf-8''%C3%BC.bin;\r\n filename=...--\r\n";
    assert!(matches(pattern, &text), "{text}");
    send(
        &server,
        &format!("{ADDRESSES} --subject s --body '' --html page.html"),
        "",
    );
    let text = arrived(&mut server);
    assert!(
        field(&text, "Content-Type")[0].starts_with("text/html"),
        "{text}"
    );
}

/// But for what says when and which.
fn without_identity(message: &str) -> String {
    let is_own = |line: &&str| !line.starts_with("Date: ") && !line.starts_with("Message-ID: ");
    let lines: Vec<&str> = message.split("\r\n").filter(is_own).collect();
    let text = lines.join("\r\n");
    match text.split_once("boundary=\"=_") {
        Some((_, rest)) => text.replace(&rest[..32], "ID"),
        None => text,
    }
}

#[test]
fn a_dry_run_prints_what_would_arrive() {
    let mut server = sink("");
    server.place.write("body", ".\nÄ\r\n..\n\u{0}");
    server.place.write("file.bin", [0, 255]);
    for options in [
        "--subject s --body text",
        "--subject 'Grüße' --body-file body --cc c@c.test --bcc d@d.test",
        "--subject s --body-file body --attach file.bin --html body",
    ] {
        let line = format!("mail --dry-run {ADDRESSES} {options}");
        let ran = server.place.run(&["-c", &line]);
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:#?}");
        send(&server, &format!("{ADDRESSES} {options}"), "");
        assert_eq!(
            without_identity(&ran.stdout),
            without_identity(&arrived(&mut server))
        );
    }
}

#[test]
fn a_body_from_the_input() {
    let mut server = sink("");
    let options = format!("{ADDRESSES} --subject s");
    for (input, expected) in [
        ("one\n..\ntwo\n", "one\r\n..\r\ntwo\r\n"),
        ("one\n.\n\ny\n", "one\r\n.\r\n\r\ny\r\n"),
        ("no end", "no end\r\n"),
        ("a\r\nb\r\n", "a\r\nb\r\n"),
    ] {
        send(&server, &options, input);
        assert_eq!(body(&arrived(&mut server)), expected, "{input:?}");
    }
    let all = "ann@a.test\nbob@b.test\nhello\ntext\n";
    send(&server, "", all);
    let text = arrived(&mut server);
    assert_eq!(
        (field(&text, "Subject"), body(&text)),
        (vec!["hello".to_owned()], "text\r\n")
    );
}

#[test]
fn at_a_prompt() {
    let mut server = sink("");
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys(&format!("mail --server {} --tls none\r", server.address));
    for (prompt, answer) in [
        ("from:", "Ann <ann@a.test>"),
        ("to:", "bob@b.test, Eve <eve@b.test>"),
        ("subject:", "Grüße"),
    ] {
        terminal.see_at_cursor(prompt);
        terminal.type_keys(&format!("{answer}\r"));
    }
    terminal.type_keys("first line\r..\rlast line\r.\r");
    terminal.see("to      bob@b.test, eve@b.test");
    terminal.see("subject Grüße");
    terminal.see_at_cursor("send it? [Y/n]");
    terminal.type_keys("\r");
    terminal.see("eve@b.test: accepted: ...");
    let text = arrived(&mut server);
    assert_eq!(body(&text), "first line\r\n..\r\nlast line\r\n");
    terminal.see_at_cursor("nsh>");
    // A wrong answer is told at once, before the next question.
    terminal.type_keys(&format!(
        "mail --server {} --tls none\rnobody\r",
        server.address
    ));
    terminal.see("...'nobody'...");
    terminal.see_at_cursor("from:");
    terminal.type_keys("\u{3}");
    terminal.see_at_cursor("nsh>");
    assert_eq!(server.files().len(), 1);
}

#[test]
fn ctrl_d_ends_the_text_and_ctrl_c_all_of_it() {
    let mut server = sink("");
    let terminal = Terminal::open();
    let line = format!(
        "mail --server {} --tls none {ADDRESSES} --subject s",
        server.address
    );
    terminal.see_at_cursor("nsh>");
    terminal.type_keys(&format!("{line} --bcc eve@b.test\rtyped\r\u{4}"));
    terminal.see("to      bob@b.test");
    terminal.see("bcc     eve@b.test");
    terminal.see_at_cursor("send it? [Y/n]");
    terminal.type_keys("y\r");
    terminal.see("bob@b.test: accepted: ...");
    assert_eq!(body(&arrived(&mut server)), "typed\r\n");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys(&format!("{line}\rtyped\r.\r"));
    terminal.see_at_cursor("send it? [Y/n]");
    terminal.type_keys("\u{3}");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("echo status $?\r");
    terminal.see("status 130");
    // Ctrl-T swaps the two, so the first line has been taken when they are seen.
    terminal.type_keys(&format!("{line}\runfinished\r21\u{14}"));
    terminal.see_at_cursor("...12");
    terminal.type_keys("\u{3}");
    terminal.see("...the message is kept...");
    assert_eq!(server.files().len(), 1);
}

/// CR and LF in any option end neither a line of the header nor a command; nobody is even asked.
#[test]
fn nothing_is_smuggled_through_an_option() {
    for attack in ["\r\n", "\n", "\r"] {
        for (option, value) in [
            ("--from", "a@a.test|MAIL FROM:<x@y.test>"),
            ("--from", "Ann|Bcc: x@y.test <a@a.test>"),
            ("--from", "\"Ann|Bcc: x@y.test\" <a@a.test>"),
            ("--to", "b@b.test|RCPT TO:<x@y.test>"),
            ("--to", "Bob|Bcc: x@y.test <b@b.test>"),
            ("--to", "b@b.test>|RCPT TO:<x@y.test"),
            ("--cc", "b@b.test|"),
            ("--bcc", "b@b.test|RCPT TO:<x@y.test>"),
            ("--subject", "s|Bcc: x@y.test"),
            ("--subject", "s||text"),
            ("--ehlo", "c.test|MAIL FROM:<x@y.test>"),
            ("--attach", "name|Bcc: x@y.test"),
            ("--user", "ann|RSET"),
        ] {
            let place = place();
            let value = value.replace('|', attack);
            if option == "--attach" {
                place.write(&value, "text");
            }
            let mut words = vec!["mail", "--dry-run"];
            let port = "127.0.0.1:1";
            for (name, usual) in [
                ("--server", port),
                ("--from", "a@a.test"),
                ("--to", "b@b.test"),
                ("--subject", "s"),
                ("--body", "text"),
            ] {
                if name != option {
                    words.extend([name, usual]);
                }
            }
            // A dry run has no use for these.
            if matches!(option, "--ehlo" | "--user") {
                words.remove(1);
            }
            words.extend([option, &value]);
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let mut command = place.nsh();
            command
                .args(["-c", &quoted.join(" ")])
                .env("NSH_MAIL_PASSWORD", "x");
            let ran = Running::of(command).end();
            let what = format!("{option} {value:?}: {ran:#?}");
            assert_eq!((ran.status, &*ran.stdout), (2, ""), "{what}");
        }
    }
}

/// An explicit name is said or refused, and not another one said for it.
#[test]
fn a_name_for_ehlo() {
    let server = sink("");
    let options = |name: &str| format!("{ADDRESSES} --subject s --body b --ehlo {name}");
    let ran = send(&server, &options("client.a.test"), "");
    assert!(ran.stdout.contains("> EHLO client.a.test\n"), "{ran:#?}");
    let ran = send(&server, &options("'[192.0.2.1]'"), "");
    assert!(ran.stdout.contains("> EHLO [192.0.2.1]\n"), "{ran:#?}");
    for name in ["'two words'", "''", "-a.test", "'a.test MAIL'"] {
        let line = format!(
            "mail --server {} --tls none {}",
            server.address,
            options(name)
        );
        let ran = server.place.run(&["-c", &line]);
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{name}: {ran:#?}");
    }
}

#[test]
fn what_cannot_be_sent_is_told_before_the_server_is_asked() {
    let place = place();
    place.write("latin", b"sch\xf6n");
    for (options, pattern) in [
        (
            "--from nobody --to b@b.test --subject s --body b",
            "mail: --from 'nobody': ...\n",
        ),
        (
            "--from a@a.test --to b@b.test, --subject s --body b",
            "mail: --to 'b@b.test,': ...\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body-file none",
            "mail: cannot read none: No such file or directory\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body-file latin",
            "mail: latin is not UTF-8\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --attach none",
            "mail: cannot read none: No such file or directory\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --attach .",
            "mail: . is no file\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --ca none",
            "mail: cannot read none: No such file or directory\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --ca latin",
            "mail: ...latin...\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --auth PLAIN",
            "...--user...\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --user ann --auth X",
            "...SCRAM-SHA-256...\n",
        ),
        (
            "--from a@a.test --to b@b.test --subject s --body b --pin 123",
            "...a pin is a SHA-256...\n",
        ),
    ] {
        let ran = place.run(&["-c", &format!("mail --server 127.0.0.1:1 {options}")]);
        assert!(matches(pattern, &ran.stderr), "{options}: {ran:#?}");
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{options}: {ran:#?}");
    }
}

/// Where nobody can be asked.
#[test]
fn in_the_background_nobody_is_asked() {
    let place = place();
    let mut command = place.nsh();
    command.stdin(Stdio::piped());
    let mut nsh = Running::of(command);
    let mut stdin = nsh.child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"mail --server 127.0.0.1:1 --from a@a.test &\nwait\n")
        .expect("it reads");
    drop(stdin);
    let ran = nsh.end();
    assert!(
        ran.stderr
            .contains("nobody can be asked in the background; give --to"),
        "{ran:#?}"
    );
}

/// All that the sink refuses, each in its own way.
#[test]
fn refusals_of_the_sink() {
    let server = sink("");
    for (to, status, words) in [
        (
            "refuse@b.test",
            57,
            "refuse@b.test: refused (rcpt): 550 5.1.1 there is no such mailbox",
        ),
        (
            "later@b.test",
            47,
            "later@b.test: not now (rcpt): 451 4.2.1 try again later",
        ),
        (
            "full@b.test",
            47,
            "full@b.test: not now (rcpt): 452 4.2.2 the mailbox is full",
        ),
        (
            "reject@b.test",
            59,
            "reject@b.test: refused (final dot): 554 5.6.0 the message is rejected",
        ),
        (
            "bob@b.test,refuse@b.test",
            3,
            "bob@b.test: accepted: 2.0.0 message ... is accepted\nrefuse@b.test: refused",
        ),
    ] {
        let line = format!(
            "mail --server {} --tls none --from ann@a.test --to {to} --subject s --body b",
            server.address
        );
        let ran = server.place.run(&["-c", &line]);
        assert!(
            matches(&format!("...{words}..."), &ran.stdout),
            "{to}: {ran:#?}"
        );
        assert_eq!(ran.status, status, "{to}: {ran:#?}");
    }
}

/// Octets in all places where lines are cut, and dots in front of them, come as they were.
#[test]
fn a_large_message() {
    let mut server = sink("--max-size 30M");
    let line = |number: usize| format!("{}{number}\n", ".".repeat(number % 5));
    let written: String = (0..60_000).map(line).collect();
    server.place.write("body", &written);
    send(
        &server,
        &format!("{ADDRESSES} --subject s --body-file body"),
        "",
    );
    assert!(body(&arrived(&mut server)) == written.replace('\n', "\r\n"));
}
