//! From a request to a response. Pure, but for the files that it opens.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::folder::{self, Entries};
use super::library::{Found, Library};
use super::listing::entry::Order;
use super::listing::{self, Format, Listing};
use super::metrics::Metrics;
use super::path::Path;
use super::representation::Representation;
use super::site::Site;
use super::transfer::Outgoing;
use crate::http::condition::{self, Outcome, Validators};
use crate::http::head::Fields;
use crate::http::negotiate;
use crate::http::range::{self, Ranges};
use crate::http::request::{Request, Target};
use crate::http::{self, Refusal};
use crate::net;
use crate::web::page;

/// RFC 9110 section 9 and RFC 5789.
const KNOWN_METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

pub(super) struct Response {
    pub(super) status: u16,
    /// Field lines, each with its CRLF.
    pub(super) fields: Vec<u8>,
    pub(super) body: Body,
    /// No further request is answered on this connection.
    pub(super) closes: bool,
}

pub(super) enum Body {
    /// `Content-Length` is among the fields, or must not be there.
    None,
    Octets(Vec<u8>),
    /// All of it, with the fields that belong to it.
    Whole(Arc<Representation>),
    /// The fields tell its length.
    Parts(Outgoing),
    /// Of unknown length.
    Stream(Entries),
    /// What is wrong, in a sentence: text, or a page for a browser.
    Error(String),
}

/// What takes a while.
pub(super) type Work = Box<dyn FnOnce(&Arc<Site>) -> Option<Response> + Send>;

pub(super) enum Answer {
    Now(Response),
    /// It takes long. Without a response the question is to be asked again.
    Later(Work),
}

pub(super) struct Question<'a> {
    pub(super) request: &'a Request<'a>,
    /// The request line and the fields as they came.
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) now: (Instant, SystemTime),
}

impl Response {
    fn empty(status: u16) -> Response {
        Response {
            status,
            fields: Vec::new(),
            body: Body::None,
            closes: false,
        }
    }

    fn octets(status: u16, media_type: &str, octets: Vec<u8>) -> Response {
        Response {
            fields: format!("Content-Type: {media_type}\r\n").into(),
            body: Body::Octets(octets),
            ..Response::empty(status)
        }
    }

    pub(super) fn error(status: u16, detail: &str) -> Response {
        Response {
            body: Body::Error(detail.to_owned()),
            ..Response::empty(status)
        }
    }

    /// An error in the form that the client likes, if there is one that asked.
    pub(super) fn written_for(mut self, fields: Option<&Fields>) -> Response {
        let Body::Error(detail) = &self.body else {
            return self;
        };
        let (reason, offered) = (http::reason(self.status), ["text/plain", "text/html"]);
        let liked = fields.map(|fields| negotiate::media_type(fields, &offered));
        if liked == Some("text/html") {
            self.body = Body::Octets(page::error(self.status, reason, detail).into());
            let policy = listing::content_security_policy();
            return self
                .with("Content-Type", "text/html; charset=utf-8")
                .with("Content-Security-Policy", policy);
        }
        let text = format!("{} {reason}\n{detail}\n", self.status);
        self.body = Body::Octets(text.into());
        self.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// To what was no valid request.
    pub(super) fn refusal(refusal: Refusal) -> Response {
        Response {
            closes: true,
            ..Response::error(refusal.status, &format!("{}.", refusal.why))
        }
    }

    fn with(mut self, name: &str, value: &str) -> Response {
        let line = format!("{name}: {value}\r\n");
        self.fields.extend_from_slice(line.as_bytes());
        self
    }
}

/// `patient`: the question was not asked before.
pub(super) fn answer(
    site: &Arc<Site>,
    library: &mut Library,
    metrics: &Metrics,
    question: &Question,
    patient: bool,
) -> Answer {
    let request = question.request;
    if let Some(authority) = request.authority
        && !site.is_host(authority.host)
    {
        let detail = "This server is for its own machine, and does not answer to that host name. \
                      Ask for localhost, or start it with --allow-host NAME.";
        return Answer::Now(Response::error(421, detail));
    }
    if site.cors.is_some() && is_preflight(request) {
        // Browsers ask this without the user's name.
        return Answer::Now(preflight(site));
    }
    if site.user(&request.head.fields).is_err() {
        let response = Response::error(401, "This page wants a user name and a password.");
        let scheme = "Basic realm=\"nsh serve\", charset=\"UTF-8\"";
        return Answer::Now(response.with("WWW-Authenticate", scheme));
    }
    let (path, query) = match request.target {
        Target::Origin { path, query } | Target::Absolute { path, query, .. } => (path, query),
        Target::Asterisk | Target::Authority => (&b""[..], None),
    };
    match request.head.method {
        b"GET" | b"HEAD" => {}
        b"OPTIONS" => return Answer::Now(options(site)),
        b"POST" | b"PUT" if site.echoes => return Answer::Now(echo(question, path)),
        method if KNOWN_METHODS.contains(&method) => {
            let mut response = Response::error(405, "This server gives files away and takes none.");
            // What a client sends behind CONNECT is meant for somebody else.
            response.closes = method == b"CONNECT";
            return Answer::Now(response.with("Allow", allowed(site)));
        }
        _ => return Answer::Now(Response::error(501, "There is no such method.")),
    }
    if site.echoes && path == b"/echo" {
        return Answer::Now(echo(question, path));
    }
    if site.measures && path == b"/-/metrics" {
        let text = metrics.open_metrics(question.now.0);
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let response = Response::octets(200, media_type, text.into());
        return Answer::Now(response.with("Cache-Control", "no-store"));
    }
    let fields = &request.head.fields;
    match library.find(site, path, fields, question.now) {
        Found::Page(page) => Answer::Now(represent(site, request, page)),
        Found::Compressible(plain) if patient => Answer::Later(Box::new(move |site| {
            let compressed = plain.compressed(site).ok()?;
            site.keep_compressed(compressed);
            None
        })),
        Found::Compressible(plain) => Answer::Now(represent(site, request, plain)),
        Found::Folder(folder) if site.lists => list(fields, folder, query),
        Found::FolderWithoutSlash(folder) => Answer::Now(redirect(&folder, query)),
        Found::Folder(_) | Found::Missing => Answer::Now(missing(site, library, question)),
        Found::Forbidden => Answer::Now(Response::error(
            403,
            "The server is not permitted to read this.",
        )),
        Found::Malformed(malformed) => {
            Answer::Now(Response::error(400, &format!("{}.", malformed.0)))
        }
        Found::NotAcceptable => {
            Answer::Now(Response::error(406, "There is no such form of this page."))
        }
        Found::Failed => Answer::Now(Response::error(500, "The file cannot be read.")),
    }
}

fn is_preflight(request: &Request) -> bool {
    let asked = request.head.fields.first("access-control-request-method");
    request.head.method == b"OPTIONS" && asked.is_some()
}

/// Whether requests with this method are answered, and their bodies read.
pub(super) fn takes(site: &Site, method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
        || site.echoes && matches!(method, b"POST" | b"PUT")
}

fn allowed(site: &Site) -> &'static str {
    match site.echoes {
        true => "GET, HEAD, OPTIONS, POST, PUT",
        false => "GET, HEAD, OPTIONS",
    }
}

fn options(site: &Site) -> Response {
    Response::empty(204).with("Allow", allowed(site))
}

/// What pages of other sites may ask (Fetch section 3.3).
fn preflight(site: &Site) -> Response {
    let headers = "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, \
                   If-Range, If-Unmodified-Since, Range";
    options(site)
        .with("Access-Control-Allow-Methods", allowed(site))
        .with("Access-Control-Allow-Headers", headers)
        .with("Access-Control-Max-Age", "600")
}

/// What was sent: at `/echo` the head, elsewhere the body.
fn echo(question: &Question, path: &[u8]) -> Response {
    let response = match path {
        b"/echo" => Response::octets(200, "text/plain; charset=utf-8", question.head.to_vec()),
        _ if std::str::from_utf8(question.body).is_ok() => {
            Response::octets(200, "text/plain; charset=utf-8", question.body.to_vec())
        }
        _ => Response::octets(200, "application/octet-stream", question.body.to_vec()),
    };
    response.with("Cache-Control", "no-store")
}

fn redirect(folder: &Path, query: Option<&[u8]>) -> Response {
    let mut location = folder.with_slash();
    if let Some(query) = query {
        location.push('?');
        // The request's target has visible ASCII only.
        location.push_str(&String::from_utf8_lossy(query));
    }
    Response::error(301, "The folder's address ends with a slash.").with("Location", &location)
}

fn missing(site: &Site, library: &mut Library, question: &Question) -> Response {
    let fields = &question.request.head.fields;
    if site.is_single_page {
        let found = library.find(site, b"/index.html", fields, question.now);
        if let Found::Page(page) | Found::Compressible(page) = found {
            return represent(site, question.request, page);
        }
    }
    match library.find(site, b"/404.html", fields, question.now) {
        // Without validators: it is not this page that has them.
        Found::Page(page) | Found::Compressible(page) => {
            let mut response = Response::empty(404).with("Content-Length", &page.size.to_string());
            response.fields.extend_from_slice(&page.kind);
            response.body = Body::Parts(Outgoing::of(page));
            response
        }
        _ => Response::error(404, "There is nothing at this address."),
    }
}

/// With the request's conditions and ranges.
fn represent(site: &Site, request: &Request, page: Arc<Representation>) -> Response {
    let fields = &request.head.fields;
    let current = Validators {
        etag: Some(&page.etag),
        last_modified: page.last_modified,
    };
    let response = match condition::evaluate(fields, true, Some(&current)) {
        Outcome::PreconditionFailed => {
            return Response::error(412, "The page is not as the request wants it.");
        }
        Outcome::NotModified => Response {
            fields: page.validators.clone(),
            ..Response::empty(304)
        },
        Outcome::Proceed { range } => {
            let wanted = fields.all("range");
            let is_wanted = range && page.is_strong() && request.head.method == b"GET";
            match select(wanted, is_wanted, page.size) {
                Ranges::Parts(parts) => return partial(&page, &parts),
                Ranges::Unsatisfiable => {
                    let detail = format!("The page has {} octets.", page.size);
                    let response = Response::error(416, &detail);
                    return response.with("Content-Range", &range::unsatisfied(page.size));
                }
                Ranges::Whole => Response {
                    body: Body::Whole(Arc::clone(&page)),
                    ..Response::empty(200)
                },
            }
        }
    };
    match &site.cookie {
        Some(name) if page.is_page() => count_visit(response, site, name, fields),
        _ => response,
    }
}

fn select<'a>(mut wanted: impl Iterator<Item = &'a [u8]>, counts: bool, size: u64) -> Ranges {
    let field = wanted.next();
    match counts && wanted.next().is_none() {
        true => range::parse(field, size),
        false => Ranges::Whole,
    }
}

/// RFC 6265: how often this browser was here.
fn count_visit(response: Response, site: &Site, name: &str, fields: &Fields) -> Response {
    let pairs = fields
        .all("cookie")
        .flat_map(|line| line.split(|octet| *octet == b';'));
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = std::str::from_utf8(pair).ok()?.trim().split_once('=')?;
        (key == name).then(|| value.parse::<u32>().ok())?
    });
    let visits = values.next().unwrap_or(0).saturating_add(1);
    let secure = if site.is_tls { "; Secure" } else { "" };
    let cookie =
        format!("{name}={visits}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{secure}");
    response.with("Set-Cookie", &cookie)
}

fn partial(page: &Arc<Representation>, parts: &[Range<u64>]) -> Response {
    let mut response = Response::empty(206);
    let mut outgoing = Outgoing::default();
    let length = if let [part] = parts {
        response.fields.extend_from_slice(&page.kind);
        let content_range = range::content_range(part, page.size);
        response = response.with("Content-Range", &content_range);
        outgoing.push_file(Arc::clone(page), part.clone());
        part.end - part.start
    } else {
        let boundary = format!("{:016x}", net::random());
        let media_type = format!("multipart/byteranges; boundary={boundary}");
        response = response.with("Content-Type", &media_type);
        let mut length = 0;
        for part in parts {
            let head = format!(
                "\r\n--{boundary}\r\n{}Content-Range: {}\r\n\r\n",
                String::from_utf8_lossy(&page.kind),
                range::content_range(part, page.size)
            );
            length += head.len() as u64 + part.end - part.start;
            outgoing.push_octets(head.into());
            outgoing.push_file(Arc::clone(page), part.clone());
        }
        let end = format!("\r\n--{boundary}--\r\n");
        length += end.len() as u64;
        outgoing.push_octets(end.into());
        length
    };
    response.fields.extend_from_slice(&page.validators);
    response.body = Body::Parts(outgoing);
    response.with("Content-Length", &length.to_string())
}

fn list(fields: &Fields, folder: Path, query: Option<&[u8]>) -> Answer {
    let offered = ["text/html", "application/json", "text/plain"];
    let format = match negotiate::media_type(fields, &offered) {
        "application/json" => Format::Json,
        "text/plain" => Format::Text,
        _ => Format::Html,
    };
    let order = Order::of_query(query.unwrap_or_default());
    Answer::Later(Box::new(move |site| {
        let path = folder.folder();
        let (entries, order) = match folder::read(site, folder.relative(), order) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let detail = "Too many large folders are being listed; try again.";
                return Some(Response::error(503, detail).with("Retry-After", "2"));
            }
            Err(_) => return Some(Response::error(403, "The folder cannot be read.")),
        };
        let listing = Listing::new(path, format, order);
        let media_type = listing::content_type(format);
        let mut response = Response::octets(200, media_type, Vec::new())
            .with("Cache-Control", "no-cache")
            .with("Vary", "Accept")
            .with(
                "Content-Security-Policy",
                listing::content_security_policy(),
            );
        response.body = Entries::new(entries, listing).into_body();
        Some(response)
    }))
}
