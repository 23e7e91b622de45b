//! `udpping` over real sockets; its peers are played by the tests.

mod alone;
mod authentication;
mod client;
mod directions;
mod heartbeat;
mod loops;
mod metrics;
mod monitor;
mod server;
mod stamp;
mod usage;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use nix::sys::signal::Signal;
use serde_json::Value;
use sha2::Sha256;

use super::support::{Place, Ran, Running, place};

/// What a test that waits for a datagram has at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// A udpping that listens, and where.
struct Listening {
    nsh: Running,
    address: SocketAddr,
    /// Of a monitor with metrics.
    metrics: Option<String>,
}

/// Starts `udpping OPTIONS -p 0`.
fn listen(options: &str) -> Listening {
    listen_in(&place(), options)
}

fn listen_in(place: &Place, options: &str) -> Listening {
    let mut nsh = place.start(&["--json", "-c", &format!("udpping {options} -p 0")]);
    let event = nsh.event("listening");
    Listening {
        nsh,
        address: address(&event["address"]),
        metrics: event["metrics"].as_str().map(str::to_owned),
    }
}

impl Listening {
    /// Stops it; the events that were not taken yet.
    fn stop(self) -> Vec<Value> {
        self.nsh.signal(Signal::SIGTERM);
        let ran = self.nsh.end();
        // Where the signal came while nsh waited for the job, it says so.
        let is_quiet = ran.stderr.is_empty() || ran.stderr.contains("1 job still running");
        assert!(is_quiet && ran.status == 143, "{ran:#?}");
        events(&ran.stdout)
    }

    /// Stops a server; what it has counted.
    fn stop_and_count(self) -> Value {
        let events = self.stop();
        named(&events, "server_statistics")[0].clone()
    }
}

fn address(value: &Value) -> SocketAddr {
    let text = value.as_str().expect("an address");
    text.parse().expect("an address")
}

fn events(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = events.iter().filter(|event| event["event"] == name);
    named.collect()
}

/// A client's run against a peer.
struct Pinged {
    ran: Ran,
    events: Vec<Value>,
    /// The requests, as they came.
    heard: Vec<Vec<u8>>,
}

impl Pinged {
    fn named(&self, name: &str) -> Vec<&Value> {
        named(&self.events, name)
    }

    fn statistics(&self) -> &Value {
        self.named("statistics")[0]
    }

    /// These figures of the statistics.
    #[track_caller]
    fn check(&self, expected: Value) {
        let statistics = self.statistics();
        for (name, value) in expected.as_object().expect("an object") {
            let got = &statistics[name];
            assert_eq!(got, value, "{name}: {statistics:#}\n{}", self.ran.stdout);
        }
    }

    /// The numbers of the requests that these events are about.
    fn numbers(&self, name: &str) -> Vec<u64> {
        let named = self.named(name);
        let number = |event: &&Value| event["sequence_number"].as_u64().expect("a number");
        named.iter().map(number).collect()
    }
}

/// What a peer does with a datagram: its socket, who sent it, and the datagram.
type Answers<'a> = &'a mut dyn FnMut(&UdpSocket, SocketAddr, &[u8]);

/// `nsh ARGUMENTS` where `PEER` is the address of a socket that answers like this.
fn run_with_peer(place: &Place, arguments: &[&str], answers: Answers) -> (Ran, Vec<Vec<u8>>) {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let end = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = peer.local_addr().expect("an address");
    let ending = end.local_addr().expect("an address");
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("PEER", &address.to_string()));
    let arguments: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let ran = place.run(&arguments);
            end.send_to(b"", address).expect("loopback");
            ran
        });
        let mut heard = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (count, from) = peer.recv_from(&mut buffer).expect("loopback");
            if from == ending {
                return (running.join().expect("nsh ends"), heard);
            }
            heard.push(buffer[..count].to_vec());
            answers(&peer, from, &buffer[..count]);
        }
    })
}

/// `udpping OPTIONS PEER`, which answers like this.
fn ping(options: &str, answers: Answers) -> Pinged {
    ping_in(&place(), options, answers)
}

fn ping_in(place: &Place, options: &str, answers: Answers) -> Pinged {
    let line = format!("udpping {options} PEER");
    let (ran, heard) = run_with_peer(place, &["--json", "-c", &line], answers);
    assert_eq!(ran.stderr, "", "{}", ran.stdout);
    Pinged {
        events: events(&ran.stdout),
        ran,
        heard,
    }
}

/// The number in the lab's words.
fn number(request: &[u8]) -> u32 {
    let text = std::str::from_utf8(request).expect("words");
    let number = text.split(' ').nth(1).expect("a number");
    number.parse().expect("a number")
}

/// A socket whose answers come from this peer only.
fn connect(peer: SocketAddr) -> UdpSocket {
    let any = if peer.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let socket = UdpSocket::bind(any).expect("loopback");
    socket.connect(peer).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket
}

fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).expect("loopback");
    let mut answer = vec![0; 1 << 16];
    let count = socket.recv(&mut answer).expect("an answer");
    answer.truncate(count);
    answer
}

/// The answer that is there already, if there is one.
fn answer_so_far(socket: &UdpSocket) -> Option<Vec<u8>> {
    socket.set_nonblocking(true).expect("a socket");
    let mut answer = vec![0; 1 << 16];
    let count = socket.recv(&mut answer);
    socket.set_nonblocking(false).expect("a socket");
    answer.truncate(count.ok()?);
    Some(answer)
}

const KEY: &str = "correct horse battery staple";

/// A place with the key in `key`, which nobody else may read.
fn keyed() -> Place {
    let place = place();
    place.write("key", format!("{KEY}\n"));
    set_mode(&place, "key", 0o600);
    place
}

fn set_mode(place: &Place, name: &str, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(place.path().join(name), permissions).expect("own file");
}

/// The first half of HMAC-SHA-256 (RFC 2104).
fn mac(key: &str, octets: &[u8]) -> [u8; 16] {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    let mac = mac.chain_update(octets).finalize().into_bytes();
    *mac.first_chunk().expect("32 octets")
}

/// Since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "peers that are played have clocks of their own"
)]
fn wall() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .expect("later than 1970")
}
