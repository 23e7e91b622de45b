//! UDP: datagrams with their hop limits.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::poll::PollFlags;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{
    Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo, ReceiveTimestampns,
};

use super::icmp::Options;
use super::packet::{PacketSocket, send_once};
use super::{Error, cannot_listen};
use crate::cancel::{Cancel, Wake};

/// Dropped before a question is asked: what a queue holds, and no more of a flood.
const STALE_MAX: usize = 1024;
/// The largest payload of a datagram, IPv6's.
pub(crate) const PAYLOAD_OCTETS_MAX: usize = 65_527;

/// A server's socket that does not block. Its [`Inbox`](super::inbox::Inbox) is told hop limits
/// and, where it has all of this machine's addresses, which of them was asked.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, Error> {
    let cannot = |error| cannot_listen(address, "UDP", error);
    let socket = UdpSocket::bind(address).map_err(cannot)?;
    socket.set_nonblocking(true).map_err(cannot)?;
    let is_asked_which = address.ip().is_unspecified();
    let set = match address {
        SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvTtl, &true)
            .and_then(|()| setsockopt(&socket, Ipv4PacketInfo, &is_asked_which)),
        // It may have clients of both versions.
        SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvHopLimit, &true)
            .and_then(|()| setsockopt(&socket, Ipv4RecvTtl, &true))
            .and_then(|()| setsockopt(&socket, Ipv6RecvPacketInfo, &is_asked_which)),
    };
    set.map_err(|error| cannot(error.into()))?;
    Ok(socket)
}

/// Many datagrams may wait.
pub(crate) fn let_wait(socket: &UdpSocket) -> io::Result<()> {
    super::enlarge_receive_buffer(socket)
}

/// From now on the kernel says when datagrams came.
pub(crate) fn stamp_arrivals(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

/// Sends without waiting, from this address of this machine and with this hop limit if they are
/// given.
pub(crate) fn send(
    socket: &impl AsRawFd,
    octets: &[u8],
    peer: SocketAddr,
    from: Option<IpAddr>,
    hop_limit: Option<u8>,
) -> io::Result<()> {
    Ok(send_once(socket, octets, &peer, from, hop_limit)?)
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
    for _ in 0..STALE_MAX {
        if socket.recv(buffer).is_err() {
            break;
        }
    }
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
