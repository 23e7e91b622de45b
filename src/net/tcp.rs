//! TCP: connecting and listening, each ended by `stop` or a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::{Domain, Socket, Type};

use super::{Error, cannot_listen};
use crate::cancel::{Cancel, Wake};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A connection whose every wait ends with the job or at a deadline.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(super) cancel: Cancel,
    pub(super) peer: SocketAddr,
    is_hurried: bool,
}

pub(crate) fn connect(
    peer: SocketAddr,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Connection, Error> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::Refused(peer),
        _ => Error::System {
            what: format!("cannot connect to {peer}"),
            error,
        },
    };
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None).map_err(cannot)?;
    socket.set_nonblocking(true).map_err(cannot)?;
    match socket.connect(&peer.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {
            if cancel.wait(socket.as_fd(), PollFlags::POLLOUT, Some(deadline))? == Wake::TimedOut {
                return Err(Error::TimedOut(format!(
                    "no answer from {peer} to the connection"
                )));
            }
            if let Some(error) = socket.take_error().map_err(cannot)? {
                return Err(cannot(error));
            }
        }
        Err(error) => return Err(cannot(error)),
    }
    socket.set_tcp_nodelay(true).map_err(cannot)?;
    Ok(Connection {
        stream: socket.into(),
        cancel: cancel.clone(),
        peer,
        is_hurried: false,
    })
}

impl Connection {
    /// One that is there already.
    pub(crate) fn dialled(
        stream: TcpStream,
        peer: SocketAddr,
        cancel: &Cancel,
    ) -> Result<Connection, Error> {
        stream
            .set_nonblocking(true)
            .map_err(|error| Error::System {
                what: format!("cannot use the connection to {peer}"),
                error,
            })?;
        Ok(Connection {
            stream,
            cancel: cancel.clone(),
            peer,
            is_hurried: false,
        })
    }

    /// For dialogues, in which each side waits for the other: what is written leaves at once, and
    /// what comes is acknowledged at once, since a server that holds back its answer until then
    /// (Nagle's algorithm, RFC 9293 section 3.7.4) costs 40 ms each time.
    pub(crate) fn hurry(&mut self) -> Result<(), Error> {
        self.is_hurried = true;
        self.stream
            .set_nodelay(true)
            .map_err(|error| Error::System {
                what: format!("cannot use the connection to {}", self.peer),
                error,
            })
    }

    /// What has come, at least one octet; none at the peer's end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        if self.is_hurried {
            acknowledge_at_once(&self.stream);
        }
        let mut read = |stream: &mut TcpStream| stream.read(buffer);
        self.when_ready(
            PollFlags::POLLIN,
            deadline,
            "cannot receive from",
            &mut read,
        )
    }

    pub(crate) fn write_all(&mut self, mut octets: &[u8], deadline: Instant) -> Result<(), Error> {
        while !octets.is_empty() {
            let mut write = |stream: &mut TcpStream| stream.write(octets);
            let written =
                self.when_ready(PollFlags::POLLOUT, deadline, "cannot send to", &mut write)?;
            octets = &octets[written..];
        }
        Ok(())
    }

    /// Sends what fits without waiting, also when the job is stopped.
    pub(super) fn write_now(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    pub(super) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn when_ready(
        &mut self,
        interest: PollFlags,
        deadline: Instant,
        what: &str,
        call: &mut dyn FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        loop {
            // A peer that never stops sending is never waited for.
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match call(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::System {
                        what: format!("{what} {}", self.peer),
                        error,
                    });
                }
                Ok(count) => return Ok(count),
            }
            if self
                .cancel
                .wait(self.stream.as_fd(), interest, Some(deadline))?
                == Wake::TimedOut
            {
                return Err(Error::TimedOut(format!("{} does not answer", self.peer)));
            }
        }
    }
}

/// The kernel goes back to waiting by itself, so that this is said before each read. Without it
/// the dialogue is slower, and nothing else.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

/// A listener that does not block.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listen = || {
        let socket = bind(address, false)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| cannot_listen(address, "TCP", error))
}

/// Several listeners of one address, among which the kernel divides the connections.
pub(crate) fn listen_together(
    mut address: SocketAddr,
    count: usize,
) -> Result<Vec<TcpListener>, Error> {
    let mut listen = || {
        // Another server that shares its port with its own kind would let us in, too, and lose
        // half of its clients to us. To one that shares with nobody the port is taken.
        if address.port() != 0 {
            drop(bind(address, false)?);
        }
        let mut listeners = Vec::new();
        for _ in 0..count.max(1) {
            let socket = bind(address, true)?;
            address = socket.local_addr()?.as_socket().unwrap_or(address);
            socket.listen(BACKLOG)?;
            listeners.push(socket.into());
        }
        Ok(listeners)
    };
    listen().map_err(|error| cannot_listen(address, "TCP", error))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A server that was stopped may be started again at once.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // `::` is all of this machine's addresses, IPv4 included.
        let _ = socket.set_only_v6(false);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The line editor can only wait on descriptors below this one.
const SELECT_LIMIT: i32 = 1024;

/// Connections may have the lower half of these numbers; moving one takes two system calls.
const FREE_BELOW: i32 = SELECT_LIMIT / 2;

/// Gives a connection a high number where the low ones get scarce, which keeps some of them for
/// the line editor.
///
/// Where the limit on descriptors is too low for that, it stays what it is.
pub(crate) fn out_of_the_way(stream: TcpStream) -> TcpStream {
    if stream.as_raw_fd() < FREE_BELOW {
        return stream;
    }
    match rustix::io::fcntl_dupfd_cloexec(&stream, SELECT_LIMIT) {
        Ok(moved) => moved.into(),
        Err(_) => stream,
    }
}

/// Makes room for such numbers. The kernel takes 5 to 25 ms for that in a process with threads,
/// and no time in one without.
pub(crate) fn widen_descriptor_table() {
    if let Ok(any) = std::fs::File::open("/dev/null") {
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, SELECT_LIMIT);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;
    use crate::clock;

    #[test]
    fn a_hurried_connection_acknowledges_before_each_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let cancel = Cancel::new().expect("an eventfd");
        let deadline = clock::now() + Duration::from_secs(30);
        let mut connection = connect(address, deadline, &cancel).expect("a connection");
        let (mut far, _) = listener.accept().expect("a connection");
        for is_hurried in [false, true] {
            if is_hurried {
                connection.hurry().expect("options");
            }
            far.write_all(b"220 ready").expect("sent");
            let socket = SockRef::from(&connection.stream);
            socket.set_tcp_quickack(false).expect("an option");
            let read = connection.read(&mut [0; 64], deadline);
            assert_eq!(read.expect("octets"), 9);
            let socket = SockRef::from(&connection.stream);
            assert_eq!(socket.tcp_quickack().expect("an option"), is_hurried);
            assert!(socket.tcp_nodelay().expect("an option"));
        }
    }
}
