//! Nothing outside the folder, and nothing hidden in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;

use super::{Server, serve, www};

/// `www` lies beside a file `secret`, which nobody gets.
fn beside_a_secret(options: &str) -> Server {
    let place = www();
    place.write("secret", "SECRET");
    place.write(".secret", "SECRET");
    std::fs::create_dir_all(place.path().join("www/folder/sub")).expect("room");
    place.write("www/folder/inside", "inside");
    serve(place, options)
}

/// A target as it stands in the request line.
#[track_caller]
fn check(server: &Server, target: impl AsRef<[u8]>, statuses: &[u16]) {
    let target = target.as_ref();
    let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
    let answer = server.connect().ask(request);
    assert!(
        statuses.contains(&answer.status),
        "{}: {answer:?}",
        target.escape_ascii()
    );
    let text = String::from_utf8_lossy(&answer.body);
    let leaks = text.contains("SECRET") || text.contains("root:");
    assert!(!leaks, "{}: {text}", target.escape_ascii());
}

#[test]
fn no_target_leads_out_of_the_folder() {
    for options in ["", "--hidden --pretty --spa"] {
        let server = beside_a_secret(options);
        for target in [
            "/../secret",
            "/../../../../../../../../etc/passwd",
            "/folder/../../secret",
            "/folder/sub/../../../secret",
            "/./../secret",
            "/..",
            "/../",
            "/%2e%2e/secret",
            "/%2E%2E/secret",
            "/.%2e/secret",
            "/%2e./secret",
            "/folder/%2e%2e/%2e%2e/secret",
            "/..%2fsecret",
            "/%2e%2e%2fsecret",
            "/folder%2f..%2f..%2fsecret",
            "/%2fetc%2fpasswd",
            "/page.html%00",
            "/page.html%00.txt",
            "/%00/../secret",
            "/../secret%00.html",
            "/%zz/../secret",
            "/%u002e%u002e/secret",
            "/..%u2215secret",
            "http://localhost/../secret",
            "http://localhost/%2e%2e/secret",
        ] {
            check(&server, target, &[400]);
        }
        let nothing: &[u16] = if options.is_empty() {
            &[404]
        } else {
            &[404, 200]
        };
        for target in [
            // On this system these are names like any other, and nothing has them.
            "/..%5csecret",
            "/..\\secret",
            "/folder\\..\\..\\secret",
            "/%5c..%5csecret",
            "/page.html%0a",
            "/page.html%0d%0aX:y",
            "/%1b[2J",
            "/%7f",
            "//etc/passwd",
            "///etc/passwd",
            "/%252e%252e/secret",
            "/%252e%252e%252fsecret",
            "/..%252fsecret",
            "/..%c0%afsecret",
            "/%c0%ae%c0%ae/secret",
            "/%uff0e%uff0e/secret",
            "/%ef%bc%8e%ef%bc%8e/secret",
            "/.../secret",
            "/..;/secret",
            "/~root/",
            "/C:/secret",
            "/file:///etc/passwd",
            "/proc/self/root/etc/passwd",
            "/secret",
            "/.secret",
            "/page.html/../../secret",
            "/page.html/",
            "/page.html/x",
            "/folder/inside/",
        ] {
            let statuses = if target.contains("%u") || target.contains("..") {
                &[400, 404, 200]
            } else {
                nothing
            };
            check(&server, target, statuses);
        }
        check(&server, format!("/{}", "a/".repeat(3000)), &[404, 200]);
        check(&server, format!("/{}", "a".repeat(300)), &[404, 200]);
        check(&server, "//page.html", &[200]);
        check(&server, "/folder//inside", &[200]);
        check(&server, "/%70age%2Ehtml", &[200]);
    }
}

#[test]
fn hidden_files() {
    let server = serve(www(), "");
    let www = server.place.path().join("www");
    for folder in [
        ".git",
        ".well-known/acme-challenge",
        ".well-known/.own",
        "folder",
    ] {
        std::fs::create_dir_all(www.join(folder)).expect("room");
    }
    for name in [
        ".htpasswd",
        ".git/config",
        "folder/.env",
        ".well-known/.own/file",
        "...",
        ".well-known/security.txt",
        ".well-known/acme-challenge/token",
    ] {
        server.place.write(&format!("www/{name}"), name);
    }
    let check = |server: &Server, target: &str, status: u16| {
        assert_eq!(server.get(target).status, status, "{target}");
    };
    for target in [
        "/.htpasswd",
        "/%2ehtpasswd",
        "//.htpasswd",
        "/.git",
        "/.git/",
        "/.git/config",
        "/folder/.env",
        "/.well-known/.own/file",
        "/...",
    ] {
        check(&server, target, 404);
    }
    check(&server, "/.well-known/security.txt", 200);
    check(&server, "/.well-known/acme-challenge/token", 200);
    let names = |server: &Server| {
        let listing = server.ask("GET /", &["Accept: text/plain"]);
        listing.text().to_owned()
    };
    assert_eq!(names(&server), ".well-known/\nfolder/\nnext\npage.html\n");
    let Server { nsh, place, .. } = server;
    drop(nsh);
    let server = serve(place, "--hidden");
    for target in ["/.htpasswd", "/.git/config", "/folder/.env", "/..."] {
        check(&server, target, 200);
    }
    assert!(names(&server).contains(".htpasswd\n"));
}

#[test]
fn symbolic_links() {
    let server = beside_a_secret("");
    let www = server.place.path().join("www");
    let outside = server.place.path().join("secret");
    for (name, to) in [
        ("inside.txt", "folder/inside"),
        ("folder/sub/up.txt", "../inside"),
        ("alias", "folder"),
        ("out.txt", "../secret"),
        ("folder/out.txt", "../../secret"),
        ("up", ".."),
        ("absolute.txt", outside.to_str().expect("UTF-8")),
        ("root", "/"),
        ("magic", "/proc/self/cwd"),
        ("dangling.txt", "nothing"),
        ("round.txt", "round.txt"),
        ("around.txt", "../www/page.html"),
    ] {
        symlink(to, www.join(name)).expect("room");
    }
    std::fs::create_dir(www.join("index")).expect("room");
    symlink("../../secret", www.join("index/index.html")).expect("room");
    for target in [
        "/inside.txt",
        "/folder/sub/up.txt",
        "/alias/inside",
        "/alias/",
    ] {
        check(&server, target, &[200]);
    }
    for target in [
        "/out.txt",
        "/folder/out.txt",
        "/alias/out.txt",
        "/up/secret",
        "/up/",
        "/absolute.txt",
        "/root/etc/passwd",
        "/root/",
        "/magic/secret",
        "/dangling.txt",
        "/round.txt",
        "/around.txt",
    ] {
        check(&server, target, &[404]);
    }
    // An index that leads outside is none.
    check(&server, "/index/index.html", &[404]);
    check(&server, "/index/", &[404, 200]);
    // A listing tells nothing of what lies outside, not even how large it is.
    let listing = server.ask("GET /", &["Accept: application/json"]);
    let entries: serde_json::Value = serde_json::from_str(listing.text()).expect("JSON");
    for entry in entries.as_array().expect("a list") {
        let name = entry["name"].as_str().expect("a name");
        let leads_out = [
            "out.txt",
            "up",
            "absolute.txt",
            "root",
            "magic",
            "dangling.txt",
        ];
        if leads_out.contains(&name) {
            assert!(
                entry["type"] == "other" && entry["size"].is_null(),
                "{entry}"
            );
        }
    }
}

#[test]
fn what_is_no_file_holds_up_nobody() {
    let server = serve(www(), "--threads 1");
    let www = server.place.path().join("www");
    nix::unistd::mkfifo(&www.join("pipe"), Mode::S_IRWXU).expect("room");
    nix::unistd::mkfifo(&www.join("page.html.gz"), Mode::S_IRWXU).expect("room");
    let _socket = std::os::unix::net::UnixListener::bind(www.join("socket")).expect("room");
    for target in ["/pipe", "/socket", "/pipe/", "/pipe/x"] {
        let status = server.get(target).status;
        assert!(matches!(status, 403 | 404), "{target}: {status}");
    }
    let answer = server.ask("GET /page.html", &["Accept-Encoding: gzip"]);
    assert_eq!(answer.text(), "<p>page</p>\n");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn names_are_octets() {
    let place = www();
    let names: [&[u8]; 8] = [
        b"a b&c#d?e%f.txt",
        b"caf\xc3\xa9.txt",
        b"caf\xe9.txt",
        b"%41.txt",
        b"a+b.txt",
        b"a;b=c.txt",
        b"\"<'>.txt",
        b"c:d.txt",
    ];
    for name in names {
        let path = place.path().join("www").join(OsStr::from_bytes(name));
        std::fs::write(path, name).expect("room");
    }
    let server = serve(place, "");
    for name in names {
        let target: String = name.iter().map(|octet| format!("%{octet:02x}")).collect();
        let answer = server.get(&format!("/{target}?a=b"));
        assert!(
            answer.status == 200 && answer.body == name,
            "{target}: {answer:?}"
        );
    }
    assert_eq!(server.get("/a+b.txt").body, b"a+b.txt");
    assert_eq!(server.get("/a%20b%26c%23d?e%25f.txt").status, 404);
}
