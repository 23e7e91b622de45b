//! `mail --route`: what each exchanger would say.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::json;

use super::lab::{Dns, Exchanger};
use super::mx::{World, fields};
use super::mx_tls::secure;
use crate::support::matches;

const ZONE: &str = "lab.test MX 10 mx1.lab.test
    lab.test MX 20 mx2.lab.test
    lab.test MX 30 mx3.lab.test
    lab.test MX 40 gone.lab.test
    mx1.lab.test A 2
    mx1.lab.test A 9
    mx2.lab.test A 3
    mx3.lab.test A 4";

#[test]
fn every_address_of_every_exchanger_is_asked() {
    let world = World::new(20);
    world.place.certify();
    let dns = Dns::start(&world.zone(ZONE));
    let _sink = secure(&world, 2);
    let grey = world.exchanger(3, &[("RCPT", "450 4.2.0 greylisted")]);
    let _never = world.exchanger(4, &[("", "554 5.7.1 go away")]);
    let (events, ran) = world.mail(&dns, "--route bob@lab.test --from ann@here.test");
    assert_eq!(ran.status, 0, "{ran:?}");
    let (network, port) = (&world.network, world.port);
    let address = |number| format!("{network}.{number}:{port}");
    let expected = json!([
        ["mx1.lab.test", 10, address(2), "takes", null],
        ["mx1.lab.test", 10, address(9), "later", "connect"],
        ["mx2.lab.test", 20, address(3), "later", "rcpt"],
        ["mx3.lab.test", 30, address(4), "refuses", "greeting"]
    ]);
    let names = ["exchanger", "preference", "address", "verdict", "stage"];
    assert_eq!(fields(&events, "probe", &names), expected);
    let expected = json!([["gone.lab.test", "dns"]]);
    assert_eq!(fields(&events, "passed", &["exchanger", "stage"]), expected);
    let expected = json!([["bob@lab.test", 1, 4]]);
    assert_eq!(
        fields(&events, "route", &["address", "takers", "probes"]),
        expected
    );
    let told = fields(
        &events,
        "probe",
        &["greeting", "words", "stages", "extensions", "tls"],
    );
    let words = [&told[2][1], &told[3][1]];
    assert_eq!(words, ["450 4.2.0 greylisted", "554 5.7.1 go away"]);
    assert_eq!(told[3][0], "554 5.7.1 go away");
    let stages = |probe: usize| -> Vec<&str> {
        let spans = told[probe][2].as_array().expect("an array");
        assert!(spans.iter().all(|span| span["ms"].is_number()), "{spans:?}");
        let names = spans.iter().filter_map(|span| span["stage"].as_str());
        names.collect()
    };
    let all = ["dns", "connect", "greeting", "ehlo", "tls", "mail", "rcpt"];
    assert_eq!(stages(0), all);
    assert_eq!(stages(1), ["dns", "connect"]);
    assert_eq!(stages(3), ["dns", "connect", "greeting"]);
    let offered = told[0][3].as_array().expect("an array");
    assert!(offered.contains(&json!("PIPELINING")), "{offered:?}");
    assert_eq!(told[0][4]["names"], json!(["localhost"]));
    let envelope = [
        "EHLO here.test",
        "MAIL FROM:<ann@here.test>",
        "RCPT TO:<bob@lab.test>",
        "RSET",
        "QUIT",
    ];
    assert_eq!(grey.seen(), envelope);
}

#[test]
fn the_status_says_how_far_a_message_would_come() {
    let world = World::new(21);
    let dns = Dns::start(&world.zone(
        "later.test A 2
        never.test A 3
        both.test MX 10 later.test
        both.test MX 10 never.test
        down.test A 9
        null.test MX 0 .",
    ));
    let _later = world.exchanger(2, &[("MAIL", "451 4.3.0 later")]);
    let _never = world.exchanger(3, &[("RCPT", "550 5.1.1 nobody")]);
    for (domain, status) in [
        ("later.test", 46),
        ("never.test", 57),
        ("both.test", 46),
        ("down.test", 41),
        ("null.test", 50),
        ("gone.test", 50),
    ] {
        let (_, ran) = world.mail(&dns, &format!("--route bob@{domain}"));
        assert_eq!(ran.status, status, "{ran:?}");
    }
    let (_, ran) = world.mail(&dns, "--route bob");
    assert_eq!(ran.status, 2, "{ran:?}");
}

#[test]
fn large_domains_are_asked_as_a_whole() {
    let world = World::new(24);
    let mut zone = String::new();
    for number in 0..66 {
        zone += &format!("lab.test MX {number} mx{number}.lab.test\n");
    }
    for number in 0..41 {
        zone += &format!("mx{number}.lab.test A 2\n");
    }
    for address in 3..9 {
        zone += &format!("mx0.lab.test A {address}\n");
    }
    let dns = Dns::start(&world.zone(&zone));
    let _exchanger = world.exchanger(2, &[]);
    let (events, ran) = world.mail(&dns, "--route bob@lab.test");
    assert_eq!(ran.status, 0, "{ran:?}");
    let route = fields(&events, "route", &["takers", "probes"]);
    assert_eq!(route, json!([[41, 45]]), "{ran:?}");
    let notes = json!([
        ["2 more exchangers are not asked"],
        ["2 more addresses of mx0.lab.test are not asked"]
    ]);
    assert_eq!(fields(&events, "noted", &["text"]), notes);
}

#[test]
fn what_a_person_sees() {
    let world = World::new(22);
    let dns = Dns::start(&world.zone("lab.test MX 10 mx.lab.test\nmx.lab.test A 2"));
    let exchanger: Exchanger = world.exchanger(2, &[("", "220 mx.test \x1b[2J")]);
    let line = world.line(&dns, "--route bob@lab.test");
    let ran = world.place.run(&["-c", &line]);
    let pattern = "exchangers of lab.test: 10 mx.lab.test
mx.lab.test (10) at ...: would take it
  dns      ... ms  ...
  connect  ... ms  ...
  greeting ... ms  ...
  ehlo     ... ms  ...
  mail     ... ms  ...
  rcpt     ... ms  ...
  says     220 mx.test \\x1b[2J
  TLS      none
1 of 1 server would take mail for bob@lab.test; asked in ... ms
";
    assert!(matches(pattern, &ran.stdout), "{ran:?}");
    assert_eq!(exchanger.seen()[1], "MAIL FROM:<>");
}

/// All connections end with the job.
#[test]
fn stop_ends_what_does_not_answer() {
    let world = World::new(23);
    let dns = Dns::start(&world.zone("lab.test A 2\nlab.test A 3"));
    let listen = |number| {
        let address = format!("{}.{number}:{}", world.network, world.port);
        TcpListener::bind(address).expect("the test's own address")
    };
    let silent = [2, 3].map(listen);
    let line = world.line(&dns, "--route bob@lab.test");
    let nsh = world.place.start(&["-c", &line]);
    let _connections = silent.map(|listener| listener.accept().expect("a connection"));
    nsh.signal(Signal::SIGINT);
    assert_eq!(nsh.end().status, 130);
}
