//! Mail transactions: RFC 5321 section 3.3, in groups (RFC 2920) and with BDAT (RFC 3030).

use crate::tools::mail::message::stuffing::{Stuffing, Transfer};
use crate::wire::smtp::command::{MailParameters, RcptParameters};
use crate::wire::smtp::{Reply, command};

use super::outcome::{Fate, Reason, Refusal, Stage};
use super::plan::{Job, RECIPIENTS_MAX};
use super::question::Question;
use super::transcript::Line;
use super::{Dialogue, Phase, queue_id};

/// How much of a message is sent at once.
const CHUNK_OCTETS: usize = 64 << 10;
/// A larger message waits for the replies to RCPT: when they refuse, it has not been sent in vain.
const GROUP_MESSAGE_OCTETS_MAX: usize = 256 << 10;
const END_OF_DATA: &[u8] = b".\r\n";

pub(super) struct Transaction {
    /// `None` while it is open.
    pub(super) fates: Vec<Option<Fate>>,
    /// The last octet of the message is with the driver: the server may have all of it.
    pub(super) is_handed: bool,
    is_begun: bool,
}

/// The message that is being sent.
pub(super) struct Body {
    job: usize,
    transfer: Transfer,
    taken: usize,
    stuffing: Stuffing,
}

impl Transaction {
    pub(super) fn new(job: &Job) -> Transaction {
        Transaction {
            fates: vec![None; job.recipients.len()],
            is_handed: false,
            is_begun: false,
        }
    }

    /// An end that comes before its first reply finds it there, whatever the one before was at.
    pub(super) fn stage_max(&self) -> Stage {
        match self.is_begun {
            true => Stage::FinalDot,
            false => Stage::Mail,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.fates.contains(&None)
    }

    pub(super) fn is_untouched(&self) -> bool {
        !self.is_handed && self.fates.iter().all(Option::is_none)
    }

    fn settle(&mut self, fate: &Fate) {
        for open in self.fates.iter_mut().filter(|open| open.is_none()) {
            *open = Some(fate.clone());
        }
    }
}

impl Dialogue<'_> {
    /// The next message that the server could take, or QUIT.
    pub(super) fn begin_next(&mut self) {
        while self.next_job < self.plan.jobs.len() {
            let job = self.next_job;
            self.next_job += 1;
            if !self.transactions[job].is_open() {
                continue;
            }
            match self.begin(job) {
                Ok(()) => return,
                Err(refusal) => self.transactions[job].settle(&Fate::Refused(refusal)),
            }
        }
        self.quit();
    }

    /// All that was asked is answered.
    pub(super) fn advance(&mut self) {
        let transaction = self.transactions.get(self.job);
        let is_open = transaction.is_some_and(Transaction::is_open);
        match self.plan.stop_after {
            Some(stage) if stage < Stage::FinalDot => self.stop_or_ask_data(stage, is_open),
            _ if !self.is_content_asked && is_open => self.ask_content(self.job),
            _ => self.begin_next(),
        }
    }

    pub(super) fn uses_pipelining(&self) -> bool {
        self.plan.pipelining && self.facts.extensions.pipelining
    }

    pub(super) fn on_mail(&mut self, job: usize, reply: Reply) {
        self.transactions[job].is_begun = true;
        match reply.code / 100 {
            2 => self.needs_reset = true,
            3 => self.on_unexpected(Stage::Mail, reply),
            _ => {
                self.queue.clear();
                let refused = Fate::Refused(Refusal::by(Stage::Mail, reply));
                self.transactions[job].settle(&refused);
            }
        }
    }

    pub(super) fn on_rcpt(&mut self, job: usize, recipient: usize, reply: Reply) {
        match reply.code / 100 {
            2 => {}
            3 => self.on_unexpected(Stage::Rcpt, reply),
            _ => {
                let refusal = Refusal::by(Stage::Rcpt, reply);
                self.transactions[job].fates[recipient].get_or_insert(Fate::Refused(refusal));
            }
        }
    }

    pub(super) fn on_data(&mut self, job: usize, reply: Reply) {
        let is_open = self.transactions[job].is_open();
        match reply.code / 100 {
            2 => self.on_unexpected(Stage::Data, reply),
            3 if is_open && self.plan.stop_after == Some(Stage::Data) => {
                // QUIT would be text of the message: only to close the connection is left.
                self.stop(Stage::Data);
                self.phase = Phase::Over;
            }
            3 if is_open => self.begin_body(job),
            // RFC 2920 section 3.1: no recipient, and the server wants the message all the same.
            3 => {
                self.needs_reset = false;
                self.ask(Question::FinalDot(job), END_OF_DATA.to_vec());
            }
            _ => {
                let refused = Fate::Refused(Refusal::by(Stage::Data, reply));
                self.transactions[job].settle(&refused);
            }
        }
    }

    pub(super) fn on_final(&mut self, question: Question, job: usize, reply: Reply) {
        let fate = match reply.code / 100 {
            2 => Fate::Accepted {
                queue_id: queue_id::parse(&reply),
                reply,
            },
            3 => return self.on_unexpected(Stage::FinalDot, reply),
            _ => Fate::Refused(Refusal::by(Stage::FinalDot, reply)),
        };
        // RFC 3030 section 2: a transaction whose BDAT has failed has to be reset.
        if matches!(
            (question, &fate),
            (Question::Bdat(_), Fate::Accepted { .. })
        ) {
            self.needs_reset = false;
        }
        self.transactions[job].settle(&fate);
    }

    pub(super) fn begin_body(&mut self, job: usize) {
        let transfer = match self.uses_bdat() {
            true => Transfer::Bdat,
            false => Transfer::Data,
        };
        self.body = Some(Body {
            job,
            transfer,
            taken: 0,
            stuffing: Stuffing::new(transfer),
        });
        let octets = self.plan.jobs[job].message.octets().len();
        let line = Line::to_server(format!("({octets} octets)"), Some(Stage::Data));
        self.lines.push_back(line);
    }

    /// The next chunk. After the last one the next group may follow at once, RFC 2920 section 3.1.
    pub(super) fn write_body(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        let octets = self.plan.jobs[body.job].message.octets();
        let rest = octets.get(body.taken..).unwrap_or_default();
        let chunk = rest.get(..CHUNK_OCTETS).unwrap_or(rest);
        body.stuffing.push(chunk, &mut self.output);
        body.taken += chunk.len();
        if body.taken < octets.len() {
            self.body = Some(body);
            return;
        }
        body.stuffing.finish(&mut self.output);
        self.transactions[body.job].is_handed = true;
        let is_followed = match body.transfer {
            Transfer::Data => {
                self.expected.push_back(Question::FinalDot(body.job));
                let line = Line::to_server(".".to_owned(), Some(Stage::FinalDot));
                self.lines.push_back(line);
                self.needs_reset = false;
                true
            }
            Transfer::Bdat => self.next_job == self.plan.jobs.len(),
        };
        if is_followed && self.uses_pipelining() {
            self.begin_next();
        }
    }

    fn begin(&mut self, job: usize) -> Result<(), Refusal> {
        let refused = |reason| Refusal::permanent(Stage::Mail, reason);
        let commands = self.envelope(job).map_err(refused)?;
        self.job = job;
        self.is_content_asked = false;
        if self.needs_reset {
            self.needs_reset = false;
            self.ask(Question::Reset, command::RSET.to_vec());
        }
        let is_short = self.plan.stop_after == Some(Stage::Mail);
        for (question, octets) in commands {
            if !is_short || matches!(question, Question::Mail(_)) {
                self.ask(question, octets);
            }
        }
        let size = self.plan.jobs[job].message.octets().len();
        let is_small = !self.uses_bdat() || size <= GROUP_MESSAGE_OCTETS_MAX;
        let stops_before = self
            .plan
            .stop_after
            .is_some_and(|stage| stage < Stage::Data);
        if self.uses_pipelining() && is_small && !stops_before {
            self.ask_content(job);
        }
        Ok(())
    }

    /// MAIL and each RCPT.
    fn envelope(&self, number: usize) -> Result<Vec<(Question, Vec<u8>)>, Reason> {
        let job = &self.plan.jobs[number];
        let extensions = &self.facts.extensions;
        self.check(job)?;
        let mail = MailParameters {
            size: extensions.size.then_some(size(job)),
            is_eight_bit: job.message.is_eight_bit,
            is_smtputf8: job.needs_smtputf8(),
            returned: job.dsn.returned.filter(|_| extensions.dsn),
            envelope_id: job.dsn.envelope_id.as_ref().filter(|_| extensions.dsn),
        };
        let rcpt = RcptParameters {
            is_smtputf8: mail.is_smtputf8,
            notify: job.dsn.notify.filter(|_| extensions.dsn),
        };
        let from = command::mail_from(job.from.as_ref(), &mail)?;
        let mut commands = vec![(Question::Mail(number), from)];
        for (recipient, address) in job.recipients.iter().enumerate() {
            let to = command::rcpt_to(address, &rcpt)?;
            commands.push((Question::Rcpt(number, recipient), to));
        }
        Ok(commands)
    }

    /// Whether MAIL is worth a try.
    fn check(&self, job: &Job) -> Result<(), Reason> {
        let extensions = &self.facts.extensions;
        if job.recipients.len() > RECIPIENTS_MAX {
            return Err(Reason::Recipients);
        }
        // RFC 1870 section 6.1: the server would say so, too.
        let size = size(job);
        if let Some(size_max) = extensions.size_max.filter(|size_max| size > *size_max) {
            return Err(Reason::Size { size, size_max });
        }
        if job.needs_smtputf8() && !extensions.smtputf8 {
            return Err(Reason::NotOffered("SMTPUTF8"));
        }
        if job.message.is_eight_bit && !extensions.eight_bit_mime {
            return Err(Reason::NotOffered("8BITMIME"));
        }
        Ok(())
    }

    fn ask_content(&mut self, job: usize) {
        self.is_content_asked = true;
        let octets = self.plan.jobs[job].message.octets().len();
        match self.uses_bdat() {
            true => self.ask(Question::Bdat(job), command::bdat(octets, true)),
            false => self.ask(Question::Data(job), command::DATA.to_vec()),
        }
    }

    /// BDAT has nothing between the recipients and the message to stop after.
    fn uses_bdat(&self) -> bool {
        let is_wanted = self.plan.chunking && self.plan.stop_after != Some(Stage::Data);
        is_wanted && self.facts.extensions.chunking
    }

    fn stop_or_ask_data(&mut self, stage: Stage, is_open: bool) {
        match is_open && stage == Stage::Data && !self.is_content_asked {
            true => self.ask_content(self.job),
            false => self.stop(stage),
        }
    }
}

fn size(job: &Job) -> u64 {
    u64::try_from(job.message.octets().len()).unwrap_or(u64::MAX)
}
