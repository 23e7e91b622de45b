//! Faults that a developer asks for: they happen to the hosts he names, and to no others.

use std::io::Write;

use super::origin::{Answering, answer};
use super::*;

fn greeting() -> Answering {
    Origin::new().answering(|_| answer("Cache-Control: max-age=600\r\n", "hello"))
}

/// By the name `localhost`, which the rules can tell from its address.
fn by_name(origin: &Answering) -> String {
    origin.url("/").replace("127.0.0.1", "localhost")
}

/// What a client gets before the connection ends.
fn rest_of(proxy: &Proxy, request: &str) -> Vec<u8> {
    let mut client = proxy.dial();
    client.send(request);
    client.rest()
}

fn get(url: &str) -> String {
    format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn values_that_cannot_be_meant() {
    for (options, told) in [
        ("--delay ''", ""),
        ("--delay soon", "200ms"),
        ("--delay a=", ""),
        ("--delay a b=1s", ""),
        ("--delay -1", ""),
        ("--delay http://a/=1s", ""),
        ("--rate 0", ""),
        ("--rate fast", ""),
        ("--rate a=1MB", ""),
        ("--rate -5", ""),
        ("--drop 5", "0.5%"),
        ("--drop 101%", "0.5%"),
        ("--drop -1%", ""),
        ("--drop nan%", "0.5%"),
        ("--drop a=b=1", ""),
        ("--drop 10.*=1%", "10.0.0.0/8"),
    ] {
        let ran = place().run(&["-q", "-c", &format!("proxy -p 0 --no-cache {options}")]);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (2, ""),
            "{options}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("proxy: ") && ran.stderr.contains(told),
            "{options}: {ran:?}"
        );
    }
}

/// All of them, or none.
#[test]
fn drops() {
    let origin = greeting();
    let (url, named) = (origin.url("/"), by_name(&origin));
    let mut proxy = passing("--connect-ports 1-65535 --drop localhost=100%");
    for request in [
        get(&named),
        connect_to(&origin.address.replace("127.0.0.1", "LOCALHOST.")),
    ] {
        assert_eq!(rest_of(&proxy, &request), b"", "{request}");
    }
    assert_eq!(origin.heads().len(), 0);
    assert_eq!(proxy.get(&url).text(), "hello");
    proxy.tunnel(&origin.address);
    proxy.settle(4);
    // Nobody was answered, so that this is no answer of any class.
    for class in ["1xx", "4xx", "5xx"] {
        let name = format!("nsh_proxy_responses_total{{class=\"{class}\"}}");
        assert_eq!(proxy.metric(&name), 0, "{class}");
    }
    // The first rule for a host counts.
    let proxy = passing("--drop 127.0.0.0/8=0% --drop 100%");
    for _ in 0..20 {
        assert_eq!(proxy.get(&url).text(), "hello");
    }
    assert_eq!(rest_of(&proxy, &get(&named)), b"");
    // Own pages are no host's.
    assert_eq!(proxy.get("/-/metrics").status, 200);
    assert_eq!(proxy.get("http://nsh.proxy/").status, 200);
    // What is stored is dropped as well.
    let proxy = caching("--drop localhost=100%");
    assert_eq!(proxy.get(&url).text(), "hello");
    assert_eq!(rest_of(&proxy, &get(&named)), b"");
}

/// It is longer than this test: who is delayed gets nothing, and others do not wait for him.
#[test]
fn delays() {
    let origin = greeting();
    let (url, named) = (origin.url("/"), by_name(&origin));
    let proxy = passing("--delay localhost=1h --delay 127.0.0.1=0 --delay 2h --grace 0");
    let mut late = proxy.dial();
    late.send(get(&named));
    for _ in 0..20 {
        assert_eq!(proxy.get(&url).text(), "hello");
    }
    assert_eq!(proxy.get("/-/metrics").status, 200);
    let ran = proxy.stop();
    assert_eq!(ran.status, 130, "{ran:?}");
    assert_eq!(late.rest(), b"");
    assert_eq!(origin.heads().len(), 20);
}

/// Also what is stored comes late, but comes.
#[test]
fn delayed_answers_are_the_same() {
    let origin = greeting();
    let mut proxy = caching("--delay 127.0.0.0/8=30ms");
    for how in ["miss", "hit"] {
        assert_eq!(proxy.get(&origin.url("/")).text(), "hello");
        let event = proxy.nsh.event("exchange");
        assert_eq!(event["cache"], how);
        assert!(event["milliseconds"].as_f64() >= Some(30.0), "{event}");
    }
    assert_eq!(origin.heads().len(), 1);
}

/// As many octets a second, for some hosts.
#[test]
fn rates() {
    const LARGE: usize = 1 << 20;
    let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let sent = body.clone();
    let origin = Origin::new().answering(move |_| answer("Cache-Control: max-age=600\r\n", &sent));
    let (url, named) = (origin.url("/"), by_name(&origin));
    let filled = caching("");
    assert!(filled.get(&named).body == body);
    let Proxy { nsh, place, .. } = filled;
    nsh.signal(Signal::SIGINT);
    nsh.end();
    for proxy in [
        passing("--rate localhost=200 --grace 0"),
        caching("--rate localhost=200 --grace 0"),
        proxy(place, "--cache kept --rate localhost=200 --grace 0"),
    ] {
        let mut slow = [proxy.dial(), proxy.dial()];
        for client in &mut slow {
            client.send(get(&named));
            assert!(client.head().starts_with("HTTP/1.1 200 "));
            assert_eq!(client.octets(8), body[..8]);
        }
        for _ in 0..3 {
            assert!(proxy.get(&url).body == body);
        }
        let ran = proxy.stop();
        assert_eq!(ran.status, 130, "{ran:?}");
        for client in &mut slow {
            // A test does not take an hour.
            let rest = client.rest();
            assert!(rest.len() < LARGE / 2, "{}", rest.len());
            assert!(body[8..].starts_with(&rest));
        }
    }
}

#[test]
fn slow_answers_are_the_same() {
    let body: Vec<u8> = (0..60_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = body.clone();
    let origin = Origin::new().answering(move |head| match head.contains("/chunked") {
        false => answer("Cache-Control: max-age=600\r\n", &sent),
        true => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut octets = head.to_vec();
            for part in sent.chunks(10_000) {
                octets.extend(format!("{:x}\r\n", part.len()).bytes());
                octets.extend(part);
                octets.extend(b"\r\n");
            }
            octets.extend(b"0\r\n\r\n");
            octets
        }
    });
    for proxy in [passing("--rate 400K"), caching("--rate 400K")] {
        for path in ["/plain", "/plain", "/chunked"] {
            assert!(proxy.get(&origin.url(path)).body == body, "{path}");
        }
    }
}

/// A tunnel is a connection to its host, too.
#[test]
fn rates_of_tunnels() {
    const LARGE: usize = 1 << 20;
    let proxy = passing("--connect-ports 1-65535 --rate localhost=200 --grace 0");
    let origin = Origin::new();
    let mut slow = proxy.tunnel(&origin.address.replace("127.0.0.1", "localhost"));
    let slow_end = origin.accept();
    let mut fast = proxy.tunnel(&origin.address);
    let fast_end = origin.accept();
    std::thread::scope(|scope| {
        scope.spawn(|| (&slow_end.stream).write_all(&[7; LARGE]));
        assert_eq!(slow.octets(1), [7]);
        scope.spawn(|| (&fast_end.stream).write_all(&[8; 20 * LARGE]));
        assert!(fast.octets(20 * LARGE) == [8; 20 * LARGE]);
        let ran = proxy.stop();
        assert_eq!(ran.status, 130, "{ran:?}");
        // A test does not take an hour.
        let rest = slow.rest();
        assert!(rest.len() < LARGE / 2, "{}", rest.len());
    });
}
