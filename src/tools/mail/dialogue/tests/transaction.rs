use super::*;
use crate::tools::mail::dialogue::outcome::Stage;
use crate::wire::smtp::command::{EnvelopeId, Notify, Return};

const HELLO: &str = "S: 220 hi
    C: EHLO pc.example.org
    S: 250 hi
    ";
const MAIL: &str = "C: MAIL FROM:<a@b.c>\n";
const RCPT: &str = "C: RCPT TO:<b@d.e>\n";
const TEXT: &str = "C: Subject: x\nC:\nC: ..hi\nC: .\n";
const QUIT: &str = "C: QUIT\nS: 221 bye";

/// A wrong answer to each command in turn: what is refused for now, for good, and what fits not.
#[test]
fn wrong_codes_at_each_stage() {
    #[track_caller]
    fn check_stage(start: &str, unit: u8, unexpected: &str) {
        for (code, class) in [(450, 4), (550, 5), (599, 5)] {
            let script = format!("{start}S: {code} no\n{QUIT}");
            check(plan, &script, &format!("{class}{unit} {code} no"));
        }
        check(
            plan,
            &format!("{start}S: 421 no"),
            &format!("4{unit} 421 no"),
        );
        let fate = format!("4{unit} the server's answer does not fit: {unexpected}");
        check(plan, &format!("{start}S: {unexpected}"), &fate);
        let garbled = format!("{start}S: garbage");
        let words = "the server does not speak SMTP: the answer does not begin with a reply code \
                     from 200 to 599";
        check(plan, &garbled, &format!("4{unit} {words}"));
    }
    check_stage(&format!("{HELLO}{MAIL}"), 6, "354 go");
    let rcpt = format!("{HELLO}{MAIL}S: 250 ok\n{RCPT}");
    check_stage(&rcpt, 7, "354 go");
    let data = format!("{rcpt}S: 250 ok\nC: DATA\n");
    check_stage(&data, 8, "250 ok");
    let end = format!("{data}S: 354 go\n{TEXT}");
    for (reply, fate) in [("452 full", "49 452 full"), ("554 spam", "59 554 spam")] {
        check(plan, &format!("{end}S: {reply}\n{QUIT}"), fate);
    }
    check(plan, &format!("{end}S: 421 no"), "49 421 no");
    let fate = "unknown: the server's answer does not fit: 354 more";
    check(plan, &format!("{end}S: 354 more"), fate);
    let fate = "unknown: the server does not speak SMTP: the answer does not begin with a reply \
                code from 200 to 599";
    check(plan, &format!("{end}S: \u{15}"), fate);
}

#[test]
fn what_is_shown() {
    let script = format!(
        "{HELLO}{MAIL}S: 250-o
        S: 250 k
        {RCPT}S: 250
        C: DATA
        S: 354 go
        {TEXT}S: 250 2.0.0 Ok: queued as 4D1F
        {QUIT}"
    );
    let played = check(plan, &script, "accepted 4D1F");
    let expected = [
        "< 220 hi",
        "> EHLO pc.example.org",
        "< 250 hi",
        "> MAIL FROM:<a@b.c>",
        "< 250-o",
        "< 250 k",
        "> RCPT TO:<b@d.e>",
        "< 250",
        "> DATA",
        "< 354 go",
        "> (19 octets)",
        "> .",
        "< 250 2.0.0 Ok: queued as 4D1F",
        "> QUIT",
        "< 221 bye",
    ];
    assert_eq!(played.transcript, expected);
}

#[test]
fn parameters_only_for_what_is_offered() {
    let asked = || {
        let mut plan = plan();
        plan.jobs[0].dsn = Dsn {
            returned: Some(Return::Headers),
            envelope_id: EnvelopeId::new("x=1").ok(),
            notify: Some(Notify {
                success: false,
                failure: true,
                delay: false,
            }),
        };
        plan.jobs[0].from = None;
        plan
    };
    let refuse = "S: 550 no\nC: QUIT\nS: 221 bye";
    let script = format!("{HELLO}C: MAIL FROM:<>\n{refuse}");
    check(asked, &script, "56 550 no");
    let script = format!(
        "S: 220 hi
        C: EHLO pc.example.org
        S: 250-hi
        S: 250-DSN
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250 SIZE 19
        C: MAIL FROM:<> SIZE=19 RET=HDRS ENVID=x+3D1
        S: 250 ok
        C: RCPT TO:<b@d.e> NOTIFY=FAILURE
        {refuse}"
    );
    check(asked, &script, "57 550 no");
    let eight = || Plan {
        jobs: vec![job(&["ü@d.e"], "Subject: x\n\nü")],
        ..plan()
    };
    let script = "S: 220 hi
        C: EHLO pc.example.org
        S: 250-hi
        S: 250-8BITMIME
        S: 250 SMTPUTF8
        C: MAIL FROM:<a@b.c> BODY=8BITMIME SMTPUTF8
        S: 250 ok
        C: RCPT TO:<ü@d.e>
        S: 550 no
        C: QUIT
        S: 221 bye";
    check(eight, script, "57 550 no");
}

/// Nothing is sent that the server cannot take, and the next message is.
#[test]
fn refused_before_mail() {
    #[track_caller]
    fn check_refused(offered: &str, recipient: &str, message: &str, fate: &str) {
        let plan = || Plan {
            jobs: vec![job(&[recipient], message), job(&["b@d.e"], "")],
            ..plan()
        };
        let script = format!(
            "S: 220 hi
            C: EHLO pc.example.org
            S: 250-hi
            S: 250 {offered}
            {MAIL}S: 450 later
            {QUIT}"
        );
        check(plan, &script, &format!("{fate}; 46 450 later"));
    }
    let needs = |name| format!("56 the server does not offer {name}, which the message needs");
    check_refused("8BITMIME", "ü@d.e", "", &needs("SMTPUTF8"));
    check_refused("8BITMIME", "b@d.e", "Subject: ü\n\nx", &needs("SMTPUTF8"));
    check_refused("SMTPUTF8", "b@d.e", "Subject: x\n\nü", &needs("8BITMIME"));
    let plan = || Plan {
        jobs: vec![job(&["b@d.e"], "four\n")],
        ..plan()
    };
    let script = format!("{}{QUIT}", HELLO.replace("250 hi", "250-hi\nS: 250 SIZE 5"));
    let fate = "56 the message has 6 octets, and the server takes 5";
    check(plan, &script, fate);
    let plan = || {
        let mut plan = plan();
        plan.jobs[0].recipients = vec![plan.jobs[0].recipients[0].clone(); 1001];
        plan
    };
    let script = format!("{HELLO}{QUIT}");
    let played = play(plan(), &script, 1);
    assert_eq!(played.exit_status(), 56);
    assert!(played.fates().ends_with("; 56 more than 1000 recipients"));
}

#[test]
fn recipients_are_taken_one_by_one() {
    let three = || Plan {
        jobs: vec![job(&["x@d.e", "y@d.e", "z@d.e"], "hi")],
        ..plan()
    };
    let envelope = format!(
        "{HELLO}{MAIL}S: 250 ok
        C: RCPT TO:<x@d.e>
        S: 550 5.1.1 unknown
        C: RCPT TO:<y@d.e>
        S: 250 ok
        C: RCPT TO:<z@d.e>
        S: 450 4.2.0 greylisted
        "
    );
    let script = format!("{envelope}C: DATA\nS: 354 go\nC: hi\nC: .\nS: 250 OK id=1a\n{QUIT}");
    let fates = "57 550 5.1.1 unknown; accepted 1a; 47 450 4.2.0 greylisted";
    let played = check(three, &script, fates);
    assert_eq!(played.exit_status(), 3);
    // Refused after all: each keeps the reason it had first.
    let script = format!("{envelope}C: DATA\nS: 554 no\n{QUIT}");
    let fates = "57 550 5.1.1 unknown; 58 554 no; 47 450 4.2.0 greylisted";
    let played = check(three, &script, fates);
    assert_eq!(played.exit_status(), 47);
    // A server that hangs up has taken nothing, whatever it has said before.
    let script = format!(
        "{HELLO}{MAIL}S: 250 ok
        C: RCPT TO:<x@d.e>
        S: 250 ok
        C: RCPT TO:<y@d.e>
        S: 421 bye"
    );
    check(three, &script, "47 421 bye; 47 421 bye; 47 421 bye");
}

#[test]
fn after_a_refused_message_comes_the_next() {
    let two = || Plan {
        jobs: vec![job(&["x@d.e"], "1"), job(&[], "2"), job(&["y@d.e"], "3")],
        ..plan()
    };
    let next = format!(
        "{MAIL}S: 250 ok
        C: RCPT TO:<y@d.e>
        S: 250 ok
        C: DATA
        S: 354 go
        C: 3
        C: .
        S: 250 ok
        {QUIT}"
    );
    let script = format!("{HELLO}{MAIL}S: 550 no\n{next}");
    check(two, &script, "56 550 no; accepted -");
    let refused = format!("{HELLO}{MAIL}S: 250 ok\nC: RCPT TO:<x@d.e>\nS: 550 no\n");
    let script = format!("{refused}C: RSET\nS: 250 ok\n{next}");
    check(two, &script, "57 550 no; accepted -");
    let script = format!("{refused}C: RSET\nS: 421 no");
    check(two, &script, "57 550 no; 46 421 no");
}

#[test]
fn later_stops() {
    #[track_caller]
    fn check_stop(stage: Stage, script: &str, is_closed: bool) {
        let plan = || Plan {
            stop_after: Some(stage),
            ..plan()
        };
        let quit = if is_closed { "" } else { QUIT };
        let fate = format!("stopped after {stage:?}");
        for hello in [
            HELLO.to_owned(),
            HELLO.replace("250 hi", "250-hi\nS: 250 CHUNKING"),
        ] {
            let script = format!("{hello}{script}{quit}");
            assert_eq!(check(plan, &script, &fate).exit_status(), 0);
        }
    }
    let mail = format!("{MAIL}S: 250 ok\n");
    let rcpt = format!("{mail}{RCPT}S: 250 ok\n");
    // Whatever is said to RSET.
    for reply in ["250 ok", "500 what", "421 bye"] {
        let reset = format!("C: RSET\nS: {reply}\n");
        check_stop(Stage::Mail, &format!("{mail}{reset}"), false);
        check_stop(Stage::Rcpt, &format!("{rcpt}{reset}"), false);
    }
    check_stop(Stage::Mail, &format!("{mail}C: RSET\nclosed\n"), true);
    check_stop(Stage::Data, &format!("{rcpt}C: DATA\nS: 354 go\n"), true);
}
