//! What the response to one query says about its name, behind aliases or not.

use crate::wire::dns::name::Name;
use crate::wire::dns::record::{Data, Kind, Record};
use crate::wire::dns::{Query, Rcode, Response};

/// RFC 1034 section 3.6.2 wants software not to fail on chains of aliases, and to notice loops.
/// Nobody has chains longer than this.
const ALIASES_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found(Found),
    /// The name, or the one that it is an alias of, does not exist, with no data of any type
    /// (NXDOMAIN, which RFC 6604 has for the last name).
    NoSuchName(Name),
    /// There is such a name, but no data of this type (NODATA of RFC 2308 section 2.2).
    NoData {
        name: Name,
        is_authentic: bool,
    },
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The name that was asked for, or the one that it is an alias of.
    pub(crate) name: Name,
    /// Of the type that was asked for; never empty.
    pub(crate) data: Vec<Data>,
    /// The server has validated it. That is worth as much as the way to the server.
    pub(crate) is_authentic: bool,
}

/// Nothing is known about the name; later or elsewhere it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no name server answers")]
    Unanswered,
    /// To be asked again over TCP.
    #[error("the name server's answer is cut off")]
    Truncated,
    /// To be asked again without EDNS (RFC 6891 section 7).
    #[error("the name server does not understand the query ({0})")]
    NotUnderstood(Rcode),
    #[error("the name server failed to find out ({0})")]
    Server(Rcode),
    #[error("the name server refuses to answer ({0})")]
    Refused(Rcode),
    #[error("the name server does not ask others, and does not know itself")]
    NotRecursive,
    #[error("the name is an alias of an alias, more than {ALIASES_MAX} times")]
    Aliases,
}

impl Outcome {
    /// Of a response that [matches](Response::matches) its query.
    pub(crate) fn of(query: &Query, response: &Response) -> Outcome {
        let failure = match response.rcode {
            _ if response.truncated => Some(Failure::Truncated),
            Rcode::NoError | Rcode::NameError => None,
            // BADVERS of RFC 6891 section 9 is about EDNS, too.
            rcode @ (Rcode::FormatError | Rcode::NotImplemented | Rcode::Other(16)) => {
                Some(Failure::NotUnderstood(rcode))
            }
            rcode @ (Rcode::ServerFailure | Rcode::Other(_)) => Some(Failure::Server(rcode)),
            rcode @ Rcode::Refused => Some(Failure::Refused(rcode)),
        };
        if let Some(failure) = failure {
            return Outcome::Failed(failure);
        }
        let Some(name) = follow(query, &response.answers) else {
            return Outcome::Failed(Failure::Aliases);
        };
        if response.rcode == Rcode::NameError {
            return Outcome::NoSuchName(name);
        }
        let of_name = |record: &&Record| record.owner == name && record.data.kind() == query.kind;
        let data = response.answers.iter().filter(of_name);
        let data: Vec<Data> = data.map(|record| record.data.clone()).collect();
        // A server that neither knows nor asks refers to others, or stops at an alias. That
        // there are no data only the last name's own server can tell.
        let is_first = response.authoritative && name == query.name;
        match data.is_empty() {
            false => Outcome::Found(Found {
                name,
                data,
                is_authentic: response.authentic_data,
            }),
            true if response.recursion_available || is_first => Outcome::NoData {
                name,
                is_authentic: response.authentic_data,
            },
            true => Outcome::Failed(Failure::NotRecursive),
        }
    }

    pub(crate) fn found(&self) -> Option<&Found> {
        match self {
            Outcome::Found(found) => Some(found),
            Outcome::NoSuchName(_) | Outcome::NoData { .. } | Outcome::Failed(_) => None,
        }
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Outcome::Failed(failure) => Some(*failure),
            Outcome::Found(_) | Outcome::NoSuchName(_) | Outcome::NoData { .. } => None,
        }
    }
}

/// The last name of the aliases, if there are not too many. Loops have no last one.
fn follow(query: &Query, answers: &[Record]) -> Option<Name> {
    let mut name = &query.name;
    for _ in 0..=ALIASES_MAX {
        let mut records = answers.iter().filter(|record| record.owner == *name);
        let target = records.find_map(|record| match &record.data {
            Data::Cname(target) if query.kind != Kind::Cname => Some(target),
            _ => None,
        });
        match target {
            Some(target) => name = target,
            None => return Some(name.clone()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: u16 = 0x8180;
    const AUTHORITATIVE: u16 = 0x8500;
    const NEITHER: u16 = 0x8100;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// What a response with these flags says, when `a.test` is asked for and each letter is an
    /// alias of the next, or `1` has an address.
    fn outcome(kind: Kind, flags: u16, answers: &[(u8, u8)]) -> Outcome {
        let query = Query {
            id: 1,
            name: name("a.test"),
            kind,
            edns: None,
            authentic_data: false,
        };
        let mut message = query.emit();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[7] = u8::try_from(answers.len()).expect("few answers");
        for (owner, target) in answers {
            message.extend([1, *owner, 0xc0, 14]);
            message.extend(match target {
                b'1' => [&[0, 1, 0, 1, 0, 0, 0, 9, 0, 4][..], &[192, 0, 2, 1]].concat(),
                _ => [&[0, 5, 0, 1, 0, 0, 0, 9, 0, 4], &[1, *target, 0xc0, 14][..]].concat(),
            });
        }
        let response = Response::parse(&message).expect("a response");
        assert!(response.matches(&query));
        Outcome::of(&query, &response)
    }

    #[track_caller]
    fn check(flags: u16, answers: &[(u8, u8)], expected: Outcome) {
        assert_eq!(outcome(Kind::A, flags, answers), expected);
    }

    fn found(text: &str, data: Data) -> Outcome {
        Outcome::Found(Found {
            name: name(text),
            data: vec![data],
            is_authentic: false,
        })
    }

    fn address() -> Data {
        Data::A([192, 0, 2, 1].into())
    }

    #[test]
    fn data_behind_aliases_in_any_order() {
        check(ANSWER, &[(b'A', b'1')], found("a.test", address()));
        let answers = [(b'a', b'B'), (b'b', b'c'), (b'c', b'1')];
        check(ANSWER, &answers, found("c.test", address()));
        let answers = [(b'x', b'1'), (b'c', b'1'), (b'b', b'c'), (b'a', b'b')];
        check(NEITHER, &answers, found("c.test", address()));
        let alias = found("a.test", Data::Cname(name("b.test")));
        assert_eq!(outcome(Kind::Cname, ANSWER, &answers), alias);
        let Outcome::Found(found) = outcome(Kind::A, ANSWER | 0x20, &answers) else {
            panic!("found");
        };
        assert!(found.is_authentic);
    }

    #[test]
    fn no_such_name_and_no_data_are_two_things() {
        let no_data = |text| Outcome::NoData {
            name: name(text),
            is_authentic: false,
        };
        let no_such_name = |text| Outcome::NoSuchName(name(text));
        check(ANSWER, &[], no_data("a.test"));
        check(AUTHORITATIVE, &[], no_data("a.test"));
        check(ANSWER, &[(b'x', b'1')], no_data("a.test"));
        check(ANSWER, &[(b'a', b'b')], no_data("b.test"));
        assert_eq!(
            outcome(Kind::Mx, ANSWER, &[(b'a', b'1')]),
            no_data("a.test")
        );
        check(ANSWER | 3, &[], no_such_name("a.test"));
        check(ANSWER | 3, &[(b'a', b'b')], no_such_name("b.test"));
    }

    #[test]
    fn aliases_end() {
        let chain: Vec<(u8, u8)> = (b'a'..=b'i').map(|letter| (letter, letter + 1)).collect();
        let eight = [&chain[..8], &[(b'i', b'1')]].concat();
        check(ANSWER, &eight, found("i.test", address()));
        let nine = [&chain[..9], &[(b'j', b'1')]].concat();
        check(ANSWER, &nine, Outcome::Failed(Failure::Aliases));
        check(ANSWER, &[(b'a', b'a')], Outcome::Failed(Failure::Aliases));
        let circle = [(b'a', b'b'), (b'b', b'a')];
        check(ANSWER | 3, &circle, Outcome::Failed(Failure::Aliases));
    }

    #[test]
    fn failures_say_nothing_about_the_name() {
        #[track_caller]
        fn check(flags: u16, answers: &[(u8, u8)], expected: Failure) {
            let failed = Outcome::Failed(expected);
            assert_eq!(outcome(Kind::A, flags, answers), failed, "{flags:x}");
        }
        check(ANSWER | 1, &[], Failure::NotUnderstood(Rcode::FormatError));
        check(
            ANSWER | 4,
            &[],
            Failure::NotUnderstood(Rcode::NotImplemented),
        );
        check(ANSWER | 2, &[], Failure::Server(Rcode::ServerFailure));
        check(ANSWER | 5, &[], Failure::Refused(Rcode::Refused));
        check(ANSWER | 9, &[], Failure::Server(Rcode::Other(9)));
        check(ANSWER | 0x200, &[(b'a', b'1')], Failure::Truncated);
        check(ANSWER | 0x203, &[], Failure::Truncated);
        check(NEITHER, &[], Failure::NotRecursive);
        check(AUTHORITATIVE, &[(b'a', b'b')], Failure::NotRecursive);
    }
}
