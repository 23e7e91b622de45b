//! `mail --mx`: straight to the mail exchangers of the recipients' domains, RFC 5321 section 5.1.

pub(super) mod attempt;
pub(super) mod directory;
pub(super) mod event;

use std::time::Duration;

use self::attempt::{Errand, Target};
use self::directory::{Directory, Host};
use self::event::Event;
use super::arguments::Arguments;
use super::compose::Letter;
use super::courier::{Failure, Recorder};
use super::dane::Policy;
use super::destination::Destination;
use super::dialogue::outcome::{Fate, Outcome, Reason, Refusal, Stage, exit_status};
use super::dialogue::plan::{Job, Message};
use super::exchangers;
use super::outbox::tell;
use super::recorder::recorder;
use super::report;
use crate::cancel::Cancelled;
use crate::clock;
use crate::net;
use crate::tool::{Context, Error, Status};
use crate::wire::smtp::Address;

/// Each may cost the time to connect in vain.
const ATTEMPTS_MAX: usize = 10;
const TOO_MANY: &str = "too many addresses have been tried";

/// The recipients of a domain.
struct Group {
    destination: Destination,
    /// As it was first written.
    domain: String,
    recipients: Vec<Address>,
}

struct Delivery<'a> {
    errand: Errand<'a>,
    directory: Directory<'a>,
    letter: &'a Letter,
    message: Message,
}

/// How an attempt has ended.
enum End {
    Final(Vec<(Address, Fate)>),
    Next(Refusal),
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    timeout: Duration,
    letter: &Letter,
) -> Result<Status, Error> {
    let groups = group(&letter.recipients)?;
    let delivery = Delivery {
        errand: Errand {
            context,
            arguments,
            timeout,
            stop_after: arguments.stop_after.map(Into::into),
            is_quiet: arguments.quiet,
            is_stepwise: false,
        },
        directory: Directory::open(context, arguments, timeout)?,
        letter,
        message: Message::new(&letter.octets),
    };
    let mut record = recorder(context, arguments.transcript.as_deref())?;
    let mut fates = Vec::new();
    for group in &groups {
        fates.extend(delivery.deliver(group, &mut record)?);
    }
    match context.cancel.is_cancelled() {
        true => Err(Error::Cancelled),
        false => Ok(Status(exit_status(fates.iter()))),
    }
}

/// By domain, in the order of the first recipient of each.
fn group(recipients: &[Address]) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for recipient in recipients {
        let domain = recipient.domain();
        let destination = Destination::parse(domain)
            .map_err(|error| Error::Usage(format!("'{recipient}': {error}")))?;
        let known = groups
            .iter()
            .position(|group| group.destination == destination);
        match known {
            Some(known) => groups[known].recipients.push(recipient.clone()),
            None => groups.push(Group {
                destination,
                domain: domain.to_owned(),
                recipients: vec![recipient.clone()],
            }),
        }
    }
    Ok(groups)
}

impl Delivery<'_> {
    fn deliver(
        &self,
        group: &Group,
        record: &mut Recorder<'_>,
    ) -> Result<Vec<(Address, Fate)>, Error> {
        let refusal = match self.try_all(group, record)? {
            End::Final(fates) => return Ok(fates),
            End::Next(refusal) => refusal,
        };
        let recipients = group.recipients.iter();
        let fates: Vec<_> = recipients
            .map(|address| (address.clone(), Fate::Refused(refusal.clone())))
            .collect();
        for (address, fate) in &fates {
            let event = report::Event::recipient(address, fate);
            self.errand.context.out.emit(&event);
        }
        Ok(fates)
    }

    fn try_all(&self, group: &Group, record: &mut Recorder<'_>) -> Result<End, Error> {
        let mut left = ATTEMPTS_MAX;
        let domain = match &group.destination {
            Destination::Domain(domain) => domain,
            Destination::AddressLiteral(address) => {
                let host = self.directory.literal(*address);
                return self.try_host(group, &address.to_string(), &host, &mut left, record);
            }
        };
        let plan = match self.directory.exchangers(domain) {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => return Ok(End::Next(Refusal::nowhere(error))),
            Err(Cancelled) => return Ok(End::Next(stopped())),
        };
        self.errand.tell(&Event::exchangers(&group.domain, &plan));
        self.note(&group.domain, plan.notes.iter().map(ToString::to_string));
        let mut furthest: Option<Refusal> = None;
        let mut errors = Vec::new();
        for exchanger in &plan.list {
            let refusal = match self.directory.host(exchanger, plan.is_authentic) {
                Ok(Ok(host)) => {
                    let name = exchanger.name.to_string();
                    match self.try_host(group, &name, &host, &mut left, record)? {
                        End::Final(fates) => return Ok(End::Final(fates)),
                        End::Next(refusal) => refusal,
                    }
                }
                Ok(Err(error)) => {
                    let refusal = Refusal::nowhere(error.clone());
                    self.pass(&exchanger.name.to_string(), None, &refusal);
                    errors.push(error);
                    continue;
                }
                Err(Cancelled) => stopped(),
            };
            if furthest
                .as_ref()
                .is_none_or(|known| refusal.stage >= known.stage)
            {
                furthest = Some(refusal);
            }
        }
        let nowhere = || Refusal::nowhere(exchangers::Error::of_all(domain, errors));
        Ok(End::Next(furthest.unwrap_or_else(nowhere)))
    }

    fn try_host(
        &self,
        group: &Group,
        exchanger: &str,
        host: &Host,
        left: &mut usize,
        record: &mut Recorder<'_>,
    ) -> Result<End, Error> {
        self.note(&group.domain, host.notes.iter().cloned());
        if let Policy::Unknown(failure) = host.policy {
            let refusal = Refusal::unprotected(failure);
            self.pass(exchanger, None, &refusal);
            return Ok(End::Next(refusal));
        }
        self.errand
            .tell(&Event::protection(exchanger, &host.policy));
        let mut last = Refusal::unreachable(Stage::Connect, true, TOO_MANY.to_owned());
        for address in &host.addresses {
            if *left == 0 {
                break;
            }
            *left -= 1;
            let target = Target {
                exchanger,
                address: *address,
                policy: &host.policy,
            };
            match self.try_address(group, &target, record)? {
                End::Final(fates) => return Ok(End::Final(fates)),
                End::Next(refusal) => {
                    self.pass(exchanger, Some(address.to_string()), &refusal);
                    last = refusal;
                }
            }
        }
        Ok(End::Next(last))
    }

    fn try_address(
        &self,
        group: &Group,
        target: &Target,
        record: &mut Recorder<'_>,
    ) -> Result<End, Error> {
        let (context, started) = (self.errand.context, clock::now());
        let job = || Job {
            from: Some(self.letter.from.clone()),
            recipients: group.recipients.clone(),
            message: self.message.clone(),
            dsn: self.errand.arguments.dsn(),
        };
        let attempt = match self.errand.attempt(target, job, record) {
            Ok(attempt) => attempt,
            Err(Error::Cancelled) => return Ok(End::Next(stopped())),
            Err(error) => return Err(error),
        };
        let outcome = match attempt.result {
            Ok(outcome) => outcome,
            Err(Failure {
                stage,
                is_temporary,
                reason,
            }) => {
                let refusal = Refusal::unreachable(stage, is_temporary, reason);
                return Ok(End::Next(refusal));
            }
        };
        if !context.cancel.is_cancelled()
            && let Some(refusal) = passable(&outcome, attempt.doubt.as_deref(), target.policy)
        {
            return Ok(End::Next(refusal));
        }
        let (exchanger, address) = (target.exchanger, target.address);
        let server = format!("{exchanger} [{}]:{}", address.ip(), address.port());
        tell(
            context,
            std::slice::from_ref(self.letter),
            &outcome,
            server,
            clock::now() - started,
        )?;
        Ok(End::Final(outcome.messages.into_iter().flatten().collect()))
    }

    fn pass(&self, exchanger: &str, address: Option<String>, refusal: &Refusal) {
        self.errand
            .tell(&Event::passed(exchanger, address, refusal));
    }

    fn note(&self, domain: &str, notes: impl Iterator<Item = String>) {
        for text in notes {
            self.errand.tell(&Event::Noted {
                domain: domain.to_owned(),
                text,
            });
        }
    }
}

/// Whether another server may be asked: this one refuses for now, before any recipient, or has
/// not the TLS that DNS demands. What it may have taken is never offered to another.
fn passable(outcome: &Outcome, doubt: Option<&str>, policy: &Policy) -> Option<Refusal> {
    let is_early = |refusal: &&Refusal| refusal.is_temporary && refusal.stage <= Stage::Mail;
    let fates = outcome.messages.iter().flatten();
    let refusals = fates.map(|(_, fate)| refusal(fate).filter(is_early));
    let early: Option<Vec<&Refusal>> = refusals.collect();
    let first = early.and_then(|early| early.first().map(|first| (*first).clone()));
    lacks_tls(outcome, doubt, policy).or(first)
}

/// RFC 7672 section 2.2: delivery is put off then.
pub(super) fn lacks_tls(
    outcome: &Outcome,
    doubt: Option<&str>,
    policy: &Policy,
) -> Option<Refusal> {
    let (_, fate) = outcome.messages.iter().flatten().next()?;
    let refusal = refusal(fate)?;
    let is_it = refusal.stage == Stage::Tls || refusal.reason == Reason::StartTlsNotOffered;
    (is_it && !matches!(policy, Policy::None)).then(|| Refusal {
        stage: refusal.stage,
        is_temporary: true,
        reason: match (doubt, &refusal.reason) {
            (Some(doubt), Reason::Tls) => Reason::Unreachable(doubt.to_owned()),
            (_, reason) => reason.clone(),
        },
    })
}

fn refusal(fate: &Fate) -> Option<&Refusal> {
    match fate {
        Fate::Refused(refusal) => Some(refusal),
        Fate::Accepted { .. } | Fate::Unknown(_) | Fate::Stopped(_) => None,
    }
}

fn stopped() -> Refusal {
    Refusal {
        stage: Stage::Dns,
        is_temporary: true,
        reason: Reason::Cancelled,
    }
}

impl Refusal {
    pub(super) fn nowhere(error: exchangers::Error) -> Refusal {
        Refusal {
            stage: Stage::Dns,
            is_temporary: !error.is_permanent(),
            reason: Reason::Nowhere(error),
        }
    }

    pub(super) fn unprotected(failure: net::dns::outcome::Failure) -> Refusal {
        Refusal {
            stage: Stage::Dns,
            is_temporary: true,
            reason: Reason::Unreachable(format!("cannot look up whether TLS is wanted: {failure}")),
        }
    }

    pub(super) fn unreachable(stage: Stage, is_temporary: bool, reason: String) -> Refusal {
        Refusal {
            stage,
            is_temporary,
            reason: Reason::Unreachable(reason),
        }
    }
}
