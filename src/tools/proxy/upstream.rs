//! Connections to origins, and to the proxy that is asked instead of them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::destination;
use super::failure::Failure;
use super::host::{Host, parse_host};
use super::shared::Shared;
use super::target::authority;
use crate::http::Refusal;
use crate::http::caching::cache_status::ErrorType;
use crate::http::head::{Scan, parse_response};
use crate::http::request::parse_authority;
use crate::net;
use crate::net::dial::dial;
use crate::net::names::Names;
use crate::net::peer::Peer;
use crate::wire::socks5;

/// Servers close idle connections after 5 to 75 seconds.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_PER_ROUTE_MAX: usize = 128;
const IDLE_IN_ALL_MAX: usize = 1024;
const INTERIM_MAX: usize = 16;
/// A parent proxy's answer to CONNECT.
const PARENT_HEAD_OCTETS_MAX: usize = 16 << 10;

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

/// A connection that requests can go over.
pub(super) struct Origin {
    pub(super) peer: Peer,
    pub(super) route: Route,
    /// What came and was not taken.
    pub(super) buffer: Vec<u8>,
    /// It has carried a request before, so that the other side may just be closing it.
    pub(super) is_reused: bool,
    /// Its origin takes whoever uses it for one client, as NTLM has it (RFC 4559): it is for that
    /// client only.
    pub(super) is_personal: bool,
}

/// Who wants to go there: what one client may reach another may not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) is_loopback: bool,
    pub(super) is_path_form: bool,
}

pub(super) struct Upstream {
    idle: Mutex<HashMap<Route, Vec<(Origin, Instant)>>>,
    pub(super) names: Names,
    pub(super) parent: Option<Parent>,
}

impl Upstream {
    pub(super) fn new(parent: Option<Parent>) -> Upstream {
        Upstream {
            idle: Mutex::default(),
            names: Names::new(net::names::Limits::default()),
            parent,
        }
    }

    /// Where a plain request for this resource is sent.
    pub(super) fn route(&self, host: &str, port: u16) -> Route {
        match &self.parent {
            Some(Parent::Http(parent)) => parent.route.clone(),
            Some(Parent::Socks5(_)) | None => Route {
                host: host.to_owned(),
                port,
            },
        }
    }

    /// A connection that was kept.
    pub(super) fn take(&self, route: &Route) -> Option<Origin> {
        let mut idle = self.idle();
        let kept = idle.get_mut(route)?;
        while let Some((origin, _)) = kept.pop() {
            if origin.peer.is_quiet() {
                return Some(origin);
            }
        }
        None
    }

    pub(super) fn keep(&self, mut origin: Origin, now: Instant) {
        if !origin.buffer.is_empty() || origin.is_personal {
            return;
        }
        origin.buffer = Vec::new();
        let mut idle = self.idle();
        if idle.values().map(Vec::len).sum::<usize>() < IDLE_IN_ALL_MAX {
            let kept = idle.entry(origin.route.clone()).or_default();
            if kept.len() < IDLE_PER_ROUTE_MAX {
                kept.push((origin, now));
            }
        }
    }

    pub(super) fn forget_old(&self, now: Instant) {
        self.idle().retain(|_, kept| {
            kept.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE_MAX);
            !kept.is_empty()
        });
    }

    pub(super) fn count_idle(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Route, Vec<(Origin, Instant)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new connection for requests.
pub(super) fn connect(
    shared: &Shared,
    host: &str,
    port: u16,
    visitor: Visitor,
    deadline: Instant,
) -> Result<Origin, Failure> {
    let route = shared.upstream.route(host, port);
    let (peer, buffer) = match &shared.upstream.parent {
        Some(Parent::Http(parent)) => (parent.connect(shared, deadline)?, Vec::new()),
        Some(Parent::Socks5(parent)) => {
            check_named(shared, host, visitor)?;
            through_socks(shared, parent, host, port, deadline)?
        }
        None => (
            connect_directly(shared, host, port, visitor, deadline)?,
            Vec::new(),
        ),
    };
    shared.tally.count_connection();
    Ok(Origin {
        peer,
        route,
        buffer,
        is_reused: false,
        is_personal: false,
    })
}

/// A connection to the very end, for a tunnel; with what came behind a parent's answer.
pub(super) fn connect_through(
    shared: &Shared,
    host: &str,
    port: u16,
    visitor: Visitor,
    deadline: Instant,
) -> Result<(Peer, Vec<u8>), Failure> {
    let Some(Parent::Http(parent)) = &shared.upstream.parent else {
        let origin = connect(shared, host, port, visitor, deadline)?;
        return Ok((origin.peer, origin.buffer));
    };
    check_named(shared, host, visitor)?;
    let peer = parent.connect(shared, deadline)?;
    let place = with_port(host, port);
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some(authorization) = &parent.authorization {
        request += &format!("Proxy-Authorization: {authorization}\r\n");
    }
    request += "\r\n";
    let name = &parent.route.host;
    let failed = |error: net::Error| Failure::connection(name, parent.route.port, &error);
    let stall = shared.limits.stall;
    peer.send_all(request.as_bytes(), stall, &shared.cut)
        .map_err(failed)?;
    let mut buffer = Vec::new();
    for _ in 0..INTERIM_MAX {
        let status = read_parent_head(shared, parent, &peer, &mut buffer, deadline)?;
        match status {
            100..200 => {}
            200..300 => return Ok((peer, buffer)),
            _ => {
                let headline = format!("The parent proxy does not open a tunnel to {place}");
                let failure = Failure::denied(headline).with_status(502);
                return Err(failure.why(format!("It answers {status}.")));
            }
        }
    }
    Err(Failure::invalid(name, "there are too many interim answers"))
}

/// Takes a head off the front of what comes; its status.
fn read_parent_head(
    shared: &Shared,
    parent: &HttpParent,
    peer: &Peer,
    buffer: &mut Vec<u8>,
    deadline: Instant,
) -> Result<u16, Failure> {
    let Route { host, port } = &parent.route;
    let invalid =
        |refusal: Refusal| Failure::invalid(&format!("The parent proxy {host}"), refusal.why);
    let mut scan = Scan::default();
    let head = loop {
        if let Some(head) = scan.find(buffer, PARENT_HEAD_OCTETS_MAX).map_err(invalid)? {
            break head;
        }
        let received = peer.receive(buffer, PARENT_HEAD_OCTETS_MAX, deadline, &shared.cut);
        let received = received.map_err(|error| Failure::connection(host, *port, &error))?;
        if received == 0 {
            return Err(Failure::closed(host));
        }
    };
    let rest = buffer.split_off(head.end);
    let status = parse_response(&buffer[head.start..])
        .map_err(invalid)?
        .status;
    *buffer = rest;
    Ok(status)
}

pub(super) fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn connect_directly(
    shared: &Shared,
    host: &str,
    port: u16,
    visitor: Visitor,
    deadline: Instant,
) -> Result<Peer, Failure> {
    check_named(shared, host, visitor)?;
    let names = &shared.upstream.names;
    let resolved = names.resolve(host, port, deadline, &shared.cut);
    let addresses = resolved.map_err(|error| Failure::name(host, &error))?;
    // What is connected to is what was checked: a name that means something else a moment later
    // does not help (DNS rebinding).
    let mut refused = None;
    let mut permitted = Vec::new();
    for address in addresses {
        match shared.permits(address.ip(), visitor) {
            Ok(()) => permitted.push(address),
            Err(failure) => refused = Some(failure),
        }
    }
    if let (Some(failure), true) = (refused, permitted.is_empty()) {
        return Err(failure);
    }
    if permitted.iter().any(|address| shared.is_self(*address)) {
        return Err(looping(&authority(host, port)));
    }
    match dial(&permitted, deadline, &shared.cut) {
        Ok((stream, address)) => {
            Peer::connected(stream, address).map_err(|error| unusable(host, port, address, error))
        }
        Err(error) => {
            // Its addresses may have changed.
            names.invalidate(host);
            Err(Failure::connection(host, port, &error))
        }
    }
}

pub(super) fn looping(place: &str) -> Failure {
    Failure::new(
        ErrorType::ProxyLoopDetected,
        "The request leads back to this proxy",
    )
    .with_status(508)
    .why(format!("{place} is this proxy itself, or leads to it."))
}

fn unusable(host: &str, port: u16, address: SocketAddr, error: std::io::Error) -> Failure {
    let what = format!("cannot use the connection to {address}");
    Failure::connection(host, port, &net::Error::System { what, error })
}

/// Whether this visitor may have what comes from there, be it from the cache.
pub(super) fn check_destination(
    shared: &Shared,
    host: &str,
    port: u16,
    visitor: Visitor,
    deadline: Instant,
) -> Result<(), Failure> {
    check_named(shared, host, visitor)?;
    let rules = &shared.rules;
    let may_go_anywhere = rules.allow_private
        || rules.reverse.is_some()
        || (rules.is_bound_to_loopback && visitor.is_loopback && !visitor.is_path_form);
    if (may_go_anywhere && !rules.denied.has_networks()) || shared.upstream.parent.is_some() {
        return Ok(());
    }
    let resolved = shared
        .upstream
        .names
        .resolve(host, port, deadline, &shared.cut);
    let addresses = resolved.map_err(|error| Failure::name(host, &error))?;
    let mut refused = None;
    for address in addresses {
        match shared.permits(address.ip(), visitor) {
            Ok(()) => return Ok(()),
            Err(failure) => refused = Some(failure),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// What can be said of a host before its name is looked up.
fn check_named(shared: &Shared, host: &str, visitor: Visitor) -> Result<(), Failure> {
    let bracketed;
    let host = match host.contains(':') {
        true => {
            bracketed = format!("[{host}]");
            &bracketed
        }
        false => host,
    };
    if shared.rules.denied.denies_host(host) {
        return Err(Failure::denied(format!("{host} is denied here"))
            .why("The proxy was started with --deny for this host."));
    }
    match parse_host(host) {
        Ok(Host::Address(address)) => shared.permits(address, visitor),
        Ok(Host::Name(_)) => Ok(()),
        Err(error) => Err(Failure::new(
            ErrorType::HttpRequestError,
            format!("{host} is not a host"),
        )
        .with_status(400)
        .why(format!("{error}."))),
    }
}

impl Shared {
    pub(super) fn permits(&self, address: IpAddr, visitor: Visitor) -> Result<(), Failure> {
        let rules = &self.rules;
        if rules.denied.denies_address(address) {
            return Err(Failure::denied(format!("{address} is denied here"))
                .why("The proxy was started with --deny for this address."));
        }
        // A reverse proxy's site was named by whoever started it.
        if rules.reverse.is_some() {
            return Ok(());
        }
        destination::permitted(
            address.to_canonical(),
            visitor.is_loopback,
            visitor.is_path_form,
            rules.is_bound_to_loopback,
            rules.allow_private,
        )
        .map_err(|refused| {
            let headline = "This destination is not reached through the proxy";
            Failure::new(ErrorType::DestinationIpProhibited, headline)
                .with_status(403)
                .why(format!("{refused}."))
        })
    }
}

/// A proxy that is asked instead of the origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parent {
    Http(HttpParent),
    Socks5(SocksParent),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpParent {
    route: Route,
    pub(super) authorization: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocksParent {
    route: Route,
    credentials: Option<(String, String)>,
}

impl Parent {
    /// `http://[USER:PASSWORD@]HOST:PORT` or `socks5://...`.
    pub(super) fn parse(text: &str) -> Result<Parent, &'static str> {
        const INVALID: &str = "write http://HOST:PORT or socks5://HOST:PORT";
        let (scheme, rest) = text.split_once("://").ok_or(INVALID)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let parsed = parse_authority(place.as_bytes()).map_err(|_| INVALID)?;
        let host = String::from_utf8_lossy(parsed.host).to_ascii_lowercase();
        let host = host.trim_matches(['[', ']']).to_owned();
        let route = |port| Route {
            host,
            port: parsed.port.unwrap_or(port),
        };
        match scheme {
            "http" => Ok(Parent::Http(HttpParent {
                route: route(8080),
                authorization: credentials.map(|text| format!("Basic {}", STANDARD.encode(text))),
            })),
            "socks5" | "socks5h" => {
                let split = credentials.map(|text| text.split_once(':').ok_or(INVALID));
                let owned = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
                Ok(Parent::Socks5(SocksParent {
                    route: route(1080),
                    credentials: split.transpose()?.map(owned),
                }))
            }
            _ => Err(INVALID),
        }
    }
}

impl HttpParent {
    fn connect(&self, shared: &Shared, deadline: Instant) -> Result<Peer, Failure> {
        connect_parent(shared, &self.route, deadline)
    }
}

/// Whoever started the proxy has chosen its parent, so that it may be anywhere.
fn connect_parent(shared: &Shared, route: &Route, deadline: Instant) -> Result<Peer, Failure> {
    let Route { host, port } = route;
    let names = &shared.upstream.names;
    let resolved = names.resolve(host, *port, deadline, &shared.cut);
    let addresses = resolved.map_err(|error| Failure::name(host, &error))?;
    let dialled = dial(&addresses, deadline, &shared.cut);
    let (stream, address) = dialled.map_err(|error| {
        names.invalidate(host);
        Failure::connection(host, *port, &error)
    })?;
    Peer::connected(stream, address).map_err(|error| unusable(host, *port, address, error))
}

fn through_socks(
    shared: &Shared,
    parent: &SocksParent,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<(Peer, Vec<u8>), Failure> {
    let peer = connect_parent(shared, &parent.route, deadline)?;
    let place = authority(host, port);
    let failed = |error: socks5::Error| {
        Failure::new(
            ErrorType::DestinationUnavailable,
            format!("{place} cannot be reached through the SOCKS proxy"),
        )
        .with_status(502)
        .why(format!("{error}."))
    };
    let mut talk = Talk {
        peer: &peer,
        buffer: Vec::new(),
        deadline,
        shared,
        parent: &parent.route,
    };
    let has_credentials = parent.credentials.is_some();
    talk.send(&socks5::emit_greeting(has_credentials))?;
    let parse = |input: &[u8]| socks5::parse_method(input, has_credentials);
    let method = talk.read(parse, failed)?;
    if let (socks5::Method::UserPassword, Some((user, password))) = (method, &parent.credentials) {
        let message = socks5::emit_credentials(user, password).map_err(failed)?;
        talk.send(&message)?;
        let parse =
            |input: &[u8]| Ok(socks5::parse_credentials_reply(input)?.map(|octets| ((), octets)));
        talk.read(parse, failed)?;
    }
    let address = match host.parse::<IpAddr>() {
        Ok(address) => socks5::Address::Ip(address),
        Err(_) => socks5::Address::DomainName(host),
    };
    talk.send(&socks5::emit_connect(address, port).map_err(failed)?)?;
    let parse = |input: &[u8]| Ok(socks5::parse_reply(input)?.map(|octets| ((), octets)));
    talk.read(parse, failed)?;
    let beyond = talk.buffer;
    Ok((peer, beyond))
}

/// With a SOCKS server.
struct Talk<'a> {
    peer: &'a Peer,
    buffer: Vec<u8>,
    deadline: Instant,
    shared: &'a Shared,
    parent: &'a Route,
}

impl Talk<'_> {
    fn send(&self, octets: &[u8]) -> Result<(), Failure> {
        let sent = self
            .peer
            .send_all(octets, self.shared.limits.stall, &self.shared.cut);
        sent.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &net::Error) -> Failure {
        Failure::connection(&self.parent.host, self.parent.port, error)
    }

    fn read<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, socks5::Error>,
        failed: impl Fn(socks5::Error) -> Failure,
    ) -> Result<T, Failure> {
        const MESSAGE_OCTETS_MAX: usize = 512;
        loop {
            if let Some((value, octets)) = parse(&self.buffer).map_err(&failed)? {
                self.buffer.drain(..octets);
                return Ok(value);
            }
            let received = self.peer.receive(
                &mut self.buffer,
                MESSAGE_OCTETS_MAX,
                self.deadline,
                &self.shared.cut,
            );
            if received.map_err(|error| self.broken(&error))? == 0 {
                return Err(Failure::closed(&self.parent.host));
            }
        }
    }
}
