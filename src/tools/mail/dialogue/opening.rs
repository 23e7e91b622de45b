//! From the greeting to TLS: RFC 5321 sections 3.1 and 3.2, RFC 3207.

use crate::wire::smtp::extensions::Extensions;
use crate::wire::smtp::{Reply, command};

use super::outcome::{Protection, Reason, Refusal, Stage};
use super::plan::TlsMode;
use super::question::Question;
use super::{Dialogue, Phase};

/// RFC 3207 section 4. Another code of its class does not say that TLS comes next.
const READY_FOR_TLS: u16 = 220;

impl Dialogue<'_> {
    pub(super) fn on_greeting(&mut self, reply: Reply) {
        match (reply.code / 100, self.plan.stop_after) {
            (2, Some(stage @ (Stage::Dns | Stage::Connect | Stage::Greeting))) => self.stop(stage),
            (2, _) => self.hello(),
            (3, _) => self.on_unexpected(Stage::Greeting, reply),
            _ => self.fail(Refusal::by(Stage::Greeting, reply)),
        }
    }

    pub(super) fn hello(&mut self) {
        self.ask(Question::Ehlo, command::ehlo(&self.plan.ehlo_name));
    }

    pub(super) fn on_ehlo(&mut self, reply: &Reply) {
        match reply.code / 100 {
            2 => {
                self.facts.extensions = Extensions::parse(reply);
                self.on_hello();
            }
            3 => self.on_unexpected(Stage::Ehlo, reply.clone()),
            // RFC 5321 section 3.2: from before there were extensions.
            5 => self.ask(Question::Helo, command::helo(&self.plan.ehlo_name)),
            _ => self.fail(Refusal::by(Stage::Ehlo, reply.clone())),
        }
    }

    pub(super) fn on_helo(&mut self, reply: Reply) {
        match reply.code / 100 {
            2 => self.on_hello(),
            3 => self.on_unexpected(Stage::Ehlo, reply),
            _ => self.fail(Refusal::by(Stage::Ehlo, reply)),
        }
    }

    pub(super) fn on_starttls(&mut self, reply: Reply) {
        match reply.code / 100 {
            _ if reply.code == READY_FOR_TLS => self.phase = Phase::StartingTls,
            2 | 3 => self.on_unexpected(Stage::Ehlo, reply),
            _ => self.go_on_in_clear(Refusal::by(Stage::Ehlo, reply)),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        match self.facts.protection {
            Protection::ImplicitTls | Protection::StartTls => true,
            Protection::Clear | Protection::ClearAfter(_) => false,
        }
    }

    fn on_hello(&mut self) {
        let wants_tls = match self.plan.tls {
            TlsMode::StartTls | TlsMode::Opportunistic => !self.is_secure(),
            TlsMode::Implicit { .. } | TlsMode::None => false,
        };
        if !wants_tls {
            self.introduced();
        } else if self.facts.extensions.starttls {
            self.ask(Question::StartTls, command::STARTTLS.to_vec());
        } else {
            let reason = Reason::StartTlsNotOffered;
            self.go_on_in_clear(Refusal::permanent(Stage::Ehlo, reason));
        }
    }

    /// Only where TLS was no more than a wish.
    fn go_on_in_clear(&mut self, refusal: Refusal) {
        match self.plan.tls {
            TlsMode::Opportunistic => {
                self.facts.protection = Protection::ClearAfter(refusal.reason);
                self.introduced();
            }
            TlsMode::Implicit { .. } | TlsMode::StartTls | TlsMode::None => self.fail(refusal),
        }
    }

    /// Both sides have said who they are, over what there will be of TLS.
    fn introduced(&mut self) {
        match self.plan.stop_after {
            Some(stage @ (Stage::Tls | Stage::Ehlo)) => self.stop(stage),
            _ => self.authenticate(),
        }
    }
}
