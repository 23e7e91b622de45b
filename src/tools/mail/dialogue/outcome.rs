//! What became of the messages.

use std::io;

use crate::tools::mail::exchangers;
use crate::tools::mail::sasl;
use crate::tools::mail::sasl::mechanism::Mechanism;
use crate::wire::smtp::command::CommandError;
use crate::wire::smtp::extensions::Extensions;
use crate::wire::smtp::reply::ReplyError;
use crate::wire::smtp::{Address, Reply};

use super::plan::RECIPIENTS_MAX;

const SOME_ACCEPTED: u8 = 3;
const TEMPORARY: u8 = 40;
const PERMANENT: u8 = 50;
/// As a temporary failure at the final dot: nothing is to be corrected. That the message may have
/// been delivered all the same is for the words to say.
const UNKNOWN: u8 = TEMPORARY + Stage::FinalDot as u8;

/// How far it went. The numbers are the units of the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Dns = 0,
    Connect = 1,
    Tls = 2,
    Greeting = 3,
    /// EHLO, HELO and STARTTLS.
    Ehlo = 4,
    Auth = 5,
    Mail = 6,
    Rcpt = 7,
    /// Until the last octet of the message is on its way.
    Data = 8,
    FinalDot = 9,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    /// In the order of the jobs, and of the recipients of each.
    pub(crate) messages: Vec<Vec<(Address, Fate)>>,
    /// The last ones, of which the server had nothing whole and said nothing.
    pub(crate) untouched: usize,
    /// Why it was not done to its end.
    pub(crate) failure: Option<Refusal>,
    pub(crate) facts: Facts,
}

/// Of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted {
        queue_id: Option<String>,
        reply: Reply,
    },
    /// It was not accepted; nothing speaks against another attempt but `is_temporary`.
    Refused(Refusal),
    /// The server had all of it, and its answer did not come.
    Unknown(Reason),
    /// It went as well as was asked, and was not sent.
    Stopped(Stage),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) stage: Stage,
    pub(crate) is_temporary: bool,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("{}", words(.0))]
    Reply(Reply),
    #[error("the server's answer does not fit: {}", words(.0))]
    Unexpected(Reply),
    #[error("the server does not speak SMTP: {0}")]
    Garbled(ReplyError),
    #[error("the server says more than it was asked")]
    Unsolicited,
    #[error("the server has closed the connection")]
    Closed,
    #[error("the connection is lost: {0}")]
    Lost(io::ErrorKind),
    #[error("the server has not answered in time")]
    TimedOut,
    #[error("stopped")]
    Cancelled,
    #[error("TLS could not be started")]
    Tls,
    #[error("the server does not offer STARTTLS")]
    StartTlsNotOffered,
    #[error("replies in clear follow the one to STARTTLS: someone may be in between")]
    Injected,
    #[error(
        "credentials are not sent in clear: --tls protects them, --insecure-auth sends them so"
    )]
    AuthInClear,
    #[error("{}", no_mechanism(.offered))]
    NoMechanism { offered: Vec<String> },
    #[error("{0}")]
    Sasl(sasl::Error),
    #[error("the server does not offer {0}, which the message needs")]
    NotOffered(&'static str),
    #[error("the message has {size} octets, and the server takes {size_max}")]
    Size { size: u64, size_max: u64 },
    #[error("more than {RECIPIENTS_MAX} recipients")]
    Recipients,
    #[error("{0}")]
    Command(CommandError),
    #[error("{code} {0}", code = .0.enhanced_code())]
    Nowhere(exchangers::Error),
    #[error("{0}")]
    Unreachable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// How often something was sent and then waited for, without QUIT and the handshake of TLS.
    pub(crate) round_trips: u32,
    /// By which the server has let us in.
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) protection: Protection,
    /// What the last EHLO has brought.
    pub(crate) extensions: Extensions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Protection {
    ImplicitTls,
    StartTls,
    Clear,
    /// TLS was wanted if possible, and this is why it was not.
    ClearAfter(Reason),
}

impl Outcome {
    /// How many messages another session may take at once, since the server has ended this one
    /// in good order before them. One that settles nothing is not worth another.
    pub(crate) fn left(&self) -> usize {
        let failure = self.failure.as_ref();
        let is_ended = failure.is_some_and(|failure| matches!(failure.reason, Reason::Reply(_)));
        let is_settled = |(_, fate): &(Address, Fate)| match fate {
            Fate::Accepted { .. } => true,
            Fate::Refused(refusal) => !refusal.is_temporary,
            Fate::Unknown(_) | Fate::Stopped(_) => false,
        };
        let touched = &self.messages[..self.messages.len() - self.untouched];
        match is_ended && touched.iter().flatten().any(is_settled) {
            true => self.untouched,
            false => 0,
        }
    }
}

/// 0 when all is accepted, 3 when some is. Else a temporary failure comes before a permanent one,
/// since there is something left to try.
pub(crate) fn exit_status<'a>(fates: impl Iterator<Item = &'a (Address, Fate)> + Clone) -> u8 {
    let fates = || fates.clone().map(|(_, fate)| fate);
    let is_good = |fate: &Fate| matches!(fate, Fate::Accepted { .. } | Fate::Stopped(_));
    if fates().all(is_good) {
        return 0;
    }
    if fates().any(is_good) {
        return SOME_ACCEPTED;
    }
    if fates().any(|fate| matches!(fate, Fate::Unknown(_))) {
        return UNKNOWN;
    }
    let refusals = || {
        fates().filter_map(|fate| match fate {
            Fate::Refused(refusal) => Some(refusal),
            Fate::Accepted { .. } | Fate::Unknown(_) | Fate::Stopped(_) => None,
        })
    };
    let temporary = refusals().find(|refusal| refusal.is_temporary);
    let first = temporary.or_else(|| refusals().next());
    first.map_or(0, Refusal::exit_status)
}

impl Fate {
    /// Another attempt may do better, and cannot deliver it twice.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Fate::Refused(refusal) if refusal.is_temporary)
    }
}

impl Refusal {
    pub(crate) fn exit_status(&self) -> u8 {
        let class = if self.is_temporary {
            TEMPORARY
        } else {
            PERMANENT
        };
        class + self.stage as u8
    }

    pub(super) fn by(stage: Stage, reply: Reply) -> Refusal {
        Refusal {
            stage,
            is_temporary: reply.code / 100 == 4,
            reason: Reason::Reply(reply),
        }
    }

    pub(super) fn permanent(stage: Stage, reason: Reason) -> Refusal {
        Refusal {
            stage,
            is_temporary: false,
            reason,
        }
    }
}

fn no_mechanism(offered: &[String]) -> String {
    let offered = match offered {
        [] => "no authentication".to_owned(),
        some => format!("{}, and none of these can be used here", some.join(", ")),
    };
    format!("the server offers {offered}")
}

fn words(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.lines.join(" "))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16) -> Reply {
        Reply {
            code,
            enhanced: None,
            lines: vec!["x".to_owned()],
        }
    }

    /// `a` is accepted, `?` unknown, `s` stopped; numbers are refusals by code and stage.
    #[track_caller]
    fn check(fates: &str, expected: u8) {
        let stages = [
            Stage::Dns,
            Stage::Connect,
            Stage::Tls,
            Stage::Greeting,
            Stage::Ehlo,
            Stage::Auth,
            Stage::Mail,
            Stage::Rcpt,
            Stage::Data,
            Stage::FinalDot,
        ];
        let fate = |word: &str| match word {
            "a" => Fate::Accepted {
                queue_id: None,
                reply: reply(250),
            },
            "?" => Fate::Unknown(Reason::Closed),
            "s" => Fate::Stopped(Stage::Rcpt),
            number => {
                let (code, stage) = number.split_once('/').expect(number);
                let stage = stages[stage.parse::<usize>().expect(number)];
                Fate::Refused(Refusal::by(stage, reply(code.parse().expect(number))))
            }
        };
        let address = Address::parse("a@b.c").expect("an address");
        let fates: Vec<_> = fates
            .split(' ')
            .map(|word| (address.clone(), fate(word)))
            .collect();
        assert_eq!(exit_status(fates.iter()), expected);
    }

    #[test]
    fn the_exit_status_says_class_and_stage() {
        check("a", 0);
        check("s s", 0);
        check("a 550/7", 3);
        check("? a", 3);
        check("?", 49);
        check("550/7 ?", 49);
        check("450/7", 47);
        check("550/7 450/7", 47);
        check("550/7 554/9", 57);
        for stage in 0..10 {
            check(&format!("450/{stage}"), 40 + stage);
            check(&format!("550/{stage}"), 50 + stage);
        }
    }
}
