//! What a request is for: a resource of some origin, a tunnel, or the proxy itself.

use std::borrow::Cow;

use fluent_uri::{Uri, UriRef};

use crate::http::Refusal;
use crate::http::head::Fields;
use crate::http::request::{Authority, Request, Target as RequestTarget, parse_authority};
use crate::web;

/// Answered by the proxy itself when it is asked for as a proxy.
pub(super) const OWN_HOST: &str = "nsh.proxy";
pub(super) const OWN_PATHS: &str = "/-/";
const HTTP_PORT: u16 = 80;

/// How the request named its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `GET http://example.com/path`, as browsers that know of the proxy do.
    Absolute,
    /// `GET /example.com/path`, for those that do not.
    Path,
    /// `GET /path`, of the one site behind a reverse proxy.
    Reverse,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) host: Cow<'a, str>,
    pub(super) port: u16,
    /// With the query, as it came (RFC 9110 section 7.7).
    pub(super) path: Cow<'a, [u8]>,
    pub(super) form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    Resource(Target<'a>),
    Tunnel {
        host: String,
        port: u16,
    },
    /// One of the proxy's own pages, by its path with query.
    Own(Cow<'a, [u8]>),
}

/// The one site that a reverse proxy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) host: String,
    pub(super) port: u16,
}

const fn refused(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

pub(super) fn interpret<'a>(
    request: &Request<'a>,
    reverse: Option<&'a Site>,
) -> Result<Purpose<'a>, Refusal> {
    match request.target {
        RequestTarget::Authority => tunnel(request),
        RequestTarget::Absolute { scheme, path, .. } => {
            if !scheme.eq_ignore_ascii_case(b"http") {
                return Err(refused(
                    400,
                    "https is reached by a CONNECT tunnel, which leaves it encrypted end to end",
                ));
            }
            let authority = request.authority.ok_or(refused(400, "no host"))?;
            let host = host_of(&authority);
            let path = with_query(request, path);
            if host == OWN_HOST {
                return Ok(Purpose::Own(path));
            }
            // Whatever name its clients have for it, a reverse proxy leads to one site only.
            if let Some(site) = reverse {
                return Ok(Purpose::Resource(site.resource(path)));
            }
            Ok(Purpose::Resource(Target {
                host: host.into(),
                port: authority.port.unwrap_or(HTTP_PORT),
                path,
                form: Form::Absolute,
            }))
        }
        RequestTarget::Asterisk => match reverse {
            Some(site) => Ok(Purpose::Resource(site.resource(Cow::Borrowed(b"*")))),
            None => Ok(Purpose::Own(Cow::Borrowed(b"*"))),
        },
        RequestTarget::Origin { path, .. } => match reverse {
            Some(site) if !path.starts_with(OWN_PATHS.as_bytes()) => Ok(Purpose::Resource(
                site.resource(Cow::Borrowed(request.head.target)),
            )),
            Some(_) => Ok(Purpose::Own(Cow::Borrowed(request.head.target))),
            None => path_form(request, path),
        },
    }
}

impl Site {
    fn resource<'a>(&'a self, path: Cow<'a, [u8]>) -> Target<'a> {
        Target {
            host: Cow::Borrowed(&self.host),
            port: self.port,
            path,
            form: Form::Reverse,
        }
    }
}

fn tunnel<'a>(request: &Request<'a>) -> Result<Purpose<'a>, Refusal> {
    match request.authority {
        Some(authority) => Ok(Purpose::Tunnel {
            host: host_of(&authority),
            port: authority.port.unwrap_or_default(),
        }),
        None => Err(refused(400, "CONNECT wants host:port")),
    }
}

/// Whether it names a site at the beginning of its path.
pub(super) fn is_path_form(request: &Request) -> bool {
    let RequestTarget::Origin { path, .. } = request.target else {
        return false;
    };
    path != b"/" && !path.starts_with(OWN_PATHS.as_bytes()) && is_site(first_segment(path))
}

fn first_segment(path: &[u8]) -> &[u8] {
    let named = path.get(1..).unwrap_or_default();
    let end = named.iter().position(|octet| *octet == b'/');
    &named[..end.unwrap_or(named.len())]
}

/// `/example.com/path`. All sites share one origin in the browser that way, so this is fenced:
/// see [`fence`].
fn path_form<'a>(request: &Request<'a>, path: &'a [u8]) -> Result<Purpose<'a>, Refusal> {
    if !is_path_form(request) {
        return Ok(Purpose::Own(Cow::Borrowed(request.head.target)));
    }
    let host = first_segment(path);
    let authority = parse_authority(host)?;
    let rest = &request.head.target[1 + host.len()..];
    let path = match rest {
        [b'/', ..] => Cow::Borrowed(rest),
        _ => Cow::Owned([b"/", rest].concat()),
    };
    Ok(Purpose::Resource(Target {
        host: host_of(&authority).into(),
        port: authority.port.unwrap_or(HTTP_PORT),
        path,
        form: Form::Path,
    }))
}

/// Own pages beside `/` and `/-/...` are files at the top.
fn is_site(host: &[u8]) -> bool {
    let is_own_file = matches!(
        host,
        b"proxy.pac" | b"wpad.dat" | b"favicon.ico" | b"robots.txt"
    );
    !is_own_file && (host.contains(&b'.') || host.contains(&b':') || host == b"localhost")
}

/// Whether a request in path form may be answered: no other page may have caused it, and nobody
/// may have led the browser here by a name of his own.
pub(super) fn fence(request: &Request) -> Result<(), Refusal> {
    is_meant_for_us(request)?;
    let fields = &request.head.fields;
    let site = fields.first("sec-fetch-site");
    let is_foreign = matches!(site, Some(b"cross-site" | b"same-site"));
    if is_foreign && fields.first("sec-fetch-dest") != Some(b"document") {
        return Err(refused(403, "another site's page asks for this"));
    }
    Ok(())
}

/// What is asked of the proxy itself must name it as its own machine does.
pub(super) fn is_meant_for_us(request: &Request) -> Result<(), Refusal> {
    let is_own = request
        .authority
        .is_none_or(|authority| is_address(authority.host) || web::is_this_machine(authority.host));
    match is_own {
        true => Ok(()),
        false => Err(refused(421, "this is not the server of that name")),
    }
}

/// Nobody can give an address another meaning, as he can with a name of his own.
fn is_address(host: &[u8]) -> bool {
    let host = String::from_utf8_lossy(host);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok()
}

/// A change may only be asked for by the proxy's own pages, or by no page at all.
pub(super) fn is_own_page(fields: &Fields, authority: Option<Authority>) -> bool {
    let site = fields.first("sec-fetch-site");
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return false;
    }
    let Some(origin) = fields.first("origin") else {
        return true;
    };
    let named = origin.strip_prefix(b"http://").map(parse_authority);
    matches!((named, authority), (Some(Ok(named)), Some(own)) if named == own)
}

fn with_query<'a>(request: &Request<'a>, path: &'a [u8]) -> Cow<'a, [u8]> {
    match request.target {
        RequestTarget::Absolute {
            query: Some(query), ..
        } => Cow::Owned([path, b"?", query].concat()),
        // RFC 9112 section 3.2.4: without a path, the server as a whole is meant.
        _ if request.head.method == b"OPTIONS"
            && !request.head.target.ends_with(b"/")
            && path == b"/" =>
        {
            Cow::Borrowed(b"*")
        }
        _ => Cow::Borrowed(path),
    }
}

/// In lower case, an IPv6 address without its brackets.
fn host_of(authority: &Authority) -> String {
    let host = String::from_utf8_lossy(authority.host).to_ascii_lowercase();
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.to_owned(),
        None => host,
    }
}

impl Target<'_> {
    /// `example.com`, `example.com:8080`, `[::1]:8080`: as a field Host has it.
    pub(super) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// What the cache knows the resource by.
    pub(super) fn url(&self) -> String {
        let authority = self.authority();
        // A request target is ASCII.
        let path = str::from_utf8(&self.path).unwrap_or_default();
        ["http://", &authority, path].concat()
    }
}

/// A URL as the cache knows it, however it is written.
pub(super) fn normalized(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_at_checked("http://".len())?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(end);
    let parsed = parse_authority(named.as_bytes()).ok()?;
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let place = authority(&host_of(&parsed), parsed.port.unwrap_or(HTTP_PORT));
    let is_http = scheme.eq_ignore_ascii_case("http://");
    is_http.then(|| format!("http://{place}{slash}{path}"))
}

/// What a Location means for a URL, if it is a resource of the same origin: another site's answer
/// must not empty the cache of this one.
pub(super) fn same_site(url: &str, location: &[u8]) -> Option<String> {
    let base = Uri::parse(url).ok()?;
    let reference = UriRef::parse(std::str::from_utf8(location).ok()?).ok()?;
    let resolved = normalized(reference.resolve_against(&base).ok()?.as_str())?;
    let origin = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    (origin(&resolved) == origin(url)).then_some(resolved)
}

/// Of `--origin`.
pub(super) fn parse_site(text: &str) -> Result<Site, &'static str> {
    const INVALID: &str = "write http://HOST or http://HOST:PORT";
    let rest = text.strip_prefix("http://").ok_or(INVALID)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority = parse_authority(rest.as_bytes()).map_err(|_| INVALID)?;
    Ok(Site {
        host: host_of(&authority),
        port: authority.port.unwrap_or(HTTP_PORT),
    })
}

pub(super) fn authority(host: &str, port: u16) -> String {
    let host = match host.contains(':') {
        true => Cow::Owned(format!("[{host}]")),
        false => Cow::Borrowed(host),
    };
    match port {
        HTTP_PORT => host.into_owned(),
        port => format!("{host}:{port}"),
    }
}
