//! Many clients, slow clients, and clients that mean harm.

use std::io::Read;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Server, serve, www};
use crate::client::Client;

/// More than the kernel keeps for a client that does not read.
const LARGE: u64 = 256 << 20;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn many_clients_at_once() {
    let place = www();
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    place.write("www/large", &large);
    let server = serve(place, "--log access.log");
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = server.connect();
                for round in 0..50 {
                    let (target, body) = match round % 10 {
                        0 => ("/large", &large[..]),
                        5 => ("/missing", &b""[..]),
                        _ => ("/next", &b"next\n"[..]),
                    };
                    let answer = client.ask(get(target));
                    assert!(
                        answer.status == 404 || answer.body == body,
                        "{target} {round}"
                    );
                }
            });
        }
    });
    let place = server.place.path().to_owned();
    let Server {
        nsh, place: kept, ..
    } = server;
    nsh.signal(nix::sys::signal::Signal::SIGINT);
    nsh.end();
    let log = std::fs::read_to_string(place.join("access.log")).expect("the log");
    assert_eq!(log.lines().count(), 64 * 50);
    let large = log
        .lines()
        .filter(|line| line.ends_with("\"GET /large HTTP/1.1\" 200 300000"));
    assert_eq!(large.count(), 64 * 5);
    drop(kept);
}

#[test]
fn rubbish_on_one_connection_is_no_matter_to_another() {
    let server = serve(www(), "--threads 1");
    let mut good = server.connect();
    assert_eq!(good.ask(get("/next")).text(), "next\n");
    for rubbish in [
        &[0; 4096][..],
        &[0xff; 4096],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe",
        b"\r\n",
        b"",
    ] {
        let mut bad = server.connect();
        bad.send(rubbish);
        bad.send_end();
        bad.rest();
        assert_eq!(good.ask(get("/next")).text(), "next\n");
        // One that is gone without a word.
        let mut gone = server.connect();
        gone.send(rubbish);
        drop(gone);
        assert_eq!(good.ask(get("/page.html")).text(), "<p>page</p>\n");
    }
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let server = serve(www(), "--max-connections 2");
    let mut kept = [server.connect(), server.connect()];
    for client in &mut kept {
        assert_eq!(client.ask(get("/next")).text(), "next\n");
    }
    for _ in 0..3 {
        let mut third = server.connect();
        let answer = third.receive("GET").expect("a word");
        assert_eq!(answer.status, 503);
        assert!(answer.has("connection", "close"), "{answer:?}");
        third.expect_end();
    }
    for client in &mut kept {
        assert_eq!(client.ask(get("/next")).text(), "next\n");
    }
}

/// RFC 9110 section 15.5.9. The time counts from the first octet, whatever comes then.
#[test]
fn a_head_has_to_come_in_time() {
    let server = serve(www(), "--header-timeout 200ms");
    for start in ["G", "GET /next HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut client = server.connect();
        client.send(start);
        let answer = client.receive("GET").expect("a word");
        assert_eq!(answer.status, 408);
        assert!(answer.has("connection", "close"), "{answer:?}");
        client.expect_end();
    }
    let mut client = server.connect();
    assert_eq!(client.ask(get("/next")).text(), "next\n");
    client.send("GET /next");
    assert_eq!(client.receive("GET").expect("a word").status, 408);
    // One octet more each time that nothing has come for a moment.
    let mut client = server.connect();
    let moment = Duration::from_millis(20);
    client
        .stream
        .set_read_timeout(Some(moment))
        .expect("a socket");
    client.send("GET /");
    let mut octet = [0];
    while client.stream.peek(&mut octet).is_err() {
        client.send("x");
    }
    assert_eq!(client.receive("GET").expect("a word").status, 408);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = serve(www(), "--idle-timeout 200ms");
    let mut client = server.connect();
    client.expect_end();
    let mut client = server.connect();
    assert_eq!(client.ask(get("/next")).text(), "next\n");
    client.expect_end();
}

/// RFC 9112 section 2.2: an empty line behind a request, which some clients send, begins none.
#[test]
fn an_empty_line_is_no_request_that_comes_too_slowly() {
    let server = serve(www(), "--idle-timeout 400ms --header-timeout 100ms");
    let mut client = server.connect();
    assert_eq!(client.ask(get("/next") + "\r\n").text(), "next\n");
    client.expect_end();
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let mut server = serve(www(), "--write-timeout 200ms");
    server.sparse("www/large", LARGE);
    let mut client = server.connect();
    client.send(get("/large"));
    let request = server.nsh.event("request");
    assert_eq!(request["request"], "GET /large HTTP/1.1");
    let sent = request["octets"].as_u64().expect("a number");
    assert!(sent < LARGE, "{request}");
    assert!((client.rest().len() as u64) < LARGE);
    // Pipelined requests whose answers nobody reads.
    let mut client = server.connect();
    client.stream.set_nonblocking(true).expect("a socket");
    let many = get("/page.html").repeat(1000);
    let mut asked = 0_usize;
    while let Ok(count) = std::io::Write::write(&mut client.stream, many.as_bytes()) {
        asked += count;
        assert!(asked < 1 << 30, "it reads on without being read");
    }
    assert_eq!(server.get("/next").text(), "next\n");
}

/// Nobody takes what has come for the whole file.
#[test]
fn a_file_that_is_truncated_while_it_is_sent() {
    let server = serve(www(), "");
    let file = server.sparse("www/large", LARGE);
    let mut client = server.connect();
    client.send(get("/large") + &get("/next"));
    let mut start = [0; 4096];
    client.stream.read_exact(&mut start).expect("the start");
    let start = String::from_utf8_lossy(&start);
    assert!(
        start.contains(&format!("Content-Length: {LARGE}\r\n")),
        "{start}"
    );
    file.set_len(1000).expect("it is ours");
    let rest = client.rest();
    assert!((rest.len() as u64) < LARGE, "{} octets", rest.len());
    assert!(
        rest.iter().all(|octet| *octet == 0),
        "something else behind the file"
    );
    // By another address, as what was found of this one is trusted for a moment.
    let answer = server.get("//large");
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
}

/// What was measured first is what is sent, even if the file grows.
#[test]
fn a_file_that_grows_while_it_is_sent() {
    let server = serve(www(), "");
    let file = server.sparse("www/large", 32 << 20);
    let mut client = server.connect();
    client.send(get("/large"));
    let mut octet = [0];
    client.stream.peek(&mut octet).expect("the start");
    file.set_len(64 << 20).expect("it is ours");
    let answer = client.receive("GET").expect("an answer");
    assert_eq!(answer.body.len(), 32 << 20);
    assert_eq!(client.ask(get("/next")).text(), "next\n");
}

#[test]
fn at_a_limited_rate_everything_comes() {
    let place = www();
    let large: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
    place.write("www/large", &large);
    let server = serve(place, "--rate 1M");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.connect();
                assert!(client.ask(get("/large")).body == large);
                assert_eq!(client.ask(get("/next")).text(), "next\n");
                client.send(get("/next").repeat(3));
                for _ in 0..3 {
                    let answer = client.receive("GET").expect("an answer");
                    assert_eq!(answer.text(), "next\n");
                }
            });
        }
    });
    let slow = serve(www(), "--rate 2K");
    assert_eq!(slow.get("/page.html").text(), "<p>page</p>\n");
}

/// More of them than the server has threads for what takes time.
#[test]
fn downloads_do_not_hold_up_what_else_takes_time() {
    const CLIENTS: usize = 40;
    let server = serve(www(), "");
    server.sparse("www/large", 1 << 40);
    let (under_way, is_over) = (Barrier::new(CLIENTS + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = server.connect();
                client.send(get("/large"));
                let mut octets = vec![0; 4 << 20];
                let mut goes_on = client.stream.read_exact(&mut octets).is_ok();
                under_way.wait();
                while goes_on && !is_over.load(Ordering::Relaxed) {
                    goes_on = client.stream.read(&mut octets).is_ok_and(|count| count > 0);
                }
            });
        }
        under_way.wait();
        let statuses: Vec<Option<u16>> = (0..10)
            .map(|_| {
                let mut client = server.connect();
                let patience = Some(Duration::from_secs(20));
                client.stream.set_read_timeout(patience).expect("a socket");
                client.send(get("/"));
                let comes = client.stream.peek(&mut [0]).is_ok();
                comes.then(|| client.receive("GET").expect("an answer").status)
            })
            .take_while(Option::is_some)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(statuses, [Some(200); 10]);
    });
}

/// A slow download holds up nobody, with one loop and more slow ones than threads.
#[test]
fn slow_clients_hold_up_nobody() {
    let server = serve(www(), "--threads 1");
    server.sparse("www/large", LARGE);
    let slow: Vec<Client> = (0..80)
        .map(|_| {
            let mut client = server.connect();
            client.send(get("/large"));
            let mut octet = [0];
            client.stream.peek(&mut octet).expect("the start");
            client
        })
        .collect();
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.ask(get("/next")).text(), "next\n");
        assert_eq!(client.ask(get("/")).status, 200);
    }
    drop(slow);
}
