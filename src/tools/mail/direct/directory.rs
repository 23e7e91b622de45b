//! What DNS has of the exchangers of a domain.
//!
//! Left out: TLSA records of a domain without MX records that is an alias. They are asked for at
//! the name it leads to, and not at its own as well (RFC 7672 section 2.2.2).

use std::net::SocketAddr;
use std::time::Duration;

use super::super::addresses::Addresses;
use super::super::arguments::Arguments;
use super::super::courier::SMTP_PORT;
use super::super::dane::{self, Policy};
use super::super::exchangers::{Error, Exchanger, Exchangers};
use super::super::side_by_side::side_by_side;
use crate::cancel::{Cancel, Cancelled};
use crate::net::dns::Resolver;
use crate::net::dns::outcome::Outcome;
use crate::net::random;
use crate::net::resolve::{Family, resolve};
use crate::tool::{self, Context};
use crate::wire::dns::name::Name;
use crate::wire::dns::record::Kind;
use crate::{clock, net};

const DNS_PORT: u16 = 53;

pub(crate) struct Directory<'a> {
    resolver: Resolver,
    cancel: &'a Cancel,
    /// For each name and type.
    timeout: Duration,
    port: u16,
}

/// An exchanger, or an address literal in place of one.
pub(crate) struct Host {
    /// Not empty.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How many there are beside those.
    pub(crate) left_out: usize,
    pub(crate) policy: Policy,
    /// Told to the server in its handshake, and looked for in its certificate. It is the one that
    /// has the TLSA records (RFC 7672 section 3.2), or else the exchanger's.
    pub(crate) tls_name: String,
    /// One of which is in a certificate by an authority that DNS has (RFC 7672 section 3.2.2): of
    /// the exchanger, and of the domain that it is for.
    pub(crate) names: Vec<String>,
    /// What the administrator should know; it does not stop the mail.
    pub(crate) note: Option<String>,
}

impl<'a> Directory<'a> {
    pub(crate) fn open(
        context: &'a Context,
        arguments: &Arguments,
        timeout: Duration,
    ) -> Result<Directory<'a>, tool::Error> {
        let cancel = &context.cancel;
        let resolver = match &arguments.dns {
            Some(server) => Resolver::at(name_server(server, cancel)?),
            None => Resolver::from_system(),
        };
        Ok(Directory {
            resolver,
            cancel,
            timeout,
            port: arguments.mx_port.unwrap_or(SMTP_PORT),
        })
    }

    pub(crate) fn exchangers(&self, domain: &Name) -> Result<Result<Exchangers, Error>, Cancelled> {
        let mx = self.lookup(domain, Kind::Mx)?;
        Ok(Exchangers::plan(domain, &mx, random))
    }

    /// `exchanger` is one of the domain's.
    pub(crate) fn host(
        &self,
        domain: &Name,
        exchangers: &Exchangers,
        exchanger: &Exchanger,
    ) -> Result<Result<Host, Error>, Cancelled> {
        let name = &exchanger.name;
        let addresses = match self.addresses(name)? {
            Ok(addresses) => addresses,
            Err(error) => return Ok(Err(error)),
        };
        let (policy, base) = match exchangers.is_authentic {
            true => self.policy(name, &addresses)?,
            false => (Policy::None, name),
        };
        let list = addresses.list.iter();
        Ok(Ok(Host {
            addresses: list.map(|ip| SocketAddr::new(*ip, self.port)).collect(),
            left_out: addresses.left_out,
            policy,
            tls_name: base.to_string(),
            names: [base, name, domain, &exchangers.domain]
                .map(Name::to_string)
                .to_vec(),
            note: note(name, &addresses),
        }))
    }

    /// Both families are asked for at the same time, so that a server that is slow with one does
    /// not hold up the other for longer than for itself.
    fn addresses(&self, name: &Name) -> Result<Result<Addresses, Error>, Cancelled> {
        if let Some(addresses) = Addresses::in_place_of_name(name) {
            return Ok(Ok(addresses));
        }
        let kinds = [Kind::Aaaa, Kind::A];
        let lookups = side_by_side(&kinds, |kind| self.lookup(name, *kind));
        let lookups: Vec<Outcome> = lookups.into_iter().collect::<Result<_, _>>()?;
        Ok(Addresses::of(name, &lookups))
    }

    /// With the TLSA base domain (RFC 7672 section 2.2.2): of an alias, the name it leads to comes
    /// before its own, which counts also when only the alias is signed.
    fn policy<'n>(
        &self,
        exchanger: &'n Name,
        addresses: &'n Addresses,
    ) -> Result<(Policy, &'n Name), Cancelled> {
        let bases = match (&addresses.alias_of, addresses.is_authentic) {
            (None, false) => vec![],
            (None, true) => vec![exchanger],
            (Some(name), true) => vec![name, exchanger],
            (Some(_), false) => match self.lookup(exchanger, Kind::Cname)? {
                Outcome::Found(found) if found.is_authentic => vec![exchanger],
                Outcome::Failed(failure) => return Ok((Policy::Unknown(failure), exchanger)),
                Outcome::Found(_) | Outcome::NoData { .. } | Outcome::NoSuchName(_) => vec![],
            },
        };
        for base in bases {
            // A name that is too long for a prefix has no such records.
            let Ok(tlsa_name) = dane::tlsa_name(base, self.port) else {
                continue;
            };
            match Policy::of(&self.lookup(&tlsa_name, Kind::Tlsa)?) {
                Policy::None => {}
                policy => return Ok((policy, base)),
            }
        }
        Ok((Policy::None, exchanger))
    }

    pub(crate) fn literal(&self, address: std::net::IpAddr) -> Host {
        Host {
            addresses: vec![SocketAddr::new(address, self.port)],
            left_out: 0,
            policy: Policy::None,
            tls_name: address.to_string(),
            names: Vec::new(),
            note: None,
        }
    }

    fn lookup(&self, name: &Name, kind: Kind) -> Result<Outcome, Cancelled> {
        let deadline = clock::now() + self.timeout;
        self.resolver.lookup(name, kind, self.cancel, deadline)
    }
}

fn note(exchanger: &Name, addresses: &Addresses) -> Option<String> {
    match &addresses.alias_of {
        Some(name) => Some(format!(
            "the exchanger {exchanger} is an alias of {name}, which RFC 2181 forbids"
        )),
        None if Addresses::in_place_of_name(exchanger).is_some() => Some(format!(
            "the MX record has the address {exchanger} where RFC 5321 wants a name"
        )),
        None => None,
    }
}

fn name_server(text: &str, cancel: &Cancel) -> Result<SocketAddr, tool::Error> {
    let wrong = || tool::Error::Usage(format!("--dns '{text}' is not HOST or HOST:PORT"));
    let (host, port) = net::split_port(text).ok_or_else(wrong)?;
    let addresses = resolve(host, port.unwrap_or(DNS_PORT), Family::Any, cancel)?;
    addresses.first().copied().ok_or_else(wrong)
}
