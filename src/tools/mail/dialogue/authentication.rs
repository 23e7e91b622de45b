//! AUTH, RFC 4954.

use std::collections::VecDeque;

use crate::tools::mail::sasl::exchange::Exchange;
use crate::tools::mail::sasl::mechanism::{Mechanism, choose};
use crate::tools::mail::sasl::secret::Secret;
use crate::tools::mail::sasl::{self, decode_challenge};
use crate::wire::smtp::command::CommandError;
use crate::wire::smtp::{Reply, command};

use super::Dialogue;
use super::outcome::{Reason, Refusal, Stage};
use super::plan::Credentials;
use super::question::Question;
use super::transcript::{self, STARS};

const CONTINUE: u16 = 334;
/// RFC 4954 section 4: the server does not know the mechanism.
const NOT_IMPLEMENTED: u16 = 504;

#[derive(Default)]
pub(super) struct Authentication<'a> {
    /// Strongest first.
    candidates: VecDeque<Mechanism>,
    attempt: Option<Attempt<'a>>,
    /// Of the password or the token.
    shapes: Vec<Secret>,
    /// As they went over the wire.
    sent: Vec<Secret>,
    /// Waits for the server's answer to `*`.
    error: Option<Refusal>,
}

impl Authentication<'_> {
    pub(super) fn new(credentials: Option<&Credentials>) -> Self {
        let shapes = credentials.map(|credentials| credentials.secret.shapes());
        Authentication {
            shapes: shapes.unwrap_or_default(),
            ..Authentication::default()
        }
    }
}

struct Attempt<'a> {
    mechanism: Mechanism,
    exchange: Exchange<'a>,
    is_challenged: bool,
}

impl<'a> Dialogue<'a> {
    pub(super) fn authenticate(&mut self) {
        let Some(credentials) = self.plan.credentials else {
            return self.let_in();
        };
        if !self.is_secure() && !credentials.is_allowed_in_clear {
            return self.fail(Refusal::permanent(Stage::Auth, Reason::AuthInClear));
        }
        self.authentication.candidates = self.candidates(&credentials);
        let none = self.no_mechanism();
        self.try_next(&credentials, none);
    }

    pub(super) fn on_auth(&mut self, reply: &Reply, shown: Reply) {
        let Some(attempt) = self.authentication.attempt.take() else {
            return self.on_unexpected(Stage::Auth, shown);
        };
        match reply.code / 100 {
            2 => self.on_accepted(attempt, reply),
            _ if reply.code == CONTINUE => self.on_challenge(attempt, reply),
            3 => self.on_unexpected(Stage::Auth, shown),
            _ => self.on_refused(&attempt, Refusal::by(Stage::Auth, shown)),
        }
    }

    pub(super) fn on_auth_cancel(&mut self) {
        let none = self.no_mechanism();
        let error = self.authentication.error.take().unwrap_or(none);
        self.fail(error);
    }

    fn no_mechanism(&self) -> Refusal {
        let offered = self.facts.extensions.auth.to_vec();
        Refusal::permanent(Stage::Auth, Reason::NoMechanism { offered })
    }

    /// What may be shown of a reply: no secret that the server repeats.
    pub(super) fn scrub(&self, reply: &Reply) -> Reply {
        let known = self.authentication.shapes.iter();
        transcript::scrub(reply, known.chain(&self.authentication.sent))
    }

    pub(super) fn has_said_secrets(&self) -> bool {
        !self.authentication.sent.is_empty()
    }

    fn candidates(&mut self, credentials: &Credentials<'a>) -> VecDeque<Mechanism> {
        let is_allowed = |mechanism: &Mechanism| {
            let allowed = credentials.mechanisms;
            allowed.is_none_or(|allowed| allowed.contains(mechanism))
        };
        let bound = [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus];
        if !bound.iter().any(is_allowed) {
            // RFC 5802 section 6: who has something to bind to and does not is taken for the
            // victim of a downgrade.
            self.channel_binding = None;
        }
        let offered: Vec<&str> = self
            .facts
            .extensions
            .auth
            .iter()
            .map(String::as_str)
            .collect();
        let has_binding = self.channel_binding.is_some();
        let chosen = choose(
            &offered,
            credentials.user,
            has_binding,
            credentials.is_token,
        );
        chosen.into_iter().filter(is_allowed).collect()
    }

    fn try_next(&mut self, credentials: &Credentials<'a>, otherwise: Refusal) {
        let Some(mechanism) = self.authentication.candidates.pop_front() else {
            return self.fail(otherwise);
        };
        if let Err(reason) = self.start(mechanism, credentials) {
            self.fail(Refusal::permanent(Stage::Auth, reason));
        }
    }

    /// The nonce is that of the attempt before: a server that did not know the mechanism has
    /// proved nothing with it, nor have we.
    fn start(&mut self, mechanism: Mechanism, credentials: &Credentials<'a>) -> Result<(), Reason> {
        let (exchange, initial) = Exchange::start(
            mechanism,
            credentials.user,
            None,
            credentials.secret,
            credentials.nonce,
            self.channel_binding,
        )?;
        self.authentication.attempt = Some(Attempt {
            mechanism,
            exchange,
            is_challenged: false,
        });
        let name = command::Mechanism::parse(mechanism.name())?;
        let line = command::auth(name, initial.as_ref().map(Secret::octets))?;
        let shown = match initial {
            Some(_) => format!("AUTH {mechanism} {STARS}"),
            None => format!("AUTH {mechanism}"),
        };
        let sent = initial.iter().map(Secret::to_base64);
        self.authentication.sent.extend(sent);
        self.ask_showing(Question::Auth, line, shown);
        Ok(())
    }

    fn on_challenge(&mut self, attempt: Attempt<'a>, reply: &Reply) {
        if let Err(reason) = self.respond(attempt, reply) {
            self.authentication.error = Some(Refusal::permanent(Stage::Auth, reason));
            self.ask(Question::AuthCancel, command::AUTH_CANCEL.to_vec());
        }
    }

    fn respond(&mut self, mut attempt: Attempt<'a>, reply: &Reply) -> Result<(), Reason> {
        let [text] = &reply.lines[..] else {
            return Err(Reason::Sasl(sasl::Error::Malformed));
        };
        attempt.is_challenged = true;
        let response = attempt.exchange.step(&decode_challenge(text)?)?;
        let line = command::auth_response(response.octets())?;
        self.authentication.sent.push(response.to_base64());
        self.authentication.attempt = Some(attempt);
        self.ask_showing(Question::Auth, line, STARS.to_owned());
        Ok(())
    }

    fn on_accepted(&mut self, attempt: Attempt<'a>, reply: &Reply) {
        match attempt.exchange.finish(&reply.lines.join(" ")) {
            Ok(()) => {
                self.facts.mechanism = Some(attempt.mechanism);
                self.let_in();
            }
            Err(error) => self.fail(Refusal::permanent(Stage::Auth, Reason::Sasl(error))),
        }
    }

    fn on_refused(&mut self, attempt: &Attempt<'a>, refusal: Refusal) {
        let is_unknown =
            matches!(&refusal.reason, Reason::Reply(reply) if reply.code == NOT_IMPLEMENTED);
        match self.plan.credentials {
            // A weaker one after a refused proof could be what someone in between waits for.
            Some(credentials) if is_unknown && !attempt.is_challenged => {
                self.try_next(&credentials, refusal);
            }
            Some(_) | None => self.fail(refusal),
        }
    }

    fn let_in(&mut self) {
        match self.plan.stop_after {
            Some(Stage::Auth) => self.stop(Stage::Auth),
            _ => self.begin_next(),
        }
    }
}

impl From<sasl::Error> for Reason {
    fn from(error: sasl::Error) -> Reason {
        Reason::Sasl(error)
    }
}

impl From<CommandError> for Reason {
    fn from(error: CommandError) -> Reason {
        Reason::Command(error)
    }
}
