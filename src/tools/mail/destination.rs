//! What is behind the @ of a mailbox (RFC 5321 sections 4.1.2 and 4.1.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::dns::name::{self, Name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Domain(Name),
    /// No exchangers are looked up.
    AddressLiteral(IpAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Name(#[from] name::Error),
    #[error("an address literal is [192.0.2.1] or [IPv6:2001:db8::1]")]
    AddressLiteral,
    #[error("an address behind the @ is written in brackets: [{0}]")]
    Brackets(Ipv4Addr),
}

impl Destination {
    pub(crate) fn parse(text: &str) -> Result<Destination, Error> {
        if let Some(literal) = text.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(parse_literal);
            let address = address.ok_or(Error::AddressLiteral)?;
            return Ok(Destination::AddressLiteral(address));
        }
        if let Ok(address) = text.parse() {
            return Err(Error::Brackets(address));
        }
        Ok(Destination::Domain(text.parse()?))
    }
}

fn parse_literal(literal: &str) -> Option<IpAddr> {
    match literal.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        Some(_) | None => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let destination = Destination::parse(text).map(|destination| match destination {
                Destination::Domain(name) => name.to_string(),
                Destination::AddressLiteral(address) => format!("address {address}"),
            });
            let destination = destination.map_err(|error| error.to_string());
            let destination = destination.as_ref().map(|s| &**s).map_err(|s| &**s);
            assert_eq!(destination, expected, "{text}");
        }
        check("example.org", Ok("example.org"));
        check("[192.0.2.1]", Ok("address 192.0.2.1"));
        check("[IPv6:2001:db8::1]", Ok("address 2001:db8::1"));
        check("[ipv6:::1]", Ok("address ::1"));
        let literal = "an address literal is [192.0.2.1] or [IPv6:2001:db8::1]";
        let wrong = [
            "[]",
            "[192.0.2.1",
            "[::1]",
            "[IPv6:192.0.2.1]",
            "[x:y]",
            "[192.0.2.1]x",
        ];
        for text in wrong {
            check(text, Err(literal));
        }
        let brackets = "an address behind the @ is written in brackets: [192.0.2.1]";
        check("192.0.2.1", Err(brackets));
        check("a..b", Err("a domain name has no empty labels"));
    }
}
