//! Request heads, RFC 9112 sections 2, 3, 5 and 9: what is read, what is refused, and whether
//! the connection goes on.

use super::{Server, serve, www};

/// A GET with these lines of fields, each with its end.
#[track_caller]
fn check_fields(server: &Server, fields: &str, expected: &str) {
    let head = format!("GET /page.html HTTP/1.1\r\n{fields}\r\n");
    server.check(head, expected);
}

/// A request line with a valid Host.
#[track_caller]
fn check_line(server: &Server, line: &str, expected: &str) {
    server.check(format!("{line}\r\nHost: localhost\r\n\r\n"), expected);
}

/// RFC 9112 section 3.2.
#[test]
fn there_is_one_valid_host() {
    let server = serve(www(), "");
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "localhost:",
        "127.0.0.1",
        "[::1]:80",
        "\t localhost \t",
    ] {
        check_fields(&server, &format!("host:{host}\r\n"), "200 next");
    }
    for host in [
        "",
        "a b",
        "localhost/",
        "user@localhost",
        "localhost:port",
        "localhost:99999",
        "localhost:80:80",
        "localhost, localhost",
        "[::1",
        "[localhost]",
        "::1",
        "local\u{e9}",
        "\"localhost\"",
        "<localhost>",
    ] {
        check_fields(&server, &format!("Host: {host}\r\n"), "400 end");
    }
    check_fields(&server, "", "400 end");
    check_fields(&server, "Accept: */*\r\n", "400 end");
    check_fields(&server, "Host: localhost\r\nHost: localhost\r\n", "400 end");
    check_fields(
        &server,
        "Host: localhost\r\nhost: evil.example\r\n",
        "400 end",
    );
}

/// RFC 9112 section 3.2.
#[test]
fn the_target_has_one_of_four_forms() {
    let server = serve(www(), "");
    check_line(&server, "GET /page.html HTTP/1.1", "200 next");
    check_line(&server, "GET /page.html?a=b?c=/../d HTTP/1.1", "200 next");
    check_line(&server, "GET /page.html?a|b^{c} HTTP/1.1", "200 next");
    check_line(
        &server,
        "GET http://localhost/page.html HTTP/1.1",
        "200 next",
    );
    check_line(
        &server,
        "GET HTTP://LOCALHOST:80/page.html?a HTTP/1.1",
        "200 next",
    );
    check_line(&server, "GET http://localhost HTTP/1.1", "200 next");
    check_line(&server, "GET http://localhost?a HTTP/1.1", "200 next");
    check_line(
        &server,
        "GET http://evil.example/page.html HTTP/1.1",
        "421 next",
    );
    check_line(&server, "GET http:///page.html HTTP/1.1", "400 end");
    check_line(
        &server,
        "GET http://a@localhost/page.html HTTP/1.1",
        "400 end",
    );
    check_line(&server, "GET ftp://localhost/page.html HTTP/1.1", "400 end");
    check_line(&server, "GET page.html HTTP/1.1", "400 end");
    check_line(&server, "GET localhost:80 HTTP/1.1", "400 end");
    check_line(&server, "GET * HTTP/1.1", "400 end");
    check_line(&server, "OPTIONS * HTTP/1.1", "204 next");
    check_line(&server, "OPTIONS /page.html HTTP/1.1", "204 next");
    check_line(&server, "CONNECT localhost:80 HTTP/1.1", "405 end");
    check_line(&server, "CONNECT localhost HTTP/1.1", "400 end");
    check_line(&server, "CONNECT /page.html HTTP/1.1", "400 end");
    check_line(&server, "GET /page.html#part HTTP/1.1", "400 end");
    check_line(&server, "GET /pag\u{e9}.html HTTP/1.1", "400 end");
    check_line(&server, "GET /page.html\0 HTTP/1.1", "400 end");
    check_line(&server, "GET /page.html\x7f HTTP/1.1", "400 end");
    check_line(&server, "GET /%zz HTTP/1.1", "400 next");
    check_line(&server, "GET /% HTTP/1.1", "400 next");
    let absolute = "GET http://localhost/page.html HTTP/1.1\r\n";
    server.check(format!("{absolute}Host: evil.example\r\n\r\n"), "200 next");
    server.check(format!("{absolute}\r\n"), "400 end");
}

/// RFC 9112 sections 2.3 and 3, RFC 9110 section 9.1.
#[test]
fn request_lines() {
    let server = serve(www(), "");
    check_line(&server, "HEAD /page.html HTTP/1.1", "200 next");
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        check_line(
            &server,
            &format!("{method} /page.html HTTP/1.1"),
            "405 next",
        );
    }
    for method in ["get", "FOO", "M-SEARCH", "!#$%&'*+-.^_`|~1"] {
        check_line(
            &server,
            &format!("{method} /page.html HTTP/1.1"),
            "501 next",
        );
    }
    check_line(&server, "GET /page.html HTTP/1.2", "200 next");
    check_line(&server, "GET /page.html HTTP/1.9", "200 next");
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9"] {
        check_line(&server, &format!("GET /page.html {version}"), "505 end");
    }
    server.check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 end");
    for line in [
        "GET /page.html",
        "GET",
        "GET  /page.html HTTP/1.1",
        "GET /page.html  HTTP/1.1",
        "GET /page.html HTTP/1.1 ",
        "GET\t/page.html\tHTTP/1.1",
        " GET /page.html HTTP/1.1",
        "G(T /page.html HTTP/1.1",
        "GET: /page.html HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /page.html http/1.1",
        "GET /page.html HTTP/1.10",
        "GET /page.html HTTP/01.1",
        "GET /page.html HTTP/1,1",
        "GET /page.html HTTP/11",
        "GET /page.html HTTPS/1.1",
        "GET /page.html",
        "\u{16}\u{3}\u{1}",
    ] {
        check_line(&server, line, "400 end");
    }
}

/// RFC 9112 sections 2.2 and 5: what two servers could read as two different requests.
#[test]
fn lines_and_fields_that_others_repair() {
    let server = serve(www(), "");
    for lines in [
        "Host: localhost\nX: y\r\n",
        "Host: localhost\n",
        "X: y\rHost: evil.example\r\nHost: localhost\r\n",
        "X: a\rb\r\nHost: localhost\r\n",
        "Host: localhost\r\nX: a\r\n b\r\n",
        "Host: localhost\r\nX: a\r\n\tb\r\n",
        "Host: localhost\r\nX:\r\n \r\n",
        " Host: localhost\r\n",
        "\tX: y\r\nHost: localhost\r\n",
        " \r\nHost: localhost\r\n",
        "Host : localhost\r\n",
        "Host\t: localhost\r\n",
        "Host: localhost\r\nX y: z\r\n",
        "Host: localhost\r\nX\r\n",
        "Host: localhost\r\n: y\r\n",
        "Host: localhost\r\nX(y): z\r\n",
        "Host: localhost\r\n\u{fc}: z\r\n",
        "Host: localhost\r\nX: a\0b\r\n",
        "Host: localhost\r\nX: a\x0bb\r\n",
        "Host: localhost\r\nX: a\x7f\r\n",
        "Host: localhost\r\nX\0: a\r\n",
    ] {
        check_fields(&server, lines, "400 end");
    }
    server.check("GET /page.html HTTP/1.1\nHost: localhost\n\n", "400 end");
    server.check(
        "GET /page.html\r HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "400 end",
    );
    server.check(
        "GET /page.html HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
        "400 end",
    );
    for fields in [
        "Host:localhost\r\n",
        "Host: localhost\r\nX:\r\nY: \t \r\n",
        "Host: localhost\r\nX: a \t b\r\n",
        "Host: localhost\r\nX: \u{e9}\u{2028}\r\n",
        "!#$%&'*+-.^_`|~1: a\r\nHost: localhost\r\n",
    ] {
        check_fields(&server, fields, "200 next");
    }
    server.check(
        b"GET /page.html HTTP/1.1\r\nHost: localhost\r\nX: \xff\xfe\r\n\r\n",
        "200 next",
    );
}

/// RFC 9112 section 2.2: one at least, and not without end.
#[test]
fn empty_lines_before_a_request() {
    let server = serve(www(), "");
    let request = "GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
    server.check(format!("\r\n{request}"), "200 next");
    server.check(format!("\r\n\r\n{request}\r\n"), "200 next");
    server.check(format!("\n{request}"), "400 end");
    server.check(format!("\r{request}"), "400 end");
    server.check("\r\n".repeat(1000), "400 end");
}

/// RFC 9112 section 3, RFC 6585 section 5.
#[test]
fn what_is_too_large() {
    let server = serve(www(), "");
    let get = |octets: usize| format!("GET /{} HTTP/1.1", "a".repeat(octets - 1));
    check_line(&server, &get(8000), "404 next");
    check_line(&server, &get(9000), "414 end");
    check_line(&server, &get(100_000), "414 end");
    server.check("a".repeat(100_000), "414 end");
    let fields = |count: usize| format!("Host: localhost\r\n{}", "X: y\r\n".repeat(count));
    check_fields(&server, &fields(100), "200 next");
    check_fields(&server, &fields(500), "431 end");
    let field = |octets: usize| format!("Host: localhost\r\nX: {}\r\n", "y".repeat(octets));
    check_fields(&server, &field(16_000), "200 next");
    check_fields(&server, &field(40_000), "431 end");
    check_fields(&server, &field(90_000), "431 end");
    let small = serve(www(), "--max-header 1K");
    check_fields(&small, &field(900), "200 next");
    check_fields(&small, &field(1000), "431 end");
}

/// RFC 9112 section 9.3.
#[test]
fn connections_persist_unless_one_side_does_not_want_it() {
    let server = serve(www(), "");
    let check = |version: &str, connection: &str, expected: &str| {
        let head = format!("GET /page.html {version}\r\nHost: localhost\r\n{connection}\r\n");
        server.check(head, expected);
    };
    check("HTTP/1.1", "", "200 next");
    check("HTTP/1.1", "Connection: keep-alive\r\n", "200 next");
    check("HTTP/1.1", "Connection: upgrade\r\n", "200 next");
    check("HTTP/1.1", "Connection: close\r\n", "200 end");
    check("HTTP/1.1", "connection: foo ,\tCLOSE\r\n", "200 end");
    check(
        "HTTP/1.1",
        "Connection: foo\r\nConnection: close\r\n",
        "200 end",
    );
    check("HTTP/1.1", "Connection: keep-alive, close\r\n", "200 end");
    check("HTTP/1.0", "", "200 end");
    check("HTTP/1.0", "Connection: foo\r\n", "200 end");
    check("HTTP/1.0", "Connection: Keep-Alive\r\n", "200 next");
    let mut client = server.connect();
    let answer = client.ask("GET /page.html HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.has("connection", "keep-alive"), "{answer:?}");
    let answer = client.ask("GET /page.html HTTP/1.0\r\n\r\n");
    assert!(!answer.has("connection", "keep-alive"), "{answer:?}");
    client.expect_end();
}

/// RFC 9112 section 9.3.2.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let place = www();
    for number in 0..50 {
        place.write(&format!("www/{number}"), vec![b'x'; number * 3000]);
    }
    let server = serve(place, "");
    let mut client = server.connect();
    let get = |number| format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send((0..50).map(get).collect::<String>());
    for number in 0..50 {
        let answer = client.receive("GET").expect("50 answers");
        assert_eq!((answer.status, answer.body.len()), (200, number * 3000));
    }
}

/// One that takes time does not overtake what a client has not read of those before it.
#[test]
fn pipelined_answers_stay_in_order_for_a_client_that_does_not_read() {
    let place = www();
    let page: Vec<u8> = (0..60_000_u32).map(|at| b'a' + (at % 23) as u8).collect();
    place.write("www/page.txt", &page);
    std::fs::create_dir(place.path().join("www/folder")).expect("room on the disk");
    let server = serve(place, "--metrics");
    let mut client = server.connect();
    let pair = ["/page.txt", "/folder/"]
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client.send(pair.concat().repeat(300));
    wait_until_nothing_is_answered(&server);
    for number in 0..300 {
        let answer = client.receive("GET").expect("a page");
        assert!(answer.body == page, "page {number}");
        let answer = client.receive("GET").expect("a listing");
        assert!(answer.text().contains("Index of"), "listing {number}");
    }
}

/// The buffers of all connections are full, so that only our own questions are counted.
fn wait_until_nothing_is_answered(server: &Server) {
    let mut client = server.connect();
    let mut answered = || {
        let answer = client.ask("GET /-/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let prefix = "nsh_serve_responses_total{class=\"2xx\"} ";
        let mut lines = answer.text().lines();
        let count = lines.find_map(|line| line.strip_prefix(prefix)?.parse::<u64>().ok());
        count.expect("a counter")
    };
    let (mut last, mut same) = (answered(), 0);
    while same < 200 {
        let now = answered();
        same = if now == last + 1 { same + 1 } else { 0 };
        last = now;
    }
}

/// Also those whose answers a thread of the pool has sent.
#[test]
fn every_answer_on_a_connection_is_logged_with_its_length() {
    let mut server = serve(www(), "");
    server.sparse("www/large", 12 << 20);
    let mut client = server.connect();
    for target in ["/large?1", "/page.html", "/large?2"] {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let event = server.nsh.event("request");
        assert_eq!(event["request"], format!("GET {target} HTTP/1.1"));
        assert_eq!(event["octets"], answer.body.len());
    }
}
