//! However the network cuts a request in pieces, the answers are the same.

use super::{NEXT, Server, serve, www};
use crate::client::{Answer, Client};

/// All that is answered until the connection ends.
#[track_caller]
fn answers(mut client: Client, request: &str) -> Vec<Answer> {
    let mut method = super::client::method(request.as_bytes());
    let mut answers = Vec::new();
    while let Some(answer) = client.receive(&method) {
        if answer.status >= 200 {
            method = "GET".to_owned();
        }
        answers.push(answer.without_date());
    }
    answers
}

/// In one piece, in two of every length, and octet by octet; how many answers there were.
#[track_caller]
fn check(server: &Server, request: &str, statuses: &[u16]) {
    let octets = [request.as_bytes(), NEXT.as_bytes()].concat();
    let ask = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut client = server.connect();
        for piece in pieces {
            client.send(piece);
        }
        answers(client, request)
    };
    let whole = ask(&mut [&octets[..]].into_iter());
    let got: Vec<u16> = whole.iter().map(|answer| answer.status).collect();
    assert_eq!(got, statuses, "{request:?}");
    for at in 1..octets.len() {
        let (first, second) = octets.split_at(at);
        let split = ask(&mut [first, second].into_iter());
        assert_eq!(split, whole, "{request:?} split at {at}");
    }
    assert_eq!(
        ask(&mut octets.chunks(1)),
        whole,
        "{request:?} octet by octet"
    );
}

#[test]
fn requests_without_a_body() {
    let server = serve(www(), "");
    check(
        &server,
        "GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[200, 200],
    );
    check(
        &server,
        "\r\n\r\nHEAD / HTTP/1.1\r\nHost:localhost\r\n\r\n",
        &[200, 200],
    );
    let fields = "Host: localhost\r\nRange: bytes=3-6\r\n";
    check(
        &server,
        &format!("GET /page.html HTTP/1.1\r\n{fields}\r\n"),
        &[206, 200],
    );
    check(
        &server,
        "GET /missing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &[404, 200],
    );
    check(
        &server,
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[204, 200],
    );
}

#[test]
fn requests_with_a_body() {
    let server = serve(www(), "--echo --max-body 64");
    let length = "Host: localhost\r\nContent-Length: 29\r\n";
    let body = "GET / HTTP/1.1\r\nHost: a\r\n\r\nxy";
    check(
        &server,
        &format!("POST / HTTP/1.1\r\n{length}\r\n{body}"),
        &[200, 200],
    );
    let chunked = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
    let body = "5;a=\"b\"\r\nhello\r\n01\r\n\n\r\n0\r\nX: y\r\n\r\n";
    check(
        &server,
        &format!("PUT / HTTP/1.1\r\n{chunked}\r\n{body}"),
        &[200, 200],
    );
    let expects = "Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n";
    check(
        &server,
        &format!("POST / HTTP/1.1\r\n{expects}\r\nabc"),
        &[100, 200, 200],
    );
    check(
        &server,
        &format!("GET / HTTP/1.1\r\n{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"),
        &[200, 200],
    );
}

#[test]
fn requests_that_are_refused() {
    let server = serve(www(), "--max-body 64");
    check(
        &server,
        "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        &[400],
    );
    check(
        &server,
        "GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        &[400],
    );
    check(&server, "GET / HTTP/2.0\r\n\r\n", &[505]);
    let chunked = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
    check(
        &server,
        &format!("GET / HTTP/1.1\r\n{chunked}\r\n5\r\nhello0\r\n\r\n"),
        &[400],
    );
    check(
        &server,
        &format!("GET / HTTP/1.1\r\n{chunked}\r\n41\r\n{}", "x".repeat(65)),
        &[413],
    );
}
