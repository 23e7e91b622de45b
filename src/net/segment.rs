//! TCP segments that end on the way: whole ones where raw sockets are permitted, else connection
//! attempts, one socket each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::Error;
use super::filter;
use super::icmp::Options;
use super::inbox::{Inbox, Queued};
use super::packet::{PacketSocket, tell_errors};
use crate::clock;

/// A raw socket for segments between a port of this host, which is reserved, and the peer's.
pub(crate) struct Segments {
    pub(crate) packets: PacketSocket,
    pub(crate) local: SocketAddr,
    /// Nobody else gets the port meanwhile.
    _reserved: Socket,
}

pub(crate) fn open_raw(
    source: IpAddr,
    peer: SocketAddr,
    options: &Options,
) -> Result<Segments, Error> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::NotPermitted("raw TCP segments are for root".to_owned())
        }
        _ => Error::System {
            what: format!("cannot send segments to {peer}"),
            error,
        },
    };
    let domain = Domain::for_address(peer);
    let reserved = Socket::new(domain, Type::STREAM, None).map_err(cannot)?;
    let any = SocketAddr::new(source, 0);
    let preferred = SocketAddr::new(source, options.preferred.unwrap_or(0));
    let bound = reserved.bind(&preferred.into());
    bound
        .or_else(|_| reserved.bind(&any.into()))
        .map_err(cannot)?;
    let local = reserved.local_addr().map_err(cannot)?.as_socket();
    let local = local.ok_or_else(|| cannot(io::Error::other("no address")))?;
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).map_err(cannot)?;
    super::apply(&socket, peer.is_ipv4(), options)?;
    if let Some(source) = options.source {
        let source = SocketAddr::new(source, 0);
        socket.bind(&source.into()).map_err(cannot)?;
    }
    let program = filter::segments(peer.is_ipv4(), peer.port(), local.port());
    socket.attach_filter(&program).map_err(cannot)?;
    let packets = PacketSocket::new(socket, peer.is_ipv4()).map_err(cannot)?;
    Ok(Segments {
        packets,
        local,
        _reserved: reserved,
    })
}

/// A connection that is only attempted.
pub(crate) struct Attempt(Socket);

/// What became of an attempt.
pub(crate) enum Outcome<'a> {
    Waiting,
    Accepted,
    /// By the peer itself.
    Refused,
    Queued(Queued<'a>),
    Failed,
}

impl Attempt {
    pub(crate) fn start(
        peer: SocketAddr,
        hop_limit: u8,
        options: &Options,
    ) -> io::Result<(Attempt, Instant)> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let options = Options {
            hop_limit: Some(hop_limit),
            ..options.clone()
        };
        super::apply(&socket, peer.is_ipv4(), &options).map_err(io::Error::other)?;
        if let Some(source) = options.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        tell_errors(&socket, peer.is_ipv4())?;
        let at = clock::now();
        match socket.connect(&peer.into()) {
            Ok(()) => Ok((Attempt(socket), at)),
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {
                Ok((Attempt(socket), at))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn outcome<'a>(&self, inbox: &'a mut Inbox) -> io::Result<Outcome<'a>> {
        let error = self.0.take_error()?.and_then(|error| error.raw_os_error());
        if error.is_none() && self.0.peer_addr().is_ok() {
            return Ok(Outcome::Accepted);
        }
        // What a router said is in the queue, and the error only its echo.
        if let Some(queued) = inbox.receive_queued(&self.0)? {
            return Ok(Outcome::Queued(queued));
        }
        Ok(match error.map(Errno::from_raw) {
            None => Outcome::Waiting,
            Some(Errno::ECONNREFUSED) => Outcome::Refused,
            Some(_) => Outcome::Failed,
        })
    }
}

impl AsFd for Attempt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
