//! Who may use the proxy, and where it may go for him.

use super::afar::{CLIENT, PROXY, There, from_afar};
use super::origin::{Answering, answer};
use super::*;
use crate::support::{matches, privileged};

/// Answers everything with `hello`.
fn greeting(origin: Origin) -> Answering {
    origin.answering(|_| answer("", "hello"))
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().expect("a port")
}

/// Asks for it as a web server's client does.
#[track_caller]
fn ask_by_path(proxy: &Proxy, target: &str, host: &str, fields: &str) -> Answer {
    let head = format!("{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    proxy.connect().ask(head)
}

/// The status of an answer to CONNECT; 200 where there is a tunnel.
#[track_caller]
fn connect_status(proxy: &Proxy, destination: &str) -> u16 {
    let mut end = proxy.dial();
    end.send(connect_to(destination));
    let head = end.head();
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    status.expect("a status line").parse().expect("a status")
}

#[track_caller]
fn check_error(answer: &Answer, status: u16, kind: &str) {
    let told = answer.field("proxy-status").expect("a Proxy-Status");
    let expected = format!("nsh; error={kind}...");
    assert!(
        answer.status == status && matches(&expected, told),
        "{status} {kind}: {answer:?}"
    );
}

#[track_caller]
fn check_usage(options: &str, stderr: &str) {
    let ran = place().run(&["-q", "-c", &format!("proxy -p 0 --no-cache {options}")]);
    let fits = matches(stderr, &ran.stderr) && ran.stdout.is_empty();
    assert!(fits && ran.status == 2, "{options}: {ran:#?}");
}

#[test]
fn a_proxy_for_others_is_told_for_whom() {
    for bind in ["0.0.0.0", "::"] {
        check_usage(
            &format!("-b {bind}"),
            &format!(
                "...proxy: a proxy on {bind} would serve whoever finds it; say for whom it is \
                 with --allow 192.168.1.0/24 or --auth USER\n"
            ),
        );
    }
    for (options, reach) in [
        (
            "-b 0.0.0.0 --allow 192.0.2.0/24",
            "for the allowed addresses",
        ),
        (
            "-b :: --allow 192.0.2.0/24 --allow 2001:db8::/32",
            "for the allowed addresses",
        ),
        ("-b 127.0.0.1", "for this machine only"),
        ("-b ::1", "for this machine only"),
        (
            "-b 0.0.0.0 --origin http://127.0.0.1:1",
            "for all who reach this machine",
        ),
    ] {
        let command = format!("proxy -p 0 --no-cache {options}");
        let place = place();
        let mut nsh = place.start(&["--json", "-c", &command]);
        assert_eq!(nsh.event("listening")["reach"], reach, "{options}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_at_once() {
    for options in [
        "--allow 192.0.2.0/33",
        "--allow example.com",
        "--auth a:b",
        "--auth ''",
        "--password-file password",
        "--auth ada --password-file missing",
        "--deny ''",
        "--deny 10.*",
        "--deny http://example.com/",
        "--deny 10.0.0.0/40",
        "--connect-ports 0",
        "--connect-ports 443,",
        "--connect-ports 9-8",
        "--connect-ports https",
    ] {
        check_usage(options, "...");
    }
}

/// With `--auth ada`, and the password in the environment.
fn guarded(options: &str) -> Proxy {
    let place = place();
    let mut command = place.nsh();
    command
        .env("NSH_PROXY_PASSWORD", "love: lace")
        .args(["--json", "-c"])
        .arg(format!("proxy -p 0 --auth ada {options}"));
    let nsh = Running::of(command);
    Proxy::of(place, nsh)
}

/// RFC 9110 section 11.7, RFC 7617.
#[test]
fn a_password() {
    const RIGHT: &str = "Proxy-Authorization: Basic YWRhOmxvdmU6IGxhY2U=";
    let (proxy, origin) = (guarded("--no-cache"), greeting(Origin::new()));
    let url = origin.url("/");
    let answer = proxy.get(&url);
    assert_eq!(answer.status, 407);
    let challenge = answer.field("proxy-authenticate").expect("a challenge");
    assert!(matches("Basic realm=\"...\"...", challenge), "{challenge}");
    let get = format!("GET {url}");
    for wrong in [
        "Proxy-Authorization: ",
        "Proxy-Authorization: Basic",
        // ada:, ada:love, ada:love: lace2, ADA:love: lace
        "Proxy-Authorization: Basic YWRhOg==",
        "Proxy-Authorization: Basic YWRhOmxvdmU=",
        "Proxy-Authorization: Basic YWRhOmxvdmU6IGxhY2Uy",
        "Proxy-Authorization: Basic QURBOmxvdmU6IGxhY2U=",
        "Proxy-Authorization: Basic %%%",
        "Proxy-Authorization: Bearer YWRhOmxvdmU6IGxhY2U=",
        // That one is for the origin.
        "Authorization: Basic YWRhOmxvdmU6IGxhY2U=",
    ] {
        assert_eq!(proxy.ask(&get, &[wrong]).status, 407, "{wrong}");
    }
    // Nobody learns without it what the proxy does.
    assert_eq!(proxy.get("http://nsh.proxy/").status, 407);
    for line in [
        "GET /-/metrics",
        "GET /",
        "POST /-/cache/purge",
        "OPTIONS *",
    ] {
        let answer = proxy.ask(line, &[]);
        assert_eq!(answer.status, 401, "{line}");
        let challenge = answer.field("www-authenticate").expect("a challenge");
        assert!(matches("Basic realm=\"...\"...", challenge), "{challenge}");
    }
    // Browsers set themselves up before they can say who asks.
    assert_eq!(proxy.get("/proxy.pac").status, 200);
    assert_eq!(connect_status(&proxy, &origin.address), 407);
    assert_eq!(origin.heads().len(), 0);
    // On the connection that was refused first, as browsers do.
    let mut client = proxy.connect();
    let head = format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n");
    assert_eq!(client.ask(format!("{head}\r\n")).status, 407);
    for right in [
        RIGHT,
        "proxy-authorization: basic YWRhOmxvdmU6IGxhY2U=",
        "Proxy-Authorization: BASIC   YWRhOmxvdmU6IGxhY2U=",
    ] {
        let answer = client.ask(format!("{head}{right}\r\nAuthorization: own\r\n\r\n"));
        assert_eq!((answer.status, answer.text()), (200, "hello"), "{right}");
    }
    let heads = origin.heads();
    assert_eq!(heads.len(), 3);
    for head in heads {
        assert!(!head.to_ascii_lowercase().contains("proxy-auth"), "{head}");
        assert!(head.contains("\r\nAuthorization: own\r\n"), "{head}");
    }
}

/// The tunnel is asked for with the password, and what goes through it is nobody's business.
#[test]
fn a_password_opens_tunnels() {
    let proxy = guarded("--no-cache --connect-ports 1-65535");
    let origin = greeting(Origin::new());
    let mut end = proxy.dial();
    let address = &origin.address;
    end.send(format!(
        "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\
         Proxy-Authorization: Basic YWRhOmxvdmU6IGxhY2U=\r\n\r\n"
    ));
    assert_eq!(end.head(), ESTABLISHED);
    end.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(end.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(origin.heads(), ["GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
}

#[test]
fn a_password_in_a_file() {
    let (place, origin) = (place(), greeting(Origin::new()));
    place.write("password", "gr\u{fc}n\nsecond line\n");
    let proxy = proxy(place, "--no-cache --auth ada --password-file password");
    let get = format!("GET {}", origin.url("/"));
    let ask = |field: &str| proxy.ask(&get, &[field]).status;
    assert_eq!(ask("Proxy-Authorization: Basic YWRhOmdyw7xu"), 200);
    assert_eq!(ask("Proxy-Authorization: Basic YWRhOmdy/G4="), 407);
    assert_eq!(ask("X: y"), 407);
}

#[test]
fn tunnels_lead_to_few_ports() {
    #[track_caller]
    fn check(options: &str, refused: &[u16], permitted: &[u16]) {
        let proxy = passing(options);
        for port in refused {
            // No other test has anything there.
            let destination = format!("127.0.0.93:{port}");
            assert_eq!(connect_status(&proxy, &destination), 403, "{destination}");
        }
        for port in permitted {
            let destination = format!("127.0.0.93:{port}");
            assert_ne!(connect_status(&proxy, &destination), 403, "{destination}");
        }
    }
    check(
        "",
        &[22, 25, 80, 442, 465, 587, 6379, 8080, 65535],
        &[443, 8443],
    );
    check(
        "--connect-ports 22,7000-7002",
        &[25, 443, 6999, 7003],
        &[22, 7000, 7002],
    );
    check("--connect-ports 1-65535", &[25, 465, 587], &[24, 26]);
    check("--connect-ports 25,587", &[25], &[587]);
    let proxy = passing("");
    let answer = proxy.connect().ask(connect_to("127.0.0.93:25"));
    check_error(&answer, 403, "http_request_denied");
    for target in [
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "http://127.0.0.1:443",
        "/",
    ] {
        let status = connect_status(&proxy, target);
        assert!(matches!(status, 400 | 403), "{target}: {status}");
    }
}

#[test]
fn denied_destinations() {
    let origin = greeting(Origin::at("0.0.0.0:0"));
    let port = port_of(&origin.address);
    let proxy = passing(
        "--connect-ports 1-65535 --deny localhost --deny *.bad.example --deny .worse.example \
         --deny 127.0.0.5 --deny 127.0.1.0/24",
    );
    for host in [
        "localhost",
        "LocalHost",
        "localhost.",
        "www.bad.example",
        "a.b.BAD.example.",
        "worse.example",
        "www.worse.example",
        "127.0.0.5",
        "[::ffff:127.0.0.5]",
        "[::ffff:7f00:5]",
        "127.0.1.0",
        "127.0.1.255",
    ] {
        let answer = proxy.get(&format!("http://{host}:{port}/"));
        check_error(&answer, 403, "http_request_denied");
        let status = connect_status(&proxy, &format!("{host}:{port}"));
        assert_eq!(status, 403, "{host}");
    }
    assert_eq!(origin.heads().len(), 0);
    for host in ["127.0.0.1", "127.0.0.6", "127.0.2.0"] {
        assert_eq!(
            proxy.get(&format!("http://{host}:{port}/")).status,
            200,
            "{host}"
        );
    }
    // What a name resolves to.
    let proxy = passing("--deny 127.0.0.0/8 --deny ::1");
    let answer = proxy.get(&format!("http://localhost:{port}/"));
    check_error(&answer, 403, "http_request_denied");
    assert_eq!(origin.heads().len(), 3);
}

/// What was stored before it was denied is denied as well.
#[test]
fn denied_destinations_are_not_in_the_cache_either() {
    let origin = Origin::new();
    let origin = origin.answering(|_| answer("Cache-Control: max-age=600\r\n", "hello"));
    let url = origin.url("/");
    let first = caching("");
    assert_eq!(first.get(&url).text(), "hello");
    let Proxy { nsh, place, .. } = first;
    nsh.signal(Signal::SIGINT);
    nsh.end();
    let second = proxy(place, "--cache kept --deny 127.0.0.0/8");
    check_error(&second.get(&url), 403, "http_request_denied");
    assert_eq!(origin.heads().len(), 1);
}

/// A page of any site can ask in the path form what only this machine reaches.
#[test]
fn the_path_form_leads_to_no_private_destination() {
    let origin = Origin::new();
    let origin = origin.answering(|_| answer("Cache-Control: max-age=600\r\n", "hello"));
    let port = port_of(&origin.address);
    for proxy in [passing(""), caching("")] {
        for host in [
            "127.0.0.1",
            "localhost",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            let target = format!("GET /{host}:{port}/a");
            let answer = ask_by_path(&proxy, &target, "localhost", "");
            check_error(&answer, 403, "destination_ip_prohibited");
        }
    }
    assert_eq!(origin.heads().len(), 0);
    let proxy = caching("--allow-private");
    let target = format!("GET /127.0.0.1:{port}/a");
    let answer = ask_by_path(&proxy, &target, "localhost", "");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
}

/// Neither by a connection that another request has left, nor by what the cache has of it.
#[test]
fn the_path_form_does_not_get_what_the_absolute_form_has_fetched() {
    let origin = Origin::at("127.0.0.1:0");
    let origin = origin.answering(|_| answer("Cache-Control: max-age=600\r\n", "secret"));
    let port = port_of(&origin.address);
    for proxy in [passing(""), caching("")] {
        for host in ["127.0.0.1", "localhost"] {
            let before = origin.heads().len();
            assert_eq!(
                proxy.get(&format!("http://{host}:{port}/a")).text(),
                "secret"
            );
            let target = format!("GET /{host}:{port}/a");
            let answer = ask_by_path(&proxy, &target, "localhost", "");
            check_error(&answer, 403, "destination_ip_prohibited");
            assert_eq!(origin.heads().len(), before + 1, "{host}");
        }
    }
}

/// WHATWG URL has rules for these, resolvers have others; whoever reads them differently can be
/// led somewhere he did not want to go.
#[test]
fn addresses_are_spelt_in_one_way() {
    let origin = greeting(Origin::at("0.0.0.0:0"));
    let port = port_of(&origin.address);
    let proxy = passing("--connect-ports 1-65535");
    #[track_caller]
    fn check(proxy: &Proxy, host: &str, port: &str, expected: u16) {
        let url = format!("http://{host}:{port}/");
        assert_eq!(proxy.get(&url).status, expected, "{url}");
        let status = connect_status(proxy, &format!("{host}:{port}"));
        assert_eq!(status, expected, "CONNECT {host}");
    }
    for odd in [
        "0x7f.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.1..",
        "0",
        "00000.0.0.0",
        "%31%32%37.0.0.1",
        "127%2e0.0.1",
        "[127.0.0.1]",
        "[::ffff:127.1]",
        "[::1%25lo]",
        "[::1",
        ".localhost",
        "localhost..",
    ] {
        check(&proxy, odd, port, 400);
        let target = format!("GET /{odd}:{port}/");
        let answer = ask_by_path(&proxy, &target, "localhost", "");
        assert_eq!(answer.status, 400, "{target}");
    }
    for never in [
        "0.0.0.0",
        "0.0.0.1",
        "[::]",
        "[::ffff:0.0.0.0]",
        "255.255.255.255",
        "224.0.0.1",
    ] {
        check(&proxy, never, port, 403);
        let target = format!("GET /{never}:{port}/");
        let answer = ask_by_path(&proxy, &target, "localhost", "");
        check_error(&answer, 403, "destination_ip_prohibited");
    }
    for private in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
    ] {
        check(&proxy, private, port, 403);
    }
    assert_eq!(origin.heads().len(), 0);
    let answer = proxy.get(&format!("http://[::ffff:127.0.0.1]:{port}/"));
    assert_eq!((answer.status, answer.text()), (200, "hello"));
}

/// What a proxy on the other machine answers to a request for each of these hosts, where there
/// are servers.
#[track_caller]
fn check_from_afar(there: &There, options: &str, expected: &[(&str, u16)]) {
    let (proxy, origin) = there.with(|| {
        let mut proxy = passing(&format!("-b 0.0.0.0 --connect-ports 1-65535 {options}"));
        proxy.address = format!("{PROXY}:{}", port_of(&proxy.address));
        (proxy, greeting(Origin::at("0.0.0.0:0")))
    });
    let port = port_of(&origin.address);
    let mut reached = 0;
    for (host, expected) in expected {
        let answer = proxy.get(&format!("http://{host}:{port}/"));
        assert_eq!(answer.status, *expected, "{options} {host}: {answer:?}");
        let status = connect_status(&proxy, &format!("{host}:{port}"));
        assert_eq!(status, *expected, "{options} CONNECT {host}");
        reached += usize::from(*expected == 200);
    }
    assert_eq!(origin.heads().len(), reached, "{options}");
}

const SERVERS: [&str; 5] = [
    "11.0.0.1",
    "10.7.7.7",
    "192.168.7.7",
    "169.254.169.254",
    "100.100.100.200",
];

#[test]
fn clients_from_elsewhere_get_nowhere_but_out() {
    if !privileged("clients_from_elsewhere_get_nowhere_but_out") {
        return;
    }
    from_afar(&SERVERS, |there| {
        let private = [
            "127.0.0.1",
            "localhost",
            PROXY,
            CLIENT,
            "10.7.7.7",
            "192.168.7.7",
            "169.254.169.254",
            "[::ffff:10.7.7.7]",
            "100.100.100.200",
            "0.0.0.0",
        ];
        let mut expected = vec![("11.0.0.1", 200)];
        expected.extend(private.map(|host| (host, 403)));
        check_from_afar(there, "--allow 10.9.0.0/24", &expected);
        let expected = [
            ("11.0.0.1", 200),
            ("127.0.0.1", 200),
            ("localhost", 200),
            (PROXY, 200),
            ("10.7.7.7", 200),
            ("192.168.7.7", 200),
            ("169.254.169.254", 200),
            ("100.100.100.200", 200),
            ("0.0.0.0", 403),
        ];
        check_from_afar(there, "--allow 10.9.0.2 --allow-private", &expected);
        check_from_afar(
            there,
            "--allow 10.9.0.2 --allow-private --deny 192.168.0.0/16 --deny 10.7.7.7",
            &[("10.7.7.7", 403), ("192.168.7.7", 403), ("11.0.0.1", 200)],
        );
    });
}

#[test]
fn clients_that_are_not_allowed_are_told_so() {
    if !privileged("clients_that_are_not_allowed_are_told_so") {
        return;
    }
    from_afar(&["11.0.0.1/32"], |there| {
        let (mut proxy, origin) = there.with(|| {
            let proxy = passing("-b 0.0.0.0 --allow 10.9.0.3 --allow-private");
            (proxy, greeting(Origin::at("11.0.0.1:0")))
        });
        let own = format!("127.0.0.1:{}", port_of(&proxy.address));
        proxy.address = format!("{PROXY}:{}", port_of(&proxy.address));
        for request in [
            "GET http://11.0.0.1/",
            "GET /-/metrics",
            "GET http://nsh.proxy/",
        ] {
            assert_eq!(proxy.ask(request, &[]).status, 403, "{request}");
        }
        assert_eq!(connect_status(&proxy, "11.0.0.1:443"), 403);
        // This machine always may.
        proxy.address = own;
        let answer = there.with(|| proxy.get(&origin.url("/")));
        assert_eq!(answer.text(), "hello");
        assert_eq!(origin.heads().len(), 1);
    });
}

/// They see how it goes, but neither who asks for what nor what is kept.
#[test]
fn clients_from_elsewhere_do_not_see_what_others_do() {
    if !privileged("clients_from_elsewhere_do_not_see_what_others_do") {
        return;
    }
    from_afar(&["11.0.0.1/32"], |there| {
        let (mut proxy, origin) = there.with(|| {
            let proxy = caching("-b 0.0.0.0 --allow 10.9.0.0/24");
            let origin = Origin::at("11.0.0.1:0");
            let fresh = |_: &str| answer("Cache-Control: max-age=600\r\n", "hello");
            (proxy, origin.answering(fresh))
        });
        let own = format!("127.0.0.1:{}", port_of(&proxy.address));
        proxy.address = format!("{PROXY}:{}", port_of(&proxy.address));
        let url = origin.url("/secret");
        assert_eq!(proxy.get(&url).text(), "hello");
        for path in ["/", "/-/status", "/-/status?q=s"] {
            let page = proxy.get(path);
            assert_eq!(page.status, 200, "{path}");
            assert!(!page.text().contains("secret"), "{}", page.text());
            assert!(!page.text().contains("11.0.0.1"), "{}", page.text());
            assert!(!page.text().contains("purge"), "{}", page.text());
        }
        for path in ["/-/cache", "/-/cache/show?url=x", "/-/cache/why?url=x"] {
            assert_eq!(proxy.get(path).status, 404, "{path}");
        }
        assert_eq!(proxy.ask("POST /-/cache/purge?all=yes", &[]).status, 403);
        assert_eq!(proxy.get(&url).text(), "hello");
        assert_eq!(origin.heads().len(), 1);
        proxy.address = own;
        let page = there.with(|| proxy.get("/-/status"));
        assert!(page.text().contains("/secret"), "{}", page.text());
    });
}

/// The addresses that clouds tell their secrets at are not for anybody, unless he says so.
#[test]
fn metadata_is_closed_to_this_machine_as_well() {
    if !privileged("metadata_is_closed_to_this_machine_as_well") {
        return;
    }
    from_afar(&SERVERS, |there| {
        there.with(|| {
            let origin = greeting(Origin::at("0.0.0.0:0"));
            let port = port_of(&origin.address);
            let ask = |proxy: &Proxy, host: &str| proxy.get(&format!("http://{host}:{port}/"));
            let proxy = passing("");
            for host in [
                "169.254.169.254",
                "100.100.100.200",
                "[::ffff:169.254.169.254]",
            ] {
                check_error(&ask(&proxy, host), 403, "destination_ip_prohibited");
            }
            for host in ["10.7.7.7", "192.168.7.7", "11.0.0.1", "127.0.0.1"] {
                assert_eq!(ask(&proxy, host).status, 200, "{host}");
            }
            assert_eq!(origin.heads().len(), 4);
            assert_eq!(
                ask(&passing("--allow-private"), "169.254.169.254").status,
                200
            );
        });
    });
}

/// A page of somebody's own may rebind its name to this machine (DNS rebinding).
#[test]
fn own_pages_answer_to_the_names_of_this_machine() {
    let proxy = caching("");
    for path in [
        "/",
        "/-/status",
        "/-/setup",
        "/proxy.pac",
        "/-/metrics",
        "/-/cache",
    ] {
        let line = format!("GET {path}");
        for host in [
            "localhost",
            "LOCALHOST.:1",
            "127.0.0.1:8888",
            "[::1]:8888",
            "192.0.2.1",
        ] {
            let answer = ask_by_path(&proxy, &line, host, "");
            assert_eq!(answer.status, 200, "{path} {host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "2130706433",
            "0x7f.1",
        ] {
            let answer = ask_by_path(&proxy, &line, host, "");
            // Browsers look for these by whatever name they have for the proxy.
            let is_free = matches!(path, "/proxy.pac" | "/wpad.dat");
            let status = if is_free { 200 } else { 421 };
            assert_eq!(answer.status, status, "{path} {host}");
        }
    }
    let line = "POST /-/cache/purge?all=yes";
    assert_eq!(ask_by_path(&proxy, line, "evil.example", "").status, 421);
}

#[test]
fn other_sites_change_nothing() {
    let origin = Origin::new();
    let origin = origin.answering(|_| answer("Cache-Control: max-age=600\r\n", "hello"));
    let proxy = caching("");
    let url = origin.url("/");
    assert_eq!(proxy.get(&url).text(), "hello");
    let own = &proxy.address;
    let purge = |target: &str, fields: &str| {
        let fields = format!("{fields}Content-Length: 7\r\n");
        let head = format!("POST {target} HTTP/1.1\r\nHost: {own}\r\n{fields}\r\nall=yes");
        proxy.connect().ask(head).status
    };
    for target in ["/-/cache/purge", "http://nsh.proxy/-/cache/purge"] {
        for fields in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: \r\n",
            "Origin: http://127.0.0.1\r\n",
            "Origin: http://127.0.0.1:1\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Sec-Fetch-Site: none, cross-site\r\n",
        ] {
            assert_eq!(purge(target, fields), 403, "{target} {fields}");
        }
        let https = format!("Origin: https://{own}\r\n");
        assert_eq!(purge(target, &https), 403, "{target} {https}");
    }
    assert_eq!(proxy.get(&url).text(), "hello");
    assert_eq!(origin.heads().len(), 1);
    // Neither does following a link.
    for path in ["/-/cache/purge?all=yes", "/-/cache/verify"] {
        assert_eq!(proxy.get(path).status, 404, "{path}");
    }
    for (count, (target, fields)) in [
        (
            "/-/cache/purge",
            format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n"),
        ),
        (
            "http://nsh.proxy/-/cache/purge",
            "Origin: http://nsh.proxy\r\n".to_owned(),
        ),
        ("/-/cache/purge", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(purge(target, &fields), 200, "{target} {fields}");
        assert_eq!(proxy.get(&url).text(), "hello");
        assert_eq!(origin.heads().len(), count + 2, "{target} {fields}");
    }
}
