//! Which hosts take the mail of a domain, and in what order to try them (RFC 5321 section 5.1,
//! RFC 7505).
//!
//! Left out: looking for this host among them (section 5.1 again), since it takes no mail.

use crate::net::dns::outcome::{Failure, Found, Outcome};
use crate::wire::dns::name::Name;
use crate::wire::dns::record::Data;

/// Large providers have about 5, and nobody has more than some dozens. A response has room for
/// thousands, each of which is a name to look up.
const EXCHANGERS_MAX: usize = 64;

/// The exchangers in the order in which they are tried; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchangers {
    pub(crate) list: Vec<Exchanger>,
    /// How many there are beside those.
    pub(crate) left_out: usize,
    /// The domain, or what it is an alias of.
    pub(crate) domain: Name,
    /// It has no MX record and is its own exchanger.
    pub(crate) is_implicit: bool,
    /// DNSSEC vouches for the list (RFC 7672 section 2.2.1).
    pub(crate) is_authentic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchanger {
    pub(crate) preference: u16,
    pub(crate) name: Name,
}

/// Why there is nowhere to send the mail to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no domain '{0}'")]
    NoSuchDomain(Name),
    #[error("'{domain}' is an alias of '{missing}', which does not exist")]
    DanglingAlias { domain: Name, missing: Name },
    #[error("'{0}' takes no mail: its MX record says that it has no exchanger")]
    NullMx(Name),
    #[error("'{0}' has no address")]
    NoAddress(Name),
    #[error("none of the mail exchangers of '{0}' has an address")]
    NoExchangerAddress(Name),
    #[error("cannot look up '{name}': {failure}")]
    Temporary { name: Name, failure: Failure },
}

impl Exchangers {
    /// By what is found when the domain's MX records are asked for. `dice` gives random numbers,
    /// so that exchangers of the same preference share the work.
    pub(crate) fn plan(
        domain: &Name,
        mx: &Outcome,
        dice: impl FnMut() -> u64,
    ) -> Result<Exchangers, Error> {
        match mx {
            Outcome::Found(found) => Exchangers::of_records(domain, found, dice),
            // Section 5.1: of an alias, the name behind it takes the place of the domain.
            Outcome::NoData { name, is_authentic } => Ok(Exchangers {
                list: vec![Exchanger {
                    preference: 0,
                    name: name.clone(),
                }],
                left_out: 0,
                domain: name.clone(),
                is_implicit: true,
                is_authentic: *is_authentic,
            }),
            Outcome::NoSuchName(missing) if missing == domain => {
                Err(Error::NoSuchDomain(domain.clone()))
            }
            Outcome::NoSuchName(missing) => Err(Error::DanglingAlias {
                domain: domain.clone(),
                missing: missing.clone(),
            }),
            Outcome::Failed(failure) => Err(Error::Temporary {
                name: domain.clone(),
                failure: *failure,
            }),
        }
    }

    fn of_records(
        domain: &Name,
        found: &Found,
        dice: impl FnMut() -> u64,
    ) -> Result<Exchangers, Error> {
        let mut list: Vec<Exchanger> = found.data.iter().filter_map(Exchanger::of).collect();
        // RFC 7505 section 3 forbids others beside it, which Postfix overlooks, too: whoever says
        // that there is no mail here should not get any.
        if list.iter().any(|exchanger| exchanger.name.is_root()) {
            return Err(Error::NullMx(domain.clone()));
        }
        shuffle(&mut list, dice);
        list.sort_by_key(|exchanger| exchanger.preference);
        let mut kept: Vec<Exchanger> = Vec::new();
        let mut left_out = 0;
        for exchanger in list {
            match kept.iter().any(|earlier| earlier.name == exchanger.name) {
                true => {}
                false if kept.len() < EXCHANGERS_MAX => kept.push(exchanger),
                false => left_out += 1,
            }
        }
        Ok(Exchangers {
            list: kept,
            left_out,
            domain: found.name.clone(),
            is_implicit: false,
            is_authentic: found.is_authentic,
        })
    }
}

impl Exchanger {
    fn of(data: &Data) -> Option<Exchanger> {
        match data {
            Data::Mx {
                preference,
                exchange,
            } => Some(Exchanger {
                preference: *preference,
                name: exchange.clone(),
            }),
            Data::A(_) | Data::Cname(_) | Data::Aaaa(_) | Data::Tlsa(_) => None,
        }
    }
}

impl Error {
    /// What is to be said of the domain when no exchanger has an address, by why each has none.
    /// What may be found later counts more than what will not.
    pub(crate) fn of_all(domain: &Name, errors: Vec<Error>) -> Error {
        let mut errors = errors;
        let temporary = errors.iter().position(|error| !error.is_permanent());
        match (temporary, errors.len()) {
            (Some(at), _) => errors.swap_remove(at),
            (None, 1) => errors.swap_remove(0),
            (None, _) => Error::NoExchangerAddress(domain.clone()),
        }
    }

    pub(crate) fn is_permanent(&self) -> bool {
        !matches!(self, Error::Temporary { .. })
    }

    /// RFC 3463; 5.1.10 by RFC 7505.
    pub(crate) fn enhanced_code(&self) -> &'static str {
        match self {
            Error::NoSuchDomain(_) | Error::DanglingAlias { .. } => "5.1.2",
            Error::NullMx(_) => "5.1.10",
            Error::NoAddress(_) | Error::NoExchangerAddress(_) => "5.4.4",
            Error::Temporary { .. } => "4.4.3",
        }
    }
}

/// Fisher and Yates' way.
fn shuffle<T>(list: &mut [T], mut dice: impl FnMut() -> u64) {
    for (last, left) in (1..list.len()).zip(2_u64..) {
        let drawn = usize::try_from(dice() % left).unwrap_or(last);
        list.swap(last, drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dns::{Rcode, Response};

    const FAILED: Outcome = Outcome::Failed(Failure::Server(Rcode::ServerFailure));

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// The owner of the record `. A 0.0.0.0`.
    fn root() -> Name {
        let header = [0, 0, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 0];
        let record = [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        let response = Response::parse(&[&header[..], &record].concat()).expect("a response");
        response.answers[0].owner.clone()
    }

    fn found(text: &str, data: Vec<Data>) -> Outcome {
        Outcome::Found(Found {
            name: name(text),
            data,
            is_authentic: true,
        })
    }

    fn mx(records: &[(u16, Name)]) -> Outcome {
        let records = records.iter().cloned();
        let records = records.map(|(preference, exchange)| Data::Mx {
            preference,
            exchange,
        });
        found("example.org", records.collect())
    }

    fn no_data(text: &str) -> Outcome {
        Outcome::NoData {
            name: name(text),
            is_authentic: false,
        }
    }

    fn plan(mx: &Outcome, drawn: u64) -> Result<Exchangers, Error> {
        Exchangers::plan(&name("example.org"), mx, || drawn)
    }

    /// The names in their order when this number is drawn, and nothing to note.
    #[track_caller]
    fn check(records: &[(u16, &str)], drawn: u64, expected: &[&str]) {
        let records: Vec<_> = records.iter().map(|(n, text)| (*n, name(text))).collect();
        let plan = plan(&mx(&records), drawn).expect("a plan");
        let names: Vec<String> = plan.list.iter().map(|e| e.name.to_string()).collect();
        assert_eq!(names, expected);
        assert_eq!(plan.left_out, 0);
        assert!(plan.is_authentic && !plan.is_implicit);
    }

    #[test]
    fn exchangers_by_preference_and_equals_by_the_dice() {
        check(&[(20, "b"), (10, "a"), (65535, "c")], 0, &["a", "b", "c"]);
        check(&[(0, "example.org")], 0, &["example.org"]);
        check(
            &[(20, "B"), (10, "a"), (10, "b"), (30, "A")],
            11,
            &["a", "b"],
        );
        let equals = [(5, "z"), (10, "a"), (10, "b"), (10, "c")];
        check(&equals, 0, &["z", "c", "a", "b"]);
        check(&equals, 11, &["z", "a", "b", "c"]);
    }

    #[test]
    fn no_more_exchangers_than_the_limit() {
        let records: Vec<_> = (0..66).map(|n| (n, name(&format!("mx{n}")))).collect();
        let plan = plan(&mx(&records), 7).expect("a plan");
        let preferences = plan.list.iter().map(|exchanger| exchanger.preference);
        assert!(preferences.eq(0..64));
        assert_eq!(plan.left_out, 2);
    }

    #[test]
    fn the_domain_itself_without_mx_records() {
        for text in ["example.org", "behind.alias.example"] {
            let plan = plan(&no_data(text), 0).expect("a plan");
            assert!(plan.is_implicit && !plan.is_authentic);
            assert_eq!(plan.list.len(), 1);
            assert_eq!(plan.list[0].name, name(text));
        }
    }

    /// Why there is nowhere to send to, the code for it, and whether it stays so.
    #[track_caller]
    fn check_error(error: &Error, text: &str, code: &str) {
        assert_eq!((&*error.to_string(), error.enhanced_code()), (text, code));
        assert_eq!(error.is_permanent(), code.starts_with('5'));
    }

    #[test]
    fn domains_without_exchangers() {
        #[track_caller]
        fn check(mx: &Outcome, text: &str, code: &str) {
            check_error(&plan(mx, 0).expect_err(text), text, code);
        }
        let text = "there is no domain 'example.org'";
        check(&Outcome::NoSuchName(name("Example.org")), text, "5.1.2");
        let text = "'example.org' is an alias of 'gone.example', which does not exist";
        check(&Outcome::NoSuchName(name("gone.example")), text, "5.1.2");
        let text = "cannot look up 'example.org': the name server failed to find out (SERVFAIL)";
        check(&FAILED, text, "4.4.3");
        let text = "'example.org' takes no mail: its MX record says that it has no exchanger";
        for beside in [vec![], vec![(10, name("mx"))]] {
            check(&mx(&[&beside[..], &[(0, root())]].concat()), text, "5.1.10");
        }
    }

    #[test]
    fn without_any_address_what_may_change_counts_more() {
        #[track_caller]
        fn check(errors: &[&Error], text: &str, code: &str) {
            let errors = errors.iter().map(|error| (*error).clone()).collect();
            check_error(&Error::of_all(&name("example.org"), errors), text, code);
        }
        let without = Error::NoAddress(name("mx"));
        let temporary = Error::Temporary {
            name: name("mx2"),
            failure: Failure::Unanswered,
        };
        check(&[&without], "'mx' has no address", "5.4.4");
        let text = "none of the mail exchangers of 'example.org' has an address";
        check(&[&without, &without], text, "5.4.4");
        let text = "cannot look up 'mx2': no name server answers";
        check(&[&without, &temporary, &without], text, "4.4.3");
    }
}
