use super::*;

fn hello(offered: &str) -> String {
    format!("S: 220 hi\nC: EHLO pc.example.org\nS: 250-hi\nS: 250-PIPELINING\nS: 250 {offered}\n")
}

const GROUP: &str = "C: MAIL FROM:<a@b.c>
    C: RCPT TO:<x@d.e>
    C: RCPT TO:<y@d.e>
    ";

fn two<'a>() -> Plan<'a> {
    Plan {
        jobs: vec![job(&["x@d.e", "y@d.e"], ".hi")],
        ..plan()
    }
}

fn jobs<'a>(count: usize) -> Plan<'a> {
    Plan {
        jobs: (0..count).map(|_| job(&["x@d.e"], "hi")).collect(),
        ..plan()
    }
}

#[test]
fn one_group_before_the_message() {
    let start = format!("{}{GROUP}C: DATA\n", hello("SIZE").replace("SIZE", "DSN"));
    let script = format!(
        "{start}S: 250 ok
        S: 250 ok
        S: 550 no
        S: 354 go
        C: ..hi
        C: .
        C: QUIT
        S: 250 OK id=7
        S: 221 bye"
    );
    let played = check(two, &script, "accepted 7; 57 550 no");
    assert_eq!(played.outcome.facts.round_trips, 3);
    // Where nobody is left, the server gets nothing of the message.
    let refused = format!("{start}S: 250 ok\nS: 550 x\nS: 450 y\n");
    let script = format!("{refused}S: 503 no\nC: QUIT\nS: 221 bye");
    check(two, &script, "57 550 x; 47 450 y");
    for answer in ["250 ok", "554 no"] {
        let script = format!("{refused}S: 354 go\nC: .\nS: {answer}\nC: QUIT\nS: 221 bye");
        check(two, &script, "57 550 x; 47 450 y");
    }
    let script = format!(
        "{start}S: 452 full
        S: 503 x
        S: 503 y
        S: 354 go
        C: .
        S: 554 no
        C: QUIT
        S: 221 bye"
    );
    check(two, &script, "46 452 full; 46 452 full");
    let script = format!("{start}S: 250 ok\nS: 421 bye\nS: 503 x\nS: 503 x");
    check(two, &script, "47 421 bye; 47 421 bye");
}

#[test]
fn one_round_trip_with_bdat() {
    let start = format!(
        "{}{GROUP}C: BDAT 5 LAST\nC: .hi\nC: QUIT\n",
        hello("CHUNKING")
    );
    let script = format!("{start}S: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 221 bye");
    let played = check(two, &script, "accepted -; 57 550 no");
    assert_eq!(played.outcome.facts.round_trips, 2);
    assert!(played.transcript.contains(&"> (5 octets)".to_owned()));
    let script = format!("{start}S: 250 ok\nS: 550 x\nS: 450 y\nS: 554 nobody\nS: 221 bye");
    check(two, &script, "57 550 x; 47 450 y");
    let script = format!("{start}S: 250 ok\nS: 250 x\nS: 250 y\nS: 452 full\nS: 221 bye");
    check(two, &script, "49 452 full; 49 452 full");
    // It has closed before it came to the message.
    let script = format!("{start}S: 250 ok\nS: 421 x");
    check(two, &script, "47 421 x; 47 421 x");
    // Nobody knows what it makes of the message.
    let script = format!("{start}S: 250 ok\nS: 550 x\nS: 354 y");
    let fates = "57 550 x; unknown: the server's answer does not fit: 354 y";
    check(two, &script, fates);
}

#[test]
fn extensions_can_be_left_alone() {
    let script = format!(
        "{}C: MAIL FROM:<a@b.c>\nS: 550 no\nC: QUIT\nS: 221 bye",
        hello("CHUNKING")
    );
    let without = || Plan {
        pipelining: false,
        ..two()
    };
    check(without, &script, "56 550 no; 56 550 no");
    let script = format!(
        "{}{GROUP}C: DATA
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 450 no
        C: QUIT
        S: 221 bye",
        hello("CHUNKING")
    );
    let without = || Plan {
        chunking: false,
        ..two()
    };
    check(without, &script, "48 450 no; 48 450 no");
    let script = "S: 220 hi
        C: EHLO pc.example.org
        S: 250-hi
        S: 250 CHUNKING
        C: MAIL FROM:<a@b.c>
        S: 250 ok
        C: RCPT TO:<x@d.e>
        S: 250 ok
        C: RCPT TO:<y@d.e>
        S: 250 ok
        C: BDAT 5 LAST
        C: .hi
        S: 250 ok
        C: QUIT
        S: 221 bye";
    check(two, script, "accepted -; accepted -");
}

#[test]
fn messages_follow_one_another_in_one_round_trip() {
    let group = "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@d.e>\n";
    let script = format!(
        "{}{group}C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        C: hi
        C: .
        {group}C: DATA
        S: 554 spam
        S: 250 ok
        S: 250 ok
        S: 354 go
        C: hi
        C: .
        {group}C: DATA
        S: 250 OK id=2
        S: 250 ok
        S: 550 no
        S: 503 no
        C: QUIT
        S: 221 bye",
        hello("DSN")
    );
    let played = check(|| jobs(3), &script, "59 554 spam; accepted 2; 57 550 no");
    assert_eq!(played.outcome.facts.round_trips, 4);
    let bdat = "C: BDAT 4 LAST\nC: hi\n";
    let script = format!(
        "{}{group}{bdat}S: 250 ok
        S: 550 no
        S: 503 no
        C: RSET
        {group}{bdat}S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 250 OK id=2
        {group}{bdat}C: QUIT
        S: 250 ok
        S: 250 ok
        S: 250 OK id=3
        S: 221 bye",
        hello("CHUNKING")
    );
    let played = check(|| jobs(3), &script, "57 550 no; accepted 2; accepted 3");
    assert_eq!(played.outcome.facts.round_trips, 4);
    // Lost in between: only the message whose reply is missing is unknown.
    let script = format!(
        "{}{group}C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        C: hi
        C: .
        {group}C: DATA
        closed",
        hello("DSN")
    );
    let closed = "the server has closed the connection";
    let fates = format!("unknown: {closed}; 46 {closed}; 46 {closed}");
    check(|| jobs(3), &script, &fates);
}

/// A large message waits for its recipients; a group is no larger than its replies may be.
#[test]
fn large_messages_and_many_recipients() {
    let text = "x".repeat(300 << 10);
    let plan = || Plan {
        jobs: vec![job(&["x@d.e"], &text)],
        ..plan()
    };
    let group = format!(
        "{}C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@d.e>\n",
        hello("CHUNKING")
    );
    let script = format!("{group}S: 250 ok\nS: 550 no\nC: QUIT\nS: 221 bye");
    check(plan, &script, "57 550 no");
    let script = format!(
        "{group}S: 250 ok
        S: 250 ok
        C: BDAT 307202 LAST
        C: {text}
        C: QUIT
        S: 250 ok
        S: 221 bye"
    );
    check(plan, &script, "accepted -");
    let names: Vec<String> = (0..150).map(|number| format!("r{number}@d.e")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let plan = || Plan {
        jobs: vec![job(&names, "hi")],
        ..plan()
    };
    let commands: Vec<String> = ["MAIL FROM:<a@b.c>".to_owned()]
        .into_iter()
        .chain(names.iter().map(|name| format!("RCPT TO:<{name}>")))
        .chain(["DATA".to_owned()])
        .collect();
    let mut script = hello("DSN");
    for group in commands.chunks(100) {
        for command in group {
            script += &format!("C: {command}\n");
        }
        for command in group {
            let reply = if command == "DATA" {
                "354 go"
            } else {
                "250 ok"
            };
            script += &format!("S: {reply}\n");
        }
    }
    script += "C: hi\nC: .\nC: QUIT\nS: 250 ok\nS: 221 bye";
    let played = play(plan(), &script, usize::MAX);
    assert_eq!(played.exit_status(), 0);
    assert_eq!(played.outcome.facts.round_trips, 4);
}
