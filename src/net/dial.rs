//! Connecting to whichever of a host's addresses answers first (RFC 8305).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::{Domain, Socket, Type};

use super::Error;
use super::eyeballs::{Attempts, Step};
use crate::cancel::Cancel;
use crate::clock;

struct Attempt {
    socket: Socket,
    peer: SocketAddr,
}

/// A connection that blocks, with TCP_NODELAY, and whom it is with.
///
/// The addresses are few and all of them may be connected to; when none answers, the error is of
/// the one that says most.
pub(crate) fn dial(
    addresses: &[SocketAddr],
    deadline: Instant,
    cancel: &Cancel,
) -> Result<(TcpStream, SocketAddr), Error> {
    let mut attempts = Attempts::new(addresses, clock::now(), deadline);
    let mut underway: Vec<Attempt> = Vec::new();
    let mut failures: Vec<Error> = Vec::new();
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match attempts.poll(clock::now()) {
            Step::Start(peer) => match begin(peer) {
                Ok(socket) => underway.push(Attempt { socket, peer }),
                Err(error) => {
                    attempts.on_failure(peer, clock::now());
                    failures.push(explain(peer, error));
                }
            },
            Step::WaitUntil(until) => {
                let fds: Vec<_> = underway.iter().map(|one| one.socket.as_fd()).collect();
                cancel.wait_any(&fds, PollFlags::POLLOUT, Some(until))?;
            }
            Step::Failed => {
                failures.extend(underway.iter().map(|silent| no_answer(silent.peer)));
                return Err(most_telling(failures));
            }
        }
        // On this machine the answer is often there before anything is waited for.
        let mut pending = Vec::new();
        for attempt in underway {
            match is_connected(&attempt.socket) {
                Ok(true) => return finish(attempt),
                Ok(false) => pending.push(attempt),
                Err(error) => {
                    attempts.on_failure(attempt.peer, clock::now());
                    failures.push(explain(attempt.peer, error));
                }
            }
        }
        underway = pending;
    }
}

fn begin(peer: SocketAddr) -> io::Result<Socket> {
    let socket = open(peer)?;
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// A socket that does not block.
#[cfg(target_os = "linux")]
fn open(peer: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    Socket::new(Domain::for_address(peer), kind, None)
}

#[cfg(not(target_os = "linux"))]
fn open(peer: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Having a peer is what tells a connection from an attempt without being waited for.
fn is_connected(socket: &Socket) -> io::Result<bool> {
    if socket.peer_addr().is_ok() {
        return Ok(true);
    }
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(false),
    }
}

fn finish(attempt: Attempt) -> Result<(TcpStream, SocketAddr), Error> {
    let Attempt { socket, peer } = attempt;
    // Setting it to block is one call for std's type, and two for the other.
    let stream = TcpStream::from(socket);
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_nonblocking(false))
        .map_err(|error| explain(peer, error))?;
    Ok((stream, peer))
}

fn explain(peer: SocketAddr, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::Refused(peer),
        io::ErrorKind::TimedOut => no_answer(peer),
        _ => Error::System {
            what: format!("cannot connect to {peer}"),
            error,
        },
    }
}

fn no_answer(peer: SocketAddr) -> Error {
    Error::TimedOut(format!("no answer from {peer} to the connection"))
}

/// The first of those that say most.
fn most_telling(failures: Vec<Error>) -> Error {
    let told = failures.into_iter().min_by_key(|failure| match failure {
        Error::Refused(_) => 0,
        Error::TimedOut(_) => 1,
        Error::System { error, .. } if !is_unreachable(error) => 2,
        // Mostly a family that this machine has no route for.
        _ => 3,
    });
    told.unwrap_or_else(|| Error::TimedOut("no time or no address to connect to".to_owned()))
}

fn is_unreachable(error: &io::Error) -> bool {
    let unreachable = [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::EADDRNOTAVAIL,
        Errno::EAFNOSUPPORT,
    ];
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    unreachable.contains(&errno)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    fn dial_for(
        addresses: &[SocketAddr],
        time: Duration,
    ) -> Result<(TcpStream, SocketAddr), Error> {
        let cancel = Cancel::new().expect("an eventfd");
        dial(addresses, clock::now() + time, &cancel)
    }

    fn listen(address: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(address).expect("loopback");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    /// An address that refuses, as long as its socket is held: nobody else can listen there.
    fn refusing(address: &str) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.bind(&address.into()).expect("loopback");
        let bound = socket.local_addr().expect("bound").as_socket();
        (socket, bound.expect("an address"))
    }

    /// An address that does not answer, as long as its sockets are held: what can wait to be
    /// accepted does.
    fn silent(address: &str) -> (Vec<Socket>, SocketAddr) {
        let (listener, address) = refusing(address);
        listener.listen(0).expect("a listener");
        let (first, _) = dial_for(&[address], LONG).expect("a connection");
        let more = begin(address).expect("an attempt");
        (vec![listener, first.into(), more], address)
    }

    /// Whom the connection is with, or the error.
    #[track_caller]
    fn check(addresses: &[SocketAddr], time: Duration, expected: Result<SocketAddr, &str>) {
        match (dial_for(addresses, time), expected) {
            (Ok((stream, peer)), Ok(expected)) => {
                assert_eq!(peer, expected);
                assert_eq!(stream.peer_addr().expect("connected"), peer);
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (dialled, _) => panic!("{dialled:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_connection_blocks_and_does_not_delay() {
        for loopback in LOOPBACK {
            let (listener, address) = listen(loopback);
            let (mut stream, peer) = dial_for(&[address], LONG).expect("a connection");
            assert_eq!(peer, address);
            assert!(stream.nodelay().expect("an option"));
            let flags = rustix::fs::fcntl_getfl(&stream).expect("flags");
            assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
            let (mut accepted, _) = listener.accept().expect("a connection");
            accepted.write_all(b"220 ready").expect("sent");
            drop(accepted);
            let mut received = String::new();
            stream.read_to_string(&mut received).expect("text");
            assert_eq!(received, "220 ready");
        }
    }

    #[test]
    fn refusals_are_passed_over() {
        let ((_v4, v4), (_v6, v6)) = (refusing(LOOPBACK[0]), refusing(LOOPBACK[1]));
        let (_listener, answers) = listen(LOOPBACK[0]);
        check(&[v4, v6, answers], LONG, Ok(answers));
        check(&[answers, v6, v4], LONG, Ok(answers));
    }

    #[test]
    fn silence_is_passed_over() {
        let (_sockets, silent) = silent(LOOPBACK[1]);
        let (_listener, answers) = listen(LOOPBACK[0]);
        check(&[silent, answers], LONG, Ok(answers));
    }

    #[test]
    fn an_address_that_answers_leaves_the_others_alone() {
        let ((_v6, first), (second, other)) = (listen(LOOPBACK[1]), listen(LOOPBACK[0]));
        second.set_nonblocking(true).expect("a listener");
        check(&[first, other], LONG, Ok(first));
        let accepted = second.accept().expect_err("no connection");
        assert_eq!(accepted.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_error_that_says_most_is_told() {
        let short = Duration::from_millis(20);
        let (_sockets, silent) = silent(LOOPBACK[0]);
        let (_refusing, refuses) = refusing(LOOPBACK[1]);
        let timed_out = format!("no answer from {silent} to the connection");
        let refused = format!("connection refused by {refuses}: nothing is listening there");
        // A group of hosts, which the kernel connects to none of.
        let unreachable: SocketAddr = "[ff00::]:80".parse().expect("an address");
        check(&[silent], short, Err(&timed_out));
        check(&[refuses], LONG, Err(&refused));
        check(&[refuses, silent], short, Err(&refused));
        check(&[unreachable, silent], short, Err(&timed_out));
        check(&[unreachable, refuses], LONG, Err(&refused));
        check(&[], LONG, Err("no time or no address to connect to"));
        check(
            &[silent],
            Duration::ZERO,
            Err("no time or no address to connect to"),
        );
    }

    #[test]
    fn stop_ends_a_dial() {
        let (_sockets, silent) = silent(LOOPBACK[0]);
        let cancel = Cancel::new().expect("an eventfd");
        let far = clock::now() + Duration::from_secs(3600);
        thread::scope(|scope| {
            let dialling = scope.spawn(|| dial(&[silent], far, &cancel));
            cancel.cancel();
            let dialled = dialling.join().expect("no panic");
            assert!(matches!(dialled, Err(Error::Cancelled)), "{dialled:?}");
        });
    }
}
