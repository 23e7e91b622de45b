//! How long a response's body is (RFC 9112 section 6.3), for whoever receives one.

use super::head::ResponseHead;
use super::request::parse_digits;
use super::{Refusal, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Octets(u64),
    Chunked,
    UntilClose,
}

const fn bad_gateway(why: &'static str) -> Refusal {
    Refusal { status: 502, why }
}

pub(crate) fn body_length(method: &[u8], head: &ResponseHead) -> Result<BodyLength, Refusal> {
    if method == b"HEAD" || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(BodyLength::Octets(0));
    }
    let mut lengths = head.fields.all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad_gateway("more than one Content-Length"));
    }
    let codings: Vec<&[u8]> = head.fields.tokens("transfer-encoding").collect();
    let names_none = codings.is_empty() && head.fields.first("transfer-encoding").is_some();
    match (codings.as_slice(), length) {
        _ if names_none => Err(bad_gateway("Transfer-Encoding without a coding")),
        ([], None) => Ok(BodyLength::UntilClose),
        ([], Some(digits)) => {
            let octets = parse_digits(digits);
            octets
                .map(BodyLength::Octets)
                .ok_or(bad_gateway("Content-Length is not a number"))
        }
        (_, Some(_)) => Err(bad_gateway("both Transfer-Encoding and Content-Length")),
        ([coding], None) if coding.eq_ignore_ascii_case(b"chunked") => match head.version {
            Version::Http11 => Ok(BodyLength::Chunked),
            Version::Http10 => Err(bad_gateway("Transfer-Encoding in HTTP/1.0")),
        },
        _ => Err(bad_gateway("a transfer coding that was not asked for")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::parse_response;
    use super::*;

    #[test]
    fn bodies() {
        let check = |method: &str, head: &str, wanted: Option<BodyLength>| {
            let octets = format!("HTTP/1.1 {head}\r\n\r\n");
            let parsed = parse_response(octets.as_bytes()).expect(head);
            assert_eq!(
                body_length(method.as_bytes(), &parsed).ok(),
                wanted,
                "{head}"
            );
        };
        check("GET", "200 OK", Some(BodyLength::UntilClose));
        check(
            "GET",
            "200 OK\r\nContent-Length: 7",
            Some(BodyLength::Octets(7)),
        );
        check(
            "GET",
            "200 OK\r\nTransfer-Encoding: chunked",
            Some(BodyLength::Chunked),
        );
        check(
            "HEAD",
            "200 OK\r\nContent-Length: 7",
            Some(BodyLength::Octets(0)),
        );
        check(
            "GET",
            "304 Not Modified\r\nContent-Length: 7",
            Some(BodyLength::Octets(0)),
        );
        for lie in [
            "200 OK\r\nContent-Length: 7\r\nContent-Length: 8",
            "200 OK\r\nContent-Length: 7, 7",
            "200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked",
            "200 OK\r\nTransfer-Encoding: chunked, gzip",
        ] {
            check("GET", lie, None);
        }
    }
}
