use std::io::{Read, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::servers::{GREETING, Place, Reversing, listen, plain, secure};
use super::*;
use crate::net::tls::files;

const LONG: Duration = Duration::from_secs(30);

/// Believes the place's authority.
fn options(place: &Place) -> Options {
    let root = place.0.path().join("root.pem");
    Options {
        host: "localhost".to_owned(),
        trust: Trust {
            authorities: files::certificates(&root).expect("a certificate"),
            scrutiny: Scrutiny::Strict,
        },
        pins: Vec::new(),
        identity: None,
    }
}

fn connect(address: SocketAddr) -> Connection {
    let cancel = Cancel::new().expect("an eventfd");
    tcp::connect(address, clock::now() + LONG, &cancel).expect("a connection")
}

fn begin_at(address: SocketAddr, options: &Options) -> Result<(Stream, Session), Error> {
    begin(connect(address), options, clock::now() + LONG)
}

#[track_caller]
fn accept(address: SocketAddr, options: &Options) -> (Stream, Session) {
    begin_at(address, options).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refuse(address: SocketAddr, options: &Options) -> String {
    match begin_at(address, options) {
        Ok((_, session)) => panic!("{session:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn say(stream: &mut Stream, text: &str) {
    let sent = stream.write_all(text.as_bytes(), clock::now() + LONG);
    sent.unwrap_or_else(|error| panic!("{error}"));
}

/// A line, or the error in its place.
fn read_line(stream: &mut Stream) -> String {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\n") {
        match stream.read(&mut octet, clock::now() + LONG) {
            Ok(0) => break,
            Ok(_) => line.push(octet[0]),
            Err(error) => return error.to_string(),
        }
    }
    String::from_utf8(line).expect("text")
}

#[test]
fn what_was_agreed_on_is_told() {
    let place = Place::new();
    place.certify("good", "DNS:localhost,DNS:mx.example", "2");
    let server = Reversing::start(&place, "");
    let (mut stream, session) = accept(server.1, &options(&place));
    say(&mut stream, "abc\n");
    assert_eq!(read_line(&mut stream), "cba\n");
    assert_eq!(session.version, "TLS 1.3");
    assert_eq!(session.suite, "TLS_AES_256_GCM_SHA384");
    let leaf = session.leaf.expect("a certificate");
    assert_eq!(leaf.dns_names, ["localhost", "mx.example"]);
    assert_eq!(leaf.issuer.as_deref(), Some("Root"));
    // Two, but for the moment since it was made.
    assert!((Some(1)..=Some(2)).contains(&session.days_left));
    // RFC 5929 section 4.1: by the hash of its signature, which is SHA-256 here.
    let digest = Sha256::digest(&session.chain[0]).to_vec();
    assert_eq!(session.channel_binding, Some(digest));

    let (mut stream, session) = accept(secure(place.acceptor("good")), &options(&place));
    assert_eq!(read_line(&mut stream).as_bytes(), GREETING);
    assert_eq!(session.version, "TLS 1.2");
    let suite = session.suite;
    assert!(suite.starts_with("TLS_ECDHE_ECDSA_WITH_"), "{suite}");
}

#[test]
fn tls_in_the_middle_of_a_dialogue() {
    let place = Place::new();
    place.certify("good", "DNS:localhost", "2");
    let acceptor = place.acceptor("good");
    let address = listen(move |mut stream| {
        stream.write_all(b"220 go ahead\r\n").expect("sent");
        let mut stream = acceptor.accept(stream).expect("a handshake");
        stream.write_all(b"250 in private\r\n").expect("sent");
        let _ = stream.read(&mut [0; 64]);
    });
    let mut stream = Stream::Plain(connect(address));
    assert_eq!(read_line(&mut stream), "220 go ahead\r\n");
    let Stream::Plain(connection) = stream else {
        panic!("TLS already");
    };
    let upgraded = begin(connection, &options(&place), clock::now() + LONG);
    let (mut stream, _) = upgraded.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read_line(&mut stream), "250 in private\r\n");
}

/// The refusal without the dates, of which the end comes back in days from now.
#[track_caller]
fn check_refused(place: &Place, name: &str, expected: &str) {
    let text = refuse(secure(place.acceptor(name)), &options(place));
    let (facts, _) = text.rsplit_once("; from ").unwrap_or((&text, ""));
    let prefix = "the certificate of localhost is not trusted: ";
    assert_eq!(facts, format!("{prefix}{expected}"));
}

#[test]
fn refusals_say_why_and_what_the_certificate_is() {
    let place = Place::new();
    place.certify("expired", "DNS:localhost", "-1");
    check_refused(&place, "expired", "it has expired (for localhost; by Root");
    place.certify("good", "DNS:good.example", "2");
    place.certify("other", "DNS:a.example,DNS:b.example", "2");
    check_refused(
        &place,
        "other",
        "it is not for this host (for a.example, b.example; by Root",
    );
    place.openssl(
        "req -x509 -newkey KEY -nodes -days 2 -subj /CN=localhost -keyout own.key -out own.pem",
    );
    check_refused(
        &place,
        "own",
        "it is signed by itself, and not known here (for localhost; by localhost",
    );
    let server = Reversing::start(&place, "");
    let mut elsewhere = options(&place);
    elsewhere.host = "192.0.2.1".to_owned();
    let text = refuse(server.1, &elsewhere);
    let expected = "not trusted: it is not for this host (for good.example; by Root; from ";
    assert!(text.contains(expected), "{text}");
    let stranger = Place::new();
    stranger.certify("good", "DNS:localhost", "2");
    let text = refuse(secure(stranger.acceptor("good")), &options(&place));
    let expected = "not trusted: its issuer is not known here (for localhost; by Root; from ";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn without_trust_a_certificate_is_told_all_the_same() {
    let place = Place::new();
    place.certify("expired", "DNS:a.example", "-1");
    let mut options = options(&place);
    options.trust.scrutiny = Scrutiny::None;
    let address = secure(place.acceptor("expired"));
    let (mut stream, session) = accept(address, &options);
    assert_eq!(read_line(&mut stream).as_bytes(), GREETING);
    drop(stream);
    assert!(session.days_left < Some(0), "{:?}", session.days_left);
    options.pins = vec!["00".repeat(32).parse().expect("a pin")];
    let text = refuse(address, &options);
    assert!(text.contains("is not the pinned one"), "{text}");
}

#[test]
fn pins() {
    let place = Place::new();
    place.certify("good", "DNS:localhost", "2");
    let address = secure(place.acceptor("good"));
    let (_, session) = accept(address, &options(&place));
    let certificate = Pin::of(&session.chain[0]).to_string();
    let leaf = session.leaf.expect("a certificate");
    let public_key = Pin::of(&leaf.public_key_info).to_string();
    let wrong = "00".repeat(32);
    let with_pins = |pins: &[&String]| Options {
        pins: pins.iter().map(|pin| pin.parse().expect("a pin")).collect(),
        ..options(&place)
    };
    for right in [&certificate, &public_key] {
        accept(address, &with_pins(&[right]));
        accept(address, &with_pins(&[&wrong, right]));
    }
    assert_eq!(
        refuse(address, &with_pins(&[&wrong])),
        format!(
            "the certificate of localhost is not the pinned one: its SHA-256 is {certificate}, \
             and its public key's is {public_key}"
        )
    );
    // A pin vouches for the key, and not for the name.
    let mut elsewhere = with_pins(&[&certificate]);
    elsewhere.host = "mx.example".to_owned();
    let text = refuse(address, &elsewhere);
    assert!(text.contains("it is not for this host"), "{text}");
}

#[test]
fn servers_may_ask_for_a_certificate() {
    let place = Place::new();
    place.certify("good", "DNS:localhost", "2");
    place.certify("ada", "email:ada@example.org", "2");
    place.openssl("pkcs12 -export -in ada.pem -inkey ada.key -passout pass:secret -out ada.p12");
    let server = Reversing::start(&place, "-CAfile root.pem -Verify 1 -verify_return_error");
    let file = place.0.path().join("ada.p12");
    let octets = files::read(&file).expect("a file");
    let pkcs12 = files::pkcs12(&file, &octets, "secret").expect("a certificate");
    for identity in [place.identity("ada"), pkcs12] {
        let mut options = options(&place);
        options.identity = Some(identity);
        let (mut stream, _) = accept(server.1, &options);
        say(&mut stream, "madam\nabc\n");
        assert_eq!(read_line(&mut stream), "madam\n");
        assert_eq!(read_line(&mut stream), "cba\n");
    }
    // In TLS 1.3 a client hears of it when it reads (RFC 8446 section 4.4.2.4).
    let (mut stream, _) = accept(server.1, &options(&place));
    let told = read_line(&mut stream);
    assert_eq!(told, "cannot receive: tlsv13 alert certificate required");
    let wrong = files::pkcs12(&file, &octets, "wrong");
    let told = wrong.err().expect("refused").to_string();
    assert!(told.ends_with("the password is wrong"), "{told}");
}

#[test]
fn a_port_that_does_not_speak_tls_is_told() {
    let place = Place::new();
    #[track_caller]
    fn check(place: &Place, text: &'static [u8], expected: &str) {
        let told = refuse(plain(text), &options(place));
        assert_eq!(told, format!("no TLS with localhost: {expected}"));
    }
    check(
        &place,
        GREETING,
        "that port speaks plain text first (SMTP greeting '220 mx.example ESMTP'); take --tls starttls",
    );
    let greetings = b"220-mx.example\r\n220 ready\r\n";
    let expected = "that port speaks plain text first (SMTP greeting '220-mx.example'); take \
                    --tls starttls";
    check(&place, greetings, expected);
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let expected = "that port speaks plain text ('HTTP/1.1 400 Bad Request')";
    check(&place, http, expected);
    check(&place, b"", "the server closed the connection");
    let alert = b"\x15\x03\x03\x00\x02\x02\x28";
    check(&place, alert, "ssl/tls alert handshake failure");
}

#[test]
fn a_silent_port_is_asked_whether_it_speaks_tls() {
    let place = Place::new();
    place.certify("good", "DNS:mx.example", "2");
    #[track_caller]
    fn check(address: SocketAddr, expected: bool) {
        let cancel = Cancel::new().expect("an eventfd");
        let deadline = clock::now() + LONG;
        let spoken = is_spoken_by(address, "localhost", deadline, &cancel);
        assert_eq!(spoken, Ok(expected));
    }
    check(secure(place.acceptor("good")), true);
    check(plain(b"\x15\x03\x03\x00\x02\x02\x28"), true);
    check(plain(GREETING), false);
    check(plain(b""), false);
    let cancel = Cancel::new().expect("an eventfd");
    let address = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let soon = clock::now() + Duration::from_millis(20);
    assert_eq!(is_spoken_by(address, "localhost", soon, &cancel), Ok(false));
    let begun = begin(connect(address), &options(&place), soon);
    assert!(matches!(begun, Err(Error::Net(net::Error::TimedOut(_)))));
    cancel.cancel();
    let stopped = is_spoken_by(address, "localhost", soon, &cancel);
    assert_eq!(stopped, Err(Cancelled));
}
