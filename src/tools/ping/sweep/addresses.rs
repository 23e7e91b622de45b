//! All addresses of a search, by their place in it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::tool::{Context, Error};
use crate::tools::ping::Arguments;
use crate::tools::ping::targets::{Target, address_at, confirm, resolve_all, size};

/// The addresses by place: ranges and single ones, one behind the other.
pub(super) struct Addresses {
    parts: Vec<Part>,
    single: HashMap<IpAddr, u32>,
    pub(super) count: u64,
    /// Some names have no address.
    pub(super) has_unknown: bool,
}

struct Part {
    first: u64,
    range: IpNet,
    /// As it was given, for a single one.
    name: Option<String>,
    /// The link of a link-local address.
    scope_id: u32,
}

impl Addresses {
    pub(super) fn new(
        context: &Context,
        arguments: &Arguments,
        targets: &[Target],
    ) -> Result<Self, Error> {
        let ranges = targets.iter().map(|target| match target {
            Target::Range(range) => size(range),
            Target::Host(_) => 1,
        });
        let total = ranges.fold(0_u64, u64::saturating_add);
        confirm(total, arguments.large)?;
        let mut addresses = Addresses {
            parts: Vec::new(),
            single: HashMap::new(),
            count: 0,
            has_unknown: false,
        };
        let names = targets.iter().filter_map(|target| match target {
            Target::Host(host) => Some(host.clone()),
            Target::Range(_) => None,
        });
        let names: Vec<String> = names.collect();
        let mut resolved = resolve_all(context, arguments, &names).into_iter();
        for target in targets {
            let (range, name, scope_id) = match target {
                Target::Range(range) => (*range, None, 0),
                Target::Host(host) => match resolved.next().expect("one for each name") {
                    Ok(address) => {
                        let range = IpNet::from(address.ip());
                        (range, Some(host.clone()), scope_of(&address))
                    }
                    Err(Error::Unavailable(why)) => {
                        context.out.warn(format!("ping: {why}"));
                        addresses.has_unknown = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let first = addresses.count;
            if name.is_some() {
                addresses.single.insert(range.addr(), first as u32);
            }
            addresses.count += size(&range);
            addresses.parts.push(Part {
                first,
                range,
                name,
                scope_id,
            });
        }
        match addresses.count {
            0 => Err(Error::Unavailable(
                "none of the names has an address".to_owned(),
            )),
            _ => Ok(addresses),
        }
    }

    fn part(&self, index: u32) -> &Part {
        let index = u64::from(index);
        let after = self.parts.partition_point(|part| part.first <= index);
        &self.parts[after - 1]
    }

    pub(super) fn at(&self, index: u32) -> IpAddr {
        let part = self.part(index);
        address_at(&part.range, u64::from(index) - part.first)
    }

    pub(super) fn socket_address(&self, index: u32) -> SocketAddr {
        let mut address = SocketAddr::new(self.at(index), 0);
        if let SocketAddr::V6(address) = &mut address {
            address.set_scope_id(self.part(index).scope_id);
        }
        address
    }

    /// As it was given; of a range the address.
    pub(super) fn given(&self, index: u32) -> String {
        let name = self.part(index).name.clone();
        name.unwrap_or_else(|| self.at(index).to_string())
    }

    pub(super) fn name(&self, index: u32) -> String {
        let address = self.at(index);
        match &self.part(index).name {
            Some(name) if *name != address.to_string() => format!("{name} ({address})"),
            _ => address.to_string(),
        }
    }

    pub(super) fn place_of(&self, address: IpAddr) -> Option<u32> {
        if let Some(index) = self.single.get(&address) {
            return Some(*index);
        }
        let part = self
            .parts
            .iter()
            .find(|part| part.range.contains(&address))?;
        let offset = match (address, part.range) {
            (IpAddr::V4(address), IpNet::V4(range)) => {
                u64::from(u32::from(address) - u32::from(range.network()))
            }
            (IpAddr::V6(address), IpNet::V6(range)) => {
                u64::try_from(u128::from(address) - u128::from(range.network())).ok()?
            }
            _ => return None,
        };
        u32::try_from(part.first + offset).ok()
    }

    /// Whether it was given by itself, not as one of a range.
    pub(super) fn is_single(&self, index: u32) -> bool {
        self.part(index).name.is_some()
    }

    pub(super) fn has_family(&self, is_v4: bool) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.range.addr().is_ipv4() == is_v4)
    }
}

fn scope_of(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}
