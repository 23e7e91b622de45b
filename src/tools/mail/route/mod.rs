//! `mail --route`: where a message for somebody would go, and what each server there says until
//! just before the message. Nothing is sent.

mod candidates;
mod event;

use std::time::Duration;

use self::candidates::{Candidate, Candidates};
use self::event::{Event, Probe};
use super::arguments::Arguments;
use super::dane::Policy;
use super::destination::Destination;
use super::dialogue::outcome::{Fate, Refusal, Stage, exit_status};
use super::dialogue::plan::{Dsn, Job, Message};
use super::dialogue::transcript::{Direction, Line};
use super::direct::attempt::{Attempt, Errand, Target};
use super::direct::directory::Directory;
use super::direct::refusal::lacks_tls;
use super::message::address::Mailbox;
use super::report;
use super::side_by_side::side_by_side;
use crate::clock;
use crate::tool::{Context, Error, Status};
use crate::wire::smtp::Address;

/// Each has a thread and a connection.
const PROBES_MAX: usize = 32;

/// Of one address.
struct Found {
    attempt: Attempt,
    greeting: Option<String>,
    spans: Vec<(Stage, Duration)>,
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    timeout: Duration,
    to: &str,
) -> Result<Status, Error> {
    let to = mailbox("--route", to)?;
    let from = match &arguments.from {
        Some(from) => Some(mailbox("--from", from)?),
        None => None,
    };
    let destination = Destination::parse(to.domain())
        .map_err(|error| Error::Usage(format!("--route '{to}': {error}")))?;
    let started = clock::now();
    let directory = Directory::open(context, arguments, timeout)?;
    let looked_up = Candidates::look_up(context, &directory, &destination, to.domain())?;
    let candidates = match looked_up {
        Ok(candidates) => candidates,
        Err(error) => {
            let refusal = Refusal::nowhere(error);
            let reason = refusal.reason.to_string();
            let event = report::Event::failed(Stage::Dns, refusal.is_temporary, &reason, &[]);
            context.out.emit(&event);
            return Ok(Status(refusal.exit_status()));
        }
    };
    let errand = Errand {
        context,
        arguments,
        tls: arguments.tls_options("")?,
        timeout,
        stop_after: Some(Stage::Rcpt),
        is_quiet: true,
        is_stepwise: true,
    };
    let job = || Job {
        from: from.clone(),
        recipients: vec![to.clone()],
        message: Message::new(b""),
        dsn: Dsn::default(),
    };
    let fate_of = |refusal| (to.clone(), Fate::Refused(refusal));
    let mut fates: Vec<_> = candidates.refusals.into_iter().map(fate_of).collect();
    let targets: Vec<(&Candidate, Target)> = candidates.list.iter().flat_map(targets).collect();
    for together in targets.chunks(PROBES_MAX) {
        let found = side_by_side(together, |(_, target)| probe(&errand, target, job));
        for ((candidate, target), found) in together.iter().zip(found) {
            let found = found?;
            let fate = found.fate(&target.host.policy);
            let probe = Probe::of(candidate, target, &found, &fate);
            context.out.emit(&probe);
            fates.push((to.clone(), fate));
        }
    }
    if context.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let takes = |(_, fate): &&(Address, Fate)| matches!(fate, Fate::Stopped(_));
    let takers = fates.iter().filter(takes).count();
    context.out.emit(&Event::Route {
        address: to.to_string(),
        takers,
        probes: targets.len(),
        ms: report::ms(clock::now() - started),
    });
    match takers {
        0 => Ok(Status(exit_status(fates.iter()))),
        _ => Ok(Status::OK),
    }
}

fn mailbox(option: &str, text: &str) -> Result<Address, Error> {
    let parsed = Mailbox::parse(text).map(|mailbox| mailbox.address);
    parsed.map_err(|error| Error::Usage(format!("{option} '{text}': {error}")))
}

fn targets(candidate: &Candidate) -> impl Iterator<Item = (&Candidate, Target<'_>)> {
    let addresses = candidate.host.addresses.iter();
    addresses.map(move |address| {
        let target = Target {
            exchanger: &candidate.exchanger,
            address: *address,
            host: &candidate.host,
        };
        (candidate, target)
    })
}

fn probe(errand: &Errand, target: &Target, job: impl FnMut() -> Job) -> Result<Found, Error> {
    let mut spans: Vec<(Stage, Duration)> = Vec::new();
    let mut greeting = None;
    let mut last = Duration::ZERO;
    let mut record = |line: &Line, since_start: Duration| {
        let Some(stage) = line
            .stage
            .filter(|_| line.direction == Direction::FromServer)
        else {
            return;
        };
        if stage == Stage::Greeting && spans.last().is_none_or(|(last, _)| *last != stage) {
            // Another connection, with less TLS.
            spans.clear();
            last = Duration::ZERO;
            greeting = Some(line.text.clone());
        }
        let span = since_start.saturating_sub(last);
        last = since_start;
        match spans.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, known)) => *known += span,
            None => spans.push((stage, span)),
        }
    };
    let attempt = errand.attempt(target, job, &mut record)?;
    Ok(Found {
        attempt,
        greeting,
        spans,
    })
}

impl Found {
    fn fate(&self, policy: &Policy) -> Fate {
        if let Policy::Unknown(failure) = policy {
            return Fate::Refused(Refusal::unprotected(*failure));
        }
        match &self.attempt.result {
            Ok(outcome) => {
                let refusal = lacks_tls(outcome, self.attempt.doubt.as_deref(), policy);
                let fates = outcome.messages.iter().flatten();
                let fate = || fates.map(|(_, fate)| fate.clone()).next();
                refusal
                    .map(Fate::Refused)
                    .or_else(fate)
                    .unwrap_or(Fate::Stopped(Stage::Rcpt))
            }
            Err(failure) => Fate::Refused(Refusal::unreachable(failure.clone())),
        }
    }
}
