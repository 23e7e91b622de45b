//! Compressed forms of a page, RFC 9110 sections 8.4 and 12.5.3.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{Server, serve, www};
use crate::client::Answer;

/// Asks with these codings; the status and the coding of the answer.
#[track_caller]
fn check(server: &Server, accepted: &str, status: u16, coding: &str) {
    let answer = server.ask("GET /page.html", &[&format!("Accept-Encoding: {accepted}")]);
    let got = answer.field("content-encoding").unwrap_or("identity");
    assert_eq!((answer.status, got), (status, coding), "{accepted:?}");
    if status == 200 && coding != "identity" {
        assert_eq!(answer.text(), coding);
    }
}

fn siblings() -> Server {
    let place = www();
    place.write("www/page.html.gz", "gzip");
    place.write("www/page.html.br", "br");
    place.write("www/page.html.zst", "zstd");
    serve(place, "--cache '*=60'")
}

#[test]
fn the_client_chooses_among_the_files_beside_the_page() {
    let server = siblings();
    check(&server, "gzip", 200, "gzip");
    check(&server, "br", 200, "br");
    check(&server, "zstd", 200, "zstd");
    check(&server, "GZip", 200, "gzip");
    check(&server, "x-gzip", 200, "gzip");
    check(&server, "gzip, deflate", 200, "gzip");
    check(&server, "gzip;q=0.5, br;q=0.1", 200, "gzip");
    check(&server, "gzip;q=0.001 ,\tbr ; q=0.002", 200, "br");
    check(&server, "gzip;q=1.0, br;Q=0.999", 200, "gzip");
    check(&server, "br;q=0, *", 200, "zstd");
    check(&server, "*;q=0.1, gzip", 200, "gzip");
    check(&server, "gzip;q=0", 200, "identity");
    check(&server, "gzip;q=0.000, br;q=0, zstd;q=0", 200, "identity");
    check(&server, "gzip;q=0.5, identity", 200, "identity");
    check(&server, "gzip, identity;q=0", 200, "gzip");
    check(&server, "gzip, *;q=0", 200, "gzip");
    check(&server, "deflate", 200, "identity");
    check(&server, "deflate, compress;q=0.5", 200, "identity");
    check(&server, "", 200, "identity");
    check(&server, "identity", 200, "identity");
    check(&server, "*;q=0, identity", 200, "identity");
    check(&server, "*;q=0", 406, "identity");
    check(
        &server,
        "identity;q=0, gzip;q=0, br;q=0, zstd;q=0",
        406,
        "identity",
    );
    let answer = server.get("/page.html");
    assert_eq!(answer.text(), "<p>page</p>\n");
    let fields = ["Accept-Encoding: gzip;q=0", "Accept-Encoding: br"];
    assert_eq!(server.ask("GET /page.html", &fields).text(), "br");
}

/// RFC 9110 sections 8.8.3.3 and 12.5.5.
#[test]
fn each_form_has_its_own_validator_and_says_that_there_are_others() {
    let server = siblings();
    let ask = |fields: &[&str]| {
        let answer = server.ask("GET /page.html", fields);
        assert!(
            answer.has("vary", "accept-encoding"),
            "{fields:?}: {answer:?}"
        );
        answer
    };
    let mut etags = Vec::new();
    for coding in ["identity", "gzip", "br", "zstd"] {
        let accepted = format!("Accept-Encoding: {coding}");
        let answer = ask(&[&accepted]);
        let media_type = answer.field("content-type");
        assert_eq!(media_type, Some("text/html; charset=utf-8"));
        let length = answer.body.len().to_string();
        assert_eq!(answer.field("content-length"), Some(&*length));
        assert_eq!(answer.field("cache-control"), Some("max-age=60"));
        let etag = answer.field("etag").expect("an entity-tag").to_owned();
        let same = ask(&[&accepted, &format!("If-None-Match: {etag}")]);
        assert_eq!((same.status, same.field("etag")), (304, Some(&*etag)));
        for other in &etags {
            let answer = ask(&[&accepted, &format!("If-None-Match: {other}")]);
            assert_eq!(answer.status, 200, "{coding}");
        }
        let part = ask(&[&accepted, "Range: bytes=-1", &format!("If-Range: {etag}")]);
        assert_eq!(
            (part.status, &part.body[..]),
            (206, &answer.body[answer.body.len() - 1..])
        );
        etags.push(etag);
    }
    let mut distinct = etags.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{etags:?}");
}

#[test]
fn files_beside_the_page_are_files_themselves() {
    let server = siblings();
    let answer = server.ask("GET /page.html.gz", &["Accept-Encoding: gzip"]);
    assert_eq!(answer.field("content-type"), Some("application/gzip"));
    assert_eq!(
        (answer.field("content-encoding"), answer.text()),
        (None, "gzip")
    );
    let place = www();
    place.write("www/index.html", "plain");
    place.write("www/index.html.gz", "gzip");
    place.write("www/only.html.gz", "gzip");
    place.write("outside", "outside");
    std::os::unix::fs::symlink("../outside", place.path().join("www/page.html.gz")).expect("room");
    std::fs::create_dir(place.path().join("www/next.gz")).expect("room");
    let server = serve(place, "");
    let ask = |target: &str| server.ask(&format!("GET {target}"), &["Accept-Encoding: gzip"]);
    assert_eq!(ask("/").text(), "gzip");
    assert_eq!(
        ask("/").field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(ask("/only.html").status, 404);
    assert_eq!(ask("/page.html").text(), "<p>page</p>\n");
    assert_eq!(ask("/next").text(), "next\n");
}

fn unzip(answer: &Answer) -> String {
    let mut text = String::new();
    let mut decoder = GzDecoder::new(&answer.body[..]);
    decoder.read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn compression_on_the_way() {
    let text = "All work and no play makes Jack a dull boy.\n".repeat(300);
    let place = www();
    for name in [
        "a.txt", "a.html", "a.css", "a.js", "a.json", "a.svg", "a.png",
    ] {
        place.write(&format!("www/{name}"), &text);
    }
    place.write("www/both.txt", &text);
    place.write("www/both.txt.br", "br");
    let server = serve(place, "--compress");
    let ask = |target: &str, fields: &[&str]| server.ask(&format!("GET {target}"), fields);
    let gzip = "Accept-Encoding: gzip";
    for name in ["a.txt", "a.html", "a.css", "a.js", "a.json", "a.svg"] {
        for _ in 0..2 {
            let answer = ask(&format!("/{name}"), &[gzip]);
            assert_eq!(answer.field("content-encoding"), Some("gzip"), "{name}");
            assert!(
                answer.body.len() < text.len() && unzip(&answer) == text,
                "{name}"
            );
        }
    }
    assert_eq!(ask("/a.png", &[gzip]).field("content-encoding"), None);
    assert_eq!(ask("/page.html", &[gzip]).text(), "<p>page</p>\n");
    assert_eq!(ask("/a.txt", &["Accept-Encoding: gzip;q=0"]).text(), text);
    assert_eq!(
        ask("/both.txt", &["Accept-Encoding: gzip, br"]).text(),
        "br"
    );
    assert_eq!(unzip(&ask("/both.txt", &["Accept-Encoding: gzip"])), text);
    let (plain, zipped) = (ask("/a.txt", &[]), ask("/a.txt", &[gzip]));
    assert!(plain.has("vary", "accept-encoding") && zipped.has("vary", "accept-encoding"));
    let (strong, weak) = (plain.field("etag"), zipped.field("etag"));
    let (strong, weak) = (strong.expect("an entity-tag"), weak.expect("an entity-tag"));
    assert!(
        weak.starts_with("W/\"") && weak != format!("W/{strong}"),
        "{weak} {strong}"
    );
    let same = ask("/a.txt", &[gzip, &format!("If-None-Match: {weak}")]);
    assert!(
        same.status == 304 && same.has("vary", "accept-encoding"),
        "{same:?}"
    );
    let head = server.ask("HEAD /a.txt", &[gzip]).without_date();
    assert_eq!(head.fields, zipped.clone().without_date().fields);
    // What is compressed again may be other octets: no part of it fits another.
    let whole = ask("/a.txt", &[gzip, "Range: bytes=0-9"]);
    assert!(whole.status == 206 || unzip(&whole) == text, "{whole:?}");
    let part = ask("/a.txt", &["Range: bytes=0-7"]);
    assert_eq!((part.status, part.text()), (206, "All work"));
    let stale = ask(
        "/a.txt",
        &["Range: bytes=0-7", &format!("If-Range: {weak}")],
    );
    assert_eq!(stale.status, 200);
}

/// The file that is compressed is the file there is.
#[test]
fn what_was_compressed_is_not_kept_beyond_the_file() {
    let place = www();
    place.write("www/a.txt", "one ".repeat(1000));
    place.write("www/new", "two ".repeat(1000));
    let server = serve(place, "--compress");
    let ask =
        |target: &str| unzip(&server.ask(&format!("GET {target}"), &["Accept-Encoding: gzip"]));
    assert_eq!(ask("/a.txt"), "one ".repeat(1000));
    let path = |name: &str| server.place.path().join("www").join(name);
    std::fs::rename(path("new"), path("a.txt")).expect("the same folder");
    assert_eq!(ask("//a.txt"), "two ".repeat(1000));
}
