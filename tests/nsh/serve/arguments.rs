//! Command lines that cannot be meant: one clear line, and status 2.

use std::io::Read;

use super::www;
use crate::support::{Watchdog, matches};

/// The line that a person reads, behind where it was said. `...` stands for anything.
#[track_caller]
fn check(options: &str, expected: &str) {
    let place = www();
    place.write("file.txt", "text");
    place.write("empty", "");
    place.certify();
    place.openssl("ecparam -name prime256v1 -genkey -noout -out other.pem");
    place.openssl("ec -in other.pem -aes128 -passout pass:secret -out locked.pem");
    let mut command = place.nsh();
    command.args(["-q", "-c", &format!("serve {options} -p 0")]);
    let mut child = command.spawn().expect("nsh starts");
    let _watchdog = Watchdog::of(&child);
    let mut octet = [0];
    let stdout = child.stdout.as_mut().expect("a pipe");
    if stdout.read(&mut octet).expect("a pipe") > 0 {
        child.kill().expect("it is ours");
        panic!("{options}: it serves");
    }
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let line = stderr.lines().next().unwrap_or_default();
    assert!(
        matches(&format!("...{expected}"), line),
        "{options}: {stderr}"
    );
    assert_eq!(output.status.code(), Some(2), "{options}: {stderr}");
}

#[test]
fn what_is_not_there() {
    check(
        "nothing",
        "serve: cannot serve nothing: No such file or directory...",
    );
    check(
        "www --tls-cert a.pem --tls-key b.pem",
        "serve: cannot read a.pem: No such file...",
    );
    check(
        "www --tls-cert file.txt --tls-key b.pem",
        "serve: cannot use file.txt: it has no certificate (BEGIN CERTIFICATE)...",
    );
    check(
        "www --tls-cert cert.pem --tls-key nothing",
        "serve: cannot read nothing: No such file...",
    );
    for key in ["file.txt", "cert.pem", "locked.pem"] {
        check(
            &format!("www --tls-cert cert.pem --tls-key {key}"),
            &format!("serve: cannot use {key}: ...; a key is PEM without a password..."),
        );
    }
    check(
        "www --tls-cert cert.pem --tls-key other.pem",
        "serve: other.pem is not the key of cert.pem",
    );
    check(
        "www --tls-p12 nothing",
        "serve: cannot read nothing: No such file...",
    );
    check(
        "www --auth ada --password-file nothing",
        "serve: cannot read nothing: No such file...",
    );
    check(
        "www --auth ada --password-file empty",
        "serve: empty ...empty line",
    );
    check("www --auth ada", "serve: ...NSH_SERVE_PASSWORD...");
}

#[test]
fn what_is_not_valid() {
    check("www --cache '[=5'", "serve: ...'[=5' for '--cache...': ...");
    check(
        "www --cache '*.css'",
        "serve: ...'*.css' for '--cache...': write GLOB=SECONDS...",
    );
    check(
        "www --cache '*.css=soon'",
        "serve: ...for '--cache...': write whole seconds...",
    );
    check(
        "www --header 'No colon'",
        "serve: ...for '--header...': write 'Name: value'...",
    );
    check(
        "www --header 'Bad name: a'",
        "serve: ...for '--header...': ...",
    );
    check("www --header ': a'", "serve: ...for '--header...': ...");
    check("www --cookie 'a b'", "serve: ...for '--cookie...': ...");
    check("www --mime txt", "serve: ...for '--mime...': ...");
    check("www --mime txt=plain", "serve: ...for '--mime...': ...");
    check(
        "www --auth ada:secret",
        "serve: ...for '--auth...': the name only...",
    );
    check("www --cors=example.com", "serve: ...for '--cors...': ...");
    check(
        "www --max-header 10",
        "serve: ...for '--max-header...': from 1K to 1M...",
    );
    check("www --max-body many", "serve: ...for '--max-body...': ...");
    check("www --rate 0", "serve: ...for '--rate...': ...");
    check("www --threads 0", "serve: ...for '--threads...': ...");
    check(
        "www --log-format apache",
        "serve: ...for '--log-format...'...",
    );
    check(
        "www --header-timeout soon",
        "serve: ...for '--header-timeout...': ...",
    );
    check("www --bind localhorst", "serve: ...for '--bind...': ...");
    check("www --tls-cert file.txt", "serve: ...--tls-key...");
    check("www --password-file file.txt", "serve: ...--auth...");
    check("www second", "serve: ...'second'...");
    check("www --spaa", "serve: ...'--spaa'...");
}

/// A field twice is two answers to one question.
#[test]
fn what_the_server_says_itself() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "CONNECTION",
        "Content-Range",
        "Content-Encoding",
        "Date",
        "Content-Type",
        "ETag",
        "Last-Modified",
        "Accept-Ranges",
    ] {
        let expected = format!("serve: ...for '--header...': {name} is set by the server...");
        check(&format!("www --header '{name}: a'"), &expected);
    }
}
