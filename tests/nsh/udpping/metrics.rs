//! What the monitor tells those who collect figures.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::monitor::sender;
use super::{Listening, PATIENCE, listen};

/// Sends octets to the metrics' port; status line and body of what comes back.
pub fn get(monitor: &Listening, request: &str) -> (String, String) {
    let url = monitor.metrics.as_deref().expect("metrics");
    let address = url
        .strip_prefix("http://")
        .and_then(|url| url.strip_suffix("/metrics"));
    let mut stream = TcpStream::connect(address.expect("a URL")).expect("it serves");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// A metric's name, its type, and its figures by what they are of.
type Family = (String, String, Vec<(String, f64)>);

/// The families of an OpenMetrics text (OpenMetrics 1.0), whose rules are checked.
pub fn families(text: &str) -> Vec<Family> {
    let lines = text.strip_suffix("# EOF\n").expect("the end");
    assert!(lines.is_empty() || lines.ends_with('\n'));
    let mut families: Vec<Family> = Vec::new();
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(
                families.iter().all(|family| family.0 != name),
                "{name} comes twice"
            );
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert!(
                name.bytes()
                    .all(|octet| octet == b'_' || octet.is_ascii_lowercase())
            );
            families.push((name.to_owned(), kind.to_owned(), Vec::new()));
            continue;
        }
        let family = families.last_mut().expect("a type comes first");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let start = format!("{} ", family.0);
            assert!(rest.starts_with(&start) && family.2.is_empty(), "{line}");
            continue;
        }
        let suffix = if family.1 == "counter" {
            "_total{"
        } else {
            "{"
        };
        // One without a label is of the monitor itself.
        let alone = format!("{}{} ", family.0, suffix.trim_end_matches('{'));
        if let Some(figure) = line.strip_prefix(&alone) {
            family.2.push((String::new(), figure.parse().expect(line)));
            continue;
        }
        let sample = line
            .strip_prefix(&format!("{}{suffix}", family.0))
            .expect(line);
        let (label, figure) = sample.split_once("\"} ").expect(line);
        let (name, value) = label.split_once("=\"").expect(line);
        assert!(
            name.bytes().all(|octet| octet.is_ascii_lowercase()),
            "{line}"
        );
        assert!(!value.contains(['"', '\\', '\n']), "{line}");
        let is_known = family.2.iter().any(|(other, _)| other == value);
        assert!(!is_known, "{line} comes twice");
        let figure: f64 = figure.parse().expect(line);
        assert!(figure.is_finite() && figure >= 0.0, "{line}");
        family.2.push((value.to_owned(), figure));
    }
    families
}

#[test]
fn metrics() {
    let mut monitor = listen("--monitor --metrics 0");
    let sender = sender(&monitor, "web1");
    let nobody = families(&get(&monitor, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").1);
    assert!(nobody.iter().all(
        |(name, _, samples)| samples.iter().all(|sample| sample.1 == 0.0)
            && (samples.is_empty() || name.ends_with("_senders") || name.ends_with("_rejected"))
    ));
    super::connect(monitor.address)
        .send(b"hello")
        .expect("loopback");
    monitor.nsh.event("rejected");
    sender.beat(0);
    sender.beat(5);
    monitor.nsh.event("lost");
    let (head, body) = get(&monitor, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let kind = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(kind),
        "{head}"
    );
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
    let families = families(&body);
    let sample = |name: &str, label: &str| {
        let family = families.iter().find(|family| family.0 == name).expect(name);
        family
            .2
            .iter()
            .find(|sample| sample.0 == label)
            .expect(label)
            .1
    };
    assert_eq!(sample("nsh_heartbeat_up", "web1"), 1.0);
    assert_eq!(sample("nsh_heartbeat_received", "web1"), 2.0);
    assert_eq!(sample("nsh_heartbeat_lost", "web1"), 4.0);
    assert_eq!(sample("nsh_heartbeat_restarts", "web1"), 0.0);
    assert_eq!(sample("nsh_heartbeat_rejected", ""), 1.0);
    assert_eq!(sample("nsh_heartbeat_senders", "up"), 1.0);
    assert_eq!(sample("nsh_heartbeat_senders", "down"), 0.0);
}

#[test]
fn requests_for_something_else() {
    let monitor = listen("--monitor --metrics 0");
    let status = |request: &str| {
        let (head, body) = get(&monitor, request);
        (
            head.lines().next().unwrap_or_default().to_owned(),
            head,
            body,
        )
    };
    let (line, head, body) = status("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((line.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    assert!(!head.contains("Content-Length: 0"), "{head}");
    let mut wrong = Vec::new();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200 OK"),
        // Prometheus adds the `params` of its configuration.
        (
            "GET /metrics?format=text HTTP/1.1\r\nHost: a\r\n\r\n",
            "200 OK",
        ),
        ("nonsense\r\n\r\n", "400 Bad Request"),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "405 Method Not Allowed",
        ),
        // What follows the head changes nothing.
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "405 Method Not Allowed",
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
            "200 OK",
        ),
    ] {
        let (line, head, _) = status(request);
        if line != format!("HTTP/1.1 {expected}") {
            wrong.push(format!("{request:?}: {line:?}, not {expected}"));
        }
        // RFC 9110 section 15.5.6.
        if line.contains("405") && !head.to_lowercase().contains("\r\nallow: ") {
            wrong.push(format!("{request:?}: 405 without Allow"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
