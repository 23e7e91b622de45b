use super::*;
use crate::tools::mail::dialogue::outcome::{Protection, Stage};

const HELLO: &str = "C: EHLO pc.example.org\n";

/// Every answer to the first two commands, and what comes of each.
#[test]
fn greetings_and_hellos() {
    let quit = "C: QUIT\nS: 221 bye";
    check(plan, &format!("S: 554 no\n{quit}"), "53 554 no");
    check(
        plan,
        &format!("S: 450-not\nS: 450 now\n{quit}"),
        "43 450 not now",
    );
    check(plan, "S: 421 busy", "43 421 busy");
    check(
        plan,
        "S: 354 go",
        "43 the server's answer does not fit: 354 go",
    );
    let words = "the server does not speak SMTP: the answer does not begin with a reply code from \
                 200 to 599";
    let garbled = check(plan, "S: HTTP/1.1 400 Bad", &format!("43 {words}"));
    assert!(garbled.transcript[0].starts_with("< H"));
    let hello = format!("S: 220 hi\n{HELLO}");
    check(plan, &format!("{hello}S: 421 x"), "44 421 x");
    check(plan, &format!("{hello}S: 451 x\n{quit}"), "44 451 x");
    check(
        plan,
        &format!("{hello}S: 354 x"),
        "44 the server's answer does not fit: 354 x",
    );
    let helo = format!("{hello}S: 502 what\nC: HELO pc.example.org\n");
    check(plan, &format!("{helo}S: 550 x\n{quit}"), "54 550 x");
    check(plan, &format!("{helo}S: 450 x\n{quit}"), "44 450 x");
    check(
        plan,
        &format!("{helo}S: 399 x"),
        "44 the server's answer does not fit: 399 x",
    );
    check(plan, &format!("{hello}S: x"), &format!("44 {words}"));
    check(
        plan,
        &format!("{hello}S: 250 hi\nS: 250 again"),
        "46 the server says more than it was asked",
    );
    check(
        plan,
        &format!("{hello}S: 250 hi\nS: 421 shutting down"),
        "46 421 shutting down",
    );
}

#[test]
fn an_old_server_gets_its_mail_after_helo() {
    let script = "S: 220 hi
        C: EHLO pc.example.org
        S: 500 what
        C: HELO pc.example.org
        S: 250 hi
        C: MAIL FROM:<a@b.c>
        S: 250 ok
        C: RCPT TO:<b@d.e>
        S: 251 ok
        C: DATA
        S: 354 go
        C: Subject: x
        C:
        C: ..hi
        C: .
        S: 250 ok
        C: QUIT
        S: 221 bye";
    let played = check(plan, script, "accepted -");
    assert_eq!(played.exit_status(), 0);
    assert_eq!(played.outcome.facts.round_trips, 6);
    assert_eq!(
        played.patience,
        [
            Patience::Greeting,
            Patience::Ehlo,
            Patience::Ehlo,
            Patience::Mail,
            Patience::Rcpt,
            Patience::Data,
            Patience::FinalDot,
            Patience::Quit
        ]
    );
}

fn with(tls: TlsMode<'static>) -> impl Fn() -> Plan<'static> {
    move || Plan { tls, ..plan() }
}

const OFFERED: &str = "S: 220 hi
    C: EHLO pc.example.org
    S: 250-hi
    S: 250-AUTH PLAIN
    S: 250 STARTTLS
    C: STARTTLS
    ";
const STRIPPED: &str = "S: 220 hi
    C: EHLO pc.example.org
    S: 250 hi
    ";

#[test]
fn nothing_learnt_before_tls_survives_it() {
    let script = format!(
        "{OFFERED}S: 220 go
        TLS
        C: EHLO pc.example.org
        S: 250-hi
        S: 250-STARTTLS
        S: 250 AUTH LOGIN
        C: MAIL FROM:<a@b.c>
        S: 550 no
        C: QUIT
        S: 221 bye"
    );
    for tls in [TlsMode::StartTls, TlsMode::Opportunistic] {
        let played = check(with(tls), &script, "56 550 no");
        let facts = played.outcome.facts;
        assert_eq!(facts.protection, Protection::StartTls);
        assert_eq!(facts.extensions.auth, ["LOGIN"]);
        assert_eq!(facts.round_trips, 4);
    }
    // An EHLO that fails over TLS leaves nothing of the one before.
    let script = format!(
        "{OFFERED}S: 220 go
        TLS
        C: EHLO pc.example.org
        S: 500 what
        C: HELO pc.example.org
        S: 250 hi
        C: QUIT
        S: 221 bye"
    );
    let secret = Secret::new(CANARY);
    let plan = || Plan {
        credentials: Some(credentials(&secret)),
        ..with(TlsMode::StartTls)()
    };
    let words = "55 the server offers no authentication";
    check(plan, &script, words);
}

#[test]
fn replies_behind_starttls_are_an_attack() {
    for injected in ["250 ok", "250-hi\nS: 250 AUTH PLAIN", "x", ""] {
        let words = "54 replies in clear follow the one to STARTTLS: someone may be in between";
        for tls in [TlsMode::StartTls, TlsMode::Opportunistic] {
            check(
                with(tls),
                &format!("{OFFERED}S: 220 go\nS: {injected}"),
                words,
            );
        }
    }
}

#[test]
fn starttls_stripped_or_refused() {
    let quit = "C: QUIT\nS: 221 bye";
    let words = "54 the server does not offer STARTTLS";
    check(with(TlsMode::StartTls), &format!("{STRIPPED}{quit}"), words);
    for (reply, fate) in [("454 later", "44 454 later"), ("554 no", "54 554 no")] {
        let script = format!("{OFFERED}S: {reply}\n{quit}");
        check(with(TlsMode::StartTls), &script, fate);
    }
    for tls in [TlsMode::StartTls, TlsMode::Opportunistic] {
        check(with(tls), &format!("{OFFERED}S: 421 no"), "44 421 no");
        for reply in ["250 ok", "354 go"] {
            let fate = format!("44 the server's answer does not fit: {reply}");
            check(with(tls), &format!("{OFFERED}S: {reply}"), &fate);
        }
    }
    let mail = "C: MAIL FROM:<a@b.c>\nS: 450 no\nC: QUIT\nS: 221 bye";
    for (start, words) in [
        (STRIPPED.to_owned(), "the server does not offer STARTTLS"),
        (format!("{OFFERED}S: 454 later\n"), "454 later"),
    ] {
        let played = check(
            with(TlsMode::Opportunistic),
            &format!("{start}{mail}"),
            "46 450 no",
        );
        match played.outcome.facts.protection {
            Protection::ClearAfter(reason) => assert_eq!(reason.to_string(), words),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_failed_handshake() {
    for (is_temporary, fate) in [
        (true, "42 TLS could not be started"),
        (false, "52 TLS could not be started"),
    ] {
        let mut dialogue = Dialogue::new(with(TlsMode::StartTls)());
        for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            while !matches!(dialogue.poll(), Step::Receive { .. }) {}
            dialogue.received(reply.as_bytes());
        }
        assert!(matches!(dialogue.poll(), Step::StartTls));
        dialogue.tls_failed(is_temporary);
        assert!(matches!(dialogue.poll(), Step::Done));
        let played = Played {
            outcome: dialogue.into_outcome(),
            transcript: Vec::new(),
            patience: Vec::new(),
        };
        assert_eq!(played.fates(), fate);
    }
    let script = format!("{OFFERED}S: 220 go\nclosed");
    let fate = "42 the server has closed the connection";
    check(with(TlsMode::StartTls), &script, fate);
}

#[test]
fn early_stops() {
    #[track_caller]
    fn check_stop(stage: Stage, tls: TlsMode<'static>, script: &str) {
        let plan = || Plan {
            stop_after: Some(stage),
            tls,
            ..plan()
        };
        let script = format!("{script}\nC: QUIT\nS: 221 bye");
        let played = check(plan, &script, &format!("stopped after {stage:?}"));
        assert_eq!(played.exit_status(), 0);
    }
    check_stop(Stage::Greeting, TlsMode::StartTls, "S: 220 hi");
    check_stop(
        Stage::Tls,
        TlsMode::StartTls,
        &format!("{OFFERED}S: 220 go\nTLS"),
    );
    let again = format!("{OFFERED}S: 220 go\nTLS\n{HELLO}S: 250 hi");
    check_stop(Stage::Ehlo, TlsMode::StartTls, &again);
    check_stop(Stage::Auth, TlsMode::StartTls, &again);
    check_stop(Stage::Ehlo, TlsMode::None, STRIPPED);
}
