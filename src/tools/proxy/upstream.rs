//! Connections to origins, and to the proxy that is asked instead of them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::destination;
use super::failure::Failure;
use super::host::{Host, parse_host};
use super::parents::Parent;
use super::shared::Shared;
use super::target::authority;
use crate::http::caching::cache_status::ErrorType;
use crate::net;
use crate::net::dial::dial;
use crate::net::names::Names;
use crate::net::peer::Peer;

/// Servers close idle connections after 5 to 75 seconds.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_PER_ROUTE_MAX: usize = 128;
const IDLE_IN_ALL_MAX: usize = 1024;

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
    /// How many they are.
    kept: AtomicUsize,
    pub(super) names: Names,
    pub(super) parent: Option<Parent>,
}

impl Upstream {
    pub(super) fn new(parent: Option<Parent>) -> Upstream {
        Upstream {
            idle: Mutex::default(),
            kept: AtomicUsize::new(0),
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
        loop {
            let (origin, _) = self.idle().get_mut(route)?.pop()?;
            self.kept.fetch_sub(1, Ordering::Relaxed);
            if origin.peer.is_quiet() {
                return Some(origin);
            }
        }
    }

    pub(super) fn keep(&self, mut origin: Origin, now: Instant) {
        if !origin.buffer.is_empty() || origin.is_personal {
            return;
        }
        origin.buffer = Vec::new();
        if self.kept.load(Ordering::Relaxed) >= IDLE_IN_ALL_MAX {
            return;
        }
        let mut idle = self.idle();
        let kept = idle.entry(origin.route.clone()).or_default();
        if kept.len() < IDLE_PER_ROUTE_MAX {
            kept.push((origin, now));
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn forget_old(&self, now: Instant) {
        let mut forgotten = Vec::new();
        self.idle().retain(|_, kept| {
            let is_old =
                |kept: &mut (Origin, Instant)| now.saturating_duration_since(kept.1) >= IDLE_MAX;
            forgotten.extend(kept.extract_if(.., is_old));
            !kept.is_empty()
        });
        self.kept.fetch_sub(forgotten.len(), Ordering::Relaxed);
    }

    pub(super) fn count_idle(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
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
            parent.reach(shared, host, port, deadline)?
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
    parent.open_tunnel(shared, host, port, deadline)
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

pub(super) fn unusable(
    host: &str,
    port: u16,
    address: SocketAddr,
    error: std::io::Error,
) -> Failure {
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
