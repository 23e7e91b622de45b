//! By way of another proxy: what it is asked, and what becomes of its refusals.

use super::origin::{Answering, answer};
use super::*;
use crate::support::unused_port;

fn greeting() -> Answering {
    Origin::new().answering(|_| answer("", "hello"))
}

/// With a parent that the test plays.
fn through(parent: &Origin, credentials: &str, options: &str) -> Proxy {
    let address = &parent.address;
    passing(&format!(
        "--upstream {credentials}{address} --connect-ports 1-65535 {options}"
    ))
}

#[track_caller]
fn check_failure(answer: &Answer, kind: &str) {
    let told = answer.field("proxy-status").expect("a Proxy-Status");
    let is_told = told.starts_with(&format!("nsh; error={kind}"));
    assert!(answer.status == 502 && is_told, "{kind}: {answer:?}");
}

#[test]
fn what_is_no_parent() {
    for options in [
        "--upstream 127.0.0.1:1",
        "--upstream ftp://127.0.0.1",
        "--upstream https://127.0.0.1",
        "--upstream http://",
        "--upstream http://127.0.0.1:99999",
        "--upstream http://127.0.0.1:1/path",
        "--upstream socks5://user@127.0.0.1",
        "--upstream http://127.0.0.1:1 --origin http://127.0.0.1:2",
    ] {
        let ran = place().run(&["-q", "-c", &format!("proxy -p 0 --no-cache {options}")]);
        assert!(
            ran.status == 2 && ran.stderr.contains("proxy: "),
            "{options}: {ran:?}"
        );
    }
}

/// RFC 9112 section 3.2.2: a proxy is asked for the whole URL, whose host only it looks up.
#[test]
fn requests_to_a_parent() {
    for (credentials, field) in [
        ("http://", ""),
        (
            "http://ada:love@",
            "Proxy-Authorization: Basic YWRhOmxvdmU=\r\n",
        ),
    ] {
        let parent = Origin::new();
        let proxy = through(&parent, credentials, "");
        let mut client = proxy.connect();
        let mut far: Option<Connection> = None;
        for (line, expected) in [
            ("GET http://site.test/a?q", "GET http://site.test/a?q"),
            ("GET http://SITE.test:80/a//b", "GET http://site.test/a//b"),
            ("PUT http://site.test:81", "PUT http://site.test:81/"),
            ("OPTIONS http://site.test", "OPTIONS http://site.test"),
            ("GET http://[2606::1]:81/", "GET http://[2606::1]:81/"),
        ] {
            client.send(format!(
                "{line} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic own\r\n\r\n"
            ));
            // One connection is for all origins.
            let far = far.get_or_insert_with(|| parent.accept());
            let head = far.head();
            let (start, via) = head.split_once("Via: 1.1 nsh-").expect("a Via");
            let host = expected.split('/').nth(2).expect("a host");
            assert_eq!(
                start,
                format!("{expected} HTTP/1.1\r\nHost: {host}\r\n{field}")
            );
            assert_eq!(via.len(), "01234567\r\n\r\n".len(), "{head}");
            far.send(answer("", "hello"));
            assert_eq!(client.receive("GET").expect("an answer").text(), "hello");
        }
    }
}

#[test]
fn tunnels_through_a_parent() {
    for (credentials, field) in [
        ("http://", ""),
        (
            "http://ada:love@",
            "Proxy-Authorization: Basic YWRhOmxvdmU=\r\n",
        ),
    ] {
        let parent = Origin::new();
        let proxy = through(&parent, credentials, "");
        let mut client = proxy.dial();
        client.send(connect_to("site.test:443") + "early");
        let mut far = parent.accept();
        assert_eq!(
            far.head(),
            format!("CONNECT site.test:443 HTTP/1.1\r\nHost: site.test:443\r\n{field}\r\n")
        );
        // Whatever it says beside, and what the origin says at once.
        far.send("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nVia: x\r\n\r\nready");
        assert_eq!(client.head(), ESTABLISHED);
        assert_eq!(client.octets(5), b"ready");
        assert_eq!(far.octets(5), b"early");
        client.send("more");
        assert_eq!(far.octets(4), b"more");
        far.send_end();
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_parent_that_opens_no_tunnel() {
    for (said, kind) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret",
            "http_request_denied",
        ),
        (
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
            "http_request_denied",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n",
            "http_request_denied",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200", "connection_terminated"),
        ("", "connection_terminated"),
    ] {
        let parent = Origin::new();
        let proxy = through(&parent, "http://", "");
        let mut client = proxy.connect();
        client.send(connect_to("site.test:443"));
        let mut far = parent.accept();
        far.head();
        far.send(said);
        far.send_end();
        let answer = client.receive("CONNECT").expect("an answer");
        check_failure(&answer, kind);
        assert!(!answer.text().contains("secret") && !answer.text().contains("evil"));
        assert_eq!(answer.field("proxy-authenticate"), None);
        assert_eq!(far.rest(), b"", "{said}");
    }
}

/// RFC 9110 section 15.3.1 and 9.3.6: an interim answer is not the answer.
#[test]
fn an_interim_answer_opens_no_tunnel_yet() {
    let parent = Origin::new();
    let proxy = through(&parent, "http://", "");
    let mut client = proxy.dial();
    client.send(connect_to("site.test:443"));
    let mut far = parent.accept();
    far.head();
    far.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nready");
    assert_eq!(client.head(), ESTABLISHED);
    assert_eq!(client.octets(5), b"ready");
}

#[test]
fn a_parent_that_is_not_there() {
    let address = Origin::new().address;
    for scheme in ["http", "socks5"] {
        let proxy = passing(&format!(
            "--upstream {scheme}://{address} --connect-ports 1-65535"
        ));
        check_failure(&proxy.get("http://site.test/"), "connection_refused");
        let answer = proxy.connect().ask(connect_to("site.test:443"));
        check_failure(&answer, "connection_refused");
    }
}

/// Two of them in a row are no loop.
#[test]
fn a_chain() {
    let origin = greeting();
    let near = passing("--connect-ports 1-65535");
    for scheme in ["http://", "http://ada:love@"] {
        let far = passing(&format!(
            "--upstream {scheme}{} --connect-ports 1-65535",
            near.address
        ));
        let answer = far.get(&origin.url("/a"));
        assert_eq!((answer.status, answer.text()), (200, "hello"));
        let head = origin.heads().pop().expect("a request");
        let via = head.matches("1.1 nsh-").count();
        assert_eq!(via, 2, "{head}");
        assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("proxy-"), "{head}");
        let mut end = far.tunnel(&origin.address);
        end.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(end.head().starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(
            origin.heads().pop().as_deref(),
            Some("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        );
    }
}

/// Each is the other's parent: RFC 9110 section 7.6.3.
#[test]
fn a_circle_is_found() {
    // No other test listens here, so that a port that was free stays free.
    const OWN_ADDRESS: &str = "127.0.0.94";
    let port = unused_port(OWN_ADDRESS);
    let second = passing(&format!("--upstream http://{OWN_ADDRESS}:{port}"));
    let place = place();
    let command = format!(
        "proxy -b {OWN_ADDRESS} -p {port} --no-cache --upstream http://{}",
        second.address
    );
    let nsh = place.start(&["--json", "-c", &command]);
    let first = Proxy::of(place, nsh);
    for proxy in [&first, &second] {
        assert_eq!(proxy.get("http://site.test/").status, 508);
    }
}

/// What is denied here is not asked of a parent either.
#[test]
fn denied_hosts_stay_denied() {
    for scheme in ["http://", "socks5://"] {
        let parent = Origin::new();
        let proxy = through(
            &parent,
            scheme,
            "--answer-timeout 0.2 --connect-timeout 0.2 --deny *.bad.example --deny 10.0.0.0/8",
        );
        for host in ["www.bad.example", "10.1.2.3", "[::ffff:10.1.2.3]"] {
            let answer = proxy.get(&format!("http://{host}/"));
            assert_eq!(answer.status, 403, "{scheme} {host}: {answer:?}");
            let answer = proxy.connect().ask(connect_to(&format!("{host}:443")));
            assert_eq!(answer.status, 403, "{scheme} {host}: {answer:?}");
        }
        parent.expect_no_more();
    }
}

/// What others may not reach directly is not reached through a parent either.
#[test]
fn the_path_form_stays_fenced() {
    for scheme in ["http://", "socks5://"] {
        let parent = Origin::new();
        let proxy = through(
            &parent,
            scheme,
            "--answer-timeout 0.2 --connect-timeout 0.2",
        );
        for host in ["127.0.0.1:81", "[::1]:81", "10.1.2.3", "169.254.169.254"] {
            let head = format!("GET /{host}/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = proxy.connect().ask(head);
            assert_eq!(answer.status, 403, "{scheme} {host}: {answer:?}");
        }
        parent.expect_no_more();
    }
}

/// RFC 1928 section 4: CONNECT to a name.
const TO_NAME: &[u8] = b"\x05\x01\0\x03\x09site.test\0\x51";
/// RFC 1928 section 6: 192.0.2.1, port 1.
const CONNECTED: &[u8] = b"\x05\0\0\x01\xc0\0\x02\x01\0\x01";

/// The greeting without credentials, and the request.
#[track_caller]
fn open_socks(far: &mut Connection, request: &[u8]) {
    assert_eq!(far.octets(3), b"\x05\x01\0");
    far.send(b"\x05\0");
    assert_eq!(far.octets(request.len()), request);
}

#[test]
fn requests_through_socks() {
    for (url, request) in [
        ("http://site.test:81/a?q", TO_NAME),
        (
            "http://1.2.3.4:81/a?q",
            b"\x05\x01\0\x01\x01\x02\x03\x04\0\x51",
        ),
        (
            "http://[2606::1]:81/a?q",
            b"\x05\x01\0\x04\x26\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x51",
        ),
    ] {
        let parent = Origin::new();
        let proxy = through(&parent, "socks5://", "");
        let mut client = proxy.connect();
        client.send(format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut far = parent.accept();
        open_socks(&mut far, request);
        // However it comes.
        for octet in CONNECTED {
            far.send([*octet]);
        }
        let head = far.head();
        assert!(head.starts_with("GET /a?q HTTP/1.1\r\nHost: "), "{head}");
        far.send(answer("", "hello"));
        assert_eq!(client.receive("GET").expect("an answer").text(), "hello");
        // The connection is kept, for this origin.
        client.send(format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(far.head().starts_with("GET /a?q HTTP/1.1\r\n"));
        far.send(answer("", "again"));
        assert_eq!(client.receive("GET").expect("an answer").text(), "again");
    }
}

/// RFC 1929.
#[test]
fn credentials_for_socks() {
    let parent = Origin::new();
    let proxy = through(&parent, "socks5://ada:love@", "");
    for chosen in [b"\x05\x02", b"\x05\0"] {
        let mut client = proxy.dial();
        client.send(connect_to("site.test:81"));
        let mut far = parent.accept();
        assert_eq!(far.octets(4), b"\x05\x02\0\x02");
        far.send(chosen);
        if chosen[1] == 2 {
            assert_eq!(far.octets(10), b"\x01\x03ada\x04love");
            far.send(b"\x01\0");
        }
        assert_eq!(far.octets(TO_NAME.len()), TO_NAME);
        far.send(CONNECTED);
        assert_eq!(client.head(), ESTABLISHED);
        client.send("hello");
        assert_eq!(far.octets(5), b"hello");
    }
}

/// RFC 1928 section 6: what follows the reply is the destination's.
#[test]
fn an_origin_behind_socks_speaks_first() {
    let parent = Origin::new();
    let proxy = through(&parent, "socks5://", "");
    let mut client = proxy.dial();
    client.send(connect_to("site.test:81"));
    let mut far = parent.accept();
    open_socks(&mut far, TO_NAME);
    far.send([CONNECTED, b"220 ready\r\n"].concat());
    assert_eq!(client.head(), ESTABLISHED);
    far.send_end();
    assert_eq!(client.rest(), b"220 ready\r\n");
}

#[test]
fn socks_that_does_not_connect() {
    const CREDENTIALS: &[&[u8]] = &[b"\x05\x02", b"\x01\x01"];
    let cases: [(&str, &[&[u8]], &str); 9] = [
        ("socks5://", &[b"\x05\xff"], "destination_unavailable"),
        ("socks5://", &[b"\x05\x02"], "destination_unavailable"),
        ("socks5://", &[b"\x04\0"], "destination_unavailable"),
        (
            "socks5://",
            &[b"HTTP/1.1 400 Bad Request\r\n\r\n"],
            "destination_unavailable",
        ),
        (
            "socks5://",
            &[b"\x05\0", b"\x05\x05\0\x01\0\0\0\0\0\0"],
            "destination_unavailable",
        ),
        (
            "socks5://",
            &[b"\x05\0", b"\x05\x02"],
            "destination_unavailable",
        ),
        (
            "socks5://",
            &[b"\x05\0", b"\x05\0\0\x01\0"],
            "connection_terminated",
        ),
        ("socks5://", &[b"\x05"], "connection_terminated"),
        ("socks5://ada:love@", CREDENTIALS, "destination_unavailable"),
    ];
    for (scheme, said, kind) in cases {
        for request in [
            connect_to("site.test:81"),
            "GET http://site.test:81/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ] {
            let parent = Origin::new();
            let proxy = through(&parent, scheme, "");
            let mut client = proxy.connect();
            client.send(request);
            let mut far = parent.accept();
            let mut asked = [3 + usize::from(scheme.contains('@')), TO_NAME.len()];
            if scheme.contains('@') {
                asked[1] = 10;
            }
            for (octets, said) in asked.iter().zip(said) {
                far.octets(*octets);
                far.send(said);
            }
            far.send_end();
            let answer = client.receive("GET").expect("an answer");
            check_failure(&answer, kind);
        }
    }
}

/// A connection that an absolute-form request has left is not for the path form.
#[test]
fn kept_connections_through_socks_stay_fenced() {
    let parent = Origin::new();
    let proxy = through(&parent, "socks5://", "");
    let mut client = proxy.connect();
    client.send("GET http://127.0.0.1:81/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut far = parent.accept();
    open_socks(&mut far, b"\x05\x01\0\x01\x7f\0\0\x01\0\x51");
    far.send(CONNECTED);
    far.head();
    far.send(answer("", "secret"));
    assert_eq!(client.receive("GET").expect("an answer").text(), "secret");
    client.send("GET /127.0.0.1:81/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.receive("GET").expect("an answer");
    assert_eq!(answer.status, 403, "{answer:?}");
    proxy.stop();
    assert_eq!(far.rest(), b"");
}
