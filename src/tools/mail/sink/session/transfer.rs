//! The data and the chunks of a message, and what becomes of it behind them.

use super::super::data::{Fault, Unstuffing};
use super::commands::Refusal;
use super::{Action, Phase, Received, Session};

impl Session {
    pub(super) fn advance_data(&mut self) -> bool {
        let (Phase::Data(unstuffing), Some(transaction)) = (&mut self.phase, &mut self.transaction)
        else {
            return false;
        };
        let used = unstuffing.unstuff(self.input.rest(), &mut transaction.message);
        let is_complete = *unstuffing == Unstuffing::Complete;
        self.input.skip(used);
        if is_complete {
            let octets = transaction.message.octets_pushed;
            self.hear(format!("... a message of {octets} octets"));
            self.hear(".".to_owned());
            self.finish_message();
        }
        used > 0
    }

    /// The octets of a chunk are not commands even when the chunk is refused.
    pub(super) fn advance_chunk(&mut self) -> bool {
        let Phase::Chunk {
            octets_left,
            is_last,
        } = self.phase
        else {
            return false;
        };
        let refusal = self.check_chunk().err();
        let rest = self.input.rest();
        let octets = &rest[..rest.len().min(octets_left)];
        if let (Some(transaction), None) = (&mut self.transaction, refusal) {
            transaction.message.push(octets);
        }
        let used = octets.len();
        self.input.skip(used);
        let octets_left = octets_left - used;
        if octets_left > 0 {
            self.phase = Phase::Chunk {
                octets_left,
                is_last,
            };
            return used > 0;
        }
        self.phase = Phase::Commands;
        match refusal {
            Some(refusal) => self.reply(refusal),
            None if is_last => self.finish_message(),
            None => self.finish_chunk(),
        }
        true
    }

    fn check_chunk(&self) -> Result<(), Refusal> {
        self.check_esmtp()?;
        let transaction = self.transaction.as_ref().ok_or(Refusal::NoMail)?;
        match transaction.recipients.is_empty() {
            true => Err(Refusal::NoRecipients),
            false => Ok(()),
        }
    }

    fn finish_chunk(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_chunked = true;
            match transaction.message.is_too_large {
                // RFC 3030 section 2: further chunks find no message.
                true => {
                    self.transaction = None;
                    self.reply(Fault::TooLarge);
                }
                false => self.reply("250 2.0.0 the chunk is accepted"),
            }
        }
    }

    fn finish_message(&mut self) {
        self.phase = Phase::Commands;
        let (Some(transaction), Some(client)) = (self.transaction.take(), &self.client) else {
            return;
        };
        let octets = match transaction.message.finish() {
            Ok(_) if transaction.is_rejected => return self.reply(Refusal::Rejected),
            Ok(octets) => octets,
            Err(fault) => return self.reply(fault),
        };
        self.phase = Phase::Keeping;
        self.actions.push_back(Action::Message(Received {
            helo: client.helo.clone(),
            is_esmtp: client.is_esmtp,
            is_tls: self.is_tls,
            user: self.user.clone(),
            mail_from: transaction.mail_from,
            recipients: transaction.recipients,
            octets,
            smtputf8: transaction.smtputf8,
        }));
    }
}
