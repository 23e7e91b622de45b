//! `get` against servers that are scripted here, and against our own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use native_tls::{Identity, TlsAcceptor};
use nix::sys::signal::Signal;

use super::support::{Place, Ran, matches, place, unused_port};

/// Answers one connection with each of `answers`; what it was asked.
fn server(answers: &[&str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address").to_string();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let serving = std::thread::spawn(move || {
        let asked = |answer: &String| {
            let (mut client, _) = listener.accept().expect("a client");
            let request = read_head(&mut client);
            client.write_all(answer.as_bytes()).expect("it reads");
            request
        };
        answers.iter().map(asked).collect()
    });
    (address, serving)
}

fn read_head(client: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut octet).expect("a request");
        request.push(octet[0]);
    }
    String::from_utf8(request).expect("UTF-8")
}

fn get(place: &Place, arguments: &str) -> Ran {
    place.run(&["-c", &format!("get {arguments}")])
}

#[track_caller]
fn check(answer: &str, body: &str, status: i32, told: &str) {
    let (address, serving) = server(&[answer]);
    let ran = get(&place(), &format!("http://{address}/"));
    serving.join().expect("no panic");
    assert_eq!((ran.stdout.as_str(), ran.status), (body, status), "{ran:?}");
    assert!(matches(told, &ran.stderr), "{ran:?}");
}

#[test]
fn bodies_end_where_their_framing_says() {
    let ok = "http://.../: 200 OK, 5 B, ... ms\n";
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore",
        "hello",
        0,
        ok,
    );
    check("HTTP/1.1 200 OK\r\n\r\nhello", "hello", 0, ok);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(
        &format!("{chunked}2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n"),
        "hello",
        0,
        ok,
    );
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    check(
        &format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        "hello",
        0,
        ok,
    );
    let short = "get: http://.../: the server closed the connection after 5 octets of 9\n";
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "hello",
        69,
        short,
    );
    let broken = "get: http://.../: the server closed the connection after 2 octets\n";
    check(&format!("{chunked}2\r\nhe\r\n"), "he", 69, broken);
}

#[test]
fn answers_that_could_mean_two_things_are_refused() {
    let not_understood = "get: http://.../: the answer cannot be understood: ...\n";
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Bad Name: x",
        "Folded: x\r\n y",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello");
        check(&answer, "", 69, not_understood);
    }
    check("SSH-2.0-OpenSSH_9.2\r\n\r\n", "", 69, not_understood);
    check(
        "",
        "",
        69,
        "get: http://.../: the server closed the connection before it answered\n",
    );
}

#[test]
fn the_status_decides() {
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n";
    check(
        missing,
        "no\n",
        1,
        "http://.../: 404 Not Found, 3 B, ... ms\n",
    );
    let (address, serving) = server(&[missing, missing]);
    assert_eq!(get(&place(), &format!("--expect 404 {address}")).status, 0);
    let ran = get(&place(), &format!("--expect 200 {address}/x"));
    let told = "...get: http://.../x: 404 Not Found instead of 200\n";
    assert!(matches(told, &ran.stderr) && ran.status == 1, "{ran:?}");
    serving.join().expect("no panic");
}

#[test]
fn what_is_asked() {
    let ok = "HTTP/1.1 204 No Content\r\n\r\n";
    let ask = |arguments: &str| {
        let (address, serving) = server(&[ok]);
        let ran = get(&place(), &format!("{arguments} {address}/a?b=c"));
        assert_eq!(ran.status, 0, "{ran:?}");
        let asked = serving.join().expect("no panic").remove(0);
        asked.replace(&address, "HOST")
    };
    let agent = format!("User-Agent: nsh/{}", env!("CARGO_PKG_VERSION"));
    let common = format!("Host: HOST\r\n{agent}\r\nAccept: */*\r\nConnection: close\r\n");
    assert_eq!(ask(""), format!("GET /a?b=c HTTP/1.1\r\n{common}\r\n"));
    assert_eq!(
        ask("--head"),
        format!("HEAD /a?b=c HTTP/1.1\r\n{common}\r\n")
    );
    let own = ask("-X PATCH -H 'Accept: text/x' -H 'X-Y: z'");
    let fields = format!(
        "Host: HOST\r\n{agent}\r\nConnection: close\r\nContent-Length: 0\r\nAccept: text/x\r\nX-Y: z\r\n"
    );
    assert_eq!(own, format!("PATCH /a?b=c HTTP/1.1\r\n{fields}\r\n"));
    let posted = ask("-d 'x=1'");
    assert!(posted.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{posted}");
    assert!(
        posted.ends_with(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\n"
        )
    );
}

#[test]
fn through_a_proxy_the_request_names_the_whole_url() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let (proxy, serving) = server(&[ok]);
    let ran = get(&place(), &format!("--via {proxy} http://example.test/a"));
    assert_eq!((ran.stdout.as_str(), ran.status), ("hi", 0), "{ran:?}");
    let asked = serving.join().expect("no panic").remove(0);
    let wanted = "GET http://example.test/a HTTP/1.1\r\nHost: example.test\r\n";
    assert!(asked.starts_with(wanted), "{asked}");
    let (proxy, serving) = server(&["HTTP/1.1 403 Forbidden\r\n\r\n"]);
    let ran = get(&place(), &format!("--via {proxy} https://example.test/a"));
    let told = "get: the proxy does not open a tunnel to example.test:443: 403 Forbidden\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (told, 69));
    let asked = serving.join().expect("no panic").remove(0);
    assert_eq!(
        asked,
        "CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n"
    );
}

#[test]
fn redirects_are_followed_when_asked_and_secrets_stay_with_their_site() {
    let (target, serving_target) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"]);
    let away = format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/z\r\n\r\n");
    let near = "HTTP/1.1 301 Moved\r\nLocation: ../b?c\r\n\r\n";
    let (first, serving_first) = server(&[near, &away]);
    let options = "-L -H 'Authorization: Basic c2VjcmV0' -H 'X-Kept: 1'";
    let ran = get(&place(), &format!("{options} {first}/x/a"));
    assert_eq!((ran.stdout.as_str(), ran.status), ("end", 0), "{ran:?}");
    let asked = serving_first.join().expect("no panic");
    assert!(asked[1].starts_with("GET /b?c HTTP/1.1\r\n"), "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|asked| asked.contains("Authorization: Basic c2VjcmV0"))
    );
    let asked = serving_target.join().expect("no panic").remove(0);
    assert!(
        asked.starts_with("GET /z ") && asked.contains("X-Kept: 1"),
        "{asked}"
    );
    assert!(!asked.contains("Authorization"), "{asked}");
    let round = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\n\r\n";
    let (address, _serving) = server(&[round; 11]);
    let ran = get(&place(), &format!("-L {address}"));
    let told = "get: ... leads from one redirect to the next; given up after 10\n";
    assert!(matches(told, &ran.stderr) && ran.status == 1, "{ran:?}");
}

#[test]
fn a_file_is_whole_or_not_there() {
    let place = place();
    let (address, _serving) = server(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ]);
    assert_eq!(get(&place, &format!("{address} -o file")).status, 69);
    assert_eq!(get(&place, &format!("{address} -o file")).status, 1);
    let names = || std::fs::read_dir(place.path()).expect("a folder").count();
    assert_eq!(names(), 0);
    assert_eq!(get(&place, &format!("{address} -o file")).status, 0);
    assert_eq!((place.read("file").as_str(), names()), ("hello", 1));
}

#[test]
fn what_broke_off_goes_on_where_it_was_if_the_file_is_the_same() {
    let place = place();
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let whole = format!("HTTP/1.1 200 OK\r\nLast-Modified: {date}\r\nContent-Length: 9\r\n\r\n");
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\nLast-Modified: {date}\r\nContent-Range: bytes 5-8/9\r\n\
         Content-Length: 4\r\n\r\n you"
    );
    let (address, serving) = server(&[&format!("{whole}hello"), &rest]);
    let ran = get(&place, &format!("{address} -o file --continue"));
    let told = "...after 5 octets of 9; 5 octets are kept in file.part; --continue goes on there\n";
    assert!(matches(told, &ran.stderr) && ran.status == 69, "{ran:?}");
    let ran = get(&place, &format!("{address} -o file --continue"));
    assert_eq!(
        (place.read("file").as_str(), ran.status),
        ("hello you", 0),
        "{ran:?}"
    );
    let asked = serving.join().expect("no panic").remove(1);
    assert!(asked.contains("Range: bytes=5-\r\n"), "{asked}");
    assert!(asked.contains(&format!("If-Range: {date}\r\n")), "{asked}");

    let (address, _serving) = server(&[&format!("{whole}hello"), &format!("{whole}all of it")]);
    get(&place, &format!("{address} -o other --continue"));
    let ran = get(&place, &format!("{address} -o other --continue"));
    assert_eq!(
        (place.read("other").as_str(), ran.status),
        ("all of it", 0),
        "{ran:?}"
    );
}

#[test]
fn a_part_is_never_taken_for_the_file() {
    let place = place();
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/1000\r\n\
                Content-Length: 5\r\n\r\nhello";
    let (address, _serving) = server(&[part]);
    let ran = get(&place, &format!("{address} -o file"));
    let told = "get: the server sent a part of the file without being asked for one\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (told, 69));
    assert_eq!(
        std::fs::read_dir(place.path()).expect("a folder").count(),
        0
    );

    place.write("file.part", "hello");
    let less = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-6/9\r\n\
                Content-Length: 2\r\n\r\n y";
    let all = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */7\r\n\
               Content-Length: 0\r\n\r\n";
    let (address, _serving) = server(&[less, all]);
    let ran = get(&place, &format!("{address} -o file --continue"));
    let told = "get: the server sent 7 octets of 9; --continue goes on there\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (told, 69));
    assert_eq!(place.read("file.part"), "hello y");
    assert_eq!(
        get(&place, &format!("{address} -o file --continue")).status,
        0
    );
    assert_eq!(place.read("file"), "hello y");
}

#[test]
fn a_server_that_answers_before_it_has_read_everything_is_heard() {
    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch";
    let place = place();
    place.write("data", vec![b'x'; 3_000_000]);
    let (address, serving) = server(&[refusal]);
    let ran = get(&place, &format!("-d @data {address}"));
    serving.join().expect("no panic");
    let is_heard = ran.status == 1 && ran.stdout == "much";
    assert!(is_heard || ran.stderr.contains("reset by peer"), "{ran:?}");
    assert_eq!(get(&place, &format!("-d @/dev/zero {address}")).status, 2);
}

#[test]
fn octets_reach_a_pipe_as_they_are_and_a_person_as_safe_lines() {
    let place = place();
    let octets: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    place.write("octets.bin", &octets);
    place.write("text.txt", "one\x1b[31m\ntwo");
    let serve = "serve . -p 0";
    let mut nsh = place.start(&["--json", "-c", serve]);
    let address = nsh.event("listening")["address"].clone();
    let address = address.as_str().expect("an address");
    let mut command = place.nsh();
    let ran = command
        .args(["-c", &format!("get {address}/octets.bin")])
        .output();
    assert!(ran.expect("it runs").stdout == octets);
    let ran = place.run(&["--json", "-c", &format!("get {address}/text.txt")]);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        (&lines[0]["text"], &lines[1]["text"]),
        (&"one\x1b[31m".into(), &"two".into())
    );
    let answer: serde_json::Value = serde_json::from_str(ran.stderr.trim()).expect("JSON");
    assert_eq!(
        (&answer["event"], &answer["status"]),
        (&"answer".into(), &200.into())
    );
    assert_eq!(
        answer["fields"]["content-type"],
        "text/plain; charset=utf-8"
    );
}

#[test]
fn what_does_not_work_is_explained() {
    let port = unused_port("127.0.0.90");
    let ran = get(&place(), &format!("127.0.0.90:{port}"));
    let told = format!(
        "get: connection refused by 127.0.0.90:{port}: nothing is listening there; start one there \
         with 'serve -p {port}'\n"
    );
    assert_eq!((ran.stderr, ran.status), (told, 69));
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = silent.local_addr().expect("an address");
    let ran = get(&place(), &format!("-t 50ms {address}"));
    let told = format!("get: http://{address}/: {address} does not answer\n");
    assert_eq!((ran.stderr, ran.status), (told, 124));
    for (arguments, status, told) in [
        (
            "ftp://a/",
            2,
            "get: 'ftp://a/' has a scheme other than http and https\n",
        ),
        (
            "http://u:p@a/",
            2,
            "get: 'http://u:p@a/' has a user name; give -H ...\n",
        ),
        (
            "'a b'",
            2,
            "get: 'a b' is no URL; it looks like http://host:port/path ...\n",
        ),
        (
            "a --via b",
            2,
            "get: --via wants HOST:PORT, like 127.0.0.1:8888, not 'b'\n",
        ),
        (
            "a -d @nowhere",
            2,
            "get: cannot send nowhere: No such file or directory\n",
        ),
        (
            "a -H x",
            2,
            "...get: invalid value ... write ...; see ...\n",
        ),
        (
            "https://a --ca nowhere",
            2,
            "get: cannot read nowhere: No such file or directory\n",
        ),
        (
            "no-such-host.invalid",
            69,
            "get: cannot resolve 'no-such-host.invalid': ...\n",
        ),
    ] {
        let ran = get(&place(), arguments);
        assert!(
            matches(told, &ran.stderr) && ran.status == status,
            "{arguments}: {ran:?}"
        );
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let plain = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let _ = client.read(&mut [0; 512]);
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let ran = get(&place(), &format!("https://{plain}/"));
    let told = "get: no TLS with 127.0.0.1: wrong version number; that port does not speak \
                TLS, try http://\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (told, 69));
}

/// A certificate in a file or a folder of the environment is as good as one of the system's, and
/// one by --ca beside them.
#[test]
fn whom_to_believe() {
    let place = place();
    place.certify();
    place.write("index.html", "hello");
    std::fs::create_dir(place.path().join("hashed")).expect("room on the disk");
    place.write("hashed/cert.pem", place.read("cert.pem"));
    place.openssl("rehash hashed");
    let line = "serve . -b 127.0.0.1 -p 0 --tls-cert cert.pem --tls-key key.pem";
    let mut serving = place.start(&["--json", "-c", line]);
    let address = serving.event("listening")["address"].clone();
    let url = format!("https://{}/index.html", address.as_str().expect("text"));
    let check = |variable: (&str, &str), options: &str, expected: &str, status: i32| {
        let mut command = place.nsh();
        command
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/dev");
        let (name, value) = variable;
        command.env(name, place.path().join(value));
        command.args(["-c", &format!("get {url} {options}")]);
        let output = command.output().expect("nsh ends");
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(matches(expected, &told), "{told}");
    };
    let fine = "https://...: 200 OK, 5 B, ... ms\n";
    check(("SSL_CERT_FILE", "cert.pem"), "", fine, 0);
    check(("SSL_CERT_DIR", "hashed"), "", fine, 0);
    check(("SSL_CERT_DIR", "www:hashed"), "", fine, 0);
    check(("NOTHING", ""), "--ca cert.pem", fine, 0);
    check(("NOTHING", ""), "-k", fine, 0);
    let refused = "get: the certificate of 127.0.0.1 is not trusted: it is signed by itself, and \
                   not known here (for localhost; by localhost; from ... until ...); --ca FILE \
                   names an authority to believe, -k believes anybody\n";
    check(("NOTHING", ""), "", refused, 69);
    place.openssl(
        "req -x509 -newkey KEY -nodes -days 2 -subj /CN=localhost -keyout other.key -out other.pem",
    );
    check(("SSL_CERT_FILE", "other.pem"), "", refused, 69);
}

/// RFC 9112 section 9.8: where the end of the connection is that of the body, TLS has to say it.
#[test]
fn a_body_that_anybody_may_have_cut_off() {
    let place = place();
    place.certify();
    let identity = Identity::from_pkcs8(
        place.read("cert.pem").as_bytes(),
        place.read("key.pem").as_bytes(),
    );
    let acceptor = TlsAcceptor::new(identity.expect("a certificate")).expect("an acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        for says_goodbye in [true, false] {
            let (client, _) = listener.accept().expect("a client");
            let mut stream = acceptor.accept(client).expect("a handshake");
            let _ = stream.read(&mut [0; 512]).expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")
                .expect("it reads");
            if says_goodbye {
                stream.shutdown().expect("it reads");
            }
        }
    });
    let line = format!("--ca cert.pem https://{address}/");
    let whole = get(&place, &line);
    assert_eq!(
        (whole.stdout.as_str(), whole.status),
        ("hello", 0),
        "{whole:?}"
    );
    let cut = get(&place, &line);
    let told = "...the connection ended after 5 octets without the close_notify of TLS: some may \
                be missing...";
    assert!(matches(told, &cut.stderr) && cut.status == 69, "{cut:?}");
    serving.join().expect("no panic");
}

#[test]
fn stop_ends_it_whatever_it_waits_for() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    let nsh = place().start(&["-c", &format!("get {address}")]);
    let (mut client, _) = listener.accept().expect("a client");
    read_head(&mut client);
    nsh.signal(Signal::SIGINT);
    assert_eq!(nsh.end().status, 130);
}
