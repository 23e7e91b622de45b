//! Octets in and out: the system calls.

pub(crate) mod accept;
pub(crate) mod dial;
pub(crate) mod dns;
pub(crate) mod dscp;
mod eyeballs;
pub(crate) mod filter;
pub(crate) mod icmp;
mod identifier;
pub(crate) mod inbox;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod option;
pub(crate) mod packet;
pub(crate) mod peer;
pub(crate) mod resolve;
pub(crate) mod reverse;
pub(crate) mod segment;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{SockaddrStorage, setsockopt};
use socket2::Socket;

use crate::cancel::Cancelled;
use crate::cause;

/// For sweeps and monitors: room for the answers to a whole window of requests, and for what comes
/// while others have the processor.
const RECEIVE_BUFFER_OCTETS: usize = 8 << 20;

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
    /// With those that are there.
    #[error("{0}")]
    NoInterface(String),
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
    #[error("no TLS with {host}: {why}{}", advice(.why))]
    Tls { host: String, why: String },
    #[error("{refusal}{}", belief(.refusal))]
    NotTrusted { refusal: Box<tls::refusal::Refusal> },
    #[error("{0}")]
    TimedOut(String),
}

/// What to do about a handshake that failed.
fn advice(why: &str) -> &'static str {
    match why.contains("wrong version number") {
        true => "; that port does not speak TLS, try http://",
        false => "",
    }
}

fn belief(refusal: &tls::refusal::Refusal) -> &'static str {
    match refusal.verdict.is_about_issuer() {
        true => "; --ca FILE names an authority to believe, -k believes anybody",
        false => "; -k believes anybody",
    }
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

/// So that more may wait, as far as this user may have it.
fn enlarge_receive_buffer(socket: &impl AsFd) -> io::Result<()> {
    if setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER_OCTETS).is_err() {
        setsockopt(socket, RcvBuf, &RECEIVE_BUFFER_OCTETS)?;
    }
    Ok(())
}

/// Sets how packets leave.
fn apply(socket: &Socket, is_v4: bool, options: &icmp::Options) -> Result<(), Error> {
    if let Some(name) = &options.interface {
        socket
            .bind_device(Some(name.as_bytes()))
            .map_err(|error| no_interface(name, error))?;
    }
    let mut set = Ok(());
    if let Some(limit) = options.hop_limit.map(u32::from) {
        set = set.and_then(|()| match is_v4 {
            true => socket.set_ttl_v4(limit),
            false => socket.set_unicast_hops_v6(limit),
        });
    }
    if let Some(class) = options.traffic_class.map(u32::from) {
        set = set.and_then(|()| match is_v4 {
            true => socket.set_tos_v4(class),
            false => socket.set_tclass_v6(class),
        });
    }
    if let Some(fragmentation) = options.fragmentation {
        set = set.and_then(|()| option::set_fragmentation(socket, is_v4, fragmentation));
    }
    set.map_err(|error| Error::System {
        what: "cannot set the packets' options".to_owned(),
        error,
    })
}

/// Why a packet of so many octets did not leave.
pub(crate) fn cannot_send(peer: &SocketAddr, octets: usize, error: &io::Error) -> String {
    let peer = peer.ip();
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ENETUNREACH => format!("this machine has no route to {peer}"),
        Errno::EMSGSIZE => format!("message of {octets} octets too long for the path"),
        Errno::EACCES => format!("{peer} is a broadcast address, or a rule here forbids it"),
        Errno::EINVAL if is_link_local(peer) => {
            format!("a link-local address needs its interface, as in {peer}%eth0")
        }
        Errno::EINVAL => format!("the route to {peer} is a black hole, or it is no host's address"),
        Errno::EPERM => "a rule of this machine's firewall forbids it".to_owned(),
        _ => cause::of(error),
    }
}

/// The largest packet that the interface with this address lets out.
pub(crate) fn interface_mtu(address: IpAddr) -> usize {
    const ETHERNET: usize = 1500;
    const IP_MAX: usize = 65_535;
    let has_address = |interface: &InterfaceAddress| {
        let known = interface.address.as_ref().and_then(socket_address);
        known.is_some_and(|known| known.ip() == address)
    };
    let mut interfaces = getifaddrs().into_iter().flatten();
    let name = interfaces
        .find(has_address)
        .map(|found| found.interface_name);
    // On Linux; elsewhere most links are like Ethernet.
    let path = name.map(|name| format!("/sys/class/net/{name}/mtu"));
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    let mtu = text.and_then(|text| text.trim().parse().ok());
    mtu.unwrap_or(ETHERNET).min(IP_MAX)
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, or a bare address of IPv6.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match (bracketed, text.split_once(':')) {
        (Some((host, "")), _) => (host, None),
        (Some((host, rest)), _) => (host, Some(rest.strip_prefix(':')?)),
        (None, Some((host, port))) if !port.contains(':') => (host, Some(port)),
        (None, _) => (text, None),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    Some((host, port)).filter(|(host, _)| !host.is_empty())
}

/// What starts a server where nobody listens, which is 127.0.0.1 unless it is told otherwise.
pub(crate) fn starting_line(server: &str, missing: SocketAddr) -> String {
    let (ip, port) = (missing.ip(), missing.port());
    match ip {
        _ if ip == Ipv4Addr::LOCALHOST => format!("'{server} -p {port}'"),
        _ if ip.is_loopback() => format!("'{server} -b {ip} -p {port}'"),
        _ => format!("'{server} -b {ip} -p {port}' there"),
    }
}

/// By whom a server with this address can be asked.
pub(crate) fn reach(address: SocketAddr) -> &'static str {
    match address.ip().is_loopback() {
        true => "from this machine only",
        false => "by whoever reaches that address",
    }
}

/// The addresses that clients can use for a server bound to this one.
pub(crate) fn reachable_at(bound: IpAddr) -> Vec<IpAddr> {
    if !bound.is_unspecified() {
        return vec![bound];
    }
    let addresses = getifaddrs().into_iter().flatten();
    let mut addresses: Vec<IpAddr> = addresses
        .filter_map(|interface| socket_address(interface.address.as_ref()?))
        .map(|address| address.ip())
        .filter(|ip| (bound.is_ipv6() || ip.is_ipv4()) && !is_link_local(*ip))
        .collect();
    // The ones that others can use come first.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    addresses.dedup();
    addresses
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn no_interface(name: &str, error: io::Error) -> Error {
    let what = format!("cannot send by '{name}'");
    let absent = [Errno::ENODEV, Errno::EADDRNOTAVAIL].map(|errno| errno as i32);
    if !error
        .raw_os_error()
        .is_some_and(|error| absent.contains(&error))
    {
        return Error::System { what, error };
    }
    let mut names: Vec<String> = getifaddrs()
        .map(|all| all.map(|interface| interface.interface_name).collect())
        .unwrap_or_default();
    names.sort();
    names.dedup();
    Error::NoInterface(format!(
        "{what}: there is no such interface or address here; the interfaces are {}",
        names.join(", ")
    ))
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

#[cfg(test)]
mod tests {
    use super::split_port;

    #[test]
    fn ports_of_hosts() {
        for (given, expected) in [
            ("host", Some(("host", None))),
            ("host:7", Some(("host", Some(7)))),
            ("[::1]:7", Some(("::1", Some(7)))),
            ("[::1]", Some(("::1", None))),
            ("::1", Some(("::1", None))),
            ("host:x", None),
            ("host:70000", None),
            ("[::1]7", None),
            (":7", None),
            ("", None),
        ] {
            assert_eq!(split_port(given), expected, "{given}");
        }
    }
}
