//! One message of a socket, or of its error queue, with what the kernel says about it.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::libc::sock_extended_err;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;

use super::socket_address;
use crate::clock;

/// linux/errqueue.h: what put a message into the error queue.
const ORIGIN_LOCAL: u8 = 1;
const ORIGIN_TIMESTAMPING: u8 = 4;
const CONTROL_OCTETS: usize = 512;

pub(crate) struct Inbox {
    buffer: Vec<u8>,
    control: Vec<u8>,
    /// What comes later cannot have come before.
    drained_at: Instant,
}

/// A message that came to the socket.
pub(crate) struct Received<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) octets: &'a [u8],
    pub(crate) hop_limit: Option<u8>,
    /// The address of this machine that it was sent to, where the socket is told.
    pub(crate) to: Option<IpAddr>,
    /// When the kernel had it.
    pub(crate) at: Instant,
}

/// What the error queue holds.
pub(crate) enum Queued<'a> {
    /// The packet with this number, counted from 0, was handed to the link.
    Transmitted {
        number: u32,
        at: Instant,
    },
    Problem(QueuedProblem<'a>),
}

/// An ICMP error about a packet that this socket sent.
pub(crate) struct QueuedProblem<'a> {
    /// Who said so; `None` for the kernel itself.
    pub(crate) router: Option<IpAddr>,
    /// Where the packet was going.
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// The message's second word.
    pub(crate) info: u32,
    /// What the router quoted, from the header behind IP's; for UDP from behind UDP's.
    pub(crate) quote: &'a [u8],
    /// Behind the quote, where the router added any (RFC 4884).
    pub(crate) extension: Option<&'a [u8]>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) at: Instant,
}

impl Inbox {
    /// For packets of up to this size; of larger ones the rest is cut off.
    pub(crate) fn new(octets_max: usize) -> Inbox {
        Inbox {
            buffer: vec![0; octets_max],
            control: vec![0; CONTROL_OCTETS],
            drained_at: clock::now(),
        }
    }

    /// The next message; `None` when none waits.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<Option<Received<'_>>> {
        // What comes while the socket is asked may be older than the reading of the clock.
        const ASKING: Duration = Duration::from_millis(1);
        let Some(taken) = self.take(socket, MsgFlags::MSG_DONTWAIT)? else {
            let now = clock::now();
            self.drained_at = now.checked_sub(ASKING).unwrap_or(now);
            return Ok(None);
        };
        Ok(Some(Received {
            from: taken.from.unwrap_or(UNKNOWN),
            at: taken.instant(Some(self.drained_at)),
            hop_limit: taken.hop_limit,
            to: taken.to,
            octets: &self.buffer[..taken.octets],
        }))
    }

    /// The next entry of the error queue; `None` when it is empty.
    pub(crate) fn receive_queued(
        &mut self,
        socket: &impl AsRawFd,
    ) -> io::Result<Option<Queued<'_>>> {
        loop {
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let Some(taken) = self.take(socket, flags)? else {
                return Ok(None);
            };
            let Some(error) = taken.error else {
                continue;
            };
            if error.ee_origin == ORIGIN_TIMESTAMPING {
                return Ok(Some(Queued::Transmitted {
                    number: error.ee_data,
                    at: taken.instant(None),
                }));
            }
            if error.ee_origin == ORIGIN_LOCAL {
                // The send that caused it failed with the same error.
                continue;
            }
            let octets = &self.buffer[..taken.octets];
            // struct sock_ee_data_rfc4884: a length in the first two octets, flags in the third.
            let quote_octets = usize::from(error.ee_data as u16);
            let (quote, extension) = match octets.split_at_checked(quote_octets) {
                Some((quote, extension)) if quote_octets > 0 => (quote, Some(extension)),
                _ => (octets, None),
            };
            return Ok(Some(Queued::Problem(QueuedProblem {
                router: taken.offender,
                destination: taken.from,
                kind: error.ee_type,
                code: error.ee_code,
                info: error.ee_info,
                quote,
                extension,
                hop_limit: taken.hop_limit,
                at: taken.instant(Some(self.drained_at)),
            })));
        }
    }

    fn take(&mut self, socket: &impl AsRawFd, flags: MsgFlags) -> io::Result<Option<Taken>> {
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let control = Some(self.control.as_mut_slice());
        let fd = socket.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, control, flags) {
            Ok(message) => message,
            // An interrupted call may leave a message behind, which the next poll shows.
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            // The error that the queue tells.
            Err(error) if is_told_by_icmp(error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut taken = Taken {
            from: message.address.as_ref().and_then(socket_address),
            octets: message.bytes,
            hop_limit: None,
            to: None,
            stamp: None,
            error: None,
            offender: None,
        };
        for control in message.cmsgs()? {
            taken.read(&control);
        }
        Ok(Some(taken))
    }
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What Linux makes of ICMP errors as a socket's pending error.
pub(crate) fn is_told_by_icmp(error: Errno) -> bool {
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
            | Errno::ENONET
            | Errno::EREMOTEIO
    )
}

struct Taken {
    from: Option<SocketAddr>,
    octets: usize,
    hop_limit: Option<u8>,
    to: Option<IpAddr>,
    stamp: Option<SystemTime>,
    error: Option<sock_extended_err>,
    offender: Option<IpAddr>,
}

impl Taken {
    /// When it happened, by the monotonic clock.
    ///
    /// The wall clock may have been set since the kernel stamped it, so that the age is
    /// held between what is possible.
    fn instant(&self, earliest: Option<Instant>) -> Instant {
        let Some(stamp) = self.stamp else {
            return clock::now();
        };
        let (now, wall) = clock::both();
        let age = wall.duration_since(stamp).unwrap_or_default();
        let at = now.checked_sub(age).unwrap_or(now);
        earliest.map_or(at, |earliest| at.max(earliest))
    }

    fn read(&mut self, control: &ControlMessageOwned) {
        match control {
            ControlMessageOwned::Ipv4Ttl(ttl) => self.hop_limit = u8::try_from(*ttl).ok(),
            ControlMessageOwned::Ipv6HopLimit(limit) => self.hop_limit = u8::try_from(*limit).ok(),
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                self.to = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                self.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            ControlMessageOwned::ScmTimestampns(stamp) => self.stamp = Some(system_time(*stamp)),
            ControlMessageOwned::ScmTimestampsns(stamps) => {
                self.stamp = Some(system_time(stamps.system));
            }
            ControlMessageOwned::Ipv4RecvErr(error, offender) => {
                self.error = Some(*error);
                self.offender = offender
                    .filter(|_| error.ee_origin != ORIGIN_LOCAL)
                    .map(|router| Ipv4Addr::from(u32::from_be(router.sin_addr.s_addr)).into());
            }
            ControlMessageOwned::Ipv6RecvErr(error, offender) => {
                self.error = Some(*error);
                self.offender = offender
                    .filter(|_| error.ee_origin != ORIGIN_LOCAL)
                    .map(|router| Ipv6Addr::from(router.sin6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
}

fn system_time(stamp: TimeSpec) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from(stamp)
}
