//! Messages written anew: what one side said of the resource goes on to the other side, and what
//! it said of its connection to us does not (RFC 9110 section 7.6).

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

use super::target::{Form, Target};
use crate::http::Version;
use crate::http::head::{Field, Fields, ResponseHead};
use crate::http::request::{BodyLength, Request};

/// What the proxy calls itself in Via, new for each one that is started: who finds his own name
/// in a request has sent it before.
#[derive(Debug, Clone)]
pub(super) struct Pseudonym(pub(super) String);

/// Which fields tell the origin about the client (RFC 7239).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Forwarded {
    // `Forwarded: for=192.0.2.1`.
    Standard,
    // `X-Forwarded-For: 192.0.2.1`.
    X,
    // Both.
    Both,
}

/// Says something of one connection only.
fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    ];
    NAMES.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Fields of the message that Connection cannot take away: a client that names one of them wants
/// the origin to miss what it relies on.
fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 27] = [
        b"expect",
        b"max-forwards",
        b"origin",
        b"sec-fetch-dest",
        b"sec-fetch-site",
        b"accept",
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"etag",
        b"expires",
        b"forwarded",
        b"host",
        b"last-modified",
        b"location",
        b"range",
        b"set-cookie",
        b"vary",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    ];
    NAMES.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Takes out of a request what its origin is not going to see, so that nothing is decided by it:
/// what Connection names, in path form what the browser keeps for all sites at once, and a
/// password that is for the proxy.
pub(super) fn remove_unsent(fields: &mut Fields, is_path_form: bool, is_for_us: bool) {
    let named: Vec<&[u8]> = fields
        .tokens("connection")
        .filter(|name| !is_end_to_end(name) && !is_hop_by_hop(name))
        .collect();
    let is_named = |name: &[u8]| named.iter().any(|other| name.eq_ignore_ascii_case(other));
    let is_shared = |name: &[u8]| {
        let mut names = SHARED_IN_PATH_FORM.iter();
        is_path_form && names.any(|other| name.eq_ignore_ascii_case(other))
    };
    fields.0.retain(|field| {
        let is_password = is_for_us && field.name.eq_ignore_ascii_case(b"authorization");
        !is_named(field.name) && !is_shared(field.name) && !is_password
    });
}

/// All sites look like one to a browser that uses the path form: what it keeps for one of them is
/// not for another.
const SHARED_IN_PATH_FORM: [&[u8]; 4] = [b"cookie", b"authorization", b"referer", b"origin"];

/// What goes on to the next recipient as it came, but for Via.
pub(super) fn end_to_end<'f, 'a>(fields: &'f Fields<'a>) -> impl Iterator<Item = &'f Field<'a>> {
    let dropped: Vec<&[u8]> = fields
        .tokens("connection")
        .filter(|name| !is_end_to_end(name))
        .collect();
    let stays = move |field: &&Field| {
        !is_hop_by_hop(field.name)
            && !field.name.eq_ignore_ascii_case(b"content-length")
            && !dropped
                .iter()
                .any(|name| name.eq_ignore_ascii_case(field.name))
    };
    fields.0.iter().filter(stays)
}

/// What the request becomes for its origin.
pub(super) struct RequestPlan<'a> {
    pub(super) target: &'a Target<'a>,
    /// To a proxy, which is told the whole URL.
    pub(super) by_proxy: bool,
    pub(super) parent_authorization: Option<&'a str>,
    pub(super) pseudonym: &'a Pseudonym,
    pub(super) forwarded: Option<Forwarded>,
    pub(super) client: IpAddr,
    /// The client wants to speak another protocol, and so shall the origin.
    pub(super) upgrade: Option<&'a [u8]>,
    /// In place of the client's own conditions and ranges.
    pub(super) conditions: Option<&'a [(&'static str, String)]>,
    pub(super) max_forwards: Option<u64>,
}

pub(super) fn write_request(out: &mut Vec<u8>, request: &Request, plan: &RequestPlan) {
    let (head, target) = (&request.head, plan.target);
    out.extend_from_slice(head.method);
    out.push(b' ');
    if plan.by_proxy {
        out.extend_from_slice(b"http://");
        out.extend_from_slice(target.authority().as_bytes());
        if *target.path != *b"*" {
            out.extend_from_slice(&target.path);
        }
    } else {
        out.extend_from_slice(&target.path);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = target.authority();
    line(out, b"Host", authority.as_bytes());
    for field in end_to_end(&head.fields) {
        if passes(field.name, plan) {
            line(out, field.name, field.value);
        }
    }
    for (name, value) in plan.conditions.unwrap_or_default() {
        line(out, name.as_bytes(), value.as_bytes());
    }
    if let Some(hops) = plan.max_forwards {
        line_of(out, "Max-Forwards", hops);
    }
    if let Some(authorization) = plan.parent_authorization {
        line(out, b"Proxy-Authorization", authorization.as_bytes());
    }
    let wants_trailers = head
        .fields
        .tokens("te")
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    match (plan.upgrade, wants_trailers) {
        (Some(protocol), _) => {
            line(out, b"Connection", b"Upgrade");
            line(out, b"Upgrade", protocol);
        }
        (None, true) => {
            line(out, b"Connection", b"TE");
            line(out, b"TE", b"trailers");
        }
        (None, false) => {}
    }
    write_via(out, head.version, plan.pseudonym);
    write_forwarded(out, plan);
    match request.body {
        BodyLength::Octets(octets) => line_of(out, "Content-Length", octets),
        BodyLength::Chunked => line(out, b"Transfer-Encoding", b"chunked"),
        // Methods that usually have a body say that there is none (RFC 9110 section 8.6).
        BodyLength::None if head.fields.first("content-length").is_some() => {
            line(out, b"Content-Length", b"0");
        }
        BodyLength::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a client's field goes to the origin.
fn passes(name: &[u8], plan: &RequestPlan) -> bool {
    let is = |others: &[&[u8]]| others.iter().any(|other| name.eq_ignore_ascii_case(other));
    if is(&[b"host"]) || plan.max_forwards.is_some() && is(&[b"max-forwards"]) {
        return false;
    }
    let conditions: &[&[u8]] = &[
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        b"range",
    ];
    plan.conditions.is_none() || !is(conditions)
}

fn write_forwarded(out: &mut Vec<u8>, plan: &RequestPlan) {
    let client = plan.client;
    if matches!(plan.forwarded, Some(Forwarded::Standard | Forwarded::Both)) {
        let node = match client {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let value = format!("for={node};proto=http");
        line(out, b"Forwarded", value.as_bytes());
    }
    if matches!(plan.forwarded, Some(Forwarded::X | Forwarded::Both)) {
        line_of(out, "X-Forwarded-For", client);
    }
}

/// Where the answer goes, and how its body does.
pub(super) struct ResponsePlan<'a> {
    pub(super) pseudonym: &'a Pseudonym,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    pub(super) target: &'a Target<'a>,
    pub(super) cache_status: Option<&'a str>,
    /// The response came without one (RFC 9110 section 6.6.1).
    pub(super) date: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Octets(u64),
    Chunked,
    UntilClose,
    /// There is no body; a length of what GET would give is passed on.
    None,
    /// There is no body, and none to speak of (RFC 9110 section 8.6).
    Nothing,
}

/// What the client is told of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// HTTP/1.1 needs no word.
    Stays,
    /// HTTP/1.0 wants to hear it.
    StaysOnRequest,
    Closes,
}

pub(super) fn write_response(out: &mut Vec<u8>, head: &ResponseHead, plan: &ResponsePlan) {
    write_status_line(out, head.status, head.reason);
    write_response_fields(out, &head.fields, plan);
    write_via(out, head.version, plan.pseudonym);
    if head.fields.first("date").is_none() {
        line(out, b"Date", plan.date.as_bytes());
    }
    if let Some(status) = plan.cache_status {
        line(out, b"Cache-Status", status.as_bytes());
    }
    write_framing(out, &head.fields, plan.framing);
    write_persistence(out, plan.persistence);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    let _ = write!(out, "HTTP/1.1 {status} ");
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn write_response_fields(out: &mut Vec<u8>, fields: &Fields, plan: &ResponsePlan) {
    for field in end_to_end(fields) {
        write_field(out, field, plan.target);
    }
    write_fence(out, plan.target);
}

/// In path form: the page runs in an origin of its own, which sees nothing of the other sites
/// that are read so.
pub(super) fn write_fence(out: &mut Vec<u8>, target: &Target) {
    if target.form == Form::Path {
        let policy = b"sandbox allow-scripts allow-forms";
        line(out, b"Content-Security-Policy", policy);
        line(out, b"Referrer-Policy", b"no-referrer");
    }
}

/// A field of an answer, as its client has to have it.
pub(super) fn write_field(out: &mut Vec<u8>, field: &Field, target: &Target) {
    let is = |other: &[u8]| field.name.eq_ignore_ascii_case(other);
    let is_location = is(b"location") || is(b"content-location");
    match target.form {
        Form::Absolute => line(out, field.name, field.value),
        Form::Reverse if is_location => line(out, field.name, within(field.value, target)),
        Form::Reverse => line(out, field.name, field.value),
        Form::Path if is_location => line(out, field.name, &path_form(field.value, target)),
        Form::Path => write_fenced(out, field),
    }
}

/// What a browser would keep for the site, or give its pages rights over, is left out.
fn write_fenced(out: &mut Vec<u8>, field: &Field) {
    const LEFT_OUT: [&[u8]; 13] = [
        b"set-cookie",
        b"referrer-policy",
        b"service-worker-allowed",
        b"strict-transport-security",
        b"clear-site-data",
        b"www-authenticate",
        b"alt-svc",
        b"accept-ch",
        b"critical-ch",
        b"link",
        b"nel",
        b"refresh",
        b"report-to",
    ];
    const LEFT_OUT_GROUPS: [&[u8]; 2] = [b"access-control-", b"reporting-"];
    let is_of = |group: &&[u8]| {
        let start = field.name.get(..group.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(group))
    };
    if LEFT_OUT_GROUPS.iter().any(is_of) {
        return;
    }
    let is = |other: &&[u8]| field.name.eq_ignore_ascii_case(other);
    if !LEFT_OUT.iter().any(is) {
        line(out, field.name, field.value);
    }
}

/// A link to the site itself without its own name, which the clients of a reverse proxy do not
/// use.
fn within<'l>(location: &'l [u8], target: &Target) -> &'l [u8] {
    let origin = format!("http://{}", target.authority());
    match location.split_at_checked(origin.len()) {
        Some((start, path)) if start.eq_ignore_ascii_case(origin.as_bytes()) => match path {
            [b'/', ..] => path,
            [] => b"/",
            _ => location,
        },
        _ => location,
    }
}

/// `http://example.com/a` and `/a` as `/example.com/a`; what is relative to the page, or https,
/// stays as it is.
fn path_form(location: &[u8], target: &Target) -> Vec<u8> {
    if let Some((scheme, rest)) = location.split_at_checked(7)
        && scheme.eq_ignore_ascii_case(b"http://")
    {
        return [b"/", rest].concat();
    }
    if let Some(rest) = location.strip_prefix(b"//") {
        return [b"/", rest].concat();
    }
    if location.starts_with(b"/") {
        return [b"/", target.authority().as_bytes(), location].concat();
    }
    location.to_vec()
}

pub(super) fn write_framing(out: &mut Vec<u8>, fields: &Fields, framing: Framing) {
    match framing {
        Framing::Octets(octets) => line_of(out, "Content-Length", octets),
        Framing::Chunked => line(out, b"Transfer-Encoding", b"chunked"),
        Framing::UntilClose | Framing::Nothing => {}
        Framing::None => {
            let mut lengths = fields.all("content-length");
            if let (Some(length), None) = (lengths.next(), lengths.next())
                && length.iter().all(u8::is_ascii_digit)
            {
                line(out, b"Content-Length", length);
            }
        }
    }
}

pub(super) fn write_persistence(out: &mut Vec<u8>, persistence: Persistence) {
    match persistence {
        Persistence::Stays => {}
        Persistence::StaysOnRequest => line(out, b"Connection", b"keep-alive"),
        Persistence::Closes => line(out, b"Connection", b"close"),
    }
}

/// RFC 9110 section 7.6.3: behind those that are there.
pub(super) fn write_via(out: &mut Vec<u8>, version: Version, pseudonym: &Pseudonym) {
    line(out, b"Via", via(version, pseudonym).as_bytes());
}

pub(super) fn via(received: Version, pseudonym: &Pseudonym) -> String {
    let received = match received {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    };
    format!("{received} {}", pseudonym.0)
}

pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The same for what is put together, without a copy of it. Writing to memory does not fail.
pub(super) fn line_of(out: &mut Vec<u8>, name: &str, value: impl Display) {
    let _ = write!(out, "{name}: {value}\r\n");
}

/// A trailer field may not change how the message is framed, routed or read (RFC 9110 section
/// 6.5.1).
pub(super) fn write_trailers(out: &mut Vec<u8>, lines: &[u8]) {
    const BARRED: [&[u8]; 31] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"via",
        b"www-authenticate",
        b"x-forwarded-for",
        b"x-forwarded-host",
    ];
    for text in lines.split_inclusive(|octet| *octet == b'\n') {
        let name = text
            .split(|octet| *octet == b':')
            .next()
            .unwrap_or_default();
        let is_barred = BARRED.iter().any(|other| name.eq_ignore_ascii_case(other));
        if !is_barred && !is_hop_by_hop(name) {
            out.extend_from_slice(text);
        }
    }
}

/// Whether the request has been here before.
pub(super) fn is_loop(fields: &Fields, pseudonym: &Pseudonym) -> bool {
    let is_own = |member: &[u8]| {
        let mut parts = member.split(|octet| octet.is_ascii_whitespace());
        parts.nth(1) == Some(pseudonym.0.as_bytes())
    };
    fields.tokens("via").any(is_own)
}
