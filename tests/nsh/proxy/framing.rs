//! Where messages end, and what becomes of the connections behind them.

use std::thread;

use super::origin::{Connection, answer};
use super::*;

const OWN: &str = "Via: 1.1 nsh\r\nDate: now\r\n";
const CLOSE: &str = "Connection: close\r\n\r\n";

/// RFC 9112 section 6.3: each side gets the framing that it understands.
#[test]
fn bodies_keep_their_ends() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;a=\"b\"\r\nhi\r\n003\r\n ho\r\n000\r\n\r\n";
    check_response(
        "GET HTTP/1.1",
        chunked,
        &format!(
            "HTTP/1.1 200 OK\r\n{OWN}Transfer-Encoding: chunked\r\n{CLOSE}\
             2\r\nhi\r\n3\r\n ho\r\n0\r\n\r\n"
        ),
    );
    check_response(
        "GET HTTP/1.0",
        chunked,
        &format!("HTTP/1.1 200 OK\r\n{OWN}{CLOSE}hi ho"),
    );
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhi ho";
    check_response(
        "GET HTTP/1.1",
        until_close,
        &format!(
            "HTTP/1.1 200 OK\r\n{OWN}Transfer-Encoding: chunked\r\n{CLOSE}5\r\nhi ho\r\n0\r\n\r\n"
        ),
    );
    check_response(
        "GET HTTP/1.0",
        until_close,
        &format!("HTTP/1.1 200 OK\r\n{OWN}{CLOSE}hi ho"),
    );
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        check_response(
            &format!("GET {version}"),
            "HTTP/1.1 200 OK\r\nContent-Length: 00005\r\n\r\nhi ho",
            &format!("HTTP/1.1 200 OK\r\n{OWN}Content-Length: 5\r\n{CLOSE}hi ho"),
        );
    }
}

/// RFC 9110 section 8.6 and RFC 9112 section 6.3, whatever they say of a body.
#[test]
fn answers_without_a_body() {
    let check = |request: &str, response: &str, expected: &str| {
        let expected = format!("HTTP/1.1 {expected}{CLOSE}");
        check_response(request, &format!("HTTP/1.1 {response}\r\n"), &expected);
    };
    let head = "HEAD HTTP/1.1";
    check(
        head,
        "200 OK\r\nContent-Length: 5\r\n",
        &format!("200 OK\r\n{OWN}Content-Length: 5\r\n"),
    );
    check(head, "200 OK\r\n", &format!("200 OK\r\n{OWN}"));
    check(
        head,
        "200 OK\r\nTransfer-Encoding: chunked\r\n",
        &format!("200 OK\r\n{OWN}"),
    );
    for request in ["GET HTTP/1.1", "HEAD HTTP/1.1", "DELETE HTTP/1.0"] {
        let expected = format!("204 No Content\r\n{OWN}");
        check(request, "204 No Content\r\n", &expected);
        check(
            request,
            "204 No Content\r\nContent-Length: 0\r\n",
            &expected,
        );
        check(
            request,
            "204 No Content\r\nContent-Length: 5\r\n",
            &expected,
        );
        let chunked = "204 No Content\r\nTransfer-Encoding: chunked\r\n";
        check(request, chunked, &expected);
    }
    let expected = format!("304 Not Modified\r\nETag: \"a\"\r\n{OWN}");
    check(
        "GET HTTP/1.1",
        "304 Not Modified\r\nETag: \"a\"\r\n",
        &expected,
    );
    check(
        "GET HTTP/1.1",
        "304 Not Modified\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n",
        &expected,
    );
    check(
        "GET HTTP/1.1",
        "304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n",
        &format!("{expected}Content-Length: 5\r\n"),
    );
}

/// RFC 9110 section 6.5.1 and RFC 9112 section 7.1.2.
#[test]
fn trailers_pass_unless_they_would_change_what_came_before() {
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\
                    set-cookie: a=b\r\nConnection: close\r\nX-Sum: 2\r\n";
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n");
    check_response(
        "GET HTTP/1.1",
        &format!("HTTP/1.1 200 OK\r\n{chunked}"),
        &format!(
            "HTTP/1.1 200 OK\r\n{OWN}Transfer-Encoding: chunked\r\n{CLOSE}2\r\nhi\r\n0\r\n\
             X-Sum: 1\r\nX-Sum: 2\r\n\r\n"
        ),
    );
    check_response(
        "GET HTTP/1.0",
        &format!("HTTP/1.1 200 OK\r\n{chunked}"),
        &format!("HTTP/1.1 200 OK\r\n{OWN}{CLOSE}hi"),
    );
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    let line = format!("POST {} HTTP/1.1\r\nHost: a\r\n", origin.url("/"));
    client.send(format!("{line}{chunked}"));
    let mut connection = origin.accept();
    connection.head();
    let expected = b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n";
    assert_eq!(connection.octets(expected.len()), expected);
    connection.send(answer("", ""));
    assert_eq!(client.receive("POST").expect("an answer").status, 200);
}

fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| (at * 7 / 3 % 251) as u8).collect()
}

/// A body in chunks of growing sizes.
fn chunked(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut octets, mut size) = (body, Vec::new(), 1);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        octets.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        octets.extend(chunk);
        octets.extend(b"\r\n");
        (rest, size) = (behind, (size * 3).min(500_000));
    }
    octets.extend(b"0\r\n\r\n");
    octets
}

#[test]
fn large_bodies_are_the_same_on_the_other_side() {
    let body = pattern(8 << 20);
    let sent = body.clone();
    let origin = Origin::new().conversing(move |connection, head| {
        let came = connection.body(head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let head: &[u8] = match path {
            "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/close" => b"HTTP/1.1 200 OK\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n",
        };
        let body = if came.is_empty() { &sent } else { &came };
        let body = match path {
            "/chunked" => chunked(body),
            _ => body.clone(),
        };
        connection.send([head, &body].concat());
        if path == "/close" {
            connection.send_end();
        }
    });
    let proxy = passing("");
    for path in ["/length", "/chunked", "/close"] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let mut client = proxy.connect();
            let url = origin.url(path);
            let answer = client.ask(format!("GET {url} {version}\r\nHost: a\r\n\r\n"));
            assert!(answer.body == body, "{path} {version}");
        }
    }
    for (fields, octets) in [
        ("Content-Length: 8388608", body.clone()),
        ("Transfer-Encoding: chunked", chunked(&body)),
    ] {
        let mut client = proxy.connect();
        let url = origin.url("/length");
        client.send(format!("PUT {url} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        client.send(octets);
        let answer = client.receive("PUT").expect("an answer");
        assert!(answer.body == body, "{fields}");
    }
}

/// Each piece is there before the next one is sent.
#[test]
fn answers_come_as_they_are_made() {
    let (proxy, origin) = (passing(""), Origin::new());
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\n",
        "",
    ] {
        let mut client = proxy.connect();
        client.send(get(&origin.url("/")));
        let mut connection = origin.accept();
        connection.head();
        connection.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        read_until(&mut client, "\r\n\r\n");
        for (piece, chunk) in [("ab", "2\r\nab\r\n"), ("cd", "2\r\ncd\r\n")] {
            let is_chunked = fields.starts_with('T');
            connection.send(if is_chunked { chunk } else { piece });
            let is_length = fields.starts_with('C');
            read_until(&mut client, if is_length { piece } else { chunk });
        }
        connection.send_end();
    }
}

#[test]
fn requests_go_on_as_they_come() {
    let (proxy, origin) = (passing(""), Origin::new());
    for (fields, pieces) in [
        (
            "Transfer-Encoding: chunked",
            ["2\r\nab\r\n", "3\r\ncde\r\n", "0\r\n\r\n"],
        ),
        ("Content-Length: 5", ["ab", "cd", "e"]),
    ] {
        let mut client = proxy.connect();
        let url = origin.url("/");
        client.send(format!(
            "POST {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n"
        ));
        let mut connection = origin.accept();
        connection.head();
        for piece in pieces {
            client.send(piece);
            assert_eq!(connection.octets(piece.len()), piece.as_bytes());
        }
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(client.receive("POST").expect("an answer").status, 200);
        client.expect_end();
        assert_eq!(connection.rest(), b"");
    }
}

/// RFC 9112 section 9.3, on the client's side.
#[test]
fn connections_persist_unless_one_side_does_not_want_it() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let check = |version: &str, fields: &str, stays: bool| {
        let mut client = proxy.connect();
        let line = format!("GET {} {version}\r\nHost: a\r\n", origin.url("/"));
        let answer = client.ask(format!("{line}{fields}\r\n"));
        assert_eq!(answer.has("connection", "close"), !stays, "{fields:?}");
        if version == "HTTP/1.0" {
            assert_eq!(answer.has("connection", "keep-alive"), stays);
        }
        match stays {
            true => assert_eq!(client.ask(format!("{line}\r\n")).status, 200),
            false => client.expect_end(),
        }
    };
    check("HTTP/1.1", "", true);
    check("HTTP/1.1", "Connection: keep-alive\r\n", true);
    check("HTTP/1.1", "Connection: foo, CLOSE\r\n", false);
    check("HTTP/1.0", "", false);
    check("HTTP/1.0", "Connection: Keep-Alive\r\n", true);
    // What the origin says of its own connection is none of the client's business.
    let origin = Origin::new().conversing(|connection, _| {
        connection.send(answer("Connection: close\r\n", "hi"));
        connection.send_end();
    });
    let mut client = proxy.connect();
    for _ in 0..3 {
        let answer = client.ask(get(&origin.url("/")));
        assert!(!answer.has("connection", "close"), "{answer:?}");
    }
}

const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// A connection that one client has brought the proxy to make; it is put away for others before
/// that client's own ends.
fn kept(proxy: &Proxy, origin: &Origin) -> Connection {
    let mut client = proxy.connect();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        origin.url("/first")
    ));
    let mut connection = origin.accept();
    connection.head();
    connection.send(HI);
    assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
    client.expect_end();
    connection
}

#[test]
fn connections_to_origins_are_used_again() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut connection = kept(&proxy, &origin);
    for (method, response) in [
        ("GET", HI),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        ("POST", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "BREW",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        ),
        ("GET", HI),
    ] {
        let mut client = proxy.connect();
        client.send(format!(
            "{method} {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            origin.url("/")
        ));
        connection.head();
        connection.send(response);
        client.receive(method).expect("an answer");
        client.expect_end();
    }
    // An origin has its own: the same machine by another name is not the same.
    let port = origin.address.rsplit(':').next().expect("a port");
    let mut client = proxy.connect();
    client.send(get(&format!("http://localhost:{port}/")));
    origin.accept().head();
}

/// RFC 9112 section 9.3: not those that the origin wants to end.
#[test]
fn connections_that_end_are_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let (proxy, origin) = (passing(""), Origin::new());
        let mut client = proxy.connect();
        client.send(get(&origin.url("/")));
        let mut connection = origin.accept();
        connection.head();
        connection.send(response);
        assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
        assert_eq!(connection.rest(), b"", "{response:?}");
        let origin = origin.echoing();
        assert_eq!(client.ask(get(&origin.url("/"))).status, 200);
    }
}

/// RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1: an origin may close a connection just as it
/// is used again. Only what does no harm twice is asked a second time.
#[test]
fn what_is_asked_again_on_another_connection() {
    for (method, is_repeated) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PATCH", false),
        ("BREW", false),
    ] {
        let (proxy, origin) = (passing(""), Origin::new());
        let mut connection = kept(&proxy, &origin);
        let mut client = proxy.connect();
        let url = origin.url("/second");
        client.send(format!("{method} {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let first = connection.head();
        drop(connection);
        if is_repeated {
            let mut connection = origin.accept();
            assert_eq!(connection.head(), first);
            // And once is enough.
            drop(connection);
        }
        let answer = client.receive(method).expect("an answer");
        assert_eq!(answer.status, 502, "{method}");
        origin.expect_no_more();
    }
}

/// With a reset in place of an orderly end, and where part of an answer has come.
#[test]
fn what_is_asked_again_after_a_reset() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut connection = kept(&proxy, &origin);
    let mut client = proxy.connect();
    client.send(get(&origin.url("/")));
    connection.head();
    connection.reset();
    let mut connection = origin.accept();
    connection.head();
    connection.send(HI);
    assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
    client.send(get(&origin.url("/")));
    connection.head();
    connection.send("HTTP/1.1 200");
    drop(connection);
    assert_eq!(client.receive("GET").expect("an answer").status, 502);
    origin.expect_no_more();
}

/// Nobody notices that the origin has closed what it had kept for a while.
#[test]
fn connections_that_were_closed_meanwhile() {
    let (proxy, origin) = (passing(""), Origin::new());
    drop(kept(&proxy, &origin));
    let origin = origin.echoing();
    let url = origin.url("/");
    let answer = proxy.ask(&format!("POST {url}"), &[]);
    assert_eq!(answer.status, 200);
}

/// RFC 9112 section 9.3.2, whoever they are for.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let proxy = passing("");
    let origins = [Origin::new().echoing(), Origin::new().echoing()];
    let mut client = proxy.connect();
    let mut requests = String::new();
    for number in 0..30 {
        let url = origins[number % 2].url(&format!("/{number}"));
        requests += &match number % 3 {
            0 => get(&url),
            1 => format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            _ => format!(
                "PUT {url} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
            ),
        };
    }
    client.send(requests);
    for number in 0..30 {
        let answer = client.receive("GET").expect("30 answers");
        let text = answer.text();
        assert!(text.contains(&format!(" /{number} HTTP/1.1\r\n")), "{text}");
        assert_eq!(text.ends_with("\r\n\r\nabc"), number % 3 != 0, "{text}");
    }
}

const POST: &str = "HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// RFC 9110 section 10.1.1.
#[test]
fn the_origin_says_whether_it_wants_a_body() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!("POST {} {POST}", origin.url("/")));
    let mut connection = origin.accept();
    let head = connection.head();
    assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
    connection.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.receive("POST").expect("a word").status, 100);
    client.send("hello");
    assert_eq!(connection.octets(5), b"hello");
    connection.send(HI);
    assert_eq!(client.receive("POST").expect("an answer").text(), "hi");
    // The next one is not wanted, and the client may send it all the same.
    client.send(format!("POST {} {POST}", origin.url("/")));
    connection.head();
    connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    let answer = client.receive("POST").expect("an answer");
    assert_eq!(answer.status, 417);
    if answer.has("connection", "close") {
        client.send("hello");
        client.expect_end();
    } else {
        client.send(format!("hello{}", get(&origin.url("/"))));
        assert_eq!(client.receive("GET").expect("an answer").status, 200);
    }
    assert_eq!(connection.rest(), b"");
}

/// RFC 9110 section 10.1.1: the client may send its body without waiting, and the origin may say
/// nothing before it has it.
#[test]
fn a_body_that_does_not_wait() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!("POST {} {POST}", origin.url("/")));
    let mut connection = origin.accept();
    connection.head();
    client.send("hello");
    assert_eq!(connection.octets(5), b"hello");
    connection.send(HI);
    assert_eq!(client.receive("POST").expect("an answer").text(), "hi");
}

/// RFC 9110 section 15.2: an interim answer is no reason to stop.
#[test]
fn interim_answers_while_the_body_comes() {
    for (head, interim) in [
        (POST, "100 Continue"),
        (POST, "102 Processing"),
        (
            "HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "103 Early Hints",
        ),
    ] {
        let (proxy, origin) = (passing(""), Origin::new());
        let mut client = proxy.connect();
        client.send(format!("POST {} {head}he", origin.url("/")));
        let mut connection = origin.accept();
        connection.head();
        assert_eq!(connection.octets(2), b"he");
        connection.send(format!("HTTP/1.1 {interim}\r\n\r\n"));
        let answer = client.receive("POST").expect("a word");
        assert_eq!(answer.status.to_string(), interim[..3]);
        client.send("llo");
        assert_eq!(connection.octets(3), b"llo");
        connection.send(HI);
        assert_eq!(client.receive("POST").expect("an answer").text(), "hi");
    }
}

/// In one piece, so that the connection has nothing more to tell when the first has been read.
#[test]
fn answers_right_behind_interim_ones() {
    const LENGTH: &str = "HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    for (head, body) in [(POST, ""), (POST, "he"), (LENGTH, "he")] {
        let (proxy, origin) = (passing("--stall-timeout 2"), Origin::new());
        let mut client = proxy.connect();
        client.send(format!("POST {} {head}{body}", origin.url("/")));
        let mut connection = origin.accept();
        connection.head();
        connection.octets(body.len());
        connection.send(
            "HTTP/1.1 103 Early Hints\r\n\r\n\
             HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        );
        assert_eq!(client.receive("POST").expect("hints").status, 103);
        let answer = client.receive("POST").expect("an answer");
        assert_eq!((answer.status, answer.text()), (403, "no"), "{head:?}");
    }
}

/// RFC 9110 section 15.2; section 7.6.3 of Via: in each message.
#[test]
fn interim_answers() {
    let (proxy, origin) = (passing(""), Origin::new());
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
                         Connection: X\r\nX: y\r\n\r\n";
    let mut client = proxy.connect();
    client.send(get(&origin.url("/")));
    let mut connection = origin.accept();
    connection.head();
    connection.send(HINTS);
    let hints = client.receive("GET").expect("hints");
    assert_eq!(hints.status, 103);
    assert_eq!(hints.field("link"), Some("</a.css>; rel=preload"));
    assert_eq!(hints.field("x"), None);
    connection.send("HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.receive("GET").expect("a word").status, 102);
    // Nobody has asked for this one, and so nobody waits for it.
    connection.send(format!("HTTP/1.1 100 Continue\r\n\r\n{HI}"));
    assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
    // HTTP/1.0 knows none of them.
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.url("/")));
    connection.head();
    connection.send(format!("{HINTS}{HI}"));
    assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
    client.expect_end();
    let via = hints.field("via").expect("a Via in each message");
    assert!(via.starts_with("1.1 nsh-"), "{via}");
}

/// RFC 9112 section 9.5: an answer that comes before the body has, and in place of it.
#[test]
fn answers_before_the_body_has_come() {
    const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    for fields in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let (proxy, origin) = (passing(""), Origin::new());
        let mut client = proxy.connect();
        let line = format!("POST {} HTTP/1.1\r\nHost: a\r\n", origin.url("/"));
        client.send(format!("{line}{fields}\r\n\r\n5\r\nhello\r\n"));
        let mut connection = origin.accept();
        connection.head();
        connection.octets(10);
        connection.send(TOO_LARGE);
        let answer = client.receive("POST").expect("an answer");
        assert_eq!((answer.status, answer.text()), (413, "no"));
        assert!(answer.has("connection", "close"), "{answer:?}");
        // Whatever else the client sends does not become a request.
        client.send(get(&origin.url("/smuggled")));
        client.expect_end();
        assert_eq!(connection.rest(), b"");
        origin.expect_no_more();
    }
}

/// An origin that has answered and gone, while the client still sends.
#[test]
fn an_early_answer_from_an_origin_that_closes() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    let line = format!("POST {} HTTP/1.1\r\nHost: a\r\n", origin.url("/"));
    client.send(format!("{line}Content-Length: 3000000\r\n\r\nhello"));
    let mut connection = origin.accept();
    connection.head();
    connection.octets(5);
    connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    drop(connection);
    let mut stream = client.stream.try_clone().expect("a descriptor");
    let sender = thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut stream, &[b'x'; 2_999_995]);
    });
    let answer = client.receive("POST").expect("an answer");
    assert_eq!((answer.status, answer.text()), (403, "no"));
    drop(client);
    sender.join().expect("no panic");
}

/// However the network cuts a request in pieces, the origin sees the same, and so does the client.
#[test]
fn requests_in_pieces() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let url = origin.url("/a?b");
    let next = format!("GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let get = format!("GET {url} HTTP/1.1\r\nHost: a");
    let post = format!("POST {url} HTTP/1.1\r\nHost: a");
    for (request, statuses) in [
        (format!("{get}\r\nX: y\r\n\r\n"), "200 200"),
        (
            format!("\r\nHEAD {url} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            "200 200",
        ),
        (
            format!("{post}\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\nxy"),
            "200 200",
        ),
        (
            format!(
                "{post}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;a=\"b\"\r\nhello\r\n01\r\n\n\r\n0\r\nX: y\r\n\r\n"
            ),
            "200 200",
        ),
        (format!("{get}\nX: y\r\n\r\n"), "400"),
        (format!("{get}\r\nX : y\r\n\r\n"), "400"),
        (format!("GET {url} HTTP/2.0\r\n\r\n"), "505"),
    ] {
        let octets = [request.as_bytes(), next.as_bytes()].concat();
        let ask = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut client = proxy.connect();
            for piece in pieces {
                client.send(piece);
            }
            let mut method = crate::client::method(request.as_bytes());
            let mut answers = Vec::new();
            while let Some(answer) = client.receive(&method) {
                answers.push(answer.without_date());
                method = "GET".to_owned();
            }
            answers
        };
        let whole = ask(&mut [&octets[..]].into_iter());
        let got: Vec<_> = whole
            .iter()
            .map(|answer| answer.status.to_string())
            .collect();
        assert_eq!(got.join(" "), statuses, "{request:?}");
        for at in 1..octets.len() {
            let (first, second) = octets.split_at(at);
            let split = ask(&mut [first, second].into_iter());
            assert_eq!(split, whole, "{request:?} split at {at}");
        }
        let single = ask(&mut octets.chunks(1));
        assert_eq!(single, whole, "{request:?} octet by octet");
    }
}

/// And however it cuts a response, the client gets the same.
#[test]
fn responses_in_pieces() {
    let proxy = passing("");
    for (response, statuses) in [
        (
            "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 11\r\n\r\nhello\r\n\r\nyo",
            "200",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;a=\"b\"\r\nhello\r\n01\r\n\n\r\n0\r\nHost: y\r\n\r\n",
            "200",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello\r\n\r\nyo", "200"),
        ("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "204"),
        (
            "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "103 200",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\nX: y\r\n\r\nhi",
            "502",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
            "502",
        ),
    ] {
        let origin = Origin::new().conversing(move |connection, head| {
            let at = head.split(['/', ' ']).nth(2).and_then(|at| at.parse().ok());
            let (first, second) = response.split_at(at.expect("a number"));
            // The proxy may have seen enough in the first piece.
            for piece in [first, second] {
                let _ = std::io::Write::write_all(&mut connection.stream, piece.as_bytes());
            }
            connection.send_end();
        });
        let ask = |at: usize| {
            let mut client = proxy.connect();
            client.send(get(&origin.url(&format!("/{at}"))));
            let mut answers = Vec::new();
            loop {
                let answer = client.receive("GET").expect("an answer").without_date();
                answers.push(answer);
                if answers.last().is_some_and(|answer| answer.status >= 200) {
                    return answers;
                }
            }
        };
        let whole = ask(0);
        let got: Vec<_> = whole
            .iter()
            .map(|answer| answer.status.to_string())
            .collect();
        assert_eq!(got.join(" "), statuses, "{response:?}");
        for at in 1..response.len() {
            assert_eq!(ask(at), whole, "{response:?} split at {at}");
        }
    }
}
