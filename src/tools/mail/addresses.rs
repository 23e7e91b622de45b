//! Where a mail exchanger can be reached (RFC 5321 section 5.1).

use std::net::{IpAddr, Ipv4Addr};

use super::exchangers::Error;
use crate::net::dns::outcome::{Found, Outcome};
use crate::wire::dns::name::Name;
use crate::wire::dns::record::Data;

/// RFC 5321 section 5.1 lets a client limit what it tries, and wants two at least. With as many as
/// Postfix takes, an exchanger with dozens of dead addresses does not keep the next one waiting.
const ADDRESSES_MAX: usize = 5;

/// In the order in which they are tried; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) list: Vec<IpAddr>,
    /// How many there are beside those.
    pub(crate) left_out: usize,
    /// The name that they were found at, if it is another one. RFC 2181 section 10.3 forbids it,
    /// and it works.
    pub(crate) alias_of: Option<Name>,
    /// DNSSEC vouches for all of them, so that its TLSA records are of interest
    /// (RFC 7672 section 2.2).
    pub(crate) is_authentic: bool,
}

impl Addresses {
    /// Of an exchanger whose name is an address. Nobody finds such a name. Postfix takes it for
    /// what was meant, and nsh delivers where others do.
    pub(crate) fn in_place_of_name(exchanger: &Name) -> Option<Addresses> {
        let address = exchanger.to_string().parse::<Ipv4Addr>().ok()?;
        Some(Addresses {
            list: vec![address.into()],
            left_out: 0,
            alias_of: None,
            is_authentic: false,
        })
    }

    /// By what is found when its AAAA and A records are asked for. The first is tried first. One
    /// family will do, whatever became of the other.
    pub(crate) fn of(exchanger: &Name, lookups: &[Outcome]) -> Result<Addresses, Error> {
        let found: Vec<&Found> = lookups.iter().filter_map(Outcome::found).collect();
        let data = found.iter().flat_map(|found| &found.data);
        let all: Vec<IpAddr> = data.filter_map(address).collect();
        if all.is_empty() {
            let name = exchanger.clone();
            return Err(match lookups.iter().find_map(Outcome::failure) {
                Some(failure) => Error::Temporary { name, failure },
                None => Error::NoAddress(name),
            });
        }
        let (list, left_out) = interleave(&all);
        let mut names = found.iter().map(|found| &found.name);
        Ok(Addresses {
            list,
            left_out,
            alias_of: names.find(|name| *name != exchanger).cloned(),
            is_authentic: found.iter().all(|found| found.is_authentic),
        })
    }
}

fn address(data: &Data) -> Option<IpAddr> {
    match data {
        Data::A(address) => Some((*address).into()),
        Data::Aaaa(address) => Some((*address).into()),
        Data::Cname(_) | Data::Mx { .. } | Data::Tlsa(_) => None,
    }
}

/// The families take turns, beginning with that of the first address: one that does not work
/// costs every other attempt only (RFC 8305 section 4). With how many are left out.
fn interleave(addresses: &[IpAddr]) -> (Vec<IpAddr>, usize) {
    let mut different: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !different.contains(address) {
            different.push(*address);
        }
    }
    let is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) = different
        .iter()
        .partition(|address| address.is_ipv4() == is_v4);
    let mut list = Vec::new();
    for turn in 0..ADDRESSES_MAX {
        list.extend(first.get(turn));
        list.extend(second.get(turn));
    }
    list.truncate(ADDRESSES_MAX);
    let left_out = different.len() - list.len();
    (list, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::outcome::Failure;
    use crate::wire::dns::Rcode;

    const FAILED: Outcome = Outcome::Failed(Failure::Server(Rcode::ServerFailure));

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn no_data(text: &str) -> Outcome {
        Outcome::NoData {
            name: name(text),
            is_authentic: true,
        }
    }

    fn found(text: &str, list: &[&str]) -> Outcome {
        let data = list.iter().map(|text| match text.parse() {
            Ok(IpAddr::V4(address)) => Data::A(address),
            Ok(IpAddr::V6(address)) => Data::Aaaa(address),
            Err(error) => panic!("{text}: {error}"),
        });
        Outcome::Found(Found {
            name: name(text),
            data: data.collect(),
            is_authentic: true,
        })
    }

    fn addresses(exchanger: &str, lookups: [Outcome; 2]) -> Result<Addresses, Error> {
        Addresses::of(&name(exchanger), &lookups)
    }

    fn texts(list: &[IpAddr]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn families_take_turns() {
        #[track_caller]
        fn check(v6: &[&str], v4: &[&str], expected: &[&str], left_out: usize) {
            let addresses = addresses("mx", [found("mx", v6), found("mx", v4)]);
            let addresses = addresses.expect("addresses");
            assert_eq!(texts(&addresses.list), expected);
            assert_eq!((addresses.left_out, addresses.alias_of), (left_out, None));
        }
        let both = ["::1", "192.0.2.1"];
        check(&["::1"], &["192.0.2.1"], &both, 0);
        check(&["::1"], &["192.0.2.1", "192.0.2.1"], &both, 0);
        let v4 = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let first = ["::1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        check(&["::1"], &v4, &first, 0);
        let turns = ["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"];
        check(&["::1", "::2", "::3"], &v4, &turns, 2);
    }

    #[test]
    fn one_family_will_do() {
        #[track_caller]
        fn check(lookups: [Outcome; 2]) {
            let addresses = addresses("mx", lookups).expect("addresses");
            assert_eq!(texts(&addresses.list), ["192.0.2.1"]);
        }
        for other in [no_data("mx"), FAILED] {
            check([other.clone(), found("mx", &["192.0.2.1"])]);
            check([found("mx", &["192.0.2.1"]), other]);
        }
    }

    #[test]
    fn what_rfcs_forbid_and_works() {
        let lookups = [no_data("real.mx"), found("real.mx", &["192.0.2.1"])];
        let alias = addresses("mx", lookups).expect("addresses");
        assert_eq!(alias.alias_of, Some(name("real.mx")));
        let number = Addresses::in_place_of_name(&name("192.0.2.1")).expect("what Postfix takes");
        assert_eq!(texts(&number.list), ["192.0.2.1"]);
        assert_eq!(Addresses::in_place_of_name(&name("192.0.2.1.mx")), None);
    }

    #[test]
    fn no_address_for_good_or_for_now() {
        let no_such_name = || Outcome::NoSuchName(name("mx"));
        let error = |lookups| addresses("mx", lookups).expect_err("no address");
        let without = Error::NoAddress(name("mx"));
        assert_eq!(error([no_data("mx"), no_such_name()]), without);
        assert!(!error([no_data("mx"), FAILED]).is_permanent());
        assert!(!error([FAILED, no_such_name()]).is_permanent());
    }

    #[test]
    fn all_that_is_found_must_be_authentic() {
        let is_authentic = |lookups| addresses("mx", lookups).expect("addresses").is_authentic;
        let authentic = || found("mx", &["::1"]);
        let other = Outcome::Found(Found {
            name: name("mx"),
            data: vec![Data::A([192, 0, 2, 1].into())],
            is_authentic: false,
        });
        assert!(is_authentic([authentic(), no_data("mx")]));
        assert!(!is_authentic([authentic(), other]));
    }
}
