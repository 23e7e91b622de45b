//! What a server answers, and what becomes of the message.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::server::{BYE, ENVELOPE, HELLO, LETTER, check, tell, tell_in};
use crate::support::{Running, matches, place, unused_port};

const OWN_ADDRESS: &str = "127.0.0.91";

#[test]
fn a_message_is_accepted() {
    let told = tell(
        "",
        &format!("{HELLO}{ENVELOPE}S: 250 2.0.0 queued as X1\n{BYE}"),
    );
    assert_eq!(
        (told.ran.status, &*told.ran.stderr),
        (0, ""),
        "{:?}",
        told.ran
    );
    let pattern = "connected to 127.0.0.1 (127.0.0.1:...) in ... ms
< 220 mx.test ESMTP
> EHLO c.test
< 250 mx.test
> MAIL FROM:<ann@a.test>
< 250 2.1.0 ok
> RCPT TO:<bob@b.test>
< 250 2.1.5 ok
> DATA
< 354 go on
> (... octets)
> .
< 250 2.0.0 queued as X1
> QUIT
< 221 bye
bob@b.test: accepted: 2.0.0 queued as X1
accepted by 127.0.0.1 [127.0.0.1]:... as X1 in 5 round trips, ... ms: 1 accepted
";
    assert!(matches(pattern, &told.ran.stdout), "{}", told.ran.stdout);
    assert!(told.drafts().is_empty());
}

#[test]
fn greetings() {
    check(
        "",
        "S: 421 not now\n",
        43,
        "bob@b.test: not now (greeting): 421 not now",
    );
    check(
        "",
        &format!("S: 450 busy\n{BYE}"),
        43,
        "not now (greeting): 450 busy",
    );
    check(
        "",
        &format!("S: 554 no\n{BYE}"),
        53,
        "refused (greeting): 554 no",
    );
    check(
        "",
        "",
        43,
        "(greeting): the server has closed the connection",
    );
    check(
        "--timeout 500ms",
        "WAIT",
        43,
        "(greeting): the server has not answered in time",
    );
    check(
        "",
        "S: 354 go on\nWAIT",
        43,
        "the server's answer does not fit: 354 go on",
    );
    check(
        "",
        "S: HTTP/1.1 400 Bad Request\nWAIT",
        43,
        "< HTTP/1.1 400 Bad Request\n...the server does not speak SMTP: the answer does not begin",
    );
    let lines = "S: 220-mx.test\nS: 220-second\nS: 220 third\nC: EHLO c.test\nS: 421 later\n";
    check(
        "",
        lines,
        44,
        "< 220-mx.test\n< 220-second\n< 220 third\n> EHLO c.test\n",
    );
}

/// RFC 5321 section 4.2.1: the class decides, whatever the rest of the code is.
#[test]
fn codes_at_every_stage() {
    let after_hello = format!("{HELLO}C: MAIL FROM:<ann@a.test>\n");
    let after_mail = format!("{after_hello}S: 250 ok\nC: RCPT TO:<bob@b.test>\n");
    let after_rcpt = format!("{after_mail}S: 250 ok\nC: DATA\n");
    let after_dot = format!("{HELLO}{ENVELOPE}");
    let stages = [
        ("S: 220 hi\nC: EHLO c.test\n", "ehlo", 4, "3"),
        (&*after_hello, "mail", 6, "3"),
        (&*after_mail, "rcpt", 7, "3"),
        (&*after_rcpt, "data", 8, "2"),
        (&*after_dot, "final dot", 9, "3"),
    ];
    for (before, stage, unit, unfit) in stages {
        check(
            "",
            &format!("{before}S: 421 bye\n"),
            40 + unit,
            &format!("not now ({stage}): 421 bye"),
        );
        if stage != "ehlo" {
            let answer = |code: u16| format!("{before}S: {code} no\n{BYE}");
            check(
                "",
                &answer(451),
                40 + unit,
                &format!("not now ({stage}): 451 no"),
            );
            check(
                "",
                &answer(550),
                50 + unit,
                &format!("refused ({stage}): 550 no"),
            );
            check(
                "",
                &answer(599),
                50 + unit,
                &format!("refused ({stage}): 599 no"),
            );
        }
        // What belongs to it nobody can tell any more, and a message that is out may be accepted.
        let words = format!("({stage}): the server's answer does not fit: {unfit}99 what");
        check(
            "",
            &format!("{before}S: {unfit}99 what\nWAIT"),
            40 + unit,
            &words,
        );
        let words = format!("({stage}): the server does not speak SMTP");
        check("", &format!("{before}S: 2x0 what\nWAIT"), 40 + unit, &words);
    }
    let hello = |code: u16| format!("S: 220 hi\nC: EHLO c.test\nS: {code} no\n");
    check(
        "",
        &format!("{}{BYE}", hello(450)),
        44,
        "not now (ehlo): 450 no",
    );
    let refused = format!("{}C: HELO c.test\nS: 554 no\n{BYE}", hello(502));
    check("", &refused, 54, "refused (ehlo): 554 no");
    let accepted = format!(
        "{}C: HELO c.test\nS: 250 hi\n{ENVELOPE}S: 250 ok\n{BYE}",
        hello(502)
    );
    check("", &accepted, 0, "bob@b.test: accepted: ok");
}

#[test]
fn some_recipients() {
    let envelope = |second: &str, data: &str| {
        format!(
            "{HELLO}C: MAIL FROM:<ann@a.test>\nS: 250 ok\nC: RCPT TO:<bob@b.test>\nS: 250 ok\n\
             C: RCPT TO:<eve@b.test>\nS: {second}\n{data}{BYE}"
        )
    };
    let data = "C: DATA\nS: 354 go on\nBODY\nS: 250 ok id=X2\n";
    let two = "--cc eve@b.test";
    let told = check(
        two,
        &envelope("550 5.1.1 nobody", data),
        3,
        "bob@b.test: accepted: ok id=X2",
    );
    told.check(3, "eve@b.test: refused (rcpt): 550 5.1.1 nobody");
    told.check(3, "accepted by ... as X2 in ...: 1 accepted, 1 refused\n");
    check(
        two,
        &envelope("450 later", data),
        3,
        "eve@b.test: not now (rcpt): 450 later",
    );
    // Two of them end in different ways: there is something left to try.
    let data = "C: DATA\nS: 554 no\n";
    check(
        two,
        &envelope("450 later", data),
        47,
        "bob@b.test: refused (data): 554 no",
    );
    let none = format!(
        "{HELLO}C: MAIL FROM:<ann@a.test>\nS: 250 ok\nC: RCPT TO:<bob@b.test>\nS: 550 no\n\
         C: RCPT TO:<eve@b.test>\nS: 551 no\n...{BYE}"
    );
    check(
        two,
        &none.replace("...", ""),
        57,
        "not accepted by ...: 0 accepted, 2 refused\n",
    );
}

/// RFC 2920: in one piece, and a server that refuses all recipients may want the message still.
#[test]
fn groups_of_commands() {
    let hello = "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 PIPELINING\n";
    let group = "C: MAIL FROM:<ann@a.test>\nC: RCPT TO:<bob@b.test>\nC: DATA\n";
    let fine = format!(
        "{hello}{group}S: 250 ok\nS: 250 ok\nS: 354 go on\nBODY\nC: QUIT\nS: 250 ok\nS: 221 bye\n"
    );
    check("", &fine, 0, "accepted by ... in 3 round trips");
    let empty =
        format!("{hello}{group}S: 250 ok\nS: 550 no\nS: 354 go on\nC: .\nS: 554 none\n{BYE}");
    check("", &empty, 57, "refused (rcpt): 550 no");
    let refused = format!("{hello}{group}S: 550 no\nS: 503 no\nS: 503 no\n{BYE}");
    check("", &refused, 56, "refused (mail): 550 no");
    // A reply too many is no reply to what comes next.
    let many = format!("{hello}{group}S: 250 ok\nS: 250 ok\nS: 354 go on\\r\\n250 ok\nWAIT");
    let told = tell("", &many);
    assert_ne!(told.ran.status, 0, "{:#?}", told.ran);
}

#[test]
fn what_the_server_offers_is_used() {
    let hello = "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\n";
    let tail = "C: RCPT TO:<bob@b.test>\nS: 250 ok\n";
    let data = format!("C: DATA\nS: 354 go on\nBODY\nS: 250 ok\n{BYE}");
    let size = format!(
        "{hello}S: 250 SIZE 1000\nC: MAIL FROM:<ann@a.test> SIZE=2...\nS: 250 ok\n{tail}{data}"
    );
    check("", &size, 0, "accepted: ok");
    let small = format!("{hello}S: 250 SIZE 10\n{BYE}");
    check(
        "",
        &small,
        56,
        "refused (mail): the message has 2... octets, and the server takes 10",
    );
    let chunks = format!(
        "{hello}S: 250 CHUNKING\nC: MAIL FROM:<ann@a.test>\nS: 250 ok\n{tail}C: BDAT ... LAST\n"
    );
    let body = "C: Date: ...\nC: From: ...\nC: To: ...\nC: Subject: s\nC: Message-ID: ...\nC: MIME-Version: 1.0\n\
                C: Content-Type: ...\nC: Content-Transfer-Encoding: 7bit\nC: \nC: text\n";
    let done = format!("{chunks}{body}S: 250 ok\n{BYE}");
    check("", &done, 0, "> BDAT ... LAST\n...accepted: ok");
}

#[test]
fn addresses_that_need_smtputf8() {
    let options = format!("--tls none {} --cc jörg@b.test", LETTER);
    let script = format!("{HELLO}{BYE}");
    let told = tell_in(place(), &options, &script);
    told.check(
        56,
        "refused (mail): the server does not offer SMTPUTF8, which the message needs",
    );
    let script = format!(
        "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n\
         C: MAIL FROM:<ann@a.test> BODY=8BITMIME SMTPUTF8\nS: 250 ok\nC: RCPT TO:<bob@b.test>\nS: 250 ok\n\
         C: RCPT TO:<jörg@b.test>\nS: 250 ok\nC: DATA\nS: 354 go on\nBODY\nS: 250 ok\n{BYE}"
    );
    tell_in(place(), &options, &script).check(0, "jörg@b.test: accepted: ok");
}

/// RFC 5321 section 4.2.5: the server had all of the message, and may have it still.
#[test]
fn what_nobody_knows_is_kept() {
    for (end, why) in [
        ("", "the server has closed the connection"),
        ("RESET", "the connection is lost: connection reset"),
        ("S: 2x0 what\nWAIT", "the server does not speak SMTP"),
    ] {
        let told = tell("", &format!("{HELLO}{ENVELOPE}{end}"));
        let words = format!("bob@b.test: nobody knows whether it was accepted (final dot): {why}");
        told.check(49, &words);
        told.check(49, "the message is kept; this sends it again, and may deliver it twice: mail --server 127.0.0.1:... --tls none --message .../.local/state/nsh/drafts/....eml --to bob@b.test\n");
        let drafts = told.drafts();
        let [draft] = &drafts[..] else {
            panic!("{drafts:?}");
        };
        let mode = |path: &std::path::Path| {
            let metadata = std::fs::metadata(path).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(draft), 0o600);
        assert_eq!(mode(draft.parent().expect("a folder")), 0o700);
        let kept = std::fs::read_to_string(draft).expect("a message");
        let sent = told.said.split_once("DATA\r\n").expect("a message").1;
        assert_eq!(format!("{kept}.\r\n"), sent);
    }
}

#[test]
fn kept_where_the_environment_says() {
    let place = place();
    let server = super::server::Server::start(&format!("{HELLO}{ENVELOPE}"));
    let state = place.path().join("elsewhere");
    let line = format!("mail --server {} --tls none {LETTER}", server.address);
    let mut command = place.nsh();
    command.args(["-c", &line]).env("XDG_STATE_HOME", &state);
    let ran = Running::of(command).end();
    server.end();
    assert_eq!(ran.status, 49, "{ran:#?}");
    let count = std::fs::read_dir(state.join("nsh/drafts"))
        .expect("a folder")
        .count();
    assert_eq!(count, 1);
}

/// Ctrl-C between the dot and its reply says so, too.
#[test]
fn an_interrupt_obeys_the_three_ends() {
    use nix::sys::signal::Signal;
    for (script, last, kept) in [
        (format!("{HELLO}{ENVELOPE}WAIT"), "> .", 1),
        (
            format!("{HELLO}C: MAIL ...\nWAIT"),
            "> MAIL FROM:<ann@a.test>",
            0,
        ),
    ] {
        let place = place();
        let server = super::server::Server::start(&script);
        let line = format!("mail --server {} --tls none {LETTER}", server.address);
        let mut nsh = place.start(&["-c", &line]);
        while nsh.line() != last {}
        nsh.signal(Signal::SIGINT);
        let ran = nsh.end();
        let said = server.end();
        assert_eq!(ran.status, 130, "{ran:?}");
        assert!(ran.stdout.contains("stopped"), "{ran:?}");
        assert!(!said.contains("QUIT"), "{said}");
        let drafts = std::fs::read_dir(place.path().join(".local/state/nsh/drafts"));
        assert_eq!(drafts.into_iter().flatten().count(), kept, "{ran:?}");
    }
}

#[test]
fn nobody_is_there() {
    let port = unused_port(OWN_ADDRESS);
    let line = format!("mail --server {OWN_ADDRESS}:{port} --tls none {LETTER}");
    let ran = place().run(&["-c", &line]);
    let pattern = "nothing was sent (connect, for now): connection refused by ...; 'mail --sink -p ...' starts ...\n";
    assert!(matches(pattern, &ran.stdout) && ran.status == 41, "{ran:?}");
    let line = format!("mail --server nowhere.invalid --tls none {LETTER}");
    let ran = place().run(&["-c", &line]);
    assert!(
        matches("nothing was sent (dns, for now): ...", &ran.stdout),
        "{ran:?}"
    );
    assert_eq!(ran.status, 40, "{ran:?}");
}

/// Wherever the connection ends, the end is the right one: before the last dot nothing is sent,
/// behind the whole reply to it all is, and between them nobody knows.
#[test]
fn a_drop_at_every_octet_of_the_dialogue() {
    let replies = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "250 ok\r\n",
        "221 bye\r\n",
    ];
    let hears = [
        "C: EHLO c.test\n",
        "C: MAIL ...\n",
        "C: RCPT ...\n",
        "C: DATA\n",
        "BODY\n",
        "C: QUIT\n",
        "",
    ];
    let stages = [43, 44, 46, 47, 48, 49, 0];
    for (place, reply) in replies.iter().enumerate() {
        let before: String = (0..place)
            .map(|place| format!("S+ {}\n{}", replies[place].escape_default(), hears[place]))
            .collect();
        for end in 0..reply.len() {
            let script = format!("{before}S+ {}\n", reply[..end].escape_default());
            let told = tell("-q", &script);
            let what = format!("{script}{:#?}", told.ran);
            // A reply may end with LF alone, and without an end it is none.
            assert_eq!(told.ran.status, stages[place], "{what}");
            assert_eq!(
                told.drafts().len(),
                usize::from(stages[place] == 49),
                "{what}"
            );
            let words = match stages[place] {
                0 => "bob@b.test: accepted",
                49 => "bob@b.test: nobody knows",
                _ => "bob@b.test: not now",
            };
            assert!(told.ran.stdout.starts_with(words), "{what}");
        }
    }
}

/// The client finds out while it sends, and believes what the server says in leaving. No socket
/// takes so much at once.
#[test]
fn a_server_that_leaves_within_the_message() {
    let place = place();
    place.write("large", format!("{}\n", "x".repeat(900)).repeat(18_000));
    let options =
        "--tls none --from ann@a.test --to bob@b.test --subject s --body-file large --ehlo c.test";
    let envelope = ENVELOPE.replace("BODY", "C: Date: ...");
    let script = format!("{HELLO}{envelope}S: 452 4.3.1 disk is full\nRESET");
    let told = tell_in(place, options, &script);
    told.check(48, "bob@b.test: not now (data): 452 4.3.1 disk is full");
    assert!(told.drafts().is_empty());
}

#[test]
fn events() {
    let server = super::server::Server::start(&format!(
        "{HELLO}C: MAIL ...\nS: 250 ok\nC: RCPT ...\nS: 250 ok\nC: RCPT ...\nS: 550 5.1.1 nobody\n\
         C: DATA\nS: 354 go on\nBODY\nS: 250 ok: queued as X3\n{BYE}"
    ));
    let line = format!(
        "mail --server {} --tls none {LETTER} --cc eve@b.test",
        server.address
    );
    let ran = place().run(&["--json", "-c", &line]);
    server.end();
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    let others: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| *name != "said")
        .collect();
    assert_eq!(others, ["connected", "recipient", "recipient", "sent"]);
    let said: Vec<String> = events
        .iter()
        .filter(|event| event["event"] == "said")
        .map(|event| {
            format!(
                "{} {}",
                event["direction"].as_str().expect("a sign"),
                event["text"].as_str().expect("text")
            )
        })
        .collect();
    assert_eq!(
        said[..3],
        ["< 220 mx.test ESMTP", "> EHLO c.test", "< 250 mx.test"]
    );
    let [.., bob, eve, sent] = &events[..] else {
        panic!("{ran:?}");
    };
    assert_eq!(
        (&bob["address"], &bob["result"]),
        (&"bob@b.test".into(), &"accepted".into())
    );
    let is_refused = (&eve["result"], &eve["stage"], &eve["words"]);
    assert_eq!(
        is_refused,
        (
            &"refused".into(),
            &"rcpt".into(),
            &"550 5.1.1 nobody".into()
        )
    );
    let counts = (
        &sent["accepted"],
        &sent["refused"],
        &sent["unknown"],
        &sent["queue_id"],
    );
    assert_eq!(counts, (&1.into(), &1.into(), &0.into(), &"X3".into()));
    assert_eq!(ran.status, 3);
}

#[test]
fn delivery_reports_that_are_not_to_be_had_are_told() {
    let script = format!("{HELLO}{ENVELOPE}S: 250 ok\n{BYE}");
    for option in ["--notify success", "--ret full", "--envid x"] {
        let told = check(option, &script, 0, "bob@b.test: accepted: ok");
        let words =
            "mail: the server does not offer DSN; --notify, --ret and --envid are left out\n";
        assert_eq!(told.ran.stderr, words);
    }
    assert_eq!(check("", &script, 0, "accepted").ran.stderr, "");
}

#[test]
fn stops_after_each_stage() {
    let mail = "C: MAIL FROM:<ann@a.test>\nS: 250 ok\n";
    let rcpt = "C: RCPT TO:<bob@b.test>\nS: 250 ok\n";
    let reset = "C: RSET\nS: 250 ok\n";
    for (stage, script) in [
        ("greeting", "S: 220 hi\n".to_owned()),
        ("ehlo", HELLO.to_owned()),
        ("auth", HELLO.to_owned()),
        ("mail", format!("{HELLO}{mail}{reset}")),
        ("rcpt", format!("{HELLO}{mail}{rcpt}{reset}")),
    ] {
        let options = format!("--stop-after {stage}");
        let told = check(
            &options,
            &format!("{script}{BYE}"),
            0,
            "bob@b.test: not sent, as asked",
        );
        assert!(!told.ran.stdout.contains("accepted by"), "{:?}", told.ran);
    }
    // Nobody is asked for a message that would not be sent.
    let offer = HELLO.replace("S: 250 mx.test", "S: 250-mx.test\nS: 250 AUTH PLAIN");
    let told = tell_in(
        place(),
        "--stop-after auth --ehlo c.test --tls none --insecure-auth --user ann --password-command 'echo secret'",
        &format!("{offer}C: AUTH PLAIN ...\nS: 535 5.7.8 no\n{BYE}"),
    );
    told.check(55, "< 221 bye\nnothing was sent (auth): 535 5.7.8 no\n");
    let told = tell_in(
        place(),
        "--stop-after ehlo --ehlo c.test --tls none",
        &format!("{HELLO}{BYE}"),
    );
    told.check(0, "< 221 bye\n");
    // Also where the server takes commands in groups.
    let script = "S: 220 hi\nC: EHLO c.test\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL ...\nC: RCPT ...\nS: 250 ok\nS: 250 ok\n";
    check(
        "--stop-after rcpt",
        &format!("{script}C: RSET\nC: QUIT\nS: 250 ok\nS: 221 bye\n"),
        0,
        "not sent, as asked",
    );
    // What has failed has failed.
    check(
        "--stop-after rcpt",
        &format!("{HELLO}C: MAIL ...\nS: 550 no\n{BYE}"),
        56,
        "refused (mail): 550 no",
    );
}

#[test]
fn the_transcript() {
    let script = format!("{HELLO}{ENVELOPE}S: 250 \\x1b[2J\\xffok\n{BYE}");
    let told = check(
        "--transcript talk.txt -q",
        &script,
        0,
        "bob@b.test: accepted",
    );
    assert!(!told.ran.stdout.contains("EHLO"), "{:?}", told.ran);
    let text = told.place.read("talk.txt");
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" ms "))
        .map(|(_, said)| said)
        .collect();
    assert_eq!(lines.len(), text.lines().count(), "{text}");
    assert!(
        matches("* 127.0.0.1 [127.0.0.1]:... 20...", lines[0]),
        "{text}"
    );
    assert_eq!(
        lines[1..4],
        ["< 220 mx.test ESMTP", "> EHLO c.test", "< 250 mx.test"]
    );
    assert!(text.contains("< 250 \\x1b[2J"), "{text}");
    let file = std::fs::metadata(told.place.path().join("talk.txt")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_editor_needs_a_terminal() {
    let ran = place().run(&["-c", &format!("mail {LETTER} --edit --dry-run")]);
    let told = "...mail: --edit needs a terminal; give --body or --body-file\n";
    assert!(matches(told, &ran.stderr) && ran.status == 2, "{ran:?}");
}

/// What cannot be written is told before a server is bothered.
#[test]
fn a_transcript_that_cannot_be_written() {
    let port = unused_port(OWN_ADDRESS);
    let line =
        format!("mail --server {OWN_ADDRESS}:{port} --tls none {LETTER} --transcript no/folder");
    let ran = place().run(&["-c", &line]);
    let pattern = "...mail: cannot write no/folder: No such file or directory\n";
    assert!(matches(pattern, &ran.stderr) && ran.status == 2, "{ran:?}");
}
