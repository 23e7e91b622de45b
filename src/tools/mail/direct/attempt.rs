//! One address of an exchanger, with as much TLS as there is (RFC 7435), or as DANE demands
//! (RFC 7672).

use std::net::SocketAddr;
use std::time::Duration;

use super::super::arguments::Arguments;
use super::super::broken::Broken;
use super::super::courier::{Failure, Recorder, Way};
use super::super::dane::{self, Policy};
use super::super::dialogue::outcome::{Outcome, Protection, Stage};
use super::super::dialogue::plan::{Job, Plan, TlsMode};
use super::directory::Host;
use super::event::Event;
use crate::clock;
use crate::net::tls::client::{Options, Session};
use crate::net::tls::trust::Scrutiny;
use crate::tool::{Context, Error};

pub(crate) struct Target<'a> {
    pub(crate) exchanger: &'a str,
    pub(crate) host: &'a Host,
    /// One of the host's.
    pub(crate) address: SocketAddr,
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

impl Errand<'_> {
    /// `Err` for a job that was stopped before there was a dialogue.
    pub(crate) fn attempt(
        &self,
        target: &Target,
        mut job: impl FnMut() -> Job,
        record: &mut Recorder<'_>,
    ) -> Result<Attempt, Error> {
        let (mut attempt, broken) = self.once(target, true, job(), record)?;
        if let Some(broken) = broken {
            let is_next_clear = matches!(broken, Broken::Tls(_))
                && matches!(target.host.policy, Policy::None)
                && !self.context.cancel.is_cancelled();
            self.tell(&no_tls(target, &broken, is_next_clear));
            if is_next_clear {
                (attempt, _) = self.once(target, false, job(), record)?;
            }
            attempt.doubt = Some(broken.to_string());
        }
        if let Some(event) = self.verdict(target, &attempt) {
            self.tell(&event);
        }
        Ok(attempt)
    }

    pub(super) fn tell(&self, event: &Event) {
        if !self.is_quiet {
            self.context.out.emit(event);
        }
    }

    /// What TLS is worth, unless that was told already.
    fn verdict(&self, target: &Target, attempt: &Attempt) -> Option<Event> {
        let exchanger = target.exchanger;
        let (verdict, text) = match attempt {
            Attempt {
                session: Some(_),
                dane: Some(dane),
                ..
            } if dane.is_good() => ("matched", format!("{exchanger}: {dane}")),
            Attempt { dane: Some(_), .. } => return None,
            Attempt {
                session:
                    Some(Session {
                        doubt: Some(doubt), ..
                    }),
                ..
            } => ("not_trusted", format!("{doubt}; {}", why_taken(target))),
            Attempt {
                session: Some(_), ..
            } => {
                let text = format!("the certificate of {exchanger} is trusted");
                ("trusted", text)
            }
            Attempt {
                session: None,
                doubt: None,
                result: Ok(outcome),
                ..
            } => match &outcome.facts.protection {
                Protection::ClearAfter(reason) => {
                    ("no_tls", format!("{exchanger}: in clear: {reason}"))
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(Event::certificate(exchanger, verdict, &text))
    }

    fn once(
        &self,
        target: &Target,
        is_tls: bool,
        job: Job,
        record: &mut Recorder<'_>,
    ) -> Result<(Attempt, Option<Broken>), Error> {
        let Target {
            exchanger, host, ..
        } = target;
        let mut options = Options {
            host: host.tls_name.clone(),
            ..self.tls.clone()
        };
        let demand = host.policy.demand(&host.names);
        options.trust.scrutiny = match &demand {
            Some(_) => Scrutiny::None,
            None => Scrutiny::Curious,
        };
        let way = Way {
            context: self.context,
            host: exchanger,
            port: target.address.port(),
            timeout: self.timeout,
            deadline: clock::now() + self.arguments.deadline,
            options,
            dane: demand,
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
            tls: match &host.policy {
                _ if !is_tls => TlsMode::None,
                Policy::None | Policy::Unknown(_) => TlsMode::Opportunistic,
                Policy::Encrypted | Policy::Authenticated(_) => TlsMode::StartTls,
            },
            credentials: None,
            jobs: vec![job],
            stop_after: self.stop_after,
            pipelining: !self.is_stepwise,
            chunking: true,
        };
        let result = way.talk(&mut line, plan, record, &mut |_, _| {})?;
        let session = line.session.take();
        let doubt = session.as_ref().and_then(|session| session.doubt.as_ref());
        let attempt = Attempt {
            result,
            doubt: doubt.map(ToString::to_string),
            session,
            dane: line.dane.take(),
            connect_time,
            tls_time: line.tls_time,
        };
        Ok((attempt, line.broken.take()))
    }
}

fn why_taken(target: &Target) -> &'static str {
    match target.host.policy {
        Policy::Encrypted => {
            "it is taken all the same, since what DNS has of it cannot be compared here"
        }
        _ => "it is taken all the same, since DNS asks for no more",
    }
}

fn no_tls(target: &Target, broken: &Broken, is_next_clear: bool) -> Event {
    let verdict = match broken {
        Broken::Dane(_) => "mismatched",
        Broken::Tls(_) => "no_tls",
    };
    let then = match is_next_clear {
        true => "the message goes in clear",
        false => "this exchanger is not used",
    };
    Event::certificate(target.exchanger, verdict, &format!("{broken}; {then}"))
}

impl Attempt {
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
