//! Which option belongs to which mode, and how peers are written.

use std::net::UdpSocket;

use crate::support::{matches, place, run};

/// The line fails with this on stderr and this status.
#[track_caller]
fn check_usage(line: &str, stderr: &str, status: i32) {
    let ran = run(&["-q", "-c", line]);
    let fits = matches(stderr, &ran.stderr) && ran.stdout.is_empty();
    assert!(fits && ran.status == status, "{line}: {ran:?}");
}

/// Devices have no end, and other modes than files.
#[test]
fn keys_that_are_none() {
    for (file, why) in [
        ("/dev/null", "the key in /dev/null has 0 octets..."),
        ("/dev/zero", "/dev/zero is too long for a key"),
        ("none", "cannot read none: No such file or directory"),
    ] {
        let line = format!("udpping --monitor --key-file {file}");
        check_usage(&line, &format!("udpping: {why}\n"), 2);
    }
}

#[test]
fn options_belong_to_modes() {
    for (line, stderr) in [
        ("udpping", "udpping: which HOST? ...\n"),
        ("udpping --stamp", "udpping: which HOST? ...\n"),
        ("udpping --heartbeat", "udpping: which HOST? ...\n"),
        (
            "udpping --server host",
            "udpping: HOST is not for --server\n",
        ),
        (
            "udpping --server -c 3",
            "udpping: --count is not for --server\n",
        ),
        (
            "udpping --reflector --plain",
            "udpping: --plain is not for --reflector\n",
        ),
        (
            "udpping --server --key-file k",
            "udpping: --key-file is not for --server\n",
        ),
        (
            "udpping --monitor --loss 3",
            "udpping: --loss is not for --monitor\n",
        ),
        (
            "udpping --monitor --name x",
            "udpping: --name is not for --monitor\n",
        ),
        (
            "udpping --heartbeat h --size 9",
            "udpping: --size is not for --heartbeat\n",
        ),
        (
            "udpping --heartbeat h --live",
            "udpping: --live is not for --heartbeat\n",
        ),
        (
            "udpping --stamp h --plain",
            "udpping: --plain is not for --stamp\n",
        ),
        ("udpping h --seed 3", "udpping: --seed is not for pinging\n"),
        ("udpping h --loss 3", "udpping: --loss is not for pinging\n"),
        ("udpping h -b ::1", "udpping: --bind is not for pinging\n"),
        (
            "udpping h --key-file k",
            "udpping: --key-file is not for pinging\n",
        ),
        ("udpping --stamp --server", "...cannot be used with...\n"),
        ("udpping h -i 1 --rate 3", "...cannot be used with...\n"),
        ("udpping h -i 9us", "...the shortest interval is 10us...\n"),
        ("udpping h -s 65508", "...invalid value '65508'...\n"),
        ("udpping h --dscp 64", "...invalid value '64'...\n"),
        ("udpping h --dscp AF44", "...invalid value 'AF44'...\n"),
        (
            "udpping --server --loss 101",
            "...not a percentage from 0 to 100...\n",
        ),
        ("udpping --server --burst 0.5", "...a number from 1...\n"),
        (
            "udpping --server --rate-limit 0",
            "...invalid value '0'...\n",
        ),
        (
            "udpping --heartbeat h --name 'a b'",
            "...1 to 64 letters, digits...\n",
        ),
        (
            "udpping --heartbeat 127.0.0.1 -i 500us",
            "udpping: heartbeats come once in 1ms to 1d\n",
        ),
        (
            "udpping --heartbeat 127.0.0.1 -i 2d",
            "udpping: heartbeats come once in 1ms to 1d\n",
        ),
        (
            "udpping --monitor --down-after 0",
            "...invalid value '0'...\n",
        ),
    ] {
        check_usage(line, stderr, 2);
    }
}

#[test]
fn hosts_and_ports() {
    for host in [
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:70000",
        "127.0.0.1:-1",
        "[::1]x",
        "[::1]7",
    ] {
        let stderr = format!("udpping: '{host}' is not HOST or HOST:PORT\n");
        check_usage(&format!("udpping -c 1 -t 1ms '{host}'"), &stderr, 2);
    }
    let two = "udpping: '127.0.0.1:5' has another port than -p 6\n";
    check_usage("udpping -p 6 127.0.0.1:5", two, 2);
    let unknown = "udpping: cannot resolve 'nosuch.invalid': ...\n";
    check_usage("udpping nosuch.invalid", unknown, 69);
    let family = "udpping: cannot resolve '127.0.0.1': it has no IPv6 address; leave out -6\n";
    check_usage("udpping -6 127.0.0.1", family, 69);
    let nobodys = "udpping: '127.0.0.1:0' has port 0, which is nobody's\n";
    check_usage("udpping -c 1 -t 1ms 127.0.0.1:0", nobodys, 2);
}

/// However the host and its port are written, it is the same peer.
#[test]
fn ways_to_write_a_peer() {
    let peer = UdpSocket::bind("[::1]:0").expect("loopback");
    let port = peer.local_addr().expect("an address").port();
    peer.set_read_timeout(Some(super::PATIENCE))
        .expect("a socket");
    for host in [
        format!("[::1]:{port}"),
        format!("::1 -p {port}"),
        format!("[::1] -p {port}"),
        format!("[::1]:{port} -p {port}"),
    ] {
        let line = format!("udpping -c 1 -t 10 {host}");
        let nsh = place().start(&["--json", "-c", &line]);
        let (_, client) = peer.recv_from(&mut [0; 100]).expect("a request");
        peer.send_to(b"pong", client).expect("loopback");
        assert_eq!(nsh.end().status, 0, "{host}");
    }
}
