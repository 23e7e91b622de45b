//! What a proxy did and why: one member of Cache-Status, RFC 9211, and of Proxy-Status, RFC 9209.

use std::fmt::{self, Display, Formatter, Write};

use crate::http::head::is_token_octet;

/// Room for a sentence. Details may quote what a peer sent.
const DETAIL_CHARS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheStatus<'a> {
    /// The name that the proxy goes by.
    pub(crate) by: &'a str,
    pub(crate) outcome: Outcome,
    /// Seconds; below zero when the response is stale.
    pub(crate) ttl: Option<i64>,
    pub(crate) detail: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Forwarded {
        reason: ForwardReason,
        /// What the next hop answered.
        status: Option<u16>,
        stored: bool,
        /// Another request's forwarding served this one too.
        collapsed: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardReason {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    /// What is stored is fresh, but the request wants it validated.
    Request,
    Stale,
    Partial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyStatus<'a> {
    pub(crate) by: &'a str,
    pub(crate) error: ErrorType,
    pub(crate) details: Option<&'a str>,
}

/// Those of RFC 9209 section 2.3 that a proxy without TLS of its own can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorType {
    DnsTimeout,
    DnsError,
    DestinationNotFound,
    DestinationUnavailable,
    DestinationIpProhibited,
    DestinationIpUnroutable,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionWriteTimeout,
    ConnectionLimitReached,
    HttpRequestError,
    HttpRequestDenied,
    HttpResponseIncomplete,
    HttpResponseHeaderSectionSize,
    HttpResponseTimeout,
    HttpProtocolError,
    ProxyLoopDetected,
}

impl Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        emit_token_or_string(f, self.by)?;
        match self.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Forwarded {
                reason,
                status,
                stored,
                collapsed,
            } => {
                write!(f, "; fwd={}", reason.token())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if stored {
                    f.write_str("; stored")?;
                }
                if collapsed {
                    f.write_str("; collapsed")?;
                }
            }
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        emit_parameter(f, "detail", self.detail)
    }
}

impl Display for ProxyStatus<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        emit_token_or_string(f, self.by)?;
        write!(f, "; error={}", self.error.name())?;
        emit_parameter(f, "details", self.details)
    }
}

impl ForwardReason {
    fn token(self) -> &'static str {
        match self {
            ForwardReason::Bypass => "bypass",
            ForwardReason::Method => "method",
            ForwardReason::UriMiss => "uri-miss",
            ForwardReason::VaryMiss => "vary-miss",
            ForwardReason::Request => "request",
            ForwardReason::Stale => "stale",
            ForwardReason::Partial => "partial",
        }
    }
}

impl ErrorType {
    /// What the RFC recommends to answer. A request error has a 4xx of its own where one fits
    /// better than 400.
    pub(crate) fn status(self) -> u16 {
        self.name_and_status().1
    }

    pub(crate) fn name(self) -> &'static str {
        self.name_and_status().0
    }

    fn name_and_status(self) -> (&'static str, u16) {
        match self {
            ErrorType::DnsTimeout => ("dns_timeout", 504),
            ErrorType::DnsError => ("dns_error", 502),
            ErrorType::DestinationNotFound => ("destination_not_found", 500),
            ErrorType::DestinationUnavailable => ("destination_unavailable", 503),
            ErrorType::DestinationIpProhibited => ("destination_ip_prohibited", 502),
            ErrorType::DestinationIpUnroutable => ("destination_ip_unroutable", 502),
            ErrorType::ConnectionRefused => ("connection_refused", 502),
            ErrorType::ConnectionTerminated => ("connection_terminated", 502),
            ErrorType::ConnectionTimeout => ("connection_timeout", 504),
            ErrorType::ConnectionReadTimeout => ("connection_read_timeout", 504),
            ErrorType::ConnectionWriteTimeout => ("connection_write_timeout", 504),
            ErrorType::ConnectionLimitReached => ("connection_limit_reached", 503),
            ErrorType::HttpRequestError => ("http_request_error", 400),
            ErrorType::HttpRequestDenied => ("http_request_denied", 403),
            ErrorType::HttpResponseIncomplete => ("http_response_incomplete", 502),
            ErrorType::HttpResponseHeaderSectionSize => ("http_response_header_section_size", 502),
            ErrorType::HttpResponseTimeout => ("http_response_timeout", 504),
            ErrorType::HttpProtocolError => ("http_protocol_error", 502),
            ErrorType::ProxyLoopDetected => ("proxy_loop_detected", 502),
        }
    }
}

/// RFC 8941 section 3.3.4, or else a string.
fn emit_token_or_string(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let octets = name.as_bytes();
    let begins = matches!(octets, [b'*' | b'A'..=b'Z' | b'a'..=b'z', ..]);
    let mut octets = octets.iter();
    match begins && octets.all(|octet| is_token_octet(*octet) || b":/".contains(octet)) {
        true => f.write_str(name),
        false => emit_string(f, name),
    }
}

fn emit_parameter(f: &mut Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    write!(f, "; {name}=")?;
    emit_string(f, value)
}

/// RFC 8941 section 3.3.3: printable ASCII only, so that a question mark stands for the rest.
fn emit_string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars().take(DETAIL_CHARS_MAX) {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            _ => f.write_char('?')?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: Outcome, ttl: Option<i64>, detail: Option<&str>, expected: &str) {
        let status = CacheStatus {
            by: "nsh",
            outcome,
            ttl,
            detail,
        };
        assert_eq!(status.to_string(), expected);
    }

    #[test]
    fn cache_status() {
        let forwarded = |reason, status, stored, collapsed| Outcome::Forwarded {
            reason,
            status,
            stored,
            collapsed,
        };
        check(Outcome::Hit, Some(48), None, "nsh; hit; ttl=48");
        check(Outcome::Hit, Some(-5), None, "nsh; hit; ttl=-5");
        check(
            forwarded(ForwardReason::Stale, Some(304), true, false),
            Some(60),
            None,
            "nsh; fwd=stale; fwd-status=304; stored; ttl=60",
        );
        check(
            forwarded(ForwardReason::UriMiss, None, false, true),
            None,
            None,
            "nsh; fwd=uri-miss; collapsed",
        );
        check(
            forwarded(ForwardReason::Bypass, Some(200), false, false),
            None,
            Some("the request says no-store"),
            "nsh; fwd=bypass; fwd-status=200; detail=\"the request says no-store\"",
        );
    }

    #[track_caller]
    fn check_error(by: &str, details: &str, expected: &str) {
        let status = ProxyStatus {
            by,
            error: ErrorType::ConnectionRefused,
            details: Some(details),
        };
        assert_eq!(status.to_string(), expected);
    }

    #[test]
    fn proxy_status() {
        let refused = "; error=connection_refused; details=\"";
        check_error("nsh", "no", &format!("nsh{refused}no\""));
        check_error("a b", "", &format!("\"a b\"{refused}\""));
        check_error("8", "", &format!("\"8\"{refused}\""));
        check_error("h:80/x", "", &format!("h:80/x{refused}\""));
        check_error("x", "\"a\\b\"", &format!("x{refused}\\\"a\\\\b\\\"\""));
        check_error("x", "é\r\nEvil: 1", &format!("x{refused}???Evil: 1\""));
        let long = format!("x{refused}{}\"", "a".repeat(DETAIL_CHARS_MAX));
        check_error("x", &"a".repeat(9999), &long);
        let status = ProxyStatus {
            by: "nsh",
            error: ErrorType::DnsTimeout,
            details: None,
        };
        assert_eq!(status.to_string(), "nsh; error=dns_timeout");
        assert_eq!(status.error.status(), 504);
    }
}
