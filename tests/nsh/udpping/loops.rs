//! What servers must not be used for: answering each other without end (CVE-2024-2169), and
//! sending victims more than was sent to them.

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;

use super::alone::{alone, await_address, figure, forge};
use super::{PATIENCE, answer_so_far, ask, connect, events, keyed, listen, listen_in, named};
use crate::support::{Place, Running, place, privileged, run};

/// A server of any kind, and where.
fn serve(place: &Place, line: &str) -> (Running, SocketAddr) {
    let mut nsh = place.start(&["--json", "-c", &format!("{line} -p 0")]);
    let address = super::address(&nsh.event("listening")["address"]);
    (nsh, address)
}

const REFLECTOR: &str = "udpping --reflector";
const SERVER: &str = "udpping --server";
const UPPER: &str = "upper --server --udp";

/// A test packet, which is also a question for the others.
const QUESTION: [u8; 44] = [b'a'; 44];

/// How many datagrams follow one that is forged, itself among them.
fn datagrams_after_one(line: &str, other: &str, forged: &[u8]) -> u64 {
    alone("", || {
        let place = keyed();
        let [(_one, from), (_other, to)] = [line, other].map(|line| serve(&place, line));
        let before = figure("Udp", "OutDatagrams");
        let mut asked = 0;
        forge(from, to, forged);
        // A server is asked after the forged one; once its answer is there, so is what came before.
        for _ in 0..200 {
            for server in [from, to] {
                let client = connect(server);
                let mut question = QUESTION;
                question[..4].fill(0);
                asked += 1;
                client.send(&question).expect("loopback");
                let mut answer = [0; 100];
                client.recv(&mut answer).expect("an answer");
            }
        }
        // A raw socket's datagram is not counted as one of UDP's.
        1 + figure("Udp", "OutDatagrams") - before - 2 * asked
    })
}

#[track_caller]
fn check_loop(line: &str, other: &str, datagrams_max: u64) {
    for forged in [
        &QUESTION[..],
        b"x",
        b"hello",
        b"PING 1 14:05:09 9f3a6c21 ...............",
    ] {
        let count = datagrams_after_one(line, other, forged);
        assert!(count <= datagrams_max, "{line}, {other}: {count} datagrams");
        // What is no question for the one is an answer from the other all the same.
        let is_answered = count > 1 || forged != QUESTION;
        assert!(
            is_answered,
            "{line}, {other}: the forged one did not arrive"
        );
    }
}

#[test]
fn two_servers_that_are_made_to_answer_each_other_fall_silent() {
    if !privileged("two_servers_that_are_made_to_answer_each_other_fall_silent") {
        return;
    }
    check_loop(REFLECTOR, REFLECTOR, 4);
    check_loop(SERVER, SERVER, 2);
    check_loop(UPPER, UPPER, 64);
    check_loop(SERVER, UPPER, 4);
    check_loop(UPPER, SERVER, 4);
    check_loop(REFLECTOR, SERVER, 4);
    check_loop(SERVER, REFLECTOR, 4);
    // Whatever the time of day is, see below.
    check_loop(REFLECTOR, UPPER, 64);
    check_loop(UPPER, REFLECTOR, 64);
}

/// A server that is its own victim: the forged sender is itself.
#[test]
fn a_server_that_is_made_to_answer_itself_falls_silent() {
    if !privileged("a_server_that_is_made_to_answer_itself_falls_silent") {
        return;
    }
    for (line, datagrams_max) in [(REFLECTOR, 4), (SERVER, 2), (UPPER, 64)] {
        let count = alone("", || {
            let (_nsh, address) = serve(&place(), line);
            let before = figure("Udp", "OutDatagrams");
            forge(address, address, &QUESTION);
            for _ in 0..200 {
                let mut question = QUESTION;
                question[..4].fill(0);
                ask(&connect(address), &question);
            }
            1 + figure("Udp", "OutDatagrams") - before - 400
        });
        assert!(count <= datagrams_max, "{line}: {count} datagrams");
    }
}

/// A man in the middle passes on what each of two reflectors says, until one is silent.
#[test]
fn reflectors_behind_a_relay_fall_silent() {
    let place = keyed();
    for key in ["", "--key-file key"] {
        let reflectors = [0, 1].map(|_| listen_in(&place, &format!("--reflector {key}")));
        let relay = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let mut packet = QUESTION.to_vec();
        if !key.is_empty() {
            packet.resize(96, b'a');
            packet.extend(super::mac(super::KEY, &packet));
        }
        let question = packet.clone();
        let mut passed = 0;
        for reflector in reflectors.iter().cycle() {
            relay.send_to(&packet, reflector.address).expect("loopback");
            passed += 1;
            ask(&connect(reflector.address), &question);
            match answer_so_far(&relay) {
                Some(answer) => packet = answer,
                None => break,
            }
            assert!(passed <= 4, "{key}: {passed} datagrams");
        }
    }
}

/// A program that sends back whatever comes, as an echo service does; its datagrams never get
/// tired, so that it takes the server to stop.
#[test]
fn a_foreign_echo_is_not_answered_without_end() {
    for line in [REFLECTOR, SERVER] {
        let (_nsh, address) = serve(&place(), line);
        let echo = connect(address);
        echo.send(&QUESTION).expect("loopback");
        let mut count = 0;
        loop {
            ask(&connect(address), &QUESTION);
            let Some(answer) = answer_so_far(&echo) else {
                break;
            };
            count += 1;
            assert!(count <= 4, "{line} answers an echo");
            echo.send(&answer).expect("loopback");
        }
    }
}

/// What comes back need not be what was sent: `upper` changes letters, and at some times of the
/// day each timestamp has some.
#[test]
fn a_reflector_knows_its_replies_also_where_they_were_changed() {
    let reflector = listen("--reflector");
    let echo = connect(reflector.address);
    let mut packet = QUESTION.to_vec();
    for count in 0.. {
        echo.send(&packet).expect("loopback");
        ask(&connect(reflector.address), &QUESTION);
        let Some(mut answer) = answer_so_far(&echo) else {
            break;
        };
        assert!(count <= 64, "{count} answers, and no end");
        // A letter stays upper case from then on, here the fraction's lower octets.
        for stamp in [4, 16, 28] {
            answer[stamp + 5..stamp + 8].fill(b'A');
        }
        packet = answer;
    }
}

/// Services on these ports answer whatever comes, and would answer the answer.
#[test]
fn ports_of_services_are_not_answered() {
    if !privileged("ports_of_services_are_not_answered") {
        return;
    }
    for line in [SERVER, REFLECTOR, UPPER] {
        let answered = alone("", || {
            let (_nsh, address) = serve(&place(), line);
            let mut answered = Vec::new();
            for port in [
                7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 1900, 11_211, 1023, 8,
            ] {
                let service = UdpSocket::bind(("127.0.0.1", port)).expect("root");
                service.send_to(&QUESTION, address).expect("loopback");
                ask(&connect(address), &QUESTION);
                if answer_so_far(&service).is_some() {
                    answered.push(port);
                }
            }
            answered
        });
        assert_eq!(answered, [1023, 8], "{line}");
    }
}

#[test]
fn what_is_refused_is_told_and_counted() {
    if !privileged("what_is_refused_is_told_and_counted") {
        return;
    }
    alone("", || {
        let mut server = listen("--server");
        let service = UdpSocket::bind("127.0.0.1:19").expect("root");
        for _ in 0..5 {
            service
                .send_to(b"chargen", server.address)
                .expect("loopback");
        }
        let refused = server.nsh.event("refused");
        let reason = "from the port of a service that answers everything";
        assert_eq!(
            (&refused["peer"], &refused["reason"]),
            (&"127.0.0.1:19".into(), &reason.into())
        );
        ask(&connect(server.address), b"question");
        let rest = server.stop();
        // A flood does not fill the disk.
        assert!(named(&rest, "refused").is_empty(), "{rest:#?}");
        assert_eq!(named(&rest, "server_statistics")[0]["refused"], 5);
    });
}

/// TWAMP Light's 14 octets want 44: no stranger gets more than he sent.
#[test]
fn strangers_get_no_more_than_they_send() {
    if !privileged("strangers_get_no_more_than_they_send") {
        return;
    }
    let address = "address add 198.51.100.7/24 dev lo\naddress add 2001:db8::7/64 dev lo nodad";
    for (line, host) in [
        (REFLECTOR, "198.51.100.7"),
        (REFLECTOR, "2001:db8::7"),
        (SERVER, "198.51.100.7"),
        (UPPER, "2001:db8::7"),
    ] {
        alone(address, || {
            await_address(host);
            let (_nsh, server) = serve(&place(), &format!("{line} -b {host}"));
            let stranger = UdpSocket::bind((host, 0)).expect("an own address");
            stranger.connect(server).expect("an own address");
            stranger.set_read_timeout(Some(PATIENCE)).expect("a socket");
            let control = UdpSocket::bind((host, 0)).expect("an own address");
            control.connect(server).expect("an own address");
            control.set_read_timeout(Some(PATIENCE)).expect("a socket");
            for octets in 0..60 {
                stranger.send(&vec![1; octets]).expect("an own address");
                ask(&control, &QUESTION);
                if let Some(answer) = answer_so_far(&stranger) {
                    assert!(
                        answer.len() <= octets,
                        "{line}: {octets} give {}",
                        answer.len()
                    );
                }
            }
        });
    }
}

/// `upper` as well has a limit for each source, where no hops are used up.
#[test]
fn upper_does_not_answer_one_source_without_end() {
    let address = "address add 198.51.100.7/24 dev lo";
    if !privileged("upper_does_not_answer_one_source_without_end") {
        return;
    }
    alone(address, || {
        let (_nsh, server) = serve(&place(), "upper --server --udp -b 198.51.100.7");
        let echo = UdpSocket::bind("198.51.100.7:0").expect("an own address");
        echo.connect(server).expect("an own address");
        let patience = std::time::Duration::from_millis(300);
        echo.set_read_timeout(Some(patience)).expect("a socket");
        echo.send(&QUESTION).expect("an own address");
        let mut answer = [0; 100];
        let mut count = 0;
        while let Ok(octets) = echo.recv(&mut answer) {
            count += 1;
            assert!(count <= 5000, "{count} answers, and no end");
            echo.send(&answer[..octets]).expect("an own address");
        }
    });
}

/// All ten leave although each is refused, and each is explained.
#[test]
fn a_dead_port_gets_all_requests_and_explains_each() {
    if !privileged("a_dead_port_gets_all_requests_and_explains_each") {
        return;
    }
    for (host, protocol, icmp) in [
        ("127.0.0.1", "Udp", (3, 3, "Destination Port Unreachable")),
        (
            "[::1]",
            "Udp6",
            (1, 4, "Destination unreachable: Port unreachable"),
        ),
    ] {
        for mode in ["", "--stamp", "--plain"] {
            let (ran, arrived) = alone("", || {
                let line = format!("udpping {mode} -c 10 -i 1ms {host}:9999");
                let ran = run(&["--json", "-c", &line]);
                (ran, arrivals(protocol))
            });
            assert_eq!(arrived, 10, "{mode} {host}: {ran:#?}");
            assert_eq!(ran.status, 1, "{ran:#?}");
            let events = events(&ran.stdout);
            let refused = named(&events, "refused");
            let first = u64::from(mode != "--stamp");
            let numbers = refused
                .iter()
                .map(|event| event["sequence_number"].as_u64());
            assert!(numbers.eq((first..first + 10).map(Some)), "{ran:#?}");
            for event in refused {
                let (kind, code, problem) = icmp;
                let from = Value::from(host.trim_matches(['[', ']']));
                assert_eq!(
                    (&event["icmp_type"], &event["icmp_code"]),
                    (&kind.into(), &code.into())
                );
                assert_eq!(
                    (&event["problem"], &event["from"]),
                    (&problem.into(), &from)
                );
            }
            let statistics = named(&events, "statistics")[0];
            assert_eq!(
                (&statistics["refused"], &statistics["sent"]),
                (&10.into(), &10.into())
            );
            let verdict = statistics["verdict"].as_str().expect("a verdict");
            assert!(
                verdict.starts_with("nothing is listening on UDP port 9999 of "),
                "{verdict}"
            );
        }
    }
}

/// Datagrams at ports where nobody listens.
fn arrivals(protocol: &str) -> u64 {
    if protocol == "Udp" {
        return figure(protocol, "NoPorts");
    }
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("Udp6NoPorts"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.expect("a figure").parse().expect("a number")
}
