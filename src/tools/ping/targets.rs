//! Who is asked: names and addresses, ranges of addresses, and lists of them in files.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Arguments;
use crate::cause;
use crate::tool::{Context, Error};

/// Hosts that are followed one by one.
const HOSTS_MAX: usize = 4096;
/// Addresses that are asked without `--large`: a /16, or an IPv6 /112.
const ADDRESSES_MAX: u64 = 1 << 16;
/// Addresses that are asked at all: a /8.
const LARGE_ADDRESSES_MAX: u64 = 1 << 24;
/// A list is not this long.
const LIST_OCTETS_MAX: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A name or an address.
    Host(String),
    Range(IpNet),
}

pub(super) fn read(context: &Context, arguments: &Arguments) -> Result<Vec<Target>, Error> {
    let mut words = arguments.hosts.clone();
    for path in &arguments.file {
        words.extend(read_list(context, path)?);
    }
    if words.is_empty() {
        return Err(Error::Usage(
            "whom? name a HOST, a range like 10.0.0.0/24, or a list with --file".to_owned(),
        ));
    }
    words.iter().map(|word| parse(word)).collect()
}

fn parse(word: &str) -> Result<Target, Error> {
    if !word.contains('/') {
        return Ok(Target::Host(word.to_owned()));
    }
    let net: IpNet = word.parse().map_err(|_| {
        Error::Usage(format!(
            "'{word}' is no range of addresses; write one as 10.0.0.0/24 or fd00::/120"
        ))
    })?;
    Ok(Target::Range(net.trunc()))
}

/// One name, address or range a line; `#` begins a comment.
fn read_list(context: &Context, path: &Path) -> Result<Vec<String>, Error> {
    let cannot = |why: String| Error::Usage(format!("cannot read '{}': {why}", path.display()));
    if path == Path::new("-") {
        let mut words = Vec::new();
        while let Some(line) =
            context
                .input
                .ask(&context.cancel, "", false, "name a file with --file")?
        {
            words.extend(words_of(&line));
            if words.len() as u64 > LARGE_ADDRESSES_MAX {
                return Err(cannot("it is too large for a list".to_owned()));
            }
        }
        return Ok(words);
    }
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(LIST_OCTETS_MAX + 1).read_to_string(&mut text));
    let octets = read.map_err(|error| cannot(cause::of(&error)))?;
    if octets as u64 > LIST_OCTETS_MAX {
        return Err(cannot("it is too large for a list".to_owned()));
    }
    Ok(text.lines().flat_map(words_of).collect())
}

fn words_of(line: &str) -> Vec<String> {
    let text = line.split('#').next().unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// How many addresses a range has.
pub(super) fn size(range: &IpNet) -> u64 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    1_u64.checked_shl(bits).unwrap_or(u64::MAX)
}

/// The address at a place of a range.
pub(super) fn address_at(range: &IpNet, index: u64) -> IpAddr {
    match range {
        IpNet::V4(range) => {
            let first = u32::from(Ipv4Net::network(range));
            IpAddr::V4((first + index as u32).into())
        }
        IpNet::V6(range) => {
            let first = u128::from(Ipv6Net::network(range));
            IpAddr::V6((first + u128::from(index)).into())
        }
    }
}

/// The hosts by name or address; ranges become single addresses.
pub(super) fn hosts(targets: &[Target]) -> Result<Vec<String>, Error> {
    let mut hosts = Vec::new();
    for target in targets {
        match target {
            Target::Host(host) => hosts.push(host.clone()),
            Target::Range(range) if size(range) + hosts.len() as u64 <= HOSTS_MAX as u64 => {
                hosts.extend((0..size(range)).map(|at| address_at(range, at).to_string()));
            }
            Target::Range(range) => return Err(too_many(size(range))),
        }
    }
    match hosts.len() > HOSTS_MAX {
        true => Err(too_many(hosts.len() as u64)),
        false => Ok(hosts),
    }
}

/// The addresses of hosts, looked up side by side, so that a name server that is dead for one
/// holds up no other.
pub(super) fn resolve_all(
    context: &Context,
    arguments: &Arguments,
    hosts: &[String],
) -> Vec<Result<SocketAddr, Error>> {
    /// Lookups at a time.
    const SIDE_BY_SIDE: usize = 64;
    let is_address = |host: &String| host.parse::<IpAddr>().is_ok();
    let mut resolved = Vec::with_capacity(hosts.len());
    for hosts in hosts.chunks(SIDE_BY_SIDE) {
        thread::scope(|scope| {
            let resolve = |host| arguments.resolve(context, host);
            let lookups: Vec<_> = hosts
                .iter()
                .map(|host| {
                    (
                        host,
                        (!is_address(host)).then(|| scope.spawn(move || resolve(host))),
                    )
                })
                .collect();
            for (host, lookup) in lookups {
                let failed = || Error::Unavailable(format!("cannot resolve '{host}'"));
                resolved.push(match lookup {
                    Some(lookup) => lookup.join().unwrap_or_else(|_| Err(failed())),
                    None => resolve(host),
                });
            }
        });
    }
    resolved
}

fn too_many(count: u64) -> Error {
    Error::Usage(format!(
        "{count} hosts are too many to follow one by one (the limit is {HOSTS_MAX}); \
         without -c, or with --alive, a range is only searched"
    ))
}

/// That a search is as large as was meant.
pub(super) fn confirm(count: u64, is_large: bool) -> Result<(), Error> {
    if count > LARGE_ADDRESSES_MAX {
        let max = LARGE_ADDRESSES_MAX;
        let text = format!("{count} addresses are too many; the limit is {max} (an IPv4 /8)");
        return Err(Error::Usage(text));
    }
    if count > ADDRESSES_MAX && !is_large {
        let text = format!("that would ask {count} addresses; confirm it with --large");
        return Err(Error::Usage(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |text: &str| match parse(text) {
            Ok(Target::Range(range)) => range,
            other => panic!("{text}: {other:?}"),
        };
        let small = range("10.0.0.77/30");
        assert_eq!(size(&small), 4);
        assert_eq!(address_at(&small, 3).to_string(), "10.0.0.79");
        let six = range("fd00::/112");
        assert_eq!(
            (size(&six), address_at(&six, 0xffff).to_string()),
            (65_536, "fd00::ffff".to_owned())
        );
        assert_eq!(size(&range("::/0")), u64::MAX);
        for wrong in ["10.0.0.0/33", "10.0.0/24", "host/24", "/", "10.0.0.0/-1"] {
            assert!(matches!(parse(wrong), Err(Error::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn large_searches_are_confirmed() {
        assert_eq!(confirm(65_536, false), Ok(()));
        assert!(confirm(65_537, false).is_err());
        assert_eq!(confirm(1 << 24, true), Ok(()));
        assert!(confirm((1 << 24) + 1, true).is_err());
    }

    #[test]
    fn lists_have_comments() {
        assert_eq!(words_of("a b # c"), ["a", "b"]);
        assert_eq!(words_of("# only"), [""; 0]);
    }
}
