//! Starting, stopping, and what is written down meanwhile.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;

use super::{Server, serve, www};
use crate::support::{matches, place, unused_port};

/// No other test listens here, so that a port that was free stays free.
const OWN_ADDRESS: &str = "127.0.0.97";
const LARGE: u64 = 256 << 20;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn it_says_where_it_serves_and_to_whom() {
    let place = www();
    let mut nsh = place.start(&["-c", "serve www -p 0"]);
    let line = nsh.line();
    let pattern = "[1] serving www at http://127.0.0.1:.../, reachable from this machine only";
    assert!(matches(pattern, &line), "{line}");
    // Without a folder it is ./www.
    let mut nsh = place.start(&["--json", "-c", "serve -p 0 -b ::1"]);
    let event = nsh.event("listening");
    assert_eq!(event["folder"], "www");
    let address = event["address"].as_str().expect("an address");
    let mut client = super::client::Client::connect(address);
    let answer = client.ask("GET /next HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    assert_eq!(answer.text(), "next\n");
}

#[test]
fn stopping_closes_what_is_idle_and_frees_the_port() {
    let server = serve(www(), "-b 127.0.0.98");
    let address = server.address.clone();
    let mut idle = server.connect();
    assert_eq!(idle.ask(get("/next")).text(), "next\n");
    let mut silent = server.connect();
    let ran = server.stop();
    assert_eq!(ran.status, 130, "{ran:?}");
    idle.expect_end();
    silent.rest();
    assert!(TcpStream::connect(address).is_err());
}

/// A download that runs, with no more than its start read.
fn downloading(server: &Server) -> super::client::Client {
    let mut client = server.connect();
    client.send(get("/large"));
    let mut octet = [0];
    client.stream.peek(&mut octet).expect("the start");
    client
}

#[test]
fn without_grace_a_download_is_cut() {
    let server = serve(www(), "--grace 0");
    server.sparse("www/large", LARGE);
    let mut client = downloading(&server);
    let ran = server.stop();
    assert_eq!(ran.status, 130, "{ran:?}");
    let got = client.rest().len() as u64;
    assert!(got < LARGE, "{got}");
}

#[test]
fn within_the_grace_a_download_ends() {
    let server = serve(www(), "--grace 30 --threads 1 -b 127.0.0.98");
    server.sparse("www/large", LARGE);
    let mut idle = server.connect();
    let mut client = downloading(&server);
    server.nsh.signal(Signal::SIGINT);
    idle.expect_end();
    // The port is free before the download has ended.
    assert!(TcpStream::connect(&server.address).is_err());
    let answer = client.receive("GET").expect("an answer");
    assert_eq!(answer.body.len() as u64, LARGE);
    client.expect_end();
    assert_eq!(server.nsh.end().status, 130);
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_the_server() {
    let server = serve(www(), "--grace 50ms");
    server.sparse("www/large", LARGE);
    let client = downloading(&server);
    let ran = server.stop();
    assert_eq!(ran.status, 130, "{ran:?}");
    drop(client);
}

#[test]
fn the_port_can_be_had_again_at_once() {
    let port = unused_port(OWN_ADDRESS);
    let serve = format!("serve www -b {OWN_ADDRESS} -p {port}");
    let again = format!("stop serve; {serve}; ").repeat(5);
    let place = www();
    let mut nsh = place.start(&["--json", "-c", &format!("{serve}; {again}echo up")]);
    while nsh.event("listening")["job"] != 6 {}
    assert_eq!(nsh.event("text")["text"], "up");
    let mut client = super::client::Client::connect(&format!("{OWN_ADDRESS}:{port}"));
    assert_eq!(client.ask(get("/next")).text(), "next\n");
}

#[test]
fn a_job_that_has_the_port_is_named() {
    let port = unused_port(OWN_ADDRESS);
    let serve = format!("serve www -b {OWN_ADDRESS} -p {port}");
    let ran = www().run(&["-q", "-c", &format!("{serve}; {serve}")]);
    let stderr = format!(
        "-c:1:...: serve: cannot listen on {OWN_ADDRESS}:{port} (TCP): Address already in use: \
         job 1 has it ({serve}); 'stop 1' frees it, and -p 0 takes a free port\n..."
    );
    assert!(
        matches(&stderr, &ran.stderr) || ran.stderr.contains("job 1 has it"),
        "{ran:?}"
    );
    assert_eq!(ran.status, 69, "{ran:?}");
    // Also where another tool has it, or somebody else.
    let other = format!("upper --server -b {OWN_ADDRESS} -p {port}; {serve}");
    let ran = www().run(&["-q", "-c", &other]);
    assert!(
        ran.stderr.contains("job 1 has it") && ran.status == 69,
        "{ran:?}"
    );
    let _taken = TcpListener::bind((OWN_ADDRESS, port)).expect("it is free");
    let ran = www().run(&["-q", "-c", &serve]);
    assert!(
        ran.stderr.contains("Address already in use") && ran.status == 69,
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("has it"), "{ran:?}");
}

/// What three requests leave in the file.
fn logged(format: &str) -> Vec<String> {
    let server = serve(www(), &format!("--log access.log {format}"));
    let mut client = server.connect();
    client.ask(
        "GET /page.html?a=\"b\"\\ HTTP/1.1\r\nHost: localhost\r\nReferer: http://a/\r\n\
         User-Agent: one\"two\\ \u{9b}\u{e9}\r\n\r\n",
    );
    client.ask("HEAD /page.html HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client.ask("GET /\x1b[2J\n \"\r\n\r\n");
    client.expect_end();
    let Server { nsh, place, .. } = server;
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
    let log = place.read("access.log");
    assert!(!log.contains('\x1b') && !log.contains('\u{9b}'), "{log:?}");
    log.lines().map(str::to_owned).collect()
}

#[track_caller]
fn check_log(format: &str, patterns: [&str; 3]) {
    let log = logged(format);
    assert_eq!(log.len(), 3, "{log:#?}");
    for (line, pattern) in log.iter().zip(patterns) {
        assert!(matches(pattern, line), "{pattern}\n{line}");
    }
}

#[test]
fn access_logs() {
    check_log(
        "",
        [
            r#"127.0.0.1 - - [...] "GET /page.html?a=\x22b\x22\x5c HTTP/1.1" 200 12"#,
            r#"127.0.0.1 - - [...] "HEAD /page.html HTTP/1.0" 200 -"#,
            r#"127.0.0.1 - - [...] "GET /\x1b[2J" 400 ..."#,
        ],
    );
    check_log(
        "--log-format combined",
        [
            r#"127.0.0.1 - - [.../...:...:...:... ...] "GET /page.html?a=\x22b\x22\x5c HTTP/1.1" 200 12 "http://a/" "one\x22two\x5c \xc2\x9b\xc3\xa9""#,
            r#"127.0.0.1 - - [...] "HEAD /page.html HTTP/1.0" 200 - "-" "-""#,
            r#"127.0.0.1 - - [...] "GET /\x1b[2J" 400 ... "-" "-""#,
        ],
    );
    let log = logged("--log-format json");
    let records: Vec<serde_json::Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["request"], "GET /page.html?a=\"b\"\\ HTTP/1.1");
    assert_eq!(records[0]["user_agent"], "one\"two\\ \u{9b}\u{e9}");
    assert_eq!(records[0]["referer"], "http://a/");
    assert_eq!(
        (&records[0]["status"], &records[0]["octets"]),
        (&200.into(), &12.into())
    );
    assert_eq!(
        (&records[1]["status"], &records[1]["octets"]),
        (&200.into(), &0.into())
    );
    assert_eq!(records[2]["status"], 400);
}

/// What a client sends moves nobody's terminal.
#[test]
fn the_screen_shows_requests_without_their_controls() {
    let place = www();
    let mut nsh = place.start(&["-c", "serve www -p 0 --verbose"]);
    let line = nsh.line();
    let (_, address) = line.split_once("http://").expect("an address");
    let (address, _) = address.split_once('/').expect("an address");
    let mut client = super::client::Client::connect(address);
    let evil = "X: \u{9b}2J\u{202e}\r\nUser-Agent: \u{1b}";
    client.send(format!(
        "GET /next HTTP/1.1\r\nHost: localhost\r\n{evil}\r\n\r\n"
    ));
    let mut octets = Vec::new();
    client.stream.read_to_end(&mut octets).expect("a refusal");
    assert!(octets.starts_with(b"HTTP/1.1 400 "));
    let mut client = super::client::Client::connect(address);
    client.ask("GET /next HTTP/1.1\r\nHost: localhost\r\nX: \u{9b}2J\u{202e}\r\n\r\n");
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert!(ran.stdout.contains("X: "), "{ran:?}");
    let is_harmless = |character: char| character == '\n' || !character.is_control();
    assert!(
        ran.stdout.chars().all(is_harmless) && !ran.stdout.contains('\u{202e}'),
        "{ran:?}"
    );
}

#[test]
fn a_log_that_cannot_be_written() {
    let place = place();
    std::fs::create_dir(place.path().join("taken")).expect("room");
    let ran = place.run(&["-q", "-c", "serve . -p 0 --log taken"]);
    let stderr = "...serve: cannot write the access log taken: Is a directory\n";
    assert!(matches(stderr, &ran.stderr) && ran.status == 2, "{ran:?}");
}
