//! Servers that nobody wishes for, and who may stand between.

use std::net::TcpListener;

use native_tls::{Identity, TlsAcceptor};

use super::server::{BYE, ENVELOPE, HELLO, LETTER, Told, authority, certify, check, tell, tell_in};
use crate::support::{Place, place};

/// Without the times and ports.
fn told_lines(told: &Told) -> Vec<String> {
    let lines = told.ran.stdout.lines();
    lines
        .filter(|line| !line.starts_with("connected") && !line.starts_with("accepted by"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn replies_split_at_each_octet() {
    let replies = "250-mx.test\\r\\n250-SIZE 9999\\r\\n250 HELP\\r\\n";
    let session = |reply: &str| {
        format!(
            "S: 220 hi\nC: EHLO c.test\n{reply}C: MAIL FROM:<ann@a.test> SIZE=...\nS: 250 ok\n\
             C: RCPT TO:<bob@b.test>\nS: 250 ok\nC: DATA\nS: 354 go\nBODY\nS: 250 ok\n{BYE}"
        )
    };
    let whole = tell("", &session(&format!("S+ {replies}\n")));
    let whole = told_lines(&whole);
    assert!(
        whole.contains(&"bob@b.test: accepted: ok".to_owned()),
        "{whole:?}"
    );
    // An escape is one octet.
    let octets: Vec<String> = replies
        .replace("\\r\\n", "\r\n")
        .chars()
        .map(|octet| octet.escape_default().to_string())
        .collect();
    for at in 1..octets.len() {
        let (first, second) = octets.split_at(at);
        let split = format!("S+ {}\nS+ {}\n", first.concat(), second.concat());
        assert_eq!(told_lines(&tell("", &session(&split))), whole, "{split}");
    }
    let single: String = octets.iter().map(|octet| format!("S+ {octet}\n")).collect();
    assert_eq!(told_lines(&tell("", &session(&single))), whole);
}

#[test]
fn replies_without_an_end() {
    let line = "(greeting): the server does not speak SMTP: a reply line has more than 8192 octets";
    check("", "S+ 220 \nENDLESS xxxxxxxxxxxxxxxx\n", 43, line);
    let lines = "(greeting): the server does not speak SMTP: a reply has more than 100 lines";
    check("", "ENDLESS 220-x\\r\\n\n", 43, lines);
    let long = "x".repeat(1000);
    let octets = "(greeting): the server does not speak SMTP: a reply has more than 65536 octets";
    check("", &format!("ENDLESS 220-{long}\\r\\n\n"), 43, octets);
    let fits = format!("S: 220 {}\nC: EHLO c.test\nS: 421 bye\n", "x".repeat(8000));
    check("", &fits, 44, "not now (ehlo): 421 bye");
    let long = format!("{HELLO}C: MAIL ...\nS: 550 {}\nWAIT", "x".repeat(9000));
    check(
        "",
        &long,
        46,
        "(mail): the server does not speak SMTP: a reply line has more than",
    );
}

/// The time is for the reply, not for each of its octets or lines.
#[test]
fn replies_that_drip() {
    let late = "(greeting): the server has not answered in time";
    check("--timeout 500ms", "DRIP 220 x\nWAIT", 43, late);
    let lines = format!("DRIP {}x\nWAIT", "220-x\\r\\n".repeat(90));
    check("--timeout 500ms", &lines, 43, late);
    let later = format!("{HELLO}C: MAIL ...\nDRIP 250 x\nWAIT");
    check(
        "--timeout 3s",
        &later,
        46,
        "(mail): the server has not answered in time",
    );
}

/// Not one control character of the server's reaches the terminal, a program or a file.
#[test]
fn words_that_would_command_the_terminal() {
    let attack =
        "\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\xc2\\x9b31m\\xe2\\x80\\xae\\xff\\x00\\x08\\x0d\\x7f";
    for script in [
        format!("S: 554-{attack}\nS: 554 {attack}\n{BYE}"),
        format!(
            "S: 220 hi\nC: EHLO c.test\nS: 250-{attack}\nS: 250 AUTH {attack}\n{ENVELOPE}S: 250 queued as {attack}\n{BYE}"
        ),
        format!("{HELLO}C: MAIL ...\nS: 550 {attack}\n{BYE}"),
        format!("{HELLO}{ENVELOPE}S: {attack}\nWAIT"),
    ] {
        for global in ["", "--json"] {
            let server = super::server::Server::start(&script);
            let line = format!(
                "mail --server {} --tls none {LETTER} --transcript talk",
                server.address
            );
            let place = place();
            let mut arguments = vec!["-c", &line];
            arguments.splice(0..0, global.split_whitespace());
            let ran = place.run(&arguments);
            server.end();
            let is_shown = ran.stdout.contains("x1b[2J");
            assert!(is_shown, "{ran:?}");
            for text in [&ran.stdout, &ran.stderr, &place.read("talk")] {
                let is_hidden = |letter: char| matches!(letter, '\u{202e}' | '\u{feff}');
                let bad = text
                    .chars()
                    .find(|letter| letter.is_control() && *letter != '\n' || is_hidden(*letter));
                assert_eq!(bad, None, "{text:?}");
            }
        }
    }
}

#[test]
fn starttls() {
    let place = authority();
    certify(&place, "IP:127.0.0.1", "2");
    let script = format!(
        "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250-PIPELINING\nS: 250-SIZE 1\nS: 250 STARTTLS\n\
         C: STARTTLS\nS: 220 go\nTLS\nC: EHLO c.test\nS: 250 mx.test\n{ENVELOPE}S: 250 ok\n{BYE}"
    );
    let told = tell_in(
        place,
        &format!("--tls starttls --ca root.pem {LETTER}"),
        &script,
    );
    told.check(
        0,
        "< 220 go\nTLS 1.2, ..., certificate of ..., ... left\n> EHLO c.test\n",
    );
}

/// RFC 3207 section 6: from someone between.
#[test]
fn replies_behind_starttls() {
    let hello = "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 STARTTLS\nC: STARTTLS\n";
    for injected in ["250 mx.test\\r\\n", "250-mx", "\\x16\\x03\\x01"] {
        for mode in ["starttls", "opportunistic"] {
            let script = format!("{hello}S+ 220 go\\r\\n{injected}\nWAIT");
            let told = tell_in(place(), &format!("--tls {mode} {LETTER}"), &script);
            told.check(
                54,
                "(ehlo): replies in clear follow the one to STARTTLS: someone may be in between",
            );
            assert!(!told.said.contains("MAIL"), "{}", told.said);
        }
    }
}

/// Why is told, also where only the end is wanted.
#[test]
fn a_certificate_behind_starttls_that_is_not_trusted() {
    let place = authority();
    certify(&place, "IP:127.0.0.1", "2");
    let (certificate, key) = (place.read("cert.pem"), place.read("key.pem"));
    let script = "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 STARTTLS\n\
                  C: STARTTLS\nS: 220 go\nTLS\nWAIT";
    for mode in ["starttls", "opportunistic", "starttls -q"] {
        let place = authority();
        place.write("cert.pem", &certificate);
        place.write("key.pem", &key);
        let told = tell_in(place, &format!("--tls {mode} {LETTER}"), script);
        let words = "the certificate of 127.0.0.1 is not trusted: its issuer is not known here";
        told.check(52, &format!("nothing was sent (tls): {words}"));
        assert!(!told.said.contains("MAIL"), "{}", told.said);
    }
}

#[test]
fn starttls_that_is_not_to_be_had() {
    let stripped = format!("{HELLO}{BYE}");
    let told = tell_in(place(), &format!("--tls starttls {LETTER}"), &stripped);
    told.check(54, "refused (ehlo): the server does not offer STARTTLS");
    let offer = "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 STARTTLS\nC: STARTTLS\n";
    let told = tell_in(
        place(),
        &format!("--tls starttls {LETTER}"),
        &format!("{offer}S: 454 later\n{BYE}"),
    );
    told.check(44, "not now (ehlo): 454 later");
    let told = tell_in(
        place(),
        &format!("--tls starttls {LETTER}"),
        &format!("{offer}S: 250 what\nWAIT"),
    );
    told.check(44, "(ehlo): the server's answer does not fit: 250 what");
    // The port of submission says it, without the option.
    let told = tell_in(
        place(),
        &format!("--tls starttls --stop-after tls {LETTER}"),
        &stripped,
    );
    told.check(54, "the server does not offer STARTTLS");
}

/// Who reads along is not a matter to be silent about.
#[test]
fn opportunistic_goes_on_in_clear_and_says_so() {
    let offer =
        "S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 later\n";
    for (script, why) in [(HELLO, "does not offer STARTTLS"), (offer, "454 later")] {
        let script = format!("{script}{ENVELOPE}S: 250 ok\n{BYE}");
        for quiet in ["", "-q"] {
            let told = tell_in(
                place(),
                &format!("--tls opportunistic {LETTER} {quiet}"),
                &script,
            );
            told.check(0, "bob@b.test: accepted");
            let says = |line: &str| line.contains("in clear") && line.contains(why);
            assert!(told.ran.stdout.lines().any(says), "{:#?}", told.ran);
        }
    }
}

#[test]
fn tls_on_a_plain_port() {
    let script = "S: 220 mx.test ready\nWAIT";
    let told = tell_in(place(), &format!("--tls implicit {LETTER}"), script);
    told.check(52, "nothing was sent (tls): no TLS with 127.0.0.1: that port speaks plain text first (SMTP greeting '220 mx.test ready'); take --tls starttls\n");
    let told = tell_in(
        place(),
        &format!("--tls implicit {LETTER}"),
        "S: \\x1b[2Jhello\nWAIT",
    );
    told.check(52, "that port speaks plain text ('\\x1b[2Jhello')");
}

/// A port that speaks TLS from the first octet on, to everybody who comes.
fn tls_port(place: &Place, greeting: &'static str) -> String {
    let identity = Identity::from_pkcs8(
        place.read("cert.pem").as_bytes(),
        place.read("key.pem").as_bytes(),
    );
    let acceptor = TlsAcceptor::new(identity.expect("a certificate")).expect("an acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let acceptor = acceptor.clone();
            std::thread::spawn(move || {
                let mut stream = acceptor.accept(tcp).ok()?;
                std::io::Write::write_all(&mut stream, greeting.as_bytes()).ok()?;
                std::io::copy(&mut stream, &mut std::io::sink()).ok()
            });
        }
    });
    address
}

#[test]
fn plain_on_a_tls_port() {
    let place = authority();
    certify(&place, "IP:127.0.0.1", "2");
    let address = tls_port(&place, "220 hi\r\n");
    let line = format!("mail --server {address} --tls none {LETTER}");
    let ran = place.run(&["-c", &line]);
    let words = format!(
        "nothing was sent (tls): {address} waits for TLS from the first octet on; take --tls implicit\n"
    );
    assert!(ran.stdout.ends_with(&words) && ran.status == 52, "{ran:?}");
}

/// Whether the certificate was taken: then the greeting ends it.
#[track_caller]
fn meet(place: &Place, options: &str, status: i32, expected: &str) {
    let address = tls_port(place, "421 not now\r\n");
    let (_, port) = address.split_once(':').expect("a port");
    let host = match options.contains("--by-name") {
        true => "localhost",
        false => "127.0.0.1",
    };
    let options = options.replace("--by-name", "");
    let line = format!("mail --server {host}:{port} --tls implicit {LETTER} {options}");
    let ran = place.run(&["-c", &line]);
    let pattern = format!("...{expected}...");
    assert!(
        crate::support::matches(&pattern, &ran.stdout),
        "{expected}: {ran:#?}"
    );
    assert_eq!(ran.status, status, "{ran:#?}");
}

#[test]
fn certificates() {
    let good = "TLS 1.2, ..., certificate of ...\n< 421 not now\n";
    let place = authority();
    certify(&place, "IP:127.0.0.1,DNS:localhost", "2");
    meet(&place, "--ca root.pem", 43, good);
    meet(&place, "--ca root.pem --by-name", 43, good);
    meet(&place, "-k", 43, good);
    let refused = "nothing was sent (tls): the certificate of 127.0.0.1 is not trusted: ";
    meet(
        &place,
        "",
        52,
        &format!("{refused}its issuer is not known here (for localhost"),
    );
    // Of its own authority the place has another.
    let other = authority();
    place.write("other.pem", other.read("root.pem"));
    meet(
        &place,
        "--ca other.pem",
        52,
        &format!("{refused}its issuer is not known here"),
    );
    certify(&place, "DNS:elsewhere.test", "2");
    meet(
        &place,
        "--ca root.pem",
        52,
        &format!("{refused}it is not for this host (for elsewhere.test; by Root; "),
    );
    certify(&place, "IP:127.0.0.1", "-1");
    meet(
        &place,
        "--ca root.pem",
        52,
        &format!("{refused}it has expired"),
    );
    meet(&place, "-k", 43, "..., -... days left\n< 421");
    let place = crate::support::place();
    place.certify();
    meet(
        &place,
        "",
        52,
        &format!("{refused}it is signed by itself, and not known here"),
    );
    meet(&place, "--ca cert.pem", 43, good);
}

#[test]
fn pins() {
    let place = authority();
    certify(&place, "IP:127.0.0.1", "2");
    let fingerprint = place.openssl("x509 -in cert.pem -noout -fingerprint -sha256");
    let pin = fingerprint
        .trim()
        .rsplit('=')
        .next()
        .expect("a fingerprint");
    let wrong = "0".repeat(64);
    let good = "TLS 1.2, ...\n< 421 not now\n";
    meet(&place, &format!("--ca root.pem --pin {pin}"), 43, good);
    meet(
        &place,
        &format!("--ca root.pem --pin {wrong} --pin {pin}"),
        43,
        good,
    );
    meet(&place, &format!("-k --pin {pin}"), 43, good);
    let hex = pin.replace(':', "").to_lowercase();
    let refused = format!(
        "the certificate of 127.0.0.1 is not the pinned one: its SHA-256 is {hex}, and its public key's is "
    );
    meet(
        &place,
        &format!("--ca root.pem --pin {wrong}"),
        52,
        &refused,
    );
    meet(&place, &format!("-k --pin {wrong}"), 52, &refused);
    // Who has it needs no authority for it.
    meet(&place, &format!("--pin {pin}"), 43, good);
    meet(&place, &format!("--pin {wrong}"), 52, &refused);
}

/// OpenSSL's server, since native-tls's asks for none.
#[test]
fn client_certificates() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let place = authority();
    certify(&place, "IP:127.0.0.1", "2");
    for (options, status, expected) in [
        (
            "--client-cert cert.pem --client-key key.pem",
            43,
            "TLS 1.3, ...\n< 421 not now\n",
        ),
        ("", 43, "(greeting): "),
    ] {
        let mut server = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-Verify",
                "1",
                "-verify_return_error",
            ])
            .args([
                "-CAfile", "root.pem", "-cert", "cert.pem", "-key", "key.pem",
            ])
            .current_dir(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let mut lines = BufReader::new(server.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok);
        let address = lines
            .find_map(|line| Some(line.strip_prefix("ACCEPT ")?.to_owned()))
            .expect("an address");
        std::thread::spawn(move || lines.for_each(drop));
        let mut stdin = server.stdin.take().expect("piped");
        stdin.write_all(b"421 not now\r\n").expect("it reads");
        let line =
            format!("mail --server {address} --tls implicit {LETTER} --ca root.pem {options}");
        let ran = place.run(&["-c", &line]);
        let _ = server.kill();
        let _ = server.wait();
        let pattern = format!("...{expected}...");
        assert!(crate::support::matches(&pattern, &ran.stdout), "{ran:#?}");
        assert_eq!(ran.status, status, "{ran:#?}");
        assert_eq!(
            ran.stdout.contains("421 not now"),
            !options.is_empty(),
            "{ran:#?}"
        );
    }
}
