//! Who may use the proxy, and which destinations are denied.

use std::net::IpAddr;

use ipnet::IpNet;

use super::host::HostPattern;

/// Those who may use the proxy: the networks of `--allow`, and this machine in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    pub(crate) allowed: Vec<IpNet>,
}

impl Clients {
    pub(crate) fn permits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || self.allowed.iter().any(|network| network.contains(&client))
    }
}

/// Destinations that nobody may go to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Denied(pub(crate) Vec<HostPattern>);

impl Denied {
    /// Before it is resolved.
    pub(crate) fn denies_host(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches_host(host))
    }

    /// Where a name leads decides, too.
    pub(crate) fn has_networks(&self) -> bool {
        self.0
            .iter()
            .any(|pattern| matches!(pattern, HostPattern::Network(_)))
    }

    /// One of those that it resolved to.
    pub(crate) fn denies_address(&self, address: IpAddr) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| pattern.matches_address(address))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::parse_network;
    use super::*;

    #[track_caller]
    fn check(allowed: &[&str], permitted: &str, refused: &str) {
        let allowed = allowed.iter().map(|text| parse_network(text).expect(text));
        let clients = Clients {
            allowed: allowed.collect(),
        };
        for (addresses, expected) in [(permitted, true), (refused, false)] {
            for text in addresses.split_whitespace() {
                assert_eq!(clients.permits(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    #[test]
    fn clients() {
        check(
            &[],
            "127.0.0.1 ::1 ::ffff:127.9.9.9",
            "192.0.2.1 10.0.0.1 fe80::1",
        );
        check(
            &["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"],
            "192.0.2.255 ::ffff:192.0.2.1 198.51.100.7 2001:db8:ffff:: 127.0.0.1 ::1",
            "192.0.3.0 198.51.100.8 2001:db9:: ::192.0.2.1 64:ff9b::192.0.2.1",
        );
        check(&["::ffff:192.0.2.0/120"], "192.0.2.1", "192.0.3.1");
        check(&["0.0.0.0/0"], "192.0.2.1", "2001:db8::1");
        check(&["::/0"], "2001:db8::1", "192.0.2.1");
    }

    #[test]
    fn a_network_is_denied_by_address_and_by_what_a_name_resolves_to() {
        let patterns = ["*.ads.example", "203.0.113.0/24"];
        let patterns = patterns.map(|text| HostPattern::parse(text).expect(text));
        let denied = Denied(patterns.into());
        let address = |text: &str| denied.denies_address(text.parse().unwrap());
        assert!(denied.denies_host("www.ads.example"));
        assert!(denied.denies_host("203.0.113.9"));
        assert!(!denied.denies_host("a.example"));
        assert!(address("203.0.113.9"));
        assert!(address("::ffff:203.0.113.9"));
        assert!(address("64:ff9b::203.0.113.9"));
        assert!(address("2002:cb00:7109::1"));
        assert!(!address("203.0.114.9"));
        assert!(!address("2001:db8::203.0.113.9"));
    }
}
