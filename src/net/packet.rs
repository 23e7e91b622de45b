//! Sockets of single packets, each with a hop limit of its own, and what is heard of them.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{
    Ipv4RecvErr, Ipv4RecvTtl, Ipv6RecvErr, Ipv6RecvHopLimit, ReceiveTimestampns,
};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Socket, Type};

use super::inbox::{Inbox, Queued, Received, is_told_by_icmp};
use super::option::{self, Fragmentation};
use crate::clock;

/// The largest IP packet.
const PACKET_OCTETS_MAX: usize = 65_536;

pub(crate) struct PacketSocket {
    pub(super) socket: Socket,
    inbox: Inbox,
    is_told_errors: bool,
}

impl PacketSocket {
    /// One that does not block, and knows when packets came and with which hop limit.
    pub(super) fn new(socket: Socket, is_v4: bool) -> io::Result<PacketSocket> {
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        match is_v4 {
            // Raw sockets see the whole header.
            true if socket.r#type()? == Type::RAW => {}
            true => setsockopt(&socket, Ipv4RecvTtl, &true)?,
            false => setsockopt(&socket, Ipv6RecvHopLimit, &true)?,
        }
        Ok(PacketSocket {
            socket,
            inbox: Inbox::new(PACKET_OCTETS_MAX),
            is_told_errors: false,
        })
    }

    /// From now on ICMP errors are in the error queue.
    pub(crate) fn tell_errors(&mut self, is_v4: bool) -> io::Result<()> {
        tell_errors(&self.socket, is_v4)?;
        self.is_told_errors = true;
        Ok(())
    }

    /// From now on nobody may fragment packets, whatever is known of the path.
    pub(crate) fn forbid_fragments(&self, is_v4: bool) -> io::Result<()> {
        option::set_fragmentation(&self.socket, is_v4, Fragmentation::Probe)
    }

    /// Sends one packet; says just before when that was.
    ///
    /// A socket that is told errors reports an earlier one by failing the next send without
    /// sending anything; that send is made again.
    pub(crate) fn send(
        &self,
        octets: &[u8],
        peer: &SocketAddr,
        hop_limit: Option<u8>,
    ) -> io::Result<Instant> {
        const PENDING_ERRORS_MAX: usize = 64;
        let mut pending = 0;
        loop {
            let at = clock::now();
            match send_once(&self.socket, octets, peer, None, hop_limit) {
                Ok(()) => return Ok(at),
                Err(Errno::EINTR) => {}
                Err(error)
                    if self.is_told_errors
                        && is_told_by_icmp(error)
                        && pending < PENDING_ERRORS_MAX =>
                {
                    pending += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        self.inbox.receive(&self.socket)
    }

    pub(crate) fn receive_queued(&mut self) -> io::Result<Option<Queued<'_>>> {
        self.inbox.receive_queued(&self.socket)
    }
}

/// Sends one packet without waiting, from this address of this machine and with this hop limit
/// if they are given.
pub(super) fn send_once(
    socket: &impl AsRawFd,
    octets: &[u8],
    peer: &SocketAddr,
    from: Option<IpAddr>,
    hop_limit: Option<u8>,
) -> Result<(), Errno> {
    let address = SockaddrStorage::from(*peer);
    let limit = hop_limit.map(i32::from);
    let limit = limit.as_ref().map(|limit| match peer.ip().to_canonical() {
        IpAddr::V4(_) => ControlMessage::Ipv4Ttl(limit),
        IpAddr::V6(_) => ControlMessage::Ipv6HopLimit(limit),
    });
    let mut v4 = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: 0 },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let mut v6 = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
        ipi6_ifindex: 0,
    };
    let from = from.map(|from| match from {
        IpAddr::V4(from) => {
            v4.ipi_spec_dst.s_addr = u32::from(from).to_be();
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(from) => {
            v6.ipi6_addr.s6_addr = from.octets();
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    });
    let control: Vec<ControlMessage> = limit.into_iter().chain(from).collect();
    let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    let slices = [IoSlice::new(octets)];
    sendmsg(fd, &slices, &control, flags, Some(&address))?;
    Ok(())
}

pub(super) fn tell_errors(socket: &Socket, is_v4: bool) -> io::Result<()> {
    match is_v4 {
        true => setsockopt(socket, Ipv4RecvErr, &true)?,
        false => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    // Kernels before 5.9 know nothing of extensions.
    let _ = option::set_extensions_told(socket, is_v4);
    Ok(())
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
