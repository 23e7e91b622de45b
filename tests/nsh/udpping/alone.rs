//! A network namespace of its own for a test, with loopback and nothing else.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use crate::routers::{Packet, UDP};

/// Runs the test in a fresh namespace, after these lines of `ip -batch`.
///
/// A namespace belongs to a thread, and to the programs that it starts.
pub fn alone<T: Send>(lines: &str, test: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        let mut ip = Command::new("ip");
        let ip = ip.args(["-batch", "-"]).stdin(Stdio::piped());
        let mut ip = ip.spawn().expect("iproute2");
        let mut stdin = ip.stdin.take().expect("a pipe");
        let lines = format!("link set lo up\n{lines}\n");
        stdin.write_all(lines.as_bytes()).expect("ip reads");
        drop(stdin);
        assert!(ip.wait().expect("ip ends").success(), "ip refused a line");
        test()
    };
    let ended = std::thread::scope(|scope| scope.spawn(inside).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Waits until packets to this address of the namespace arrive: threads of the kernel install the
/// route to one of IPv6.
pub fn await_address(host: &str) {
    let socket = UdpSocket::bind((host, 0)).expect("an own address");
    let own = socket.local_addr().expect("an address");
    socket.set_nonblocking(true).expect("a socket");
    while socket.recv(&mut [0]).is_err() {
        let _ = socket.send_to(b"x", own);
    }
}

/// A figure of this namespace, as `/proc/net/snmp` calls it.
pub fn figure(protocol: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("Linux");
    let start = format!("{protocol}: ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    let names = lines.next().expect("names").split(' ');
    let figures = lines.next().expect("figures").split(' ');
    let found = names.zip(figures).find(|(other, _)| *other == name);
    found.expect(name).1.parse().expect("a number")
}

/// Sends a datagram that claims to be from somebody else.
pub fn forge(from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let length = u16::try_from(8 + payload.len()).expect("short");
    let mut datagram = Vec::new();
    for field in [from.port(), to.port(), length, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    let packet = Packet::emit(from.ip(), to.ip(), 64, UDP, &datagram);
    let raw = Protocol::from(nix::libc::IPPROTO_RAW);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).expect("root");
    let to = SocketAddr::new(to.ip(), 0);
    socket
        .send_to(&packet.octets, &to.into())
        .expect("loopback");
}
