//! `upper` over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

use std::os::fd::AsRawFd;

use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::Ipv4RecvTtl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};

use super::support::{Running, matches, place, run, unused_port};

fn serve() -> (Running, String) {
    let mut nsh = place().start(&["--json", "-c", "upper --server -p 0"]);
    let address = nsh.event("listening")["address"].clone();
    (nsh, address.as_str().expect("an address").to_owned())
}

#[test]
fn long_input_and_a_half_closed_connection() {
    let (_nsh, address) = serve();
    let mut client = TcpStream::connect(&address).expect("it serves");
    let question: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut sender = client.try_clone().expect("a descriptor");
    let sent = question.clone();
    let sending = std::thread::spawn(move || {
        sender.write_all(&sent).expect("it reads");
        sender.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it answers");
    sending.join().expect("no panic");
    assert!(
        answer == question.to_ascii_uppercase(),
        "{} octets",
        answer.len()
    );
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let (_nsh, address) = serve();
    let mut deaf = TcpStream::connect(&address).expect("it serves");
    deaf.set_nonblocking(true).expect("a socket");
    while deaf.write(&[b'x'; 65_536]).is_ok() {}
    let mut other = TcpStream::connect(&address).expect("it serves");
    other.write_all(b"abc\n").expect("it serves");
    let mut answer = [0; 4];
    other.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"ABC\n");
}

#[test]
fn datagrams_up_to_the_largest() {
    let (_nsh, address) = serve();
    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    client.connect(&address).expect("loopback");
    for octets in [0, 1, 1472, 65_507] {
        client.send(&vec![b'q'; octets]).expect("it fits");
        let mut answer = vec![0; 70_000];
        let count = client.recv(&mut answer).expect("it answers");
        assert!(count == octets && answer[..count].iter().all(|octet| *octet == b'Q'));
    }
}

/// Two servers that are made to answer each other (CVE-2024-2169) fall silent, because each
/// answer has one hop less than the question, and a question with none left gets no answer.
#[test]
fn an_answer_has_one_hop_less_than_its_question() {
    let (_nsh, address) = serve();
    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    client.connect(&address).expect("loopback");
    setsockopt(&client, Ipv4RecvTtl, &true).expect("a socket");
    for hops in [64, 17, 2] {
        client.set_ttl(hops).expect("a socket");
        client.send(b"question").expect("loopback");
        let mut control = nix::cmsg_space!(i32);
        let (fd, flags) = (client.as_raw_fd(), MsgFlags::empty());
        let answer = recvmsg::<()>(fd, &mut [], Some(&mut control), flags).expect("it answers");
        let left = answer.cmsgs().expect("control messages").next();
        assert_eq!(left, Some(ControlMessageOwned::Ipv4Ttl(hops as i32 - 1)));
    }
    client.set_ttl(1).expect("a socket");
    client.send(b"dying").expect("loopback");
    client.set_ttl(64).expect("a socket");
    client.send(b"alive").expect("loopback");
    let mut answer = [0; 16];
    let count = client.recv(&mut answer).expect("it answers");
    assert_eq!(&answer[..count], b"ALIVE");
}

#[test]
fn the_client_explains_what_is_missing() {
    let port = unused_port("127.0.0.89");
    let ask = |options: &str| run(&["-c", &format!("upper 127.0.0.89 {port} {options} hi")]);
    let ran = ask("");
    let stderr = format!(
        "upper: connection refused by 127.0.0.89:{port}: nothing is listening there; start it \
         with 'upper --server -p {port}'\n"
    );
    assert_eq!((ran.stderr, ran.status), (stderr, 69));
    let ran = ask("--udp");
    let stderr = "upper: 127.0.0.89:... answered 'port unreachable': nothing is listening on that \
                  UDP port; start it...\n";
    assert!(matches(stderr, &ran.stderr) && ran.status == 69, "{ran:?}");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = silent.local_addr().expect("an address").port();
    let ran = run(&["-c", &format!("upper 127.0.0.1 {port} --udp -t 50ms hi")]);
    let stderr = "upper: no answer from ...: UDP does not tell whether ...";
    assert!(matches(stderr, &ran.stderr) && ran.status == 124, "{ran:?}");
    let listening = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listening.local_addr().expect("an address").port();
    let ran = run(&["-c", &format!("upper 127.0.0.1 {port} -t 50ms hi")]);
    let stderr = format!("upper: 127.0.0.1:{port} does not answer\n");
    assert_eq!((ran.stderr, ran.status), (stderr, 124));
}

#[test]
fn lines_are_asked_for_and_answered() {
    let script = "upper --server -p 0 --tcp\nexpect listening from 1\nask PORT\n";
    let (_nsh, address) = serve();
    let port = address.rsplit(':').next().expect("a port");
    let script = format!("{script}{port}\nupper 127.0.0.1 $PORT\none\nTwo é\n\necho after\n");
    let ran = place().run_with_input(&["-q", "-k"], script.clone() + "exit\n");
    let stdout: Vec<&str> = ran.stdout.lines().skip(1).collect();
    assert_eq!(stdout, ["ONE", "TWO é", "after"], "{ran:?}");
}

#[test]
fn in_the_background_nobody_is_asked() {
    let (_nsh, address) = serve();
    let port = address.rsplit(':').next().expect("a port");
    let ran = run(&["-q", "-c", &format!("upper 127.0.0.1 {port} & wait 1")]);
    let stderr = "[1] upper: nobody can be asked in the background; give TEXT behind the port\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (stderr, 2));
}

#[test]
fn connections_that_close_before_they_are_accepted_harm_nobody() {
    let (nsh, address) = serve();
    nsh.signal(Signal::SIGSTOP);
    for _ in 0..3000 {
        drop(TcpStream::connect(&address).expect("the queue has room"));
    }
    nsh.signal(Signal::SIGCONT);
    let mut client = TcpStream::connect(&address).expect("it serves");
    client.write_all(b"abc\n").expect("it serves");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"ABC\n");
}

/// A server that sends without end is left at the deadline, and at once when stopped.
#[test]
fn a_server_that_never_stops_sending_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            std::thread::spawn(move || while client.write_all(&[b'x'; 65_536]).is_ok() {});
        }
    });
    let ran = run(&["-c", &format!("upper 127.0.0.1 {port} -t 100ms hi")]);
    assert_eq!(ran.status, 124, "{}", ran.stderr);
    let mut nsh = place().start(&["-c", &format!("upper 127.0.0.1 {port} -t 100 hi")]);
    nsh.line();
    nsh.signal(Signal::SIGINT);
    assert_eq!(nsh.end().status, 130);
}

#[test]
fn a_server_can_be_given_a_time_but_has_no_output_to_expect() {
    let ran = run(&["-c", "timeout 100ms upper --server -p 0"]);
    let stdout = "[1] listening on ...";
    assert!(matches(stdout, &ran.stdout) && ran.status == 0, "{ran:?}");
    let ran = run(&["-c", "expect listening -- upper --server -p 0"]);
    let stderr = "expect: a server does not end; start it first, then 'expect TEXT from upper'\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (stderr, 2));
    let ran = run(&["-c", "upper 127.0.0.1 1 hello --upd"]);
    assert!(
        ran.stderr.contains("unexpected argument '--upd'"),
        "{ran:?}"
    );
}
