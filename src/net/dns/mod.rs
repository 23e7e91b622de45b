//! Asking name servers what they know of a name (RFC 1035; RFC 7766 over TCP, RFC 6891).
//!
//! Left out: caching, which the servers do, and validating, which some of them do.

mod client;
pub(crate) mod outcome;
mod resolv_conf;

use std::net::SocketAddr;
use std::time::Instant;

use nix::net::if_::if_nametoindex;

use self::client::{over_tcp, over_udp};
use self::outcome::{Failure, Outcome};
use self::resolv_conf::ResolvConf;
use super::random;
use crate::cancel::{Cancel, Cancelled};
use crate::clock;
use crate::wire::dns::name::Name;
use crate::wire::dns::record::Kind;
use crate::wire::dns::{EDNS_OCTETS, Edns, Query};

const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(crate) struct Resolver {
    conf: ResolvConf,
}

impl Resolver {
    /// The servers of the system; this machine's own where none are named.
    pub(crate) fn from_system() -> Resolver {
        let octets = std::fs::read(RESOLV_CONF).unwrap_or_default();
        let text = String::from_utf8_lossy(&octets);
        let conf = ResolvConf::parse(&text, |zone| if_nametoindex(zone).ok());
        Resolver { conf }
    }

    pub(crate) fn at(server: SocketAddr) -> Resolver {
        let conf = ResolvConf {
            servers: vec![server],
            ..ResolvConf::default()
        };
        Resolver { conf }
    }

    /// Asks one server after the other until one knows. Who did not answer is asked again.
    pub(crate) fn lookup(
        &self,
        name: &Name,
        kind: Kind,
        cancel: &Cancel,
        deadline: Instant,
    ) -> Result<Outcome, Cancelled> {
        let mut servers = self.conf.servers.clone();
        let mut told = None;
        for _ in 0..self.conf.attempts {
            let mut silent = Vec::new();
            for server in servers {
                if clock::now() >= deadline {
                    break;
                }
                let outcome = self.ask(server, name, kind, cancel, deadline)?;
                match outcome.failure() {
                    // Aliases are the same everywhere.
                    None | Some(Failure::Aliases) => return Ok(outcome),
                    Some(Failure::Unanswered) => silent.push(server),
                    Some(failure) => {
                        told.get_or_insert(failure);
                    }
                }
            }
            servers = silent;
        }
        Ok(Outcome::Failed(told.unwrap_or(Failure::Unanswered)))
    }

    fn ask(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: Kind,
        cancel: &Cancel,
        deadline: Instant,
    ) -> Result<Outcome, Cancelled> {
        let is_trusted = self.is_trusted(server);
        let mut is_tcp = self.conf.use_vc;
        let mut edns = Some(Edns {
            octets: EDNS_OCTETS,
            dnssec_ok: false,
        });
        let mut silence = Failure::Unanswered;
        loop {
            let query = Query {
                id: random() as u16,
                name: name.clone(),
                kind,
                edns,
                authentic_data: is_trusted,
            };
            let deadline = deadline.min(clock::now() + self.conf.timeout);
            let response = match is_tcp {
                true => over_tcp(server, &query, deadline, cancel)?,
                false => over_udp(server, &query, deadline, cancel)?,
            };
            let Some(mut response) = response else {
                return Ok(Outcome::Failed(silence));
            };
            response.authentic_data &= is_trusted;
            let outcome = Outcome::of(&query, &response);
            match outcome.failure() {
                Some(Failure::NotUnderstood(_)) if edns.is_some() => edns = None,
                Some(failure @ Failure::Truncated) if !is_tcp => {
                    is_tcp = true;
                    silence = failure;
                }
                Some(_) | None => return Ok(outcome),
            }
        }
    }

    /// Whether its word on what is authentic counts: nobody can change it on the way within this
    /// machine, and elsewhere the administrator has to know (`trust-ad` of resolv.conf(5)).
    fn is_trusted(&self, server: SocketAddr) -> bool {
        self.conf.trust_ad || server.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests;
