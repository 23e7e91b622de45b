//! Names to addresses, by the system's resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::poll::PollFlags;

use super::Error;
use crate::cancel::{Bell, Cancel};
use crate::cause;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    fn holds(self, address: &SocketAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// The addresses of a host with this port, at least one.
///
/// `getaddrinfo` cannot be cancelled, so it has a thread of its own, which is left behind when
/// the job is stopped.
pub(crate) fn resolve(
    host: &str,
    port: u16,
    family: Family,
    cancel: &Cancel,
) -> Result<Vec<SocketAddr>, Error> {
    let cannot = |why: String| Error::Resolve {
        host: host.to_owned(),
        why,
    };
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => ask_system(host, port, cancel)?.map_err(|error| cannot(why(&error)))?,
    };
    let matching: Vec<SocketAddr> = addresses
        .iter()
        .copied()
        .filter(|address| family.holds(address))
        .collect();
    if matching.is_empty() {
        let (wanted, option) = if family == Family::V4 {
            ("IPv4", "-4")
        } else {
            ("IPv6", "-6")
        };
        return Err(cannot(format!(
            "it has no {wanted} address; leave out {option}"
        )));
    }
    Ok(matching)
}

fn ask_system(
    host: &str,
    port: u16,
    cancel: &Cancel,
) -> Result<io::Result<Vec<SocketAddr>>, Error> {
    let cannot_start = |error| Error::System {
        what: "cannot start a resolver".to_owned(),
        error,
    };
    let answered = Arc::new(Bell::new().map_err(cannot_start)?);
    let answer = Arc::new(Mutex::new(None));
    let (bell, slot, name) = (Arc::clone(&answered), Arc::clone(&answer), host.to_owned());
    let ask = move || {
        let result = (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        bell.ring();
    };
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(ask)
        .map_err(cannot_start)?;
    cancel.wait(answered.as_fd(), PollFlags::POLLIN, None)?;
    let result = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(result.unwrap_or_else(|| Err(io::Error::other("the resolver gave no answer"))))
}

/// What getaddrinfo says, without std's words before it.
pub(super) fn why(error: &io::Error) -> String {
    let text = cause::of(error);
    let told = text.strip_prefix("failed to lookup address information: ");
    told.unwrap_or(&text).to_owned()
}
