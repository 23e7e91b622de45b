//! A TCP connection that has a thread to itself while something happens on it.
//!
//! Its calls block, which takes one system call where waiting with poll takes three. The kernel
//! gives up after a moment; what has not come by then is waited for with poll, so that the wait
//! ends at a deadline and when the job is stopped.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;

use super::Error;
use super::tcp::out_of_the_way;
use crate::cancel::{Cancel, Wake};
use crate::clock;

/// A call that takes longer is not worth saving two others.
const MOMENT: Duration = Duration::from_millis(50);

pub(crate) struct Peer {
    stream: TcpStream,
    pub(crate) address: SocketAddr,
}

/// For all connections that this listener is going to accept: they inherit its options.
pub(crate) fn prepare(listener: &TcpListener) -> io::Result<()> {
    set_options(SockRef::from(listener))
}

fn set_options(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(MOMENT))?;
    socket.set_write_timeout(Some(MOMENT))
}

impl Peer {
    /// `stream` blocks, and was accepted by a listener that is prepared.
    pub(crate) fn accepted(stream: TcpStream, address: SocketAddr) -> Peer {
        Peer {
            stream: out_of_the_way(stream),
            address,
        }
    }

    /// `stream` blocks.
    pub(crate) fn connected(stream: TcpStream, address: SocketAddr) -> io::Result<Peer> {
        let stream = out_of_the_way(stream);
        set_options(SockRef::from(&stream))?;
        Ok(Peer { stream, address })
    }

    pub(crate) fn own_address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Appends what comes within a moment; `None` if nothing does, and 0 at the peer's end.
    pub(crate) fn receive_soon(
        &self,
        buffer: &mut Vec<u8>,
        octets: usize,
    ) -> io::Result<Option<usize>> {
        self.receive_with(buffer, octets, RecvFlags::empty())
    }

    /// Appends what is there already.
    pub(crate) fn receive_now(
        &self,
        buffer: &mut Vec<u8>,
        octets: usize,
    ) -> io::Result<Option<usize>> {
        self.receive_with(buffer, octets, RecvFlags::DONTWAIT)
    }

    fn receive_with(
        &self,
        buffer: &mut Vec<u8>,
        octets: usize,
        flags: RecvFlags,
    ) -> io::Result<Option<usize>> {
        buffer.reserve(octets);
        loop {
            match rustix::net::recv(&self.stream, spare_capacity(buffer), flags) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
    }

    /// Appends what comes until the deadline; 0 at the peer's end.
    pub(crate) fn receive(
        &self,
        buffer: &mut Vec<u8>,
        octets: usize,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<usize, Error> {
        loop {
            // Who sends an octet every now and then is never waited for.
            if clock::now() >= deadline {
                return Err(self.silence());
            }
            let received = self.receive_soon(buffer, octets);
            if let Some(count) = received.map_err(|error| self.cannot_receive(error))? {
                return Ok(count);
            }
            self.wait(PollFlags::POLLIN, deadline, cancel)?;
        }
    }

    /// Sends all, as long as the peer takes some of it every `stall`.
    pub(crate) fn send_all(
        &self,
        octets: &[u8],
        stall: Duration,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.send_both(octets, &[], stall, cancel)
    }

    /// Sends two pieces as if they were one.
    pub(crate) fn send_both(
        &self,
        mut first: &[u8],
        mut second: &[u8],
        stall: Duration,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        while !first.is_empty() || !second.is_empty() {
            let sent = match second {
                [] => rustix::net::send(&self.stream, first, SendFlags::NOSIGNAL),
                _ => rustix::net::sendmsg(
                    &self.stream,
                    &[IoSlice::new(first), IoSlice::new(second)],
                    &mut SendAncillaryBuffer::default(),
                    SendFlags::NOSIGNAL,
                ),
            };
            match sent {
                Ok(count) => {
                    let of_first = count.min(first.len());
                    first = &first[of_first..];
                    second = &second[count - of_first..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, clock::now() + stall, cancel)?;
                }
                Err(error) => return Err(self.cannot_send(error.into())),
            }
        }
        Ok(())
    }

    /// Sends what fits without waiting.
    pub(crate) fn send_now(&self, octets: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.stream, octets, flags) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn wait(
        &self,
        interest: PollFlags,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        match cancel.wait(self.stream.as_fd(), interest, Some(deadline))? {
            Wake::TimedOut if interest.contains(PollFlags::POLLIN) => Err(self.silence()),
            Wake::TimedOut => {
                let text = format!("{} does not take what it is sent", self.address);
                Err(Error::TimedOut(text))
            }
            Wake::Ready | Wake::Nudged => Ok(()),
        }
    }

    pub(crate) fn silence(&self) -> Error {
        Error::TimedOut(format!("{} does not answer", self.address))
    }

    /// Whether it waits for us: it has neither closed nor sent anything.
    pub(crate) fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = rustix::net::recv(&self.stream, &mut [0_u8; 1], flags);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// For good: no call waits from now on.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes it so that the peer cannot take what it got for all of it.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    pub(crate) fn cannot_receive(&self, error: io::Error) -> Error {
        let what = format!("cannot receive from {}", self.address);
        Error::System { what, error }
    }

    pub(crate) fn cannot_send(&self, error: io::Error) -> Error {
        let what = format!("cannot send to {}", self.address);
        Error::System { what, error }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
