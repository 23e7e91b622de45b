//! ICMP sockets: datagram ones where the kernel permits them, else raw ones.
//!
//! A datagram socket gets its own replies only, without an IP header, and errors by its error
//! queue. A raw socket gets every ICMP packet of the host, for IPv4 with the IP header.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    Ipv4RecvErr, Ipv4RecvTtl, Ipv6RecvErr, Ipv6RecvHopLimit, ReceiveTimestampns,
};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, random, socket_address};
use crate::clock;

/// The largest IP packet.
const PACKET_OCTETS_MAX: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Datagram,
    Raw,
}

pub(crate) struct IcmpSocket {
    socket: Socket,
    pub(crate) mode: Mode,
    /// Of all echoes sent here.
    pub(crate) identifier: u16,
    buffer: Vec<u8>,
}

/// What arrived, in the buffer.
pub(crate) struct Received<'a> {
    pub(crate) from: IpAddr,
    /// The ICMP message; of a raw IPv4 socket the whole packet; of an error the quoted message.
    pub(crate) octets: &'a [u8],
    pub(crate) hop_limit: Option<u8>,
    /// When the kernel had it.
    pub(crate) at: Instant,
    /// Set for what came by the error queue.
    pub(crate) problem: Option<QueuedProblem>,
}

/// Type, code and second word of the ICMP error that `from` sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedProblem {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) info: u32,
}

impl IcmpSocket {
    /// Opens the kind of socket that the kernel permits; both may be forbidden.
    pub(crate) fn open(peer: &SocketAddr) -> Result<IcmpSocket, Error> {
        let (domain, protocol) = match peer {
            SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let open = |kind| Socket::new(domain, kind, Some(protocol));
        let (socket, mode) = match open(Type::DGRAM) {
            Ok(socket) => (socket, Mode::Datagram),
            Err(_) => match open(Type::RAW) {
                Ok(socket) => (socket, Mode::Raw),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::NotPermitted(permission()));
                }
                Err(error) => return Err(cannot("open an ICMP socket", error)),
            },
        };
        prepare(&socket, peer, mode).map_err(|error| cannot("set up an ICMP socket", error))?;
        let identifier = match mode {
            Mode::Datagram => bound_identifier(&socket, peer)
                .map_err(|error| cannot("bind an ICMP socket", error))?,
            Mode::Raw => next_identifier(),
        };
        Ok(IcmpSocket {
            socket,
            mode,
            identifier,
            buffer: vec![0; PACKET_OCTETS_MAX],
        })
    }

    /// Sends one message, and says just before when that was.
    ///
    /// A datagram socket reports an earlier ICMP error by failing the next send without
    /// sending anything; that send is made again.
    pub(crate) fn send(&self, octets: &[u8], peer: &SocketAddr) -> Result<Instant, io::Error> {
        const PENDING_ERRORS_MAX: usize = 8;
        let peer = SockaddrStorage::from(*peer);
        let mut pending = 0;
        loop {
            let at = clock::now();
            let slices = [IoSlice::new(octets)];
            let flags = MsgFlags::empty();
            match sendmsg(self.socket.as_raw_fd(), &slices, &[], flags, Some(&peer)) {
                Ok(_) => return Ok(at),
                Err(Errno::EINTR) => {}
                Err(error)
                    if is_told_by_icmp(error)
                        && self.mode == Mode::Datagram
                        && pending < PENDING_ERRORS_MAX =>
                {
                    pending += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What waits, errors first; `None` when nothing does.
    pub(crate) fn receive(&mut self) -> Result<Option<Received<'_>>, io::Error> {
        let fd = self.socket.as_raw_fd();
        let read_at = clock::now();
        let wall = SystemTime::from(clock::wall());
        let error_flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let first = match self.mode {
            Mode::Datagram => take(fd, &mut self.buffer, error_flags)?,
            Mode::Raw => None,
        };
        let taken = match first {
            Some(taken) => Some(taken),
            None => take(fd, &mut self.buffer, MsgFlags::MSG_DONTWAIT)?,
        };
        Ok(taken.map(|taken| {
            // The wall clock may have been set since; an age is only believed when small.
            let age = taken
                .stamp
                .and_then(|stamp| wall.duration_since(stamp).ok());
            let age = age.filter(|age| *age < AGE_MAX).unwrap_or_default();
            Received {
                from: taken.from,
                octets: &self.buffer[..taken.octets],
                hop_limit: taken.hop_limit,
                at: read_at.checked_sub(age).unwrap_or(read_at),
                problem: taken.problem,
            }
        }))
    }
}

/// A packet does not wait longer than this in the socket of a process that polls for it.
const AGE_MAX: Duration = Duration::from_secs(1);

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn cannot(what: &str, error: io::Error) -> Error {
    Error::System {
        what: format!("cannot {what}"),
        error,
    }
}

fn permission() -> String {
    let nsh = std::env::current_exe().map_or("nsh".to_owned(), |path| path.display().to_string());
    format!(
        "sending ICMP is not permitted to this user; one of these commands permits it:\n  \
         sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'\n  \
         sudo setcap cap_net_raw+ep {nsh}"
    )
}

fn prepare(socket: &Socket, peer: &SocketAddr, mode: Mode) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    setsockopt(socket, ReceiveTimestampns, &true)?;
    match peer {
        SocketAddr::V4(_) => {
            setsockopt(socket, Ipv4RecvTtl, &true)?;
            if mode == Mode::Datagram {
                setsockopt(socket, Ipv4RecvErr, &true)?;
            }
        }
        SocketAddr::V6(_) => {
            setsockopt(socket, Ipv6RecvHopLimit, &true)?;
            if mode == Mode::Datagram {
                setsockopt(socket, Ipv6RecvErr, &true)?;
            }
        }
    }
    Ok(())
}

/// The kernel's identifier for a datagram socket is its port.
fn bound_identifier(socket: &Socket, peer: &SocketAddr) -> io::Result<u16> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    let bound = socket.local_addr()?.as_socket();
    bound
        .map(|address| address.port())
        .ok_or_else(|| io::Error::other("no identifier"))
}

/// Different for each socket of this process, and unlikely to be another process's.
fn next_identifier() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = random() as u16;
    let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Taken {
    from: IpAddr,
    octets: usize,
    hop_limit: Option<u8>,
    stamp: Option<SystemTime>,
    problem: Option<QueuedProblem>,
}

/// One message of the socket, or of its error queue.
fn take(fd: i32, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Option<Taken>> {
    let mut control = nix::cmsg_space!([u8; 512]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        // The error that the queue told already.
        Err(error) if is_told_by_icmp(error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let from = message
        .address
        .as_ref()
        .and_then(socket_address)
        .map(|address| address.ip());
    let mut taken = Taken {
        from: from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        octets: message.bytes,
        hop_limit: None,
        stamp: None,
        problem: None,
    };
    for control in message.cmsgs()? {
        read_control(&control, &mut taken);
    }
    Ok(Some(taken))
}

/// What Linux makes of ICMP errors as a socket's pending error.
fn is_told_by_icmp(error: Errno) -> bool {
    matches!(
        error,
        Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ECONNREFUSED
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::EHOSTDOWN
            | Errno::EOPNOTSUPP
            | Errno::EMSGSIZE
            | Errno::EACCES
    )
}

fn read_control(control: &ControlMessageOwned, taken: &mut Taken) {
    match control {
        ControlMessageOwned::Ipv4Ttl(ttl) => taken.hop_limit = u8::try_from(*ttl).ok(),
        ControlMessageOwned::Ipv6HopLimit(limit) => taken.hop_limit = u8::try_from(*limit).ok(),
        ControlMessageOwned::ScmTimestampns(stamp) => {
            taken.stamp = Some(SystemTime::UNIX_EPOCH + Duration::from(*stamp));
        }
        ControlMessageOwned::Ipv4RecvErr(error, offender) => {
            taken.problem = Some(QueuedProblem {
                kind: error.ee_type,
                code: error.ee_code,
                info: error.ee_info,
            });
            if let Some(offender) = offender {
                taken.from = Ipv4Addr::from(u32::from_be(offender.sin_addr.s_addr)).into();
            }
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) => {
            taken.problem = Some(QueuedProblem {
                kind: error.ee_type,
                code: error.ee_code,
                info: error.ee_info,
            });
            if let Some(offender) = offender {
                taken.from = Ipv6Addr::from(offender.sin6_addr.s6_addr).into();
            }
        }
        _ => {}
    }
}
