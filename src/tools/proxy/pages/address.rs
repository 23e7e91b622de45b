//! Where clients find the proxy, as it is written into a page or a PAC file.

use std::fmt;
use std::net::SocketAddr;

use crate::http::request::parse_authority;

/// RFC 9110 section 4.2.1.
const HTTP_PORT: u16 = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// An IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// From the Host field of a request that reached the proxy directly.
    ///
    /// `None` for what is no host name or address. A `reg-name` may be more than that
    /// (`a;b'c`), which would mean something else in a PAC file or in a shell.
    pub(crate) fn parse(host: &[u8]) -> Option<Address> {
        let authority = parse_authority(host).ok()?;
        let host = str::from_utf8(authority.host).ok()?;
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_name_octet = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        if address.is_none() && (host.starts_with('-') || !host.bytes().all(is_name_octet)) {
            return None;
        }
        Some(Address {
            host: address.unwrap_or(host).to_owned(),
            port: authority.port.unwrap_or(HTTP_PORT),
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address {
            // A socket for both families has IPv4 addresses as `::ffff:192.0.2.7`.
            host: address.ip().to_canonical().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(host: &str, expected: Option<&str>) {
        let address = Address::parse(host.as_bytes());
        let address = address.map(|address| address.to_string());
        assert_eq!(address.as_deref(), expected, "{host}");
    }

    #[test]
    fn addresses() {
        check("127.0.0.1:8888", Some("127.0.0.1:8888"));
        check("laptop.local:8888", Some("laptop.local:8888"));
        check("[::1]:8888", Some("[::1]:8888"));
        check("proxy", Some("proxy:80"));
        for host in [
            "",
            ":8888",
            "a;DIRECT:1",
            "a'b:1",
            "$(x):1",
            "-x:1",
            "a b:1",
            "a:b",
        ] {
            check(host, None);
        }
        for (listening, expected) in [
            ("[2001:db8::1]:3128", "[2001:db8::1]:3128"),
            ("[::ffff:192.0.2.7]:3128", "192.0.2.7:3128"),
        ] {
            let listening: SocketAddr = listening.parse().expect("an address");
            assert_eq!(Address::from(listening).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_but_a_name_or_an_address(host in r#"[a-c1-3;'"$()\\<>:._-]{0,12}|\[[:0-9a-f%]{0,9}\](:[0-9]{0,6})?"#) {
            if let Some(address) = Address::parse(host.as_bytes()) {
                let text = address.to_string();
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
                prop_assert!(text.chars().all(is_plain), "{}", text);
            }
        }
    }
}
