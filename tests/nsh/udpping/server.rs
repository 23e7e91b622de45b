//! The server: whom it answers, with what, and over how bad a network.

use std::net::UdpSocket;

use serde_json::Value;

use super::{answer_so_far, ask, connect, listen};
use crate::support::{matches, place, privileged};

/// What anybody sends, and what comes back; nothing, where it looks like an answer.
#[test]
fn any_datagram_gets_pong() {
    let server = listen("--server");
    let client = connect(server.address);
    for (question, answer) in [
        (&b"PING 1 14:05:09"[..], &b"pong"[..]),
        (b"Ping 1 14:05:09\n", b"pong"),
        (b"hello", b"pong"),
        (b"hi", b"po"),
        (b"\0", b"p"),
        (&[0xff; 1400], b"pong"),
        (b"PING 1 14:05:09 9f3a6c21", b"pong"),
        (b"PING 1", b"pong"),
    ] {
        assert_eq!(ask(&client, question), answer, "{question:?}");
    }
    for silent in [
        &b"pong"[..],
        b"PONG 3",
        b"po",
        b"P",
        b"",
        b"pong 7 9f3a6c21 1 1.0 1",
    ] {
        client.send(silent).expect("loopback");
        assert_eq!(ask(&client, b"12345678"), b"pong");
        assert_eq!(answer_so_far(&client), None, "{silent:?}");
    }
    let counted = server.stop_and_count();
    assert_eq!(
        (&counted["received"], &counted["answered"]),
        (&20.into(), &14.into())
    );
    assert_eq!(counted["refused"], 6);
}

/// `pong <number> <session> <requests so far> <received at> <nanoseconds until sent>`.
#[test]
fn who_asks_is_told_what_was_seen() {
    let server = listen("--server");
    let [one, other] = [connect(server.address), connect(server.address)];
    let question = |number: u32, session: &str| {
        let mut text = format!("PING {number} 14:05:09 {session} ");
        text.push_str(&".".repeat(80 - text.len()));
        text.into_bytes()
    };
    let told = |socket: &UdpSocket, number: u32, session: &str| {
        let answer = ask(socket, &question(number, session));
        let answer = String::from_utf8(answer).expect("words");
        let words: Vec<&str> = answer.split(' ').collect();
        assert_eq!(words[..3], ["pong", &number.to_string(), session]);
        let (seconds, nanoseconds) = words[4].split_once('.').expect("a time");
        assert_eq!(nanoseconds.len(), 9, "{answer}");
        let seconds: u64 = seconds.parse().expect("seconds");
        assert!(seconds.abs_diff(super::wall().as_secs()) < 60, "{answer}");
        assert!(
            words[5].parse::<u64>().is_ok() && words.len() == 6,
            "{answer}"
        );
        words[3].parse::<u32>().expect("a count")
    };
    assert_eq!(told(&one, 1, "9f3a6c21"), 1);
    assert_eq!(told(&one, 5, "9f3a6c21"), 2);
    // Another session, and the same one of another client.
    assert_eq!(told(&one, 6, "00000001"), 1);
    assert_eq!(told(&other, 7, "9f3a6c21"), 1);
    // Request 0 asks, and is none.
    assert_eq!(told(&one, 0, "9f3a6c21"), 2);
    assert_eq!(told(&one, 0, "77777777"), 0);
    assert_eq!(told(&one, 7, "9f3a6c21"), 3);
}

/// A small generator: the same datagrams on each run.
fn noise(seed: &mut u64, count: usize) -> Vec<u8> {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Nobody can make it send more than was sent to it.
#[test]
fn answers_are_never_longer_than_questions() {
    let server = listen("--server");
    let [client, control] = [connect(server.address), connect(server.address)];
    let mut seed = 7;
    for number in 0..600_usize {
        let mut question = noise(&mut seed, number % 97);
        if number % 3 == 0 {
            let words = format!("PING {number} 14:05:09 {number:08x} ");
            question.splice(..0, words.bytes());
        }
        client.send(&question).expect("loopback");
        ask(&control, b"a question that has an answer");
        if let Some(answer) = answer_so_far(&client) {
            assert!(answer.len() <= question.len(), "{question:?}: {answer:?}");
        }
    }
}

/// What becomes of 40 datagrams of one client.
fn fates(options: &str) -> (String, Vec<f64>) {
    let mut server = listen(&format!("--server -v {options}"));
    let client = connect(server.address);
    for _ in 0..40 {
        client.send(b"a question").expect("loopback");
    }
    let mut fates = String::new();
    let mut delays = Vec::new();
    while fates.len() < 40 {
        let event: Value = serde_json::from_str(&server.nsh.line()).expect("a JSON line");
        fates.push(match (event["event"].as_str(), event["fate"].as_str()) {
            (Some("lost"), _) => 'x',
            (_, Some("lost")) => 'r',
            (_, Some("twice")) => '2',
            _ => '.',
        });
        delays.extend(event["delay_ms"].as_f64());
    }
    (fates, delays)
}

#[test]
fn a_seed_says_what_is_lost() {
    let options = "--loss 35% --reply-loss 20% --duplicate 10% --delay 30 --jitter 5ms";
    let first = fates(options);
    assert_eq!(first, fates(&format!("{options} --seed 1")));
    let second = fates(&format!("{options} --seed 2"));
    assert_ne!(first, second);
    assert_eq!(second, fates(&format!("{options} --seed 2")));
    let requests = first.0.replace(['r', '2'], ".");
    assert!(requests.starts_with("..x.x..xxx..x......x"), "{requests}");
    assert!(
        ['x', 'r', '2', '.']
            .iter()
            .all(|fate| first.0.contains(*fate)),
        "{}",
        first.0
    );
    assert!(
        first.1.iter().all(|delay| (30.0..=35.0).contains(delay)),
        "{:?}",
        first.1
    );
    // Delays change nothing of what is lost.
    let plain = fates("--loss 35% --reply-loss 20%");
    assert_eq!(plain.0, first.0.replace('2', "."));
}

#[test]
fn answers_come_twice_and_are_counted() {
    let server = listen("--server --duplicate 100%");
    let client = connect(server.address);
    for _ in 0..5 {
        assert_eq!(ask(&client, b"question"), b"pong");
        let mut again = [0; 8];
        assert_eq!(client.recv(&mut again).expect("the second"), 4);
    }
    let counted = server.stop_and_count();
    assert_eq!(
        (&counted["answered"], &counted["duplicated"]),
        (&5.into(), &5.into())
    );
}

/// Large answers that wait are limited, and those beyond are lost and not answered.
#[test]
fn what_cannot_be_delayed_is_lost_and_counted_once() {
    let mut server = listen("--reflector -v --delay 100s");
    let client = connect(server.address);
    for _ in 0..300 {
        client.send(&[0; 65_000]).expect("loopback");
        server.nsh.event("answered");
    }
    let counted = server.stop_and_count();
    let figure = |name: &str| counted[name].as_u64().expect("a count");
    assert_eq!(figure("received"), 300);
    assert!(figure("replies_lost") > 0, "{counted}");
    assert_eq!(
        figure("answered") + figure("replies_lost"),
        300,
        "{counted}"
    );
}

#[test]
fn nobody_gets_more_answers_than_the_rate() {
    let mut server = listen("--server --rate-limit 1");
    let client = connect(server.address);
    assert_eq!(ask(&client, b"question"), b"pong");
    for _ in 0..4 {
        client.send(b"question").expect("loopback");
    }
    let refused = server.nsh.event("refused");
    assert_eq!(refused["reason"], "more datagrams than one source may send");
    // Another port is the same source, and another address another.
    let other = UdpSocket::bind("127.0.0.92:0").expect("loopback");
    other.connect(server.address).expect("loopback");
    assert_eq!(ask(&other, b"question"), b"pong");
    assert_eq!(answer_so_far(&client), None);
    let counted = server.stop_and_count();
    assert_eq!(
        (&counted["received"], &counted["refused"]),
        (&6.into(), &4.into())
    );
}

/// On all addresses, the answer comes from the one that was asked.
#[test]
fn the_answer_comes_from_where_it_was_asked() {
    for mode in [
        "udpping --server",
        "udpping --reflector",
        "upper --server --udp",
    ] {
        for bind in ["0.0.0.0", "::"] {
            let line = format!("{mode} -b {bind} -p 0");
            let mut nsh = place().start(&["--json", "-c", &line]);
            let address = super::address(&nsh.event("listening")["address"]);
            for host in ["127.0.0.1", "127.0.0.2", "::1"] {
                let mut peer = address;
                peer.set_ip(host.parse().expect("an address"));
                if peer.is_ipv6() && bind == "0.0.0.0" {
                    continue;
                }
                let client = connect(peer);
                let patience = std::time::Duration::from_secs(2);
                client.set_read_timeout(Some(patience)).expect("a socket");
                client.send(&[b'a'; 44]).expect("loopback");
                let answer = client.recv(&mut [0; 100]);
                assert!(answer.is_ok(), "{line}: no answer from {host}");
            }
        }
    }
}

/// Clients that are gone when the answer comes.
#[test]
fn closed_ports_disturb_nobody() {
    let server = listen("--server");
    for _ in 0..200 {
        let client = connect(server.address);
        client.send(b"gone").expect("loopback");
    }
    let client = connect(server.address);
    assert_eq!(ask(&client, b"still here"), b"pong");
    assert_eq!(server.stop_and_count()["received"], 201);
}

#[test]
fn each_datagram_is_shown_and_harmless() {
    let mut server = place().start(&["-c", "udpping --server -p 0 -v"]);
    let line = server.line();
    let start = "[1] udpping server on ... (UDP), reachable from this machine only";
    assert!(matches(start, &line), "{line}");
    let address = line.split(' ').nth(4).expect("an address");
    let client = connect(address.parse().expect("an address"));
    let from = client.local_addr().expect("an address");
    for (question, shown) in [
        (&b"PING 1 14:05:09"[..], "PING 1 14:05:09"),
        ("grüße".as_bytes(), "grüße"),
        (b"\x1b[31mred\x07", "9 octets"),
        (&[0xff; 7], "7 octets"),
        ("a\u{9b}31mb".as_bytes(), "...31mb"),
    ] {
        ask(&client, question);
        let line = server.line();
        let expected = format!("[1] From {from} '{shown}', to it 'pong'");
        assert!(matches(&expected, &line), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn jobs_are_shown_and_stopped() {
    let script = "udpping --server -p 0\nudpping --reflector -p 0\nudpping --monitor -p 0\njobs\n\
                  stop 1 2 3\n";
    let ran = place().run_with_input(&["-k"], script);
    for expected in [
        "...\n[1]   running ...  udpping --server -p 0  | 0 received, 0 answered\n...",
        "...\n[2]   running ...  udpping --reflector -p 0  | 0 received, 0 answered\n...",
        "...\n[3]   running ...  udpping --monitor -p 0  | 0 up, 0 late, 0 down\n...",
        "...[3] no heartbeats yet\n...",
    ] {
        assert!(matches(expected, &ran.stdout), "{expected}: {ran:#?}");
    }
    // They end at once, and so in any order.
    let mut ends: Vec<&str> = ran.stderr.lines().collect();
    ends.sort_unstable();
    let stderr = "[1] stopped after ...: udpping --server -p 0\n[2] stopped after ...: udpping \
                  --reflector -p 0\n[3] stopped after ...: udpping --monitor -p 0";
    let fits = matches(stderr, &ends.join("\n"));
    assert!(fits && ran.status == 0, "{ran:#?}");
}

const OWN_ADDRESS: &str = "127.0.0.92";

/// A port of this address that nobody has.
fn unused_port() -> u16 {
    let socket = UdpSocket::bind((OWN_ADDRESS, 0)).expect("loopback");
    socket.local_addr().expect("an address").port()
}

#[test]
fn who_has_the_port_is_told() {
    let port = unused_port();
    for (other, own) in [
        ("udpping --server", "udpping --server"),
        ("upper --server --udp", "udpping --reflector"),
        ("udpping --reflector", "udpping --monitor"),
    ] {
        let other = format!("{other} -b {OWN_ADDRESS} -p {port}");
        let own = format!("{own} -b {OWN_ADDRESS} -p {port}");
        let ran = place().run(&["-q", "-c", &format!("{other}; {own}")]);
        let stderr = format!(
            "udpping: cannot listen on {OWN_ADDRESS}:{port} (UDP): Address already in use: job 1 \
             has it ({other}); 'stop 1' frees it, and -p 0 takes a free port\n"
        );
        assert!(ran.stderr.contains(&stderr) && ran.status == 69, "{ran:#?}");
    }
    // TCP's port is another one: it is not the job that is in the way.
    let taken = UdpSocket::bind((OWN_ADDRESS, 0)).expect("loopback");
    let port = taken.local_addr().expect("an address").port();
    let line = format!(
        "upper --server --tcp -b {OWN_ADDRESS} -p {port}; udpping --server -b {OWN_ADDRESS} -p {port}"
    );
    let ran = place().run(&["-q", "-c", &line]);
    assert!(
        ran.stderr.contains("Address already in use") && ran.status == 69,
        "{ran:#?}"
    );
    assert!(!ran.stderr.contains("has it"), "{ran:#?}");
}

/// Ports below 1024 need root.
#[test]
fn low_ports_are_not_for_everybody() {
    if !privileged("low_ports_are_not_for_everybody") {
        return;
    }
    use crate::routers::{Path, Permitted};
    let path = Path::of(1);
    let line = ["-c", "udpping --reflector"];
    let ran = path.run(Permitted::Nothing, env!("CARGO_BIN_EXE_nsh"), &line);
    let stderr = "udpping: cannot listen on 127.0.0.1:862 (UDP): this user may not use ports this \
                  low...";
    assert!(matches(stderr, &ran.stderr) && ran.status == 77, "{ran:#?}");
}
