//! Bodies of requests, RFC 9112 sections 6 and 7: none is ever read as a request.

use super::{Server, serve, www};

/// Looks like a request, and is none.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A GET with these lines of fields and a body.
#[track_caller]
fn check(server: &Server, fields: &str, body: &str, expected: &str) {
    let request = format!("GET /page.html HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}");
    server.check(request, expected);
}

/// RFC 9112 section 6.3.
#[test]
fn a_body_with_a_length_is_read_and_discarded() {
    let server = serve(www(), "");
    check(&server, "Content-Length: 0\r\n", "", "200 next");
    check(&server, "Content-Length: 5\r\n", "hello", "200 next");
    check(&server, "content-length:\t005 \r\n", "hello", "200 next");
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    check(&server, &length, SMUGGLED, "200 next");
    let long = SMUGGLED.repeat(10_000);
    let length = format!("Content-Length: {}\r\n", long.len());
    check(&server, &length, &long, "200 next");
    for length in [
        "",
        "+5",
        "-1",
        "-0",
        "5 5",
        "5,5",
        "5, 6",
        "0x5",
        "5.0",
        "5a",
        "five",
        "1_0",
        "\"5\"",
        "18446744073709551616",
        "99999999999999999999999999",
        "\u{665}",
    ] {
        check(
            &server,
            &format!("Content-Length: {length}\r\n"),
            "hello",
            "400 end",
        );
    }
    check(
        &server,
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "hello",
        "400 end",
    );
    check(
        &server,
        "Content-Length: 5\r\nContent-length: 5, 6\r\n",
        "hello",
        "400 end",
    );
    check(&server, "Content-Length : 5\r\n", "hello", "400 end");
    check(&server, "Content-Length\r\n", "hello", "400 end");
    server.check(
        "POST /page.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "405 next",
    );
    server.check(
        "HEAD /page.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "200 next",
    );
}

/// RFC 9112 sections 6.1 and 6.3: where two readers could disagree about the end.
#[test]
fn transfer_codings() {
    let server = serve(www(), "");
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let smuggled = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    check(
        &server,
        "Transfer-Encoding: chunked\r\n",
        chunks,
        "200 next",
    );
    check(
        &server,
        "Transfer-Encoding: chunked\r\n",
        &smuggled,
        "200 next",
    );
    check(
        &server,
        "transfer-encoding:\t CHUNKED \r\n",
        chunks,
        "200 next",
    );
    for (coding, expected) in [
        ("gzip, chunked", "501 end"),
        ("gzip\r\nTransfer-Encoding: chunked", "501 end"),
        ("chunked, gzip", "400 end"),
        ("gzip", "400 end"),
        ("identity", "400 end"),
        ("xchunked", "400 end"),
        ("chunked, chunked", "400 end"),
        ("chunked, identity", "400 end"),
        ("chunked\r\nTransfer-Encoding: chunked", "400 end"),
        ("chunked\r\nTransfer-Encoding: identity", "400 end"),
        ("\"chunked\"", "400 end"),
        ("chunked;a=b", "400 end"),
        ("\x0bchunked", "400 end"),
        ("chunked\r\n ", "400 end"),
        ("", "400 end"),
        ("chunked\r\nContent-Length: 15", "400 end"),
        ("chunked\r\nContent-Length: 0", "400 end"),
        ("gzip\r\nContent-Length: 15", "400 end"),
    ] {
        check(
            &server,
            &format!("Transfer-Encoding: {coding}\r\n"),
            chunks,
            expected,
        );
    }
    check(
        &server,
        "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
        chunks,
        "400 end",
    );
    check(
        &server,
        "Transfer-Encoding : chunked\r\n",
        chunks,
        "400 end",
    );
    let old = "GET /page.html HTTP/1.0\r\nConnection: keep-alive\r\n";
    server.check(
        format!("{old}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
        "400 end",
    );
}

/// RFC 9112 section 7.1.
#[test]
fn chunks() {
    let server = serve(www(), "");
    let check = |body: &str, expected: &str| {
        check(&server, "Transfer-Encoding: chunked\r\n", body, expected);
    };
    check("0\r\n\r\n", "200 next");
    check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "200 next");
    check("0005\r\nhello\r\n000\r\n\r\n", "200 next");
    check(
        "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "200 next",
    );
    check("5;a\r\nhello\r\n0;b=c\r\n\r\n", "200 next");
    check("5;a=b;c=\"d;\\\"e\"\r\nhello\r\n0\r\n\r\n", "200 next");
    check(
        "5\r\nhello\r\n0\r\nX: y\r\nContent-Length: 7\r\n\r\n",
        "200 next",
    );
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
    ] {
        check(body, "400 end");
    }
    check(
        &format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(70_000)),
        "400 end",
    );
    check(
        &format!("0\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
        "400 end",
    );
}

/// RFC 9110 section 15.5.14.
#[test]
fn a_body_may_be_too_large() {
    let server = serve(www(), "");
    check(&server, "Content-Length: 1048577\r\n", "", "413 end");
    check(
        &server,
        "Content-Length: 18446744073709551615\r\n",
        "",
        "413 end",
    );
    let largest = "x".repeat(1 << 20);
    check(&server, "Content-Length: 1048576\r\n", &largest, "200 next");
    let server = serve(www(), "--max-body 10");
    check(&server, "Content-Length: 11\r\n", "hello world", "413 end");
    check(&server, "Content-Length: 10\r\n", "0123456789", "200 next");
    let chunked = "Transfer-Encoding: chunked\r\n";
    check(
        &server,
        chunked,
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "413 end",
    );
    check(
        &server,
        chunked,
        "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        "200 next",
    );
}
