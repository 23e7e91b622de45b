//! What a request head means: its target (RFC 9112 section 3.2), the length of its body
//! (section 6.3), and whether the connection persists (section 9.3).

use super::head::RequestHead;
use super::{Refusal, Version, bad_request};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) head: RequestHead<'a>,
    pub(crate) target: Target<'a>,
    /// Of an absolute target, else the field `Host`. HTTP/1.0 may have none.
    pub(crate) authority: Option<Authority<'a>>,
    pub(crate) body: BodyLength,
    /// The client wants to send more requests on this connection.
    pub(crate) persists: bool,
    pub(crate) expects_continue: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `/path?query`
    Origin {
        path: &'a [u8],
        query: Option<&'a [u8]>,
    },
    /// `http://host/path?query`
    Absolute {
        scheme: &'a [u8],
        path: &'a [u8],
        query: Option<&'a [u8]>,
    },
    /// `host:port`, of CONNECT only.
    Authority,
    /// `*`, of OPTIONS only.
    Asterisk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// An IPv6 address has its brackets.
    pub(crate) host: &'a [u8],
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    None,
    Octets(u64),
    Chunked,
}

pub(crate) fn interpret(head: RequestHead<'_>) -> Result<Request<'_>, Refusal> {
    let host = host(&head)?;
    let (target, named) = parse_target(head.method, head.target)?;
    let body = body_length(&head)?;
    let (mut closes, mut keeps) = (false, false);
    for token in head.fields.tokens("connection") {
        closes |= token.eq_ignore_ascii_case(b"close");
        keeps |= token.eq_ignore_ascii_case(b"keep-alive");
    }
    let mut expects_continue = false;
    if head.version == Version::Http11 {
        for expectation in head.fields.all("expect") {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal {
                    status: 417,
                    why: "the only expectation understood here is 100-continue",
                });
            }
            expects_continue = body != BodyLength::None;
        }
    }
    Ok(Request {
        target,
        authority: named.or(host),
        body,
        persists: !closes && (keeps || head.version == Version::Http11),
        expects_continue,
        head,
    })
}

/// RFC 9112 section 3.2: exactly one.
fn host<'a>(head: &RequestHead<'a>) -> Result<Option<Authority<'a>>, Refusal> {
    let mut hosts = head.fields.all("host");
    let host = hosts.next().map(parse_authority).transpose()?;
    if hosts.next().is_some() {
        return Err(bad_request("more than one Host"));
    }
    if host.is_none() && head.version == Version::Http11 {
        return Err(bad_request("no Host, which HTTP/1.1 demands"));
    }
    Ok(host)
}

fn parse_target<'a>(
    method: &[u8],
    target: &'a [u8],
) -> Result<(Target<'a>, Option<Authority<'a>>), Refusal> {
    if method == b"CONNECT" {
        let authority = parse_authority(target)?;
        return match authority.port {
            Some(_) => Ok((Target::Authority, Some(authority))),
            None => Err(bad_request("CONNECT wants host:port")),
        };
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok((Target::Asterisk, None));
    }
    if target.starts_with(b"/") {
        let (path, query) = split_query(target);
        return Ok((Target::Origin { path, query }, None));
    }
    const NO_FORM: Refusal = bad_request("the request target is neither a path nor an http URI");
    let colon = memchr::memmem::find(target, b"://").ok_or(NO_FORM)?;
    let (scheme, rest) = (&target[..colon], &target[colon + 3..]);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(NO_FORM);
    }
    let end = rest
        .iter()
        .position(|octet| matches!(octet, b'/' | b'?'))
        .unwrap_or(rest.len());
    let authority = parse_authority(&rest[..end])?;
    let (path, query) = split_query(&rest[end..]);
    let path = if path.is_empty() { b"/" } else { path };
    let target = Target::Absolute {
        scheme,
        path,
        query,
    };
    Ok((target, Some(authority)))
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// `host`, `host:port`, `[::1]:port`. A user name before it is not for the wire (RFC 9110
/// section 4.2.4), and an http URI has a host (section 4.2.1).
pub(crate) fn parse_authority(text: &[u8]) -> Result<Authority<'_>, Refusal> {
    const INVALID: Refusal = bad_request("the host is not valid");
    let end = match text {
        [b'[', ..] => memchr::memchr(b']', text).ok_or(INVALID)? + 1,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_valid = match host {
        [b'[', address @ .., b']'] => std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        [] => false,
        _ => host.iter().all(|octet| is_name_octet(*octet)),
    };
    if !is_valid {
        return Err(INVALID);
    }
    let port = match port {
        [] | [b':'] => None,
        [b':', digits @ ..] => {
            let port = parse_digits(digits).and_then(|port| u16::try_from(port).ok());
            Some(port.ok_or(INVALID)?)
        }
        _ => return Err(INVALID),
    };
    Ok(Authority { host, port })
}

/// RFC 3986 section 3.2.2, `reg-name`.
fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&octet)
}

/// Nothing but digits, and no more than fit.
pub(crate) fn parse_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn body_length(head: &RequestHead) -> Result<BodyLength, Refusal> {
    let mut lengths = head.fields.all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad_request("more than one Content-Length"));
    }
    let mut codings = head.fields.all("transfer-encoding").peekable();
    if codings.peek().is_none() {
        return match length.map(parse_digits) {
            None => Ok(BodyLength::None),
            Some(Some(0)) => Ok(BodyLength::None),
            Some(Some(octets)) => Ok(BodyLength::Octets(octets)),
            Some(None) => Err(bad_request("Content-Length is not a number")),
        };
    }
    if length.is_some() {
        return Err(bad_request("both Transfer-Encoding and Content-Length"));
    }
    if head.version == Version::Http10 {
        return Err(bad_request("Transfer-Encoding in HTTP/1.0"));
    }
    let codings: Vec<&[u8]> = head.fields.tokens("transfer-encoding").collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match codings.split_last() {
        Some((last, [])) if is_chunked(last) => Ok(BodyLength::Chunked),
        Some((last, others)) if is_chunked(last) && !others.iter().any(is_chunked) => {
            Err(Refusal {
                status: 501,
                why: "the only transfer coding understood here is chunked",
            })
        }
        _ => Err(bad_request(
            "a transfer coding other than chunked comes last, so that the body has no end",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::parse_request;
    use super::*;

    fn read(input: &str) -> Result<Request<'_>, Refusal> {
        interpret(parse_request(input.as_bytes())?)
    }

    #[track_caller]
    fn refused(status: u16, line: &str, fields: &str) {
        let input = format!("{line}\r\n{fields}\r\n");
        let refusal = read(&input).expect_err(&input);
        assert_eq!(refusal.status, status, "{input:?}: {}", refusal.why);
    }

    #[test]
    fn targets() {
        let check = |line: &str, host: &str, port, path: &str, query: Option<&str>| {
            let input = format!("{line} HTTP/1.1\r\nHost: other\r\n\r\n");
            let request = read(&input).expect(line);
            let (found, asked) = match request.target {
                Target::Origin { path, query } | Target::Absolute { path, query, .. } => {
                    (path, query)
                }
                Target::Asterisk => (&b"*"[..], None),
                Target::Authority => (&b""[..], None),
            };
            assert_eq!(
                (found, asked),
                (path.as_bytes(), query.map(str::as_bytes)),
                "{line}"
            );
            let authority = request.authority.expect("a host");
            assert_eq!(
                (authority.host, authority.port),
                (host.as_bytes(), port),
                "{line}"
            );
        };
        check("GET /a/b?c?d", "other", None, "/a/b", Some("c?d"));
        check(
            "GET http://Example.com:80?q",
            "Example.com",
            Some(80),
            "/",
            Some("q"),
        );
        check("GET HTTPS://[::1]:/x", "[::1]", None, "/x", None);
        check("GET //evil.com/", "other", None, "//evil.com/", None);
        check("OPTIONS *", "other", None, "*", None);
        check("CONNECT a:443", "a", Some(443), "", None);
        for wrong in [
            "GET *",
            "GET a",
            "GET http:///a",
            "GET ftp://a/",
            "CONNECT a",
            "GET http://a:x/",
            "GET http://u@a/",
            "GET http://a:65536/",
            "GET http://[::1/",
            "GET http://[::1]x/",
        ] {
            refused(400, &format!("{wrong} HTTP/1.1"), "Host: x\r\n");
        }
    }

    #[test]
    fn exactly_one_valid_host() {
        refused(400, "GET / HTTP/1.1", "");
        refused(400, "GET / HTTP/1.1", "Host: a\r\nHost: a\r\n");
        for host in [
            "", "a b", "a/b", "u@a", "a:b", "a:80:80", "[::g]", "a,b c", "a?b",
        ] {
            refused(400, "GET / HTTP/1.1", &format!("Host: {host}\r\n"));
        }
        assert_eq!(
            read("GET / HTTP/1.0\r\n\r\n").expect("allowed").authority,
            None
        );
    }

    #[test]
    fn bodies_that_end_where_everybody_thinks_they_do() {
        let check = |fields: &str, body| {
            let input = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
            assert_eq!(read(&input).expect(fields).body, body);
        };
        check("Content-Length: 0", BodyLength::None);
        check("Content-Length: 12", BodyLength::Octets(12));
        check("Transfer-Encoding: Chunked", BodyLength::Chunked);
        for (status, fields) in [
            (400, "Content-Length: +5"),
            (400, "Content-Length: -1"),
            (400, "Content-Length: 5 5"),
            (400, "Content-Length: 5, 5"),
            (400, "Content-Length: 0x5"),
            (400, "Content-Length:"),
            (400, "Content-Length: 18446744073709551616"),
            (400, "Content-Length: 5\r\nContent-Length: 5"),
            (400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
            (400, "Transfer-Encoding: chunked, chunked"),
            (
                400,
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ),
            (400, "Transfer-Encoding: chunked, gzip"),
            (400, "Transfer-Encoding: xchunked"),
            (400, "Transfer-Encoding:"),
            (501, "Transfer-Encoding: gzip, chunked"),
            (417, "Expect: bread"),
        ] {
            refused(
                status,
                "POST / HTTP/1.1",
                &format!("Host: x\r\n{fields}\r\n"),
            );
        }
        refused(400, "POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n");
    }

    #[test]
    fn connections_persist_as_both_versions_have_it() {
        let check = |version: &str, connection: &str, persists: bool| {
            let input = format!("GET / HTTP/{version}\r\nHost: x\r\n{connection}\r\n");
            assert_eq!(read(&input).expect("valid").persists, persists, "{input}");
        };
        check("1.1", "", true);
        check("1.1", "Connection: foo, CLOSE\r\n", false);
        check(
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        );
        check("1.9", "", true);
        check("1.0", "", false);
        check("1.0", "Connection: Keep-Alive\r\n", true);
    }
}
