//! One address of an exchanger, with as much TLS as there is (RFC 7435), or as DANE demands
//! (RFC 7672).
//!
//! The library tells of a certificate that it does not believe, or accepts any without a word.
//! So the first connection is one that wants to believe it, and only the next one takes any, since
//! encryption without authentication is better than none.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::arguments::Arguments;
use super::super::broken::Broken;
use super::super::courier::{Failure, Recorder, Way};
use super::super::dane::{self, Policy};
use super::super::dialogue::outcome::{self, Outcome, Stage};
use super::super::dialogue::plan::{Job, Plan, TlsMode};
use super::event::Event;
use crate::clock;
use crate::net::tls::client::{self, Options, Session};
use crate::tool::{Context, Error};
use crate::wire::dns::record::Tlsa;

pub(crate) struct Target<'a> {
    pub(crate) exchanger: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) policy: &'a Policy,
    /// See [`Host::tls_name`](super::directory::Host::tls_name).
    pub(crate) tls_name: &'a str,
}

/// What the message is, and how it is told.
pub(crate) struct Errand<'a> {
    pub(crate) context: &'a Context,
    pub(crate) arguments: &'a Arguments,
    /// For whatever host.
    pub(crate) tls: Options,
    pub(crate) timeout: Duration,
    pub(crate) stop_after: Option<Stage>,
    pub(crate) is_quiet: bool,
    /// Each command waits for the reply to the one before, which gives each a time of its own.
    pub(crate) is_stepwise: bool,
}

pub(crate) struct Attempt {
    pub(crate) result: Result<Outcome, Failure>,
    pub(crate) session: Option<Session>,
    /// Why the certificate is not believed, or no TLS was to be had.
    pub(crate) doubt: Option<String>,
    pub(crate) dane: Option<dane::Verdict>,
    pub(crate) connect_time: Duration,
    pub(crate) tls_time: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Believed,
    Encrypted,
    Clear,
}

impl Errand<'_> {
    /// `Err` for a job that was stopped before there was a dialogue.
    pub(crate) fn attempt(
        &self,
        target: &Target,
        mut job: impl FnMut() -> Job,
        record: &mut Recorder<'_>,
    ) -> Result<Attempt, Error> {
        let mut protection = match target.policy {
            Policy::None | Policy::Unknown(_) | Policy::Encrypted => Protection::Believed,
            // Neither names nor dates nor authorities matter then (RFC 7672 section 3.1.1).
            Policy::Authenticated(_) => Protection::Encrypted,
        };
        let mut doubt = None;
        loop {
            let (mut attempt, broken) = self.once(target, protection, job(), record)?;
            let weaker = match (&broken, protection) {
                (Some(Broken::Tls(error)), _) => self.weaker(protection, error, target.policy),
                (Some(Broken::Dane(_)) | None, _) => None,
            };
            if let Some(broken) = &broken {
                self.tell(&doubted(target, broken, weaker));
                doubt.get_or_insert(broken.to_string());
            }
            if let Some(weaker) = weaker {
                protection = weaker;
                continue;
            }
            attempt.doubt = doubt;
            if let Some(event) = attempt.verdict(target.exchanger) {
                self.tell(&event);
            }
            return Ok(attempt);
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        if !self.is_quiet {
            self.context.out.emit(event);
        }
    }

    fn weaker(
        &self,
        protection: Protection,
        error: &client::Error,
        policy: &Policy,
    ) -> Option<Protection> {
        let is_free = matches!(policy, Policy::None);
        match protection {
            _ if self.context.cancel.is_cancelled() => None,
            Protection::Believed if matches!(error, client::Error::Refused(_)) => {
                Some(Protection::Encrypted)
            }
            Protection::Believed | Protection::Encrypted if is_free => Some(Protection::Clear),
            Protection::Believed | Protection::Encrypted | Protection::Clear => None,
        }
    }

    fn once(
        &self,
        target: &Target,
        protection: Protection,
        job: Job,
        record: &mut Recorder<'_>,
    ) -> Result<(Attempt, Option<Broken>), Error> {
        let host = target.exchanger;
        let mut options = Options {
            host: target.tls_name.to_owned(),
            ..self.tls.clone()
        };
        options.trust.insecure |= protection == Protection::Encrypted;
        let way = Way {
            context: self.context,
            host,
            port: target.address.port(),
            timeout: self.timeout,
            deadline: clock::now() + self.arguments.deadline,
            options,
            tlsa: target.policy.records().to_vec(),
            is_quiet: self.is_quiet,
        };
        let started = clock::now();
        let mut line = match way.connect_to(&[target.address], false, started)? {
            Ok(line) => line,
            Err(failure) => return Ok((Attempt::failed(failure, clock::now() - started), None)),
        };
        let connect_time = clock::now() - started;
        let plan = Plan {
            ehlo_name: self.arguments.ehlo_name(line.local),
            tls: match (protection, target.policy) {
                (Protection::Clear, _) => TlsMode::None,
                (_, Policy::None | Policy::Unknown(_)) => TlsMode::Opportunistic,
                (_, Policy::Encrypted | Policy::Authenticated(_)) => TlsMode::StartTls,
            },
            credentials: None,
            jobs: vec![job],
            stop_after: self.stop_after,
            pipelining: !self.is_stepwise,
            chunking: true,
        };
        let result = way.talk(&mut line, plan, record)?;
        let attempt = Attempt {
            result,
            session: line.session.take(),
            doubt: None,
            dane: line.dane,
            connect_time,
            tls_time: line.tls_time,
        };
        Ok((attempt, line.broken.take()))
    }
}

fn doubted(target: &Target, broken: &Broken, weaker: Option<Protection>) -> Event {
    let (verdict, then) = match (broken, weaker, target.policy) {
        (Broken::Dane(_), ..) => ("mismatched", "this exchanger is not used"),
        (_, Some(Protection::Clear), _) => ("no_tls", "the message goes in clear"),
        (_, Some(_), Policy::Encrypted) => (
            "not_trusted",
            "it is taken all the same, since what DNS has of it cannot be compared here",
        ),
        (_, Some(_), _) => (
            "not_trusted",
            "it is taken all the same, since DNS asks for no more",
        ),
        (_, None, _) => ("no_tls", "this exchanger is not used"),
    };
    Event::certificate(target.exchanger, verdict, &format!("{broken}; {then}"))
}

impl Attempt {
    /// Unless it was told already.
    fn verdict(&self, exchanger: &str) -> Option<Event> {
        let text = |verdict: dane::Verdict| format!("{exchanger}: {verdict}");
        match (self.dane, &self.session, &self.doubt, &self.result) {
            (Some(verdict @ dane::Verdict::Matched), ..) => {
                Some(Event::certificate(exchanger, "matched", &text(verdict)))
            }
            (Some(dane::Verdict::Mismatched), ..) => None,
            (None, Some(_), None, _) => {
                let text = format!("the certificate of {exchanger} is trusted");
                Some(Event::certificate(exchanger, "trusted", &text))
            }
            (None, None, None, Ok(outcome)) => match &outcome.facts.protection {
                outcome::Protection::ClearAfter(reason) => {
                    let text = format!("{exchanger}: in clear: {reason}");
                    Some(Event::certificate(exchanger, "no_tls", &text))
                }
                _ => None,
            },
            (None, ..) => None,
        }
    }

    fn failed(failure: Failure, connect_time: Duration) -> Attempt {
        Attempt {
            result: Err(failure),
            session: None,
            doubt: None,
            dane: None,
            connect_time,
            tls_time: Duration::ZERO,
        }
    }
}

impl Policy {
    fn records(&self) -> &[Tlsa] {
        match self {
            Policy::Authenticated(records) => records,
            Policy::None | Policy::Encrypted | Policy::Unknown(_) => &[],
        }
    }
}
