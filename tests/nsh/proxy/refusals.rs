//! Messages that two programs could read as two different ones (request and response smuggling),
//! and those that never end.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::origin::{Answering, Connection, answer};
use super::*;

/// What a request and a good one behind it are answered with, like `200 next`, or `400 end` where
/// the proxy leaves the next one alone; and the origin sees what is answered, and nothing else.
#[track_caller]
fn check(proxy: &Proxy, origin: &Answering, request: impl AsRef<[u8]>, expected: &str) {
    let request = request.as_ref();
    let before = origin.heads().len();
    let next = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        origin.url("/next")
    );
    let mut client = proxy.connect();
    client.send([request, next.as_bytes()].concat());
    let mut got = Vec::new();
    let mut method = crate::client::method(request);
    loop {
        let Some(answer) = client.receive(&method) else {
            got.push("end".to_owned());
            break;
        };
        if answer.body.starts_with(b"GET /next ") {
            client.expect_end();
            got.push("next".to_owned());
            break;
        }
        method = "GET".to_owned();
        got.push(answer.status.to_string());
    }
    let got = got.join(" ");
    assert_eq!(got, expected, "{}", request.escape_ascii());
    let seen = got.matches("200").count() + got.matches("next").count();
    let heads = &origin.heads()[before..];
    assert_eq!(heads.len(), seen, "{}: {heads:?}", request.escape_ascii());
}

fn echo() -> (Proxy, Answering) {
    (passing(""), Origin::new().echoing())
}

/// RFC 9112 sections 2.3, 3 and 3.2.
#[test]
fn request_lines() {
    let (proxy, origin) = echo();
    let check_line = |line: &str, expected: &str| {
        let line = line.replace("ORIGIN", &origin.address);
        check(
            &proxy,
            &origin,
            format!("{line}\r\nHost: a\r\n\r\n"),
            expected,
        );
    };
    check_line("GET http://ORIGIN/ HTTP/1.1", "200 next");
    check_line("GET http://ORIGIN/ HTTP/1.9", "200 next");
    for line in [
        "GET http://ORIGIN/ HTTP/2.0",
        "GET http://ORIGIN/ HTTP/0.9",
        "PRI * HTTP/2.0",
    ] {
        check_line(line, "505 end");
    }
    for line in [
        "GET http://ORIGIN/",
        "GET  http://ORIGIN/ HTTP/1.1",
        "GET http://ORIGIN/  HTTP/1.1",
        "GET http://ORIGIN/ HTTP/1.1 ",
        " GET http://ORIGIN/ HTTP/1.1",
        "GET\thttp://ORIGIN/\tHTTP/1.1",
        "G(T http://ORIGIN/ HTTP/1.1",
        "GET: http://ORIGIN/ HTTP/1.1",
        "GET http://ORIGIN/a b HTTP/1.1",
        "GET http://ORIGIN/ http/1.1",
        "GET http://ORIGIN/ HTTP/1.10",
        "GET http://ORIGIN/ HTTP/+1.1",
        "GET http://ORIGIN/ HTTP/1.1\r",
        "GET\r http://ORIGIN/ HTTP/1.1",
        "GET http://ORIGIN/\r HTTP/1.1",
        "GET http://ORIGIN/\0 HTTP/1.1",
        "GET http://ORIGIN/\x7f HTTP/1.1",
        "GET http://ORIGIN/\u{e9} HTTP/1.1",
        "GET http://ORIGIN/#a HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http:/ORIGIN/ HTTP/1.1",
        "GET //ORIGIN/ HTTP/1.0 HTTP/1.1",
        "GET http://user@ORIGIN/ HTTP/1.1",
        "GET http://user:password@ORIGIN/ HTTP/1.1",
        "GET http://ORIGIN:80/ HTTP/1.1",
        "GET http://ORIGIN\\@evil.example/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET http://[ORIGIN]/ HTTP/1.1",
        "GET ftp://ORIGIN/ HTTP/1.1",
        "GET gopher://ORIGIN/ HTTP/1.1",
        "GET ORIGIN HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT http://ORIGIN/ HTTP/1.1",
        "CONNECT localhost HTTP/1.1",
        "\u{16}\u{3}\u{1}",
        "",
    ] {
        check_line(line, "400 end");
    }
    check_line(
        &format!("GET http://ORIGIN/{} HTTP/1.1", "a".repeat(8000)),
        "200 next",
    );
    check_line(
        &format!("GET http://ORIGIN/{} HTTP/1.1", "a".repeat(100_000)),
        "414 end",
    );
}

/// RFC 9112 section 3.2: also where the target says all there is to know.
#[test]
fn there_is_one_valid_host() {
    let (proxy, origin) = echo();
    let get = format!("GET {} HTTP/1.1\r\n", origin.url("/"));
    for fields in [
        "",
        "X: y\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: a/\r\n",
        "Host: user@a\r\n",
        "Host: a:port\r\n",
        "Host: a:99999\r\n",
        "Host: [::1\r\n",
    ] {
        check(&proxy, &origin, format!("{get}{fields}\r\n"), "400 end");
    }
    check(
        &proxy,
        &origin,
        format!("{get}Host:b:81\r\n\r\n"),
        "200 next",
    );
}

/// RFC 9112 sections 2.2 and 5.
#[test]
fn lines_and_fields_that_others_repair() {
    let (proxy, origin) = echo();
    let get = format!("GET {} HTTP/1.1\r\n", origin.url("/"));
    for fields in [
        "Host: a\nX: y\r\n",
        "Host: a\n",
        "X: y\rHost: b\r\nHost: a\r\n",
        "Host: a\r\nX: a\rb\r\n",
        "Host: a\r\nX: a\r\r\n",
        "Host: a\r\nX: a\r\n b\r\n",
        "Host: a\r\nX: a\r\n\tb\r\n",
        "Host: a\r\nX:\r\n \r\n",
        " Host: a\r\n",
        "\tX: y\r\nHost: a\r\n",
        "Host : a\r\n",
        "Host: a\r\nX\t: y\r\n",
        "Host: a\r\nX y: z\r\n",
        "Host: a\r\nX\r\n",
        "Host: a\r\n: y\r\n",
        "Host: a\r\nX(y): z\r\n",
        "Host: a\r\nX[y]: z\r\n",
        "Host: a\r\n\u{fc}: z\r\n",
        "Host: a\r\nX: a\0b\r\n",
        "Host: a\r\nX: a\x0bb\r\n",
        "Host: a\r\nX: a\x08\r\n",
        "Host: a\r\nX: a\x7f\r\n",
        "Host: a\r\nX\0: a\r\n",
    ] {
        check(&proxy, &origin, format!("{get}{fields}\r\n"), "400 end");
    }
    let url = origin.url("/");
    let whole = format!("GET {url} HTTP/1.1\nHost: a\n\n");
    check(&proxy, &origin, whole, "400 end");
    check(&proxy, &origin, "\r\n".repeat(1000), "400 end");
    let whole = format!("\n{get}Host: a\r\n\r\n");
    check(&proxy, &origin, whole, "400 end");
    let fields = |count: usize| format!("{get}Host: a\r\n{}\r\n", "X: y\r\n".repeat(count));
    check(&proxy, &origin, fields(100), "200 next");
    check(&proxy, &origin, fields(500), "431 end");
    let field = |octets: usize| format!("{get}Host: a\r\nX: {}\r\n\r\n", "y".repeat(octets));
    check(&proxy, &origin, field(60_000), "200 next");
    check(&proxy, &origin, field(70_000), "431 end");
    let odd = "Host: a\r\nX: \u{e9} \t z\r\n!#$%&'*+-.^_`|~1:\r\n\r\n";
    check(&proxy, &origin, format!("{get}{odd}"), "200 next");
}

/// RFC 9112 section 6: where a body's end is in doubt, what follows could be a request.
#[test]
fn requests_whose_end_is_in_doubt() {
    let (proxy, origin) = echo();
    let check = |version: &str, fields: &str, body: &str, expected: &str| {
        let line = format!("POST {} {version}\r\nHost: a\r\n", origin.url("/"));
        check(
            &proxy,
            &origin,
            format!("{line}{fields}\r\n{body}"),
            expected,
        );
    };
    const BOTH: &str = "0\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n",
        "Content-Length: 5\r\ntransfer-encoding: \tCHUNKED\t\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: \u{665}\r\n",
        "Content-Length : 5\r\n",
    ] {
        check("HTTP/1.1", fields, BOTH, "400 end");
    }
    check(
        "HTTP/1.0",
        "Transfer-Encoding: chunked\r\n",
        BOTH,
        "400 end",
    );
    check(
        "HTTP/1.1",
        "Transfer-Encoding: gzip, chunked\r\n",
        BOTH,
        "501 end",
    );
    check(
        "HTTP/1.1",
        "Content-Length: \t 5 \t\r\n",
        "hello",
        "200 next",
    );
    check("HTTP/1.1", "Content-Length: 0005\r\n", "hello", "200 next");
    check("HTTP/1.1", "Content-Length: 0\r\n", "", "200 next");
    check(
        "HTTP/1.1",
        "Transfer-Encoding: , Chunked ,\r\n",
        BOTH,
        "200 next",
    );
    check(
        "HTTP/1.1",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "200 next",
    );
    check("HTTP/1.1", "Expect: 200-ok\r\n", "", "417 end");
}

/// RFC 9110 section 9.3.2.
#[test]
fn a_refused_head_gets_no_body_either() {
    let (proxy, origin) = echo();
    let url = origin.url("/");
    for request in [
        format!("HEAD {url} HTTP/1.1\r\n\r\n"),
        format!("HEAD {url} HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\n"),
        format!("HEAD {url} HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        "HEAD * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        check(&proxy, &origin, request, "400 end");
    }
}

/// RFC 9112 section 7.1. The origin has the head by then, but no whole request.
#[test]
fn chunks_that_others_repair() {
    let proxy = passing("");
    let trailers = format!("0\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    let extensions = format!("1;a={}\r\nx\r\n", "b".repeat(200)).repeat(200);
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5 \0\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
        &trailers,
        &extensions,
    ] {
        let origin = Origin::new();
        let mut client = proxy.connect();
        client.send(format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{}",
            origin.url("/"),
            get(&origin.url("/smuggled")),
        ));
        let start = &body[..body.len().min(40)];
        let answer = client.receive("POST").expect("an answer");
        assert_eq!(answer.status, 400, "{start:?}");
        client.expect_end();
        if let Some(rest) = came(&origin) {
            let rest = rest.escape_ascii().to_string();
            assert!(!rest.contains(r"0\r\n\r\n"), "{start:?} became {rest}");
            assert!(!rest.contains("smuggled"), "{start:?} became {rest}");
        }
    }
}

/// All that the origin got, if the proxy has connected to it, until that connection ended.
#[track_caller]
fn came(origin: &Origin) -> Option<Vec<u8>> {
    origin.try_accept().map(|mut connection| connection.rest())
}

/// What the origin says ends within a body that the client has promised.
#[test]
fn a_request_that_ends_too_early() {
    let (proxy, origin) = (passing(""), Origin::new());
    for (fields, body) in [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
    ] {
        let mut client = proxy.connect();
        let line = format!("POST {} HTTP/1.1\r\nHost: a\r\n", origin.url("/"));
        client.send(format!("{line}{fields}\r\n\r\n{body}"));
        client.send_end();
        let mut connection = origin.accept();
        connection.head();
        let rest = connection.rest().escape_ascii().to_string();
        assert!(rest.contains("hello"), "{rest}");
        assert!(!rest.contains(r"0\r\n\r\n"), "{fields} became {rest}");
        client.rest();
    }
}

/// What a client gets of an answer that it must not trust.
#[derive(Debug, PartialEq)]
enum Got {
    Status(u16),
    /// The beginning of an answer, from which it can tell that there should be more.
    Incomplete,
}

/// Sends a response that is not one, and looks what the client makes of it. The proxy does not
/// use that connection again.
#[track_caller]
fn answered_with(proxy: &Proxy, request: &str, response: impl AsRef<[u8]>, ends: bool) -> Got {
    let response = response.as_ref();
    let origin = Origin::new();
    let mut client = proxy.connect();
    client.send(request.replace("ORIGIN", &origin.address));
    let mut connection = origin.accept();
    connection.head();
    connection.send(response);
    if ends {
        connection.send_end();
    }
    let got = outcome(&mut client);
    if got != Got::Status(200) {
        assert_eq!(connection.rest(), b"", "{}", response.escape_ascii());
    }
    got
}

/// Reads until the connection ends; the next request on it is not for this one's answer.
#[track_caller]
fn outcome(client: &mut Client) -> Got {
    let mut came = Vec::new();
    let ended = client.stream.read_to_end(&mut came);
    let text = String::from_utf8_lossy(&came).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        panic!("not even a head: {text:?} {ended:?}");
    };
    let (_, status) = head.split_once(' ').expect("a status line");
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let is_whole = match length {
        Some(length) => body.len() == length.parse::<usize>().expect("a length"),
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => ended.is_ok(),
    };
    match is_whole {
        true => Got::Status(status[..3].parse().expect("a status")),
        false => Got::Incomplete,
    }
}

const LAST: &str = "GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LAST_1_0: &str = "GET http://ORIGIN/ HTTP/1.0\r\n\r\n";

/// RFC 9112 sections 2.2, 4, 5 and 6.3.
#[test]
fn responses_that_others_repair() {
    let proxy = passing("");
    for response in [
        "200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2a0 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "junkHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "junk\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "<!DOCTYPE html>\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length\x0c: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length\r: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nX\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/2.0 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 1030 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "junkjunk 100 junk\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let got = answered_with(&proxy, LAST, response, false);
        assert_eq!(got, Got::Status(502), "{response:?}");
    }
    // Each of these ends before it has said what it is.
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.1 2",
        "\r\n",
        "HTTP/1.1 200 OK\r\n",
    ] {
        let got = answered_with(&proxy, LAST, response, true);
        assert_eq!(got, Got::Status(502), "{response:?}");
    }
}

/// RFC 9112 section 7.1: the answer is no whole one, whatever the client speaks.
#[test]
fn chunks_of_responses_that_others_repair() {
    let proxy = passing("");
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n\r\n",
        "5\r\nhello\r\n+0\r\n\r\n",
        "5\r\nhello\r\n-1\r\n\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n10000000000000000\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
    ] {
        for request in [LAST, LAST_1_0] {
            let got = answered_with(&proxy, request, format!("{HEAD}{chunks}"), false);
            let is_honest = matches!(got, Got::Status(502) | Got::Incomplete);
            assert!(is_honest, "{request:?} {chunks:?}: {got:?}");
        }
    }
}

/// The client can tell that it has not got everything: RFC 9112 section 8.
#[test]
fn an_origin_that_goes_in_the_middle() {
    let proxy = passing("");
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\nhello",
    ] {
        for request in [LAST, LAST_1_0] {
            let got = answered_with(&proxy, request, response, true);
            assert_eq!(got, Got::Incomplete, "{request:?} {response:?}");
        }
    }
    // A body that the connection's end ends is whole then, but not where that is a reset.
    let response = "HTTP/1.1 200 OK\r\n\r\nhello";
    for request in [LAST, LAST_1_0] {
        let got = answered_with(&proxy, request, response, true);
        assert_eq!(got, Got::Status(200), "{request:?}");
        let origin = Origin::new();
        let mut client = proxy.connect();
        client.send(request.replace("ORIGIN", &origin.address));
        let mut connection = origin.accept();
        connection.head();
        connection.send(response);
        read_until(&mut client, "hello");
        connection.reset();
        let mut rest = Vec::new();
        let ended = client.stream.read_to_end(&mut rest);
        let is_whole = rest.ends_with(b"0\r\n\r\n") || request == LAST_1_0 && ended.is_ok();
        assert!(!is_whole, "{request:?} {}", rest.escape_ascii());
    }
}

/// RFC 9112 section 9.2: what nobody has asked for is no answer, neither for the same client nor
/// for another one.
#[test]
fn what_comes_behind_an_answer_is_for_nobody() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (method, response) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 45\r\n\r\n",
        ),
    ] {
        for comes_later in [false, true] {
            let (proxy, origin) = (passing(""), Origin::new());
            let mut client = proxy.connect();
            let line = format!("{method} {}", origin.url("/"));
            client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let mut connection = origin.accept();
            connection.head();
            if comes_later {
                connection.send(response);
                client.receive(method).expect("an answer");
                connection.send(EVIL);
            } else {
                connection.send(format!("{response}{EVIL}"));
                client.receive(method).expect("an answer");
            }
            let origin = origin.answering(|_| answer("", "good"));
            let url = origin.url("/next");
            let next = client.ask(get(&url));
            assert_eq!(next.text(), "good", "{response:?} {comes_later}");
            assert_eq!(proxy.get(&url).text(), "good", "{response:?} {comes_later}");
            assert_eq!(connection.rest(), b"", "{response:?} {comes_later}");
        }
    }
}

/// Sends this again and again until the proxy has had enough, which it must have before there is
/// a gigabyte of it.
#[track_caller]
fn flood(connection: &mut Connection, start: &str, again: &str) {
    let _ = connection.stream.write_all(start.as_bytes());
    let piece = again.repeat(65_536 / again.len());
    for _ in 0..16_384 {
        if connection.stream.write_all(piece.as_bytes()).is_err() {
            return;
        }
    }
    panic!("the proxy takes {again:?} without end");
}

/// Nothing that has no end makes the proxy wait or grow.
#[test]
fn responses_without_end() {
    let proxy = passing("");
    for (start, again) in [
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("HTTP/1.1 200 OK\r\nX: ", "y"),
        ("HTTP/1.1 200 ", "y"),
        ("", "junk"),
        ("", "\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
    ] {
        for request in [
            "GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n",
        ] {
            let origin = Origin::new();
            let mut client = proxy.connect();
            client.send(request.replace("ORIGIN", &origin.address));
            let mut connection = origin.accept();
            connection.head();
            let flooding = std::thread::spawn(move || flood(&mut connection, start, again));
            let mut interim = 0;
            let status = loop {
                let Some(answer) = client.receive("GET") else {
                    panic!("no answer after {start:?} {again:?} to {request:?}");
                };
                if answer.status >= 200 {
                    break answer.status;
                }
                interim += 1;
                assert!(interim < 1000, "{start:?} {again:?}");
            };
            assert_eq!(status, 502, "{request:?} {start:?} {again:?}");
            flooding.join().expect("it ends");
        }
    }
}

/// Chunk extensions and trailers without end.
#[test]
fn chunks_without_end() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let proxy = passing("");
    for (start, again) in [
        ("5;a=", "b"),
        ("0\r\n", "X: y\r\n"),
        ("0\r\nX: ", "y"),
        ("", "1;a=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n"),
        ("", "0"),
    ] {
        let origin = Origin::new();
        let mut client = proxy.connect();
        client.send(LAST.replace("ORIGIN", &origin.address));
        let mut connection = origin.accept();
        connection.head();
        let start = format!("{HEAD}5\r\nhello\r\n{start}");
        let flooding = std::thread::spawn(move || flood(&mut connection, &start, again));
        assert_eq!(outcome(&mut client), Got::Incomplete, "{again:?}");
        flooding.join().expect("it ends");
    }
}

/// An octet now and then, until the proxy has had enough; what it says then.
fn drip(stream: &std::net::TcpStream, octets: &str) -> Vec<u8> {
    let mut stream = stream.try_clone().expect("a descriptor");
    let pause = Duration::from_millis(5);
    stream.set_read_timeout(Some(pause)).expect("a socket");
    for octet in octets.bytes().cycle() {
        let _ = stream.write_all(&[octet]);
        let mut came = [0; 4096];
        match stream.read(&mut came) {
            Ok(count) => return came[..count].to_vec(),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    Vec::new()
}

/// The whole head has its time, and not each of its octets.
#[test]
fn heads_that_come_in_drops() {
    let proxy = passing("--answer-timeout 0.3 --header-timeout 0.3");
    for drops in ["X", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let origin = Origin::new();
        let mut client = proxy.connect();
        client.send(get(&origin.url("/")).replace("HTTP/1.1", "HTTP/1.0"));
        let mut connection = origin.accept();
        connection.head();
        assert_eq!(drip(&connection.stream, drops), b"");
        let answer = client.receive("GET").expect("an answer");
        assert_eq!(answer.status, 504, "{drops}");
    }
    let client = proxy.connect();
    let answer = drip(&client.stream, "X");
    assert!(
        answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        answer.escape_ascii()
    );
}
