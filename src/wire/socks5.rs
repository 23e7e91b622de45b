//! SOCKS5 as its client speaks it, RFC 1928, with user name and password, RFC 1929.
//!
//! Left out: BIND, UDP ASSOCIATE, GSSAPI, and the address that the server connected from.

use std::fmt;
use std::net::IpAddr;

const VERSION: u8 = 5;
/// RFC 1929 section 2: the subnegotiation has a version of its own.
const AUTHENTICATION_VERSION: u8 = 1;

const NO_AUTHENTICATION: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHODS: u8 = 0xff;

const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const SUCCEEDED: u8 = 0;

const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// How the server wants to know who asks, RFC 1928 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    NoAuthentication,
    UserPassword,
}

/// Where the server is to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address<'a> {
    Ip(IpAddr),
    /// The server looks it up.
    DomainName(&'a str),
}

/// Why the server did not connect, RFC 1928 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyCode {
    GeneralFailure,
    NotAllowed,
    NetworkUnreachable,
    HostUnreachable,
    ConnectionRefused,
    TimeToLiveExpired,
    CommandNotSupported,
    AddressTypeNotSupported,
    Unassigned(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the SOCKS server does not speak SOCKS5")]
    Version,
    #[error("the SOCKS server answers with octets that SOCKS5 does not have")]
    Malformed,
    #[error("the SOCKS server wants to know who asks, in a way that was not offered")]
    NoAcceptableMethods,
    #[error("the SOCKS server does not accept this user name and password")]
    Credentials,
    #[error("the SOCKS server {0}")]
    Failed(ReplyCode),
    #[error("a SOCKS user name and password have 1 to 255 octets each")]
    CredentialsLength,
    #[error("SOCKS takes host names of 1 to 255 printable ASCII characters")]
    DomainName,
}

/// RFC 1928 section 3: the client's first message.
pub(crate) fn emit_greeting(has_credentials: bool) -> Vec<u8> {
    match has_credentials {
        false => vec![VERSION, 1, NO_AUTHENTICATION],
        true => vec![VERSION, 2, NO_AUTHENTICATION, USER_PASSWORD],
    }
}

/// The method that the server selects from those of the greeting, with the octets it took.
///
/// `None`, as from all that parse here, means that the message is not complete yet. What
/// remains incomplete is never longer than 262 octets.
pub(crate) fn parse_method(
    input: &[u8],
    has_credentials: bool,
) -> Result<Option<(Method, usize)>, Error> {
    check_version(input, VERSION)?;
    match input {
        [_, NO_AUTHENTICATION, ..] => Ok(Some((Method::NoAuthentication, 2))),
        [_, USER_PASSWORD, ..] if has_credentials => Ok(Some((Method::UserPassword, 2))),
        [_, USER_PASSWORD | NO_ACCEPTABLE_METHODS, ..] => Err(Error::NoAcceptableMethods),
        [_, _, ..] => Err(Error::Malformed),
        [] | [_] => Ok(None),
    }
}

/// RFC 1929 section 2.
pub(crate) fn emit_credentials(user: &str, password: &str) -> Result<Vec<u8>, Error> {
    let mut message = vec![AUTHENTICATION_VERSION];
    for text in [user, password] {
        message.push(length(text).ok_or(Error::CredentialsLength)?);
        message.extend(text.bytes());
    }
    Ok(message)
}

/// Whether the server has accepted the credentials: the octets that its answer took.
pub(crate) fn parse_credentials_reply(input: &[u8]) -> Result<Option<usize>, Error> {
    check_version(input, AUTHENTICATION_VERSION)?;
    match input {
        [_, SUCCEEDED, ..] => Ok(Some(2)),
        [_, _, ..] => Err(Error::Credentials),
        [] | [_] => Ok(None),
    }
}

/// RFC 1928 section 4.
pub(crate) fn emit_connect(address: Address<'_>, port: u16) -> Result<Vec<u8>, Error> {
    let mut message = vec![VERSION, CONNECT, RESERVED];
    match address {
        Address::Ip(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Address::Ip(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        Address::DomainName(name) => {
            // A server that takes a name for a C string would connect to what is before a NUL.
            if !name.bytes().all(|octet| octet.is_ascii_graphic()) {
                return Err(Error::DomainName);
            }
            message.push(DOMAIN_NAME);
            message.push(length(name).ok_or(Error::DomainName)?);
            message.extend(name.bytes());
        }
    }
    message.extend(port.to_be_bytes());
    Ok(message)
}

/// Whether the server has connected: the octets that its reply took. What follows them is from
/// the destination.
pub(crate) fn parse_reply(input: &[u8]) -> Result<Option<usize>, Error> {
    check_version(input, VERSION)?;
    let (address_type, rest) = match input {
        // The server closes after a failure; some leave out the address.
        [_, code @ (1..), ..] => return Err(Error::Failed(ReplyCode::from(*code))),
        [_, _, (1..), ..] => return Err(Error::Malformed),
        [_, _, _, address_type, rest @ ..] => (*address_type, rest),
        _ => return Ok(None),
    };
    let address_octets = match (address_type, rest) {
        (IPV4, _) => 4,
        (IPV6, _) => 16,
        (DOMAIN_NAME, [length, ..]) => 1 + usize::from(*length),
        (DOMAIN_NAME, []) => return Ok(None),
        _ => return Err(Error::Malformed),
    };
    let octets = 4 + address_octets + 2;
    Ok((input.len() >= octets).then_some(octets))
}

fn check_version(input: &[u8], version: u8) -> Result<(), Error> {
    match input.first() {
        Some(first) if *first != version => Err(Error::Version),
        Some(_) | None => Ok(()),
    }
}

/// RFC 1928 and RFC 1929 have one octet for the length of a text.
fn length(text: &str) -> Option<u8> {
    u8::try_from(text.len()).ok().filter(|length| *length > 0)
}

impl From<u8> for ReplyCode {
    fn from(code: u8) -> ReplyCode {
        match code {
            1 => ReplyCode::GeneralFailure,
            2 => ReplyCode::NotAllowed,
            3 => ReplyCode::NetworkUnreachable,
            4 => ReplyCode::HostUnreachable,
            5 => ReplyCode::ConnectionRefused,
            6 => ReplyCode::TimeToLiveExpired,
            7 => ReplyCode::CommandNotSupported,
            8 => ReplyCode::AddressTypeNotSupported,
            other => ReplyCode::Unassigned(other),
        }
    }
}

/// Goes on from "the SOCKS server".
impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplyCode::GeneralFailure => "failed and does not say why",
            ReplyCode::NotAllowed => "does not allow this destination",
            ReplyCode::NetworkUnreachable => "cannot reach the network of the destination",
            ReplyCode::HostUnreachable => "cannot reach the destination",
            ReplyCode::ConnectionRefused => "was refused by the destination",
            ReplyCode::TimeToLiveExpired => "got no answer from the destination in time",
            ReplyCode::CommandNotSupported => "does not support CONNECT",
            ReplyCode::AddressTypeNotSupported => "does not support this kind of address",
            ReplyCode::Unassigned(code) => {
                return write!(f, "failed with code {code}, which is unassigned");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Cut off anywhere it is incomplete; more behind it does not change it.
    #[track_caller]
    fn check<T: PartialEq + fmt::Debug + Copy>(
        parse: impl Fn(&[u8]) -> Result<Option<T>, Error>,
        message: &[u8],
        expected: T,
    ) {
        for end in 0..message.len() {
            assert_eq!(parse(&message[..end]), Ok(None), "{end} octets");
        }
        assert_eq!(parse(message), Ok(Some(expected)));
        assert_eq!(parse(&[message, b"SSH-2.0"].concat()), Ok(Some(expected)));
    }

    #[test]
    fn methods() {
        assert_eq!(emit_greeting(false), [5, 1, 0]);
        assert_eq!(emit_greeting(true), [5, 2, 0, 2]);
        for has_credentials in [false, true] {
            let parse = |input: &[u8]| parse_method(input, has_credentials);
            check(parse, &[5, 0], (Method::NoAuthentication, 2));
            assert_eq!(parse(&[5, 0xff]), Err(Error::NoAcceptableMethods));
            assert_eq!(parse(&[5, 1]), Err(Error::Malformed));
            assert_eq!(parse(b"HTTP/1.1 400"), Err(Error::Version));
            assert_eq!(parse(&[4]), Err(Error::Version));
        }
        let parse = |input: &[u8]| parse_method(input, true);
        check(parse, &[5, 2], (Method::UserPassword, 2));
        assert_eq!(
            parse_method(&[5, 2], false),
            Err(Error::NoAcceptableMethods)
        );
    }

    #[test]
    fn credentials() {
        let emitted = emit_credentials("ann", "s3cret");
        assert_eq!(emitted.as_deref(), Ok(&b"\x01\x03ann\x06s3cret"[..]));
        let longest = "x".repeat(255);
        assert!(emit_credentials(&longest, &longest).is_ok_and(|octets| octets.len() == 513));
        for (user, password) in [("", "s"), ("u", ""), (&*"x".repeat(256), "s")] {
            let emitted = emit_credentials(user, password);
            assert_eq!(emitted, Err(Error::CredentialsLength), "{user} {password}");
        }
        check(parse_credentials_reply, &[1, 0], 2);
        assert_eq!(parse_credentials_reply(&[1, 1]), Err(Error::Credentials));
        assert_eq!(parse_credentials_reply(&[5, 0]), Err(Error::Version));
    }

    #[test]
    fn requests() {
        #[track_caller]
        fn check(address: Address<'_>, port: u16, message: &[u8]) {
            assert_eq!(emit_connect(address, port).as_deref(), Ok(message));
        }
        let v4 = Address::Ip(IpAddr::from([192, 0, 2, 1]));
        check(v4, 80, &[5, 1, 0, 1, 192, 0, 2, 1, 0, 80]);
        let v6 = Address::Ip("2001:db8::1".parse().unwrap());
        let octets = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        check(v6, 443, &[&[5, 1, 0, 4][..], &octets, &[1, 0xbb]].concat());
        let name = Address::DomainName("a.example");
        check(name, 8080, b"\x05\x01\x00\x03\x09a.example\x1f\x90");
        let (longest, too_long) = ("a".repeat(255), "a".repeat(256));
        let request = emit_connect(Address::DomainName(&longest), 1);
        assert_eq!(request.map(|octets| octets.len()), Ok(5 + 255 + 2));
        for wrong in ["", &*too_long, "a\0.example", "a b", "ä.example"] {
            let request = emit_connect(Address::DomainName(wrong), 1);
            assert_eq!(request, Err(Error::DomainName), "{wrong:?}");
        }
    }

    #[test]
    fn replies() {
        check(parse_reply, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], 10);
        let v6 = [&[5, 0, 0, 4][..], &[0xff; 16], &[1, 0xbb]].concat();
        check(parse_reply, &v6, 22);
        check(parse_reply, b"\x05\x00\x00\x03\x02ab\x00\x50", 9);
        check(parse_reply, &[5, 0, 0, 3, 0, 0, 80], 7);
        let longest = [&[5, 0, 0, 3, 255][..], &[b'a'; 255], &[0, 80]].concat();
        check(parse_reply, &longest, 262);
        assert_eq!(parse_reply(&[4, 0]), Err(Error::Version));
        assert_eq!(parse_reply(&[5, 0, 1]), Err(Error::Malformed));
        assert_eq!(parse_reply(&[5, 0, 0, 2]), Err(Error::Malformed));
    }

    #[test]
    fn failures_in_words() {
        #[track_caller]
        fn check(code: u8, words: &str) {
            for reply in [&[5, code][..], &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]] {
                let error = parse_reply(reply).expect_err(words);
                assert_eq!(error.to_string(), format!("the SOCKS server {words}"));
            }
        }
        check(1, "failed and does not say why");
        check(2, "does not allow this destination");
        check(3, "cannot reach the network of the destination");
        check(4, "cannot reach the destination");
        check(5, "was refused by the destination");
        check(6, "got no answer from the destination in time");
        check(7, "does not support CONNECT");
        check(8, "does not support this kind of address");
        check(91, "failed with code 91, which is unassigned");
    }

    proptest! {
        #[test]
        fn no_octets_panic_or_take_more_than_there_are(
            front in prop_oneof![Just(vec![5, 0, 0]), Just(vec![1]), vec(any::<u8>(), 0..3)],
            rest in vec(any::<u8>(), 0..300),
        ) {
            let input = [front, rest].concat();
            let method = parse_method(&input, true).map(|found| found.map(|(_, octets)| octets));
            for parsed in [method, parse_credentials_reply(&input), parse_reply(&input)] {
                match parsed {
                    Ok(Some(octets)) => prop_assert!(octets <= input.len()),
                    Ok(None) => prop_assert!(input.len() < 262),
                    Err(_) => {}
                }
            }
        }
    }
}
