//! The monitor: who is up, late, down, and what is not believed.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use super::metrics::{families, get};
use super::{KEY, Listening, keyed, listen, listen_in, mac, named, wall};
use crate::support::{matches, place};

/// A sender that is played.
pub struct Sender {
    socket: UdpSocket,
    name: &'static str,
    key: Option<&'static str>,
    boot: u128,
    /// How much its clock is ahead.
    ahead: Duration,
    interval_ms: u64,
}

pub fn sender(monitor: &Listening, name: &'static str) -> Sender {
    Sender {
        socket: super::connect(monitor.address),
        name,
        key: None,
        boot: wall().as_nanos(),
        ahead: Duration::ZERO,
        interval_ms: 60_000,
    }
}

impl Sender {
    fn line(&self, kind: &str, number: u64) -> Vec<u8> {
        let sent = wall() + self.ahead;
        let mut line = format!(
            "{kind} {} {} {number} {}.{:09} {}",
            self.name,
            self.boot,
            sent.as_secs(),
            sent.subsec_nanos(),
            self.interval_ms
        );
        if let Some(key) = self.key {
            line.push(' ');
            for octet in mac(key, line.as_bytes()) {
                let _ = write!(line, "{octet:02x}");
            }
        }
        line.into_bytes()
    }

    pub fn beat(&self, number: u64) {
        self.send(&self.line("HEARTBEAT", number));
    }

    fn send(&self, line: &[u8]) {
        self.socket.send(line).expect("loopback");
    }
}

/// The next event; those of other senders are an error.
fn next(monitor: &mut Listening) -> Value {
    serde_json::from_str(&monitor.nsh.line()).expect("a JSON line")
}

#[track_caller]
fn check_next(monitor: &mut Listening, expected: Value) {
    let event = next(monitor);
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&event[name], value, "{name}: {event}");
    }
}

/// Stops it; the rows of its last table by name.
fn rows(monitor: Listening) -> Vec<Value> {
    let events = monitor.stop();
    let rows = named(&events, "senders")[0]["senders"].clone();
    rows.as_array().expect("an array").clone()
}

#[test]
fn beats_that_are_lost_overtaken_and_doubled() {
    let mut monitor = listen("--monitor");
    let sender = sender(&monitor, "web1");
    let address = sender.socket.local_addr().expect("an address").to_string();
    sender.beat(0);
    check_next(
        &mut monitor,
        json!({ "event": "up", "name": "web1", "address": address, "after_ms": null }),
    );
    let overtaken = sender.line("HEARTBEAT", 1);
    sender.beat(3);
    check_next(
        &mut monitor,
        json!({ "event": "lost", "name": "web1", "count": 2 }),
    );
    sender.send(&overtaken);
    check_next(
        &mut monitor,
        json!({ "event": "reordered", "name": "web1", "by": 2 }),
    );
    sender.send(&overtaken);
    check_next(
        &mut monitor,
        json!({ "event": "duplicate", "name": "web1" }),
    );
    sender.send(&sender.line("BYE", 4));
    check_next(&mut monitor, json!({ "event": "left", "name": "web1" }));
    sender.beat(5);
    check_next(&mut monitor, json!({ "event": "up", "name": "web1" }));
    let row = &rows(monitor)[0];
    for (name, value) in [
        ("received", 5),
        ("lost", 1),
        ("reordered", 1),
        ("duplicates", 1),
    ] {
        assert_eq!(row[name], value, "{name}: {row}");
    }
    assert_eq!(
        (&row["state"], &row["interval_ms"]),
        (&json!("up"), &json!(60_000.0))
    );
}

#[test]
fn silence_is_late_and_then_down_and_then_up() {
    let mut monitor = listen("--monitor --down-after 4");
    let mut sender = sender(&monitor, "db.2");
    sender.interval_ms = 20;
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "up" }));
    let late = next(&mut monitor);
    assert_eq!(
        (&late["event"], &late["name"]),
        (&json!("late"), &json!("db.2")),
        "{late}"
    );
    let down = next(&mut monitor);
    assert_eq!(
        (&down["event"], &down["name"]),
        (&json!("down"), &json!("db.2")),
        "{down}"
    );
    assert!(down["missed"].as_u64() >= Some(4), "{down}");
    assert!(down["silent_ms"].as_f64() >= Some(80.0), "{down}");
    // It is not told again.
    sender.interval_ms = 60_000;
    sender.beat(1);
    let up = next(&mut monitor);
    assert_eq!(up["event"], "up", "{up}");
    assert!(up["after_ms"].as_f64() >= Some(80.0), "{up}");
    assert_eq!(rows(monitor)[0]["state"], "up");
}

#[test]
fn in_words() {
    let mut monitor = place().start(&["-c", "udpping --monitor -p 0 --down-after 1"]);
    let line = monitor.line();
    let start = "[1] monitor on ... (UDP, not authenticated), reachable from this machine only";
    assert!(matches(start, &line), "{line}");
    let address = line.split(' ').nth(3).expect("an address");
    let socket = super::connect(address.parse().expect("an address"));
    let from = socket.local_addr().expect("an address");
    let now = wall().as_secs();
    let mut told = |sent: &str, expected: &str| {
        socket.send(sent.as_bytes()).expect("loopback");
        let line = monitor.line();
        assert!(matches(expected, &line), "{sent}: {line}");
    };
    let beat = |number: u64, boot: u64| format!("HEARTBEAT a {boot} {number} {now}.5 60000\r\n");
    told(&beat(1, 1), &format!("[1] a is up at {from}"));
    told(&beat(3, 1), "[1] a heartbeat of a was lost");
    told(&beat(3, 1), "[1] a heartbeat of a came twice");
    told(&beat(0, 2), "[1] a was started anew");
    told(
        "hello",
        &format!("[1] rejected from {from}: not a heartbeat"),
    );
    told(&format!("BYE a 2 1 {now} 60000"), "[1] a said bye");
    told(
        &format!("HEARTBEAT a 2 2 {now} 1"),
        "[1] a is up at ..., after ... of silence",
    );
    let line = monitor.line();
    assert!(
        matches("[1] a is down: silent for ..., ... missed", &line),
        "{line}"
    );
}

/// A heartbeat of the textbook's exercise: `<sequence number> <timestamp>`.
#[test]
fn classic_heartbeats_have_their_address_as_name() {
    let mut monitor = listen("--monitor");
    let [one, other] = [0, 1].map(|_| super::connect(monitor.address));
    for (socket, number) in [(&one, 1), (&other, 1)] {
        let name = socket.local_addr().expect("an address").to_string();
        let line = format!("{number} {}", wall().as_secs_f64());
        socket.send(line.as_bytes()).expect("loopback");
        check_next(
            &mut monitor,
            json!({ "event": "up", "name": name, "address": name }),
        );
    }
    one.send(format!("5 {}\n", wall().as_secs() + 1).as_bytes())
        .expect("loopback");
    check_next(&mut monitor, json!({ "event": "lost", "count": 3 }));
    assert_eq!(rows(monitor).len(), 2);
}

/// Restarted, moved to another port, and with a clock that is set: it stays the same sender.
#[test]
fn restarts_moves_and_clocks() {
    let mut monitor = listen("--monitor");
    let mut sender = sender(&monitor, "pi");
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "up" }));
    let before = sender.socket.local_addr().expect("an address").to_string();
    sender.socket = super::connect(monitor.address);
    let after = sender.socket.local_addr().expect("an address").to_string();
    sender.beat(1);
    check_next(
        &mut monitor,
        json!({ "event": "moved", "name": "pi", "from": before, "to": after }),
    );
    sender.ahead = Duration::from_secs(3600);
    sender.beat(2);
    sender.ahead = Duration::ZERO;
    sender.beat(3);
    sender.boot += 1;
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "restarted", "name": "pi" }));
    let row = &rows(monitor)[0];
    assert_eq!(
        (&row["received"], &row["restarts"], &row["lost"]),
        (&json!(5), &json!(1), &json!(0))
    );
    assert!(row["delay_variation_ms"].as_f64() < Some(5000.0), "{row}");
}

/// Without a key nobody is protected, and a machine whose clock was not yet right when it
/// started again is up all the same.
#[test]
fn a_sender_that_restarts_with_an_earlier_clock_comes_up_again() {
    let mut monitor = listen("--monitor --down-after 1");
    let mut sender = sender(&monitor, "pi");
    sender.interval_ms = 1;
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "up" }));
    monitor.nsh.event("down");
    sender.boot -= 3_600_000_000_000;
    sender.interval_ms = 60_000;
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "up", "name": "pi" }));
}

#[test]
fn only_who_has_the_key_is_believed() {
    let mut monitor = listen_in(&keyed(), "--monitor --key-file key");
    let mut sender = sender(&monitor, "web1");
    sender.key = Some(KEY);
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "up", "name": "web1" }));
    let recorded = sender.line("HEARTBEAT", 1);
    sender.send(&recorded);
    // A new run; what was recorded of the one before is not believed any more.
    sender.boot += 1;
    sender.beat(0);
    check_next(&mut monitor, json!({ "event": "restarted" }));
    sender.send(&recorded);
    let replayed = "a heartbeat that was seen before, or is older than what was";
    check_next(
        &mut monitor,
        json!({ "event": "rejected", "reason": replayed }),
    );
    // Each of these is for a sender that would be up otherwise.
    sender.name = "forged";
    let good = sender.line("HEARTBEAT", 7);
    for number in 0..good.len() {
        let mut changed = good.clone();
        changed[number] ^= 1;
        sender.send(&changed);
        sender.send(&good[..number]);
    }
    sender.key = Some("another key, not the right one");
    sender.beat(8);
    sender.key = None;
    sender.beat(9);
    sender.send(format!("10 {}", wall().as_secs()).as_bytes());
    sender.send(&[good.clone(), b" more".to_vec()].concat());
    sender.send(&[b'x'; 2000]);
    sender.key = Some(KEY);
    sender.ahead = Duration::from_secs(3600);
    sender.beat(11);
    sender.send(&sender.line("BYE", 12));
    // One that is right, so that all before it have been looked at.
    sender.ahead = Duration::ZERO;
    sender.name = "web2";
    sender.beat(0);
    let up = monitor.nsh.event("up");
    assert_eq!(up["name"], "web2");
    let rows = rows(monitor);
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["web1", "web2"]);
    assert_eq!(
        (&rows[0]["received"], &rows[0]["state"]),
        (&json!(3), &json!("up"))
    );
}

/// Somebody who floods with one kind does not hide another.
#[test]
fn each_kind_of_rejection_is_told() {
    let mut monitor = listen_in(&keyed(), "--monitor --key-file key");
    let mut sender = sender(&monitor, "web1");
    let mut told = HashSet::new();
    for kind in 0..3 {
        for _ in 0..20 {
            match kind {
                0 => sender.send(b"hello"),
                1 => sender.beat(1),
                _ => {
                    sender.key = Some("another key, not the right one");
                    sender.beat(1);
                }
            }
        }
    }
    sender.key = Some(KEY);
    sender.beat(2);
    loop {
        let event = next(&mut monitor);
        if event["event"] == "up" {
            break;
        }
        assert_eq!(event["event"], "rejected", "{event}");
        told.insert(event["reason"].as_str().expect("a reason").to_owned());
    }
    let expected = [
        "not a heartbeat",
        "a heartbeat without a mac, where a key is set",
        "a heartbeat made with another key, or changed on the way",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
}

/// What no honest sender sends.
#[test]
fn figures_at_their_limits_harm_nobody() {
    let mut monitor = listen("--monitor --metrics 0");
    let last = u64::MAX;
    let socket = super::connect(monitor.address);
    for line in [
        "HEARTBEAT a 0 0 0 1".to_owned(),
        format!("HEARTBEAT a 0 {last} {last}.999999999 86400000"),
        format!("HEARTBEAT a {last} {last} 0.0 86400000"),
        format!("0 {last}.999999999"),
        format!("{last} {last}.999999999"),
        format!("HEARTBEAT {} 1 1 1 1", "x".repeat(64)),
        format!("HEARTBEAT {} 1 1 1 1", "x".repeat(65)),
        format!("HEARTBEAT b 1 1 1 {last}"),
        format!("HEARTBEAT b {last}0 1 1 1"),
        "HEARTBEAT c 1 -1 1 1".to_owned(),
        "HEARTBEAT c 1 1 1 0".to_owned(),
        "HEARTBEAT é 1 1 1 1".to_owned(),
        "HEARTBEAT c 1  1 1 1".to_owned(),
    ] {
        socket.send(line.as_bytes()).expect("loopback");
    }
    socket.send(b"HEARTBEAT end 1 1 1 60000").expect("loopback");
    while monitor.nsh.event("up")["name"] != "end" {}
    families(&get(&monitor, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").1);
    let mut names: Vec<String> = Vec::new();
    for row in rows(monitor) {
        let loss = row["loss_percent"].as_f64().expect("a figure");
        assert!((0.0..=100.0).contains(&loss), "{row}");
        names.push(row["name"].as_str().expect("a name").to_owned());
    }
    names.sort();
    let own = socket.local_addr().expect("an address").to_string();
    assert_eq!(
        names,
        [own, "a".to_owned(), "end".to_owned(), "x".repeat(64)]
    );
}

/// Each at once, over one socket.
#[test]
fn a_thousand_senders() {
    let mut monitor = listen("--monitor");
    let socket = super::connect(monitor.address);
    let mut up = HashSet::new();
    for number in 0..1000 {
        let line = format!("HEARTBEAT host{number} 1 0 {} 60000", wall().as_secs());
        socket.send(line.as_bytes()).expect("loopback");
        // The socket's queue has room for some hundred.
        if number % 50 == 49 {
            while up.len() <= number {
                let event = monitor.nsh.event("up");
                up.insert(event["name"].as_str().expect("a name").to_owned());
            }
        }
    }
    assert_eq!(up.len(), 1000);
    assert_eq!(rows(monitor).len(), 1000);
}

#[test]
fn a_monitor_ends_at_once() {
    for options in ["", "--metrics 0"] {
        let mut monitor = listen(&format!("--monitor {options}"));
        let sender = sender(&monitor, "web1");
        sender.beat(0);
        monitor.nsh.event("up");
        assert_eq!(rows(monitor).len(), 1);
    }
}

/// Sender and monitor of ours, with a key, from the first beat to the bye.
#[test]
fn both_sides_are_ours() {
    let place = keyed();
    let mut monitor = listen_in(&place, "--monitor --key-file key");
    let line = format!(
        "udpping --heartbeat --key-file key --name me -c 3 -i 10ms {}",
        monitor.address
    );
    assert_eq!(place.run(&["-c", &line]).status, 0);
    check_next(&mut monitor, json!({ "event": "up", "name": "me" }));
    monitor.nsh.event("left");
    assert_eq!(place.run(&["-c", &line]).status, 0);
    check_next(&mut monitor, json!({ "event": "up", "name": "me" }));
    check_next(&mut monitor, json!({ "event": "restarted", "name": "me" }));
    monitor.nsh.event("left");
    let row = &rows(monitor)[0];
    assert_eq!(
        (&row["received"], &row["lost"], &row["state"]),
        (&json!(8), &json!(0), &json!("left"))
    );
}
