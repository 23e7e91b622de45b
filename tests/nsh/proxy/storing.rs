//! What is stored and what is not, what it is found by, and what an answer out of it looks like:
//! RFC 9111 sections 3 and 4, RFC 9211.

use std::fs;

use serde_json::{Value, json};

use super::origin::{Answering, answer, obliging};
use super::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const FRESH: &str = "Cache-Control: max-age=100000";

fn cache_status(answer: &Answer) -> &str {
    answer.field("cache-status").expect("a Cache-Status")
}

/// What `proxy cache` says, line by line.
#[track_caller]
fn events(proxy: &Proxy, command: &str, status: i32) -> Vec<Value> {
    let ran = proxy.cache(command);
    assert_eq!(ran.status, status, "{command}: {ran:?}");
    let parse = |line| {
        let mut event: Value = serde_json::from_str(line).expect("JSON");
        let time = event.as_object_mut().and_then(|event| event.remove("time"));
        assert!(time.is_some(), "{event}");
        event
    };
    ran.stdout.lines().map(parse).collect()
}

/// Numbered octets, so that a piece in the wrong place shows.
fn body(length: usize) -> Vec<u8> {
    let numbers = (0_u32..).flat_map(u32::to_be_bytes);
    numbers.take(length).collect()
}

#[test]
fn a_miss_and_then_a_hit() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/a?b");
    let mut client = proxy.connect();
    let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send(&request);
    let mut connection = origin.accept();
    let head = connection.head();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    connection.send(
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nCache-Control: max-age=100000\r\n\
         Age: 50\r\nX-Own: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-List: a\r\nX-List: b\r\n\r\nhi",
    );
    let miss = client.receive("GET").expect("an answer");
    assert_eq!(
        cache_status(&miss),
        "nsh; fwd=uri-miss; fwd-status=200; stored"
    );
    drop((connection, origin));
    let hit = client.ask(&request);
    for answer in [&miss, &hit] {
        assert_eq!((answer.status, answer.text()), (200, "hi"));
        assert_eq!(answer.field("x-own"), Some("1"));
        assert_eq!(answer.field("x-hop"), None);
        assert!(answer.has("x-list", "a") && answer.has("x-list", "b"));
        let via = answer.field("via").expect("a Via");
        assert!(via.starts_with("1.1 nsh-"), "{via}");
    }
    assert_eq!(miss.field("date"), hit.field("date"));
    assert!(cache_status(&hit).starts_with("nsh; hit; ttl=999"));
    assert!(hit.field("age").expect("an Age").starts_with('5'));
    proxy.stop();
}

/// A table of what becomes of answers.
struct Table {
    proxy: Proxy,
    origin: Answering,
    paths: usize,
}

impl Table {
    fn new() -> Table {
        Table {
            proxy: caching(""),
            origin: obliging(),
            paths: 0,
        }
    }

    /// Whether the answer with these lines, `;` between them, to a request with these fields
    /// answers a plain request after that.
    #[track_caller]
    fn check(&mut self, says: &str, fields: &[&str], is_stored: bool) {
        self.paths += 1;
        let path = format!("/{}", self.paths);
        let line = format!("GET {}", self.origin.url(&path));
        let says: Vec<&str> = says.split("; ").collect();
        let first = self.proxy.ask_saying(&line, &says, fields);
        let second = self.proxy.ask_saying(&line, &says, &[]);
        let what = format!("{says:?} {fields:?}: {first:?} {second:?}");
        assert_eq!(first.status, second.status, "{what}");
        let asked = self.origin.heads();
        let asked = asked.iter().filter(|head| head.contains(&path)).count();
        let expected = if is_stored { 1 } else { 2 };
        assert_eq!(asked, expected, "{what}");
        assert_eq!(first.body == second.body, is_stored, "{what}");
        let said = cache_status(&first).ends_with("; stored");
        assert_eq!(said, is_stored, "{what}");
    }
}

/// RFC 9111 sections 3 and 5.2.2.
#[test]
fn which_answers_are_stored() {
    let mut table = Table::new();
    let modified = format!("Last-Modified: {MODIFIED}");
    for says in [
        FRESH,
        "Cache-Control: s-maxage=600",
        "Cache-Control: public, max-age=600",
        "Cache-Control: max-age=600, must-revalidate",
        "Cache-Control: no-store, must-understand, max-age=600",
        "Expires: Thu, 31 Dec 2099 23:59:59 GMT",
        &modified,
        "Set-Cookie: a=b; Cache-Control: max-age=600",
        "404 Not Found; Cache-Control: max-age=600",
        "500 Oh; Cache-Control: max-age=600",
        "599 Odd; Cache-Control: max-age=600",
        "302 Found; Location: /x; Cache-Control: max-age=600",
        &format!("404 Not Found; {modified}"),
        &format!("301 Moved; Location: /x; {modified}"),
    ] {
        table.check(says, &[], true);
    }
    for says in [
        "X: y",
        "Cache-Control: no-store, max-age=600",
        "Cache-Control: max-age=600, NO-STORE",
        "Cache-Control: private, max-age=600",
        "Cache-Control: private=\"x\", max-age=600",
        "Cache-Control: max-age=600; Cache-Control: no-store",
        "Cache-Control: no-cache, max-age=600",
        "Cache-Control: max-age=600; Vary: *",
        "Cache-Control: max-age=600; Vary: a, *",
        &format!("Set-Cookie: a=b; {modified}"),
        &format!("302 Found; Location: /x; {modified}"),
        &format!("403 Forbidden; {modified}"),
        "429 Slow; Cache-Control: max-age=600",
        "599 Odd; Cache-Control: no-store, must-understand, max-age=600",
    ] {
        table.check(says, &[], false);
    }
}

/// RFC 9111 sections 3.5 and 5.2.1.5, and what could poison the cache.
#[test]
fn which_requests_have_their_answers_stored() {
    let mut table = Table::new();
    let authorization = ["Authorization: Basic eDp5"];
    table.check(FRESH, &authorization, false);
    for permission in ["public", "s-maxage=600", "must-revalidate"] {
        let says = format!("Cache-Control: max-age=600, {permission}");
        table.check(&says, &authorization, true);
    }
    table.check(FRESH, &["Cookie: a=b"], true);
    table.check(FRESH, &["Cache-Control: no-cache"], true);
    table.check(FRESH, &["Cache-Control: no-store"], false);
    table.check(FRESH, &["X-Forwarded-Host: evil.example"], false);
    table.check(FRESH, &["X-HTTP-Method-Override: POST"], false);
}

#[test]
fn methods() {
    let (proxy, origin) = (caching(""), obliging());
    let url = origin.url("/");
    let says = [FRESH, "ETag: \"a\""];
    let head = proxy.ask_saying(&format!("HEAD {url}"), &says, &[]);
    assert_eq!(head.field("content-length"), None);
    let post = ["Content-Length: 0"];
    let post = proxy.ask_saying(&format!("POST {url}"), &says, &post);
    assert_eq!(cache_status(&post), "nsh; fwd=method");
    let get = proxy.ask_saying(&format!("GET {url}"), &says, &[]);
    assert_eq!(get.text(), "answer 3");
    let head = proxy.ask_saying(&format!("HEAD {url}"), &says, &[]);
    assert!(cache_status(&head).starts_with("nsh; hit; ttl="));
    assert_eq!(head.field("content-length"), Some("8"));
    assert_eq!(head.field("etag"), Some("\"a\""));
    assert_eq!(head.field("content-type"), Some("text/plain"));
    // A request that HTTP lets differ by its body.
    let mut client = proxy.connect();
    let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    let answer = client.ask(request);
    assert_eq!(cache_status(&answer), "nsh; fwd=bypass");
    let answer = client.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(answer.text(), "answer 3");
}

/// RFC 9111 section 4.1.
#[test]
fn variants() {
    let (proxy, origin) = (caching(""), obliging());
    let line = format!("GET {}", origin.url("/"));
    let says = [FRESH, "Vary: Accept-Language, X-Kind"];
    let get = |fields: &[&str]| {
        let answer = proxy.ask_saying(&line, &says, fields);
        answer.text().to_owned()
    };
    assert_eq!(get(&["Accept-Language: en"]), "answer 1");
    assert_eq!(get(&["Accept-Language: de"]), "answer 2");
    assert_eq!(get(&["Accept-Language: en"]), "answer 1");
    assert_eq!(get(&["Accept-Language: de"]), "answer 2");
    assert_eq!(get(&[]), "answer 3");
    assert_eq!(get(&["Accept-Language: en", "X-Kind: 1"]), "answer 4");
    assert_eq!(get(&["accept-language:  EN;q=1", "Other: 1"]), "answer 1");
    let other = proxy.ask_saying(&line, &says, &["Accept-Language: fr"]);
    assert_eq!(
        cache_status(&other),
        "nsh; fwd=vary-miss; fwd-status=200; stored"
    );
    // They live on, all of them.
    let proxy = super::proxy(proxy.leave(), "--cache kept");
    let get = |fields: &[&str]| proxy.ask(&line, fields).text().to_owned();
    assert_eq!(get(&["Accept-Language: de"]), "answer 2");
    assert_eq!(get(&["Accept-Language: en"]), "answer 1");
    assert_eq!(get(&[]), "answer 3");
    assert_eq!(origin.heads().len(), 5);
}

/// RFC 9110 sections 13 and 14.
#[test]
fn conditions_and_ranges_are_answered_from_the_cache() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let fields = format!(
        "{FRESH}\r\nETag: \"a\"\r\nLast-Modified: {MODIFIED}\r\nContent-Type: text/plain\r\n"
    );
    let origin = origin.answering(move |_| answer(&fields, "0123456789"));
    assert_eq!(proxy.get(&url).text(), "0123456789");
    let check = |fields: &[&str], expected: &str| {
        let answer = proxy.ask(&format!("GET {url}"), fields);
        assert!(cache_status(&answer).starts_with("nsh; hit; ttl="));
        let range = answer.field("content-range").unwrap_or_default();
        let got = format!("{} {} {range}", answer.status, answer.text());
        assert_eq!(got.trim(), expected, "{fields:?}");
        let length = answer.body.len().to_string();
        if answer.status != 304 {
            assert_eq!(answer.field("content-length"), Some(&*length));
        }
        assert_eq!(answer.field("etag"), Some("\"a\""));
    };
    let whole = "200 0123456789";
    let part = "206 0123 bytes 0-3/10";
    check(&["Range: bytes=0-3"], part);
    check(&["Range: bytes=-2"], "206 89 bytes 8-9/10");
    check(&["Range: bytes=4-"], "206 456789 bytes 4-9/10");
    check(&["Range: bytes=9-99"], "206 9 bytes 9-9/10");
    check(&["Range: bytes=10-"], "416  bytes */10");
    check(&["Range: bytes=3-0"], whole);
    check(&["Range: lines=0-3"], whole);
    check(&["Range: bytes=0-3", "If-Range: \"a\""], part);
    check(&["Range: bytes=0-3", "If-Range: \"b\""], whole);
    check(&["Range: bytes=0-3", "If-Range: W/\"a\""], whole);
    check(&["Range: bytes=10-", "If-Range: \"b\""], whole);
    let date = format!("If-Range: {EARLIER}");
    check(&["Range: bytes=0-3", &date], whole);
    let since = format!("If-Modified-Since: {MODIFIED}");
    let before = format!("If-Modified-Since: {EARLIER}");
    check(&[&since], "304");
    check(&[&before], whole);
    check(&["If-Modified-Since: yesterday"], whole);
    for tags in ["\"a\"", "W/\"a\"", "*", "\"x\", \"a\""] {
        check(&[&format!("If-None-Match: {tags}")], "304");
    }
    check(&["If-None-Match: \"b\""], whole);
    check(&["If-None-Match: \"b\"", &since], whole);
    check(&["If-None-Match: \"a\"", &before], "304");
    check(&["If-None-Match: \"a\"", "Range: bytes=0-3"], "304");
    check(&["If-None-Match: \"b\"", "Range: bytes=0-3"], part);
    let head = |fields: &[&str]| proxy.ask(&format!("HEAD {url}"), fields);
    let answer = head(&["Range: bytes=0-3"]);
    assert_eq!(
        (answer.status, answer.field("content-length")),
        (200, Some("10"))
    );
    assert_eq!(head(&["If-None-Match: \"a\""]).status, 304);
    assert_eq!(origin.heads().len(), 1);
    // RFC 9111 section 4.3.2: these are for the origin.
    for condition in [
        "If-Match: \"a\"",
        &format!("If-Unmodified-Since: {MODIFIED}"),
    ] {
        let answer = proxy.ask(&format!("GET {url}"), &[condition]);
        assert_eq!(cache_status(&answer), "nsh; fwd=bypass");
        let heads = origin.heads();
        assert!(heads.last().is_some_and(|head| head.contains(condition)));
    }
    assert_eq!(origin.heads().len(), 3);
}

/// A range of what is not stored is the origin's business.
#[test]
fn a_part_is_not_taken_for_the_whole() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let origin = origin.answering(|head| match head.contains("Range: bytes=0-1\r\n") {
        true => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\n{FRESH}\r\n\
             ETag: \"a\"\r\nContent-Range: bytes 0-1/4\r\nContent-Length: 2\r\n\r\nab"
        )
        .into_bytes(),
        false => answer(&format!("{FRESH}\r\nETag: \"a\"\r\n"), "abcd"),
    });
    let line = format!("GET {url}");
    let part = proxy.ask(&line, &["Range: bytes=0-1"]);
    assert_eq!((part.status, part.text()), (206, "ab"));
    let whole = proxy.get(&url);
    assert_eq!((whole.status, whole.text()), (200, "abcd"));
    assert_eq!(proxy.get(&url).text(), "abcd");
    assert_eq!(origin.heads().len(), 2);
}

/// However its end is told, and larger than what is kept in memory.
#[test]
fn bodies_of_any_framing_and_size() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = |path: &str| origin.url(path);
    for (length, is_piecewise) in [(0, true), (1, true), (70_000, true), (5 << 20, false)] {
        let body = body(length);
        for framing in ["length", "chunked", "close"] {
            let path = format!("/{framing}/{length}");
            let mut client = proxy.connect();
            client.send(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", url(&path)));
            let mut connection = origin.accept();
            let head = connection.head();
            assert!(head.contains(&path), "{head}");
            let framed = match framing {
                "length" => format!("Content-Length: {length}\r\n"),
                "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                _ => String::new(),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\n{FRESH}\r\nContent-Type: a/b\r\n{framed}Connection: close\r\n\r\n"
            );
            let sent = body.clone();
            let sender = std::thread::spawn(move || {
                connection.send(head);
                let pieces = if is_piecewise { 3000 } else { 1 << 20 };
                for piece in sent.chunks(pieces) {
                    if framing == "chunked" {
                        connection.send(format!("{:x};ext=1\r\n", piece.len()));
                    }
                    connection.send(piece);
                    if framing == "chunked" {
                        connection.send("\r\n");
                    }
                }
                if framing == "chunked" {
                    connection.send("0\r\n\r\n");
                }
            });
            let answer = client.receive("GET").expect("an answer");
            sender.join().expect("it sends");
            assert!(answer.body == body, "{path}");
            let hit = proxy.get(&url(&path));
            assert!(hit.body == body && cache_status(&hit).starts_with("nsh; hit"));
            assert_eq!(hit.field("content-length"), Some(&*length.to_string()));
            if length > 10 {
                let range = format!("Range: bytes={}-", length - 10);
                let part = proxy.ask(&format!("GET {}", url(&path)), &[&range]);
                assert!(part.body == body[length - 10..], "{path}");
            }
        }
    }
}

/// RFC 9111 section 3.3, RFC 9112 section 8: what broke off is not stored, and does not look
/// whole to the client.
#[test]
fn incomplete_answers() {
    let proxy = caching("");
    let check = |head: &str, body: &str, is_reset: bool, version: &str| {
        let origin = Origin::new();
        let url = origin.url("/");
        let mut client = proxy.connect();
        client.send(format!("GET {url} HTTP/{version}\r\nHost: x\r\n\r\n"));
        let mut connection = origin.accept();
        connection.head();
        connection.send(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\n{head}\r\n"));
        connection.send(body);
        let what = format!("{head:?} {body:?} HTTP/{version}");
        if is_reset {
            // The first octets are through before.
            let mut seen = [0; 1];
            client.stream.peek(&mut seen).expect("a head");
            connection.reset();
        } else {
            drop(connection);
        }
        let (rest, is_orderly) = raw(&client);
        let ends = rest.ends_with("\r\n0\r\n\r\n");
        assert!(!ends, "{what}: {rest}");
        let has_framing = rest.contains("Content-Length: 9") || rest.contains("chunked");
        let is_clear = has_framing || rest.is_empty() || !is_orderly;
        assert!(is_clear, "{what}: {rest}");
        client = proxy.connect();
        client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let mut connection = origin.accept();
        connection.head();
        connection.send(answer("", "whole"));
        let answer = client.receive("GET").expect("an answer");
        assert_eq!(answer.text(), "whole", "{what}");
    };
    for version in ["1.1", "1.0"] {
        check("Content-Length: 9\r\n", "four", false, version);
        check("Content-Length: 9\r\n", "", false, version);
        check("Content-Length: 9\r\n", "four", true, version);
        let chunked = "Transfer-Encoding: chunked\r\n";
        check(chunked, "4\r\nfour\r\n", false, version);
        check(chunked, "4\r\nfo", false, version);
        check(chunked, "4\r\nfour\r\n0\r\n", false, version);
        check(chunked, "4\r\nfour\r\n4\r\n", true, version);
        check(chunked, "4\r\nfour\r\nx\r\n", false, version);
        check("", "four", true, version);
    }
    assert_eq!(
        stored_files(&proxy.place.path().join("kept")),
        Vec::<PathBuf>::new()
    );
}

/// RFC 9110 section 15.6.3: nothing of the answer has gone to the client.
#[test]
fn an_answer_that_cannot_be_read_is_told() {
    for options in ["", "--rate 100M"] {
        let (proxy, origin) = (caching(options), Origin::new());
        let url = origin.url("/");
        let origin = origin.answering(|_| {
            let head = format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nTransfer-Encoding: chunked\r\n");
            format!("{head}\r\nno chunk\r\n").into_bytes()
        });
        let answer = proxy.get(&url);
        assert_eq!(answer.status, 502);
        assert_eq!(origin.heads().len(), 1);
    }
}

/// What comes until the end, and whether that was no reset.
fn raw(client: &Client) -> (String, bool) {
    use std::io::Read;
    let mut octets = Vec::new();
    let read = (&client.stream).read_to_end(&mut octets);
    (String::from_utf8_lossy(&octets).into_owned(), read.is_ok())
}

/// A client of before 1997 gets what is stored, too.
#[test]
fn http_1_0() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let origin = origin.answering(|_| {
        let chunks = "4\r\nfour\r\n0\r\n\r\n";
        format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
            .into_bytes()
    });
    for _ in 0..2 {
        let mut client = proxy.connect();
        let answer = client.ask(format!("GET {url} HTTP/1.0\r\n\r\n"));
        assert_eq!(answer.text(), "four");
        assert_eq!(answer.field("transfer-encoding"), None);
        client.expect_end();
    }
    let mut client = proxy.connect();
    let request = format!("GET {url} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    for _ in 0..2 {
        let answer = client.ask(&request);
        assert_eq!(answer.field("content-length"), Some("4"));
        assert!(answer.has("connection", "keep-alive"));
    }
    assert_eq!(origin.heads().len(), 1);
}

/// A parent proxy, so that URLs may have any host.
fn under_parent(options: &str) -> (Proxy, Answering) {
    let origin = Origin::new();
    let parent = format!("--upstream http://{}", origin.address);
    let proxy = caching(&format!("{parent} {options}"));
    let origin = origin.answering(|head| {
        let line = head.lines().next().unwrap_or_default();
        answer(&format!("{FRESH}\r\n"), line)
    });
    (proxy, origin)
}

/// RFC 9110 section 4.2.3: the same resource, or another one.
#[test]
fn urls_are_told_apart() {
    let (proxy, origin) = under_parent("");
    let get = |url: &str| {
        let mut client = proxy.connect();
        let answer = client.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        (answer.status, answer.text().to_owned())
    };
    let same = [
        "http://a.test/",
        "http://A.Test/",
        "HTTP://a.test:80/",
        "http://a.test",
        "http://a.test:/",
    ];
    for url in same {
        let expected = "GET http://a.test/ HTTP/1.1".to_owned();
        assert_eq!(get(url), (200, expected), "{url}");
    }
    assert_eq!(origin.heads().len(), 1);
    let long = format!("http://a.test/{}", "x".repeat(4096));
    let others = [
        "http://a.test/?",
        "http://a.test/?a",
        "http://a.test/?b",
        "http://a.test//",
        "http://a.test:8080/",
        "http://b.test/",
        "http://a.test/a",
        "http://a.test/a/",
        "http://a.test/A",
        "http://a.test/a/b",
        "http://a.test/%61",
        "http://a.test/../../../../tmp/x",
        "http://a.test/%2e%2e/%2e%2e/x",
        "http://a.test/..%2f..%2fx",
        "http://a.test/%00",
        "http://a.test/lock",
        "http://a.test/CACHEDIR.TAG",
        &long,
        &format!("{long}y"),
    ];
    for _ in 0..2 {
        for url in others {
            let expected = format!("GET {url} HTTP/1.1");
            assert_eq!(get(url), (200, expected));
        }
    }
    assert_eq!(origin.heads().len(), 1 + others.len());
    // All of that lies in the folder, by names of the proxy's own.
    let place = proxy.leave();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
    };
    assert_eq!(names(place.path()), ["kept"]);
    let files = stored_files(&place.path().join("kept"));
    assert_eq!(files.len(), 1 + others.len());
    for file in files {
        let path = file.strip_prefix(place.path()).expect("inside");
        let text = path.to_str().expect("ASCII");
        let is_hash = |octet: u8| octet.is_ascii_hexdigit() || b"-/".contains(&octet);
        let hash = text.strip_prefix("kept/").expect("inside");
        assert!(hash.bytes().all(is_hash) && text.len() < 100, "{text}");
    }
}

/// RFC 9111 section 4.4.
#[test]
fn unsafe_methods_invalidate() {
    let (proxy, origin) = (caching(""), obliging());
    let (elsewhere, foreign) = (obliging(), "/foreign");
    let stored = |method: &str, says: &[&str]| {
        for path in ["/a", "/b", "/c", "/d"] {
            proxy.ask_saying(&format!("GET {}", origin.url(path)), &[FRESH], &[]);
        }
        let url = elsewhere.url(foreign);
        proxy.ask_saying(&format!("GET {url}"), &[FRESH], &[]);
        let line = format!("{method} {}", origin.url("/a"));
        proxy.ask_saying(&line, says, &["Content-Length: 0"]);
        let is_hit = |url: String| {
            let only = ["Cache-Control: only-if-cached"];
            proxy.ask(&format!("GET {url}"), &only).status != 504
        };
        let paths = ["/a", "/b", "/c", "/d"].map(|path| is_hit(origin.url(path)));
        assert!(is_hit(url), "another site's");
        paths
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        assert_eq!(stored(method, &[]), [false, true, true, true], "{method}");
    }
    let created = ["201 Created", &format!("Location: {}", origin.url("/b"))];
    assert_eq!(stored("POST", &created), [false, false, true, true]);
    let other = ["303 Other", "Location: /c", "Content-Location: /d"];
    assert_eq!(stored("POST", &other), [false, true, false, false]);
    let relative = ["Content-Location: b"];
    assert_eq!(stored("PUT", &relative), [false, false, true, true]);
    let far = format!("Location: {}", elsewhere.url(foreign));
    assert_eq!(stored("POST", &[&far]), [false, true, true, true]);
    for status in ["404 No", "500 Oh", "503 Oh"] {
        assert_eq!(stored("DELETE", &[status]), [true; 4], "{status}");
    }
    assert_eq!(stored("OPTIONS", &[]), [true; 4]);
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let (proxy, origin) = (passing(""), obliging());
    let line = format!("GET {}", origin.url("/"));
    for expected in ["answer 1", "answer 2"] {
        let answer = proxy.ask_saying(&line, &[FRESH], &[]);
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.field("cache-status"), None);
    }
    let ran = proxy.cache("list");
    assert_eq!((ran.status, ran.stdout.as_str()), (69, ""));
    assert!(ran.stderr.contains("no cache"), "{}", ran.stderr);
    assert_eq!(
        fs::read_dir(proxy.place.path()).expect("a folder").count(),
        0
    );
}

#[test]
fn the_cache_stays_as_small_as_it_is_told() {
    const MAX: u64 = 100_000;
    let (proxy, origin) = (caching("--cache-size 100000"), Origin::new());
    let url = |n: usize| origin.url(&format!("/{n}"));
    let urls: Vec<String> = (0..40).map(url).collect();
    let large = origin.url("/large");
    let origin = origin.answering(|head| {
        let length = if head.contains("/large") {
            30_000
        } else {
            9000
        };
        answer(&format!("{FRESH}\r\n"), body(length))
    });
    for url in &urls {
        // What is used stays.
        for url in [url, &urls[0]] {
            assert!(proxy.get(url).body == body(9000));
        }
    }
    assert!(proxy.get(&large).body == body(30_000));
    let listed = events(&proxy, "list", 0);
    let (usage, listed) = listed.split_last().expect("a summary");
    let octets = usage["octets"].as_u64().expect("a number");
    assert_eq!(usage["octets_max"], MAX);
    assert!((60_000..=MAX).contains(&octets), "{usage}");
    let kept: Vec<&str> = listed
        .iter()
        .filter_map(|kept| kept["url"].as_str())
        .collect();
    assert!(kept.contains(&&*urls[0]) && kept.contains(&&*urls[39]));
    assert!(!kept.contains(&&*urls[1]) && !kept.contains(&&*large));
    let folder = proxy.place.path().join("kept");
    let on_disk = stored_files(&folder)
        .into_iter()
        .map(|file| file.metadata().expect("a file").len());
    // Whole blocks, which is what they take.
    let on_disk = on_disk.map(|octets| octets.next_multiple_of(4096));
    assert_eq!(on_disk.sum::<u64>(), octets);
    assert_eq!(origin.heads().len(), 41);
}

#[test]
fn a_folder_is_for_one_proxy() {
    let proxy = caching("");
    let ran = proxy.place.run(&["-c", "proxy -p 0 --cache kept"]);
    assert_eq!(ran.status, 69);
    assert_eq!(
        ran.stderr,
        "proxy: cannot use kept as a cache: another proxy uses it; --cache DIR takes \
         another folder, --no-cache none\n"
    );
    // And for the next one afterwards.
    super::proxy(proxy.leave(), "--cache kept").stop();
}

/// `proxy cache`, from another process.
#[test]
fn what_is_kept_can_be_seen() {
    let (proxy, origin) = (caching(""), obliging());
    let urls = ["/a", "/b", "/gone"].map(|path| origin.url(path));
    let says = [FRESH, "Vary: X-Kind", "ETag: \"a\""];
    proxy.ask_saying(&format!("GET {}", urls[0]), &says, &["X-Kind: 1"]);
    proxy.ask_saying(&format!("GET {}", urls[0]), &says, &["X-Kind: 1"]);
    let stale = ["Cache-Control: max-age=60", "Age: 100"];
    proxy.ask_saying(&format!("GET {}", urls[1]), &stale, &[]);

    let mut listed = events(&proxy, "list", 0);
    for event in &mut listed {
        let octets = event["age_seconds"].take();
        assert!(octets.is_null() || octets.as_u64().is_some_and(|age| age < 60));
    }
    let cached = |url: &str, is_fresh: bool, uses: u32| {
        json!({
            "event": "cached", "url": url, "status": 200, "octets": 8,
            "age_seconds": null, "is_fresh": is_fresh, "uses": uses,
        })
    };
    assert_eq!(listed[0], cached(&urls[0], true, 1));
    assert_eq!(listed[1], cached(&urls[1], false, 0));
    assert_eq!(
        (&listed[2]["event"], &listed[2]["entries"]),
        (&json!("cache"), &json!(2))
    );
    assert_eq!(listed.len(), 3);

    let shown = &events(&proxy, &format!("show {}", urls[0]), 0)[0];
    assert_eq!(shown["event"], "stored_response");
    assert_eq!(shown["selecting"], json!([["x-kind", "1"]]));
    let fields = shown["fields"].as_array().expect("fields");
    assert!(fields.contains(&json!(["ETag", "\"a\""])), "{shown}");
    events(&proxy, &format!("show {}", urls[2]), 1);

    let why = |url: &str, options: &str, status: i32| {
        let why = events(&proxy, &format!("why {url} {options}"), status).remove(0);
        assert_eq!(
            (&why["event"], &why["is_stored"]),
            (&json!("why"), &json!(status == 0))
        );
        why["lines"].to_string()
    };
    let fresh = why(&urls[0], "-H 'X-Kind: 1'", 0);
    assert!(fresh.contains("so it is fresh for 1 d 3 h 46 m"), "{fresh}");
    let other = why(&urls[0], "-H 'X-Kind: 2'", 1);
    assert!(other.contains("with another x-kind"), "{other}");
    let reload = why(&urls[0], "-H 'X-Kind: 1' -H 'Cache-Control: no-cache'", 0);
    assert!(reload.contains("the request says no-cache"), "{reload}");
    let stale = why(&urls[1], "", 0);
    assert!(
        stale.contains("so the origin is asked first: it is stale"),
        "{stale}"
    );
    let nothing = why(&urls[2], "", 1);
    assert!(nothing.contains("nothing is stored"), "{nothing}");
    assert_eq!(origin.heads().len(), 2);
}

/// However one writes a URL, it means the same resource as in a request.
#[test]
fn what_is_kept_is_found_by_any_spelling() {
    let (proxy, _origin) = under_parent("");
    proxy.get("http://a.test/");
    for url in [
        "http://a.test/",
        "a.test",
        "http://a.test",
        "HTTP://A.Test:80/",
        "A.test:80",
    ] {
        let ran = proxy.cache(&format!("why {url}"));
        assert_eq!(ran.status, 0, "{url}: {ran:?}");
        let ran = proxy.cache(&format!("show {url}"));
        assert_eq!(ran.status, 0, "{url}: {ran:?}");
        proxy.get("http://a.test/");
        let purged = events(&proxy, &format!("purge {url}"), 0);
        assert_eq!(
            purged,
            [json!({"event": "purged", "responses": 1})],
            "{url}"
        );
        proxy.get("http://a.test/");
    }
}

#[test]
fn what_is_kept_can_be_purged() {
    let (proxy, origin) = (caching(""), obliging());
    let fill = || {
        for path in ["/a/1", "/a/2", "/b/1.png", "/b/1.png?c"] {
            let line = format!("GET {}", origin.url(path));
            // Twice, so that it is in memory as well.
            for _ in 0..2 {
                proxy.ask_saying(&line, &[FRESH], &[]);
            }
        }
    };
    let check = |pattern: &str, expected: &[&str]| {
        fill();
        let purged = events(&proxy, &format!("purge '{pattern}'"), 0);
        let responses = expected.len();
        assert_eq!(
            purged,
            [json!({"event": "purged", "responses": responses})],
            "{pattern}"
        );
        for path in ["/a/1", "/a/2", "/b/1.png", "/b/1.png?c"] {
            let only = ["Cache-Control: only-if-cached"];
            let answer = proxy.ask(&format!("GET {}", origin.url(path)), &only);
            let is_gone = answer.status == 504;
            assert_eq!(is_gone, expected.contains(&path), "{pattern} {path}");
        }
    };
    check(&origin.url("/a/1"), &["/a/1"]);
    check(&origin.url("/a/"), &["/a/1", "/a/2"]);
    check(&origin.address, &["/a/1", "/a/2", "/b/1.png", "/b/1.png?c"]);
    check("*.png", &["/b/1.png"]);
    check(&origin.url("/b/1.png?*"), &["/b/1.png?c"]);
    check(&origin.url("/c"), &[]);
    check("http://elsewhere.test/", &[]);
    check("all", &["/a/1", "/a/2", "/b/1.png", "/b/1.png?c"]);
    assert_eq!(
        stored_files(&proxy.place.path().join("kept")),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn what_is_damaged_is_found_and_removed() {
    let (proxy, origin) = (caching(""), obliging());
    for path in ["/a", "/b", "/c"] {
        proxy.ask_saying(&format!("GET {}", origin.url(path)), &[FRESH], &[]);
    }
    let sound = events(&proxy, "verify", 0);
    assert_eq!(sound[0]["responses"], 3);
    assert_eq!(
        (&sound[0]["event"], &sound[0]["damaged"]),
        (&json!("verified"), &json!([]))
    );
    let files = stored_files(&proxy.place.path().join("kept"));
    let mut octets = fs::read(&files[0]).expect("a file");
    octets[0] ^= 1;
    fs::write(&files[0], octets).expect("room");
    fs::remove_file(&files[1]).expect("a file");
    let damaged = events(&proxy, "verify", 1);
    assert_eq!(damaged[0]["responses"], 1);
    assert_eq!(damaged[0]["damaged"].as_array().map(Vec::len), Some(2));
    assert_eq!(events(&proxy, "verify", 0)[0]["responses"], 1);
    for path in ["/a", "/b", "/c"] {
        let answer = proxy.ask_saying(&format!("GET {}", origin.url(path)), &[FRESH], &[]);
        assert!(answer.text().starts_with("answer "));
    }
    assert_eq!(origin.heads().len(), 5);
}

#[test]
fn there_must_be_a_proxy_to_ask() {
    let origin = Origin::new();
    let port = origin
        .address
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    drop(origin);
    let place = place();
    for command in ["list", "show a.test", "why a.test", "purge all", "verify"] {
        let ran = place.run(&["-c", &format!("proxy cache {command} -p {port}")]);
        assert_eq!((ran.status, ran.stdout.as_str()), (69, ""), "{command}");
        let hint = format!("start a proxy there with 'proxy -p {port}'");
        assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    }
    // Something else is there.
    let origin = obliging();
    let port = origin.address.rsplit(':').next().expect("a port");
    let ran = place.run(&["-c", &format!("proxy cache list -p {port}")]);
    assert_eq!(ran.status, 69);
    assert!(
        ran.stderr
            .contains("does not answer as a proxy of nsh does"),
        "{}",
        ran.stderr
    );
}

/// Pages of other sites cannot empty the cache of who visits them.
#[test]
fn other_sites_may_not_purge() {
    let (proxy, origin) = (caching(""), obliging());
    let line = format!("GET {}", origin.url("/"));
    proxy.ask_saying(&line, &[FRESH], &[]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7";
    let mut statuses = Vec::new();
    for (host, fields) in [
        ("evil.test", ""),
        (&*proxy.address, "Origin: http://evil.test\r\n"),
        (&*proxy.address, "Sec-Fetch-Site: cross-site\r\n"),
    ] {
        let head = format!("POST /-/cache/purge HTTP/1.1\r\nHost: {host}\r\n{fields}{form}");
        let mut client = proxy.connect();
        client.send(format!("{head}\r\n\r\nall=yes"));
        statuses.push(client.receive("POST").expect("an answer").status);
    }
    assert!(
        statuses.iter().all(|status| (400..500).contains(status)),
        "{statuses:?}"
    );
    assert_eq!(proxy.ask_saying(&line, &[FRESH], &[]).text(), "answer 1");
}

/// RFC 9111 sections 3.3 and 3.4: a table of what the origin says when it is asked for the rest.
#[test]
fn a_download_that_broke_off_goes_on() {
    const LENGTH: usize = 200_000;
    const HALF: usize = LENGTH / 2;
    let proxy = caching("");
    let whole = body(LENGTH);
    // What the origin says of the second half, and whether that is one.
    let check = |status: &str, fields: &str, sent: &[u8], is_rest: bool| {
        let origin = Origin::new();
        let url = origin.url("/");
        let mut client = proxy.connect();
        client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let mut connection = origin.accept();
        connection.head();
        let head = format!("{FRESH}\r\nETag: \"a\"\r\nContent-Type: a/b\r\n");
        connection.send(format!(
            "HTTP/1.1 200 OK\r\n{head}Content-Length: {LENGTH}\r\n\r\n"
        ));
        connection.send(&whole[..HALF]);
        drop(connection);
        assert!(client.rest().len() < LENGTH, "{fields}");

        // What is there answers a range of it, and not the whole.
        let part = proxy.ask(&format!("GET {url}"), &["Range: bytes=1000-1999"]);
        assert!(part.status == 206 && part.body == whole[1000..2000]);
        assert!(cache_status(&part).starts_with("nsh; hit"));
        let range = format!("bytes 1000-1999/{LENGTH}");
        assert_eq!(part.field("content-range"), Some(&*range));

        let mut client = proxy.connect();
        client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let mut connection = origin.accept();
        let question = connection.head();
        let asked = format!("Range: bytes={HALF}-\r\nIf-Range: \"a\"\r\n");
        assert!(question.contains(&asked), "{question}");
        let length = sent.len();
        connection.send(format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Type: a/b\r\nContent-Length: {length}\r\n\r\n"
        ));
        connection.send(sent);
        let is_new = status.starts_with("200");
        if !is_rest && !is_new {
            // Then as if nothing were stored.
            connection = origin.accept();
            let question = connection.head();
            assert!(!question.contains("Range"), "{fields}: {question}");
            connection.send(answer(&head, &whole));
        }
        let answered = client.receive("GET").expect("an answer");
        let expected = if is_new { sent } else { &whole };
        assert_eq!(answered.status, 200, "{status} {fields}");
        assert!(answered.body == expected, "{status} {fields}");
        let reason = "nsh; fwd=partial; fwd-status=";
        assert!(cache_status(&answered).starts_with(reason));
        drop((connection, origin));
        let hit = proxy.get(&url);
        assert!(hit.status == 200 && hit.body == expected);
        assert_eq!(hit.field("content-range"), None);
        for answer in [answered, hit] {
            let is_ours =
                |field: &(String, String)| field.0 == "via" && field.1.starts_with("1.1 nsh-");
            assert!(answer.fields.iter().any(is_ours), "{:?}", answer.fields);
        }
    };
    let rest = &whole[HALF..];
    let range = format!("Content-Range: bytes {HALF}-{}/{LENGTH}\r\n", LENGTH - 1);
    let tag = format!("{FRESH}\r\nETag: \"a\"\r\n");
    let part = "206 Partial Content";
    let date = "Date: Thu, 31 Dec 2099 23:59:59 GMT\r\n";
    check(part, &format!("{tag}{range}{date}"), rest, true);
    check(
        part,
        &format!("{tag}{range}{date}Via: 1.1 other\r\n"),
        rest,
        true,
    );
    check(part, &format!("{tag}{range}"), rest, true);
    let other = format!("{FRESH}\r\nETag: \"b\"\r\n");
    check("200 OK", &other, b"something else", false);
    check(part, &format!("{other}{range}"), rest, false);
    let shifted = format!(
        "Content-Range: bytes {}-{}/{LENGTH}\r\n",
        HALF - 1,
        LENGTH - 2
    );
    check(part, &format!("{tag}{shifted}"), rest, false);
    let longer = format!(
        "Content-Range: bytes {HALF}-{}/{}\r\n",
        LENGTH - 1,
        LENGTH + 1
    );
    check(part, &format!("{tag}{longer}"), rest, false);
    let unsatisfied = format!("Content-Range: bytes */{LENGTH}\r\n");
    check("416 Range Not Satisfiable", &unsatisfied, b"", false);
}
