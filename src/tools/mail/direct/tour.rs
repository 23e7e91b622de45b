//! What is left to do for the recipients of one domain, from exchanger to exchanger.

use std::fmt;
use std::mem;

use super::super::dialogue::outcome::{Fate, Outcome, Reason, Refusal, Stage};
use crate::wire::smtp::Address;

/// RFC 5321 section 5.1 wants two addresses at least to be tried, and allows for a limit. Each may
/// cost the time to look up a name or to connect in vain, and somebody waits.
const ATTEMPTS_MAX: usize = 10;

pub(super) struct Tour {
    open: Vec<Open>,
    settled: Vec<(Address, Fate)>,
    /// Of which each was an address, or an exchanger without any.
    pub(super) attempts: usize,
    pub(super) untried: Untried,
}

/// A recipient for whom the next address or exchanger may do better.
struct Open {
    recipient: Address,
    refusal: Option<Refusal>,
}

#[derive(Default)]
pub(super) struct Untried {
    /// Of exchangers that were visited.
    pub(super) addresses: usize,
    pub(super) exchangers: usize,
}

type Fates = Vec<(Address, Fate)>;

impl Tour {
    pub(super) fn new(recipients: &[Address]) -> Tour {
        let open = recipients.iter().map(|recipient| Open {
            recipient: recipient.clone(),
            refusal: None,
        });
        Tour {
            open: open.collect(),
            settled: Vec::new(),
            attempts: 0,
            untried: Untried::default(),
        }
    }

    pub(super) fn recipients(&self) -> Vec<Address> {
        let recipients = self.open.iter().map(|open| open.recipient.clone());
        recipients.collect()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.open.is_empty() || self.attempts >= ATTEMPTS_MAX
    }

    /// Nobody has said or done anything about some recipient.
    pub(super) fn is_unrefused(&self) -> bool {
        self.open.iter().any(|open| open.refusal.is_none())
    }

    /// All that are open.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        for open in &mut self.open {
            open.refuse(refusal);
        }
    }

    /// Leaves in the outcome what is settled, and returns for whom another server may be asked,
    /// and why. The outcome is one for [all who are open](Tour::recipients).
    pub(super) fn sort(&mut self, outcome: &mut Outcome) -> Vec<(Address, Refusal)> {
        let fates: Fates = mem::take(&mut outcome.messages)
            .into_iter()
            .flatten()
            .collect();
        let mut settled = Vec::new();
        let mut put_off = Vec::new();
        for (mut open, (recipient, fate)) in mem::take(&mut self.open).into_iter().zip(fates) {
            match fate {
                Fate::Refused(refusal) if is_passable(&refusal) => {
                    open.refuse(&refusal);
                    self.open.push(open);
                    put_off.push((recipient, refusal));
                }
                fate => settled.push((recipient, fate)),
            }
        }
        self.settled.extend_from_slice(&settled);
        outcome.messages = vec![settled];
        put_off
    }

    /// Who is settled, and what is to be said to those who are not.
    pub(super) fn end(self) -> (Fates, Fates) {
        let Tour {
            open,
            settled,
            attempts,
            untried,
        } = self;
        let given_up = open.into_iter().map(|open| {
            let refusal = open.refusal.unwrap_or(Refusal {
                stage: Stage::Dns,
                is_temporary: true,
                reason: Reason::Cancelled,
            });
            let refusal = match untried {
                Untried {
                    addresses: 0,
                    exchangers: 0,
                } => refusal,
                _ => refusal.at_limit(attempts, &untried),
            };
            (open.recipient, Fate::Refused(refusal))
        });
        let given_up = given_up.collect();
        (settled, given_up)
    }
}

impl Open {
    /// What a server has answered counts more than that another cannot be reached. Of two answers
    /// it is the last one, and of two failures the one that came further.
    fn refuse(&mut self, refusal: &Refusal) {
        let is_answer = |refusal: &Refusal| matches!(refusal.reason, Reason::Reply(_));
        let is_kept = self.refusal.as_ref().is_some_and(|known| {
            match (is_answer(known), is_answer(refusal)) {
                (_, true) => false,
                (true, false) => true,
                (false, false) => known.stage > refusal.stage,
            }
        });
        if !is_kept {
            self.refusal = Some(refusal.clone());
        }
    }
}

/// Whether another server may be asked for the same recipient. This one has not had the whole
/// message; and what it says of one that it has read, the others of its domain would say, too.
fn is_passable(refusal: &Refusal) -> bool {
    // RFC 5321 section 3.1: who greets with 554 has no service, for whomever it is.
    refusal.is_temporary && refusal.stage <= Stage::Data || refusal.stage == Stage::Greeting
}

impl Refusal {
    /// It has the stage of those that were tried, and is temporary, whatever they are.
    fn at_limit(self, attempts: usize, untried: &Untried) -> Refusal {
        let reason = self.reason;
        Refusal {
            stage: self.stage,
            is_temporary: true,
            reason: Reason::Unreachable(format!(
                "given up after {attempts} attempts, with {untried} not tried; so far: {reason}"
            )),
        }
    }
}

impl fmt::Display for Untried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: usize, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {more}"),
        };
        let addresses = number(self.addresses, "address", "addresses");
        let exchangers = number(self.exchangers, "exchanger", "exchangers");
        match (self.addresses, self.exchangers) {
            (_, 0) => f.write_str(&addresses),
            (0, _) => f.write_str(&exchangers),
            _ => write!(f, "{addresses} and {exchangers}"),
        }
    }
}
