//! When what is stored is used without asking, when the origin is asked, and what its word
//! changes: RFC 9111 sections 4.2 and 4.3, and RFC 5861.

use super::origin::{Answering, answer, obliging};
use super::*;

const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Thu, 31 Dec 2099 23:59:59 GMT";

/// Asks for a path, and has the origin say these lines, if it is asked.
#[track_caller]
fn ask(proxy: &Proxy, origin: &Answering, path: &str, says: &[&str], fields: &[&str]) -> Answer {
    proxy.ask_saying(&format!("GET {}", origin.url(path)), says, fields)
}

/// A table of second requests to what the first one has stored.
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

    /// `says` is the answer that is stored, `;` between its lines. How a request with these
    /// fields is answered after that: `used`, `asked`, or a status of the proxy's own.
    #[track_caller]
    fn check(&mut self, says: &str, fields: &[&str], expected: &str) {
        self.paths += 1;
        let path = format!("/{}", self.paths);
        let says: Vec<&str> = says.split("; ").collect();
        let first = ask(&self.proxy, &self.origin, &path, &says, &[]);
        let second = ask(&self.proxy, &self.origin, &path, &says, fields);
        let asked = self.origin.heads();
        let asked = asked.iter().filter(|head| head.contains(&path)).count();
        let how = match (second.status, second.body == first.body, asked) {
            (200, true, 1) => "used".to_owned(),
            (200, false, 2) => "asked".to_owned(),
            (status, _, 1) => status.to_string(),
            (status, _, asked) => format!("{status} after {asked} requests"),
        };
        assert_eq!(how, expected, "{says:?} {fields:?}: {second:?}");
    }
}

/// RFC 9111 section 4.2.1 and 4.2.2.
#[test]
fn how_long_an_answer_is_fresh() {
    let mut table = Table::new();
    table.check("Cache-Control: max-age=600", &[], "used");
    table.check("Cache-Control: MAX-AGE=\"600\"", &[], "used");
    table.check("Cache-Control: max-age=600; Age: 599999", &[], "asked");
    table.check("Cache-Control: max-age=600; Age: 100", &[], "used");
    table.check("Cache-Control: max-age=600; Age: 600", &[], "asked");
    table.check("Cache-Control: max-age=0; ETag: \"a\"", &[], "asked");
    table.check("Cache-Control: s-maxage=600", &[], "used");
    table.check("Cache-Control: max-age=0, s-maxage=600", &[], "used");
    table.check(
        "Cache-Control: max-age=600, s-maxage=0; ETag: \"a\"",
        &[],
        "asked",
    );
    table.check("Cache-Control: max-age=600, max-age=0", &[], "asked");
    table.check("Cache-Control: max-age=600.0; ETag: \"a\"", &[], "asked");
    table.check(&format!("Expires: {LATER}"), &[], "used");
    table.check(&format!("Expires: {LONG_AGO}"), &[], "asked");
    table.check("Expires: 0", &[], "asked");
    table.check(
        &format!("Expires: {LONG_AGO}; Cache-Control: max-age=600"),
        &[],
        "used",
    );
    table.check(
        &format!("Date: {LONG_AGO}; Cache-Control: max-age=600"),
        &[],
        "asked",
    );
    table.check(
        &format!("Date: {LATER}; Cache-Control: max-age=600"),
        &[],
        "used",
    );
    // Heuristics, a tenth of the time since.
    let modified = format!("Last-Modified: {LONG_AGO}");
    table.check(&modified, &[], "used");
    table.check(&format!("{modified}; Age: 80000"), &[], "used");
    table.check(&format!("{modified}; Age: 90000"), &[], "asked");
    table.check(&format!("{modified}; Expires: never"), &[], "asked");
    table.check(&format!("{modified}; Expires: {LONG_AGO}"), &[], "asked");
    table.check("ETag: \"a\"", &[], "asked");
}

/// RFC 9111 section 5.2.1.
#[test]
fn what_a_request_demands() {
    let mut table = Table::new();
    let fresh = "Cache-Control: max-age=600; Age: 100";
    for (directives, expected) in [
        ("no-cache", "asked"),
        ("max-age=0", "asked"),
        ("max-age=99", "asked"),
        ("max-age=400", "used"),
        ("min-fresh=400", "used"),
        ("min-fresh=501", "asked"),
        ("max-stale", "used"),
        ("only-if-cached", "used"),
        ("only-if-cached, max-age=0", "504"),
        ("only-if-cached, no-cache", "504"),
        ("no-store", "used"),
        ("unknown=1", "used"),
    ] {
        let field = format!("Cache-Control: {directives}");
        table.check(fresh, &[&field], expected);
    }
    table.check(fresh, &["Pragma: no-cache"], "asked");
    table.check(
        fresh,
        &["Pragma: no-cache", "Cache-Control: max-age=400"],
        "used",
    );
    let stale = "Cache-Control: max-age=600; Age: 700";
    for (directives, expected) in [
        ("max-stale", "used"),
        ("max-stale=600", "used"),
        ("max-stale=100", "asked"),
        ("only-if-cached", "504"),
        ("only-if-cached, max-stale", "used"),
        ("max-stale, no-cache", "asked"),
    ] {
        let field = format!("Cache-Control: {directives}");
        table.check(stale, &[&field], expected);
    }
    // RFC 9111 section 4.2.4: the response forbids it.
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=600"] {
        let says = format!("Cache-Control: max-age=600, {forbids}; Age: 700");
        table.check(&says, &["Cache-Control: max-stale"], "asked");
    }
    let says = "Cache-Control: max-age=600, no-cache; ETag: \"a\"";
    table.check(says, &[], "asked");
    table.check(says, &["Cache-Control: max-stale"], "asked");
    table.check(says, &["Cache-Control: only-if-cached"], "504");
}

/// RFC 9111 section 5.2.1.7.
#[test]
fn only_if_cached_asks_nobody() {
    let (proxy, origin) = (caching(""), obliging());
    let only = ["Cache-Control: only-if-cached"];
    let answer = ask(&proxy, &origin, "/", &[], &only);
    assert_eq!(answer.status, 504);
    assert_eq!(origin.heads(), Vec::<String>::new());
}

/// RFC 9111 sections 4.3.1, 4.3.3 and 4.3.4.
#[test]
fn a_304_freshens_what_is_stored() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = [
        "Cache-Control: max-age=60",
        "Age: 100",
        "ETag: \"a\"",
        &format!("Last-Modified: {LONG_AGO}"),
        "X-Kept: 1",
        "X-Changed: 1",
    ];
    ask(&proxy, &origin, "/", &stored, &[]);
    let news = [
        "304 Not Modified",
        &format!("Date: {LATER}"),
        "Cache-Control: max-age=100000",
        "Age: 50",
        "ETag: \"a\"",
        "X-Changed: 2",
        "Via: 1.1 other",
        "Content-Type: image/png",
        "Content-Length: 999",
    ];
    // The client's own condition is answered from what is stored.
    let own = ["If-None-Match: \"mine\"", "Range: bytes=0-0, 2-3"];
    let answer = ask(&proxy, &origin, "/", &news, &own);
    assert_eq!((answer.status, answer.text()), (200, "answer 1"));
    let cache_status = answer.field("cache-status").expect("a Cache-Status");
    let begins = "nsh; fwd=stale; fwd-status=304; stored; ttl=99";
    assert!(cache_status.starts_with(begins), "{cache_status}");
    let question = &origin.heads()[1];
    let since = format!("If-Modified-Since: {LONG_AGO}\r\n");
    assert!(question.contains("If-None-Match: \"a\"\r\n"), "{question}");
    assert!(question.contains(&since), "{question}");
    assert!(!question.contains("mine"), "{question}");
    assert!(!question.contains("Range:"), "{question}");

    let is_our_via = |field: &(String, String)| field.0 == "via" && field.1.starts_with("1.1 nsh-");
    let hit = ask(&proxy, &origin, "/", &[], &[]);
    for answer in [answer, hit] {
        assert_eq!(answer.text(), "answer 1");
        assert_eq!(answer.field("x-kept"), Some("1"));
        assert_eq!(answer.field("x-changed"), Some("2"));
        assert_eq!(answer.field("content-type"), Some("text/plain"));
        assert_eq!(answer.field("content-length"), Some("8"));
        assert_eq!(answer.field("cache-control"), Some("max-age=100000"));
        // RFC 9111 section 5.1: of the 304, and since.
        let age = answer.field("age").expect("an Age");
        assert!(age.starts_with('5') && age.len() == 2, "{answer:?}");
        // RFC 9110 section 7.6.3.
        assert!(answer.fields.iter().any(is_our_via));
    }
    assert_eq!(origin.heads().len(), 2);
}

/// RFC 9110 section 6.6.1: whoever forwards a response without a Date adds one.
#[test]
fn there_is_a_date_also_behind_a_304_without() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = ["Cache-Control: max-age=60", "Age: 100", "ETag: \"a\""];
    ask(&proxy, &origin, "/", &stored, &[]);
    let news = ["304 Not Modified", "Cache-Control: max-age=600"];
    for _ in 0..2 {
        let answer = ask(&proxy, &origin, "/", &news, &[]);
        assert!(answer.field("date").is_some());
        assert_eq!(answer.text(), "answer 1");
    }
}

/// What a client has is compared with what is current after the validation.
#[test]
fn a_304_for_the_proxy_may_be_one_for_the_client() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = ["Cache-Control: max-age=60", "Age: 100", "ETag: \"a\""];
    ask(&proxy, &origin, "/", &stored, &[]);
    let date = format!("Date: {LATER}");
    let news = ["304 Not Modified", "ETag: \"a\"", "Age: 100", &date];
    let own = ["If-None-Match: \"a\""];
    let answer = ask(&proxy, &origin, "/", &news, &own);
    assert_eq!(answer.status, 304);
    // RFC 9111 section 5.1: it is as old as the 304 says, although that is too old again.
    let age = answer.field("age").expect("an Age");
    assert!(age.starts_with("10"), "{answer:?}");
    let ranged = ["Range: bytes=0-2"];
    let answer = ask(&proxy, &origin, "/", &news, &ranged);
    assert_eq!((answer.status, answer.text()), (206, "ans"));
}

#[test]
fn a_200_replaces_what_is_stored() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = ["Cache-Control: max-age=60", "Age: 100", "ETag: \"a\""];
    ask(&proxy, &origin, "/", &stored, &[]);
    let other = ["Cache-Control: max-age=600", "ETag: \"b\""];
    let answer = ask(&proxy, &origin, "/", &other, &["If-None-Match: \"a\""]);
    assert_eq!((answer.status, answer.text()), (200, "answer 2"));
    let cache_status = answer.field("cache-status");
    assert_eq!(cache_status, Some("nsh; fwd=stale; fwd-status=200; stored"));
    let hit = ask(&proxy, &origin, "/", &other, &[]);
    assert_eq!((hit.text(), hit.field("etag")), ("answer 2", Some("\"b\"")));
    // And leaves nothing behind when it is not for all.
    let private = ["Cache-Control: private"];
    let reload = ["Cache-Control: no-cache"];
    let answer = ask(&proxy, &origin, "/", &private, &reload);
    assert_eq!(answer.text(), "answer 3");
    let answer = ask(&proxy, &origin, "/", &private, &[]);
    assert_eq!(answer.text(), "answer 4");
}

/// RFC 9111 section 4.3.4: it is about something else, and the client gets a whole answer.
#[test]
fn a_304_with_another_tag_freshens_nothing() {
    let (proxy, origin) = (caching(""), Origin::new());
    let url = origin.url("/");
    let origin = origin.answering(|head| match head.contains("If-None-Match: \"a\"") {
        true => b"HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\n\r\n".to_vec(),
        false => answer("Cache-Control: max-age=0\r\nETag: \"a\"\r\n", "whole"),
    });
    for _ in 0..2 {
        let answer = proxy.get(&url);
        assert_eq!((answer.status, answer.text()), (200, "whole"));
    }
    assert_eq!(origin.heads().len(), 3);
}

/// One stored answer with these lines, and its URL, when the origin is about to go.
fn stored_once(proxy: &Proxy, says: &str) -> (Origin, String) {
    let origin = Origin::new();
    let url = origin.url("/");
    let mut client = proxy.connect();
    client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let mut connection = origin.accept();
    connection.head();
    let lines: String = says.split("; ").map(|line| format!("{line}\r\n")).collect();
    let fields = format!("Connection: close\r\n{lines}");
    connection.send(answer(&fields, "old"));
    assert_eq!(client.receive("GET").expect("an answer").text(), "old");
    (origin, url)
}

/// RFC 9111 section 4.2.4, RFC 5861 section 4.
#[test]
fn what_is_stale_answers_when_the_origin_is_gone() {
    let proxy = caching("");
    let check = |says: &str, fields: &[&str], expected: u16| {
        let (origin, url) = stored_once(&proxy, says);
        drop(origin);
        let answer = proxy.ask(&format!("GET {url}"), fields);
        assert_eq!(answer.status, expected, "{says} {fields:?}");
        if expected == 200 {
            assert_eq!(answer.text(), "old");
            let status = answer.field("cache-status").expect("a Cache-Status");
            assert!(status.starts_with("nsh; hit; ttl=-"), "{status}");
            assert!(status.ends_with("detail=\"stale-if-error\""), "{status}");
        }
    };
    check("Cache-Control: max-age=60; Age: 100", &[], 200);
    check(
        "Cache-Control: max-age=60, stale-if-error=600; Age: 100",
        &[],
        200,
    );
    check(
        "Cache-Control: max-age=60, stale-if-error=10; Age: 100",
        &[],
        502,
    );
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let says = format!("Cache-Control: max-age=60, stale-if-error=600, {forbids}; Age: 100");
        check(&says, &[], 502);
    }
    check(
        "Cache-Control: no-cache, stale-if-error=600; ETag: \"a\"",
        &[],
        502,
    );
    let reload = ["Cache-Control: no-cache"];
    check("Cache-Control: max-age=600", &reload, 502);
    let reload = ["Cache-Control: no-cache, stale-if-error=600"];
    check("Cache-Control: max-age=60; Age: 100", &reload, 200);
}

#[test]
fn what_is_stale_answers_instead_of_503_and_of_silence() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = ["Cache-Control: max-age=60, stale-if-error=600", "Age: 100"];
    for path in ["/a", "/b"] {
        ask(&proxy, &origin, path, &stored, &[]);
    }
    let down = ["503 Service Unavailable"];
    let answer = ask(&proxy, &origin, "/a", &down, &[]);
    assert_eq!((answer.status, answer.text()), (200, "answer 1"));
    let reload = ["Cache-Control: max-age=0"];
    let answer = ask(&proxy, &origin, "/a", &down, &reload);
    assert_eq!(answer.status, 503);
    // An error does not take the place of what is stored.
    let answer = ask(&proxy, &origin, "/a", &down, &[]);
    assert_eq!((answer.status, answer.text()), (200, "answer 1"));
    let answer = ask(&proxy, &origin, "/b", &["404 Not Found"], &[]);
    assert_eq!(answer.status, 404);
    proxy.stop();

    let proxy = caching("--answer-timeout 2");
    let (_silent, url) = stored_once(&proxy, "Cache-Control: max-age=60; Age: 100");
    assert_eq!(proxy.get(&url).text(), "old");
}

/// RFC 5861 section 3.
#[test]
fn what_is_stale_answers_at_once_while_it_is_fetched_anew() {
    let proxy = caching("");
    let says = "Cache-Control: max-age=60, stale-while-revalidate=600; Age: 100; ETag: \"a\"";
    let (origin, url) = stored_once(&proxy, says);
    let ask = || {
        let answer = proxy.get(&url);
        let status = answer.field("cache-status").expect("a Cache-Status");
        (answer.text().to_owned(), status.to_owned())
    };
    let stale = |status: &str| {
        status.starts_with("nsh; hit; ttl=-") && status.ends_with("\"stale-while-revalidate\"")
    };
    // Nobody has answered yet.
    let (body, status) = ask();
    assert!(body == "old" && stale(&status), "{body} {status}");
    let mut connection = origin.accept();
    let question = connection.head();
    assert!(question.contains("If-None-Match: \"a\"\r\n"), "{question}");
    let (body, status) = ask();
    assert!(body == "old" && stale(&status), "{body} {status}");
    let fields = "Cache-Control: max-age=600\r\nETag: \"b\"\r\nConnection: close\r\n";
    connection.send(answer(fields, "new"));
    // It goes when it has stored that.
    assert!(connection.rest().is_empty());
    let (body, status) = ask();
    assert!(
        body == "new" && status.starts_with("nsh; hit; ttl="),
        "{body} {status}"
    );
}

#[test]
fn a_304_in_the_background_freshens_too() {
    let proxy = caching("");
    let says = "Cache-Control: max-age=60, stale-while-revalidate=600; Age: 100; ETag: \"a\"";
    let (origin, url) = stored_once(&proxy, says);
    assert_eq!(proxy.get(&url).text(), "old");
    let mut connection = origin.accept();
    connection.head();
    let fields = format!("ETag: \"a\"\r\nDate: {LATER}\r\nX-New: 1\r\nConnection: close\r\n");
    connection.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    assert!(connection.rest().is_empty());
    let answer = proxy.get(&url);
    assert_eq!((answer.text(), answer.field("x-new")), ("old", Some("1")));
}

/// A proxy that is told to answer from its cache alone.
#[test]
fn offline() {
    let (proxy, origin) = (caching(""), obliging());
    let stored = |path: &str, says: &[&str]| ask(&proxy, &origin, path, says, &[]);
    stored("/fresh", &["Cache-Control: max-age=600"]);
    stored("/stale", &["Cache-Control: max-age=60", "Age: 100"]);
    let renewed = [
        "Cache-Control: max-age=60, stale-while-revalidate=600",
        "Age: 100",
    ];
    stored("/renewed", &renewed);
    let place = proxy.leave();
    let proxy = super::proxy(place, "--cache kept --offline");
    let get = |path: &str| proxy.get(&origin.url(path));
    let cache_status = |answer: &Answer| answer.field("cache-status").map(str::to_owned);
    let fresh = get("/fresh");
    assert_eq!(fresh.text(), "answer 1");
    let stale = get("/stale");
    assert_eq!(stale.text(), "answer 2");
    let status = cache_status(&stale).expect("a Cache-Status");
    assert!(status.ends_with("detail=\"offline\""), "{status}");
    assert_eq!(get("/renewed").text(), "answer 3");
    assert_eq!(get("/other").status, 504);
    let reload = ["Cache-Control: no-cache"];
    let answer = proxy.ask(&format!("GET {}", origin.url("/fresh")), &reload);
    assert_eq!(answer.text(), "answer 1");
    proxy.stop();
    assert_eq!(origin.heads().len(), 3);
}

/// From the cache alone, a request that no cache can answer is not answered.
#[test]
fn offline_sends_nothing_anywhere() {
    let (proxy, origin) = (caching("--offline"), obliging());
    let url = origin.url("/");
    let post = proxy.ask(&format!("POST {url}"), &["Content-Length: 0"]);
    let conditional = proxy.ask(&format!("GET {url}"), &["If-Match: \"a\""]);
    let options = proxy.ask(&format!("OPTIONS {url}"), &[]);
    let statuses = [post, conditional, options].map(|answer| answer.status);
    assert_eq!((statuses, origin.heads().len()), ([504; 3], 0));
}

/// RFC 9111 section 5.2.2.2: not in any circumstance, in particular not when disconnected.
#[test]
fn offline_serves_nothing_stale_that_must_be_revalidated() {
    let (proxy, origin) = (caching(""), obliging());
    let says = ["Cache-Control: max-age=60, must-revalidate", "Age: 100"];
    ask(&proxy, &origin, "/", &says, &[]);
    let place = proxy.leave();
    let proxy = super::proxy(place, "--cache kept --offline");
    assert_eq!(proxy.get(&origin.url("/")).status, 504);
}
