//! Hosts as requests name them, and as options do: by name, by pattern, by network.

use std::net::{IpAddr, Ipv4Addr};

use glob::{MatchOptions, Pattern};
use ipnet::{IpNet, Ipv4Net};

use super::destination::embedded;
use crate::net::lookup::is_number;

/// RFC 1035 section 2.3.4, without the length octets of the first and the root label.
const NAME_OCTETS_MAX: usize = 253;
const LABEL_OCTETS_MAX: usize = 63;

/// DNS does not tell `A` from `a`, and `*` stands for dots as well.
const MATCH_OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: false,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};
/// Of an IPv4-mapped address, `::ffff:0:0/96`.
const MAPPED_PREFIX_LENGTH: u8 = 96;

/// The host of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    Address(IpAddr),
    /// Without the dot that stands for the root.
    Name(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHost {
    #[error("the host is empty or has an empty label")]
    Empty,
    #[error("the host name is longer than 253 octets or has a label longer than 63")]
    TooLong,
    #[error("a host name has letters, digits, hyphens, underscores and dots")]
    Octet,
    #[error("an IPv4 address is four decimal numbers from 0 to 255, without leading zeros")]
    Ipv4,
    #[error("what is in the brackets is no IPv6 address")]
    Ipv6,
}

/// An IPv6 address has its brackets, as in a URI; a name may end with one dot.
///
/// What ends in a number is an address (WHATWG URL, "ends in a number checker"). The resolver
/// would take `0x7f.1`, `2130706433` and `0177.0.0.1` for 127.0.0.1, and others read them
/// differently.
pub(crate) fn parse_host(host: &str) -> Result<Host<'_>, InvalidHost> {
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|text| text.parse().ok());
        let address = address.ok_or(InvalidHost::Ipv6)?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if !name.bytes().all(is_name_octet) {
        return Err(InvalidHost::Octet);
    }
    if name.split('.').any(str::is_empty) {
        return Err(InvalidHost::Empty);
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(InvalidHost::Ipv4);
    }
    let mut labels = name.split('.');
    if name.len() > NAME_OCTETS_MAX || labels.any(|label| label.len() > LABEL_OCTETS_MAX) {
        return Err(InvalidHost::TooLong);
    }
    Ok(Host::Name(name))
}

/// RFC 952, and the underscore that DNS knows (RFC 8552).
fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_.".contains(&octet)
}

/// The hosts of `--deny`, and of the faults.
///
/// - `www.example.com`: this host
/// - `*.example.com`: the hosts below example.com at any depth, but not example.com itself;
///   likewise all other globs, with `*`, `?` and `[a-z]`
/// - `.example.com`: example.com and all below it
/// - `192.0.2.1`, `[2001:db8::1]`, `10.0.0.0/8`: these addresses, and by
///   [`HostPattern::matches_address`] what resolves to them
#[derive(Debug, Clone)]
pub(crate) enum HostPattern {
    Glob(Pattern),
    /// Without the dot before it.
    Domain(String),
    Network(IpNet),
}

impl HostPattern {
    pub(crate) fn parse(text: &str) -> Result<HostPattern, &'static str> {
        const INVALID: &str = "write a host (www.example.com), a domain (.example.com), \
                               a pattern (*.example.com), an address or a network (10.0.0.0/8)";
        if let Ok(network) = parse_network(without_brackets(text)) {
            return Ok(HostPattern::Network(network));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let domain = text.strip_prefix('.');
        let name = domain.unwrap_or(text);
        if name.is_empty() || name.starts_with('.') || name.ends_with('.') {
            return Err(INVALID);
        }
        let has_digits = name.bytes().any(|octet| octet.is_ascii_digit());
        if has_digits && !name.bytes().any(|octet| octet.is_ascii_alphabetic()) {
            // A pattern of digits would miss the names of these addresses.
            return Err("write addresses as a network, like 10.0.0.0/8");
        }
        match domain {
            Some(domain) if domain.bytes().all(is_name_octet) => {
                Ok(HostPattern::Domain(domain.to_owned()))
            }
            None if name
                .bytes()
                .all(|o| is_name_octet(o) || b"*?[]!".contains(&o)) =>
            {
                let pattern = Pattern::new(name).map_err(|_| INVALID)?;
                Ok(HostPattern::Glob(pattern))
            }
            Some(_) | None => Err(INVALID),
        }
    }

    /// Of a request: a name or an address, with or without brackets.
    pub(crate) fn matches_host(&self, host: &str) -> bool {
        if let Ok(address) = without_brackets(host).parse::<IpAddr>() {
            let address = address.to_canonical();
            return match self {
                HostPattern::Glob(glob) => glob.matches_with(&address.to_string(), MATCH_OPTIONS),
                HostPattern::Domain(_) => false,
                HostPattern::Network(_) => self.matches_address(address),
            };
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            HostPattern::Glob(glob) => glob.matches_with(host, MATCH_OPTIONS),
            HostPattern::Domain(domain) => is_within(host.as_bytes(), domain.as_bytes()),
            HostPattern::Network(_) => false,
        }
    }

    /// That a host resolved to.
    pub(crate) fn matches_address(&self, address: IpAddr) -> bool {
        let HostPattern::Network(network) = self else {
            return false;
        };
        let inside = match address {
            IpAddr::V4(_) => Vec::new(),
            IpAddr::V6(address) => embedded(address),
        };
        let mut inside = inside.into_iter().map(IpAddr::V4);
        network.contains(&address) || inside.any(|address| network.contains(&address))
    }
}

/// `192.0.2.0/24`, `2001:db8::/32`; an address alone is a host.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    const INVALID: &str = "write a network (192.0.2.0/24, 2001:db8::/32) or an address";
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| INVALID)?,
    };
    Ok(canonical(network))
}

/// Addresses are canonical when they are compared.
fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else {
        return network;
    };
    let length = match network {
        IpNet::V4(_) => return network,
        IpNet::V6(_) => network.prefix_len().checked_sub(MAPPED_PREFIX_LENGTH),
    };
    let network_v4 = length.and_then(|length| Ipv4Net::new(address, length).ok());
    network_v4.map_or(network, IpNet::V4)
}

fn without_brackets(text: &str) -> &str {
    let inside = text.strip_prefix('[');
    let inside = inside.and_then(|text| text.strip_suffix(']'));
    inside.unwrap_or(text)
}

fn is_within(host: &[u8], domain: &[u8]) -> bool {
    let (before, end) = host.split_at(host.len().saturating_sub(domain.len()));
    end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(hosts: &str, expected: Result<Host<'_>, InvalidHost>) {
        for host in hosts.split(' ') {
            assert_eq!(parse_host(host), expected, "{host:?}");
        }
    }

    #[test]
    fn hosts() {
        let address = |text: &str| Ok(Host::Address(text.parse().expect(text)));
        for name in "localhost A.Example 1.example a--b._c.example 0xg 1a x.0y".split(' ') {
            check(name, Ok(Host::Name(name)));
        }
        check("a.example.", Ok(Host::Name("a.example")));
        check("192.0.2.1", address("192.0.2.1"));
        check("[2001:db8::1] [2001:DB8:0::1]", address("2001:db8::1"));
        check("[::ffff:10.0.0.1]", address("::ffff:10.0.0.1"));
        check(
            "2130706433 0x7f000001 0x7f.1 127.1 0177.0.0.1 127.0.0.01 127.0.0.1. 127.0.0.256 \
             1.2.3.4.5 a.example.1 a.0x a.0XfF. 0",
            Err(InvalidHost::Ipv4),
        );
        check(" . .. .a a.. a..b", Err(InvalidHost::Empty));
        check(
            "::1 a:80 a\t a\0 a%00 %31 ä.example １２７.1 a/b a@b *",
            Err(InvalidHost::Octet),
        );
        check(
            "[ [] [::1 [::1]] [::1%25lo] [127.0.0.1] [v1.a]",
            Err(InvalidHost::Ipv6),
        );
    }

    #[test]
    fn lengths_of_names() {
        let label = "a".repeat(63);
        check(&label, Ok(Host::Name(&label)));
        check(&format!("{label}a"), Err(InvalidHost::TooLong));
        let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        check(&format!("{name}."), Ok(Host::Name(&name)));
        check(&format!("{name}a"), Err(InvalidHost::TooLong));
    }

    #[track_caller]
    fn check_pattern(pattern: &str, matching: &str, others: &str) {
        let parsed = HostPattern::parse(pattern).expect(pattern);
        for (hosts, expected) in [(matching, true), (others, false)] {
            for host in hosts.split_whitespace() {
                assert_eq!(parsed.matches_host(host), expected, "{pattern} and {host}");
            }
        }
    }

    #[test]
    fn patterns() {
        check_pattern(
            "Ads.Example",
            "ads.example ADS.EXAMPLE.",
            "www.ads.example bads.example ads.example.org ads",
        );
        check_pattern(
            "*.example.com",
            "www.example.com a.b.EXAMPLE.com.",
            "example.com badexample.com www.example.com.org",
        );
        check_pattern(
            ".example.com.",
            "example.com Example.Com. www.example.COM a.b.example.com",
            "badexample.com example.com.org com",
        );
        check_pattern("ad?[0-9].*", "ads1.example", "ads.example ads10.example");
        check_pattern("*", "a.example 192.0.2.1 [::1]", "");
        check_pattern("localhost", "LocalHost", "127.0.0.1");
        check_pattern("192.0.2.1", "192.0.2.1 [::ffff:192.0.2.1]", "192.0.2.2");
        check_pattern(
            "[2001:db8::1]",
            "[2001:DB8:0::1] 2001:db8::1",
            "[2001:db8::2]",
        );
        // The host's bits do not matter.
        check_pattern(
            "10.1.2.3/8",
            "10.9.9.9 [64:ff9b::10.1.2.3]",
            "11.0.0.1 ten.example",
        );
    }

    #[test]
    fn what_is_no_pattern() {
        let wrong = " . .. ..a a.. .*.a a/b http://a a:80 a\t [a a** ä.example 10.0.0.0/33 a=b";
        for text in wrong.split(' ') {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
        for text in "10.* 192.168.1.[0-9] 10.0.0 1?.0.0.1 .10".split(' ') {
            let why = HostPattern::parse(text).expect_err(text);
            assert_eq!(
                why, "write addresses as a network, like 10.0.0.0/8",
                "{text}"
            );
        }
        for text in " example.com 10.0.0.0/33 10.0.0.0/-1 10/8 ::1%lo *".split(' ') {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_host_panics_and_a_name_is_never_an_address(
            host in "[\\[0-9a-fxX.:_-]{0,20}\\]?|\\PC{0,20}",
        ) {
            if let Ok(Host::Name(name)) = parse_host(&host) {
                prop_assert!(name.parse::<IpAddr>().is_err());
                prop_assert!(!name.rsplit('.').next().is_some_and(is_number));
            }
        }

        #[test]
        fn no_pattern_panics(
            pattern in "[.*?\\[\\]a-c0-9:/]{0,9}|\\PC{0,9}",
            host in "[.a-c0-9:\\[\\]]{0,9}|\\PC{0,9}",
        ) {
            if let Ok(pattern) = HostPattern::parse(&pattern) {
                pattern.matches_host(&host);
            }
        }
    }
}
