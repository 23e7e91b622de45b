//! What `mail --sink` tells.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::arguments::Arguments;
use crate::output::{self, Printable, Tone};

/// Of a message's recipients; more are counted.
const RECIPIENTS_SHOWN_MAX: usize = 3;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Listening {
        address: String,
        folder: Option<String>,
        tls: Tls,
        reach: &'static str,
    },
    Message(Message),
    /// The client was told that it is to try again.
    NotKept {
        number: u64,
        client: String,
        reason: String,
    },
    /// What a client and the server say to each other.
    Said {
        client: String,
        by: Speaker,
        line: String,
    },
    Broken {
        client: String,
        reason: String,
    },
    Refused {
        client: String,
        reason: String,
    },
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    None,
    #[serde(rename = "starttls")]
    Offered,
    Implicit,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Speaker {
    Client,
    Server,
}

#[derive(Serialize)]
pub(super) struct Message {
    pub(super) number: u64,
    /// Of the envelope, like the recipients.
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) subject: Option<String>,
    pub(super) octets: usize,
    pub(super) file: Option<String>,
    pub(super) client: String,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
}

pub(super) fn listening(arguments: &Arguments, address: SocketAddr) -> Event {
    let folder = arguments.folder();
    Event::Listening {
        address: address.to_string(),
        folder: folder.map(|folder| folder.display().to_string()),
        tls: match (&arguments.tls_cert, arguments.implicit_tls) {
            (None, _) => Tls::None,
            (Some(_), false) => Tls::Offered,
            (Some(_), true) => Tls::Implicit,
        },
        reach: if address.ip().is_loopback() {
            "from this machine only"
        } else {
            "by whoever reaches that address"
        },
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening {
                address,
                folder,
                tls,
                reach,
            } => {
                let protocol = match tls {
                    Tls::None => "SMTP",
                    Tls::Offered => "SMTP with STARTTLS",
                    Tls::Implicit => "SMTP over TLS",
                };
                write!(f, "listening on {address} ({protocol}), ")?;
                match folder {
                    Some(folder) => write!(f, "messages go to {folder}, ")?,
                    None => f.write_str("messages are not kept, ")?,
                }
                write!(f, "reachable {reach}")
            }
            Event::Message(message) => message.fmt(f),
            Event::NotKept {
                number,
                client,
                reason,
            } => write!(f, "message {number} of {client} is not kept: {reason}"),
            Event::Said { client, by, line } => {
                let by = match by {
                    Speaker::Client => 'C',
                    Speaker::Server => 'S',
                };
                write!(f, "{client} {by}: {}", Printable(line.as_bytes()))
            }
            Event::Broken { reason, .. } => f.write_str(reason),
            Event::Refused { client, reason } => write!(f, "{client} was refused: {reason}"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| Printable(text.as_bytes()).to_string();
        write!(
            f,
            "message {} from <{}> to ",
            self.number,
            shown(&self.from)
        )?;
        for (index, recipient) in self.to.iter().take(RECIPIENTS_SHOWN_MAX).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}<{}>", shown(recipient))?;
        }
        if let more @ 1.. = self.to.len().saturating_sub(RECIPIENTS_SHOWN_MAX) {
            write!(f, " and {more} more")?;
        }
        if let Some(subject) = &self.subject {
            write!(f, ": '{}'", shown(subject))?;
        }
        write!(f, " ({} octets", self.octets)?;
        if self.tls {
            f.write_str(", TLS")?;
        }
        if let Some(user) = &self.user {
            write!(f, ", user {}", shown(user))?;
        }
        f.write_str(")")?;
        match &self.file {
            Some(file) => write!(f, " -> {file}"),
            None => Ok(()),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Listening { .. } => Tone::Good,
            Event::Message(_) | Event::Said { .. } => Tone::Plain,
            Event::Broken { .. } | Event::Refused { .. } => Tone::Caution,
            Event::NotKept { .. } => Tone::Bad,
        }
    }
}
