//! Octets in and out: the system calls.

pub(crate) mod icmp;
pub(crate) mod resolve;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::SockaddrStorage;

use crate::cancel::Cancelled;
use crate::cause;

/// What was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped")]
    Cancelled,
    /// With the command that would permit it.
    #[error("{0}")]
    NotPermitted(String),
    #[error("cannot resolve '{host}': {why}")]
    Resolve { host: String, why: String },
    #[error("{what}: {}", cause::of(.error))]
    System { what: String, error: io::Error },
    #[error("connection refused by {0}: nothing is listening there")]
    Refused(SocketAddr),
    /// By ICMP, to a datagram.
    #[error("{0} answered 'port unreachable': nothing is listening on that UDP port")]
    PortUnreachable(SocketAddr),
    #[error(
        "no answer from {0}: UDP does not tell whether the server, the request or the reply is \
         missing"
    )]
    NoDatagram(SocketAddr),
    #[error("{0} closed the connection without an answer")]
    Closed(SocketAddr),
    #[error("{0}")]
    TimedOut(String),
}

impl From<Cancelled> for Error {
    fn from(Cancelled: Cancelled) -> Error {
        Error::Cancelled
    }
}

/// Why a server cannot have its address.
fn cannot_listen(address: SocketAddr, protocol: &str, error: io::Error) -> Error {
    let what = format!("cannot listen on {address} ({protocol})");
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::NotPermitted(format!(
            "{what}: this user may not use ports this low; take a higher one, or permit them:\n  \
             sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}",
            address.port()
        ));
    }
    Error::System { what, error }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}

/// A number nobody else can guess, from std's seed for hash maps.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
