//! What `mail --mx` makes of the TLS of exchangers, and of what DNS has of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Running;
use super::lab::Dns;
use super::mx::{World, fields};

/// A sink with STARTTLS at an address of this world.
pub fn secure(world: &World, number: u8) -> Running {
    let line = format!(
        "mail --sink --no-keep -b {}.{number} -p {} --tls-cert cert.pem --tls-key key.pem",
        world.network, world.port
    );
    let mut nsh = world.place.start(&["--json", "-c", &line]);
    nsh.event("listening");
    nsh
}

#[test]
fn tls_is_taken_as_it_comes() {
    let world = World::new(6);
    world.place.certify();
    let dns = Dns::start(&world.zone(
        "lab.test MX 10 mx.lab.test
        mx.lab.test A 2
        known.test MX 10 localhost
        localhost A 2
        clear.test MX 10 mx.clear.test
        mx.clear.test A 3",
    ));
    let mut sink = secure(&world, 2);
    let _clear = world.exchanger(3, &[]);
    let mut check = |domain: &str, options: &str, verdict: &str, is_tls: bool| {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}"), options);
        assert_eq!(ran.status, 0, "{ran:?}");
        let told = fields(&events, "certificate", &["verdict"]);
        assert_eq!(told, json!([[verdict]]), "{ran:?}");
        let mode = fields(&events, "protection", &["mode"]);
        assert_eq!(mode, json!([["opportunistic"]]));
        let tls = fields(&events, "tls", &[]);
        assert_eq!(tls.as_array().map(Vec::len), Some(usize::from(is_tls)));
        if is_tls {
            assert_eq!(sink.event("message")["tls"], true);
        }
    };
    check("lab.test", "", "not_trusted", true);
    check("lab.test", "--ca cert.pem", "not_trusted", true);
    check("known.test", "--ca cert.pem", "trusted", true);
    check("clear.test", "", "no_tls", false);
}

/// The SHA-256 of the certificate.
fn digest(world: &World) -> String {
    let pem = world.place.read("cert.pem");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let digest = Sha256::digest(STANDARD.decode(base64).expect("PEM"));
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// RFC 7672.
#[test]
fn dane_decides_whom_to_believe() {
    let world = World::new(7);
    world.place.certify();
    let digest = digest(&world);
    let other = "00".repeat(32);
    let port = world.port;
    let zone = world.zone(&format!(
        "good.test MX 10 mx.good.test
        mx.good.test A 2
        _{port}._tcp.mx.good.test TLSA 3 0 1 {digest}
        bad.test MX 10 mx.bad.test
        mx.bad.test A 2
        _{port}._tcp.mx.bad.test TLSA 3 0 1 {other}
        clear.test MX 10 mx.clear.test
        mx.clear.test A 3
        _{port}._tcp.mx.clear.test TLSA 3 0 1 {digest}
        odd.test MX 10 mx.odd.test
        mx.odd.test A 2
        _{port}._tcp.mx.odd.test TLSA 1 0 1 {digest}
        root.test MX 10 mx.root.test
        mx.root.test A 2
        _{port}._tcp.mx.root.test TLSA 2 0 1 {digest}
        both.test MX 10 mx.both.test
        mx.both.test A 2
        _{port}._tcp.mx.both.test TLSA 2 0 1 {digest}
        _{port}._tcp.mx.both.test TLSA 3 0 1 {other}
        bare.test MX 10 mx.bare.test
        mx.bare.test A 3
        _{port}._tcp.mx.bare.test TLSA 2 0 1 {digest}
        spoilt.test MX 10 mx.spoilt.test
        mx.spoilt.test A 2
        _{port}._tcp.mx.spoilt.test SERVFAIL
        two.test MX 10 mx.bad.test
        two.test MX 20 mx.good.test"
    ));
    let _sink = secure(&world, 2);
    let clear = world.exchanger(3, &[]);
    let check = |dns: &Dns, domain: &str, status, verdict: Value, mode: Value| {
        let (events, ran) = world.send(dns, &format!("bob@{domain}"), "");
        let told = fields(&events, "certificate", &["verdict"]);
        assert_eq!((told, ran.status), (verdict, status), "{ran:?}");
        assert_eq!(fields(&events, "protection", &["mode"]), mode, "{ran:?}");
    };
    let dane = || json!([["dane"]]);
    let signed = Dns::signed(&zone);
    check(&signed, "good.test", 0, json!([["matched"]]), dane());
    check(&signed, "bad.test", 42, json!([["mismatched"]]), dane());
    check(&signed, "clear.test", 44, json!([]), dane());
    // What cannot be compared still demands TLS.
    let encrypted = || json!([["encrypted"]]);
    for domain in ["odd.test", "root.test"] {
        check(&signed, domain, 0, json!([["not_trusted"]]), encrypted());
    }
    check(&signed, "bare.test", 44, json!([]), encrypted());
    check(&signed, "both.test", 42, json!([["mismatched"]]), dane());
    check(&signed, "spoilt.test", 40, json!([]), json!([]));
    let both = json!([["mismatched"], ["matched"]]);
    check(&signed, "two.test", 0, both, json!([["dane"], ["dane"]]));
    assert!(clear.seen().iter().all(|line| !line.starts_with("MAIL")));
    let opportunistic = json!([["opportunistic"]]);
    let unsigned = Dns::start(&zone);
    check(
        &unsigned,
        "bad.test",
        0,
        json!([["not_trusted"]]),
        opportunistic,
    );
}

/// RFC 7672 section 2.2.2: at the name that an alias leads to, or else at its own.
#[test]
fn dane_of_an_exchanger_that_is_an_alias() {
    let world = World::new(12);
    world.place.certify();
    let (digest, other, port) = (digest(&world), "00".repeat(32), world.port);
    let mut zone = String::new();
    for (domain, name) in [
        ("real", "real.host.test"),
        ("own", "own.host.test"),
        ("neither", "neither.host.test"),
        ("signed", "unsigned.host.test"),
    ] {
        zone += &format!(
            "{domain}.test MX 10 mx.{domain}.test
            mx.{domain}.test CNAME {name}
            {name} A 2\n"
        );
    }
    zone += &format!(
        "_{port}._tcp.real.host.test TLSA 3 0 1 {digest}
        _{port}._tcp.mx.real.test TLSA 3 0 1 {other}
        _{port}._tcp.mx.own.test TLSA 3 0 1 {digest}
        _{port}._tcp.unsigned.host.test TLSA 3 0 1 {other}
        _{port}._tcp.mx.signed.test TLSA 3 0 1 {digest}"
    );
    let _sink = secure(&world, 2);
    let check = |dns: &Dns, domain: &str, verdict: &str| {
        let (events, ran) = world.send(dns, &format!("bob@{domain}.test"), "");
        let told = fields(&events, "certificate", &["verdict"]);
        assert_eq!((told, ran.status), (json!([[verdict]]), 0), "{ran:?}");
    };
    let signed = Dns::signed(&world.zone(&zone));
    check(&signed, "real", "matched");
    check(&signed, "own", "matched");
    check(&signed, "neither", "not_trusted");
    check(&signed, "signed", "matched");
    let unsigned = Dns::start(&world.zone(&zone));
    check(&unsigned, "real", "not_trusted");
}
