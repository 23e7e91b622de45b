//! The server side of an SMTP dialogue that accepts everything: RFC 5321 with STARTTLS
//! (RFC 3207), AUTH (RFC 4954), SIZE (RFC 1870), PIPELINING (RFC 2920), CHUNKING (RFC 3030),
//! 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and enhanced status codes (RFC 2034).
//!
//! Some recipients misbehave, at any domain, to teach clients what servers do: `refuse` is no
//! mailbox, `later` is to be tried again, `full` has no room, and `reject` refuses the message
//! itself. Left out: what only delivery needs, such as DSN, and BINARYMIME.

mod commands;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::VecDeque;
use std::fmt::Display;
use std::mem;

use super::auth::Exchange;
use super::command::{self, AUTH_LINE_OCTETS_MAX};
use super::data::{Message, Unstuffing};
use super::input::Input;

/// RFC 5321 section 4.5.3.1.8 wants at least 100.
pub(crate) const RECIPIENTS_MAX_DEFAULT: usize = 1000;

/// Who makes as many is no mail client.
const ERRORS_MAX: usize = 10;

/// Does what octets of the client ask for, as actions of the driver, in order.
///
/// The driver polls until there is nothing more to do, and only then reads from the client.
pub(crate) struct Session {
    options: Options,
    input: Input,
    actions: VecDeque<Action>,
    phase: Phase,
    is_tls: bool,
    client: Option<Client>,
    user: Option<String>,
    transaction: Option<Transaction>,
    errors: usize,
    has_heard_auth: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) hostname: String,
    pub(crate) can_start_tls: bool,
    /// From the first octet on.
    pub(crate) is_tls: bool,
    /// Passwords would be seen by everybody on the way.
    pub(crate) can_auth_without_tls: bool,
    pub(crate) message_octets_max: usize,
    pub(crate) recipients_max: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// What the client said, for whoever looks on: without secrets, and without the message.
    Heard(String),
    /// To be written.
    Reply(Vec<u8>),
    /// The driver begins TLS and calls `tls_started`.
    StartTls,
    /// The driver keeps the message and calls `on_kept`, which then replies.
    Message(Received),
    /// Nothing follows.
    Close,
}

/// One message with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// What the client calls itself.
    pub(crate) helo: String,
    pub(crate) is_esmtp: bool,
    pub(crate) is_tls: bool,
    pub(crate) user: Option<String>,
    /// Empty is the null reverse-path.
    pub(crate) mail_from: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) octets: Vec<u8>,
    pub(crate) smtputf8: bool,
}

enum Phase {
    Commands,
    Auth(Exchange),
    Data(Unstuffing),
    Chunk {
        octets_left: usize,
        is_last: bool,
    },
    /// Until the driver has kept the message.
    Keeping,
    /// Until the driver has started TLS.
    StartingTls,
    Closed,
}

struct Client {
    helo: String,
    is_esmtp: bool,
}

struct Transaction {
    mail_from: String,
    smtputf8: bool,
    recipients: Vec<String>,
    is_rejected: bool,
    message: Message,
    is_chunked: bool,
}

impl Session {
    pub(crate) fn new(options: Options) -> Session {
        Session {
            is_tls: options.is_tls,
            options,
            input: Input::default(),
            actions: VecDeque::new(),
            phase: Phase::Commands,
            client: None,
            user: None,
            transaction: None,
            errors: 0,
            has_heard_auth: false,
        }
    }

    /// To be written before anything is read.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        let hostname = &self.options.hostname;
        format!("220 {hostname} ESMTP accepts everything and delivers nothing\r\n").into_bytes()
    }

    pub(crate) fn receive(&mut self, octets: &[u8]) {
        match self.phase {
            Phase::Closed => {}
            // They came before TLS and are none of it.
            Phase::StartingTls => self.close(),
            _ => self.input.push(octets),
        }
    }

    /// `None` waits for octets, or for what the last action asks for.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        while self.actions.is_empty() && self.advance() {}
        self.actions.pop_front()
    }

    /// RFC 3207 section 4.2: nothing is known any more of what the client said without TLS.
    pub(crate) fn tls_started(&mut self) {
        if matches!(self.phase, Phase::StartingTls) {
            self.phase = Phase::Commands;
            self.is_tls = true;
            self.client = None;
            self.user = None;
            self.transaction = None;
        }
    }

    /// The message has got a number, or could not be kept. Only now is the client told, since
    /// from then on it forgets the message.
    pub(crate) fn on_kept(&mut self, number: Option<u64>) {
        if matches!(self.phase, Phase::Keeping) {
            self.phase = Phase::Commands;
            match number {
                Some(number) => self.reply(format_args!("250 2.0.0 message {number} is accepted")),
                None => self.reply("451 4.3.0 the message could not be kept"),
            }
        }
    }

    /// The client would lose what it has sent of a message.
    pub(crate) fn is_in_message(&self) -> bool {
        matches!(self.phase, Phase::Data(_) | Phase::Chunk { .. })
    }

    /// One line or stretch of octets; whether there was any.
    fn advance(&mut self) -> bool {
        match &mut self.phase {
            Phase::Commands => self.advance_command(),
            Phase::Auth(_) => self.advance_auth(),
            Phase::Data(_) => self.advance_data(),
            Phase::Chunk { .. } => self.advance_chunk(),
            Phase::Keeping | Phase::StartingTls | Phase::Closed => false,
        }
    }

    fn advance_command(&mut self) -> bool {
        let octets_max = command::line_octets_max(self.input.rest());
        let Some(line) = self.input.take_line(octets_max) else {
            return false;
        };
        match line {
            Ok(line) => self.on_line(&line),
            Err(error) => self.reply(error),
        }
        true
    }

    fn advance_auth(&mut self) -> bool {
        let Some(line) = self.input.take_line(AUTH_LINE_OCTETS_MAX) else {
            return false;
        };
        let phase = mem::replace(&mut self.phase, Phase::Commands);
        match (line, phase) {
            (Ok(line), Phase::Auth(exchange)) => {
                self.hear("***".to_owned());
                self.on_step(exchange.on_response(&line));
            }
            (Ok(_), phase) => self.phase = phase,
            (Err(error), _) => self.reply(error),
        }
        true
    }

    fn hear(&mut self, line: String) {
        self.actions.push_back(Action::Heard(line));
    }

    /// RFC 5321 section 4.2.1: 50z is about errors in commands, and 421 closes.
    fn reply(&mut self, line: impl Display) {
        let mut line = line.to_string();
        if line.starts_with("50") {
            self.errors += 1;
        }
        if self.errors == ERRORS_MAX {
            line = "421 4.7.0 there are too many errors".to_owned();
        }
        let closes = line.starts_with("421");
        self.actions
            .push_back(Action::Reply((line + "\r\n").into()));
        if closes {
            self.close();
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.input.clear();
        self.actions.push_back(Action::Close);
    }
}
