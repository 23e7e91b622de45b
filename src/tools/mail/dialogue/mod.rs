//! The dialogue of an SMTP client with one server, RFC 5321, from the greeting to QUIT: what to
//! say, what to wait for, and what became of each message for each recipient.
//!
//! A driver with the socket does the steps, and tells what came of them. Three ends there are:
//! accepted, refused, and unknown, when the server had all of a message and its answer is missing.
//! Nothing is ever sent twice here.
//!
//! Left out: LMTP, BURL, and a group of commands behind a BDAT whose reply is missing, which would
//! leave more messages unknown after a lost connection.

use std::collections::VecDeque;
use std::{io, mem};

use crate::tools::mail::sasl::secret::Secret;
use crate::wire::smtp::extensions::Extensions;
use crate::wire::smtp::{Address, Reply};

use authentication::Authentication;
use ending::End;
use outcome::{Facts, Fate, Outcome, Protection, Reason, Refusal, Stage};
use plan::{Plan, TlsMode};
use question::{Command, Question};
use transaction::{Body, Transaction};
use transcript::Line;

mod authentication;
mod ending;
mod opening;
pub(crate) mod outcome;
pub(crate) mod plan;
mod question;
mod queue_id;
#[cfg(test)]
mod tests;
mod transaction;
pub(crate) mod transcript;

pub(crate) use question::Patience;

/// RFC 2920 section 3.1: whoever sends for long without reading may wait for a server that waits
/// for it. So many replies fit into the smallest window.
const GROUP_REPLIES_MAX: usize = 100;

pub(crate) struct Dialogue<'a> {
    plan: Plan<'a>,
    phase: Phase,
    /// Received, and not taken for a reply yet.
    input: Vec<u8>,
    /// To be said when its turn comes.
    queue: VecDeque<Command>,
    /// What goes out next.
    output: Vec<u8>,
    /// Said, or about to be, and not answered; in this order.
    expected: VecDeque<Question>,
    body: Option<Body>,
    lines: VecDeque<Line>,
    reply_number: u64,
    has_spoken: bool,
    channel_binding: Option<&'a [u8]>,
    authentication: Authentication<'a>,
    /// One for each job.
    transactions: Vec<Transaction>,
    /// The job and the recipient of it that are [told](Dialogue::next_settled) next.
    told: (usize, usize),
    job: usize,
    next_job: usize,
    is_content_asked: bool,
    needs_reset: bool,
    is_quitting: bool,
    end: Option<End>,
    facts: Facts,
}

/// What the driver does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// AUTH may be among the octets.
    Send { octets: Secret, patience: Patience },
    /// The deadline is one for the whole reply: as long as its number stays, it stays.
    Receive {
        patience: Patience,
        reply_number: u64,
    },
    /// The handshake, then [`Dialogue::tls_started`] or [`Dialogue::tls_failed`].
    StartTls,
    /// The connection can be closed, whatever has not been read.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talking,
    StartingTls,
    Over,
}

impl<'a> Dialogue<'a> {
    pub(crate) fn new(plan: Plan<'a>) -> Dialogue<'a> {
        let (protection, channel_binding) = match plan.tls {
            TlsMode::Implicit { channel_binding } => (Protection::ImplicitTls, channel_binding),
            TlsMode::StartTls | TlsMode::Opportunistic | TlsMode::None => (Protection::Clear, None),
        };
        Dialogue {
            transactions: plan.jobs.iter().map(Transaction::new).collect(),
            authentication: Authentication::new(plan.credentials.as_ref()),
            told: (0, 0),
            plan,
            phase: Phase::Talking,
            input: Vec::new(),
            queue: VecDeque::new(),
            output: Vec::new(),
            expected: VecDeque::from([Question::Greeting]),
            body: None,
            lines: VecDeque::new(),
            reply_number: 0,
            has_spoken: false,
            channel_binding,
            job: 0,
            next_job: 0,
            is_content_asked: false,
            needs_reset: false,
            is_quitting: false,
            end: None,
            facts: Facts {
                round_trips: 0,
                mechanism: None,
                protection,
                extensions: Extensions::default(),
            },
        }
    }

    pub(crate) fn poll(&mut self) -> Step {
        loop {
            self.check_input();
            match self.phase {
                Phase::Over => return Step::Done,
                Phase::StartingTls => return Step::StartTls,
                Phase::Talking => {}
            }
            if self.expected.is_empty() || self.body.is_some() {
                self.write();
            }
            if !self.output.is_empty() {
                return self.send();
            }
            match self.expected.front() {
                Some(question) => return self.receive(*question),
                None => self.advance(),
            }
        }
    }

    pub(crate) fn received(&mut self, octets: &[u8]) {
        self.input.extend(octets);
        while self.phase == Phase::Talking
            && let Some(question) = self.expected.front().copied()
        {
            match Reply::parse(&self.input) {
                Ok(Some((reply, taken))) => {
                    self.input.drain(..taken);
                    self.expected.pop_front();
                    self.reply_number += 1;
                    self.on_reply(question, reply);
                }
                Ok(None) => return,
                Err(error) => {
                    // What a server repeats of AUTH could not be told from the rest of it.
                    if !self.has_said_secrets() {
                        let line = transcript::garbled(&self.input, question.stage());
                        self.lines.push_back(line);
                    }
                    return self.lost(Reason::Garbled(error));
                }
            }
        }
    }

    /// Also after a failed write, when what could be read has been handed in. `None` is the end
    /// of what the server sends.
    pub(crate) fn closed(&mut self, error: Option<io::ErrorKind>) {
        self.check_input();
        self.lost(error.map_or(Reason::Closed, Reason::Lost));
    }

    pub(crate) fn timed_out(&mut self) {
        self.lost(Reason::TimedOut);
    }

    /// The connection has to be closed without another octet: a dot would send what is there.
    pub(crate) fn cancelled(&mut self) {
        self.lost(Reason::Cancelled);
    }

    /// RFC 3207 section 4.2: all that was learnt in clear is forgotten.
    pub(crate) fn tls_started(&mut self, channel_binding: Option<&'a [u8]>) {
        self.check_input();
        if self.phase != Phase::StartingTls {
            return;
        }
        self.phase = Phase::Talking;
        self.channel_binding = channel_binding;
        self.facts.protection = Protection::StartTls;
        self.facts.extensions = Extensions::default();
        match self.plan.stop_after {
            Some(Stage::Tls) => self.stop(Stage::Tls),
            _ => self.hello(),
        }
    }

    /// Nothing can be said on this connection any more; on a new one it may be, in clear.
    pub(crate) fn tls_failed(&mut self, is_temporary: bool) {
        self.abort(Refusal {
            stage: Stage::Tls,
            is_temporary,
            reason: Reason::Tls,
        });
    }

    /// What has been said since the last time.
    pub(crate) fn next_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// What became of a recipient, in their order, since the last time.
    pub(crate) fn next_settled(&mut self) -> Option<(&Address, &Fate)> {
        let (mut job, mut recipient) = self.told;
        while !self.transactions.get(job)?.is_open() {
            let jobs = &self.plan.jobs[job];
            if let Some(address) = jobs.recipients.get(recipient) {
                self.told = (job, recipient + 1);
                let fate = self.transactions[job].fates[recipient].as_ref();
                return fate.map(|fate| (address, fate));
            }
            (job, recipient) = (job + 1, 0);
        }
        None
    }

    pub(crate) fn into_outcome(mut self) -> Outcome {
        if self.phase != Phase::Over {
            self.cancelled();
        }
        let untouched = self.transactions.iter().rev();
        let untouched = untouched.take_while(|transaction| transaction.is_untouched());
        let untouched = untouched.count();
        let jobs = mem::take(&mut self.plan.jobs);
        let messages = jobs.into_iter().zip(&self.transactions);
        let messages = messages.map(|(job, transaction)| {
            let fates = transaction.fates.iter().map(|fate| match fate {
                Some(fate) => fate.clone(),
                None => self.fate_at_end(transaction),
            });
            job.recipients.into_iter().zip(fates).collect()
        });
        Outcome {
            messages: messages.collect(),
            untouched,
            failure: match self.end {
                Some(End::Failed(refusal)) => Some(refusal),
                Some(End::Stopped(_)) | None => None,
            },
            facts: self.facts,
        }
    }

    /// RFC 3207 section 4.2: what someone in between has put behind the reply to STARTTLS must not
    /// be taken for the server's words. Nor is a reply one to the command that follows it.
    fn check_input(&mut self) {
        if self.input.is_empty() || !self.expected.is_empty() || self.is_quitting {
            return;
        }
        match self.phase {
            Phase::Over => {}
            Phase::StartingTls => {
                self.abort(Refusal::permanent(Stage::Ehlo, Reason::Injected));
            }
            Phase::Talking => match Reply::parse(&self.input) {
                Ok(Some((reply, _))) if self.may_come_unasked(&reply) => {
                    let stage = self.stage();
                    let reply = self.scrub(&reply);
                    self.lines.extend(transcript::lines(&reply, Some(stage)));
                    self.abort(Refusal::by(stage, reply));
                }
                _ => self.lost(Reason::Unsolicited),
            },
        }
    }

    /// A server that closes says so at any time, and may refuse a message that it has not seen the
    /// end of.
    fn may_come_unasked(&self, reply: &Reply) -> bool {
        reply.code == question::CLOSING || self.body.is_some() && reply.code >= 400
    }

    /// RFC 2920 section 3.1: as many commands as may go together, and what there is of a message.
    fn write(&mut self) {
        let limit = match self.uses_pipelining() {
            true => GROUP_REPLIES_MAX,
            false => 1,
        };
        loop {
            if self.body.is_some() {
                self.write_body();
                if self.body.is_some() {
                    return;
                }
            } else if self.expected.len() < limit
                && let Some(command) = self.queue.pop_front()
            {
                self.write_command(&command);
            } else {
                return;
            }
        }
    }

    fn send(&mut self) -> Step {
        self.has_spoken = true;
        // A group whose message is part of it has a message's time.
        let has_message =
            |question: &Question| matches!(question, Question::Bdat(_) | Question::FinalDot(_));
        let patience = match self.expected.front() {
            Some(question) if self.body.is_none() && !self.expected.iter().any(has_message) => {
                question.patience()
            }
            Some(_) | None => Patience::Block,
        };
        Step::Send {
            octets: Secret::new(mem::take(&mut self.output)),
            patience,
        }
    }

    /// Where nobody gets the message, nothing depends on the end of it.
    fn patience(&self, question: Question) -> Patience {
        match question {
            Question::FinalDot(job) | Question::Bdat(job) if !self.transactions[job].is_open() => {
                Patience::Data
            }
            _ => question.patience(),
        }
    }

    fn receive(&mut self, question: Question) -> Step {
        let is_leaving = matches!(question, Question::LastReset | Question::Quit);
        if mem::take(&mut self.has_spoken) && !is_leaving {
            self.facts.round_trips += 1;
        }
        Step::Receive {
            patience: self.patience(question),
            reply_number: self.reply_number,
        }
    }
}
