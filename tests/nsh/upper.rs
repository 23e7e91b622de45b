//! `upper` over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use std::os::fd::AsRawFd;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::Ipv4RecvTtl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use socket2::{Domain, Socket, Type};

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

/// Other jobs of the same shell may take all descriptors, and give them back.
#[test]
fn a_client_that_there_was_no_descriptor_for_is_served_later() {
    let place = place();
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_nsh"))
        .args(["--json", "-c", "upper --server -p 0; upper --server -p 0"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", place.path())
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut nsh = Running::of(command);
    let [greedy, other] = [0, 1].map(|_| {
        let address = nsh.event("listening")["address"].clone();
        address.as_str().expect("an address").to_owned()
    });
    let ask = |address: &str| {
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(b"abc\n").expect("it listens");
        client
    };
    // Once it answers a datagram, it has accepted what came before, or has tried to.
    let catch_up = |address: &str| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.send_to(b"x", address).expect("loopback");
        socket.recv(&mut [0; 1]).expect("an answer");
    };
    let crowd: Vec<TcpStream> = (0..64).map(|_| ask(&greedy)).collect();
    catch_up(&greedy);
    let mut late = ask(&other);
    catch_up(&other);
    drop(crowd);
    let mut answer = [0; 4];
    late.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"ABC\n");
}

#[test]
fn jobs_shows_figures_from_the_start() {
    let ran = run(&["-c", "upper --server -p 0; jobs; stop all"]);
    let stdout = "[1] listening on ...\n[1] ...running ...upper --server -p 0...0 connections \
                  (0 so far), 0 datagrams, 0 octets\n";
    assert!(matches(stdout, &ran.stdout), "{ran:?}");
}

/// The line that is told starts the server that is missing.
#[test]
fn the_advice_is_about_the_address_that_was_asked() {
    for (address, bind) in [
        ("127.0.0.1", ""),
        ("::1", "-b ::1 "),
        ("127.0.0.2", "-b 127.0.0.2 "),
    ] {
        let any = SocketAddr::new(address.parse().expect("an address"), 0);
        let silent = Socket::new(Domain::for_address(any), Type::STREAM, None).expect("a socket");
        silent.bind(&any.into()).expect("loopback");
        let bound = silent.local_addr().expect("bound").as_socket();
        let port = bound.expect("an address").port();
        let ran = run(&["-c", &format!("upper {address} {port} hi")]);
        let advice = format!("start it with 'upper --server {bind}-p {port}'\n");
        assert!(ran.stderr.ends_with(&advice), "{ran:?}");
    }
    assert_eq!(run(&["-c", "upper 127.0.0.1 0 hi"]).status, 2);
}

/// What was not answered is counted.
#[test]
fn jobs_shows_how_many_were_refused() {
    let place = place();
    let mut command = place.nsh();
    command.stdin(Stdio::piped());
    let mut nsh = Running::of(command);
    let mut stdin = nsh.child.stdin.take().expect("a pipe");
    let line = "upper --server --udp -p 0 --rate-limit 1\n";
    stdin.write_all(line.as_bytes()).expect("it reads");
    let listening = nsh.line();
    let address = listening.split(' ').nth(3).expect("an address");
    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    client.connect(address).expect("loopback");
    for _ in 0..5 {
        client.send(b"abc").expect("loopback");
    }
    assert!(matches("...was refused: ...", &nsh.line()));
    stdin.write_all(b"stop 1\njobs\n").expect("it reads");
    drop(stdin);
    let ran = nsh.end();
    assert!(
        matches("...1 datagrams, 3 octets, 4 refused...", &ran.stdout),
        "{ran:?}"
    );
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
