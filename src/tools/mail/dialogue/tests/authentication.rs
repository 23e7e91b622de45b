use super::super::outcome::Stage;
use super::*;
use crate::tools::mail::sasl::mechanism::Mechanism;

const TLS: TlsMode<'_> = TlsMode::Implicit {
    channel_binding: None,
};
const QUIT: &str = "C: QUIT\nS: 221 bye";
/// Of the canary.
const PLAIN: &str = "C: AUTH PLAIN AGFubgBzM2NyZXQgcGFzc1x3b3Jk\n";

fn hello(mechanisms: &str) -> String {
    format!("S: 220 hi\nC: EHLO pc.example.org\nS: 250-hi\nS: 250 AUTH {mechanisms}\n")
}

/// For the given password, only to be let in.
#[track_caller]
fn check_login(password: &str, change: impl Fn(&mut Plan<'_>), script: &str, end: &str) -> Played {
    let secret = Secret::new(password);
    let plan = || {
        let mut plan = Plan {
            tls: TLS,
            credentials: Some(credentials(&secret)),
            stop_after: Some(Stage::Auth),
            ..plan()
        };
        change(&mut plan);
        plan
    };
    let Some(mechanism) = end.strip_prefix("by ") else {
        return check(plan, script, end);
    };
    let played = check(plan, script, "stopped after Auth");
    let found = played.outcome.facts.mechanism.expect("a mechanism");
    assert_eq!(found.name(), mechanism);
    played
}

#[test]
fn plain_and_login() {
    let script = format!("{}{PLAIN}S: 235 ok\n{QUIT}", hello("LOGIN PLAIN"));
    let played = check_login(CANARY, |_| (), &script, "by PLAIN");
    assert!(
        played
            .transcript
            .contains(&"> AUTH PLAIN ********".to_owned())
    );
    let script = format!(
        "{}C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5u
        S: 334 UGFzc3dvcmQ6
        C: czNjcmV0IHBhc3Ncd29yZA==
        S: 235 ok
        {QUIT}",
        hello("LOGIN")
    );
    let played = check_login(CANARY, |_| (), &script, "by LOGIN");
    let expected = [
        "> AUTH LOGIN",
        "< 334 VXNlcm5hbWU6",
        "> ********",
        "< 334 UGFzc3dvcmQ6",
        "> ********",
        "< 235 ok",
    ];
    assert_eq!(played.transcript[4..10], expected);
    assert_eq!(played.outcome.facts.round_trips, 4);
}

#[test]
fn refusals() {
    for (reply, failure) in [
        ("535 5.7.8 bad password", "55 535 5.7.8 bad password"),
        ("454 4.7.0 later", "45 454 4.7.0 later"),
        ("534 too weak", "55 534 too weak"),
    ] {
        let script = format!("{}{PLAIN}S: {reply}\n{QUIT}", hello("PLAIN LOGIN"));
        check_login(CANARY, |_| (), &script, failure);
    }
    let start = format!("{}{PLAIN}", hello("PLAIN"));
    check_login(CANARY, |_| (), &format!("{start}S: 421 x"), "45 421 x");
    let failure = "45 the server's answer does not fit: 354 x";
    check_login(CANARY, |_| (), &format!("{start}S: 354 x"), failure);
    let failure = "45 the server has closed the connection";
    check_login(CANARY, |_| (), &format!("{start}closed"), failure);
    let failure = "55 a password is UTF-8 of at least one character, without control characters";
    check_login("", |_| (), &format!("{}{QUIT}", hello("PLAIN")), failure);
}

#[test]
fn never_in_clear_unless_it_is_allowed() {
    let none = |plan: &mut Plan<'_>| plan.tls = TlsMode::None;
    let script = format!("{}{QUIT}", hello("PLAIN CRAM-MD5"));
    let failure =
        "55 credentials are not sent in clear: --tls protects them, --insecure-auth sends them so";
    check_login(CANARY, none, &script, failure);
    let opportunistic = |plan: &mut Plan<'_>| plan.tls = TlsMode::Opportunistic;
    check_login(CANARY, opportunistic, &script, failure);
    let allowed = |plan: &mut Plan<'_>| {
        plan.tls = TlsMode::None;
        if let Some(credentials) = &mut plan.credentials {
            credentials.is_allowed_in_clear = true;
        }
    };
    let script = format!("{}{PLAIN}S: 235 ok\n{QUIT}", hello("PLAIN"));
    check_login(CANARY, allowed, &script, "by PLAIN");
}

#[test]
fn the_strongest_first_and_the_next_only_where_it_is_unknown() {
    let script = format!(
        "{}C: AUTH CRAM-MD5
        S: 504 what
        {PLAIN}S: 235 ok
        {QUIT}",
        hello("PLAIN CRAM-MD5")
    );
    check_login(CANARY, |_| (), &script, "by PLAIN");
    let script = format!("{}C: AUTH CRAM-MD5\nS: 504 what\n{QUIT}", hello("CRAM-MD5"));
    check_login(CANARY, |_| (), &script, "55 504 what");
    // The answer to a proof may be from someone who waits for the password.
    let script = format!(
        "{}C: AUTH CRAM-MD5
        S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
        C: YW5uIDRkMzZlMmE1M2UzMTUyODA0NmJhYTgwZmZjNzljMGQ0
        S: 504 what
        {QUIT}",
        hello("PLAIN CRAM-MD5")
    );
    check_login(CANARY, |_| (), &script, "55 504 what");
    let only = |plan: &mut Plan<'_>| {
        if let Some(credentials) = &mut plan.credentials {
            credentials.mechanisms = Some(&[Mechanism::Plain]);
        }
    };
    let script = format!("{}{PLAIN}S: 235 ok\n{QUIT}", hello("PLAIN CRAM-MD5"));
    check_login(CANARY, only, &script, "by PLAIN");
    let none = "55 the server offers LOGIN, and none of these can be used here";
    check_login(CANARY, only, &format!("{}{QUIT}", hello("LOGIN")), none);
}

/// RFC 7677 section 3, and what is wrong with a server that does not know the password.
#[test]
fn the_server_has_to_prove_itself() {
    let user = |plan: &mut Plan<'_>| {
        if let Some(credentials) = &mut plan.credentials {
            credentials.user = "user";
        }
    };
    let start = format!(
        "{}C: AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=
        S: 334 cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTY=
        C: Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqKWhObEYkazAscD1kSHpiWmFwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZFZRPQ==
        ",
        hello("PLAIN SCRAM-SHA-256")
    );
    let signature = "dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==";
    let by = "by SCRAM-SHA-256";
    let script = format!("{start}S: 334 {signature}\nC:\nS: 235 ok\n{QUIT}");
    check_login("pencil", user, &script, by);
    let script = format!("{start}S: 235 2.7.0 {signature}\n{QUIT}");
    check_login("pencil", user, &script, by);
    let failure = "55 the server accepts without the signature that proves it knows the password";
    check_login(
        "pencil",
        user,
        &format!("{start}S: 235 ok\n{QUIT}"),
        failure,
    );
    let failure = "55 the server's signature is wrong: it does not know the password";
    let wrong = signature.replace("dj02", "dj03");
    let script = format!("{start}S: 334 {wrong}\nC: *\nS: 501 cancelled\n{QUIT}");
    check_login("pencil", user, &script, failure);
}

#[test]
fn senseless_challenges_are_cancelled() {
    let start = format!("{}{PLAIN}", hello("PLAIN"));
    let unexpected = "55 the server sends a challenge where the mechanism has none";
    let base64 = "55 the server's challenge is not base64";
    let malformed =
        "55 the server's challenge does not have the form that the mechanism prescribes";
    for (challenge, failure) in [
        ("334 ", unexpected),
        ("334 !", base64),
        ("334-YQ==\nS: 334 YQ==", malformed),
    ] {
        // Not even an acceptance counts any more.
        for answer in ["501 cancelled", "235 welcome"] {
            let script = format!("{start}S: {challenge}\nC: *\nS: {answer}\n{QUIT}");
            check_login(CANARY, |_| (), &script, failure);
        }
    }
}

#[test]
fn what_a_server_repeats_is_not_shown() {
    for echo in [
        "AUTH PLAIN AGFubgBzM2NyZXQgcGFzc1x3b3Jk",
        "ann has s3cret pass\\word",
        "czNjcmV0IHBhc3Ncd29yZA==",
    ] {
        let script = format!(
            "{}{PLAIN}S: 500-what is\nS: 500 {echo}\n{QUIT}",
            hello("PLAIN")
        );
        check_login(CANARY, |_| (), &script, "55 500 what is ********");
        let script = format!("{}{PLAIN}S: {echo}", hello("PLAIN"));
        let words = "45 the server does not speak SMTP: the answer does not begin with a reply \
                     code from 200 to 599";
        check_login(CANARY, |_| (), &script, words);
    }
}
