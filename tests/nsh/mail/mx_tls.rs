//! What `mail --mx` makes of the TLS of exchangers, and of what DNS has of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Running;
use super::lab::Dns;
use super::mx::{World, fields};
use super::server::{authority, certify};

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

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What is between the lines that begin and end it.
fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).expect("PEM")
}

/// The SHA-256 of the certificate.
fn digest(world: &World) -> String {
    hex(&Sha256::digest(der(&world.place.read("cert.pem"))))
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
        bare.test MX 10 mx.bare.test
        mx.bare.test A 3
        _{port}._tcp.mx.bare.test TLSA 0 0 1 {digest}
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
    let not_trusted = || json!([["not_trusted"]]);
    check(&signed, "odd.test", 0, not_trusted(), encrypted());
    check(&signed, "bare.test", 44, json!([]), encrypted());
    check(&signed, "spoilt.test", 40, json!([]), json!([]));
    let both = json!([["mismatched"], ["matched"]]);
    check(&signed, "two.test", 0, both, json!([["dane"], ["dane"]]));
    assert!(clear.seen().iter().all(|line| !line.starts_with("MAIL")));
    let opportunistic = json!([["opportunistic"]]);
    let unsigned = Dns::start(&zone);
    check(&unsigned, "bad.test", 0, not_trusted(), opportunistic);
}

/// RFC 7672 section 3.1.2: the names and the dates count, and the chain has to lead there.
#[test]
fn dane_by_an_authority() {
    let place = authority();
    let world = World {
        place,
        ..World::new(13)
    };
    let sink = |number, names: &str, days: &str, is_root_shown: bool| {
        certify(&world.place, names, days);
        if is_root_shown {
            let chain = world.place.read("cert.pem") + &world.place.read("root.pem");
            world.place.write("cert.pem", chain);
        }
        secure(&world, number)
    };
    let names = "DNS:mx.named.test,DNS:mx.key.test,DNS:domain.test,DNS:mx.both.test";
    let _sinks = [
        sink(2, names, "2", true),
        sink(3, "DNS:mx.expired.test", "-1", true),
        sink(4, "DNS:*.bare.test,DNS:*.full.test", "2", false),
    ];
    let (port, other) = (world.port, "00".repeat(32));
    let root = der(&world.place.read("root.pem"));
    let digest = hex(&Sha256::digest(&root));
    let root = hex(&root);
    let key = world.place.openssl("x509 -in root.pem -noout -pubkey");
    let key = hex(&der(&key));
    let zone = world.zone(&format!(
        "named.test MX 10 mx.named.test
        mx.named.test A 2
        _{port}._tcp.mx.named.test TLSA 2 0 1 {digest}
        key.test MX 10 mx.key.test
        mx.key.test A 2
        _{port}._tcp.mx.key.test TLSA 2 1 0 {key}
        _{port}._tcp.mx.key.test TLSA 2 0 0 00
        domain.test MX 10 mx.domain.test
        mx.domain.test A 2
        _{port}._tcp.mx.domain.test TLSA 2 0 1 {digest}
        alias.test CNAME domain.test
        other.test MX 10 mx.other.test
        mx.other.test A 2
        _{port}._tcp.mx.other.test TLSA 2 0 1 {digest}
        wrong.test MX 10 mx.wrong.test
        mx.wrong.test A 2
        _{port}._tcp.mx.wrong.test TLSA 2 0 1 {other}
        both.test MX 10 mx.both.test
        mx.both.test A 2
        _{port}._tcp.mx.both.test TLSA 2 0 1 {digest}
        _{port}._tcp.mx.both.test TLSA 3 0 1 {other}
        expired.test MX 10 mx.expired.test
        mx.expired.test A 3
        _{port}._tcp.mx.expired.test TLSA 2 0 1 {digest}
        bare.test MX 10 mx.bare.test
        mx.bare.test A 4
        _{port}._tcp.mx.bare.test TLSA 2 0 1 {digest}
        full.test MX 10 mx.full.test
        mx.full.test A 4
        _{port}._tcp.mx.full.test TLSA 2 0 0 {root}"
    ));
    let dns = Dns::signed(&zone);
    let check = |domain: &str, status: i32, verdict: &str, words: &str| {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}.test"), "");
        let told = fields(&events, "certificate", &["verdict"]);
        assert_eq!((told, ran.status), (json!([[verdict]]), status), "{ran:?}");
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    };
    let by = "the certificate is by the authority that DNS has";
    for domain in ["named", "key", "both", "full"] {
        check(domain, 0, "matched", by);
    }
    // RFC 7672 section 3.2.2: the name of the domain is as good as its exchanger's.
    check("domain", 0, "matched", by);
    check("alias", 0, "matched", by);
    let but =
        |words| format!("the authority that DNS has, but {words}; this exchanger is not used");
    check("other", 42, "mismatched", &but("it is not for this host"));
    check("expired", 42, "mismatched", &but("it has expired"));
    let mismatched = "the certificate is not the one that DNS has; this exchanger is not used";
    check("wrong", 42, "mismatched", mismatched);
    check("bare", 42, "mismatched", mismatched);
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
