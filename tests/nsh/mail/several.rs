//! Several messages over one connection, and several connections for one message.

use super::server::{BYE, ENVELOPE, HELLO, LETTER, Server, check, tell_in};
use crate::support::{Ran, matches, place};

const ANN: &str = "--from ann@a.test --subject s --body text --ehlo c.test";

/// From MAIL to the dot, and what is answered to it.
fn transaction(recipients: &[(&str, &str)], end: &str) -> String {
    let mut script = "C: MAIL FROM:<ann@a.test>\nS: 250 ok\n".to_owned();
    for (recipient, reply) in recipients {
        script += &format!("C: RCPT TO:<{recipient}>\nS: {reply}\n");
    }
    script + &format!("C: DATA\nS: 354 go on\nBODY\nS: {end}\n")
}

#[test]
fn a_message_for_each_line_over_one_connection() {
    let place = place();
    place.write(
        "class",
        "# the class\nBob <bob@b.test>\n\ncid@b.test, dan@b.test\n",
    );
    place.write("guests", "eve@b.test");
    let first = transaction(&[("bob@b.test", "250 ok")], "250 2.0.0 queued as X1");
    let second = transaction(
        &[
            ("cid@b.test", "550 5.1.1 unknown"),
            ("dan@b.test", "250 ok"),
        ],
        "250 2.0.0 queued as X2",
    );
    let third = transaction(&[("eve@b.test", "250 ok")], "250 2.0.0 queued as X3");
    let told = tell_in(
        place,
        &format!("--tls none {ANN} -q --to-file class --to-file guests"),
        &format!("{HELLO}{first}{second}{third}{BYE}"),
    );
    let expected = "bob@b.test: accepted: 2.0.0 queued as X1
cid@b.test: refused (rcpt): 550 5.1.1 unknown
dan@b.test: accepted: 2.0.0 queued as X2
eve@b.test: accepted: 2.0.0 queued as X3
accepted by ... in 14 round trips, ... ms: 3 messages, 3 accepted, 1 refused
";
    told.check(3, expected);
    let of_all = |name: &str| -> Vec<&str> {
        let lines = told.said.lines();
        lines.filter(|line| line.starts_with(name)).collect()
    };
    assert_eq!(
        of_all("To:"),
        [
            "To: Bob <bob@b.test>",
            "To: cid@b.test, dan@b.test",
            "To: eve@b.test"
        ]
    );
    let ids: std::collections::HashSet<_> = of_all("Message-ID:").into_iter().collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn each_message_has_a_name_on_the_server() {
    let place = place();
    place.write("class", "bob@b.test\ncid@b.test");
    let of = |recipient, id| {
        let end = format!("250 2.0.0 queued as {id}");
        transaction(&[(recipient, "250 ok")], &end)
    };
    let (first, second) = (of("bob@b.test", "X1"), of("cid@b.test", "X2"));
    let server = Server::start(&format!("{HELLO}{first}{second}{BYE}"));
    let line = format!(
        "mail --server {} --tls none {ANN} --to-file class",
        server.address
    );
    let ran = place.run(&["--json", "-c", &line]);
    server.end();
    let ids = ran.stdout.lines().filter_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        (event["event"] == "recipient").then(|| event["queue_id"].clone())
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["X1", "X2"], "{ran:#?}");
}

#[test]
fn a_message_that_is_refused_is_no_matter_to_the_next() {
    let place = place();
    place.write("class", "bob@b.test\ncid@b.test\ndan@b.test");
    let refused = "C: MAIL FROM:<ann@a.test>\nS: 550 not from you\n";
    let nobody = "C: MAIL FROM:<ann@a.test>\nS: 250 ok\nC: RCPT TO:<cid@b.test>\nS: 450 later\n";
    let last = transaction(&[("dan@b.test", "250 ok")], "250 ok");
    let script = format!("{HELLO}{refused}{nobody}C: RSET\nS: 250 ok\n{last}{BYE}");
    let told = tell_in(place, &format!("--tls none {ANN} --to-file class"), &script);
    told.check(
        3,
        "< 550 not from you\nbob@b.test: refused (mail): 550 not from you\n\
         ...< 450 later\ncid@b.test: not now (rcpt): 450 later\n\
         ...< 250 ok\ndan@b.test: accepted: ok\n\
         ...3 messages, 1 accepted, 1 not now, 1 refused\n",
    );
}

/// The server has had enough, and comes back for the rest; not when it has taken nothing.
#[test]
fn a_session_that_the_server_ends_is_followed_by_another() {
    let place = place();
    place.write("class", "bob@b.test\ncid@b.test\ndan@b.test");
    let line = |server: &Server| {
        let options = format!("--tls none {ANN} --to-file class -q");
        format!("mail --server {} {options}", server.address)
    };
    let [bob, cid, dan] = ["bob@b.test", "cid@b.test", "dan@b.test"]
        .map(|name| transaction(&[(name, "250 ok")], "250 ok"));
    let enough = "C: MAIL FROM:<ann@a.test>\nS: 421 4.7.0 enough\n";
    let server = Server::of_several(vec![
        format!("{HELLO}{bob}{enough}"),
        format!("{HELLO}{cid}{dan}{BYE}"),
    ]);
    let ran = place.run(&["-c", &line(&server)]);
    let expected = "bob@b.test: accepted: ok
accepted by ...: 1 accepted
the server has ended the session; another one for 2 messages
cid@b.test: accepted: ok
dan@b.test: accepted: ok
accepted by ...: 2 messages, 2 accepted
in all: 3 accepted
";
    assert!(
        matches(expected, &ran.stdout) && ran.status == 0,
        "{ran:#?}"
    );
    server.end();
    let server = Server::of_several(vec![format!("{HELLO}{enough}")]);
    let ran = place.run(&["-c", &line(&server)]);
    let expected =
        "bob@b.test: not now (mail): 421 4.7.0 enough\n...3 messages, 0 accepted, 3 not now\n";
    assert!(
        matches(expected, &ran.stdout) && ran.status == 46,
        "{ran:#?}"
    );
    server.end();
}

/// The connection is lost in the second of three.
#[test]
fn only_messages_that_may_have_gone_are_kept() {
    let place = place();
    place.write("class", "bob@b.test\ncid@b.test\ndan@b.test");
    let first = transaction(&[("bob@b.test", "250 ok")], "250 ok");
    let second = transaction(&[("cid@b.test", "250 ok")], "");
    let script = format!("{HELLO}{first}{}", second.trim_end_matches("S: \n"));
    let told = tell_in(
        place,
        &format!("--tls none {ANN} --to-file class --retry 1 --retry-after 1ms"),
        &script,
    );
    let ran = &told.ran;
    let pattern = "...bob@b.test: accepted: ok\n...cid@b.test: nobody knows whether it was accepted ...\n\
                   dan@b.test: not now (mail): the server has closed the connection\n\
                   ...once more for one recipient in 1.0 ms\nnothing was sent (connect, ...";
    assert!(matches(pattern, &ran.stdout) && ran.status == 3, "{ran:#?}");
    let [draft] = &told.drafts()[..] else {
        panic!("{:?}", told.drafts());
    };
    let kept = std::fs::read_to_string(draft).expect("a draft");
    assert!(kept.contains("To: cid@b.test\r\n"), "{kept}");
}

/// Each of the connections, and in the end what is printed.
#[track_caller]
fn retry(options: &str, scripts: &[&str], status: i32, expected: &str) -> Ran {
    let scripts = scripts.iter().map(|script| (*script).to_owned()).collect();
    let server = Server::of_several(scripts);
    let line = format!("mail --server {} --tls none {options}", server.address);
    let ran = place().run(&["-c", &line]);
    server.end();
    assert!(matches(&format!("...{expected}"), &ran.stdout), "{ran:#?}");
    assert_eq!(ran.status, status, "{ran:#?}");
    ran
}

#[test]
fn another_attempt_is_for_those_that_are_open() {
    let first = transaction(
        &[
            ("bob@b.test", "250 ok"),
            ("cid@b.test", "450 4.7.1 greylisted"),
            ("dan@b.test", "550 5.1.1 unknown"),
        ],
        "250 ok",
    );
    let second = transaction(&[("cid@b.test", "250 ok")], "250 ok");
    retry(
        &format!("{ANN} -q --to bob@b.test,cid@b.test,dan@b.test --retry 3 --retry-after 1ms"),
        &[
            &format!("{HELLO}{first}{BYE}"),
            &format!("{HELLO}{second}{BYE}"),
        ],
        3,
        "once more for one recipient in 1.0 ms\ncid@b.test: accepted: ok\n\
         accepted by ...: 1 accepted\nin all, after 2 attempts: 2 accepted, 1 refused\n",
    );
}

#[test]
fn attempts_have_an_end() {
    retry(
        &format!("{LETTER} -q --retry 2 --retry-after 1ms"),
        &[
            "S: 421 busy\n",
            "S: 421 busy\n",
            "S: 554 go away\nC: QUIT\n",
        ],
        53,
        "once more for one recipient in 1.0 ms\n...once more for one recipient in 1.0 ms\n...\
         bob@b.test: refused (greeting): 554 go away\n...",
    );
    retry(
        &format!("{LETTER} -q --retry 1 --retry-after 1ms"),
        &["S: 421 busy\n", "S: 421 busy\n"],
        43,
        "bob@b.test: not now (greeting): 421 busy\n...",
    );
}

/// What may have been delivered is not sent again.
#[test]
fn no_other_attempt_where_nobody_knows() {
    let ran = retry(
        &format!("{LETTER} --retry 3 --retry-after 1ms"),
        &[&format!("{HELLO}{ENVELOPE}")],
        49,
        "bob@b.test: nobody knows whether it was accepted ...",
    );
    assert!(!ran.stdout.contains("once more"), "{ran:#?}");
}

/// However patient each answer is waited for.
#[test]
fn a_session_has_an_end() {
    check(
        "--timeout 1h --deadline 2s",
        "S: 220 mx.test\nC: EHLO c.test\nDRIP 250-",
        44,
        "bob@b.test: not now (ehlo): the server has not answered in time",
    );
}

#[test]
fn lists_that_cannot_be_read() {
    let place = place();
    place.write("class", "bob@b.test\n\nnobody\n");
    place.write("empty", "# nobody\n");
    for (options, told) in [
        ("--to-file class", "mail: class:3: 'nobody': ..."),
        ("--to-file empty", "mail: empty has no mailbox"),
        (
            "--to-file missing",
            "mail: cannot read missing: No such file or directory",
        ),
        ("--to-file class --to a@b.c", "...cannot be used with..."),
    ] {
        let ran = place.run(&["-c", &format!("mail --server 127.0.0.1:1 {ANN} {options}")]);
        assert!(matches(&format!("{told}..."), &ran.stderr), "{ran:#?}");
        assert_eq!((&*ran.stdout, ran.status), ("", 2));
    }
}

#[test]
fn a_dry_run_prints_each() {
    let place = place();
    place.write("class", "bob@b.test\ncid@b.test\n");
    let ran = place.run(&["-c", &format!("mail {ANN} --to-file class --dry-run")]);
    assert_eq!(
        ran.stdout.matches("\r\nMessage-ID: ").count(),
        2,
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("\r\nTo: cid@b.test\r\n"), "{ran:#?}");
}
