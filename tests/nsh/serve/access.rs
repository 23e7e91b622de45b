//! Who may ask, from where, and what goes with every answer.

use super::{Server, serve, www};
use crate::client::Answer;
use crate::support::{Running, matches};

/// With `--auth ada`, and the password in the environment.
fn guarded(password: &str, options: &str) -> Server {
    let place = www();
    let mut command = place.nsh();
    command
        .env("NSH_SERVE_PASSWORD", password)
        .args(["--json", "-c"])
        .arg(format!("serve www -p 0 --auth ada {options}"));
    let nsh = Running::of(command);
    Server::of(place, nsh)
}

/// RFC 7617.
#[test]
fn a_password() {
    let server = guarded("love: lace", "--metrics --echo");
    let ask = |fields: &[&str]| server.ask("GET /page.html", fields);
    let answer = ask(&[]);
    assert_eq!(answer.status, 401);
    let challenge = answer.field("www-authenticate").expect("a challenge");
    assert!(matches("Basic realm=\"...\"...", challenge), "{challenge}");
    assert!(!answer.text().contains("<p>page</p>"));
    for right in [
        "Basic YWRhOmxvdmU6IGxhY2U=",
        "basic YWRhOmxvdmU6IGxhY2U=",
        "BASIC   YWRhOmxvdmU6IGxhY2U=",
    ] {
        let answer = ask(&[&format!("Authorization: {right}")]);
        assert_eq!(
            (answer.status, answer.text()),
            (200, "<p>page</p>\n"),
            "{right}"
        );
    }
    for wrong in [
        "",
        "Basic",
        "Basic ",
        // ada:, ada:love, ada:love: lace2, eve:love: lace, ADA:love: lace, love: lace
        "Basic YWRhOg==",
        "Basic YWRhOmxvdmU=",
        "Basic YWRhOmxvdmU6IGxhY2Uy",
        "Basic ZXZlOmxvdmU6IGxhY2U=",
        "Basic QURBOmxvdmU6IGxhY2U=",
        "Basic bG92ZTogbGFjZQ==",
        "Basic %%%",
        "Basic YWRhOmxvdmU6IGxhY2U=, Basic YWRhOmxvdmU6IGxhY2U=",
        "Bearer YWRhOmxvdmU6IGxhY2U=",
        "YWRhOmxvdmU6IGxhY2U=",
    ] {
        assert_eq!(
            ask(&[&format!("Authorization: {wrong}")]).status,
            401,
            "{wrong}"
        );
    }
    // Nobody learns without it what there is.
    for line in [
        "GET /missing",
        "GET /-/metrics",
        "GET /echo",
        "POST /",
        "HEAD /page.html",
    ] {
        assert_eq!(server.ask(line, &[]).status, 401, "{line}");
    }
}

#[test]
fn a_password_in_a_file() {
    let place = www();
    place.write("password", "gr\u{fc}n\nsecond line\n");
    let server = serve(place, "--auth ada --password-file password");
    let ask = |fields: &[&str]| server.ask("GET /page.html", fields).status;
    assert_eq!(ask(&["Authorization: Basic YWRhOmdyw7xu"]), 200);
    assert_eq!(ask(&["Authorization: Basic YWRhOmdy/G4="]), 401);
    assert_eq!(ask(&[]), 401);
}

/// A page of somebody's own may rebind its name to this machine (DNS rebinding).
#[test]
fn a_server_for_this_machine_answers_to_its_names_only() {
    let ask = |server: &Server, host: &str| {
        let request = format!("GET /page.html HTTP/1.1\r\nHost: {host}\r\n\r\n");
        server.connect().ask(request).status
    };
    let server = serve(www(), "");
    for host in [
        "localhost",
        "LocalHost.:1",
        "app.localhost",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]",
    ] {
        assert_eq!(ask(&server, host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "0.0.0.0",
        "[2001:db8::1]",
        "2130706433",
        "0x7f.1",
    ] {
        assert_eq!(ask(&server, host), 421, "{host}");
    }
    // HTTP/1.0 without a Host can't come from a browser.
    let mut client = server.connect();
    assert_eq!(client.ask("GET /page.html HTTP/1.0\r\n\r\n").status, 200);
    let server = serve(www(), "--allow-host lab.example --allow-host other.example");
    for (host, status) in [
        ("lab.example", 200),
        ("LAB.example.:8080", 200),
        ("other.example", 200),
        ("localhost", 200),
        ("www.lab.example", 421),
        ("evil.example", 421),
    ] {
        assert_eq!(ask(&server, host), status, "{host}");
    }
}

#[test]
fn cross_origin_requests() {
    let server = serve(www(), "--cors");
    let origin = "Origin: https://app.example";
    let answer = server.ask("GET /page.html", &[origin]);
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    for name in ["Content-Range", "ETag", "Content-Length"] {
        assert!(
            answer.has("access-control-expose-headers", name),
            "{answer:?}"
        );
    }
    let missing = server.ask("GET /missing", &[origin]);
    assert_eq!(missing.field("access-control-allow-origin"), Some("*"));
    let preflight = [
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: range",
    ];
    let check = |answer: Answer| {
        assert_eq!(answer.status, 204);
        assert!(
            answer.has("access-control-allow-methods", "GET"),
            "{answer:?}"
        );
        assert!(
            answer.has("access-control-allow-headers", "Range"),
            "{answer:?}"
        );
        answer
    };
    check(server.ask("OPTIONS /page.html", &[&[origin][..], &preflight].concat()));
    let plain = server.ask("OPTIONS /page.html", &[]);
    assert_eq!(
        (plain.status, plain.field("access-control-allow-methods")),
        (204, None)
    );
    let server = serve(www(), "--cors=https://app.example");
    for other in [
        "Origin: https://app.example",
        "Origin: https://evil.example",
    ] {
        let answer = server.ask("GET /page.html", &[other]);
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"), "{other}");
    }
    let server = serve(www(), "");
    let answer = server.ask("OPTIONS /page.html", &[&[origin][..], &preflight].concat());
    assert_eq!(answer.field("access-control-allow-origin"), None);
    assert_eq!(answer.field("access-control-allow-methods"), None);
    // A browser asks without the password, and then once more with it (Fetch, section 4.8).
    let server = guarded("secret", "--cors=https://app.example");
    check(server.ask("OPTIONS /page.html", &[&[origin][..], &preflight].concat()));
}

#[test]
fn own_fields() {
    let server = serve(
        www(),
        "--header 'X-One: a: b' --header 'x-two:  c ' --header 'X-Three: '",
    );
    std::fs::create_dir(server.place.path().join("www/folder")).expect("room");
    for target in ["/page.html", "/missing", "/folder", "/folder/", "/%zz"] {
        let answer = server.get(target);
        assert_eq!(answer.field("x-one"), Some("a: b"), "{target}");
        assert_eq!(answer.field("x-two"), Some("c"), "{target}");
    }
    let answer = serve(www(), "--secure").get("/page.html");
    assert_eq!(answer.field("x-frame-options"), Some("DENY"));
    let policy = answer.field("content-security-policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
}

#[test]
fn how_long_clients_may_keep_it() {
    let place = www();
    std::fs::create_dir_all(place.path().join("www/assets")).expect("room");
    for name in ["a.css", "a.js", "assets/b.css", "assets/b.txt"] {
        place.write(&format!("www/{name}"), name);
    }
    let server = serve(
        place,
        "--cache 'a.css=5' --cache '*.css=60' --cache 'assets/*=0'",
    );
    let check = |target: &str, expected: Option<&str>| {
        let answer = server.get(target);
        assert_eq!(answer.field("cache-control"), expected, "{target}");
    };
    check("/a.css", Some("max-age=5"));
    check("/assets/b.css", Some("max-age=60"));
    check("/assets/b.txt", Some("max-age=0"));
    check("/a.js", None);
}

/// RFC 6265.
#[test]
fn visits_are_counted() {
    let server = serve(www(), "--cookie visits");
    let visit = |cookies: &[&str]| {
        let answer = server.ask("GET /page.html", cookies);
        let cookie = answer.field("set-cookie").expect("a cookie").to_owned();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
            "{cookie}"
        );
        assert!(!cookie.contains("Secure"), "{cookie}");
        let value = cookie.strip_prefix("visits=").expect("its name");
        value.split(';').next().expect("its value").to_owned()
    };
    assert_eq!(visit(&[]), "1");
    assert_eq!(visit(&["Cookie: visits=1"]), "2");
    assert_eq!(visit(&["Cookie: a=b; visits=41; c=d"]), "42");
    assert_eq!(visit(&["Cookie: xvisits=8; visits=2"]), "3");
    assert_eq!(visit(&["Cookie: visits=many"]), "1");
    assert_eq!(visit(&["Cookie: visits=-5"]), "1");
    assert_eq!(visit(&["Cookie: visits=4294967295"]), "4294967295");
    assert_eq!(visit(&["Cookie: ;;=;visits"]), "1");
    assert_eq!(server.get("/next").field("set-cookie"), None);
}

#[test]
fn echoes() {
    let server = serve(www(), "--echo");
    let mut client = server.connect();
    let body = "<script>\0\r\n\r\nGET /";
    let head = format!(
        "POST /any HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}",
        body.len()
    );
    let answer = client.ask(format!("{head}\r\n\r\n{body}"));
    assert_eq!((answer.status, answer.text()), (200, body));
    // No browser takes it for a page.
    assert_eq!(
        answer.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let request = "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Own:  a \tb\r\n\r\n";
    let answer = client.ask(request);
    assert_eq!(answer.text(), request);
    assert_eq!(
        answer.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(server.ask("OPTIONS *", &[]).has("allow", "POST"));
    let large = "x".repeat(1 << 20);
    let head = "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n";
    assert!(client.ask(format!("{head}{large}")).text() == large);
    assert_eq!(serve(www(), "").get("/echo").status, 404);
}

#[test]
fn metrics() {
    let server = serve(www(), "--metrics --threads 1");
    let mut client = server.connect();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for target in ["/page.html", "/next", "/missing"] {
        client.ask(get(target));
    }
    let answer = client.ask(get("/-/metrics"));
    let media_type = answer.field("content-type").expect("a type");
    assert!(
        media_type.starts_with("application/openmetrics-text;"),
        "{media_type}"
    );
    for line in [
        "nsh_serve_connections_total 1",
        "nsh_serve_open_connections 1",
        "nsh_serve_responses_total{class=\"2xx\"} 2",
        "nsh_serve_responses_total{class=\"4xx\"} 1",
    ] {
        assert!(
            answer.text().lines().any(|other| other == line),
            "{line}\n{}",
            answer.text()
        );
    }
    assert!(answer.text().ends_with("\n# EOF\n"));
    assert_eq!(serve(www(), "").get("/-/metrics").status, 404);
}
