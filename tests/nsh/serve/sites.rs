//! From an address to a file: index files, folders, what is missing, applications.

use super::{Server, serve, www};

#[test]
fn index_files() {
    let place = www();
    for folder in ["html", "htm", "both", "own", "none", "odd/index.html"] {
        std::fs::create_dir_all(place.path().join("www").join(folder)).expect("room");
    }
    for name in [
        "html/index.html",
        "htm/index.htm",
        "both/index.html",
        "both/index.htm",
        "own/home",
    ] {
        place.write(&format!("www/{name}"), name);
    }
    let server = serve(place, "--no-listing");
    let check = |server: &Server, folder: &str, expected: Option<&str>| {
        let answer = server.get(folder);
        match expected {
            Some(name) => assert_eq!((answer.status, answer.text()), (200, name)),
            None => assert_eq!(answer.status, 404, "{folder}"),
        }
    };
    check(&server, "/html/", Some("html/index.html"));
    check(&server, "/htm/?a=b", Some("htm/index.htm"));
    check(&server, "/both/", Some("both/index.html"));
    check(&server, "/own/", None);
    check(&server, "/none/", None);
    check(&server, "/odd/", None);
    check(&server, "/html/index.html/", None);
    let Server { nsh, place, .. } = server;
    drop(nsh);
    let server = serve(place, "--no-listing --index home --index index.htm");
    check(&server, "/own/", Some("own/home"));
    check(&server, "/both/", Some("both/index.htm"));
    check(&server, "/html/", None);
}

/// RFC 9110 section 15.4.2; the query stays, and no address leads to another host.
#[test]
fn folders_have_a_slash_at_their_end() {
    let place = www();
    for folder in [
        "folder",
        "folder/sub",
        "evil.com",
        "a b&c#d?e%f",
        "caf\u{e9}",
    ] {
        std::fs::create_dir(place.path().join("www").join(folder)).expect("room");
    }
    let server = serve(place, "");
    for (target, location) in [
        ("/folder", "/folder/"),
        ("/folder?a=b&c=/d?e", "/folder/?a=b&c=/d?e"),
        ("/folder?", "/folder/?"),
        ("/folder/sub", "/folder/sub/"),
        ("//evil.com", "/evil.com/"),
        ("///evil.com?//evil.com", "/evil.com/?//evil.com"),
        ("//folder//sub", "/folder/sub/"),
        ("http://localhost/folder", "/folder/"),
        ("/%66older", "/folder/"),
        ("/a%20b%26c%23d%3Fe%25f", "/a%20b%26c%23d%3Fe%25f/"),
        ("/caf%C3%A9", "/caf%C3%A9/"),
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 301, "{target}");
        assert_eq!(answer.field("location"), Some(location), "{target}");
    }
    for target in [
        "//evil.example",
        "//evil.example/%2e%2e",
        "/\\evil.com",
        "/%5cevil.com",
        "/%5C%5Cevil.com/",
        "/%2fevil.com",
        "//evil.example/..;/",
        "/%09/evil.com",
        "/folder%0d%0aSet-Cookie:a=b",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.field("location"), None, "{target}");
        assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
        assert_eq!(answer.field("set-cookie"), None);
    }
}

#[test]
fn what_is_missing() {
    let server = serve(www(), "");
    let target = "/<script>alert(1)</script>?<b>";
    let answer = server.get(target);
    assert_eq!(
        answer.text(),
        "404 Not Found\nThere is nothing at this address.\n"
    );
    let answer = server.ask(&format!("GET {target}"), &["Accept: text/html, */*;q=0.8"]);
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(!answer.text().contains("alert(1)") && !answer.text().contains("<b>"));
    let place = www();
    place.write("www/404.html", "<p>own page</p>");
    let server = serve(place, "--compress");
    for target in ["/missing", "/page.html/", "/missing/folder/", "/.hidden"] {
        let answer = server.get(target);
        assert_eq!(
            (answer.status, answer.text()),
            (404, "<p>own page</p>"),
            "{target}"
        );
        assert_eq!(
            answer.field("content-type"),
            Some("text/html; charset=utf-8")
        );
    }
    // Its conditions and ranges are not those of the page that was asked for.
    for field in ["Range: bytes=0-3", "If-None-Match: *", "If-Match: \"a\""] {
        assert_eq!(server.ask("GET /missing", &[field]).status, 404, "{field}");
    }
    assert_eq!(server.get("/404.html").status, 200);
}

#[test]
fn applications_that_route_in_the_browser() {
    for options in ["--spa", "--spa --compress"] {
        let place = www();
        let index = format!("<p>{}</p>", "app ".repeat(1000));
        place.write("www/index.html", &index);
        let server = serve(place, options);
        for fields in [&[][..], &["Accept-Encoding: gzip"]] {
            for target in ["/users/7", "/missing.html", "/a/b/"] {
                let answer = server.ask(&format!("GET {target}"), fields);
                assert_eq!(answer.status, 200, "{options} {target} {fields:?}");
                let media_type = answer.field("content-type");
                assert_eq!(media_type, Some("text/html; charset=utf-8"));
                let is_plain = answer.field("content-encoding").is_none();
                assert!(!is_plain || answer.text() == index, "{options} {target}");
            }
        }
        assert_eq!(server.get("/page.html").text(), "<p>page</p>\n");
        assert_eq!(server.get("/../x").status, 400);
        assert_eq!(server.ask("POST /users/7", &[]).status, 405);
    }
    assert_eq!(serve(www(), "--spa").get("/missing").status, 404);
}

#[test]
fn pretty_addresses() {
    let place = www();
    place.write("www/about.html", "about");
    place.write("www/both", "plain");
    place.write("www/both.html", "html");
    std::fs::create_dir(place.path().join("www/team")).expect("room");
    place.write("www/team.html", "team");
    let server = serve(place, "--pretty");
    for (target, text) in [
        ("/about", "about"),
        ("/about?a", "about"),
        ("/about.html", "about"),
        ("/both", "plain"),
        ("/page", "<p>page</p>\n"),
    ] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.text()), (200, text), "{target}");
    }
    let answer = server.get("/about");
    assert_eq!(
        answer.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(server.get("/team").field("location"), Some("/team/"));
    assert_eq!(server.get("/about/").status, 404);
    assert_eq!(serve(www(), "").get("/page").status, 404);
}

/// The folder, or one file.
#[test]
fn one_file_is_served_alone() {
    let place = www();
    place.write("photo.txt", "photo");
    place.write("secret.txt", "secret");
    let nsh = place.start(&["--json", "-c", "serve photo.txt -p 0"]);
    let server = Server::of(place, nsh);
    assert_eq!(server.get("/photo.txt").text(), "photo");
    assert_eq!(server.get("/secret.txt").status, 404);
}
