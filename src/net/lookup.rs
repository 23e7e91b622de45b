//! The addresses of one name, asked of the system's resolver, and those that need no question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use super::resolve::why;
use crate::cancel::Cancelled;

/// RFC 1035 section 2.3.4 has 255 octets on the wire: 253 characters, and a dot behind them.
const NAME_OCTETS_MAX: usize = 254;
/// Far more than are ever connected to.
const ADDRESSES_MAX: usize = 64;

pub(super) const NO_SUCH_NAME: &str = "there is no such name, or it has no address";
pub(super) const FOR_NOW: &str = "the name servers do not answer for now";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped")]
    Cancelled,
    #[error("cannot resolve '{0}': {NO_SUCH_NAME}")]
    NotFound(String),
    /// Later it may be found.
    #[error("cannot resolve '{0}': {FOR_NOW}")]
    Temporary(String),
    #[error("cannot resolve '{host}': {why}")]
    Failed { host: String, why: String },
    #[error("cannot resolve '{0}': the resolver did not answer in time")]
    TimedOut(String),
}

impl From<Cancelled> for Error {
    fn from(Cancelled: Cancelled) -> Error {
        Error::Cancelled
    }
}

impl From<Error> for super::Error {
    fn from(error: Error) -> super::Error {
        let text = error.to_string();
        let (host, why) = match error {
            Error::Cancelled => return super::Error::Cancelled,
            Error::TimedOut(_) => return super::Error::TimedOut(text),
            Error::NotFound(host) => (host, NO_SUCH_NAME.to_owned()),
            Error::Temporary(host) => (host, FOR_NOW.to_owned()),
            Error::Failed { host, why } => (host, why),
        };
        super::Error::Resolve { host, why }
    }
}

/// The addresses have any port.
pub(super) type Answer = Result<Vec<SocketAddr>, Error>;

/// What is known of a host by its text alone.
pub(super) fn without_lookup(host: &str) -> Option<Answer> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(vec![SocketAddr::new(address, 0)]));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let (_, last) = name.rsplit_once('.').unwrap_or(("", name));
    // RFC 6761 section 6.3: nobody but this machine is to be asked.
    if last.eq_ignore_ascii_case("localhost") {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Some(Ok(loopback.map(|ip| SocketAddr::new(ip, 0)).to_vec()));
    }
    if last.is_empty() || host.len() > NAME_OCTETS_MAX || is_number(last) {
        return Some(Err(Error::NotFound(host.to_owned())));
    }
    None
}

/// RFC 1123 section 2.1: no name ends in a number. The system's resolver would take `0x7f.1` and
/// `2130706433` for 127.0.0.1, which those who look at the text do not see.
pub(crate) fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|octet| octet.is_ascii_hexdigit()),
        None => label.bytes().all(|octet| octet.is_ascii_digit()),
    }
}

/// However long it takes.
pub(super) fn ask_system(name: &str) -> Answer {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| {
        let host = name.to_owned();
        match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Error::NotFound(host),
            LookupErrorKind::Again => Error::Temporary(host),
            _ => Error::Failed {
                host,
                why: why(&error.into()),
            },
        }
    })?;
    let addresses = found.flatten().map(|found| found.sockaddr);
    Ok(addresses.take(ADDRESSES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of a host without asking: its addresses, `none`, or that it must be asked.
    #[track_caller]
    fn check(host: &str, expected: &str) {
        let told = match without_lookup(host) {
            None => "ask".to_owned(),
            Some(Err(error)) => {
                assert_eq!(error, Error::NotFound(host.to_owned()));
                "none".to_owned()
            }
            Some(Ok(addresses)) => {
                let ips: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
                ips.join(" ")
            }
        };
        assert_eq!(told, expected, "{host}");
    }

    #[test]
    fn addresses_and_this_machine_are_known() {
        check("192.0.2.7", "192.0.2.7");
        check("2001:db8::7", "2001:db8::7");
        for host in ["localhost", "LocalHost.", "a.b.localhost"] {
            check(host, "127.0.0.1 ::1");
        }
        check("localhost.example", "ask");
        check("notlocalhost", "ask");
        check("fe80::1%lo", "ask");
    }

    #[test]
    fn what_is_no_name_has_no_address() {
        for host in [
            "",
            ".",
            "www.example..",
            "127.1",
            "2130706433",
            "192.0.2.1.",
        ] {
            check(host, "none");
        }
        for host in ["0x7f.1", "0177.0.0.1", "127.0.0.0x1", "0X7F000001", "0x"] {
            check(host, "none");
        }
        for host in ["1.0xg", "7.1a", "1.example", "x1"] {
            check(host, "ask");
        }
        let labels = "a.".repeat(126);
        check(&format!("{labels}a."), "ask");
        check(&format!("{labels}aaa"), "none");
    }

    /// As the system tells it, without the network.
    #[test]
    fn the_system_is_asked() {
        let addresses = ask_system("192.0.2.7").expect("an address is one");
        assert_eq!(addresses, [SocketAddr::from(([192, 0, 2, 7], 0))]);
        let cannot = ask_system("a\0b").expect_err("no name has such an octet");
        assert!(matches!(cannot, Error::Failed { .. }), "{cannot:?}");
    }
}
