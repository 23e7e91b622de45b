//! AUTH, RFC 4954, with the server's side of each mechanism.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::server::{BYE, ENVELOPE, LETTER, Server, Told};
use crate::support::{Running, place};

const PASSWORD: &str = "pencil";

fn base64(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

fn hello(auth: &str) -> String {
    format!("S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 AUTH {auth}\n")
}

/// With the password from the environment.
#[track_caller]
fn run(server: Server, options: &str) -> Told {
    let place = place();
    let tls = match options.contains("--tls") {
        true => "",
        false => "--tls none",
    };
    let line = format!(
        "mail --server {} {tls} {LETTER} --user ann {options}",
        server.address
    );
    let mut command = place.nsh();
    command
        .args(["-c", &line])
        .env("NSH_MAIL_PASSWORD", PASSWORD);
    let ran = Running::of(command).end();
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.end()));
    let said = said.unwrap_or_else(|_| panic!("the script was not played: {ran:#?}"));
    Told { place, ran, said }
}

#[track_caller]
fn check(options: &str, script: &str, status: i32, expected: &str) -> Told {
    let told = run(Server::start(script), options);
    told.check(status, expected);
    told
}

#[test]
fn mechanisms_with_the_password_in_them() {
    let plain = base64("\0ann\0pencil");
    let letter = format!("{ENVELOPE}S: 250 ok\n{BYE}");
    let script = format!(
        "{}C: AUTH PLAIN {plain}\nS: 235 fine\n{letter}",
        hello("LOGIN PLAIN")
    );
    check(
        "--insecure-auth",
        &script,
        0,
        "> AUTH PLAIN ********\n< 235 fine\n",
    );
    let login = format!(
        "{}C: AUTH LOGIN\nS: 334 {}\nC: {}\nS: 334 {}\nC: {}\nS: 235 fine\n{letter}",
        hello("LOGIN PLAIN"),
        base64("Username:"),
        base64("ann"),
        base64("Password:"),
        base64(PASSWORD),
    );
    check("--insecure-auth --auth LOGIN", &login, 0, "< 235 fine\n");
    // 504: not known after all, so the next one.
    let next = login.replace(
        "C: AUTH LOGIN",
        &format!("C: AUTH PLAIN {plain}\nS: 504 not here\nC: AUTH LOGIN"),
    );
    check("--insecure-auth", &next, 0, "accepted");
}

#[test]
fn cram_md5() {
    let challenge = "<1896.697170952@postoffice.example.net>";
    let mut mac = Hmac::<Md5>::new_from_slice(PASSWORD.as_bytes()).expect("any key");
    mac.update(challenge.as_bytes());
    let digest = mac.finalize().into_bytes();
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let script = format!(
        "{}C: AUTH CRAM-MD5\nS: 334 {}\nC: {}\nS: 235 fine\n{ENVELOPE}S: 250 ok\n{BYE}",
        hello("PLAIN CRAM-MD5"),
        base64(challenge),
        base64(format!("ann {digest}")),
    );
    check(
        "--insecure-auth",
        &script,
        0,
        "> AUTH CRAM-MD5\n< 334 ...\n> ********\n< 235 fine\n",
    );
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The server's side of RFC 7677, to the message with its signature, which ends with `signed`.
fn scram(signed: fn(Vec<u8>) -> String) -> Server {
    Server::by(Default::default(), move |conversation| {
        conversation.play(&hello("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"));
        let decode =
            |text: &str| String::from_utf8(STANDARD.decode(text.trim_end()).expect("base64"));
        let line = conversation.hear();
        let first = line
            .strip_prefix("AUTH SCRAM-SHA-256 ")
            .expect("the strongest");
        let first = decode(first).expect("UTF-8");
        let bare = first.strip_prefix("n,,").expect("no channel binding");
        let nonce = bare.strip_prefix("n=ann,r=").expect("the user");
        let challenge = format!("r={nonce}more,s={},i=4096", base64("salt and pepper"));
        conversation.play(&format!("S: 334 {}", base64(&challenge)));
        let last = decode(&conversation.hear()).expect("UTF-8");
        let (without_proof, proof) = last.split_once(",p=").expect("a proof");
        assert_eq!(without_proof, format!("c=biws,r={nonce}more"));
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(PASSWORD.as_bytes(), b"salt and pepper", 4096, &mut salted);
        let client_key = hmac(&salted, "Client Key");
        let message = format!("{bare},{challenge},{without_proof}");
        let signature = hmac(&Sha256::digest(&client_key), &message);
        let expected: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, octet)| key ^ octet)
            .collect();
        assert_eq!(proof, base64(expected));
        let signature = hmac(&hmac(&salted, "Server Key"), &message);
        conversation.play(&signed(signature));
    })
}

#[test]
fn scram_sha_256() {
    let good = |signature| {
        let last = base64(format!("v={}", base64(signature)));
        format!("S: 334 {last}\nC: \nS: 235 fine\n{ENVELOPE}S: 250 ok\n{BYE}")
    };
    let told = run(scram(good), "--insecure-auth");
    told.check(0, "> AUTH SCRAM-SHA-256 ********\n< 334 ...\n> ********\n");
    told.check(0, "bob@b.test: accepted: ok");
    let with_success = |signature| {
        let last = base64(format!("v={}", base64(signature)));
        format!("S: 235 {last}\n{ENVELOPE}S: 250 ok\n{BYE}")
    };
    run(scram(with_success), "--insecure-auth").check(0, "bob@b.test: accepted: ok");
    // Who cannot prove that it knows the password gets no mail.
    let liar = |_| {
        let last = base64(format!("v={}", base64([0; 32])));
        format!("S: 334 {last}\nC: ...\nS: 501 cancelled\n{BYE}")
    };
    let told = run(scram(liar), "--insecure-auth");
    told.check(55, "refused (auth): ");
    assert!(!told.said.contains("MAIL"), "{}", told.said);
    let silent = |_| "S: 235 fine\nC: QUIT\nS: 221 bye\n".to_owned();
    let told = run(scram(silent), "--insecure-auth");
    told.check(55, "refused (auth): ");
    // A refused proof is no reason to send the password itself.
    let refused = |_| "S: 535 5.7.8 no\nC: QUIT\nS: 221 bye\n".to_owned();
    run(scram(refused), "--insecure-auth").check(55, "refused (auth): 535 5.7.8 no");
}

#[test]
fn a_server_that_wants_a_password_to_be_guessed() {
    for (challenge, why) in [
        ("r=short,s=c2FsdA==,i=4096", "(auth): "),
        ("r=NONCEmore,s=c2FsdA==,i=1", "(auth): "),
        ("r=NONCEmore,s=c2FsdA==,i=4000000000", "(auth): "),
    ] {
        let server = Server::by(Default::default(), move |conversation| {
            conversation.play(&hello("PLAIN SCRAM-SHA-256"));
            let line = conversation.hear();
            let first = line.trim_end().rsplit(' ').next().expect("a word");
            let first = String::from_utf8(STANDARD.decode(first).expect("base64")).expect("UTF-8");
            let nonce = first.rsplit("r=").next().expect("a nonce");
            let challenge = base64(challenge.replace("NONCE", nonce));
            conversation.play(&format!(
                "S: 334 {challenge}\nC: *\nS: 501 cancelled\n{BYE}"
            ));
        });
        run(server, "--insecure-auth").check(55, why);
    }
}

#[test]
fn failures() {
    let attempt = format!("{}C: AUTH PLAIN ...\n", hello("PLAIN LOGIN"));
    let answer = |reply: &str| format!("{attempt}S: {reply}\n{BYE}");
    let option = "--insecure-auth";
    check(
        option,
        &answer("535 5.7.8 wrong"),
        55,
        "bob@b.test: refused (auth): 535 5.7.8 wrong",
    );
    check(
        option,
        &answer("454 4.7.0 later"),
        45,
        "bob@b.test: not now (auth): 454 4.7.0 later",
    );
    check(
        option,
        &format!("{attempt}S: 421 bye\n"),
        45,
        "not now (auth): 421 bye",
    );
    check(
        option,
        &attempt,
        45,
        "(auth): the server has closed the connection",
    );
    check(
        option,
        &format!("{attempt}S: what\nWAIT"),
        45,
        "(auth): the server does not speak SMTP",
    );
    check(
        option,
        &format!("{}{BYE}", hello("GSSAPI NTLM")),
        55,
        "refused (auth): the server offers GSSAPI, NTLM, and none of these can be used here",
    );
    check(
        "--insecure-auth --auth CRAM-MD5",
        &format!("{}{BYE}", hello("PLAIN LOGIN")),
        55,
        "refused (auth): the server offers PLAIN, LOGIN, and none of these",
    );
    // A challenge that is no base64, and one where none belongs.
    let script = format!(
        "{}C: AUTH CRAM-MD5\nS: 334 %%%\nC: *\nS: 501 cancelled\n{BYE}",
        hello("CRAM-MD5")
    );
    check(option, &script, 55, "refused (auth): ");
    let script = format!("{attempt}S: 334 \nC: *\nS: 501 cancelled\n{BYE}");
    check(option, &script, 55, "refused (auth): ");
}

#[test]
fn nothing_in_clear_without_being_asked() {
    for mechanisms in ["PLAIN LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let script = format!("{}{BYE}", hello(mechanisms));
        let told = run(Server::start(&script), "--tls opportunistic");
        told.check(55, "refused (auth): credentials are not sent in clear");
        assert!(!told.said.contains("AUTH"), "{}", told.said);
    }
    // Nobody is asked for them either.
    let ran = place().run(&[
        "-c",
        &format!("mail --server a.test --tls none {LETTER} --user ann"),
    ]);
    let words = "mail: credentials are not sent in clear: --tls implicit or starttls protects them, \
                 and --insecure-auth sends them so\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (words, 2));
}
