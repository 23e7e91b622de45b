//! What the proxy says of itself: its pages, its figures, its log.

use serde_json::Value;

use super::origin::{Answering, answer};
use super::*;
use crate::support::matches;

fn storable() -> Answering {
    Origin::new().answering(|head| match head.starts_with("HEAD") {
        true => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
        false => answer("Cache-Control: max-age=600\r\n", "hello"),
    })
}

/// Its own pages are there by its own name, and by the one that leads to it as a proxy.
#[test]
fn own_pages() {
    let proxy = caching("");
    for (path, media_type, part) in [
        ("/", "text/html; charset=utf-8", "<h1>Proxy on "),
        ("/-/", "text/html; charset=utf-8", "<h1>Proxy on "),
        ("/-/status", "text/html; charset=utf-8", "<h1>Proxy on "),
        (
            "/-/status?refresh",
            "text/html; charset=utf-8",
            "http-equiv=\"refresh\"",
        ),
        (
            "/-/setup",
            "text/html; charset=utf-8",
            "<h1>Set up the proxy</h1>",
        ),
        (
            "/proxy.pac",
            "application/x-ns-proxy-autoconfig",
            "function FindProxyForURL(",
        ),
        (
            "/wpad.dat",
            "application/x-ns-proxy-autoconfig",
            "function FindProxyForURL(",
        ),
        (
            "/-/metrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE nsh_proxy_requests counter\n",
        ),
    ] {
        for target in [
            path.to_owned(),
            format!("http://nsh.proxy{path}"),
            format!("http://NSH.Proxy:80{path}"),
        ] {
            let answer = proxy.get(&target);
            assert_eq!(answer.status, 200, "{target}");
            assert_eq!(answer.field("content-type"), Some(media_type), "{target}");
            assert!(answer.has("cache-control", "no-store"), "{answer:?}");
            assert!(answer.text().contains(part), "{target}: {}", answer.text());
            if media_type.starts_with("text/html") {
                let policy = answer.field("content-security-policy").expect("a policy");
                assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            }
            let head = proxy.ask(&format!("HEAD {target}"), &[]);
            assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
            assert_eq!(head.field("content-type"), Some(media_type), "{target}");
        }
    }
}

#[test]
fn what_there_is_not() {
    let proxy = caching("");
    for target in [
        "/missing",
        "/-/missing",
        "/favicon.ico",
        "http://nsh.proxy/missing",
        "/-/status/",
    ] {
        let answer = proxy.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(
            answer.text().contains("the proxy has no such page")
                || answer.text().contains("The proxy has no such page"),
            "{}",
            answer.text()
        );
    }
    let page = proxy.ask("GET /missing", &["Accept: text/html"]);
    assert!(
        page.text().starts_with("<!DOCTYPE html>"),
        "{}",
        page.text()
    );
    assert_eq!(proxy.ask("POST /missing", &[]).status, 404);
    let refused = proxy.ask("DELETE /-/status", &[]);
    assert_eq!(refused.status, 405);
    for method in ["GET", "HEAD", "POST"] {
        assert!(refused.has("allow", method), "{refused:?}");
    }
    for target in ["*", "/-/status", "http://nsh.proxy/"] {
        let options = proxy.ask(&format!("OPTIONS {target}"), &[]);
        assert_eq!(options.status, 200, "{target}");
        assert!(options.has("allow", "GET"), "{options:?}");
    }
    let nothing = passing("").get("/-/cache");
    assert_eq!(nothing.status, 404);
}

/// As the client calls it: what is right on this machine is not on others.
#[test]
fn the_configuration_names_the_proxy_as_its_client_does() {
    let proxy = passing("");
    let own = &proxy.address;
    for (target, host, named) in [
        ("/proxy.pac", "localhost:8888", "localhost:8888"),
        ("/proxy.pac", "[::1]:8888", "[::1]:8888"),
        ("/wpad.dat", "192.0.2.1", "192.0.2.1:80"),
        ("http://nsh.proxy/proxy.pac", "nsh.proxy", own),
        ("/-/setup", "localhost:8888", "localhost:8888"),
        ("http://nsh.proxy/-/setup", "nsh.proxy", own),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = proxy.connect().ask(head);
        let expected = match target.ends_with("setup") {
            true => format!("<pre>http://{named}/proxy.pac</pre>"),
            false => format!("? \"DIRECT\" : \"PROXY {named}; DIRECT\";"),
        };
        assert!(
            answer.text().contains(&expected),
            "{target} {host}: {}",
            answer.text()
        );
    }
    // Nothing that would end the string.
    let head = "GET /proxy.pac HTTP/1.1\r\nHost: a\";alert(1)//.localhost\r\n\r\n";
    let answer = proxy.connect().ask(head);
    assert!(
        answer.status == 400 || !answer.text().contains("alert"),
        "{answer:?}"
    );
}

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
#[test]
fn figures() {
    let (mut proxy, origin) = (caching(""), storable());
    let before = proxy.get("/-/metrics");
    assert!(before.text().ends_with("\n# EOF\n"), "{}", before.text());
    let url = origin.url("/a");
    for _ in 0..3 {
        assert_eq!(proxy.get(&url).text(), "hello");
    }
    proxy.ask(&format!("POST {}", origin.url("/b")), &[]);
    assert_eq!(
        proxy
            .get(&format!("http://{}/", Origin::new().address))
            .status,
        502
    );
    proxy.settle(5);
    let text = proxy.get("/-/metrics").text().to_owned();
    for line in [
        "nsh_proxy_requests_total{result=\"hit\"} 2",
        "nsh_proxy_requests_total{result=\"miss\"} 2",
        "nsh_proxy_requests_total{result=\"pass\"} 1",
        "nsh_proxy_requests_total{result=\"own\"} 1",
        "nsh_proxy_responses_total{class=\"1xx\"} 0",
        "nsh_proxy_responses_total{class=\"2xx\"} 5",
        "nsh_proxy_responses_total{class=\"4xx\"} 0",
        "nsh_proxy_responses_total{class=\"5xx\"} 1",
        "nsh_proxy_saved_octets_total 10",
        "nsh_proxy_origin_octets_total 10",
        "nsh_proxy_errors_total{error=\"connection_refused\"} 1",
        "nsh_proxy_cache_entries 1",
        "nsh_proxy_connections_total 7",
        "nsh_proxy_refused_connections_total 0",
        "nsh_proxy_request_seconds_count 6",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "no {line} in {text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

#[test]
fn the_status_page_shows_what_happened() {
    let (mut proxy, origin) = (caching(""), storable());
    let url = origin.url("/a?b=c&d");
    assert_eq!(proxy.get(&url).text(), "hello");
    assert_eq!(proxy.get(&url).text(), "hello");
    proxy.settle(2);
    let page = proxy.get("/-/status").text().to_owned();
    let shown = url.replace('&', "&amp;");
    for part in [
        "<dt>Requests</dt><dd>2</dd>",
        "<dt>Hit ratio</dt><dd>50.0 %</dd><dd class=\"quiet\">1 hit</dd>",
        "<tr><td>127.0.0.1</td><td>2</td><td>1</td><td>50.0 %</td><td>10 B</td></tr>",
        "<td>GET</td><td>200</td><td class=\"good\">hit</td><td>5 B</td>",
        "<td>GET</td><td>200</td><td>miss</td><td>5 B</td>",
        &format!("<tr><td>{shown}</td><td>200</td><td class=\"good\">fresh</td>"),
        &format!("<input type=\"hidden\" name=\"url\" value=\"{shown}\"><button>Purge</button>"),
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

/// What is refused before a host is known is no host's.
#[test]
fn the_status_page_knows_hosts_by_their_names() {
    let mut proxy = passing("");
    assert_eq!(proxy.get("https://a.example/").status, 400);
    assert_eq!(proxy.get("http://nosuch.invalid/").status, 502);
    proxy.settle(2);
    let page = proxy.get("/-/status").text().to_owned();
    assert!(
        page.contains("<tr><td>nosuch.invalid</td><td>1</td>"),
        "{page}"
    );
    assert!(!page.contains("<tr><td></td>"), "{page}");
}

/// What others ask for is text there, whatever they ask for.
#[test]
fn no_url_becomes_markup() {
    let (mut proxy, origin) = (caching(""), storable());
    for path in [
        "/\"'><script>alert(1)</script>",
        "/%3Cscript%3E",
        "/&lt;b&gt;&quot;",
        "/?\"onload=\"x",
        "/'-->]]>",
    ] {
        let head = format!("A&B'! {} HTTP/1.1\r\nHost: a\r\n\r\n", origin.url(path));
        let _ = proxy.connect().ask(head);
        let _ = proxy.get(&origin.url(path));
        proxy.settle(2);
    }
    let nowhere = proxy.ask("GET http://a<b>.invalid/", &["Accept: text/html"]);
    assert!(!nowhere.text().contains("a<b>"), "{}", nowhere.text());
    for target in [
        "/-/status?q=%22%3E%3Cscript%3E",
        "/-/status?q=<script>&refresh=\"><script>",
        "http://nsh.proxy/?q='%3E%3Cscript",
    ] {
        let answer = proxy.get(target);
        assert!(!answer.text().contains("<script"), "{}", answer.text());
        assert!(!answer.text().contains("A&B"), "{}", answer.text());
        assert!(!answer.text().contains("\"onload"), "{}", answer.text());
    }
}

/// By the buttons of the status page.
#[test]
fn forms_purge() {
    let (proxy, origin) = (caching(""), storable());
    let urls = ["/a?b=c&d=%25+e", "/b", "/c"].map(|path| origin.url(path));
    let encoded: String = urls[0]
        .bytes()
        .map(|octet| format!("%{octet:02X}"))
        .collect();
    let fetch = || {
        urls.iter()
            .for_each(|url| assert_eq!(proxy.get(url).text(), "hello"))
    };
    let purge = |target: &str, form: &str| {
        let own = &proxy.address;
        let length = form.len();
        let answer = proxy.connect().ask(format!(
            "POST {target} HTTP/1.1\r\nHost: {own}\r\nAccept: text/html,*/*;q=0.8\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        ));
        assert_eq!(answer.status, 303, "{answer:?}");
        assert_eq!(answer.field("location"), Some("/-/status"));
    };
    fetch();
    fetch();
    assert_eq!(origin.heads().len(), 3);
    purge("/-/cache/purge", &format!("url={encoded}"));
    fetch();
    assert_eq!(origin.heads().len(), 4);
    purge("http://nsh.proxy/-/cache/purge", "all=yes");
    fetch();
    assert_eq!(origin.heads().len(), 7);
    purge(
        "/-/cache/purge",
        &format!("pattern={}", urls[1].replace('/', "%2F")),
    );
    fetch();
    assert_eq!(origin.heads().len(), 8);
    purge("/-/cache/purge", "");
    fetch();
    assert_eq!(origin.heads().len(), 8);
    // Programs get figures, also of a form that comes in pieces.
    let mut client = proxy.connect();
    let own = &proxy.address;
    client.send(format!(
        "POST /-/cache/purge HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n"
    ));
    let answer = client.ask("4\r\n=yes\r\n0\r\n\r\n");
    let purged: Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(purged["responses"], 3);
    let large =
        format!("POST /-/cache/purge HTTP/1.1\r\nHost: {own}\r\nContent-Length: 99999\r\n\r\n");
    assert_eq!(client.ask(large + &"x".repeat(99_999)).status, 413);
}

/// In the words that people see.
#[test]
fn requests_in_words() {
    let (place, origin) = (place(), storable());
    let mut nsh = place.start(&["-c", "proxy -p 0 --cache kept"]);
    let line = nsh.line();
    let pattern = "[1] proxy at 127.0.0.1:..., for this machine only, cache in kept; status at http://nsh.proxy/ through it";
    assert!(matches(pattern, &line), "{line}");
    let address = line.split([' ', ',']).find(|word| word.starts_with("127."));
    let address = address.expect("an address");
    let url = origin.url("/a");
    let get = format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = Client::connect(address);
    for how in ["miss", "hit"] {
        assert_eq!(client.ask(&get).text(), "hello");
        assert_eq!(
            nsh.line(),
            format!("[1] From 127.0.0.1 Request GET {url} HTTP/1.1")
        );
        let line = nsh.line();
        let pattern = format!("[1] To 127.0.0.1 Response HTTP/1.1 200 OK ({how}, 5 B, ... ms)");
        assert!(matches(&pattern, &line), "{line}");
    }
    client.send("GET http://a/\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.receive("GET").expect("a refusal").status, 400);
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
}

#[test]
fn requests_as_events() {
    let (mut proxy, origin) = (caching(""), storable());
    let url = origin.url("/a");
    proxy.get(&url);
    let event = proxy.nsh.event("exchange");
    for (name, value) in [
        ("client", Value::from("127.0.0.1")),
        ("method", "GET".into()),
        ("url", url.as_str().into()),
        ("status", 200.into()),
        ("cache", "miss".into()),
        ("octets", 5.into()),
        ("origin", origin.address.as_str().into()),
        ("error", Value::Null),
    ] {
        assert_eq!(event[name], value, "{event}");
    }
    assert!(
        event["milliseconds"]
            .as_f64()
            .is_some_and(|span| span > 0.0),
        "{event}"
    );
    proxy.get(&url);
    let event = proxy.nsh.event("exchange");
    assert_eq!(
        (&event["cache"], &event["origin"]),
        (&"hit".into(), &Value::Null),
        "{event}"
    );
    let nowhere = Origin::new().url("/");
    proxy.get(&nowhere);
    let event = proxy.nsh.event("exchange");
    assert_eq!(
        (&event["status"], &event["error"]),
        (&502.into(), &"connection_refused".into())
    );
}

/// What five requests leave in the file.
fn logged(options: &str) -> Vec<String> {
    let origin = storable();
    let place = place();
    let mut command = place.nsh();
    command
        .env("NSH_PROXY_PASSWORD", "love")
        .args(["--json", "-c"])
        .arg(format!(
            "proxy -p 0 --cache kept --auth ada --log access.log {options}"
        ));
    let nsh = Running::of(command);
    let proxy = Proxy::of(place, nsh);
    let url = origin.url("/a");
    let fields = "Proxy-Authorization: Basic YWRhOmxvdmU=\r\nReferer: http://b/\r\n\
                  User-Agent: one\"two\\ \u{9b}\u{e9}\r\n";
    let mut client = proxy.connect();
    client.ask(format!("GET {url} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.ask(format!(
        "HEAD {url} HTTP/1.0\r\nConnection: keep-alive\r\n{fields}\r\n"
    ));
    client.ask(format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.ask(format!(
        "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    ));
    client.send("GET /\x1b[2J\n \"\r\n\r\n");
    client.rest();
    let Proxy { nsh, place, .. } = proxy;
    nsh.signal(Signal::SIGINT);
    nsh.end();
    let log = place.read("access.log");
    assert!(!log.contains('\x1b') && !log.contains('\u{9b}'), "{log:?}");
    let lines = log.lines().map(|line| line.replace(&url, "URL"));
    lines.collect()
}

#[track_caller]
fn check_log(options: &str, patterns: [&str; 5]) {
    let log = logged(options);
    assert_eq!(log.len(), 5, "{log:#?}");
    for (line, pattern) in log.iter().zip(patterns) {
        assert!(matches(pattern, line), "{pattern}\n{line}\n{log:#?}");
    }
}

/// As `serve` and others write it.
#[test]
fn a_common_log() {
    check_log(
        "",
        [
            r#"127.0.0.1 - ada [.../...:...:...:... ...] "GET URL HTTP/1.1" 200 5"#,
            r#"127.0.0.1 - ada [...] "HEAD URL HTTP/1.0" 200 -"#,
            r#"127.0.0.1 - - [...] "GET URL HTTP/1.1" 407 ..."#,
            r#"127.0.0.1 - ada [...] "GET /-/metrics HTTP/1.1" 200 ..."#,
            r#"127.0.0.1 - - [...] "..." 400 ..."#,
        ],
    );
}

#[test]
fn a_combined_log() {
    check_log(
        "--log-format combined",
        [
            r#"127.0.0.1 - ... [...] "GET URL HTTP/1.1" 200 5 "http://b/" "one\x22two\x5c \xc2\x9b\xc3\xa9""#,
            r#"127.0.0.1 - ... [...] "HEAD URL HTTP/..." 200 - "http://b/" "one...""#,
            r#"127.0.0.1 - ... [...] "GET URL HTTP/1.1" 407 ... "-" "-""#,
            r#"127.0.0.1 - ... [...] "GET /-/metrics HTTP/1.1" 200 ... "http://b/" "one...""#,
            r#"127.0.0.1 - ... [...] "..." 400 ... "-" "-""#,
        ],
    );
}

#[test]
fn a_log_in_json() {
    let log = logged("--log-format json");
    let events = log
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let events: Vec<Value> = events.collect();
    let facts = |event: &Value| {
        format!(
            "{} {} {} {}",
            event["method"], event["url"], event["status"], event["cache"]
        )
    };
    let facts: Vec<String> = events.iter().map(facts).collect();
    assert_eq!(
        facts[..4],
        [
            r#""GET" "URL" 200 "miss""#,
            r#""HEAD" "URL" 200 "hit""#,
            r#""GET" "URL" 407 "own""#,
            r#""GET" "/-/metrics" 200 "own""#,
        ]
    );
    assert_eq!(events[4]["status"], 400);
    assert!(
        events
            .iter()
            .all(|event| event["event"] == "exchange" && event["time"].is_string())
    );
}

#[test]
fn a_log_that_cannot_be_written() {
    let place = place();
    std::fs::create_dir(place.path().join("taken")).expect("room");
    let ran = place.run(&["-q", "-c", "proxy -p 0 --no-cache --log taken"]);
    let stderr = "...proxy: cannot write the access log taken: Is a directory\n";
    assert!(matches(stderr, &ran.stderr) && ran.status == 2, "{ran:?}");
}
