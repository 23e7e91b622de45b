//! CONNECT, RFC 9110 section 9.3.6: octets in both directions, and how it ends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use super::origin::answer;
use super::*;
use crate::support::Ran;

/// More than sockets and pipes keep, so that it goes through the kernel's part of the tunnel.
const LARGE: usize = 20 << 20;

fn tunnelling(options: &str) -> Proxy {
    passing(&format!("--connect-ports 1-65535 {options}"))
}

/// Both ends of a tunnel.
#[track_caller]
fn open(proxy: &Proxy) -> (Connection, Connection) {
    let origin = Origin::new();
    let client = proxy.tunnel(&origin.address);
    (client, origin.accept())
}

/// The same at each place as at no other nearby.
fn pattern(octets: usize) -> Vec<u8> {
    (0..octets as u32)
        .map(|at| (at % 65_521 % 251) as u8)
        .collect()
}

#[test]
fn octets_go_both_ways() {
    let proxy = tunnelling("");
    let (mut client, mut origin) = open(&proxy);
    for (from_client, from_origin) in [("hello", "hi"), ("\r\n\r\n", "\0"), ("x", "GET / HTTP/1.1")]
    {
        client.send(from_client);
        assert_eq!(origin.octets(from_client.len()), from_client.as_bytes());
        origin.send(from_origin);
        assert_eq!(client.octets(from_origin.len()), from_origin.as_bytes());
    }
    drop(client);
    assert_eq!(origin.rest(), b"");
}

/// An origin may speak first, as mail servers do.
#[test]
fn the_origin_speaks_first() {
    let proxy = tunnelling("");
    let origin = Origin::new();
    let mut client = proxy.dial();
    client.send(connect_to(&origin.address));
    let mut far = origin.accept();
    far.send("220 ready\r\n");
    far.send_end();
    assert_eq!(
        client.rest(),
        format!("{ESTABLISHED}220 ready\r\n").as_bytes()
    );
}

/// What a client sends without waiting for the answer is for the tunnel.
#[test]
fn octets_right_behind_the_request() {
    let proxy = tunnelling("");
    for early in ["x".to_owned(), "y".repeat(100_000), "\r\n\r\n".to_owned()] {
        let origin = Origin::new();
        let mut client = proxy.dial();
        client.send(connect_to(&origin.address) + &early);
        client.send_end();
        let mut far = origin.accept();
        assert_eq!(far.rest().len(), early.len());
        far.send("bye");
        far.send_end();
        assert_eq!(client.head(), ESTABLISHED);
        assert_eq!(client.rest(), b"bye");
    }
}

/// Like the message of a request that is already smuggled: the tunnel is opened or not by the
/// first head alone, and nothing of the fields goes to the origin.
#[test]
fn fields_of_the_request_stay_here() {
    let proxy = tunnelling("");
    let origin = Origin::new();
    let mut client = proxy.dial();
    let address = &origin.address;
    client.send(format!(
        "CONNECT {address} HTTP/1.1\r\nHost: elsewhere\r\nCookie: a=b\r\nProxy-Connection: close\r\n\r\nz"
    ));
    let mut far = origin.accept();
    assert_eq!(client.head(), ESTABLISHED);
    client.send_end();
    assert_eq!(far.rest(), b"z");
    let body = format!("CONNECT {address} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz");
    assert_eq!(proxy.connect().ask(body).status, 400);
}

/// Each side may end its own direction, and goes on to receive.
#[test]
fn half_of_it_may_be_closed() {
    let proxy = tunnelling("");
    let (mut client, mut origin) = open(&proxy);
    client.send("question");
    client.send_end();
    assert_eq!(origin.rest(), b"question");
    for part in ["answer ", "in ", "parts"] {
        origin.send(part);
        assert_eq!(client.octets(part.len()), part.as_bytes());
    }
    drop(origin);
    assert_eq!(client.rest(), b"");

    let (mut client, mut origin) = open(&proxy);
    origin.send("greeting");
    origin.send_end();
    assert_eq!(client.rest(), b"greeting");
    for part in ["still ", "being ", "sent"] {
        client.send(part);
        assert_eq!(origin.octets(part.len()), part.as_bytes());
    }
    drop(client);
    assert_eq!(origin.rest(), b"");
}

/// A tunnel of which one half is closed and nothing moves rests like any other.
#[test]
fn half_closed_tunnels_do_not_keep_others_waiting() {
    let proxy = tunnelling("--threads 4");
    let mut tunnels: Vec<_> = (0..40).map(|_| open(&proxy)).collect();
    for (client, origin) in &mut tunnels {
        client.send_end();
        assert_eq!(origin.rest(), b"");
    }
    let (mut client, mut origin) = open(&proxy);
    for _ in 0..20 {
        client.send("ping");
        assert_eq!(origin.octets(4), b"ping");
        origin.send("pong");
        assert_eq!(client.octets(4), b"pong");
    }
    for (client, origin) in &mut tunnels {
        origin.send("late");
        assert_eq!(client.octets(4), b"late");
    }
}

/// Both directions at once, past the place where the kernel takes over.
#[test]
fn much_comes_through_intact() {
    let proxy = tunnelling("");
    let (up, down) = (pattern(LARGE), pattern(LARGE + 1));
    let (client, origin) = open(&proxy);
    let send = |end: &Connection, octets: &[u8]| {
        (&end.stream).write_all(octets).expect("it is taken");
        end.send_end();
    };
    let receive = |end: &Connection| {
        let mut octets = Vec::new();
        (&end.stream)
            .read_to_end(&mut octets)
            .expect("an orderly end");
        octets
    };
    thread::scope(|scope| {
        scope.spawn(|| send(&client, &up));
        scope.spawn(|| send(&origin, &down));
        let at_origin = scope.spawn(|| receive(&origin));
        assert!(receive(&client) == down, "towards the client");
        let at_origin = at_origin.join().expect("no panic");
        assert!(at_origin == up, "towards the origin");
    });
}

/// Nobody reads for a while, and nothing is lost.
#[test]
fn who_reads_late_gets_everything() {
    let proxy = tunnelling("");
    for octets in [1 << 20, LARGE] {
        let sent = pattern(octets);
        let (mut client, origin) = open(&proxy);
        thread::scope(|scope| {
            scope.spawn(|| {
                (&origin.stream).write_all(&sent).expect("it is taken");
                origin.send_end();
            });
            // Meanwhile the tunnel is full, and others are served.
            for _ in 0..20 {
                assert_eq!(proxy.get("/-/metrics").status, 200);
            }
            assert!(client.rest() == sent, "{octets}");
        });
    }
}

#[test]
fn the_reset_of_one_side_ends_the_other() {
    let proxy = tunnelling("");
    let (mut client, origin) = open(&proxy);
    origin.reset();
    assert_eq!(client.rest(), b"");
    let (client, mut origin) = open(&proxy);
    client.reset();
    assert_eq!(origin.rest(), b"");
    // Also where much has gone through, and where it has waited since.
    let (mut client, mut origin) = open(&proxy);
    for _ in 0..20 {
        let part = vec![7; 64 << 10];
        origin.send(&part);
        assert!(client.octets(part.len()) == part);
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/-/metrics").status, 200);
    }
    client.reset();
    assert_eq!(origin.rest(), b"");
}

/// They wait without a thread each, and go on where they were.
#[test]
fn many_idle_tunnels() {
    let proxy = tunnelling("--threads 8");
    let origin = Origin::new();
    let mut tunnels: Vec<_> = (0..200)
        .map(|_| (proxy.tunnel(&origin.address), origin.accept()))
        .collect();
    for round in 0..3 {
        for (number, (client, origin)) in tunnels.iter_mut().enumerate() {
            let text = format!("{round} {number};");
            client.send(&text);
            assert_eq!(origin.octets(text.len()), text.as_bytes());
            origin.send(&text);
            assert_eq!(client.octets(text.len()), text.as_bytes());
        }
        assert_eq!(proxy.metric("nsh_proxy_open_tunnels"), 200);
        // Longer than a tunnel keeps its thread.
        for _ in 0..50 {
            assert_eq!(proxy.get("/-/metrics").status, 200);
        }
    }
    for (client, _) in tunnels.drain(..) {
        drop(client);
    }
    assert_eq!(proxy.metric("nsh_proxy_tunnels_total"), 200);
}

/// The event comes when the tunnel has ended, so that the figures after it are without it.
#[test]
fn tunnels_are_counted_and_logged() {
    let mut proxy = tunnelling("");
    let (mut client, mut origin) = open(&proxy);
    client.send("12345");
    assert_eq!(origin.octets(5), b"12345");
    assert_eq!(proxy.metric("nsh_proxy_open_tunnels"), 1);
    origin.send("123");
    origin.send_end();
    assert_eq!(client.rest(), b"123");
    let destination = origin.stream.local_addr().expect("an address").to_string();
    drop(client);
    let event = proxy.nsh.event("tunnel_closed");
    assert_eq!(event["client"], "127.0.0.1");
    assert_eq!(event["destination"], destination.as_str());
    assert_eq!(
        (&event["octets_up"], &event["octets_down"]),
        (&5.into(), &3.into())
    );
    assert_eq!(proxy.metric("nsh_proxy_open_tunnels"), 0);
    assert_eq!(proxy.metric("nsh_proxy_tunnels_total"), 1);
}

#[test]
fn a_destination_that_does_not_answer() {
    let proxy = tunnelling("");
    // Free, as the origin is gone.
    let address = Origin::new().address;
    let answer = proxy.connect().ask(connect_to(&address));
    assert_eq!(answer.status, 502);
    let told = answer.field("proxy-status").expect("a Proxy-Status");
    assert!(told.contains("error=connection_refused"), "{told}");
    assert!(
        answer
            .text()
            .contains(&format!("{address} refuses the connection"))
    );
    let head = connect_to(&address).replace("\r\n\r\n", "\r\nAccept: text/html\r\n\r\n");
    let page = proxy.connect().ask(head);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!DOCTYPE html>"));
    let nowhere = proxy.connect().ask(connect_to("nosuch.invalid:443"));
    assert_eq!(nowhere.status, 502);
    // The connection goes on.
    let mut client = proxy.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(connect_to(&address)).status, 502);
    }
    assert_eq!(proxy.metric("nsh_proxy_tunnels_total"), 0);
}

#[test]
fn a_tunnel_to_a_name() {
    let proxy = tunnelling("");
    let origin = Origin::new();
    let (_, port) = origin.address.split_once(':').expect("a port");
    let mut client = proxy.tunnel(&format!("LOCALHOST:{port}"));
    let mut far = origin.accept();
    client.send("hello");
    assert_eq!(far.octets(5), b"hello");
}

/// On a connection that has carried requests before, and only from then on.
#[test]
fn a_tunnel_behind_other_requests() {
    let proxy = tunnelling("");
    let web = Origin::new().answering(|_| answer("", "hello"));
    let origin = Origin::new();
    let mut client = proxy.dial();
    let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", web.url("/"));
    client.send(get + &connect_to(&origin.address) + "early");
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.octets(5), b"hello");
    assert_eq!(client.head(), ESTABLISHED);
    let mut far = origin.accept();
    assert_eq!(far.octets(5), b"early");
    client.send("GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n");
    assert_eq!(far.head(), "GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n");
}

/// The client checks the origin's certificate, and the proxy sees none of it.
#[test]
fn tls_is_from_end_to_end() {
    let place = place();
    std::fs::create_dir(place.path().join("www")).expect("room on the disk");
    place.write("www/page", "secret page\n");
    place.certify();
    let serve = "serve www -p 0 --tls-cert cert.pem --tls-key key.pem";
    let mut server = place.start(&["--json", "-c", serve]);
    let event = server.event("listening");
    let site = event["address"].as_str().expect("an address");
    let proxy = tunnelling("--log access.log");
    let via = &proxy.address;
    let get = |options: &str| -> Ran {
        let line = format!("get --via {via} {options} https://{site}/page");
        place.run(&["-c", &line])
    };
    let ran = get("--ca cert.pem");
    assert_eq!(
        (ran.stdout.as_str(), ran.status),
        ("secret page\n", 0),
        "{ran:?}"
    );
    // Nobody else's.
    let ran = get("");
    assert_eq!(ran.stdout, "");
    assert_ne!(ran.status, 0, "{ran:?}");
    let Proxy { nsh, place, .. } = proxy;
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert!(!ran.stdout.contains("/page"), "{ran:?}");
    let log = place.read("access.log");
    let line = format!("\"CONNECT {site} HTTP/1.1\" 200 -");
    assert_eq!(
        log.lines().filter(|logged| logged.ends_with(&line)).count(),
        2,
        "{log}"
    );
}

/// Idle ones end at once, and busy ones within the grace.
#[test]
fn tunnels_end_with_the_proxy() {
    let proxy = tunnelling("--grace 100ms");
    let (mut idle, mut idle_origin) = open(&proxy);
    let (busy, busy_origin) = open(&proxy);
    thread::scope(|scope| {
        // Until the proxy cuts it.
        let sending =
            scope.spawn(|| while (&busy_origin.stream).write_all(&[0; 65_536]).is_ok() {});
        let reading = scope.spawn(|| {
            let mut octets = [0; 65_536];
            while (&busy.stream)
                .read(&mut octets)
                .is_ok_and(|count| count > 0)
            {}
            // So that the sender notices as well.
            let _ = busy.stream.shutdown(Shutdown::Both);
        });
        let ran = proxy.stop();
        assert_eq!(ran.status, 130, "{ran:?}");
        reading.join().expect("no panic");
        sending.join().expect("no panic");
    });
    assert_eq!(idle.rest(), b"");
    assert_eq!(idle_origin.rest(), b"");
}

/// Within the grace one may end by itself.
#[test]
fn a_busy_tunnel_may_end_within_the_grace() {
    let proxy = tunnelling("--grace 30");
    let sent = pattern(LARGE);
    let (client, origin) = open(&proxy);
    thread::scope(|scope| {
        scope.spawn(|| {
            (&origin.stream).write_all(&sent).expect("it is taken");
            origin.send_end();
        });
        let mut start = vec![0; 1 << 20];
        (&client.stream).read_exact(&mut start).expect("the start");
        proxy.nsh.signal(Signal::SIGINT);
        let mut rest = Vec::new();
        (&client.stream)
            .read_to_end(&mut rest)
            .expect("an orderly end");
        assert!([start, rest].concat() == sent);
        client.send_end();
    });
    drop((client, origin));
    assert_eq!(proxy.nsh.end().status, 130);
}
