//! HTTP/1.1 (RFC 9110, RFC 9112) as the server, the proxy and the client share it: strict
//! heads, framing, conditions, ranges, negotiation. Only [`client`] has a connection.

pub(crate) mod body;
pub(crate) mod caching;
pub(crate) mod chunked;
pub(crate) mod client;
pub(crate) mod condition;
pub(crate) mod head;
pub(crate) mod negotiate;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod response;

/// Why a message is not accepted. The connection cannot be used any further, because where the
/// next message begins is not certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What a server answers.
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

const fn bad_request(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    /// Or a later minor version, which is answered as 1.1 (RFC 9112 section 2.3).
    Http11,
}

/// RFC 9110 section 15, RFC 6585.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        407 => "Proxy Authentication Required",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
