//! Answers that come before the request has been read, or in its place.

use super::{serve, www};

/// RFC 9110 section 10.1.1.
#[test]
fn expectations() {
    let server = serve(www(), "--echo");
    let ask = |method: &str, version: &str, fields: &str, body: &str, expected: &str| {
        let line = format!("{method} /page.html {version}\r\nHost: localhost");
        server.check(format!("{line}\r\n{fields}\r\n{body}"), expected);
    };
    let length = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let chunked = "expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n";
    ask("POST", "HTTP/1.1", length, "hello", "100 200 next");
    ask(
        "PUT",
        "HTTP/1.1",
        chunked,
        "5\r\nhello\r\n0\r\n\r\n",
        "100 200 next",
    );
    ask(
        "GET",
        "HTTP/1.1",
        "Expect: 100-continue\r\n",
        "",
        "200 next",
    );
    ask("GET", "HTTP/1.1", "Expect: 200-ok\r\n", "", "417 end");
    ask(
        "POST",
        "HTTP/1.0",
        &format!("Connection: keep-alive\r\n{length}"),
        "hello",
        "200 next",
    );
    // The client waits for the word.
    let mut client = server.connect();
    let head = format!("POST /page.html HTTP/1.1\r\nHost: localhost\r\n{length}\r\n");
    assert_eq!(client.ask(head).status, 100);
    assert_eq!(client.ask("hello").text(), "hello");
    // Where it needs no body it says what it would say without one.
    let server = serve(www(), "");
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("FOO", 501)] {
        let mut client = server.connect();
        let line = format!("{method} /page.html HTTP/1.1\r\nHost: localhost");
        client.send(format!(
            "{line}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        ));
        let mut answer = client.receive(method).expect("a word");
        if answer.status == 100 {
            client.send("hello");
            answer = client.receive(method).expect("an answer");
        }
        assert_eq!(answer.status, status, "{method}");
    }
}

/// RFC 9110 section 9.3.2, whatever the answer is.
#[test]
fn a_refused_head_gets_no_body_either() {
    let server = serve(www(), "");
    server.check("HEAD /page.html HTTP/1.1\r\n\r\n", "400 end");
    server.check("HEAD * HTTP/1.1\r\nHost: localhost\r\n\r\n", "400 end");
    server.check(
        "HEAD /page.html HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n",
        "417 end",
    );
    server.check(
        "HEAD /missing HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "404 next",
    );
    let fields = "Host: localhost\r\nContent-Length: 9999999\r\n";
    server.check(
        format!("HEAD /page.html HTTP/1.1\r\n{fields}\r\n"),
        "413 end",
    );
}

/// RFC 9112 section 9.6: closing at once would make the client's system throw the answer away.
#[test]
fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let server = serve(www(), "");
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "BAD\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(request);
        for _ in 0..48 {
            client.send([b'x'; 1024]);
        }
        let answer = client.receive("GET").expect("a refusal");
        assert!(matches!(answer.status, 400 | 405), "{answer:?}");
        client.send("and more");
        client.expect_end();
    }
}

/// RFC 9112 section 9.6.
#[test]
fn a_client_that_has_said_everything_gets_its_answer() {
    let server = serve(www(), "");
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    server.place.write("www/large", &large);
    for (target, body) in [("/next", &b"next\n"[..]), ("/large", &large)] {
        let mut client = server.connect();
        let line = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(line);
        client.send_end();
        let answer = client.receive("GET").expect("an answer");
        assert!(
            answer.body == body,
            "{target}: {} octets",
            answer.body.len()
        );
        client.expect_end();
    }
    let mut client = server.connect();
    client.send("GET /next HTTP/1.1\r\nHost: lo");
    client.send_end();
    client.expect_end();
}
