//! `/etc/resolv.conf`, as resolv.conf(5) describes it: which name servers to ask, and how.
//!
//! Left out: `search` and `ndots`, since only whole names are looked up, and `rotate`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

const PORT: u16 = 53;
/// MAXNS of the C library, which asks no more of them either.
const SERVERS_MAX: usize = 3;
/// RES_MAXRETRANS of the C library, in seconds.
const TIMEOUT_MAX: u64 = 30;
/// RES_MAXRETRY of the C library.
const ATTEMPTS_MAX: u64 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// In the order in which they are asked; never empty.
    pub(crate) servers: Vec<SocketAddr>,
    /// For one attempt at one server.
    pub(crate) timeout: Duration,
    /// How often all servers are asked.
    pub(crate) attempts: u64,
    /// Always over TCP.
    pub(crate) use_vc: bool,
    /// The administrator trusts the servers, and the way to them, to tell what is authentic.
    pub(crate) trust_ad: bool,
}

impl Default for ResolvConf {
    fn default() -> ResolvConf {
        ResolvConf {
            servers: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)],
            timeout: Duration::from_secs(5),
            attempts: 2,
            use_vc: false,
            trust_ad: false,
        }
    }
}

impl ResolvConf {
    /// What is not understood is skipped, as everybody else does. `interface_index` is for the
    /// zone of a link-local address.
    pub(crate) fn parse(text: &str, interface_index: impl Fn(&str) -> Option<u32>) -> ResolvConf {
        let mut conf = ResolvConf::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            // A keyword begins its line, so that comments and what is indented are none.
            let (keyword, values) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let mut values = values.split_ascii_whitespace();
            match keyword {
                "nameserver" => {
                    let server = values.next();
                    servers.extend(server.and_then(|text| parse_server(text, &interface_index)));
                }
                "options" => values.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            conf.servers = servers;
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let number = |text: &str, max: u64| Some(text.parse::<u64>().ok()?.clamp(1, max));
        match option.split_once(':') {
            Some(("timeout", text)) => {
                let seconds = number(text, TIMEOUT_MAX);
                self.timeout = seconds.map_or(self.timeout, Duration::from_secs);
            }
            Some(("attempts", text)) => {
                self.attempts = number(text, ATTEMPTS_MAX).unwrap_or(self.attempts);
            }
            None if option == "use-vc" => self.use_vc = true,
            None if option == "trust-ad" => self.trust_ad = true,
            Some(_) | None => {}
        }
    }
}

/// An address, that of a link with its zone: `fe80::1%eth0`.
fn parse_server(text: &str, interface_index: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
    };
    let address = address.parse::<Ipv6Addr>().ok()?;
    let scope_id = zone.parse().ok().or_else(|| interface_index(zone))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope_id).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, |zone| (zone == "eth0").then_some(7))
    }

    #[track_caller]
    fn check_servers(text: &str, servers: &[&str]) {
        let found = parse(text).servers;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, servers, "{text}");
    }

    #[test]
    fn servers() {
        check_servers("", &["127.0.0.1:53"]);
        check_servers("nameserver 192.0.2.1", &["192.0.2.1:53"]);
        check_servers("nameserver\t::1 # here\r\n", &["[::1]:53"]);
        check_servers("nameserver fe80::1%eth0\n", &["[fe80::1%7]:53"]);
        check_servers("nameserver fe80::1%3\n", &["[fe80::1%3]:53"]);
        check_servers("nameserver fe80::1%eth9\n", &["127.0.0.1:53"]);
        check_servers("nameserver 192.0.2.1%eth0\n", &["127.0.0.1:53"]);
        let skipped = "#nameserver ::2\n; nameserver ::3\n nameserver ::4\nnameserver\n\
            nameserver x\nnameservers ::5\nsearch example\nnameserver ::6\n";
        check_servers(skipped, &["[::6]:53"]);
        let many = "nameserver ::1\nnameserver ::2\nnameserver ::3\nnameserver ::4\n";
        check_servers(many, &["[::1]:53", "[::2]:53", "[::3]:53"]);
    }

    #[test]
    fn options() {
        #[track_caller]
        fn check(text: &str, seconds: u64, attempts: u64) {
            let conf = parse(text);
            let found = (conf.timeout.as_secs(), conf.attempts);
            assert_eq!(found, (seconds, attempts), "{text}");
        }
        check("", 5, 2);
        check("options timeout:1 attempts:3 rotate\n", 1, 3);
        check("options timeout:1\noptions\tattempts:1\n", 1, 1);
        check("options timeout:0 attempts:0\n", 1, 1);
        check("options timeout:99 attempts:99\n", 30, 5);
        check("options timeout: attempts:-1 timeout:x\n", 5, 2);
        let plain = parse("options edns0 ndots:2 use-vc:1\n");
        assert!(!plain.use_vc && !plain.trust_ad);
        let both = parse("options trust-ad use-vc\n");
        assert!(both.use_vc && both.trust_ad);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "((nameserver|options)[ \t]?[0-9a-z:.%]{0,12}\n?){0,8}|.{0,80}") {
            let conf = parse(&text);
            prop_assert!((1..=SERVERS_MAX).contains(&conf.servers.len()));
        }
    }
}
