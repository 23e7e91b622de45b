//! What is left of the cache after a crash, or after something else has been at its files: every
//! later answer has exactly the right octets, from the cache or anew.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use super::super::support::privileged;
use super::origin::{Answering, answer};
use super::*;

const FRESH: &str = "Cache-Control: max-age=100000\r\n";

/// What the origin sends for a path, and for no other.
fn body(path: &str, length: usize) -> Vec<u8> {
    let numbers = (0_u32..).map(|number| format!("{path} {number:08}\n"));
    let octets = numbers.flat_map(String::into_bytes);
    octets.take(length).collect()
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).expect("a request line")
}

fn length(path: &str) -> usize {
    let digits = path.rsplit('/').next().expect("a path");
    digits.parse().expect("a length")
}

/// An origin whose paths end in the length of their bodies.
fn by_length(origin: Origin) -> Answering {
    origin.answering(|head| {
        let path = path(head);
        answer(FRESH, body(path, length(path)))
    })
}

#[track_caller]
fn check(proxy: &Proxy, origin: &Answering, path: &str) {
    let answer = proxy.get(&origin.url(path));
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.body == body(path, length(path)), "{path}");
}

/// Killed after the client has got so much of an answer, from nothing to everything.
#[test]
fn killed_while_it_stores() {
    const PIECES: usize = 24;
    const LENGTH: usize = 400_000;
    let origin = Origin::new();
    let mut place = place();
    for pieces in 0..=PIECES {
        let proxy = super::proxy(place, "--cache kept");
        let path = format!("/{pieces}/{LENGTH}");
        let whole = body(&path, LENGTH);
        let mut client = proxy.connect();
        let url = origin.url(&path);
        client.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let mut connection = origin.accept();
        connection.head();
        let is_chunked = pieces % 2 == 1;
        let framing = match is_chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {LENGTH}"),
        };
        connection.send(format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n\r\n"));
        let size = LENGTH.div_ceil(PIECES);
        for (at, piece) in whole.chunks(size).enumerate().take(pieces) {
            match is_chunked {
                true => {
                    connection.send(format!("{:x}\r\n", piece.len()));
                    connection.send([piece, b"\r\n"].concat());
                }
                false => connection.send(piece),
            }
            await_octets(&client, piece.len() * usize::from(at + 1 == pieces) / 2);
        }
        place = proxy.crash();
    }
    let proxy = super::proxy(place, "--cache kept");
    let folder = proxy.place.path().join("kept");
    let is_temporary = |file: &PathBuf| file.to_string_lossy().contains("tmp-");
    assert!(!stored_files(&folder).iter().any(is_temporary));
    let origin = by_length(origin);
    for pieces in 0..=PIECES {
        for _ in 0..2 {
            check(&proxy, &origin, &format!("/{pieces}/{LENGTH}"));
        }
    }
    // What was complete needs not be asked for again, the rest once.
    let asked = origin.heads().len();
    assert!((PIECES..=PIECES + 1).contains(&asked), "{asked}");
}

/// Takes so many octets from the client's connection.
fn await_octets(client: &Client, mut count: usize) {
    use std::io::Read;
    let mut octets = [0; 4096];
    while count > 0 {
        let wanted = count.min(octets.len());
        let read = (&client.stream).read(&mut octets[..wanted]);
        let read = read.expect("an answer");
        assert!(read > 0, "the answer ends");
        count -= read;
    }
}

/// Killed among many small ones, at whatever it does just then.
#[test]
fn killed_in_a_crowd() {
    const PATHS: usize = 150;
    const ROUNDS: usize = 4;
    let (sender, asked) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::new().answering(move |head| {
        let _ = sender.lock().expect("no panic").send(());
        let path = path(head);
        answer(FRESH, body(path, length(path)))
    });
    let paths = |round: usize| (0..PATHS).map(move |n| format!("/{round}/{n}/{}", 100 + 37 * n));
    let mut place = place();
    for round in 0..ROUNDS {
        let proxy = super::proxy(place, "--cache kept");
        let crowd: Vec<_> = (0..3)
            .map(|part| {
                let request = |path: String| {
                    let url = origin.url(&path);
                    format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n")
                };
                let requests: String = paths(round).skip(part).step_by(3).map(request).collect();
                let mut client = proxy.connect();
                client.send(requests);
                thread::spawn(move || client.rest())
            })
            .collect();
        for () in asked.iter().take(20 + 35 * round) {}
        place = proxy.crash();
        for member in crowd {
            member.join().expect("an end");
        }
        while asked.try_recv().is_ok() {}
    }
    let proxy = super::proxy(place, "--cache kept");
    let stored = stored_files(&proxy.place.path().join("kept")).len();
    let asked = origin.heads().len();
    for path in (0..ROUNDS).flat_map(paths) {
        check(&proxy, &origin, &path);
    }
    assert_eq!(origin.heads().len() - asked, ROUNDS * PATHS - stored);
}

/// While the proxy is away.
#[test]
fn damaged_files_are_not_served() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    fn flipped(octets: &[u8], at: usize) -> Vec<u8> {
        let mut octets = octets.to_vec();
        octets[at] ^= 1;
        octets
    }
    let damages: [Damage; 13] = [
        |octets| flipped(octets, 0),
        |octets| flipped(octets, 50),
        |octets| flipped(octets, octets.len() / 3),
        |octets| flipped(octets, octets.len() - 1),
        |octets| flipped(octets, octets.len() - 5),
        |octets| flipped(octets, octets.len() - 17),
        |octets| flipped(octets, octets.len() - 27),
        |octets| flipped(octets, octets.len() - 100),
        |octets| octets[..octets.len() - 1].to_vec(),
        |octets| octets[..octets.len() / 2].to_vec(),
        |_| Vec::new(),
        |octets| [octets, b"x"].concat(),
        |octets| octets[1..].to_vec(),
    ];
    let origin = by_length(Origin::new());
    let proxy = caching("");
    // The first kind is kept in memory, the other is sent from its file.
    let paths = ["/small/1000", "/large/300000", "/sound/1000"];
    for path in paths {
        check(&proxy, &origin, path);
    }
    let mut place = proxy.leave();
    for (number, damage) in damages.iter().enumerate() {
        let asked = origin.heads().len();
        for file in stored_files(&place.path().join("kept")) {
            let octets = fs::read(&file).expect("a file");
            let is_sound = octets.starts_with(b"/sound/");
            if !is_sound {
                fs::write(&file, damage(&octets)).expect("room");
            }
        }
        let proxy = super::proxy(place, "--cache kept");
        for path in paths {
            check(&proxy, &origin, path);
            check(&proxy, &origin, path);
        }
        assert_eq!(origin.heads().len(), asked + 2, "damage {number}");
        place = proxy.leave();
        assert_eq!(
            stored_files(&place.path().join("kept")).len(),
            3,
            "damage {number}"
        );
    }
}

/// While it runs: what was never read since the start, and what has become shorter.
#[test]
fn files_damaged_under_a_running_proxy() {
    let origin = by_length(Origin::new());
    let proxy = caching("");
    let path = "/large/300000";
    check(&proxy, &origin, path);
    let proxy = super::proxy(proxy.leave(), "--cache kept");
    let files = stored_files(&proxy.place.path().join("kept"));
    let octets = fs::read(&files[0]).expect("a file");
    let mut flipped = octets.clone();
    flipped[150_000] ^= 1;
    fs::write(&files[0], flipped).expect("room");
    check(&proxy, &origin, path);
    assert_eq!(origin.heads().len(), 2);
    let files = stored_files(&proxy.place.path().join("kept"));
    fs::write(&files[0], &octets[..150_000]).expect("room");
    check(&proxy, &origin, path);
    assert_eq!(origin.heads().len(), 3);
    let files = stored_files(&proxy.place.path().join("kept"));
    fs::remove_file(&files[0]).expect("a file");
    check(&proxy, &origin, path);
    assert_eq!(origin.heads().len(), 4);
}

/// Nobody's answer for another's request, and nothing of the user's is lost.
#[test]
fn foreign_files() {
    let origin = by_length(Origin::new());
    let proxy = caching("");
    let paths = ["/a/1000", "/b/1000"];
    for path in paths {
        check(&proxy, &origin, path);
    }
    let place = proxy.leave();
    let folder = place.path().join("kept");
    let stored = stored_files(&folder);
    let [one, other] = [0, 1].map(|at| fs::read(&stored[at]).expect("a file"));
    fs::write(&stored[0], other).expect("room");
    fs::write(&stored[1], one).expect("room");
    let theirs = ["notes.txt", "tmp-mine", "0/notes.txt", "00/1/x"];
    for name in theirs {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room");
        fs::write(path, "mine").expect("room");
    }
    fs::write(folder.join("tmp-0000000000000009"), "begun").expect("room");
    let proxy = super::proxy(place, "--cache kept");
    for path in paths {
        check(&proxy, &origin, path);
    }
    assert_eq!(proxy.cache("purge all").status, 0);
    for name in theirs {
        let text = fs::read_to_string(folder.join(name));
        assert_eq!(text.expect("a file"), "mine");
    }
    assert!(!folder.join("tmp-0000000000000009").exists());
    assert_eq!(stored_files(&folder).len(), theirs.len());
}

/// It says so, and does not go on without a cache.
#[test]
fn folders_that_cannot_be_used() {
    let place = place();
    place.write("file", "");
    std::os::unix::fs::symlink("real", place.path().join("link")).expect("room");
    fs::create_dir(place.path().join("real")).expect("room");
    for (folder, why) in [
        ("file", "File exists"),
        ("link", "it is a symbolic link"),
        ("file/kept", "Not a directory"),
    ] {
        let ran = place.run(&["-c", &format!("proxy -p 0 --cache {folder}")]);
        assert_eq!((ran.status, ran.stdout.as_str()), (69, ""), "{folder}");
        let begins = format!("proxy: cannot use {folder} as a cache: {why}");
        assert!(ran.stderr.starts_with(&begins), "{}", ran.stderr);
    }
}

/// On a disk of 1 MiB: everything is answered, what fits is stored, and room is made.
#[test]
fn the_disk_is_full() {
    if !privileged("crashes::the_disk_is_full") {
        return;
    }
    let place = place();
    fs::create_dir(place.path().join("kept")).expect("room");
    // A mount of its own, which ends with the process.
    let mount = "mount -t tmpfs -o size=1m,mode=700 none kept && exec \"$0\" \"$@\"";
    let nsh = place.nsh();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", mount])
        .arg(nsh.get_program())
        .args(["--json", "-c", "proxy -p 0 --cache kept"])
        .current_dir(place.path())
        .env("HOME", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut nsh = Running::of(command);
    let address = nsh.event("listening")["address"].clone();
    let proxy = Proxy {
        nsh,
        address: address.as_str().expect("an address").to_owned(),
        place,
    };
    let origin = by_length(Origin::new());
    for round in 0..2 {
        for n in 0..10 {
            check(&proxy, &origin, &format!("/{round}/{n}/200000"));
        }
        check(&proxy, &origin, &format!("/{round}/2000000"));
    }
    // It was stored before the disk was full, or not at all.
    let ran = proxy.cache("verify");
    assert_eq!(ran.status, 0, "{ran:?}");
    let asked = origin.heads().len();
    assert_eq!(asked, 22);
    for n in 0..10 {
        check(&proxy, &origin, &format!("/0/{n}/200000"));
    }
    assert!(origin.heads().len() < asked + 10, "nothing was stored");
}
