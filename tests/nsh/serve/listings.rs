//! Folders without an index file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Server, serve, set_modified, www};
use crate::support::Place;

fn folder() -> Place {
    let place = www();
    std::fs::create_dir(place.path().join("www/folder")).expect("room");
    place
}

fn listing(server: &Server, target: &str, accept: &str) -> (String, String) {
    let answer = server.ask(&format!("GET {target}"), &[&format!("Accept: {accept}")]);
    assert_eq!(answer.status, 200, "{target}");
    assert!(answer.has("vary", "accept"), "{answer:?}");
    let media_type = answer.field("content-type").expect("a type");
    (media_type.to_owned(), answer.text().to_owned())
}

fn json(server: &Server, target: &str) -> Vec<Value> {
    let (media_type, text) = listing(server, target, "application/json");
    assert_eq!(media_type, "application/json");
    let entries: Value = serde_json::from_str(&text).expect("JSON");
    entries.as_array().expect("a list").clone()
}

/// RFC 9110 section 12.5.1.
#[test]
fn the_client_chooses_the_form() {
    let place = folder();
    place.write("www/folder/a.txt", "hello");
    std::fs::create_dir(place.path().join("www/folder/sub")).expect("room");
    let server = serve(place, "");
    const HTML: &str = "text/html; charset=utf-8";
    for (accept, media_type) in [
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            HTML,
        ),
        ("*/*", HTML),
        ("image/png", HTML),
        ("", HTML),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        (
            "text/plain;q=0.9, application/json;q=0.8",
            "text/plain; charset=utf-8",
        ),
        ("text/html;q=0, text/*", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(
            listing(&server, "/folder/", accept).0,
            media_type,
            "{accept}"
        );
    }
    assert_eq!(
        listing(&server, "/folder/", "text/plain").1,
        "sub/\na.txt\n"
    );
    let entries = json(&server, "/folder/");
    assert_eq!(
        (&entries[0]["name"], &entries[0]["type"]),
        (&"sub".into(), &"folder".into())
    );
    assert_eq!(
        (&entries[1]["name"], &entries[1]["type"]),
        (&"a.txt".into(), &"file".into())
    );
    assert_eq!(entries[1]["size"], 5);
    let modified = entries[1]["modified"].as_str().expect("a time");
    assert!(
        modified.starts_with("20") && modified.ends_with('Z'),
        "{modified}"
    );
    let (_, page) = listing(&server, "/folder/", "text/html");
    for link in ["href=\"./sub/\"", "href=\"./a.txt\"", "href=\"../\""] {
        assert!(page.contains(link), "{link} {page}");
    }
    let empty = serve(folder(), "");
    assert_eq!(listing(&empty, "/folder/", "text/plain").1, "");
    assert_eq!(json(&empty, "/folder/"), Vec::<Value>::new());
    assert!(
        listing(&empty, "/folder/", "text/html")
            .1
            .contains("</html>")
    );
    assert_eq!(serve(folder(), "--no-listing").get("/folder/").status, 404);
}

/// A name does nothing in a page, and what is offered can be had.
#[test]
fn odd_names() {
    let names: [&[u8]; 14] = [
        b"<img src=x onerror=alert(1)>.txt",
        b"\"><script>alert(1)<",
        b"' onmouseover='alert(1)",
        b"javascript:alert(1)",
        b"</title></table>&amp;"[..8].as_ref(),
        b"&lt;script&gt;",
        b"a b&c#d?e%f.txt",
        b"%2e%2e",
        b"one\ntwo",
        b"\x1b[2J\x07",
        b"back\\slash",
        b"caf\xe9",
        b"caf\xc3\xa9",
        "\u{202e}txt.exe".as_bytes(),
    ];
    let place = folder();
    for name in names {
        let name = name
            .iter()
            .map(|octet| if *octet == b'/' { b'|' } else { *octet });
        let name: Vec<u8> = name.collect();
        let path = place
            .path()
            .join("www/folder")
            .join(OsStr::from_bytes(&name));
        std::fs::write(path, "hello").expect("room");
    }
    let server = serve(place, "");
    let (_, page) = listing(&server, "/folder/", "text/html");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    for harm in [
        "<img",
        "onerror=alert(1)>",
        "\n</title><",
        "one\ntwo",
        "\x1b",
        "\u{202e}",
    ] {
        assert!(!page.contains(harm), "{harm:?}: {page}");
    }
    for escaped in [
        "&lt;img src=x onerror=alert(1)&gt;.txt",
        "&amp;lt;script&amp;gt;",
    ] {
        assert!(page.contains(escaped), "{escaped}: {page}");
    }
    for attribute in page.split("href=\"").skip(1) {
        let (href, _) = attribute.split_once('"').expect("an end");
        let is_plain = href
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b'<');
        let is_local = ["./", "../", "?", "/"]
            .iter()
            .any(|start| href.starts_with(start));
        assert!(is_plain && is_local && !href.starts_with("//"), "{href}");
    }
    let (_, text) = listing(&server, "/folder/", "text/plain");
    assert_eq!(text.lines().count(), names.len(), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
    let entries = json(&server, "/folder/");
    assert_eq!(entries.len(), names.len());
    for entry in entries {
        let href = entry["href"].as_str().expect("a link");
        let target = href.strip_prefix("./").expect("a relative link");
        let answer = server.get(&format!("/folder/{target}"));
        let is_offered = entry["type"] == "file" || page.contains(&format!("href=\"{href}\""));
        assert!(
            !is_offered || answer.body == b"hello",
            "{entry}: {}",
            answer.status
        );
    }
}

/// The page runs nothing but its own script (GHSA-rwfq-v4hq-h7fg).
#[test]
fn a_listing_has_a_policy() {
    let server = serve(folder(), "--secure");
    for target in ["/folder/", "/missing"] {
        let answer = server.ask(&format!("GET {target}"), &["Accept: text/html"]);
        let policy = answer.field("content-security-policy").expect("one policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("script-src 'unsafe"));
    }
    let server = serve(folder(), "");
    let answer = server.get("/folder/?sort=%22%3E%3Cscript%3E&order=<b>");
    assert!(!answer.text().contains("<b>") && !answer.text().contains("\"><script>"));
}

#[test]
fn orders() {
    let place = folder();
    std::fs::create_dir(place.path().join("www/folder/zoo")).expect("room");
    for (name, size, second) in [
        ("file10", 2, 1_000_000_300),
        ("file9", 3, 1_000_000_100),
        ("Alpha", 1, 1_000_000_200),
        ("beta", 2, 1_000_000_000),
    ] {
        place.write(&format!("www/folder/{name}"), vec![b'x'; size]);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        set_modified(&place, &format!("www/folder/{name}"), time);
    }
    let server = serve(place, "");
    for (query, expected) in [
        ("", "zoo/ Alpha beta file9 file10"),
        ("?sort=name&order=asc", "zoo/ Alpha beta file9 file10"),
        ("?order=desc", "zoo/ file10 file9 beta Alpha"),
        ("?sort=size", "zoo/ Alpha beta file10 file9"),
        ("?sort=size&order=desc", "zoo/ file9 beta file10 Alpha"),
        ("?sort=date", "zoo/ beta file9 Alpha file10"),
        ("?sort=date&order=desc", "zoo/ file10 Alpha file9 beta"),
        ("?sort=colour&order=up", "zoo/ Alpha beta file9 file10"),
    ] {
        let (_, text) = listing(&server, &format!("/folder/{query}"), "text/plain");
        assert_eq!(
            text.lines().collect::<Vec<_>>().join(" "),
            expected,
            "{query}"
        );
    }
}

/// It is written while it is sent.
#[test]
fn a_large_folder_comes_whole() {
    let place = folder();
    for number in 0..1000 {
        place.write(&format!("www/folder/file{number}"), "");
    }
    let server = serve(place, "");
    let expected: Vec<String> = (0..1000).map(|number| format!("file{number}")).collect();
    let answer = server.ask("GET /folder/", &["Accept: text/plain"]);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert!(answer.text().lines().eq(&expected));
    let names: Vec<Value> = json(&server, "/folder/")
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, expected);
    let (_, page) = listing(&server, "/folder/", "text/html");
    assert_eq!(page.matches("href=\"./file").count(), 1000);
    assert!(page.trim_end().ends_with("</html>"));
    server.check(
        "GET /folder/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "200 next",
    );
    server.check(
        "HEAD /folder/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "200 next",
    );
    // HTTP/1.0 knows no chunks: it ends with the connection, whatever the client would like.
    for connection in ["", "Connection: keep-alive\r\n"] {
        let mut client = server.connect();
        let line = format!("GET /folder/ HTTP/1.0\r\nAccept: text/plain\r\n{connection}\r\n");
        let answer = client.ask(line);
        assert_eq!(answer.field("transfer-encoding"), None);
        assert!(answer.text().lines().eq(&expected));
        client.expect_end();
    }
}
