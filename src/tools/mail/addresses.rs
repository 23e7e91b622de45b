//! Where a mail exchanger can be reached (RFC 5321 section 5.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::exchangers::Error;
use crate::net::dns::outcome::{Found, Outcome};
use crate::wire::dns::name::Name;
use crate::wire::dns::record::Data;

/// As many as Postfix tries of a destination. Each may cost the time to connect in vain.
const ADDRESSES_MAX: usize = 5;

/// In the order in which they are tried; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) list: Vec<IpAddr>,
    /// DNSSEC vouches for all of them, so that its TLSA records are of interest
    /// (RFC 7672 section 2.2).
    pub(crate) is_authentic: bool,
    pub(crate) notes: Vec<Note>,
}

/// What the administrator should know; it does not stop the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    Alias { exchanger: Name, name: Name },
    LeftOut { exchanger: Name, count: usize },
}

impl Addresses {
    /// By what is found when its AAAA and A records are asked for. The first is tried first.
    pub(crate) fn of(exchanger: &Name, lookups: &[Outcome]) -> Result<Addresses, Error> {
        let name = || exchanger.clone();
        // Nobody finds such a name. Postfix takes it for what was meant, and nsh delivers where
        // others do.
        if let Some(address) = parse(exchanger) {
            return Ok(Addresses {
                list: vec![address],
                is_authentic: false,
                notes: Vec::new(),
            });
        }
        let found: Vec<&Found> = lookups.iter().filter_map(Outcome::found).collect();
        let data = found.iter().flat_map(|found| &found.data);
        let all: Vec<IpAddr> = data.filter_map(address).collect();
        if all.is_empty() {
            return Err(match lookups.iter().find_map(Outcome::failure) {
                Some(failure) => Error::Temporary {
                    name: name(),
                    failure,
                },
                None => Error::NoAddress(name()),
            });
        }
        // RFC 2181 section 10.3 forbids it, and it works.
        let alias = found.iter().find(|found| found.name != *exchanger);
        let mut notes: Vec<Note> = alias
            .map(|found| Note::Alias {
                exchanger: name(),
                name: found.name.clone(),
            })
            .into_iter()
            .collect();
        let (list, left_out) = interleave(&all);
        if left_out > 0 {
            notes.push(Note::LeftOut {
                exchanger: name(),
                count: left_out,
            });
        }
        Ok(Addresses {
            list,
            is_authentic: found.iter().all(|found| found.is_authentic),
            notes,
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Alias { exchanger, name } => write!(
                f,
                "the exchanger {exchanger} is an alias of {name}, which RFC 2181 forbids"
            ),
            Note::LeftOut { exchanger, count } => write!(
                f,
                "only {ADDRESSES_MAX} addresses of {exchanger} are tried, {count} are left out"
            ),
        }
    }
}

/// The address that a name looks like.
pub(super) fn parse(name: &Name) -> Option<IpAddr> {
    let address = name.to_string().parse::<Ipv4Addr>();
    address.ok().map(IpAddr::V4)
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

    /// The addresses of an exchanger, and what is noted.
    fn addresses(exchanger: &str, lookups: [Outcome; 2]) -> Result<[Vec<String>; 2], Error> {
        let addresses = Addresses::of(&name(exchanger), &lookups)?;
        let list = addresses.list.iter().map(ToString::to_string);
        let notes = addresses.notes.iter().map(ToString::to_string);
        Ok([list.collect(), notes.collect()])
    }

    #[test]
    fn families_take_turns() {
        #[track_caller]
        fn check(v6: &[&str], v4: &[&str], expected: &[&str], left_out: &[&str]) {
            let addresses = addresses("mx", [found("mx", v6), found("mx", v4)]);
            let [list, notes] = addresses.expect("addresses");
            assert_eq!((list, notes), (owned(expected), owned(left_out)));
        }
        fn owned(texts: &[&str]) -> Vec<String> {
            texts.iter().map(ToString::to_string).collect()
        }
        check(&["::1"], &["192.0.2.1"], &["::1", "192.0.2.1"], &[]);
        check(
            &["::1"],
            &["192.0.2.1", "192.0.2.1"],
            &["::1", "192.0.2.1"],
            &[],
        );
        let v4 = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let first = ["::1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        check(&["::1"], &v4, &first, &[]);
        let turns = ["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"];
        let left_out = "only 5 addresses of mx are tried, 2 are left out";
        check(&["::1", "::2", "::3"], &v4, &turns, &[left_out]);
    }

    #[test]
    fn one_family_will_do() {
        let list = |lookups| addresses("mx", lookups).map(|[list, _]| list);
        let v4 = || found("mx", &["192.0.2.1"]);
        for other in [no_data("mx"), FAILED] {
            assert_eq!(
                list([other.clone(), v4()]),
                Ok(vec!["192.0.2.1".to_owned()])
            );
            assert_eq!(list([v4(), other]), Ok(vec!["192.0.2.1".to_owned()]));
        }
    }

    #[test]
    fn what_rfcs_forbid_and_works() {
        let lookups = [no_data("real.mx"), found("real.mx", &["192.0.2.1"])];
        let [_, notes] = addresses("mx", lookups).expect("addresses");
        let text = "the exchanger mx is an alias of real.mx, which RFC 2181 forbids";
        assert_eq!(notes, [text]);
        let lookups = [Outcome::NoSuchName(name("192.0.2.1")), FAILED];
        let [list, _] = addresses("192.0.2.1", lookups).expect("what Postfix takes");
        assert_eq!(list, ["192.0.2.1"]);
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
        let is_authentic = |lookups: [&Outcome; 2]| {
            let addresses = Addresses::of(&name("mx"), &lookups.map(Clone::clone));
            addresses.expect("addresses").is_authentic
        };
        let authentic = found("mx", &["::1"]);
        let other = Outcome::Found(Found {
            name: name("mx"),
            data: vec![Data::A([192, 0, 2, 1].into())],
            is_authentic: false,
        });
        assert!(is_authentic([&authentic, &no_data("mx")]));
        assert!(!is_authentic([&authentic, &other]));
    }
}
