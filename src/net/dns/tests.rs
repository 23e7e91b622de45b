use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::PollFlags;

use super::*;
use crate::wire::dns::Rcode;

const LONG: Duration = Duration::from_secs(30);
/// For servers that do not answer, beside others that do even on a busy machine.
const SHORT: Duration = Duration::from_millis(250);
/// For servers none of which answers.
const MOMENT: Duration = Duration::from_millis(20);

const ANSWER: u16 = 0x8180;
const AUTHENTIC: u16 = 0x81a0;
const CUT_OFF: u16 = 0x8380;

const TRUNCATED: Reply = Reply::Flags(CUT_OFF);

/// What becomes of a query.
#[derive(Clone, Copy)]
enum Reply {
    /// 192.0.2.N, with these flags.
    Address(u16, u8),
    Flags(u16),
    Silence,
    /// Wrong answers of several kinds in front of a right one.
    BehindForged(u8),
    /// TCP: the connection ends within the answer.
    Cut,
}

struct Server {
    address: SocketAddr,
    running: JoinHandle<Vec<String>>,
}

impl Server {
    /// Answers as many queries as there are replies, over UDP and TCP at the same port.
    fn start(replies: &'static [Reply]) -> Server {
        let (udp, tcp) = bind();
        let address = udp.local_addr().expect("bound");
        let answer = move |reply| answer(&udp, &tcp, reply);
        let running = thread::spawn(move || replies.iter().map(answer).collect());
        Server { address, running }
    }

    /// What the queries came with, once all have come.
    fn seen(self) -> Vec<String> {
        self.running.join().expect("no panic")
    }
}

fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = tcp.local_addr().expect("bound");
        // The port may be somebody's already.
        if let Ok(udp) = UdpSocket::bind(address) {
            return (udp, tcp);
        }
    }
}

fn answer(udp: &UdpSocket, tcp: &TcpListener, reply: &Reply) -> String {
    let cancel = Cancel::new().expect("an eventfd");
    let deadline = Some(clock::now() + LONG);
    let fds = [udp.as_fd(), tcp.as_fd()];
    let wake = cancel.wait_any(&fds, PollFlags::POLLIN, deadline);
    assert_eq!(wake, Ok(crate::cancel::Wake::Ready), "no query came");
    udp.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 512];
    if let Ok((count, peer)) = udp.recv_from(&mut buffer) {
        let query = &buffer[..count];
        if let Reply::BehindForged(_) = reply {
            forge(query, |octets| drop(udp.send_to(octets, peer)));
            let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
            let wrong = message(query, &Reply::Address(ANSWER, 66));
            other.send_to(&wrong, peer).expect("sent");
        }
        let octets = message(query, reply);
        if !octets.is_empty() {
            udp.send_to(&octets, peer).expect("sent");
        }
        return describe("UDP", query);
    }
    let (mut stream, _) = tcp.accept().expect("a connection");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let query = &mut buffer[..usize::from(u16::from_be_bytes(length))];
    stream.read_exact(query).expect("a query");
    let octets = message(query, reply);
    let [.., high, low] = octets.len().to_be_bytes();
    let framed = [&[high, low], &octets[..]].concat();
    let end = match reply {
        Reply::Cut => framed.len() - 1,
        _ => framed.len(),
    };
    stream.write_all(&framed[..end]).expect("sent");
    describe("TCP", query)
}

fn describe(protocol: &str, query: &[u8]) -> String {
    let edns = if query[11] == 1 { " EDNS" } else { "" };
    let authentic_data = if query[3] & 0x20 == 0 { "" } else { " AD" };
    format!("{protocol}{edns}{authentic_data}")
}

fn message(query: &[u8], reply: &Reply) -> Vec<u8> {
    let (flags, address) = match reply {
        Reply::Address(flags, address) => (*flags, Some(*address)),
        Reply::BehindForged(address) => (ANSWER, Some(*address)),
        Reply::Cut => (ANSWER, None),
        Reply::Flags(flags) => (*flags, None),
        Reply::Silence => return Vec::new(),
    };
    // The query's one question, and nothing behind it.
    let end = query[12..].iter().position(|octet| *octet == 0);
    let mut message = query[..12 + end.expect("a name") + 5].to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[11] = 0;
    if let Some(address) = address {
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, address]);
    }
    message
}

/// Garbage, another id, another question, and no question at all.
fn forge(query: &[u8], mut send: impl FnMut(&[u8])) {
    let right = message(query, &Reply::Address(ANSWER, 66));
    let mut changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut forged = right.clone();
        change(&mut forged);
        send(&forged);
    };
    changed(&|octets| octets.truncate(11));
    changed(&|octets| octets[0] ^= 1);
    changed(&|octets| octets[13] ^= 1);
    changed(&|octets| octets[2] &= 0x7f);
    let question = 12..right.len() - 16;
    changed(&|octets| {
        octets[5] = 0;
        drop(octets.drain(question.clone()));
    });
}

fn resolver(servers: &[&Server], timeout: Duration) -> Resolver {
    let conf = ResolvConf {
        servers: servers.iter().map(|server| server.address).collect(),
        timeout,
        ..ResolvConf::default()
    };
    Resolver { conf }
}

fn lookup(resolver: &Resolver) -> Outcome {
    let cancel = Cancel::new().expect("an eventfd");
    let name = "mx.example".parse().expect("a name");
    let deadline = clock::now() + LONG;
    let outcome = resolver.lookup(&name, Kind::A, &cancel, deadline);
    outcome.expect("not stopped")
}

/// The address's last number and whether it is authentic, or why there is none.
fn told(outcome: &Outcome) -> Result<(u8, bool), String> {
    use crate::wire::dns::record::Data;
    let Some(found) = outcome.found() else {
        let failure = outcome.failure().map(|failure| failure.to_string());
        return Err(failure.unwrap_or_else(|| "no data".to_owned()));
    };
    match found.data[..] {
        [Data::A(address)] => Ok((address.octets()[3], found.is_authentic)),
        _ => panic!("{found:?}"),
    }
}

/// One server with these replies, which must have got these queries.
#[track_caller]
fn check(replies: &'static [Reply], queries: &[&str], expected: Result<(u8, bool), &str>) {
    let server = Server::start(replies);
    let outcome = lookup(&resolver(&[&server], LONG));
    assert_eq!(
        told(&outcome),
        expected.map_err(str::to_owned),
        "{queries:?}"
    );
    assert_eq!(server.seen(), queries);
}

#[test]
fn an_answer_over_udp() {
    let query = ["UDP EDNS AD"];
    check(&[Reply::Address(ANSWER, 1)], &query, Ok((1, false)));
    check(&[Reply::Address(AUTHENTIC, 1)], &query, Ok((1, true)));
    check(&[Reply::Flags(ANSWER)], &query, Err("no data"));
}

#[test]
fn a_truncated_answer_comes_over_tcp() {
    let queries = ["UDP EDNS AD", "TCP EDNS AD"];
    check(
        &[TRUNCATED, Reply::Address(AUTHENTIC, 2)],
        &queries,
        Ok((2, true)),
    );
    let cut_off = Err("the name server's answer is cut off");
    check(&[TRUNCATED, Reply::Cut], &queries, cut_off);
    check(&[TRUNCATED, TRUNCATED], &queries, cut_off);
    check(&[TRUNCATED, Reply::Silence], &queries, cut_off);
}

#[test]
fn answers_to_another_query_and_from_others_are_not_taken() {
    check(&[Reply::BehindForged(3)], &["UDP EDNS AD"], Ok((3, false)));
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let replies = &[Reply::Flags(ANSWER | 1), Reply::Address(ANSWER, 4)];
    check(replies, &["UDP EDNS AD", "UDP AD"], Ok((4, false)));
    let replies = &[
        Reply::Flags(ANSWER | 4),
        TRUNCATED,
        Reply::Address(ANSWER, 4),
    ];
    let queries = ["UDP EDNS AD", "UDP AD", "TCP AD"];
    check(replies, &queries, Ok((4, false)));
    let replies = &[Reply::Flags(ANSWER | 1), Reply::Flags(ANSWER | 1)];
    let why = "the name server does not understand the query (FORMERR)";
    check(replies, &["UDP EDNS AD", "UDP AD"], Err(why));
}

#[test]
fn the_next_server_may_know() {
    for failure in [&[Reply::Flags(ANSWER | 2)], &[Reply::Flags(ANSWER | 5)]] {
        let first = Server::start(failure);
        let second = Server::start(&[Reply::Address(ANSWER, 5)]);
        let outcome = lookup(&resolver(&[&first, &second], LONG));
        assert_eq!(told(&outcome), Ok((5, false)));
        assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    }
    let first = Server::start(&[Reply::Silence]);
    let second = Server::start(&[Reply::Flags(ANSWER | 3)]);
    let outcome = lookup(&resolver(&[&first, &second], SHORT));
    assert!(matches!(outcome, Outcome::NoSuchName(_)), "{outcome:?}");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
}

#[test]
fn who_is_silent_is_asked_again_and_who_fails_is_not() {
    let silent = Server::start(&[Reply::Silence, Reply::Silence]);
    let failing = Server::start(&[Reply::Flags(ANSWER | 2)]);
    let outcome = lookup(&resolver(&[&silent, &failing], SHORT));
    let failure = Failure::Server(Rcode::ServerFailure);
    assert_eq!(outcome.failure(), Some(failure));
    assert_eq!((silent.seen().len(), failing.seen().len()), (2, 1));
    let silent = Server::start(&[Reply::Silence, Reply::Silence]);
    let outcome = lookup(&resolver(&[&silent], MOMENT));
    assert_eq!(outcome.failure(), Some(Failure::Unanswered));
    assert_eq!(silent.seen().len(), 2);
}

#[test]
fn a_closed_port_is_not_waited_for() {
    // Held, so that nobody else answers there; a listener would be another protocol's.
    let held = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let resolver = Resolver::at(held.local_addr().expect("bound"));
    assert_eq!(lookup(&resolver).failure(), Some(Failure::Unanswered));
}

#[test]
fn tcp_alone_where_that_is_configured() {
    let server = Server::start(&[Reply::Address(ANSWER, 6)]);
    let mut resolver = resolver(&[&server], LONG);
    resolver.conf.use_vc = true;
    assert_eq!(told(&lookup(&resolver)), Ok((6, false)));
    assert_eq!(server.seen(), ["TCP EDNS AD"]);
}

#[test]
fn stop_and_the_deadline_end_a_lookup() {
    let server = Server::start(&[Reply::Silence]);
    let resolver = resolver(&[&server], LONG);
    let cancel = Cancel::new().expect("an eventfd");
    let name: Name = "mx.example".parse().expect("a name");
    let far = clock::now() + LONG * 100;
    thread::scope(|scope| {
        let looking = scope.spawn(|| resolver.lookup(&name, Kind::Mx, &cancel, far));
        assert_eq!(server.seen().len(), 1);
        cancel.cancel();
        assert_eq!(looking.join().expect("no panic"), Err(Cancelled));
    });
    let cancel = Cancel::new().expect("an eventfd");
    let late = resolver.lookup(&name, Kind::Mx, &cancel, clock::now());
    assert_eq!(late, Ok(Outcome::Failed(Failure::Unanswered)));
}

#[test]
fn there_is_a_server_to_ask_whatever_the_system_has() {
    assert!(!Resolver::from_system().conf.servers.is_empty());
}

#[test]
fn only_this_machine_or_a_trusted_server_vouches_for_answers() {
    let trusts = |text: &str, trust_ad| {
        let server: SocketAddr = text.parse().expect("an address");
        let mut resolver = Resolver::at(server);
        resolver.conf.trust_ad = trust_ad;
        resolver.is_trusted(server)
    };
    assert!(trusts("127.0.0.53:53", false));
    assert!(trusts("[::1]:53", false));
    assert!(!trusts("192.0.2.1:53", false));
    assert!(trusts("192.0.2.1:53", true));
}
