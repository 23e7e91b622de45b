//! Preconditions, RFC 9110 section 13.

use std::time::{Duration, SystemTime};

use super::{Server, serve, set_modified, www};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// A file of 12 octets that was modified at `MODIFIED`, and its entity-tag.
fn file() -> (Server, String) {
    let place = www();
    place.write("www/page.html.gz", "gzip");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    set_modified(&place, "www/page.html", modified);
    let server = serve(place, "--cache '*.html=60'");
    let answer = server.get("/page.html");
    assert_eq!(answer.field("last-modified"), Some(MODIFIED));
    let etag = answer.field("etag").expect("an entity-tag").to_owned();
    (server, etag)
}

/// Of GET and of HEAD. `E` stands for the entity-tag.
#[track_caller]
fn check((server, etag): &(Server, String), fields: &[&str], status: u16) {
    let fields: Vec<String> = fields
        .iter()
        .map(|field| field.replace("=E", etag))
        .collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let get = server.ask("GET /page.html", &fields);
    assert_eq!(get.status, status, "{fields:?}");
    // RFC 9110 section 14.2: for HEAD there are no ranges.
    let status = if matches!(status, 206 | 416) {
        200
    } else {
        status
    };
    assert_eq!(
        server.ask("HEAD /page.html", &fields).status,
        status,
        "{fields:?}"
    );
}

#[test]
fn one_condition() {
    let file = file();
    check(&file, &["If-Match: =E"], 200);
    check(&file, &["If-Match: *"], 200);
    check(&file, &["If-Match: \"a\", =E"], 200);
    check(&file, &["If-Match: \"a\"", "If-Match: =E"], 200);
    check(&file, &["If-Match: \"a\""], 412);
    check(&file, &["If-Match: W/=E"], 412);
    check(&file, &["If-Match: a"], 412);
    check(&file, &["If-None-Match: =E"], 304);
    check(&file, &["If-None-Match: W/=E"], 304);
    check(&file, &["If-None-Match: *"], 304);
    check(&file, &["If-None-Match: \"a,b\" ,, =E"], 304);
    check(&file, &["If-None-Match: \"a\"", "if-none-match: =E"], 304);
    check(&file, &["If-None-Match: \"a\""], 200);
    check(&file, &["If-None-Match: a"], 200);
    check(&file, &[&format!("If-Modified-Since: {BEFORE}")], 200);
    check(&file, &[&format!("If-Modified-Since: {MODIFIED}")], 304);
    check(&file, &[&format!("If-Modified-Since: {AFTER}")], 304);
    check(&file, &[&format!("If-Unmodified-Since: {BEFORE}")], 412);
    check(&file, &[&format!("If-Unmodified-Since: {MODIFIED}")], 200);
    check(&file, &[&format!("If-Unmodified-Since: {AFTER}")], 200);
}

/// RFC 9110 section 5.6.7.
#[test]
fn dates_have_three_forms() {
    let file = file();
    for (date, status) in [
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("Sunday, 06-Nov-94 08:49:36 GMT", 200),
        ("Sun Nov  6 08:49:37 1994", 304),
        ("Sun Nov  6 08:49:36 1994", 200),
        ("Sat, 06 Nov 2094 08:49:37 GMT", 304),
        ("1994-11-06T08:49:37Z", 200),
        ("784111777", 200),
        ("tomorrow", 200),
        ("", 200),
        ("Sun, 31 Feb 2030 08:49:37 GMT", 200),
        ("Sun, 06 Nov 1994 24:61:37 GMT", 200),
    ] {
        check(&file, &[&format!("If-Modified-Since: {date}")], status);
    }
    check(&file, &["If-Unmodified-Since: tomorrow"], 200);
}

/// RFC 9110 section 13.2.2.
#[test]
fn conditions_have_an_order() {
    let file = file();
    let since = |name: &str, date: &str| format!("If-{name}-Since: {date}");
    let (modified, unmodified) = (since("Modified", AFTER), since("Unmodified", BEFORE));
    check(&file, &["If-Match: =E", &unmodified], 200);
    check(
        &file,
        &["If-Match: \"a\"", &since("Unmodified", AFTER)],
        412,
    );
    check(&file, &["If-None-Match: \"a\"", &modified], 200);
    check(
        &file,
        &["If-None-Match: =E", &since("Modified", BEFORE)],
        304,
    );
    check(&file, &["If-Match: \"a\"", "If-None-Match: =E"], 412);
    check(&file, &["If-Match: =E", "If-None-Match: =E"], 304);
    check(&file, &["If-None-Match: =E", &unmodified], 412);
    check(&file, &["If-None-Match: =E", "Range: bytes=0-3"], 304);
    check(&file, &["If-Match: \"a\"", "Range: bytes=99-"], 412);
    check(&file, &[&modified, "Range: bytes=99-"], 304);
    check(&file, &["If-Match: =E", "Range: bytes=99-"], 416);
    check(&file, &["If-Match: =E", "Range: bytes=0-3"], 206);
    check(
        &file,
        &["If-None-Match: =E", "Range: bytes=0-3", "If-Range: \"a\""],
        304,
    );
}

/// RFC 9110 section 13.1.5: a download that is resumed is never put together of two files.
#[test]
fn if_range() {
    let file = file();
    let range = "Range: bytes=3-6";
    for (validator, status) in [
        ("=E", 206),
        ("W/=E", 200),
        ("\"a\"", 200),
        ("*", 200),
        ("=E, \"a\"", 200),
        ("", 200),
        (MODIFIED, 206),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 206),
        (BEFORE, 200),
        (AFTER, 200),
        ("tomorrow", 200),
    ] {
        check(&file, &[range, &format!("If-Range: {validator}")], status);
    }
    check(&file, &["If-Range: =E"], 200);
    check(&file, &["If-Range: \"a\"", "Range: bytes=99-"], 200);
    check(&file, &["If-Range: =E", "Range: bytes=99-"], 416);
    check(&file, &["If-Range: =E", "If-Range: =E", range], 200);
}

/// RFC 9110 section 15.4.5.
#[test]
fn not_modified_has_the_fields_of_the_page_and_no_body() {
    let (server, etag) = file();
    let page = server.get("/page.html");
    let same = server.ask("GET /page.html", &[&format!("If-None-Match: {etag}")]);
    for name in ["etag", "vary", "cache-control"] {
        assert!(
            page.field(name).is_some() && page.field(name) == same.field(name),
            "{name}"
        );
    }
    assert_eq!(same.field("content-type"), None);
    assert_eq!(same.field("content-encoding"), None);
    // The octets behind it are the next answer.
    let request = format!("GET /page.html HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}");
    server.check(format!("{request}\r\n\r\n"), "304 next");
}

/// RFC 9110 section 13.2.1.
#[test]
fn conditions_do_not_count_where_there_is_no_page() {
    let (server, _) = file();
    std::fs::create_dir(server.place.path().join("www/folder")).expect("room");
    for field in ["If-Match: \"a\"", "If-None-Match: *", "Range: bytes=99-"] {
        assert_eq!(server.ask("GET /missing", &[field]).status, 404, "{field}");
        assert_eq!(server.ask("GET /folder", &[field]).status, 301, "{field}");
        assert_eq!(server.ask("GET /folder/", &[field]).status, 200, "{field}");
        assert_eq!(
            server.ask("POST /page.html", &[field]).status,
            405,
            "{field}"
        );
        assert_eq!(
            server.ask("OPTIONS /page.html", &[field]).status,
            204,
            "{field}"
        );
    }
}
