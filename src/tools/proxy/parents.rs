//! Proxies that are asked instead of the origins, by HTTP (RFC 9110 section 9.3.6) and SOCKS5.

use std::net::IpAddr;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::shared::Shared;
use super::target::authority;
use super::upstream::{Route, unusable, with_port};
use crate::http::Refusal;
use crate::http::caching::cache_status::ErrorType;
use crate::http::head::{Scan, parse_response};
use crate::http::request::parse_authority;
use crate::net;
use crate::net::dial::dial;
use crate::net::peer::Peer;
use crate::wire::socks5;

const INTERIM_MAX: usize = 16;
/// Of a parent's answer to CONNECT.
const HEAD_OCTETS_MAX: usize = 16 << 10;

/// A proxy that is asked instead of the origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parent {
    Http(HttpParent),
    Socks5(SocksParent),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpParent {
    pub(super) route: Route,
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
    /// A tunnel to the very end, with what came behind the parent's answer.
    pub(super) fn open_tunnel(
        &self,
        shared: &Shared,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(Peer, Vec<u8>), Failure> {
        let peer = self.connect(shared, deadline)?;
        let place = with_port(host, port);
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: {authorization}\r\n");
        }
        request += "\r\n";
        let name = &self.route.host;
        let failed = |error: net::Error| Failure::connection(name, self.route.port, &error);
        let stall = shared.limits.stall;
        peer.send_all(request.as_bytes(), stall, &shared.cut)
            .map_err(failed)?;
        let mut buffer = Vec::new();
        for _ in 0..INTERIM_MAX {
            let status = read_head(shared, self, &peer, &mut buffer, deadline)?;
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

    pub(super) fn connect(&self, shared: &Shared, deadline: Instant) -> Result<Peer, Failure> {
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

impl SocksParent {
    /// A connection to the very end, with what came behind the parent's answer.
    pub(super) fn reach(
        &self,
        shared: &Shared,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(Peer, Vec<u8>), Failure> {
        let peer = connect_parent(shared, &self.route, deadline)?;
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
            parent: &self.route,
        };
        let has_credentials = self.credentials.is_some();
        talk.send(&socks5::emit_greeting(has_credentials))?;
        let parse = |input: &[u8]| socks5::parse_method(input, has_credentials);
        let method = talk.read(parse, failed)?;
        if let (socks5::Method::UserPassword, Some((user, password))) = (method, &self.credentials)
        {
            let message = socks5::emit_credentials(user, password).map_err(failed)?;
            talk.send(&message)?;
            let parse = |input: &[u8]| {
                Ok(socks5::parse_credentials_reply(input)?.map(|octets| ((), octets)))
            };
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

/// Takes a head off the front of what comes; its status.
fn read_head(
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
        if let Some(head) = scan.find(buffer, HEAD_OCTETS_MAX).map_err(invalid)? {
            break head;
        }
        let received = peer.receive(buffer, HEAD_OCTETS_MAX, deadline, &shared.cut);
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
