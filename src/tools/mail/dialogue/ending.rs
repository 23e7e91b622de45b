//! How a dialogue ends, and what that means for what is still open.

use crate::wire::smtp::{Reply, command};

use super::outcome::{Fate, Reason, Refusal, Stage};
use super::question::Question;
use super::transaction::Transaction;
use super::{Dialogue, Phase};

/// Why the rest is not done.
pub(super) enum End {
    Failed(Refusal),
    Stopped(Stage),
}

impl Dialogue<'_> {
    /// It goes on with QUIT; what is still open gets this for a fate.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        self.end = Some(End::Failed(refusal));
        self.quit();
    }

    pub(super) fn stop(&mut self, stage: Stage) {
        self.end = Some(End::Stopped(stage));
        self.quit();
    }

    pub(super) fn quit(&mut self) {
        self.queue.clear();
        self.is_quitting = true;
        // RFC 5321 section 4.1.1.5: who only wanted to look takes back what has begun.
        if self.plan.stop_after.is_some() && self.needs_reset {
            self.ask(Question::LastReset, command::RSET.to_vec());
        }
        self.ask(Question::Quit, command::QUIT.to_vec());
    }

    /// No reply to the last RSET or to QUIT changes anything.
    pub(super) fn lost(&mut self, reason: Reason) {
        let next = self.expected.front();
        let is_leaving = matches!(next, None | Some(Question::LastReset | Question::Quit));
        if self.is_quitting && is_leaving {
            self.phase = Phase::Over;
            return;
        }
        self.abort(Refusal {
            stage: self.stage(),
            // Nothing has been refused for good.
            is_temporary: true,
            reason,
        });
    }

    pub(super) fn abort(&mut self, refusal: Refusal) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.end = Some(End::Failed(refusal));
        }
    }

    pub(super) fn fate_at_end(&self, transaction: &Transaction) -> Fate {
        let refusal = match &self.end {
            Some(End::Stopped(stage)) => return Fate::Stopped(*stage),
            Some(End::Failed(refusal)) => refusal.clone(),
            None => return Fate::Unknown(Reason::Cancelled),
        };
        // A reply ends the dialogue before the server has come to what follows.
        let is_answered = matches!(refusal.reason, Reason::Reply(_));
        match transaction.is_handed && !is_answered {
            true => Fate::Unknown(refusal.reason),
            false => Fate::Refused(Refusal {
                stage: refusal.stage.min(transaction.stage_max()),
                ..refusal
            }),
        }
    }

    /// A class that the command does not have: nobody knows any more which reply is whose.
    pub(super) fn on_unexpected(&mut self, stage: Stage, reply: Reply) {
        self.abort(Refusal {
            stage,
            is_temporary: true,
            reason: Reason::Unexpected(reply),
        });
    }

    /// Where a lost connection finds the dialogue.
    pub(super) fn stage(&self) -> Stage {
        let queued = self.queue.front().map(|command| command.question);
        let next = self.expected.front().copied().or(queued);
        match next {
            _ if self.phase == Phase::StartingTls => Stage::Tls,
            None | Some(Question::Bdat(_)) if self.body.is_some() => Stage::Data,
            None => Stage::Mail,
            Some(question) => question.stage().unwrap_or(Stage::FinalDot),
        }
    }
}
