//! The sender of heartbeats: its lines, and what it says when nobody wants them.

use std::net::UdpSocket;

use nix::sys::signal::Signal;
use serde_json::json;

use super::alone::alone;
use super::{KEY, PATIENCE, events, keyed, mac, named, ping_in};
use crate::routers::{Packet, Path, Permitted, Target, UDP};
use crate::support::{matches, place, privileged, run};

/// The six or seven fields of a line.
fn fields(line: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(line).expect("one line of text");
    assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
    text.split(' ').collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// `HEARTBEAT <name> <boot> <sequence_number> <timestamp> <interval_ms> [<mac>]`.
#[test]
fn a_line_for_each_beat_and_bye_at_the_end() {
    for key in ["", "--key-file key"] {
        let options = format!("--heartbeat {key} --name web-1.example -c 4 -i 5ms");
        let pinged = ping_in(&keyed(), &options, &mut |_, _, _| ());
        assert_eq!(pinged.heard.len(), 5);
        let first = fields(&pinged.heard[0]);
        let mut before = 0.0;
        for (line, number) in pinged.heard.iter().zip(0..) {
            let fields = fields(line);
            let kind = if number < 4 { "HEARTBEAT" } else { "BYE" };
            assert_eq!(fields[..3], [kind, "web-1.example", first[2]]);
            assert_eq!(fields[3], number.to_string());
            assert_eq!(fields[4].split_once('.').expect("decimals").1.len(), 9);
            let sent: f64 = fields[4].parse().expect("a time");
            assert!((sent - super::wall().as_secs_f64()).abs() < 60.0 && sent >= before);
            before = sent;
            assert_eq!(fields[5], "5");
            if !key.is_empty() {
                let covered = line.len() - 32;
                assert_eq!(fields[6], hex(&mac(KEY, &line[..covered])));
            }
            assert_eq!(fields.len(), if key.is_empty() { 6 } else { 7 });
        }
        let beating = pinged.named("beating")[0];
        assert_eq!(beating["authenticated"], json!(!key.is_empty()));
        assert_eq!(
            (&beating["name"], &beating["interval_ms"]),
            (&json!("web-1.example"), &json!(5.0))
        );
        assert_eq!(pinged.named("ended")[0]["sent"], 4);
        assert_eq!(pinged.ran.status, 0);
    }
}

/// Each run has a boot of its own, later than those before it.
#[test]
fn each_run_has_a_later_boot() {
    let boot = || {
        let pinged = ping_in(
            &place(),
            "--heartbeat --name a -c 1 -i 1ms",
            &mut |_, _, _| (),
        );
        let boot = fields(&pinged.heard[0])[2].to_owned();
        boot.parse::<u64>().expect("a number")
    };
    let first = boot();
    assert!(first < boot());
}

#[test]
fn bye_is_said_whatever_ends_it() {
    let monitor = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    monitor.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let address = monitor.local_addr().expect("an address");
    let mut line = [0; 300];
    let mut next = |expected: &str| {
        let count = monitor.recv(&mut line).expect("a line");
        assert_eq!(fields(&line[..count])[0], expected);
    };
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let line = format!("udpping --heartbeat -i 100 --name a {address}");
        let nsh = place().start(&["--json", "-c", &line]);
        next("HEARTBEAT");
        nsh.signal(signal);
        next("BYE");
        let ran = nsh.end();
        assert_eq!(ran.status, status, "{ran:#?}");
        assert_eq!(named(&events(&ran.stdout), "ended")[0]["sent"], 1);
    }
    let line =
        format!("udpping --heartbeat -i 100 --name a {address} &\nexpect beats from 1\nstop 1\n");
    let ran = place().run_with_input(&["-k"], line);
    next("HEARTBEAT");
    next("BYE");
    assert!(
        ran.stdout.contains("'a' sent 1 heartbeats and said bye"),
        "{ran:#?}"
    );
}

/// Told once, however many are refused; and once when that is over.
#[test]
fn a_monitor_that_is_not_there_is_told_once() {
    let ran = {
        let unused = UdpSocket::bind("127.0.0.92:0").expect("loopback");
        let address = unused.local_addr().expect("an address");
        drop(unused);
        run(&[
            "-c",
            &format!("udpping --heartbeat -c 20 -i 2ms --name a {address}"),
        ])
    };
    let stdout = "'a' beats to 127.0.0.92:..., once each 2 ms, not authenticated\n\
                  127.0.0.92 says 'port unreachable': no monitor listens on 127.0.0.92:...; start \
                  it with 'udpping --monitor -b 127.0.0.92 -p ...'\n'a' sent 20 heartbeats and said bye\n";
    assert!(matches(stdout, &ran.stdout) && ran.status == 1, "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:#?}");
}

#[test]
fn a_monitor_that_comes_later_is_told() {
    if !privileged("a_monitor_that_comes_later_is_told") {
        return;
    }
    alone("", || {
        let line = "udpping --heartbeat -i 5ms --name a 127.0.0.1:12001";
        let mut nsh = place().start(&["--json", "-c", line]);
        nsh.event("trouble");
        let _monitor = UdpSocket::bind("127.0.0.1:12001").expect("nobody has it");
        nsh.event("recovered");
        nsh.signal(Signal::SIGTERM);
        assert_eq!(nsh.end().status, 143);
    });
}

/// Routers do not complain of each packet: a few at once, then one in a while (RFC 1812 section
/// 4.3.2.8). That they are silent does not mean that all is well.
#[test]
fn a_router_that_complains_seldom_does_not_mean_recovery() {
    if !privileged("a_router_that_complains_seldom_does_not_mean_recovery") {
        return;
    }
    let mut count = 0;
    let target = Target::default().answering(move |packet: &Packet| {
        count += 1;
        let is_told = packet.protocol == UDP && (count <= 6 || count % 20 == 0);
        let answer = packet.answer(packet, 60).filter(|_| is_told);
        answer.into_iter().map(|packet| packet.octets).collect()
    });
    let line = "udpping --heartbeat -i 10ms -c 60 --name a 10.10.0.1";
    let nsh = env!("CARGO_BIN_EXE_nsh");
    let ran = Path::of(1)
        .target(target)
        .run(Permitted::Nothing, nsh, &["--json", "-c", line]);
    let events = events(&ran.stdout);
    assert_eq!(named(&events, "trouble").len(), 1, "{ran:#?}");
    assert_eq!(named(&events, "recovered").len(), 0, "{ran:#?}");
    assert_eq!(ran.status, 1);
}
