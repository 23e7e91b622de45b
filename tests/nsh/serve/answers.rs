//! What every answer has, and what a file's answer says of it.

use std::time::{Duration, SystemTime};

use super::{serve, set_modified, www};
use crate::client::parse_date;

/// RFC 9110 section 9.3.2.
#[test]
fn head_is_get_without_the_body() {
    let place = www();
    place.write("www/page.html.gz", "gzip");
    place.write("www/empty", "");
    place.write("www/large", vec![b'x'; 300_000]);
    std::fs::create_dir_all(place.path().join("www/few/sub")).expect("room");
    std::fs::create_dir(place.path().join("www/many")).expect("room");
    for number in 0..600 {
        place.write(&format!("www/many/{number}"), "");
    }
    let server = serve(place, "--metrics --cookie visits --cors --header 'X-A: b'");
    for target in [
        "/page.html",
        "/empty",
        "/large",
        "/few/",
        "/few",
        "/few?a=b",
        "/many/",
        "/missing",
        "/page.html/",
        "/%zz",
        "/..",
    ] {
        for coding in ["Accept-Encoding: gzip", "Accept: application/json", "X: y"] {
            let [get, head] = ["GET", "HEAD"].map(|method| {
                let line = format!("{method} {target}");
                server.ask(&line, &[coding]).without_date()
            });
            assert_eq!((head.status, &head.fields), (get.status, &get.fields));
            assert!(head.body.is_empty(), "{target}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server's dates are compared with it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn every_answer_has_a_date_and_does_not_let_browsers_guess() {
    let server = serve(www(), "");
    std::fs::create_dir(server.place.path().join("www/folder")).expect("room");
    let now = || {
        let since = now().duration_since(SystemTime::UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    };
    for line in [
        "GET /page.html",
        "GET /folder",
        "GET /folder/",
        "GET /missing",
        "POST /page.html",
        "OPTIONS *",
        "FOO /",
    ] {
        let before = now();
        let answer = server.ask(line, &[]);
        let date = parse_date(answer.field("date").expect("a date"));
        assert!((before..=now()).contains(&date), "{line}: {answer:?}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
}

/// RFC 9110 sections 9.1 and 15.5.6.
#[test]
fn methods_that_are_not_allowed() {
    let server = serve(www(), "");
    for line in [
        "POST /page.html",
        "DELETE /missing",
        "PUT /",
        "TRACE /",
        "OPTIONS *",
    ] {
        let answer = server.ask(line, &[]);
        let allowed = ["GET", "HEAD", "OPTIONS"];
        assert!(
            allowed.iter().all(|method| answer.has("allow", method)),
            "{answer:?}"
        );
        assert!(!answer.has("allow", "POST") && !answer.text().contains("TRACE"));
    }
    assert_eq!(server.get("/page.html").text(), "<p>page</p>\n");
}

/// RFC 9110 section 8.8.3.
#[test]
fn entity_tags_are_strong_and_follow_the_file() {
    let place = www();
    place.write("www/a", "one");
    place.write("www/b", "one");
    place.write("www/c", "one");
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    set_modified(&place, "www/a", second);
    set_modified(&place, "www/b", second);
    set_modified(&place, "www/c", second + Duration::from_nanos(1));
    let server = serve(place, "");
    let etag = |target: &str| {
        let answer = server.get(target);
        let etag = answer.field("etag").expect("an entity-tag").to_owned();
        assert!(
            etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
            "{etag}"
        );
        etag
    };
    let old = etag("/a");
    assert_eq!(etag("/a"), old);
    assert!(etag("/b") != old && etag("/c") != old && etag("/c") != etag("/b"));
    // Replaced in one step, as editors do it, by another of the same length and time. The two
    // addresses are one file, but nothing that was kept of the first can answer the second.
    let old = etag("/b");
    server.place.write("www/new", "two");
    set_modified(&server.place, "www/new", second);
    let path = |name: &str| server.place.path().join("www").join(name);
    std::fs::rename(path("new"), path("b")).expect("the same folder");
    assert_ne!(etag("//b"), old);
    assert_eq!(server.get("//b").text(), "two");
}

/// RFC 9110 section 8.8.2.1.
#[test]
fn nothing_was_modified_later_than_now() {
    let place = www();
    let now = now();
    let year = Duration::from_secs(365 * 86_400);
    for (name, time) in [
        ("future", now + year),
        ("century", now + 100 * year),
        ("past", now - year),
        ("epoch", SystemTime::UNIX_EPOCH),
        (
            "sixties",
            SystemTime::UNIX_EPOCH - Duration::from_millis(86_400_500),
        ),
    ] {
        place.write(&format!("www/{name}"), name);
        set_modified(&place, &format!("www/{name}"), time);
    }
    let server = serve(place, "");
    for name in ["future", "century", "past", "epoch", "sixties"] {
        for _ in 0..2 {
            let answer = server.get(&format!("/{name}"));
            assert_eq!((answer.status, answer.text()), (200, name));
            let date = parse_date(answer.field("date").expect("a date"));
            let modified = answer.field("last-modified").map(parse_date);
            assert!(
                modified.is_none_or(|modified| modified <= date),
                "{answer:?}"
            );
            assert!(modified.is_some() || name == "sixties", "{answer:?}");
            let since = format!(
                "If-Modified-Since: {}",
                answer.field("date").expect("a date")
            );
            let again = server.ask(&format!("GET /{name}"), &[&since]);
            assert_eq!(again.status == 304, modified.is_some(), "{name}: {again:?}");
        }
    }
    let listing = server.ask("GET /", &["Accept: application/json"]);
    assert_eq!(listing.status, 200);
}

#[test]
fn media_types() {
    let place = www();
    place.write("www/binary", b"\x7fELF\0\x01");
    place.write("www/latin", b"caf\xe9 au lait");
    place.write("www/empty", "");
    let server = serve(
        place,
        "--mime .own=application/x-own --mime html5=text/html",
    );
    let check = |name: &str, media_type: &str| {
        let path = format!("www/{name}");
        if !server.place.path().join(&path).exists() {
            server.place.write(&path, "text");
        }
        let answer = server.get(&format!("/{name}"));
        assert_eq!(answer.field("content-type"), Some(media_type), "{name}");
        assert_eq!(answer.field("content-encoding"), None, "{name}");
    };
    check("a.html", "text/html; charset=utf-8");
    check("a.HTM", "text/html; charset=utf-8");
    check("a.css", "text/css; charset=utf-8");
    check("a.js", "text/javascript; charset=utf-8");
    check("a.mjs", "text/javascript; charset=utf-8");
    check("a.txt", "text/plain; charset=utf-8");
    check("a.md", "text/markdown; charset=utf-8");
    check("a.csv", "text/csv; charset=utf-8");
    check("a.json", "application/json");
    check("a.webmanifest", "application/manifest+json");
    check("a.wasm", "application/wasm");
    check("a.pdf", "application/pdf");
    check("a.zip", "application/zip");
    check("a.tar.gz", "application/gzip");
    check("a.svg", "image/svg+xml");
    check("a.png", "image/png");
    check("a.jpeg", "image/jpeg");
    check("a.webp", "image/webp");
    check("a.avif", "image/avif");
    check("a.ico", "image/x-icon");
    check("a.woff2", "font/woff2");
    check("a.mp4", "video/mp4");
    check("a.mp3", "audio/mpeg");
    check("a.own", "application/x-own");
    check("a.OWN", "application/x-own");
    check("a.html5", "text/html; charset=utf-8");
    check("README", "text/plain; charset=utf-8");
    check("a.unheardof", "text/plain; charset=utf-8");
    check("empty", "text/plain; charset=utf-8");
    check("binary", "application/octet-stream");
    check("latin", "application/octet-stream");
}
