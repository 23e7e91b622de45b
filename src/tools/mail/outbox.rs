//! The letters of one command: a session with their server, or another one when it ends the first.

use std::time::Duration;

use super::arguments::{Arguments, Tls};
use super::attempts::{Fates, deliver, keep_unknown};
use super::broken::{Broken, advice};
use super::counts::Counts;
use super::courier::{Failure, Recorder, Reporter, Way};
use super::dialogue::outcome::{Fate, Outcome, Protection, Refusal, Stage};
use super::dialogue::plan::{Credentials, Job, Message, Plan, TlsMode};
use super::letter::Letter;
use super::line::Line;
use super::report::{self, Event};
use super::sasl::mechanism::{Mechanism, misses_channel_binding};
use super::sasl::secret::Secret;
use crate::clock;
use crate::net::random;
use crate::tool::{Context, Error, Status};
use crate::wire::smtp::Address;

pub(super) struct Outbox<'a> {
    pub(super) way: Way<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) tls: Tls,
    pub(super) secret: Option<Secret>,
}

impl Outbox<'_> {
    pub(super) fn send(
        mut self,
        letters: Vec<Letter>,
        record: &mut Recorder<'_>,
    ) -> Result<Status, Error> {
        let (context, arguments) = (self.way.context, self.arguments);
        deliver(context, arguments, letters, |letters| {
            self.way.deadline = clock::now() + arguments.deadline;
            self.attempt(letters, record)
        })
    }

    /// A session, and another one when the server ends it too early for some letters.
    fn attempt(&self, letters: &[Letter], record: &mut Recorder<'_>) -> Result<Fates, Error> {
        let out = &self.way.context.out;
        let mut all = self.session(letters, record)?;
        let is_one = all.len() == letters.len();
        while all.len() < letters.len() {
            let left = &letters[all.len()..];
            out.emit(&Event::Another {
                messages: left.len(),
            });
            all.extend(self.session(left, record)?);
        }
        if !is_one {
            let fates: Vec<_> = all.iter().flatten().cloned().collect();
            out.emit(&Event::in_all(1, &fates));
        }
        Ok(all)
    }

    /// Of the letters that it was long enough for.
    fn session(&self, letters: &[Letter], record: &mut Recorder<'_>) -> Result<Fates, Error> {
        let (way, started) = (&self.way, clock::now());
        let mut line = match way.connect(self.tls == Tls::Implicit)? {
            Ok(line) => line,
            Err(failure) => return Ok(self.in_vain(letters, failure)),
        };
        // Who sends one to each of many wants to see how far it is.
        let is_batch = letters.len() > 1;
        let (mut told, mut settled) = (0, None);
        let mut report = |address: &Address, fate: &Fate| {
            settled = Some(clock::now());
            if is_batch {
                way.context.out.emit(&Event::recipient(address, fate));
                told += 1;
            }
        };
        let talked = self.talk(&mut line, letters, record, &mut report)?;
        let mut outcome = match talked {
            Ok(outcome) => outcome,
            Err(failure) => return Ok(self.in_vain(letters, failure)),
        };
        if let Some(broken) = &line.broken {
            return Ok(self.in_vain(letters, failure_of(broken)));
        }
        self.warn(&line, &outcome);
        let letters = &letters[..letters.len() - outcome.left()];
        outcome.messages.truncate(letters.len());
        let server = format!("{} [{}]:{}", way.host, line.peer.ip(), line.peer.port());
        // Without QUIT, for which some servers take their time.
        let took = settled.unwrap_or_else(clock::now) - started;
        self.tell_in_clear(&outcome);
        tell(way.context, letters, &outcome, told, server, took);
        for (letter, fates) in letters.iter().zip(&outcome.messages) {
            keep_unknown(way.context, self.arguments, letter, fates);
        }
        Ok(outcome.messages)
    }

    /// A session that ends before a message would be wanted.
    pub(super) fn look(&self, record: &mut Recorder<'_>) -> Result<Status, Error> {
        let talked = match self.way.connect(self.tls == Tls::Implicit)? {
            Ok(mut line) => {
                let talked = self.talk(&mut line, &[], record, &mut |_, _| {})?;
                match &line.broken {
                    Some(broken) => Err(failure_of(broken)),
                    None => talked,
                }
            }
            Err(failure) => Err(failure),
        };
        let refusal = match talked {
            Ok(Outcome { failure: None, .. }) => return Ok(Status::OK),
            Ok(Outcome {
                failure: Some(refusal),
                ..
            }) => refusal,
            Err(failure) => Refusal::unreachable(failure),
        };
        let reason = refusal.reason.to_string();
        let failed = Event::failed(refusal.stage, refusal.is_temporary, &reason, &[]);
        self.way.context.out.emit(&failed);
        Ok(Status(refusal.exit_status()))
    }

    fn talk(
        &self,
        line: &mut Line,
        letters: &[Letter],
        record: &mut Recorder<'_>,
        report: &mut Reporter<'_>,
    ) -> Result<Result<Outcome, Failure>, Error> {
        let arguments = self.arguments;
        let binding = line
            .session
            .as_ref()
            .and_then(|session| session.channel_binding.clone());
        let nonce = format!("{:016x}{:016x}", random(), random());
        let mechanisms: Option<&[Mechanism]> = match arguments.auth.as_slice() {
            [] => None,
            mechanisms => Some(mechanisms),
        };
        let credentials = arguments.user.as_deref().zip(self.secret.as_ref());
        let plan = Plan {
            ehlo_name: arguments.ehlo_name(line.local),
            tls: match self.tls {
                Tls::Implicit => TlsMode::Implicit {
                    channel_binding: binding.as_deref(),
                },
                Tls::Starttls => TlsMode::StartTls,
                Tls::Opportunistic => TlsMode::Opportunistic,
                Tls::None => TlsMode::None,
            },
            credentials: credentials.map(|(user, secret)| Credentials {
                user,
                secret,
                is_token: arguments.token,
                mechanisms,
                is_allowed_in_clear: arguments.insecure_auth,
                nonce: &nonce,
            }),
            jobs: letters
                .iter()
                .map(|letter| Job {
                    from: Some(letter.from.clone()),
                    recipients: letter.recipients.clone(),
                    message: Message::new(&letter.octets),
                    dsn: arguments.dsn(),
                })
                .collect(),
            stop_after: arguments.stop_after.map(Into::into),
            pipelining: true,
            chunking: true,
        };
        self.way.talk(line, plan, record, report)
    }

    /// Nothing was sent to anybody.
    fn in_vain(&self, letters: &[Letter], failure: Failure) -> Fates {
        let recipients = letters.iter().flat_map(|letter| &letter.recipients);
        let recipients: Vec<String> = recipients.map(ToString::to_string).collect();
        let Failure {
            stage,
            is_temporary,
            reason,
        } = &failure;
        let failed = Event::failed(*stage, *is_temporary, reason, &recipients);
        self.way.context.out.emit(&failed);
        let refusal = Refusal::unreachable(failure);
        let fate = |address: &Address| (address.clone(), Fate::Refused(refusal.clone()));
        letters
            .iter()
            .map(|letter| letter.recipients.iter().map(fate).collect())
            .collect()
    }

    fn tell_in_clear(&self, outcome: &Outcome) {
        let has_gone =
            |(_, fate): &(Address, Fate)| matches!(fate, Fate::Accepted { .. } | Fate::Unknown(_));
        if let Protection::ClearAfter(reason) = &outcome.facts.protection
            && outcome.messages.iter().flatten().any(has_gone)
        {
            let event = Event::in_clear(&reason.to_string());
            self.way.context.out.emit(&event);
        }
    }

    fn warn(&self, line: &Line, outcome: &Outcome) {
        let dsn = self.arguments.dsn();
        let is_wanted = dsn.notify.is_some() || dsn.returned.is_some() || dsn.envelope_id.is_some();
        if is_wanted && !outcome.facts.extensions.dsn && outcome.failure.is_none() {
            self.way.context.out.warn(
                "mail: the server does not offer DSN; --notify, --ret and --envid are left out",
            );
        }
        let offered = outcome.facts.extensions.auth.iter();
        let offered: Vec<&str> = offered.map(String::as_str).collect();
        let has_binding = line
            .session
            .as_ref()
            .is_some_and(|session| session.channel_binding.is_some());
        if self.secret.is_some() && misses_channel_binding(&offered, has_binding) {
            self.way.context.out.warn(
                "mail: the server could bind the login to this TLS connection, and nsh could not",
            );
        }
    }
}

fn failure_of(broken: &Broken) -> Failure {
    let advice = match broken {
        Broken::Tls(error) => advice(error),
        Broken::Dane(_) => String::new(),
    };
    Failure {
        stage: Stage::Tls,
        is_temporary: broken.is_temporary(),
        reason: format!("{broken}{advice}"),
    }
}

/// What became of the letters. Of the first recipients it may have been told already.
pub(super) fn tell(
    context: &Context,
    letters: &[Letter],
    outcome: &Outcome,
    told: usize,
    server: String,
    took: Duration,
) {
    let fates = || outcome.messages.iter().flatten();
    for (address, fate) in fates().skip(told) {
        context.out.emit(&Event::recipient(address, fate));
    }
    let is_stopped = |(_, fate): &(Address, Fate)| matches!(fate, Fate::Stopped(_));
    if !fates().any(is_stopped) {
        let is_one = letters.len() == 1;
        let queue_id = fates().find_map(|(_, fate)| match fate {
            Fate::Accepted { queue_id, .. } => queue_id.clone(),
            _ => None,
        });
        context.out.emit(&Event::Sent {
            server,
            messages: letters.len(),
            message_id: letters
                .first()
                .filter(|_| is_one)
                .and_then(|letter| letter.message_id.clone()),
            queue_id: queue_id.filter(|_| is_one),
            counts: Counts::of(fates()),
            mechanism: outcome
                .facts
                .mechanism
                .map(|mechanism| mechanism.to_string()),
            round_trips: outcome.facts.round_trips,
            ms: report::ms(took),
        });
    }
}
