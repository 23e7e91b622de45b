//! Where the proxy may connect to: which addresses, and which ports by CONNECT.
//!
//! A client could otherwise reach through the proxy what only this machine reaches (server-side
//! request forgery). Addresses are judged after the name is resolved, and the address that was
//! judged is the one to connect to, so that a second answer of DNS changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What HTTPS has; others are listed by whoever needs them.
pub(crate) const CONNECT_PORTS_DEFAULT: &str = "443,8443";
/// Nobody speaks TLS first there, so that a tunnel to it can only be for spam.
const SMTP: u16 = 25;
/// Submission, with and without TLS: open to spam as well, but some have their own server there.
const MAIL_SUBMISSION: [u16; 2] = [465, 587];

/// What an address is for; a later place is a stronger reason not to connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Public,
    Private,
    Loopback,
    LinkLocal,
    /// Tells whoever asks the secrets of this machine; not all clouds have it at a link-local
    /// address.
    Metadata,
    Reserved,
    ThisNetwork,
    Multicast,
    Broadcast,
}

pub(crate) fn classify(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => {
            let inside = embedded(address).into_iter().map(classify_v4);
            inside.max().unwrap_or_else(|| classify_v6(address))
        }
    }
}

/// IANA's registry of special-purpose IPv4 addresses (RFC 6890).
fn classify_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        [0, ..] => Place::ThisNetwork,
        // Of most clouds; of Alibaba Cloud, within the range that providers share; of Azure,
        // within public addresses.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] => Place::Metadata,
        [10, ..] | [172, 16..32, ..] | [192, 168, ..] => Place::Private,
        // Shared by the customers of a provider (RFC 6598).
        [100, 64..128, ..] => Place::Private,
        [127, ..] => Place::Loopback,
        [169, 254, ..] => Place::LinkLocal,
        // Protocols of the IETF, 6to4 relays, benchmarks.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..20, ..] => Place::Reserved,
        // Documentation.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Place::Reserved,
        [224..240, ..] => Place::Multicast,
        [255, 255, 255, 255] => Place::Broadcast,
        [240..=255, ..] => Place::Reserved,
        _ => Place::Public,
    }
}

/// Likewise for IPv6. What is neither global unicast (RFC 4291 section 2.4) nor anything else
/// here is not assigned.
fn classify_v6(address: Ipv6Addr) -> Place {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::ThisNetwork,
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        // Of AWS, with what else it offers its machines; of Google, Oracle, Scaleway, Linode,
        // Alibaba Cloud and OpenStack.
        [0xfd00, 0xec2, ..]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
        | [0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]
        | [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Place::Metadata,
        [0xfe80..0xfec0, ..] => Place::LinkLocal,
        // Unique local addresses (RFC 4193), and the site-local ones before them.
        [0xfc00..0xfe00 | 0xfec0..0xff00, ..] => Place::Private,
        [0xff00..=0xffff, ..] => Place::Multicast,
        // Protocols of the IETF, and documentation.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => Place::Reserved,
        [0x2000..0x4000, ..] => Place::Public,
        _ => Place::Reserved,
    }
}

/// The IPv4 addresses that packets to an IPv6 address may end up at.
pub(crate) fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
    let last = at([12, 13, 14, 15]);
    match address.segments() {
        // Unspecified and loopback.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible and IPv4-mapped (RFC 4291 section 2.5.5), IPv4-translated (RFC 2765),
        // and NAT64 (RFC 6052 section 2.1).
        [0, 0, 0, 0, 0, 0, _, _]
        | [0, 0, 0, 0, 0, 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![last],
        // NAT64 with a prefix of the network's own (RFC 8215), whose length nobody knows here: all
        // places of RFC 6052 section 2.2 that hold what can be a host's address.
        [0x64, 0xff9b, 1, ..] => {
            let mut all = vec![
                at([6, 7, 9, 10]),
                at([7, 9, 10, 11]),
                at([9, 10, 11, 12]),
                last,
            ];
            all.retain(|inside| matches!(inside.octets(), [1..224, ..]));
            all
        }
        // 6to4 (RFC 3056 section 2).
        [0x2002, ..] => vec![at([2, 3, 4, 5])],
        // Teredo (RFC 4380 section 4): the server, and the client with its bits inverted.
        [0x2001, 0, ..] => vec![at([4, 5, 6, 7]), Ipv4Addr::from_bits(!last.to_bits())],
        _ => Vec::new(),
    }
}

/// Why the proxy does not connect to an address, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {place}{}", self.way_out())]
pub(crate) struct Refused {
    pub(crate) address: IpAddr,
    pub(crate) place: Place,
}

impl Refused {
    fn way_out(&self) -> &'static str {
        match self.place {
            Place::Public
            | Place::Private
            | Place::Loopback
            | Place::LinkLocal
            | Place::Metadata => "; --allow-private permits it",
            Place::Reserved | Place::ThisNetwork | Place::Multicast | Place::Broadcast => {
                ", which the proxy never connects to"
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Public => "a public address",
            Place::Private => "a private address",
            Place::Loopback => "a loopback address",
            Place::LinkLocal => "a link-local address",
            Place::Metadata => "a cloud metadata address",
            Place::Reserved => "a reserved address",
            Place::ThisNetwork => "an unspecified address",
            Place::Multicast => "a multicast address",
            Place::Broadcast => "a broadcast address",
        })
    }
}

/// Whether to connect to this address, one of those that a host resolved to.
///
/// In the path form a page of any site can ask in its visitor's name, so that it counts as a
/// client from elsewhere.
pub(crate) fn permitted(
    address: IpAddr,
    client_is_loopback: bool,
    is_path_form: bool,
    bound_to_loopback: bool,
    allow_private: bool,
) -> Result<(), Refused> {
    let is_own = bound_to_loopback && client_is_loopback && !is_path_form;
    let place = classify(address);
    let is_permitted = match place {
        Place::Public => true,
        Place::Private | Place::Loopback => allow_private || is_own,
        Place::LinkLocal | Place::Metadata => allow_private,
        Place::Reserved | Place::ThisNetwork | Place::Multicast | Place::Broadcast => false,
    };
    match is_permitted {
        true => Ok(()),
        false => Err(Refused { address, place }),
    }
}

/// Ports that CONNECT may go to, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl PortRange {
    /// `443`, `9000-9100`: one of a list with commas between.
    pub(crate) fn parse(text: &str) -> Result<PortRange, &'static str> {
        const INVALID: &str = "write ports from 1 to 65535, like 443 or 9000-9100";
        let port = |text: &str| {
            let is_decimal = text.bytes().all(|octet| octet.is_ascii_digit());
            let port = text.parse().ok().filter(|port| is_decimal && *port > 0);
            port.ok_or(INVALID)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        match first <= last {
            true => Ok(PortRange { first, last }),
            false => Err(INVALID),
        }
    }
}

/// Servers that speak first, or take each line for a command of theirs, could be made to obey a
/// plain request.
pub(crate) fn is_barred_port(port: u16) -> bool {
    matches!(
        port,
        21 | 22 | 23 | 25 | 110 | 119 | 143 | 465 | 587 | 993 | 995 | 6379 | 11211
    )
}

/// Port 25 never is, and mail submission only where it is listed by itself rather than within a
/// range.
pub(crate) fn connect_port_permitted(port: u16, allowed: &[PortRange]) -> bool {
    let is_listed = |range: &PortRange| match MAIL_SUBMISSION.contains(&port) {
        true => (range.first, range.last) == (port, port),
        false => (range.first..=range.last).contains(&port),
    };
    port != SMTP && allowed.iter().any(is_listed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[track_caller]
    fn check(place: Place, addresses: &str) {
        for text in addresses.split_whitespace() {
            assert_eq!(classify(address(text)), place, "{text}");
        }
    }

    #[test]
    fn places() {
        check(
            Place::Public,
            "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
             168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 \
             192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 \
             2606:4700:4700::1111 2001:200::1 2a00:: 3ffe::1",
        );
        check(
            Place::Private,
            "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 172.16.0.0 172.31.255.255 \
             192.168.0.0 192.168.255.255 fc00:: fdff:ffff::1 fec0::1",
        );
        check(Place::Loopback, "127.0.0.0 127.0.0.1 127.255.255.255 ::1");
        check(
            Place::LinkLocal,
            "169.254.0.0 169.254.169.253 169.254.170.2 169.254.255.255 fe80:: fe80::1 febf::1",
        );
        check(
            Place::Metadata,
            "169.254.169.254 100.100.100.200 168.63.129.16 fd00:ec2::254 fd00:ec2::23 \
             fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42 fd00:a9fe:a9fe::1 fd00:100::100:200 \
             fe80::a9fe:a9fe",
        );
        check(
            Place::Reserved,
            "192.0.0.0 192.0.0.255 192.0.2.1 192.88.99.1 198.18.0.0 198.19.255.255 198.51.100.1 \
             203.0.113.1 240.0.0.0 255.255.255.254 100::1 100:0:0:1::1 2001:2::1 2001:20::1 \
             2001:db8::1 3fff::1 5f00::1 1::1 4000::1 e000::1 64:ff9b:1:: 64:ff9b:2::1",
        );
        check(Place::ThisNetwork, "0.0.0.0 0.255.255.255 ::");
        check(
            Place::Multicast,
            "224.0.0.0 239.255.255.255 ff00:: ff02::1 ffff::1",
        );
        check(Place::Broadcast, "255.255.255.255");
    }

    /// However an IPv4 address is wrapped, it is what it is.
    #[test]
    fn places_inside() {
        for (place, inside) in [
            (Place::Public, [1, 1, 1, 1]),
            (Place::Private, [192, 168, 1, 1]),
            (Place::Loopback, [127, 0, 0, 1]),
            (Place::LinkLocal, [169, 254, 170, 2]),
            (Place::Metadata, [169, 254, 169, 254]),
        ] {
            let [a, b, c, d] = inside;
            for text in [
                format!("::{a}.{b}.{c}.{d}"),
                format!("::ffff:{a}.{b}.{c}.{d}"),
                format!("::ffff:0:{a}.{b}.{c}.{d}"),
                format!("64:ff9b::{a}.{b}.{c}.{d}"),
                format!("64:ff9b:1::{a}.{b}.{c}.{d}"),
                format!("64:ff9b:1:fffe::{a}.{b}.{c}.{d}"),
                format!("64:ff9b:1:{a:02x}{b:02x}:00{c:02x}:{d:02x}00::"),
                format!("64:ff9b:1:00{a:02x}:00{b:02x}:{c:02x}{d:02x}::"),
                format!("64:ff9b:1:0:00{a:02x}:{b:02x}{c:02x}:{d:02x}00:0"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
                format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}:0:0:fefe:fefe"),
                format!(
                    "2001::101:101:0:0:{:x}:{:x}",
                    !u16::from_be_bytes([a, b]),
                    !u16::from_be_bytes([c, d])
                ),
            ] {
                check(place, &text);
            }
        }
        check(Place::ThisNetwork, "::2 ::ffff:0.0.0.0 64:ff9b::");
        check(Place::Multicast, "::ffff:224.0.0.1");
    }

    /// To whom an address is open: to clients here with proxy requests, to all others, and to all
    /// with --allow-private.
    #[test]
    fn who_may_go_where() {
        #[track_caller]
        fn check(text: &str, own: bool, others: bool, private: bool) {
            let address = address(text);
            for bits in 0..16 {
                let [client, path, bound, allow] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
                let expected = match (client && bound && !path, allow) {
                    (_, true) => private,
                    (true, false) => own,
                    (false, false) => others,
                };
                let result = permitted(address, client, path, bound, allow);
                assert_eq!(
                    result.is_ok(),
                    expected,
                    "{text} {client} {path} {bound} {allow}"
                );
            }
        }
        check("1.1.1.1", true, true, true);
        check("127.0.0.1", true, false, true);
        check("10.0.0.1", true, false, true);
        check("::ffff:10.0.0.1", true, false, true);
        check("169.254.1.1", false, false, true);
        check("169.254.169.254", false, false, true);
        check("64:ff9b::169.254.169.254", false, false, true);
        let never = "0.0.0.0 :: 224.0.0.1 255.255.255.255 240.0.0.1 2001:db8::1";
        for text in never.split(' ') {
            check(text, false, false, false);
        }
    }

    #[test]
    fn refusals_in_words() {
        #[track_caller]
        fn check(text: &str, words: &str) {
            let refused = permitted(address(text), true, true, true, false).expect_err(text);
            assert_eq!(refused.to_string(), format!("{text} is {words}"));
        }
        const OPTION: &str = "--allow-private permits it";
        const NEVER: &str = "which the proxy never connects to";
        check(
            "169.254.169.254",
            &format!("a cloud metadata address; {OPTION}"),
        );
        check("fe80::1", &format!("a link-local address; {OPTION}"));
        check("127.0.0.1", &format!("a loopback address; {OPTION}"));
        check("::ffff:10.0.0.1", &format!("a private address; {OPTION}"));
        check("0.0.0.0", &format!("an unspecified address, {NEVER}"));
        check("224.0.0.1", &format!("a multicast address, {NEVER}"));
    }

    #[test]
    fn connect_ports() {
        #[track_caller]
        fn check(allowed: &str, permitted: &[u16], refused: &[u16]) {
            let ranges = allowed.split(',').map(PortRange::parse);
            let ranges: Vec<PortRange> = ranges.collect::<Result<_, _>>().expect(allowed);
            for port in permitted {
                assert!(connect_port_permitted(*port, &ranges), "{allowed}: {port}");
            }
            for port in refused {
                assert!(!connect_port_permitted(*port, &ranges), "{allowed}: {port}");
            }
        }
        check(
            CONNECT_PORTS_DEFAULT,
            &[443, 8443],
            &[0, 22, 25, 80, 442, 444, 465, 587, 6379],
        );
        check("443,9000-9100", &[443, 9000, 9100], &[8999, 9101]);
        check("1-65535", &[1, 24, 26, 65535], &[0, 25, 465, 587]);
        check("25,465,587", &[465, 587], &[25]);
        for wrong in ",0,65536,+1,1-,-1,2-1,1-2-3,1 ,https".split(',') {
            assert!(PortRange::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_mapped_is_the_same(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let mapped = address.to_ipv6_mapped().into();
            prop_assert_eq!(classify(mapped), classify(address.into()));
        }
    }
}
