//! The program's network: a namespace with one interface, whose other end the simulator holds.
//!
//! A pair of virtual Ethernet devices and a packet socket, as a TUN device would need `unsafe`
//! and /dev/net/tun. A namespace belongs to a thread: the one that makes it starts the program
//! and plays the routers, and all is gone with the two.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt,
};

use super::packet::{ICMP, ICMPV6, Packet};

/// A program that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Two addresses and the type of what follows.
const ETHERNET_HEADER_OCTETS: usize = 14;
/// Between the end of the outputs and the end of the program, and between echo requests.
const A_MOMENT: Duration = Duration::from_millis(1);
/// Larger than the MTU of the link.
const FRAME_OCTETS_MAX: usize = 2048;
/// Room for what a sweep sends at once; the usual room is that of 280 packets.
const RECEIVE_BUFFER_OCTETS: usize = 32 << 20;
const NOBODY: u32 = 65534;

/// Which ICMP sockets the program under test may open: as root or, without `Raw`, as nobody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Permitted {
    RawAndDatagram,
    Raw,
    Datagram,
    Nothing,
}

/// What a run left behind, and all that it sent to other hosts.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
    pub sent: Vec<Packet>,
}

/// Without ARP every packet goes to the device's own address, so that an answer is for the
/// client if it bears the Ethernet header of the request. Without addresses of their own the
/// devices are quiet.
const INTERFACES: &str = "link set lo up
link add near mtu 1500 arp off type veth peer name far
link set near addrgenmode none
link set far addrgenmode none up
link set near up
address add 10.9.0.2/24 dev near
address add fd09::2/64 dev near nodad
route add 0.0.0.0/0 dev near src 10.9.0.2
route add ::/0 dev near src fd09::2
";

pub fn run(
    permitted: Permitted,
    program: &str,
    arguments: &[&str],
    answers: impl FnMut(&Packet) -> Vec<Vec<u8>> + Send,
) -> Ran {
    let alone = || {
        let link = open();
        permit(permitted);
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(permitted, program, folder.path());
        let child = command.args(arguments).spawn().expect(program);
        play(&link, Program(child), answers)
    };
    let ended = std::thread::scope(|scope| scope.spawn(alone).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves this thread into a namespace of its own; the far end of its one interface.
fn open() -> File {
    unshare(CloneFlags::CLONE_NEWNET).expect("root");
    let mut ip = Command::new("ip");
    let ip = ip.args(["-batch", "-"]).stdin(Stdio::piped());
    let mut ip = ip.spawn().expect("iproute2");
    let mut stdin = ip.stdin.take().expect("a pipe");
    stdin.write_all(INTERFACES.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(ip.wait().expect("ip ends").success(), "ip refused a line");

    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let all = SockProtocol::EthAll;
    let link = socket(AddressFamily::Packet, SockType::Raw, flags, all).expect("a packet socket");
    setsockopt(&link, sockopt::RcvBufForce, &RECEIVE_BUFFER_OCTETS).expect("root");
    bind(link.as_raw_fd(), &ethernet_address("far")).expect("the device is there");
    let link = File::from(link);
    await_client(&link, "10.9.0.2", "10.9.1.1");
    await_client(&link, "fd09::2", "fd09:1::1");
    link
}

fn ethernet_address(device: &str) -> LinkAddr {
    let mut interfaces = getifaddrs().expect("interfaces");
    let device = interfaces.find(|interface| interface.interface_name == device);
    let address = device.and_then(|device| device.address);
    let address = address.and_then(|address| address.as_link_addr().copied());
    address.expect("a device has an Ethernet address")
}

/// Asks the client for an echo until it answers. Threads of the kernel take note of the devices
/// and install the route to the IPv6 address, and until they have, answers would get lost.
fn await_client(mut link: &File, client: &str, router: &str) {
    let client: IpAddr = client.parse().expect("an address");
    let router: IpAddr = router.parse().expect("an address");
    let (protocol, echo_request, ethertype) = match client {
        IpAddr::V4(_) => (ICMP, 8, [0x08, 0x00]),
        IpAddr::V6(_) => (ICMPV6, 128, [0x86, 0xdd]),
    };
    let near = ethernet_address("near").addr().expect("six octets");
    let mut frame = [0; FRAME_OCTETS_MAX];
    for sequence_number in 0..=u16::MAX {
        let [high, low] = sequence_number.to_be_bytes();
        let request = [echo_request, 0, 0, 0, 0, 0, high, low];
        let request = Packet::emit(router, client, 64, protocol, &request);
        let octets = [&near, &near, &ethertype[..], &request.octets].concat();
        link.write_all(&octets).expect("no larger than the MTU");
        wait(link, &[], A_MOMENT);
        while let Some(length) = unless_it_would_block(link.read(&mut frame)) {
            let packet = Packet::parse(&frame[ETHERNET_HEADER_OCTETS..length]);
            // Nothing may be on its way when the program starts: it is the last that counts.
            if packet.is_some_and(|packet| {
                packet.destination == router && packet.transport().ends_with(&[high, low])
            }) {
                return;
            }
        }
    }
    panic!("{client} does not answer");
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
fn permit(permitted: Permitted) {
    let groups = match permitted {
        Permitted::RawAndDatagram | Permitted::Datagram => "0 2147483647",
        Permitted::Raw | Permitted::Nothing => "1 0",
    };
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", groups).expect("root");
}

/// The program with nothing of the environment but PATH, and with `folder` as its home.
fn command(permitted: Permitted, program: &str, folder: &std::path::Path) -> Command {
    let mut command = match permitted {
        Permitted::RawAndDatagram | Permitted::Raw => Command::new(program),
        Permitted::Datagram | Permitted::Nothing => {
            let mut command = Command::new(copied(program, folder));
            command.uid(NOBODY).gid(NOBODY);
            command
        }
    };
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("TERM", "xterm")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Programs may lie where nobody may not look. A program of its own makes the copy: were it open
/// for writing here, another test's child could hold it open, and it could not be started.
fn copied(program: &str, folder: &std::path::Path) -> std::path::PathBuf {
    let name = std::path::Path::new(program)
        .file_name()
        .expect("a program");
    let mut install = Command::new("install");
    install.args(["-m", "755", program]).arg(folder.join(name));
    assert!(
        install.status().expect("coreutils").success(),
        "no copy of {program}"
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, open).expect("own folder");
    folder.join(name)
}

/// The program under test; it does not outlive a router that fails.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers packets and collects output until the program has ended.
fn play(
    mut link: &File,
    mut program: Program,
    mut answers: impl FnMut(&Packet) -> Vec<Vec<u8>>,
) -> Ran {
    let deadline = now() + PATIENCE;
    let mut stdout = Output::of(program.0.stdout.take().expect("a pipe").into());
    let mut stderr = Output::of(program.0.stderr.take().expect("a pipe").into());
    let mut sent = Vec::new();
    let mut frame = vec![0; FRAME_OCTETS_MAX];
    let status = loop {
        let is_quiet = !stdout.is_open && !stderr.is_open;
        if is_quiet && let Some(status) = program.0.try_wait().expect("a child") {
            break status;
        }
        let left = deadline.saturating_duration_since(now());
        assert!(
            !left.is_zero(),
            "no end: {} {}",
            stdout.text(),
            stderr.text()
        );
        wait(
            link,
            &[&stdout, &stderr],
            if is_quiet { A_MOMENT } else { left },
        );
        stdout.read();
        stderr.read();
        let Some(length) = unless_it_would_block(link.read(&mut frame)) else {
            continue;
        };
        let (header, octets) = frame[..length].split_at(ETHERNET_HEADER_OCTETS);
        let Some(mut packet) = Packet::parse(octets) else {
            continue;
        };
        if packet.destination.is_multicast() {
            continue;
        }
        packet.complete_checksum();
        for answer in answers(&packet) {
            let frame = [header, &answer].concat();
            link.write_all(&frame).expect("no larger than the MTU");
        }
        sent.push(packet);
    };
    Ran {
        stdout: stdout.text(),
        stderr: stderr.text(),
        status: status.code().expect("an exit, no signal"),
        sent,
    }
}

/// What the program has printed so far.
struct Output {
    pipe: File,
    octets: Vec<u8>,
    is_open: bool,
}

impl Output {
    fn of(pipe: OwnedFd) -> Output {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe");
        Output {
            pipe: File::from(pipe),
            octets: Vec::new(),
            is_open: true,
        }
    }

    fn read(&mut self) {
        let mut octets = [0; 4096];
        if let Some(length) = unless_it_would_block(self.pipe.read(&mut octets)) {
            self.octets.extend(&octets[..length]);
            self.is_open = length > 0;
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.octets.clone()).expect("UTF-8 output")
    }
}

fn wait(link: &File, outputs: &[&Output], patience: Duration) {
    let open = outputs.iter().filter(|output| output.is_open);
    let files = std::iter::once(link).chain(open.map(|output| &output.pipe));
    let mut files: Vec<PollFd> = files
        .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
        .collect();
    let patience = PollTimeout::try_from(patience).expect("a minute");
    match poll(&mut files, patience) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => panic!("poll: {error}"),
    }
}

fn unless_it_would_block(read: std::io::Result<usize>) -> Option<usize> {
    match read {
        Ok(length) => Some(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("read: {error}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a watchdog and a limit per second need a clock"
)]
pub fn now() -> Instant {
    Instant::now()
}
