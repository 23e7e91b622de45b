//! What is said, and which reply belongs to it.

use crate::tools::mail::sasl::secret::Secret;
use crate::wire::smtp::Reply;

use super::outcome::{Refusal, Stage};
use super::transcript::{self, Line};
use super::{Dialogue, Phase};

/// RFC 5321 section 3.8: the server closes the connection, whatever it was asked.
pub(super) const CLOSING: u16 = 421;

/// What a deadline is for; RFC 5321 section 4.5.3.2 has one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// To send a part of the message.
    Block,
    /// To give up here may make a duplicate.
    FinalDot,
    Quit,
}

/// Jobs, and the recipients of one, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    AuthCancel,
    Reset,
    Mail(usize),
    Rcpt(usize, usize),
    Data(usize),
    Bdat(usize),
    FinalDot(usize),
    /// In front of QUIT.
    LastReset,
    Quit,
}

pub(super) struct Command {
    pub(super) question: Question,
    pub(super) octets: Secret,
    pub(super) shown: String,
}

impl Question {
    pub(super) fn stage(self) -> Option<Stage> {
        match self {
            Question::Greeting => Some(Stage::Greeting),
            Question::Ehlo | Question::Helo | Question::StartTls => Some(Stage::Ehlo),
            Question::Auth | Question::AuthCancel => Some(Stage::Auth),
            Question::Reset | Question::Mail(_) => Some(Stage::Mail),
            Question::Rcpt(..) => Some(Stage::Rcpt),
            Question::Data(_) => Some(Stage::Data),
            Question::Bdat(_) | Question::FinalDot(_) => Some(Stage::FinalDot),
            Question::LastReset | Question::Quit => None,
        }
    }

    pub(super) fn patience(self) -> Patience {
        match self {
            Question::Greeting => Patience::Greeting,
            Question::Ehlo | Question::Helo => Patience::Ehlo,
            Question::StartTls => Patience::StartTls,
            Question::Auth | Question::AuthCancel => Patience::Auth,
            Question::Reset | Question::Mail(_) => Patience::Mail,
            Question::Rcpt(..) => Patience::Rcpt,
            Question::Data(_) => Patience::Data,
            Question::Bdat(_) | Question::FinalDot(_) => Patience::FinalDot,
            Question::LastReset | Question::Quit => Patience::Quit,
        }
    }
}

impl Dialogue<'_> {
    pub(super) fn ask(&mut self, question: Question, octets: Vec<u8>) {
        let shown = String::from_utf8_lossy(&octets).trim_end().to_owned();
        self.ask_showing(question, octets, shown);
    }

    pub(super) fn ask_showing(&mut self, question: Question, octets: Vec<u8>, shown: String) {
        self.queue.push_back(Command {
            question,
            octets: Secret::new(octets),
            shown,
        });
    }

    pub(super) fn write_command(&mut self, command: &Command) {
        self.output.extend(command.octets.octets());
        self.expected.push_back(command.question);
        let line = Line::to_server(command.shown.clone(), command.question.stage());
        self.lines.push_back(line);
        if let Question::Bdat(job) = command.question {
            self.begin_body(job);
        }
    }

    pub(super) fn on_reply(&mut self, question: Question, reply: Reply) {
        let shown = self.scrub(&reply);
        self.lines
            .extend(transcript::lines(&shown, question.stage()));
        if let (CLOSING, Some(stage)) = (reply.code, question.stage()) {
            return self.abort(Refusal::by(stage, shown));
        }
        match question {
            Question::Greeting => self.on_greeting(reply),
            Question::Ehlo => self.on_ehlo(&reply),
            Question::Helo => self.on_helo(reply),
            Question::StartTls => self.on_starttls(reply),
            Question::Auth => self.on_auth(&reply, shown),
            Question::AuthCancel => self.on_auth_cancel(),
            // Where it has failed, MAIL will.
            Question::Reset | Question::LastReset => {}
            Question::Mail(job) => self.on_mail(job, shown),
            Question::Rcpt(job, recipient) => self.on_rcpt(job, recipient, shown),
            Question::Data(job) => self.on_data(job, shown),
            Question::Bdat(job) | Question::FinalDot(job) => self.on_final(question, job, shown),
            Question::Quit => self.phase = Phase::Over,
        }
    }
}
