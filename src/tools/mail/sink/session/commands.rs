//! What the commands of a session do, and when they are refused.

use super::super::auth::{self, Exchange, Step};
use super::super::command::{self, Command, Mail};
use super::super::data::{Message, Unstuffing};
use super::super::path::Path;
use super::{Action, Client, Phase, Session, Transaction};

/// By local part, what RCPT is answered.
const REFUSED: [(&str, &str); 3] = [
    ("refuse", "550 5.1.1 there is no such mailbox"),
    ("later", "451 4.2.1 try again later"),
    ("full", "452 4.2.2 the mailbox is full"),
];
/// The recipient whose messages are refused after the data.
const REJECT: &str = "reject";

/// Shown as the reply to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("503 5.5.1 EHLO or HELO comes first")]
    NoHelo,
    #[error("503 5.5.1 EHLO comes first")]
    NoEhlo,
    #[error("503 5.5.1 MAIL comes first")]
    NoMail,
    #[error("503 5.5.1 a message is under way: RSET drops it")]
    InTransaction,
    #[error("503 5.5.1 BDAT goes on with BDAT")]
    Chunked,
    #[error("503 5.5.1 TLS is already in use")]
    IsTls,
    #[error("503 5.5.1 the client is already authenticated")]
    IsAuthenticated,
    /// Somebody may have put it there who wants it to be taken for what came through TLS.
    #[error("421 4.7.0 something came behind STARTTLS and before TLS")]
    BehindStartTls,
    #[error("502 5.5.1 STARTTLS is not offered")]
    NoStartTls,
    #[error("538 5.7.11 passwords are only for TLS")]
    NeedsTls,
    #[error("555 5.5.4 parameters need EHLO")]
    NoParameters,
    #[error("553 5.6.7 the address needs SMTPUTF8")]
    NeedsSmtputf8,
    #[error("552 5.3.4 the message is too large")]
    TooLarge,
    #[error("452 4.5.3 there are too many recipients")]
    TooManyRecipients,
    #[error("554 5.5.1 there are no recipients")]
    NoRecipients,
    #[error("554 5.6.0 the message is rejected")]
    Rejected,
}

const HELP: [&str; 3] = [
    "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT",
    "RSET NOOP VRFY HELP QUIT",
    "mail to refuse, later, full and reject is refused, at any domain",
];

impl Session {
    pub(super) fn on_line(&mut self, line: &str) {
        let command = command::parse(line);
        let shown = self.shown(line, &command);
        self.hear(shown);
        let done = match command {
            Ok(command) => self.on_command(command),
            Err(error) => return self.reply(error),
        };
        if let Err(refusal) = done {
            self.reply(refusal);
        }
    }

    fn shown(&mut self, line: &str, command: &Result<Command<'_>, command::Error>) -> String {
        let start = line.get(..4).unwrap_or("");
        let is_auth = start.eq_ignore_ascii_case("AUTH");
        self.has_heard_auth |= is_auth;
        match command {
            Ok(Command::Auth {
                mechanism,
                initial_response: Some(_),
            }) => format!("{start} {mechanism} ***"),
            Err(_) if is_auth => format!("{start} ***"),
            // Who does not wait for the challenges says the password even after a refusal.
            Err(command::Error::Unknown) if self.has_heard_auth => "***".to_owned(),
            Ok(_) | Err(_) => line.to_owned(),
        }
    }

    /// The reply to a client that authenticates itself.
    pub(super) fn on_step(&mut self, step: Result<Step, auth::Error>) {
        match step {
            Ok(Step::Challenge(text, exchange)) => {
                self.phase = Phase::Auth(exchange);
                self.reply(format_args!("334 {text}"));
            }
            Ok(Step::Authenticated { user }) => {
                self.user = Some(user);
                self.reply("235 2.7.0 any password is right");
            }
            Err(error) => self.reply(error),
        }
    }

    fn on_command(&mut self, command: Command<'_>) -> Result<(), Refusal> {
        match command {
            Command::Ehlo(helo) => self.on_helo(helo, true),
            Command::Helo(helo) => self.on_helo(helo, false),
            Command::StartTls => self.on_start_tls()?,
            Command::Auth {
                mechanism,
                initial_response,
            } => self.on_auth(mechanism, initial_response)?,
            Command::Mail(mail) => self.on_mail(mail)?,
            Command::Rcpt { forward_path } => self.on_rcpt(forward_path)?,
            Command::Data => self.on_data()?,
            Command::Bdat {
                chunk_octets,
                is_last,
            } => {
                self.phase = Phase::Chunk {
                    octets_left: chunk_octets,
                    is_last,
                };
            }
            Command::Rset => {
                self.transaction = None;
                self.reply("250 2.0.0 no message is under way");
            }
            Command::Noop => self.reply("250 2.0.0 nothing is done"),
            Command::Vrfy => self.reply("252 2.0.0 everybody gets mail"),
            Command::Help => self.reply_lines("214", &HELP.map(|line| format!("2.0.0 {line}"))),
            Command::Quit => {
                self.reply("221 2.0.0 good bye");
                self.close();
            }
        }
        Ok(())
    }

    /// RFC 5321 section 4.1.4: a second one drops the message that is under way.
    fn on_helo(&mut self, helo: &str, is_esmtp: bool) {
        self.transaction = None;
        self.client = Some(Client {
            helo: helo.to_owned(),
            is_esmtp,
        });
        let mut lines = vec![self.options.hostname.clone()];
        if is_esmtp {
            lines.extend(self.extensions());
        }
        self.reply_lines("250", &lines);
    }

    fn extensions(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.options.message_octets_max);
        let mut extensions = vec![size];
        let always = ["8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING", "HELP"];
        extensions.extend(always.map(str::to_owned));
        extensions.push("ENHANCEDSTATUSCODES".to_owned());
        if self.can_auth() {
            extensions.push("AUTH PLAIN LOGIN".to_owned());
        }
        if self.options.can_start_tls && !self.is_tls {
            extensions.push("STARTTLS".to_owned());
        }
        extensions
    }

    fn can_auth(&self) -> bool {
        self.is_tls || self.options.can_auth_without_tls
    }

    fn on_start_tls(&mut self) -> Result<(), Refusal> {
        if self.is_tls {
            return Err(Refusal::IsTls);
        }
        if !self.options.can_start_tls {
            return Err(Refusal::NoStartTls);
        }
        self.check_esmtp()?;
        if !self.input.rest().is_empty() {
            return Err(Refusal::BehindStartTls);
        }
        self.reply("220 2.0.0 begin TLS");
        self.actions.push_back(Action::StartTls);
        self.phase = Phase::StartingTls;
        Ok(())
    }

    fn on_auth(&mut self, mechanism: &str, initial: Option<&str>) -> Result<(), Refusal> {
        self.check_esmtp()?;
        if !self.can_auth() {
            return Err(Refusal::NeedsTls);
        }
        if self.user.is_some() {
            return Err(Refusal::IsAuthenticated);
        }
        if self.transaction.is_some() {
            return Err(Refusal::InTransaction);
        }
        self.on_step(Exchange::begin(mechanism, initial));
        Ok(())
    }

    fn on_mail(&mut self, mail: Mail<'_>) -> Result<(), Refusal> {
        let client = self.client.as_ref().ok_or(Refusal::NoHelo)?;
        if self.transaction.is_some() {
            return Err(Refusal::InTransaction);
        }
        if mail.has_parameters && !client.is_esmtp {
            return Err(Refusal::NoParameters);
        }
        let octets_max = self.options.message_octets_max;
        if mail.size.is_some_and(|size| size > octets_max) {
            return Err(Refusal::TooLarge);
        }
        check_characters(mail.reverse_path, mail.smtputf8)?;
        self.transaction = Some(Transaction {
            mail_from: mail.reverse_path.to_owned(),
            smtputf8: mail.smtputf8,
            recipients: Vec::new(),
            is_rejected: false,
            message: Message::new(octets_max),
            is_chunked: false,
        });
        self.reply("250 2.1.0 the sender is accepted");
        Ok(())
    }

    fn on_rcpt(&mut self, forward_path: Path<'_>) -> Result<(), Refusal> {
        let transaction = self.transaction.as_mut().ok_or(Refusal::NoMail)?;
        if transaction.is_chunked {
            return Err(Refusal::Chunked);
        }
        check_characters(forward_path.mailbox, transaction.smtputf8)?;
        if transaction.recipients.len() == self.options.recipients_max {
            return Err(Refusal::TooManyRecipients);
        }
        let is_for = |name: &str| forward_path.local_part.eq_ignore_ascii_case(name);
        if let Some((_, refused)) = REFUSED.iter().find(|(name, _)| is_for(name)) {
            self.reply(refused);
            return Ok(());
        }
        transaction.is_rejected |= is_for(REJECT);
        transaction.recipients.push(forward_path.mailbox.to_owned());
        self.reply("250 2.1.5 the recipient is accepted");
        Ok(())
    }

    fn on_data(&mut self) -> Result<(), Refusal> {
        let transaction = self.transaction.as_ref().ok_or(Refusal::NoMail)?;
        if transaction.is_chunked {
            return Err(Refusal::Chunked);
        }
        if transaction.recipients.is_empty() {
            return Err(Refusal::NoRecipients);
        }
        self.phase = Phase::Data(Unstuffing::LineStart);
        self.reply("354 the message ends with a dot alone on a line");
        Ok(())
    }

    pub(super) fn check_esmtp(&self) -> Result<(), Refusal> {
        match &self.client {
            Some(client) if client.is_esmtp => Ok(()),
            Some(_) | None => Err(Refusal::NoEhlo),
        }
    }

    /// RFC 5321 section 4.2.1: all lines but the last have a hyphen.
    fn reply_lines(&mut self, code: &str, lines: &[String]) {
        let mut reply = String::new();
        for (number, line) in lines.iter().enumerate() {
            let mark = if number + 1 < lines.len() { '-' } else { ' ' };
            reply += &format!("{code}{mark}{line}\r\n");
        }
        self.actions.push_back(Action::Reply(reply.into()));
    }
}

fn check_characters(mailbox: &str, smtputf8: bool) -> Result<(), Refusal> {
    match smtputf8 || mailbox.is_ascii() {
        true => Ok(()),
        false => Err(Refusal::NeedsSmtputf8),
    }
}
