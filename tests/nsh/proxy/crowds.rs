//! Many who want the same at once: RFC 9111 section 4, last paragraph. Nobody may get what is not
//! for him, and nobody may take a part for the whole.

use std::io::Read;
use std::thread;
use std::time::Duration;

use super::origin::{Connection, answer};
use super::*;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);
const FRESH: &str = "Cache-Control: max-age=100000\r\n";

/// Sends a GET, and does not wait for the answer.
fn sent(proxy: &Proxy, url: &str, fields: &str) -> Client {
    let mut client = proxy.connect();
    let patience = Some(PATIENCE);
    client.stream.set_read_timeout(patience).expect("a socket");
    let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    client.send(request);
    client
}

/// Octets of the answer up to these, and not one more.
#[track_caller]
fn until(client: &Client, text: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(text.as_bytes()) {
        let mut octet = [0];
        let read = (&client.stream).read(&mut octet);
        let seen_so_far = String::from_utf8_lossy(&seen);
        assert_eq!(read.ok(), Some(1), "it ends behind {seen_so_far:?}");
        seen.push(octet[0]);
    }
    String::from_utf8(seen).expect("UTF-8")
}

/// All the rest, and whether it ends without a reset.
fn rest(client: &Client) -> (Vec<u8>, bool) {
    let mut octets = Vec::new();
    let read = (&client.stream).read_to_end(&mut octets);
    (octets, read.is_ok())
}

/// The first of a crowd, whose request has come to the origin.
fn first(proxy: &Proxy, origin: &Origin, fields: &str) -> (Client, Connection) {
    let client = sent(proxy, &origin.url("/"), fields);
    let mut connection = origin.accept();
    connection.head();
    (client, connection)
}

#[test]
fn a_hundred_make_one_request() {
    let (proxy, origin) = (caching(""), Origin::new());
    let body: Vec<u8> = (0_u32..20_000).flat_map(u32::to_be_bytes).collect();
    for framing in ["Content-Length", "Transfer-Encoding"] {
        let url = origin.url(&format!("/{framing}"));
        thread::scope(|scope| {
            let ask = || {
                let mut client = sent(&proxy, &url, "");
                client.receive("GET").expect("an answer")
            };
            let crowd: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
            let mut connection = origin.accept();
            connection.head();
            let length = body.len();
            let (head, before, behind) = match framing {
                "Content-Length" => (format!("Content-Length: {length}"), String::new(), ""),
                _ => (
                    "Transfer-Encoding: chunked".to_owned(),
                    format!("{length:x}\r\n"),
                    "\r\n0\r\n\r\n",
                ),
            };
            connection.send(format!("HTTP/1.1 200 OK\r\n{FRESH}{head}\r\n\r\n{before}"));
            connection.send(&body);
            connection.send(behind);
            for member in crowd {
                let answer = member.join().expect("an answer");
                let got = (answer.status, answer.body.len());
                assert_eq!(got, (200, length), "{framing} {:?}", answer.fields);
                assert!(answer.body == body);
            }
            // Whoever would have asked for himself is still on the line.
            assert!(!origin.has_more(), "there were more requests");
        });
    }
}

#[test]
fn everybody_gets_each_piece_as_it_comes() {
    for (framing, pieces) in [
        ("Content-Length: 11", ["first", " ", "last!"]),
        (
            "Transfer-Encoding: chunked",
            ["5\r\nfirst\r\n", "1\r\n \r\n", "5\r\nlast!\r\n0\r\n\r\n"],
        ),
        ("Connection: close", ["first", " ", "last!"]),
    ] {
        let (proxy, origin) = (caching(""), Origin::new());
        let url = origin.url("/");
        let (pilot, mut connection) = first(&proxy, &origin, "");
        connection.send(format!(
            "HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n\r\n{}",
            pieces[0]
        ));
        let mut crowd: Vec<_> = (0..20).map(|_| sent(&proxy, &url, "")).collect();
        crowd.push(pilot);
        let heads: Vec<String> = crowd.iter().map(|client| until(client, "first")).collect();
        connection.send(pieces[1]);
        // Late, and not too late.
        crowd.push(sent(&proxy, &url, ""));
        until(&crowd[21], "first");
        connection.send(pieces[2]);
        drop(connection);
        for (at, client) in crowd.iter().enumerate() {
            until(client, "last!");
            let (rest, is_orderly) = rest(client);
            assert!(is_orderly, "{framing}");
            let is_pilot = at == 20;
            let expected = match heads.get(at) {
                Some(head) if head.contains("chunked") => "\r\n0\r\n\r\n",
                None if framing != "Content-Length: 11" => "\r\n0\r\n\r\n",
                _ => "",
            };
            assert_eq!(String::from_utf8_lossy(&rest), expected, "{framing}");
            let Some(head) = heads.get(at) else { continue };
            assert_eq!(head.contains("; collapsed"), !is_pilot, "{head}");
        }
        assert!(!origin.has_more());
        // RFC 9111 section 4: an answer that is used without validation has an Age.
        for head in &heads[..20] {
            assert!(head.contains("\r\nAge: "), "{head}");
        }
    }
}

#[test]
fn age_and_ttl_are_those_of_the_answer() {
    let (proxy, origin) = (caching(""), Origin::new());
    let (_pilot, mut connection) = first(&proxy, &origin, "");
    connection.send(format!(
        "HTTP/1.1 200 OK\r\n{FRESH}Age: 5000\r\nContent-Length: 9\r\n\r\nfirst"
    ));
    let mut member = sent(&proxy, &origin.url("/"), "");
    // It rides along.
    let mut seen = [0];
    member.stream.peek(&mut seen).expect("a head");
    connection.send("last");
    let answer = member.receive("GET").expect("an answer");
    let age = answer.field("age").expect("one Age");
    assert!(age.starts_with("500"), "{answer:?}");
}

#[test]
fn the_first_may_go() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let (pilot, mut connection) = first(&proxy, &origin, "");
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
    connection.send(format!("{head}5\r\nfirst\r\n"));
    let mut crowd: Vec<_> = (0..5).map(|_| sent(&proxy, &url, "")).collect();
    for client in &crowd {
        let mut seen = [0];
        client.stream.peek(&mut seen).expect("a head");
    }
    drop(pilot);
    let piece = "x".repeat(0x1000);
    for _ in 0..100 {
        connection.send(format!("1000\r\n{piece}\r\n"));
    }
    connection.send("0\r\n\r\n");
    for client in &mut crowd {
        let answer = client.receive("GET").expect("an answer");
        assert_eq!(answer.body.len(), "first".len() + 100 * piece.len());
    }
    assert_eq!(
        proxy.get(&url).body.len(),
        "first".len() + 100 * piece.len()
    );
    assert!(!origin.has_more());
}

/// What is nearly there is worth having.
#[test]
fn the_only_one_may_go() {
    let (proxy, origin) = (caching(""), Origin::new());
    let (pilot, mut connection) = first(&proxy, &origin, "");
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Connection: close\r\nContent-Length: 9\r\n\r\n");
    connection.send(format!("{head}first"));
    until(&pilot, "first");
    drop(pilot);
    connection.send("last");
    // The proxy goes when it has stored it.
    assert!(connection.rest().is_empty());
    assert_eq!(proxy.get(&origin.url("/")).text(), "firstlast");
    assert!(!origin.has_more());
}

/// A client that takes nothing holds up nobody but himself.
#[test]
fn a_slow_first_does_not_hold_up_the_others() {
    const LENGTH: usize = 20 << 20;
    let (proxy, origin) = (caching(""), Origin::new());
    let (mut pilot, mut connection) = first(&proxy, &origin, "");
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {LENGTH}\r\n\r\n");
    connection.send(format!("{head}x"));
    let mut member = sent(&proxy, &origin.url("/"), "");
    let mut seen = [0];
    member.stream.peek(&mut seen).expect("a head");
    let sender = thread::spawn(move || connection.send(vec![b'x'; LENGTH - 1]));
    let answer = member.receive("GET").expect("an answer");
    assert_eq!(answer.body.len(), LENGTH);
    sender.join().expect("the proxy reads");
    let answer = pilot.receive("GET").expect("an answer");
    assert_eq!(answer.body.len(), LENGTH);
}

#[test]
fn nobody_gets_a_clean_end_of_what_broke_off() {
    for framing in [
        "Content-Length: 9",
        "Transfer-Encoding: chunked",
        "X: until-close",
    ] {
        let (proxy, origin) = (caching(""), Origin::new());
        let url = origin.url("/");
        let (pilot, mut connection) = first(&proxy, &origin, "");
        let piece = match framing {
            "Transfer-Encoding: chunked" => "5\r\nfirst\r\n",
            _ => "first",
        };
        connection.send(format!(
            "HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n\r\n{piece}"
        ));
        let mut crowd: Vec<_> = (0..10).map(|_| sent(&proxy, &url, "")).collect();
        crowd.push(pilot);
        let heads: Vec<_> = crowd.iter().map(|client| until(client, "first")).collect();
        connection.reset();
        for (client, head) in crowd.iter().zip(heads) {
            let (rest, _) = rest(client);
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("0\r\n\r\n"), "{framing}: {rest}");
            let is_framed = head.contains("Content-Length: 9") || head.contains("chunked");
            assert!(is_framed, "{head}");
        }
        let mut next = sent(&proxy, &url, "");
        let mut connection = origin.accept();
        connection.head();
        connection.send(answer(FRESH, "again"));
        let answer = next.receive("GET").expect("an answer");
        assert_eq!(answer.text(), "again");
    }
}

/// They have not got anything yet, so that they can ask for themselves.
#[test]
fn an_origin_that_closes_at_once_fails_everybody_alone() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let (mut pilot, connection) = first(&proxy, &origin, "");
    let mut member = sent(&proxy, &url, "");
    drop(connection);
    assert_eq!(pilot.receive("GET").expect("an answer").status, 502);
    let mut connection = origin.accept();
    connection.head();
    connection.send(answer(FRESH, "fine"));
    let answer = member.receive("GET").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "fine"));
}

/// RFC 9111 section 5.2.2.7.
#[test]
fn what_is_private_is_not_shared() {
    for says in ["private", "no-store"] {
        let (proxy, origin) = (caching(""), Origin::new());
        let url = origin.url("/");
        let (mut pilot, mut connection) = first(&proxy, &origin, "");
        let mut crowd: Vec<_> = (0..20)
            .map(|at| sent(&proxy, &url, &format!("Cookie: {at}\r\n")))
            .collect();
        let fields = format!("Cache-Control: {says}, max-age=60\r\n");
        connection.send(answer(&fields, "the first's"));
        let own = pilot.receive("GET").expect("an answer");
        assert_eq!(own.text(), "the first's");
        drop(connection);
        let origin = origin.answering(move |head| {
            let mut lines = head.lines();
            let cookie = lines.find_map(|line| line.strip_prefix("Cookie: "));
            answer(&fields, cookie.unwrap_or_default())
        });
        for (at, client) in crowd.iter_mut().enumerate() {
            let own = client.receive("GET").expect("an answer");
            assert_eq!(own.text(), at.to_string());
        }
        assert_eq!(origin.heads().len(), 20);
    }
}

/// RFC 9111 section 4.1.
#[test]
fn everybody_gets_his_own_variant() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let fields = format!("{FRESH}Vary: Accept-Language\r\n");
    let (mut pilot, mut connection) = first(&proxy, &origin, "Accept-Language: 0\r\n");
    let mut crowd: Vec<_> = (0..20)
        .map(|at| sent(&proxy, &url, &format!("Accept-Language: {}\r\n", at % 4)))
        .collect();
    connection.send(answer(&fields, "0"));
    assert_eq!(pilot.receive("GET").expect("an answer").text(), "0");
    let origin = origin.answering(move |head| {
        let mut lines = head.lines();
        let language = lines.find_map(|line| line.strip_prefix("Accept-Language: "));
        answer(&fields, language.unwrap_or_default())
    });
    drop(connection);
    for (at, client) in crowd.iter_mut().enumerate() {
        let answer = client.receive("GET").expect("an answer");
        assert_eq!(answer.text(), (at % 4).to_string());
    }
    let asked = origin.heads();
    assert!(!asked.iter().any(|head| head.contains("Accept-Language: 0")));
}

/// RFC 9111 sections 4 and 5.2.2.4: such an answer may be stored, and must not be used for
/// another request before the origin has been asked.
#[test]
fn what_must_be_validated_is_not_shared() {
    for says in ["no-cache", "max-age=0, must-revalidate", "s-maxage=0"] {
        let (proxy, origin) = (caching(""), Origin::new());
        let (mut pilot, mut connection) = first(&proxy, &origin, "");
        let fields = format!("Cache-Control: {says}\r\nETag: \"a\"\r\n");
        connection.send(format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: 9\r\n\r\nfirst"
        ));
        // The answer has begun.
        let mut seen = [0];
        pilot.stream.peek(&mut seen).expect("a head");
        let mut member = sent(&proxy, &origin.url("/"), "Cookie: other\r\n");
        let mut other = origin.accept();
        let head = other.head();
        assert!(head.contains("Cookie: other\r\n"), "{says}: {head}");
        other.send(answer(&fields, "second"));
        assert_eq!(member.receive("GET").expect("an answer").text(), "second");
        connection.send("last");
        assert_eq!(pilot.receive("GET").expect("an answer").text(), "firstlast");
    }
}

/// Neither a look at it nor one client's special wish keeps others from sharing.
#[test]
fn special_requests_do_not_end_the_sharing() {
    for (method, fields, says) in [
        ("HEAD", "", "200 OK"),
        (
            "GET",
            "If-None-Match: \"a\"\r\n",
            "304 Not Modified\r\nETag: \"a\"",
        ),
        ("GET", "Cache-Control: no-store\r\n", "200 OK"),
        ("GET", "Authorization: Basic eDp5\r\n", "200 OK"),
        (
            "GET",
            "Range: bytes=0-0\r\n",
            "206 Partial Content\r\nContent-Type: a/b\r\nContent-Range: bytes 0-0/0",
        ),
    ] {
        let (proxy, origin) = (caching(""), Origin::new());
        let url = origin.url("/");
        let mut special = proxy.connect();
        special.send(format!(
            "{method} {url} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"
        ));
        let mut connection = origin.accept();
        connection.head();
        let end = if says.starts_with("304") {
            ""
        } else {
            "Content-Length: 0\r\n"
        };
        connection.send(format!(
            "HTTP/1.1 {says}\r\n{FRESH}Connection: close\r\n{end}\r\n"
        ));
        special.receive(method).expect("an answer");
        let (mut pilot, mut connection) = first(&proxy, &origin, "");
        connection.send(format!(
            "HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 9\r\n\r\nfirst"
        ));
        let mut member = sent(&proxy, &url, "");
        // Its request would wait for an origin that does not look.
        let timeout = Some(Duration::from_secs(3));
        member.stream.set_read_timeout(timeout).expect("a socket");
        let mut seen = [0];
        let read = member.stream.peek(&mut seen);
        assert_eq!(
            read.ok(),
            Some(1),
            "{method} {fields:?}: it asks for itself"
        );
        connection.send("last");
        for client in [&mut pilot, &mut member] {
            let answer = client.receive("GET").expect("an answer");
            assert_eq!(answer.text(), "firstlast");
        }
    }
}

/// It is not stored, but everybody gets all of it.
#[test]
fn what_is_too_large_for_the_cache_is_whole_for_everybody() {
    let body = vec![b'x'; 100_000];
    for framing in ["Content-Length: 100000", "X: until-close"] {
        let (proxy, origin) = (caching("--cache-size 200k"), Origin::new());
        let url = origin.url("/");
        let (mut pilot, mut connection) = first(&proxy, &origin, "");
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\nConnection: close\r\n\r\n");
        connection.send(format!("{head}xxxxx"));
        let mut seen = [0];
        pilot.stream.peek(&mut seen).expect("a head");
        let mut member = sent(&proxy, &url, "");
        connection.send(&body[5..]);
        drop(connection);
        let whole = body.clone();
        let origin = origin.answering(move |_| answer(FRESH, &whole));
        for client in [&mut pilot, &mut member] {
            let answer = client.receive("GET").expect("an answer");
            assert_eq!(answer.body.len(), body.len(), "{framing}");
        }
        drop(origin);
    }
}

/// What was fetched before a change is not served after it.
#[test]
fn an_answer_under_way_does_not_outlive_a_change() {
    for is_purged in [false, true] {
        let (proxy, origin) = (caching(""), Origin::new());
        let url = origin.url("/");
        let (mut pilot, mut connection) = first(&proxy, &origin, "");
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 6\r\n\r\n");
        connection.send(format!("{head}be"));
        let mut seen = [0];
        pilot.stream.peek(&mut seen).expect("a head");
        if is_purged {
            assert_eq!(proxy.cache("purge all").status, 0);
        } else {
            let mut client = proxy.connect();
            client.send(format!(
                "PUT {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            ));
            let mut change = origin.accept();
            change.head();
            change.send(answer("Connection: close\r\n", ""));
            assert_eq!(client.receive("PUT").expect("an answer").status, 200);
        }
        connection.send("fore");
        assert_eq!(pilot.receive("GET").expect("an answer").text(), "before");
        drop(connection);
        let origin = origin.answering(|_| answer(FRESH, "behind"));
        assert_eq!(proxy.get(&url).text(), "behind", "purged: {is_purged}");
        drop(origin);
    }
}
