//! UDP: datagrams with their hop limits.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};

use super::icmp::Options;
use super::packet::{PacketSocket, send_once};
use super::{Error, cannot_listen};
use crate::cancel::{Cancel, Wake};

/// The largest payload of a datagram over IPv4.
pub(crate) const PAYLOAD_OCTETS_MAX: usize = 65_507;

pub(crate) struct Datagram {
    pub(crate) peer: SocketAddr,
    pub(crate) octets: usize,
    /// What was left of the packet's time to live, or hop limit.
    pub(crate) hop_limit: u8,
}

/// A server's socket that does not block and sees hop limits.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, Error> {
    let cannot = |error| cannot_listen(address, "UDP", error);
    let socket = UdpSocket::bind(address).map_err(cannot)?;
    socket.set_nonblocking(true).map_err(cannot)?;
    let set = match address {
        SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvTtl, &true),
        SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvHopLimit, &true),
    };
    set.map_err(|error| cannot(error.into()))?;
    Ok(socket)
}

/// A datagram that waits, put into `buffer`; `None` when none does.
pub(crate) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
    let mut control = nix::cmsg_space!(i32, i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let fd = socket.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut hop_limit = 1;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4Ttl(left) | ControlMessageOwned::Ipv6HopLimit(left) =
            control
        {
            hop_limit = u8::try_from(left).unwrap_or(1);
        }
    }
    let peer = message.address.as_ref().and_then(super::socket_address);
    let peer = peer.ok_or_else(|| io::Error::other("a datagram without a sender"))?;
    Ok(Some(Datagram {
        peer,
        octets: message.bytes,
        hop_limit,
    }))
}

/// Sends with this hop limit, without waiting.
pub(crate) fn send(
    socket: &impl AsRawFd,
    octets: &[u8],
    peer: SocketAddr,
    hop_limit: u8,
) -> io::Result<()> {
    Ok(send_once(socket, octets, &peer, Some(hop_limit))?)
}

/// A client's socket that takes datagrams of one peer only, and learns when its port is closed.
pub(crate) fn connect(peer: SocketAddr) -> Result<UdpSocket, Error> {
    let cannot = |error| Error::System {
        what: format!("cannot send to {peer} (UDP)"),
        error,
    };
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).map_err(cannot)?;
    socket.connect(peer).map_err(cannot)?;
    socket.set_nonblocking(true).map_err(cannot)?;
    Ok(socket)
}

/// The address that packets to this peer leave from.
pub(crate) fn source_towards(peer: SocketAddr, options: &Options) -> Result<IpAddr, Error> {
    let cannot = |error| Error::System {
        what: format!("cannot send to {}", peer.ip()),
        error,
    };
    if let Some(source) = options.source {
        return Ok(source);
    }
    let kind = socket2::Type::DGRAM;
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(peer), kind, None).map_err(cannot)?;
    super::apply(&socket, peer.is_ipv4(), options)?;
    // Connecting sends nothing; any port will do.
    let mut discard = peer;
    discard.set_port(9);
    socket.connect(&discard.into()).map_err(cannot)?;
    let local = socket.local_addr().map_err(cannot)?.as_socket();
    let local = local.ok_or_else(|| cannot(io::Error::other("no address")))?;
    Ok(local.ip())
}

/// Sends a datagram and waits for one.
pub(crate) fn exchange<'b>(
    socket: &UdpSocket,
    peer: SocketAddr,
    octets: &[u8],
    buffer: &'b mut [u8],
    deadline: Instant,
    cancel: &Cancel,
) -> Result<&'b [u8], Error> {
    // An answer that came too late for the last question is none to this one.
    while socket.recv(buffer).is_ok() {}
    let cannot = |what: &str, error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::PortUnreachable(peer),
        _ => Error::System {
            what: format!("cannot {what} {peer} (UDP)"),
            error,
        },
    };
    socket
        .send(octets)
        .map_err(|error| cannot("send to", error))?;
    loop {
        match socket.recv(buffer) {
            Ok(count) => return Ok(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(cannot("receive from", error)),
        }
        if cancel.wait(socket.as_fd(), PollFlags::POLLIN, Some(deadline))? == Wake::TimedOut {
            return Err(Error::NoDatagram(peer));
        }
    }
}

/// For datagrams that end on the way, and the port they come from. Neither connected nor, unless
/// that is asked for, bound to an address: behind an address translation routers quote another
/// sender, and only a socket for all addresses hears of that.
pub(crate) fn open_probe(
    peer: SocketAddr,
    options: &Options,
) -> Result<(PacketSocket, u16), Error> {
    let cannot = |error| Error::System {
        what: format!("cannot send to {} (UDP)", peer.ip()),
        error,
    };
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = options.source.unwrap_or(any);
    let kind = socket2::Type::DGRAM;
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(peer), kind, None).map_err(cannot)?;
    super::apply(&socket, peer.is_ipv4(), options)?;
    let bind = |port| socket.bind(&SocketAddr::new(source, port).into());
    bind(options.preferred.unwrap_or(0))
        .or_else(|_| bind(0))
        .map_err(cannot)?;
    let local = socket.local_addr().map_err(cannot)?.as_socket();
    let local = local.ok_or_else(|| cannot(io::Error::other("no address")))?;
    let packets = PacketSocket::new(socket, peer.is_ipv4()).map_err(cannot)?;
    Ok((packets, local.port()))
}
