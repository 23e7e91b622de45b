//! What `mail` says about its command line.

use crate::support::{matches, place};

#[track_caller]
fn check(options: &str, expected: &str) {
    let place = place();
    place.write("file.txt", "text\n");
    let ran = place.run(&["-c", &format!("mail {options}")]);
    assert!(matches(expected, &ran.stderr), "{ran:?}");
    assert_eq!((&*ran.stdout, ran.status), ("", 2), "{ran:?}");
}

#[test]
fn what_does_not_work() {
    check(
        "",
        "mail: which server? give --server HOST[:PORT], or 'mail --sink' catches mail\n",
    );
    check("-p 2525", "...mail: ...--sink...");
    check("--sink --implicit-tls", "...mail: ...--tls-cert...");
    check("--sink --tls-cert a.pem", "...mail: ...--tls-key...");
    check("--sink --tls-key a.pem", "...mail: ...--tls-cert...");
    check(
        "--sink --no-keep --folder a",
        "...mail: ...cannot be used with...",
    );
    check("--sink --max-size 0", "...mail: ...'0' for '--max-size...");
    check(
        "--sink --folder file.txt",
        "...mail: cannot keep messages in file.txt: File exists\n",
    );
    check(
        "--sink --tls-cert a.pem --tls-key b.pem",
        "...mail: cannot read a.pem: No such file...",
    );
}
