//! Messages on their way: what changes, and what must not.

use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::origin::{Answering, answer};
use super::*;

/// What the origin sees of a request; `ORIGIN` in both is its address.
#[track_caller]
fn check_request(proxy: &Proxy, origin: &Answering, request: &str, expected: &str) {
    let address = &origin.address;
    let mut client = proxy.connect();
    let answer = client.ask(request.replace("ORIGIN", address));
    assert_eq!(answer.status, 200, "{request:?}: {answer:?}");
    assert!(answer.has("via", &own_via(&answer)), "{answer:?}");
    let heads = origin.heads();
    let seen = heads.last().expect("a request");
    assert_eq!(general(seen, address), expected, "{request:?}");
}

/// The member of Via that the proxy wrote.
#[track_caller]
fn own_via(answer: &Answer) -> String {
    let mut lines = answer.fields.iter().filter(|field| field.0 == "via");
    let last = lines.next_back().expect("a Via").1.clone();
    assert!(last.contains(" nsh-"), "{last}");
    last
}

#[test]
fn a_request_and_its_answer() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!(
        "GET {}?q HTTP/1.1\r\nHost: elsewhere\r\nAccept: */*\r\nProxy-Connection: keep-alive\r\n\r\n",
        origin.url("/a")
    ));
    let mut connection = origin.accept();
    let address = &origin.address;
    let head = connection.head();
    let (start, via) = head.split_once("Via: 1.1 nsh-").expect("a Via");
    assert_eq!(
        start,
        format!("GET /a?q HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n")
    );
    assert_eq!(via.len(), "01234567\r\n\r\n".len());
    connection.send("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX: y\r\nConnection: X\r\n\r\nhi");
    let answer = client.receive("GET").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "hi"));
    assert_eq!(answer.field("x"), None);
    proxy.stop();
}

/// RFC 9110 section 9.1: a proxy passes on what it does not know.
#[test]
fn every_method_reaches_the_origin() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let methods = "GET HEAD POST PUT DELETE PATCH OPTIONS TRACE PROPFIND M-SEARCH BREW get \
                   !#$%&'*+-.^_`|~1";
    for method in methods.split_whitespace() {
        check_request(
            &proxy,
            &origin,
            &format!("{method} http://ORIGIN/a HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"),
            &format!("{method} /a HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 nsh\r\n\r\n"),
        );
    }
}

/// RFC 9110 section 7.7 and RFC 9112 section 3.2: the path and the query go on as they came, the
/// rest of the URL becomes Host.
#[test]
fn targets() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let check = |method: &str, target: &str, expected: &str| {
        check_request(
            &proxy,
            &origin,
            &format!("{method} {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            &format!("{method} {expected} HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 nsh\r\n\r\n"),
        );
    };
    check("GET", "http://ORIGIN/", "/");
    check("GET", "http://ORIGIN", "/");
    check("GET", "HTTP://ORIGIN/A", "/A");
    check("GET", "http://ORIGIN?a=/b", "/?a=/b");
    check("GET", "http://ORIGIN/?", "/?");
    for path in [
        "/a/../b/./c//d/",
        "//a",
        "/%7Ea%2fb%2E%2e/%c3%A9",
        "/a?b?c&d=%20+/../",
        "/a;b=c,d:e@f!$'()*+[]",
        "/a|b^{c}\"<d>\\`",
        "/http://other.example/",
    ] {
        check("GET", &format!("http://ORIGIN{path}"), path);
    }
    check("OPTIONS", "http://ORIGIN", "*");
    check("OPTIONS", "http://ORIGIN/", "/");
    check("OPTIONS", "http://ORIGIN/a", "/a");
    check("OPTIONS", "http://ORIGIN?a", "/?a");
}

/// RFC 9110 sections 2.5 and 7.6.3, RFC 9112 section 3.2: each side gets the version that the
/// proxy speaks, and hears which one came.
#[test]
fn versions() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    for (request, seen) in [
        ("GET http://ORIGIN/ HTTP/1.0\r\n\r\n", "1.0"),
        ("GET http://ORIGIN/ HTTP/1.0\r\nHost: a\r\n\r\n", "1.0"),
        ("GET http://ORIGIN/ HTTP/1.2\r\nHost: a\r\n\r\n", "1.1"),
    ] {
        let expected = format!("GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: {seen} nsh\r\n\r\n");
        check_request(&proxy, &origin, request, &expected);
    }
    check_response(
        "GET HTTP/1.1",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nVia: 1.0 nsh\r\nDate: now\r\nContent-Length: 2\r\n\
         Connection: close\r\n\r\nhi",
    );
}

/// RFC 9110 section 7.6.1.
#[test]
fn what_a_request_says_of_its_connection_stays_here() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let check = |fields: &str, expected: &str| {
        check_request(
            &proxy,
            &origin,
            &format!("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{fields}\r\n"),
            &format!("GET / HTTP/1.1\r\nHost: ORIGIN\r\n{expected}\r\n"),
        );
    };
    const VIA: &str = "Via: 1.1 nsh\r\n";
    for fields in [
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        "Proxy-Connection: close\r\n",
        "Proxy-Authorization: Basic YTpi\r\n",
        "TE: gzip\r\nConnection: te\r\n",
        "Upgrade: websocket\r\n",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "X: y\r\nConnection: x\r\n",
        "Connection: A ,,\tb\r\na: 1\r\nB: 2\r\nConnection: C\r\nc: 3\r\nA: 4\r\n",
        "Connection: Connection, connection\r\n",
        "Connection: Transfer-Encoding, Via-A\r\nVia-A: b\r\n",
    ] {
        check(fields, VIA);
    }
    check(
        "X: y\r\nx:  Z \r\nEmpty:\r\n",
        &format!("X: y\r\nx: Z\r\nEmpty: \r\n{VIA}"),
    );
    check(
        "TE: gzip, Trailers\r\nConnection: TE\r\n",
        &format!("Connection: TE\r\nTE: trailers\r\n{VIA}"),
    );
    // Naming them there would take from the origin what it decides by.
    let kept = "Authorization: Basic YTpi\r\nCookie: a=b\r\nCache-Control: no-cache\r\n\
                Range: bytes=0-1\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
    let named = "Authorization, Cookie, Cache-Control, Range, X-Forwarded-For, Forwarded, Host";
    check(
        &format!("{kept}Connection: {named}\r\n"),
        &format!("{kept}{VIA}"),
    );
    // The body has its length from before.
    check_request(
        &proxy,
        &origin,
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: Content-Length, \
         Content-Type\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: ORIGIN\r\nContent-Type: a/b\r\nVia: 1.1 nsh\r\n\
         Content-Length: 2\r\n\r\n",
    );
    check_request(
        &proxy,
        &origin,
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: Transfer-Encoding\r\n\
         Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 nsh\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
}

#[test]
fn what_a_response_says_of_its_connection_stays_here() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let check = |fields: &str, expected: &str| {
        check_response(
            "GET HTTP/1.1",
            &format!("HTTP/1.1 200 OK\r\n{date}{fields}Content-Length: 2\r\n\r\nhi"),
            &format!(
                "HTTP/1.1 200 OK\r\n{date}{expected}Via: 1.1 nsh\r\nContent-Length: 2\r\n\
                 Connection: close\r\n\r\nhi"
            ),
        );
    };
    check("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "");
    check("Proxy-Connection: close\r\nUpgrade: h2c\r\n", "");
    check("Proxy-Authenticate: Basic realm=a\r\n", "");
    check(
        "A: 1\r\nConnection: close, a, B\r\nb: 2\r\nC: 3\r\n",
        "C: 3\r\n",
    );
    let kept = "Cache-Control: no-store\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
                Location: http://ORIGIN/b\r\n";
    let named = "Cache-Control, Set-Cookie, Location, Content-Length, Date";
    check(&format!("{kept}Connection: {named}\r\n"), kept);
    check("X: \u{e9}\r\nx:y  z\r\n", "X: \u{e9}\r\nx: y  z\r\n");
    // RFC 9112 section 5.1.
    check("X \t: y\r\n", "X: y\r\n");
}

/// RFC 9110 section 6.6.2: "the Trailer field is not removed by intermediaries in transit".
#[test]
fn trailers_stay_announced() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    check_request(
        &proxy,
        &origin,
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTrailer: X-Sum\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ORIGIN\r\nTrailer: X-Sum\r\nVia: 1.1 nsh\r\n\r\n",
    );
    check_response(
        "GET HTTP/1.1",
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nVia: 1.1 nsh\r\nDate: now\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
    );
}

/// RFC 9110 section 7.6.3.
#[test]
fn via_goes_behind_those_that_are_there() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    check_request(
        &proxy,
        &origin,
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\nX: y\r\nVia: 1.1 b, 2 c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.0 fred\r\nX: y\r\nVia: 1.1 b, 2 c\r\n\
         Via: 1.1 nsh\r\n\r\n",
    );
    check_response(
        "GET HTTP/1.1",
        "HTTP/1.1 404 Gone Fishing\r\nVia: 1.0 fred (Squid)\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Gone Fishing\r\nVia: 1.0 fred (Squid)\r\nVia: 1.1 nsh\r\n\
         Date: now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
}

/// RFC 7239; by default the origin does not hear who asks.
#[test]
fn who_asks_is_said_on_request() {
    for (option, expected) in [
        ("", ""),
        ("--forwarded", "Forwarded: for=127.0.0.1;proto=http\r\n"),
        (
            "--forwarded=standard",
            "Forwarded: for=127.0.0.1;proto=http\r\n",
        ),
        ("--forwarded=x", "X-Forwarded-For: 127.0.0.1\r\n"),
        (
            "--forwarded=both",
            "Forwarded: for=127.0.0.1;proto=http\r\nX-Forwarded-For: 127.0.0.1\r\n",
        ),
    ] {
        let (proxy, origin) = (passing(option), Origin::new().echoing());
        let before = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
        check_request(
            &proxy,
            &origin,
            &format!("GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\n{before}\r\n"),
            &format!("GET / HTTP/1.1\r\nHost: ORIGIN\r\n{before}Via: 1.1 nsh\r\n{expected}\r\n"),
        );
    }
}

#[test]
fn loops_are_cut() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let answer = proxy.get(&origin.url("/"));
    let via = own_via(&answer);
    let (_, name) = via.split_once(' ').expect("a name");
    for (fields, status) in [
        (format!("Via: {via}"), 508),
        (format!("Via: 1.0 a, HTTP/1.1 {name} (comment), 1.1 b"), 508),
        (format!("Via: 1.0 a\r\nVia: 1.0\t{name}"), 508),
        ("Via: 1.1 nsh-00000000, 1.1 nsh".to_owned(), 200),
        (format!("Via: 1.1 a ({name})"), 200),
    ] {
        let answer = proxy.ask(&format!("GET {}", origin.url("/")), &[&fields]);
        assert_eq!(answer.status, status, "{fields}");
    }
    assert_eq!(origin.heads().len(), 3);
    let port = proxy.address.rsplit(':').next().expect("a port");
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let answer = proxy.get(&format!("http://{host}:{port}/"));
        assert_eq!(answer.status, 508, "{host}");
        assert_eq!(proxy_error(&answer), "proxy_loop_detected");
    }
}

/// RFC 9209.
#[track_caller]
fn proxy_error(answer: &Answer) -> &str {
    let status = answer.field("proxy-status").expect("a Proxy-Status");
    let error = status.strip_prefix("nsh; error=").expect("an error");
    error.split(';').next().unwrap_or_default()
}

/// RFC 9110 section 7.6.2.
#[test]
fn max_forwards() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let check = |method: &str, hops: &str, expected: &str| {
        check_request(
            &proxy,
            &origin,
            &format!("{method} http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n"),
            &format!(
                "{method} / HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: {expected}\r\n\
                 Via: 1.1 nsh\r\n\r\n"
            ),
        );
    };
    check("TRACE", "1", "0");
    check("OPTIONS", "10", "9");
    check("GET", "0", "0");
    let seen = origin.heads().len();
    let trace = format!("TRACE {}", origin.url("/a?b"));
    let secrets = ["Cookie: a=secret", "Authorization: Basic secret", "X: y"];
    let answer = proxy.ask(&trace, &[&["Max-Forwards: 0"], &secrets[..]].concat());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("message/http"));
    assert!(answer.text().starts_with(&format!("{trace} HTTP/1.1\r\n")));
    assert!(answer.text().contains("\r\nX: y\r\n"), "{}", answer.text());
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    let options = format!("OPTIONS {}", origin.url("/"));
    let answer = proxy.ask(&options, &["Max-Forwards: 0"]);
    assert!(answer.has("allow", "CONNECT"), "{answer:?}");
    assert_eq!(origin.heads().len(), seen);
}

/// What comes behind either head belongs to the other protocol.
#[test]
fn an_upgrade() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: x\r\n\r\nearly",
        origin.url("/chat")
    ));
    let mut connection = origin.accept();
    assert_eq!(
        general(&connection.head(), &origin.address),
        "GET /chat HTTP/1.1\r\nHost: ORIGIN\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nVia: 1.1 nsh\r\n\r\n"
    );
    connection.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: y\r\n\r\nprompt",
    );
    let answer = client.receive("GET").expect("an answer");
    assert_eq!(answer.status, 101);
    assert!(answer.has("connection", "upgrade"), "{answer:?}");
    assert!(answer.has("upgrade", "websocket"), "{answer:?}");
    assert_eq!(answer.field("sec-websocket-accept"), Some("y"));
    assert_eq!(connection.octets(5), b"early");
    client.send("up\0");
    assert_eq!(connection.octets(3), b"up\0");
    client.send_end();
    assert_eq!(connection.rest(), b"");
    connection.send(b"down\xff");
    connection.send_end();
    assert_eq!(client.rest(), b"promptdown\xff");
}

#[test]
fn a_refused_upgrade_leaves_everything_as_it_was() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client.ask(format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            origin.url("/chat")
        ));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(origin.heads().len(), 2);
}

/// The proxy would not understand the rest of the connection, and it was told not to ask.
#[test]
fn nobody_gets_to_http2_through_an_upgrade() {
    let (proxy, origin) = (passing(""), Origin::new().echoing());
    for protocol in ["h2c", "H2C", "websocket, h2c", "a\r\nUpgrade: h2c", "h2c/1"] {
        let upgrade = format!("Connection: Upgrade\r\nUpgrade: {protocol}");
        let answer = proxy.ask(&format!("GET {}", origin.url("/")), &[&upgrade]);
        let seen = answer.text().to_ascii_lowercase();
        assert!(!seen.contains("h2c"), "{protocol}: {seen}");
    }
}

/// Nobody asked to change the protocol.
#[test]
fn an_upgrade_that_nobody_wants() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\n\r\n";
    for request in [
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\
         Expect: 100-continue\r\n\r\n",
    ] {
        let (proxy, origin) = (passing(""), Origin::new());
        let mut client = proxy.connect();
        client.send(request.replace("ORIGIN", &origin.address));
        let mut connection = origin.accept();
        connection.head();
        connection.send(SWITCH);
        let answer = client.receive("GET").expect("an answer");
        assert_eq!(answer.status, 502, "{request:?}");
    }
}

/// RFC 9110 section 6.6.1.
#[test]
fn a_response_has_a_date() {
    let dates = ["Sun, 06 Nov 1994 08:49:37 GMT", "rubbish"];
    for date in dates {
        check_response(
            "GET HTTP/1.1",
            &format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"),
            &format!(
                "HTTP/1.1 200 OK\r\nDate: {date}\r\nVia: 1.1 nsh\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            ),
        );
    }
}

/// In front of one site, whatever the client calls it.
#[test]
fn a_reverse_proxy() {
    let origin = Origin::new().echoing();
    let proxy = passing(&format!("--origin http://{}/", origin.address));
    for (target, expected) in [
        ("GET /a/../b?c", "GET /a/../b?c"),
        ("GET /127.0.0.1:1/", "GET /127.0.0.1:1/"),
        ("OPTIONS *", "OPTIONS *"),
    ] {
        check_request(
            &proxy,
            &origin,
            &format!("{target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
            &format!("{expected} HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 nsh\r\n\r\n"),
        );
    }
}

/// Whoever reaches a reverse proxy reaches one site, and nothing else by it.
#[test]
fn a_reverse_proxy_leads_nowhere_else() {
    let (origin, other) = (Origin::new().echoing(), Origin::new().echoing());
    let proxy = passing(&format!("--origin http://{}", origin.address));
    let _ = proxy.get(&other.url("/secret"));
    assert_eq!(other.heads(), Vec::<String>::new());
    let host = format!("Host: {}", other.address);
    let mut client = proxy.connect();
    client.ask(format!("GET /secret HTTP/1.1\r\n{host}\r\n\r\n"));
    let connect = format!("CONNECT {} HTTP/1.1\r\n{host}\r\n\r\n", other.address);
    assert_eq!(proxy.connect().ask(connect).status, 403);
    assert_eq!(other.heads(), Vec::<String>::new());
}

/// `http://localhost:8888/example.com/path`: the browser takes all sites for one, so that they
/// must not get at each other.
#[test]
fn the_path_form() {
    let origin = Origin::new().answering(|head| {
        let place = head.split(' ').nth(1).unwrap_or_default();
        answer(
            &format!(
                "Location: {}\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Type: text/html\r\n\
                 Content-Security-Policy: default-src *\r\nService-Worker-Allowed: /\r\n\
                 Access-Control-Allow-Origin: *\r\n",
                place.strip_prefix("/?").unwrap_or("/")
            ),
            "page",
        )
    });
    let proxy = passing("--allow-private");
    let address = origin.address.clone();
    let ask = |line: &str, fields: &str| {
        let line = line.replace("ORIGIN", &address);
        let mut client = proxy.connect();
        client.ask(format!("{line} HTTP/1.1\r\n{fields}\r\n"))
    };
    let answer = ask(
        "GET /ORIGIN/a/../b?c",
        "Host: localhost:8888\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\nX: y\r\n\
         Referer: http://localhost:8888/other.example/\r\nOrigin: http://localhost:8888\r\n",
    );
    assert_eq!((answer.status, answer.text()), (200, "page"));
    assert_eq!(
        general(&origin.heads()[0], &address),
        "GET /a/../b?c HTTP/1.1\r\nHost: ORIGIN\r\nX: y\r\nVia: 1.1 nsh\r\n\r\n"
    );
    assert_eq!(answer.field("set-cookie"), None);
    assert_eq!(answer.field("service-worker-allowed"), None);
    assert_eq!(answer.field("access-control-allow-origin"), None);
    assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
    let policies = answer.fields.iter();
    let policies = policies.filter(|field| field.0 == "content-security-policy");
    let sandboxed = policies.filter(|field| field.1.starts_with("sandbox "));
    let sandboxed: Vec<_> = sandboxed.collect();
    assert_eq!(sandboxed.len(), 1, "{answer:?}");
    assert!(!sandboxed[0].1.contains("allow-same-origin"));
    for (location, expected) in [
        ("/c?d", "/ORIGIN/c?d"),
        ("http://other.example/c", "/other.example/c"),
        ("HTTP://other.example:81", "/other.example:81"),
        ("//other.example/c", "/other.example/c"),
        ("https://other.example/c", "https://other.example/c"),
        ("c/d", "c/d"),
    ] {
        let answer = ask(&format!("GET /ORIGIN/?{location}"), "Host: 127.0.0.1\r\n");
        let location = answer.field("location").map(|to| general(to, &address));
        assert_eq!(location.as_deref(), Some(expected));
    }
    assert_eq!(ask("HEAD /ORIGIN/", "Host: [::1]:1\r\n").status, 200);
    assert_eq!(ask("GET /ORIGIN", "Host: localhost\r\n").status, 200);
    assert!(
        origin
            .heads()
            .last()
            .is_some_and(|head| head.starts_with("GET / "))
    );
}

/// The fence around the path form: who may ask, and for what.
#[test]
fn the_path_form_is_fenced() {
    let origin = Origin::new().echoing();
    let proxy = passing("--allow-private");
    let check = |method: &str, fields: &str, status: u16| {
        let before = origin.heads().len();
        let line = format!("{method} /{}/a HTTP/1.1", origin.address);
        let answer = proxy.connect().ask(format!("{line}\r\n{fields}\r\n"));
        assert_eq!(answer.status, status, "{method} {fields:?}");
        assert_eq!(origin.heads().len() - before, usize::from(status == 200));
    };
    const LOCAL: &str = "Host: localhost:8888\r\n";
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        check(method, LOCAL, 405);
    }
    check("GET", "Host: rebound.example\r\n", 421);
    check("GET", "Host: localhost.evil.example\r\n", 421);
    for (site, dest, status) in [
        ("none", "document", 200),
        ("same-origin", "image", 200),
        ("cross-site", "document", 200),
        ("cross-site", "image", 403),
        ("cross-site", "empty", 403),
        ("same-site", "script", 403),
        ("cross-site", "iframe", 403),
    ] {
        let fields = format!("{LOCAL}Sec-Fetch-Site: {site}\r\nSec-Fetch-Dest: {dest}\r\n");
        check("GET", &fields, status);
    }
    // A site of this machine is for its own programs.
    let fenced = passing("");
    let line = format!("GET /{}/a HTTP/1.1", origin.address);
    let before = origin.heads().len();
    let answer = fenced.connect().ask(format!("{line}\r\n{LOCAL}\r\n"));
    assert_eq!(answer.status, 403);
    assert_eq!(proxy_error(&answer), "destination_ip_prohibited");
    assert_eq!(origin.heads().len(), before);
}

/// An address where nobody listens, for as long as the socket lives.
fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("loopback");
    let address = socket.local_addr().expect("bound").as_socket();
    (socket, address.expect("an address").to_string())
}

/// What the proxy answers where the origin does not, and that the connection goes on.
#[test]
fn failures() {
    let origin = Origin::new();
    let (_socket, refusing) = nobody();
    let proxy = passing("--answer-timeout 0.2");
    let mut client = proxy.connect();
    let mut check = |url: &str, status: u16, error: &str, words: &str| {
        let answer = client.ask(format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(answer.status, status, "{url}");
        assert_eq!(proxy_error(&answer), error, "{url}");
        let media_type = answer.field("content-type");
        assert_eq!(media_type, Some("text/plain; charset=utf-8"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert!(answer.text().contains(words), "{url}: {}", answer.text());
        let head = client.ask(format!("HEAD {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(head.status, status, "{url}");
    };
    let url = format!("http://{refusing}/");
    check(&url, 502, "connection_refused", "refuses the connection");
    check(
        &origin.url("/"),
        504,
        "http_response_timeout",
        "does not answer",
    );
    let url = "https://example.com/";
    check(url, 400, "http_request_error", "CONNECT");
    check("http://127.1/", 400, "http_request_error", "127.1");
    check(
        "http://169.254.169.254/",
        403,
        "destination_ip_prohibited",
        "169.254.169.254",
    );
    let answer = client.ask(format!("GET http://{refusing}/ HTTP/1.0\r\n\r\n"));
    assert_eq!(answer.status, 502);
    client.expect_end();
}

/// RFC 6761 section 6.4: no resolver knows it, with a network or without one.
#[test]
fn a_name_that_does_not_exist() {
    let proxy = passing("");
    let answer = proxy.get("http://no-such-host.invalid/");
    assert_eq!(answer.status, 502);
    assert!(proxy_error(&answer).starts_with("d"), "{answer:?}");
    assert!(answer.text().contains("no-such-host.invalid"));
}

/// A closed connection, and no other attempt on a new one.
#[test]
fn an_origin_that_closes_without_an_answer() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        origin.url("/")
    ));
    origin.accept().head();
    let answer = client.receive("GET").expect("an answer");
    assert_eq!(answer.status, 502);
    assert_eq!(proxy_error(&answer), "connection_terminated");
    origin.expect_no_more();
}

/// CVE-2025-62168 of squid: an error page that showed what only the origin should have seen.
#[test]
fn failures_are_pages_for_browsers_and_echo_nothing() {
    let (_socket, refusing) = nobody();
    let proxy = passing("");
    let line = format!("GET http://{refusing}/?<script>alert(1)</script>");
    let secrets = [
        "Cookie: a=secret",
        "Authorization: Basic secret",
        "Proxy-Authorization: Basic secret",
        "X: secret",
    ];
    for (accept, media_type) in [
        (
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html",
        ),
        ("Accept: */*", "text/plain"),
        ("X: y", "text/plain"),
    ] {
        let answer = proxy.ask(&line, &[&[accept], &secrets[..]].concat());
        assert_eq!(answer.status, 502);
        let expected = format!("{media_type}; charset=utf-8");
        assert_eq!(answer.field("content-type"), Some(expected.as_str()));
        let everything = format!("{answer:?}{}", answer.text());
        assert!(!everything.contains("secret"), "{everything}");
        assert!(!answer.text().contains("<script"), "{}", answer.text());
        assert!(answer.field("content-security-policy").is_some());
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
    let hostile = "http://<b>bold</b>.example/";
    let answer = proxy.ask(&format!("GET {hostile}"), &["Accept: text/html"]);
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("<b>"), "{}", answer.text());
}

/// RFC 9112 section 9.6: a client that says it has no more still waits for its answer.
#[test]
fn a_client_that_has_said_everything_gets_its_answer() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        origin.url("/")
    ));
    client.send_end();
    let mut connection = origin.accept();
    connection.head();
    connection.send(answer("", "hi"));
    assert_eq!(client.receive("GET").expect("an answer").text(), "hi");
    client.expect_end();
}

/// A client that goes away takes nobody else with it.
#[test]
fn a_client_that_goes_while_it_is_answered() {
    let (proxy, origin) = (passing(""), Origin::new());
    let client = TcpStream::connect(&proxy.address).expect("it serves");
    let get = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", origin.url("/"));
    std::io::Write::write_all(&mut &client, get.as_bytes()).expect("it reads");
    let mut connection = origin.accept();
    connection.head();
    drop(client);
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let mut octets = 0;
    while let Ok(count @ 1..) = std::io::Write::write(&mut connection.stream, &[0; 65_536]) {
        octets += count;
        assert!(octets < 100_000_000, "it is read to its end for nobody");
    }
    let origin = origin.echoing();
    assert_eq!(proxy.get(&origin.url("/")).status, 200);
}
