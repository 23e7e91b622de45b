//! Clients that are slow, too many, or want too much; starting and stopping.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::afar::{PROXY, from_afar};
use super::origin::{Answering, answer};
use super::*;
use crate::support::{matches, privileged, unused_port};

/// No other test listens here, so that a port that was free stays free.
const OWN_ADDRESS: &str = "127.0.0.95";

const OWN_PAGE: &str = "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn greeting() -> Answering {
    Origin::new().answering(|_| answer("", "hello"))
}

fn get(url: &str) -> String {
    format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// RFC 9110 section 15.5.9. The time counts from the first octet, whatever comes then.
#[test]
fn a_head_has_to_come_in_time() {
    let (proxy, origin) = (passing("--header-timeout 0.2"), greeting());
    let url = origin.url("/");
    for start in [
        "G",
        "GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n",
        "CONNECT a:443 HTTP/1.1\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(start);
        let answer = client.receive("GET").expect("a word");
        assert_eq!(answer.status, 408, "{start}");
        assert!(answer.has("connection", "close"), "{answer:?}");
        client.expect_end();
    }
    // The next one of a connection as well.
    let mut client = proxy.connect();
    assert_eq!(client.ask(get(&url)).text(), "hello");
    client.send("GET http://");
    assert_eq!(client.receive("GET").expect("a word").status, 408);
    // One octet more each time that nothing has come for a moment.
    let mut client = proxy.connect();
    let moment = Some(Duration::from_millis(20));
    client.stream.set_read_timeout(moment).expect("a socket");
    client.send("GET http://a/");
    let mut octet = [0];
    for _ in 0..1000 {
        if client.stream.peek(&mut octet).is_ok() {
            break;
        }
        client.send("x");
    }
    assert_eq!(client.receive("GET").expect("a word").status, 408);
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let (proxy, origin) = (passing("--idle-timeout 0.2"), greeting());
    let mut silent = proxy.connect();
    silent.expect_end();
    let mut client = proxy.connect();
    assert_eq!(client.ask(get(&origin.url("/"))).text(), "hello");
    client.expect_end();
    // RFC 9112 section 2.2: an empty line behind a request begins none.
    let proxy = passing("--idle-timeout 0.4 --header-timeout 0.1");
    let mut client = proxy.connect();
    assert_eq!(client.ask(get(&origin.url("/")) + "\r\n").text(), "hello");
    client.expect_end();
}

/// RFC 6585 section 5.
#[test]
fn a_head_has_an_end() {
    let (proxy, origin) = (passing(""), greeting());
    let url = origin.url("/");
    let large = "x".repeat(100_000);
    let many = "a: b\r\n".repeat(20_000);
    for head in [
        format!("GET {url} HTTP/1.1\r\nHost: a\r\nX: {large}\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        format!("GET {url} HTTP/1.1\r\nHost: a\r\nX: {large}"),
    ] {
        let mut client = proxy.connect();
        client.send(&head);
        assert_eq!(client.receive("GET").expect("a word").status, 431);
    }
    for start in [
        format!("GET {url}{large} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET http://{large}"),
    ] {
        let mut client = proxy.connect();
        client.send(&start);
        let status = client.receive("GET").expect("a word").status;
        assert!(matches!(status, 414 | 431), "{status}");
    }
    assert_eq!(origin.heads().len(), 0);
    // What browsers send at worst.
    let cookies = format!("Cookie: {}\r\n", "c".repeat(16_000));
    let head = format!("GET {url} HTTP/1.1\r\nHost: a\r\n{cookies}\r\n");
    assert_eq!(proxy.connect().ask(head).text(), "hello");
    assert!(origin.heads()[0].contains(&cookies));
}

/// The proxy's figures, on a connection of the test's.
#[track_caller]
fn open_connections(client: &mut Client) -> u64 {
    let answer = client.ask(OWN_PAGE);
    let mut lines = answer.text().lines();
    let value = lines.find_map(|line| line.strip_prefix("nsh_proxy_open_connections "));
    value.expect("a figure").parse().expect("a number")
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let (proxy, origin) = (
        passing("--max-connections 2 --connect-ports 1-65535"),
        greeting(),
    );
    let mut kept = [proxy.connect(), proxy.connect()];
    for client in &mut kept {
        assert_eq!(client.ask(get(&origin.url("/"))).text(), "hello");
    }
    for _ in 0..3 {
        let mut third = proxy.connect();
        let answer = third.receive("GET").expect("a word");
        assert_eq!(answer.status, 503);
        assert!(answer.has("connection", "close"), "{answer:?}");
        assert!(answer.field("retry-after").is_some(), "{answer:?}");
        third.expect_end();
    }
    let [mut first, second] = kept;
    // Those that were refused have seen their end a moment before they are forgotten.
    while open_connections(&mut first) > 2 {}
    drop(second);
    while open_connections(&mut first) > 1 {}
    // A tunnel takes its client's place, and no more.
    let target = Origin::new();
    let end = proxy.tunnel(&target.address);
    assert_eq!(open_connections(&mut first), 2);
    assert_eq!(proxy.connect().receive("GET").expect("a word").status, 503);
    drop((end, target));
    while open_connections(&mut first) > 1 {}
    assert_eq!(proxy.get(&origin.url("/")).text(), "hello");
    let answer = first.ask(OWN_PAGE);
    let line = "\nnsh_proxy_refused_connections_total 4\n";
    assert!(answer.text().contains(line), "{}", answer.text());
}

#[test]
fn no_client_takes_all_places() {
    if !privileged("no_client_takes_all_places") {
        return;
    }
    from_afar(&["11.0.0.1/32"], |there| {
        let (mut proxy, origin) = there.with(|| {
            let proxy = passing("-b 0.0.0.0 --allow 10.9.0.0/24 --max-per-client 2");
            let origin = Origin::at("11.0.0.1:0").answering(|_| answer("", "hello"));
            (proxy, origin)
        });
        let (_, port) = proxy.address.split_once(':').expect("a port");
        let port = port.to_owned();
        let own = format!("127.0.0.1:{port}");
        proxy.address = format!("{PROXY}:{port}");
        let mut kept = [proxy.connect(), proxy.connect()];
        for client in &mut kept {
            assert_eq!(client.ask(get(&origin.url("/"))).text(), "hello");
        }
        let mut third = proxy.connect();
        assert_eq!(third.receive("GET").expect("a word").status, 503);
        // This machine's own programs are not counted.
        proxy.address = own;
        there.with(|| {
            let mut clients = [(); 5].map(|()| proxy.connect());
            for client in &mut clients {
                assert_eq!(client.ask(get(&origin.url("/"))).text(), "hello");
            }
        });
        let [mut first, second] = kept;
        drop(second);
        // The others are gone as well.
        while open_connections(&mut first) > 1 {}
        proxy.address = format!("{PROXY}:{port}");
        assert_eq!(proxy.get(&origin.url("/")).text(), "hello");
    });
}

/// Between their requests they need no thread.
#[test]
fn more_clients_than_threads() {
    let (proxy, origin) = (passing("--threads 4"), greeting());
    let url = origin.url("/");
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send(get(&url));
        }
        for client in &mut clients {
            assert_eq!(client.receive("GET").expect("an answer").text(), "hello");
        }
    }
    thread::scope(|scope| {
        for mut client in clients {
            let request = get(&url);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(client.ask(&request).text(), "hello");
                }
            });
        }
    });
    assert_eq!(origin.heads().len(), 50 * 23);
}

/// Who asks for more at a time than there are threads waits for his turn.
#[test]
fn more_exchanges_than_threads() {
    let (proxy, origin) = (passing("--threads 4"), Origin::new());
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.send(get(&origin.url("/")));
    }
    for _ in 0..3 {
        let mut far: Vec<Connection> = (0..4).map(|_| origin.accept()).collect();
        for connection in &mut far {
            connection.head();
        }
        for connection in &mut far {
            let closing = "Connection: close\r\n";
            connection.send(answer(closing, "hello"));
        }
    }
    for client in &mut clients {
        assert_eq!(client.receive("GET").expect("an answer").text(), "hello");
    }
}

/// A download of which half has come.
fn downloading(proxy: &Proxy, origin: &Origin) -> (Connection, Connection) {
    let mut client = proxy.dial();
    client.send(get(&origin.url("/")));
    let mut far = origin.accept();
    far.head();
    far.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let head = client.head();
    assert!(head.contains("\r\nContent-Length: 10\r\n"), "{head}");
    assert_eq!(client.octets(5), b"hello");
    (client, far)
}

#[test]
fn within_the_grace_a_download_ends() {
    for options in ["--no-cache", "--cache kept"] {
        let proxy = proxy(place(), &format!("{options} --grace 30 -b {OWN_ADDRESS}"));
        let origin = Origin::new();
        let (mut client, mut far) = downloading(&proxy, &origin);
        let mut idle = proxy.connect();
        assert_eq!(idle.ask(OWN_PAGE).status, 200);
        proxy.nsh.signal(Signal::SIGINT);
        idle.expect_end();
        // The port is free before the download has ended.
        assert!(TcpStream::connect(&proxy.address).is_err());
        far.send("world");
        assert_eq!(client.rest(), b"world");
        assert_eq!(proxy.nsh.end().status, 130);
    }
}

#[test]
fn behind_the_grace_a_download_is_cut() {
    for options in ["--no-cache", "--cache kept"] {
        for grace in ["0", "100ms"] {
            let proxy = proxy(place(), &format!("{options} --grace {grace}"));
            let origin = Origin::new();
            let (mut client, mut far) = downloading(&proxy, &origin);
            // And one whose answer has not begun, and one whose request is not complete.
            let mut waiting = proxy.dial();
            waiting.send(get(&origin.url("/other")));
            let mut other = origin.accept();
            other.head();
            let mut asking = proxy.dial();
            asking.send("GET ");
            let ran = proxy.stop();
            assert_eq!(ran.status, 130, "{ran:?}");
            assert_eq!(client.rest(), b"");
            assert_eq!(far.rest(), b"");
            other.rest();
            let got = waiting.rest();
            assert!(!got.starts_with(b"HTTP/1.1 200"), "{}", got.escape_ascii());
            assert_eq!(asking.rest(), b"");
        }
    }
}

#[test]
fn a_job_that_has_the_port_is_named() {
    let port = unused_port(OWN_ADDRESS);
    let proxy = format!("proxy -b {OWN_ADDRESS} -p {port} --no-cache");
    let check = |line: &str, named: &str| {
        let ran = place().run(&["-q", "-c", line]);
        let text = format!(
            "proxy: cannot listen on {OWN_ADDRESS}:{port} (TCP): Address already in use{named}"
        );
        assert!(
            ran.stderr.contains(&text) && ran.status == 69,
            "{line}: {ran:?}"
        );
        ran
    };
    let named =
        format!(": job 1 has it ({proxy}); 'stop 1' frees it, and -p 0 takes a free port\n");
    check(&format!("{proxy}; {proxy}"), &named);
    check(
        &format!("upper --server -b {OWN_ADDRESS} -p {port}; {proxy}"),
        ": job 1 has it",
    );
    let _taken = TcpListener::bind((OWN_ADDRESS, port)).expect("it is free");
    let ran = check(&proxy, "");
    assert!(!ran.stderr.contains("has it"), "{ran:?}");
}

#[test]
fn the_port_can_be_had_again_at_once() {
    let port = unused_port(OWN_ADDRESS);
    let proxy = format!("proxy -b {OWN_ADDRESS} -p {port} --cache kept");
    let again = format!("stop proxy; {proxy}; ").repeat(5);
    let place = place();
    let mut nsh = place.start(&["--json", "-c", &format!("{proxy}; {again}echo up")]);
    while nsh.event("listening")["job"] != 6 {}
    assert_eq!(nsh.event("text")["text"], "up");
    let mut client = Client::connect(&format!("{OWN_ADDRESS}:{port}"));
    assert_eq!(client.ask(OWN_PAGE).status, 200);
    // Also when clients were still connected.
    nsh.signal(Signal::SIGINT);
    assert_eq!(nsh.end().status, 130);
    let mut nsh = place.start(&["--json", "-c", &proxy]);
    nsh.event("listening");
}

#[test]
fn a_job_of_a_script() {
    let ran = place().run(&[
        "-k",
        "-c",
        "proxy -p 0 --no-cache; jobs; stop 1; jobs; echo end",
    ]);
    let pattern = "[1] proxy at 127.0.0.1:..., for this machine only, no cache; status at http://nsh.proxy/ through it\n\
        [1]   running ...  proxy -p 0 --no-cache  | 0 connections, 0 tunnels, 0 requests, 0% hits, 0 B saved\n\
        [1]   stopped ...  proxy -p 0 --no-cache  | ...\nend\n";
    assert!(matches(pattern, &ran.stdout) && ran.status == 0, "{ran:#?}");
    // What the job shows is what it does; once it is stopped, that is certain.
    let (place, origin) = (place(), greeting());
    let port = unused_port(OWN_ADDRESS);
    let line = format!(
        "proxy -b {OWN_ADDRESS} -p {port} --cache kept; get -q --via {OWN_ADDRESS}:{port} {}; stop 1; jobs",
        origin.url("/")
    );
    let ran = place.run(&["--json", "-k", "-c", &line.replace("get -q", "get")]);
    let jobs = ran
        .stdout
        .lines()
        .find(|line| line.contains("\"event\":\"job\""));
    let job: serde_json::Value = serde_json::from_str(jobs.expect("a job")).expect("JSON");
    let summary = job["summary"].as_str().expect("a summary");
    assert!(
        matches("... 0 tunnels, 1 requests, 0% hits, 0 B saved", summary),
        "{summary}"
    );
    assert_eq!(job["listening"][0], format!("{OWN_ADDRESS}:{port}"));
    assert_eq!(ran.status, 0, "{ran:?}");
}
