//! What the pinger sends, and what it makes of what comes back.

use std::net::UdpSocket;
use std::sync::{Arc, Weak};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Pinged, number, ping, ping_in, run_with_peer};
use crate::support::{matches, place, run};

/// `PING 1 14:05:09`, with digits for the time.
fn is_words(text: &str, number: usize) -> bool {
    let Some(time) = text.strip_prefix(&format!("PING {number} ")) else {
        return false;
    };
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    shape == "99:99:99"
}

#[test]
fn the_labs_words_and_nothing_else() {
    let line = "udpping --plain -c 3 -i 10ms PEER";
    let (ran, heard) = run_with_peer(&place(), &["-c", line], &mut |peer, from, _| {
        peer.send_to(b"pong", from).expect("loopback");
    });
    let heard = heard.iter().map(|octets| String::from_utf8_lossy(octets));
    for (request, number) in heard.zip(1..) {
        assert!(is_words(&request, number), "{request:?}");
    }
    let stdout = "UDPPING 127.0.0.1 (127.0.0.1:...): 3 datagrams of 15 octets, one each 10 ms\n\
                  PING 1 ...:...:...: pong from 127.0.0.1:..., RTT ... ms\n\
                  PING 2 ...:...:...: pong from 127.0.0.1:..., RTT ... ms\n\
                  PING 3 ...:...:...: pong from 127.0.0.1:..., RTT ... ms\n\n\
                  --- 127.0.0.1 udpping statistics ---\n\
                  3 sent, 3 received, 0 lost (0%)\n\
                  RTT max/min/avg = .../.../... ms, p50/p90/p99 = .../.../... ms, jitter ... ms\n\
                  sent ... ms late on average, p99 ... ms; ...slots missed\n\
                  last 3: ...\n";
    assert!(matches(stdout, &ran.stdout) && ran.status == 0, "{ran:#?}");
}

/// Our servers are told a session, and have room to tell what they see.
#[test]
fn a_session_is_told_behind_the_words() {
    let pinged = ping("-c 3 -i 10ms", &mut |peer, from, _| {
        peer.send_to(b"pong", from).expect("loopback");
    });
    let mut sessions = Vec::new();
    for (octets, number) in pinged.heard.iter().zip(1..) {
        assert_eq!(octets.len(), 80);
        let text = std::str::from_utf8(octets).expect("words");
        let text = text
            .trim_end_matches('.')
            .strip_suffix(' ')
            .expect("a space");
        let (words, session) = text.rsplit_once(' ').expect("a session");
        assert!(is_words(words, number), "{text:?}");
        let is_session = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
        assert!(
            session.len() == 8 && session.bytes().all(is_session),
            "{text:?}"
        );
        sessions.push(session);
    }
    assert!(sessions.iter().all(|session| *session == sessions[0]));
}

/// Whatever the peer sends, and it does not stop.
#[test]
fn a_flood_of_answers_holds_up_neither_requests_nor_the_end() {
    for (options, heard_min) in [
        ("-q -c 3 -i 10ms", 3),
        ("--heartbeat --name a -c 3 -i 10ms", 4),
    ] {
        let lasts = Arc::new(());
        let mut flooding = Arc::downgrade(&lasts);
        let pinged = ping(options, &mut |peer, from, _| {
            if Weak::ptr_eq(&flooding, &Weak::new()) {
                return;
            }
            let alive = std::mem::take(&mut flooding);
            let peer = peer.try_clone().expect("a descriptor");
            std::thread::spawn(move || {
                while alive.upgrade().is_some() {
                    let _ = peer.send_to(b"pong", from);
                }
            });
        });
        drop(lasts);
        assert!(pinged.heard.len() >= heard_min, "{options}");
        assert_eq!(pinged.ran.status, 0, "{options}: {:#?}", pinged.ran);
    }
}

/// What is sent is as long as is said.
#[test]
fn datagrams_of_any_size() {
    for (options, octets) in [
        ("-s 80", 80),
        ("-s 1472", 1472),
        ("-s 65507", 65_507),
        ("--plain", 15),
        ("", 80),
        ("-s 25", 25),
        ("-s 20", 20),
        ("--stamp", 44),
        ("--stamp -s 20", 44),
        ("--stamp -s 9000", 9000),
    ] {
        let pinged = ping(&format!("{options} -c 1 -t 1ms"), &mut |_, _, _| ());
        assert_eq!(pinged.heard[0].len(), octets, "{options}: heard");
        let said = &pinged.named("start")[0]["octets"];
        assert_eq!(*said, json!(octets), "{options}: said");
    }
}

/// Three requests, each of which is answered like this: all count.
#[track_caller]
fn check_answers(what: &str, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let pinged = ping("-c 3 -i 10ms", &mut |peer, from, request| {
        peer.send_to(&answer(request), from).expect("loopback");
    });
    assert_eq!(pinged.numbers("reply"), [1, 2, 3], "{what}");
    let expected = json!({ "sent": 3, "received": 3, "lost": 0, "stray": 0, "strangers": 0 });
    pinged.check(expected);
    assert_eq!(pinged.statistics()["directions"], json!(null), "{what}");
    assert_eq!(pinged.ran.status, 0, "{what}");
}

#[test]
fn what_servers_answer() {
    check_answers("pong", |_| b"pong".to_vec());
    check_answers("an echo", <[u8]>::to_vec);
    check_answers("upper case", <[u8]>::to_ascii_uppercase);
    check_answers("lower case", <[u8]>::to_ascii_lowercase);
    check_answers("pong and number", |request| {
        format!("pong {}\r\n", number(request)).into_bytes()
    });
    check_answers("something else", |_| b"hello\xff\0".to_vec());
    check_answers("nothing", |_| Vec::new());
    check_answers("much", |_| vec![b'x'; 60_000]);
}

/// A peer that says pong with the number, but not to these requests.
fn ping_lossy(options: &str, lost: &[u32]) -> Pinged {
    ping(options, &mut |peer, from, request| {
        let number = number(request);
        if !lost.contains(&number) {
            let answer = format!("pong {number}");
            peer.send_to(answer.as_bytes(), from).expect("loopback");
        }
    })
}

#[test]
fn losses_are_told_and_counted() {
    let pinged = ping_lossy("-c 10 -i 2ms -t 2s", &[2, 3, 6, 9, 10]);
    assert_eq!(pinged.numbers("reply"), [1, 4, 5, 7, 8]);
    assert_eq!(pinged.numbers("timed_out"), [2, 3, 6, 9, 10]);
    pinged.check(json!({
        "sent": 10, "received": 5, "lost": 5, "loss_percent": 50.0, "loss_runs": 3,
        "loss_run_longest": 2, "late": 0, "verdict": "",
    }));
    assert_eq!(pinged.ran.status, 0);
    let nothing = ping_lossy("-c 2 -i 2ms -t 5ms", &[1, 2]);
    assert_eq!(nothing.numbers("timed_out"), [1, 2]);
    nothing.check(json!({ "received": 0, "loss_percent": 100.0, "min_ms": null }));
    let verdict = nothing.statistics()["verdict"].as_str().unwrap_or_default();
    let expected = "no answer at all: UDP does not tell whether the server, the requests or the \
                    replies are missing; if it is not running, start it with 'udpping \
                    --server -p ...'";
    assert!(matches(expected, verdict), "{verdict}");
    assert_eq!(nothing.ran.status, 1);
}

#[test]
fn losses_in_words() {
    let line = "udpping -c 4 -i 2ms -t 2s PEER";
    let (ran, _) = run_with_peer(&place(), &["-c", line], &mut |peer, from, request| {
        if number(request) != 2 {
            let answer = request.to_ascii_uppercase();
            peer.send_to(&answer, from).expect("loopback");
        }
    });
    let stdout = "UDPPING ...\nPING 2 ...: request timed out\n\n\
                  --- 127.0.0.1 udpping statistics ---\n\
                  4 sent, 3 received, 1 lost (25%)\n\
                  RTT ...\nloss ... to ...% with 95% confidence\nsent ...\nlast 4: ...×...\n";
    assert!(matches(stdout, &ran.stdout) && ran.status == 0, "{ran:#?}");
}

#[test]
fn answers_that_come_twice_or_overtake_each_other() {
    let mut held = Vec::new();
    // The first comes twice, the second after the third.
    let pinged = ping("-c 4 -i 5ms -t 10", &mut |peer, from, request| {
        let answer = format!("pong {}", number(request)).into_bytes();
        let send = |answer: &[u8]| peer.send_to(answer, from).expect("loopback");
        match number(request) {
            1 => {
                send(&answer);
                send(&answer);
            }
            2 => held = answer,
            3 => {
                send(&answer);
                send(&held);
            }
            _ => {
                send(b"pong 99");
                send(b"pong 4000000000");
                send(&answer);
            }
        }
    });
    assert_eq!(pinged.numbers("reply"), [1, 3, 2, 4]);
    assert_eq!(pinged.numbers("duplicate"), [1]);
    pinged.check(json!({
        "received": 4, "lost": 0, "duplicates": 1, "reordered": 1, "late": 0, "stray": 2,
    }));
}

/// The first answer is held back until the request after the next, beyond the timeout.
#[test]
fn answers_that_come_too_late_are_no_losses() {
    let mut held = Vec::new();
    let pinged = ping("-c 3 -i 2s -t 1500ms", &mut |peer, from, request| {
        let answer = format!("pong {}", number(request)).into_bytes();
        match number(request) {
            1 => held = answer,
            2 => {
                peer.send_to(&answer, from).expect("loopback");
            }
            _ => {
                peer.send_to(&held, from).expect("loopback");
                peer.send_to(&answer, from).expect("loopback");
            }
        }
    });
    assert_eq!(pinged.numbers("timed_out"), [1]);
    assert_eq!(pinged.numbers("reply"), [2, 1, 3]);
    let late: Vec<bool> = pinged
        .named("reply")
        .iter()
        .map(|r| r["late"] == true)
        .collect();
    assert_eq!(late, [false, true, false]);
    pinged.check(json!({ "received": 3, "lost": 0, "late": 1, "reordered": 1 }));
}

/// The kernel says when an answer came. That the client itself was stopped meanwhile changes
/// neither its time nor that it came in time.
#[test]
fn an_answer_that_came_in_time_is_not_late_because_the_client_slept() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    peer.set_read_timeout(Some(super::PATIENCE))
        .expect("a socket");
    let address = peer.local_addr().expect("an address");
    let line = format!("udpping -c 1 -t 1s {address}");
    let mut nsh = place().start(&["--json", "-c", &line]);
    nsh.event("start");
    let mut request = [0; 100];
    let (_, client) = peer.recv_from(&mut request).expect("a request");
    nsh.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", nsh.child.id());
    while !std::fs::read_to_string(&stat)
        .expect("it is there")
        .contains(") T ")
    {}
    peer.send_to(b"pong 1", client).expect("loopback");
    // Until the timeout is over.
    let timeout = std::time::Duration::from_millis(1500);
    peer.set_read_timeout(Some(timeout)).expect("a socket");
    let _ = peer.recv(&mut request);
    nsh.signal(Signal::SIGCONT);
    let ran = nsh.end();
    let events = super::events(&ran.stdout);
    let reply = super::named(&events, "reply")[0];
    assert!(super::named(&events, "timed_out").is_empty(), "{ran:#?}");
    assert_eq!(reply["late"], false, "{ran:#?}");
}

#[test]
fn answers_from_elsewhere_are_no_answers() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let pinged = ping("-c 3 -i 2ms -t 1s", &mut |_, from, _| {
        other.send_to(b"pong", from).expect("loopback");
    });
    pinged.check(json!({ "received": 0, "strangers": 3, "lost": 3 }));
    let verdict = pinged.statistics()["verdict"].as_str().unwrap_or_default();
    let stranger = other.local_addr().expect("an address");
    let expected = format!("no answer from 127.0.0.1:..., but {stranger} sent something");
    assert!(matches(&expected, verdict), "{verdict}");
    assert_eq!(pinged.ran.status, 1);
}

/// The session of a request, with eight digits.
fn session(request: &[u8]) -> String {
    let text = std::str::from_utf8(request).expect("words");
    text.split(' ').nth(3).expect("a session").to_owned()
}

/// What a server may say of itself: at worst it is not believed.
#[test]
fn reports_that_cannot_be_true_harm_nobody() {
    let last = u64::MAX;
    for report in [
        format!("1 {last}.999999999 {last}"),
        "4294967295 0.000000000 0".to_owned(),
        format!("1 0.000000000 {last}"),
        format!("0 {last}.000000000 0"),
        "1 1795268230.356019969 -1".to_owned(),
        format!("{last} {last}{last}.1 {last}{last}"),
    ] {
        let pinged = ping("-c 3 -i 2ms", &mut |peer, from, request| {
            let answer = format!("pong {} {} {report}", number(request), session(request));
            peer.send_to(answer.as_bytes(), from).expect("loopback");
        });
        pinged.check(json!({ "received": 3, "lost": 0 }));
        let rtt = pinged.statistics()["max_ms"].as_f64().expect("an RTT");
        assert!((0.0..5000.0).contains(&rtt), "{report}: {rtt} ms");
    }
}

#[test]
fn only_the_statistics() {
    let pinged = ping_lossy("-q -c 5 -i 2ms -t 10ms", &[2]);
    let names: Vec<&str> = pinged
        .events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(names, ["start", "statistics"]);
}

#[test]
fn intervals_and_rates() {
    for (options, interval_ms) in [
        ("", 1000.0),
        ("-i 2", 2000.0),
        ("-i 100us", 0.1),
        ("-i 10us", 0.01),
        ("--rate 100", 10.0),
        ("--rate 100000", 0.01),
    ] {
        let pinged = ping(&format!("{options} -c 1"), &mut |peer, from, _| {
            peer.send_to(b"pong", from).expect("loopback");
        });
        let start = pinged.named("start")[0];
        assert_eq!(start["interval_ms"], json!(interval_ms), "{options}");
        assert_eq!(start["count"], json!(1), "{options}");
    }
    // Also where that is faster than answers come.
    let pinged = ping("-q -c 2000 -i 10us -t 2", &mut |peer, from, request| {
        let answer = request.to_ascii_uppercase();
        peer.send_to(&answer, from).expect("loopback");
    });
    let sent = pinged.heard.iter().map(|request| number(request));
    assert!(sent.is_sorted_by(|one, next| one < next));
    pinged.check(json!({ "sent": 2000 }));
}

/// Without an end, Ctrl-C is the end.
#[test]
fn without_a_count_until_it_is_stopped() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    peer.set_read_timeout(Some(super::PATIENCE))
        .expect("a socket");
    let address = peer.local_addr().expect("an address");
    for (options, answers, status) in [
        ("-c 0", true, 130),
        ("-c 0", false, 130),
        ("-c 100", true, 130),
    ] {
        let line = format!("udpping {options} -i 2ms {address}");
        let nsh = place().start(&["--json", "-c", &line]);
        for _ in 0..12 {
            let mut request = [0; 100];
            let (_, client) = peer.recv_from(&mut request).expect("a request");
            if answers {
                peer.send_to(b"pong", client).expect("loopback");
            }
        }
        nsh.signal(Signal::SIGINT);
        let ran = nsh.end();
        assert_eq!(ran.status, status, "{options} {ran:#?}");
        let events = super::events(&ran.stdout);
        let statistics = super::named(&events, "statistics")[0];
        assert!(statistics["sent"].as_u64() >= Some(12), "{statistics}");
        peer.set_nonblocking(true).expect("a socket");
        while peer.recv(&mut [0; 100]).is_ok() {}
        peer.set_nonblocking(false).expect("a socket");
    }
}

/// A status tells what came back, also where `timeout` or `stop` ends it.
#[test]
fn a_job_is_stopped_and_shown() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    peer.set_read_timeout(Some(super::PATIENCE))
        .expect("a socket");
    let address = peer.local_addr().expect("an address");
    let line = format!("udpping -c 0 -i 1ms -q {address} &\nexpect UDPPING from 1\njobs\nstop 1\n");
    let ran = place().run_with_input(&["-k"], line);
    let running = "...\n[1]   running ...  udpping -c 0 -i 1ms -q 127.0.0.1:......";
    assert!(matches(running, &ran.stdout), "{ran:#?}");
    let counts = "...[1] --- 127.0.0.1 udpping statistics ---\n[1] ... sent, 0 received, ...";
    assert!(matches(counts, &ran.stdout), "{ran:#?}");
}

#[test]
fn where_it_leaves_from() {
    let mut from_address = None;
    let pinged = ping("-I 127.0.0.92 -c 1", &mut |peer, from, _| {
        from_address = Some(from.ip().to_string());
        peer.send_to(b"pong", from).expect("loopback");
    });
    pinged.check(json!({ "received": 1 }));
    assert_eq!(from_address.as_deref(), Some("127.0.0.92"));
    let ran = run(&["-c", "udpping -I 192.0.2.1 -c 1 127.0.0.1"]);
    assert_eq!(ran.status, 69, "{ran:?}");
}

/// A peer with a clock of its own that tells what it sees in the words of our server.
#[test]
fn the_clock_of_a_server_is_measured() {
    const AHEAD: std::time::Duration = std::time::Duration::from_millis(37);
    let mut requests = 0;
    let pinged = ping_in(&place(), "-q -c 100 -i 2ms", &mut |peer, from, request| {
        let received = super::wall() + AHEAD;
        requests += 1;
        let answer = format!(
            "pong {} {} {requests} {}.{:09} 1000",
            number(request),
            session(request),
            received.as_secs(),
            received.subsec_nanos()
        );
        peer.send_to(answer.as_bytes(), from).expect("loopback");
    });
    pinged.check(json!({ "received": 100 }));
    let clock = &pinged.statistics()["clock"];
    let figure = |name: &str| clock[name].as_f64().expect("a figure");
    let off = (figure("offset_ms") - 37.0).abs();
    assert!(off <= figure("bound_ms"), "{clock}");
    assert_eq!(clock["steps"], 0, "{clock}");
}
