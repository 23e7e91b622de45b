//! What a session tells, and what became of a message.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::counts::Counts;
use super::dialogue::outcome::{Fate, Refusal, Stage};
use super::dialogue::transcript::Line;
use crate::duration;
use crate::net::tls::client::Session;
use crate::output::{self, Printable, Tone};
use crate::wire::certificate::Certificate;
use crate::wire::smtp::Address;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Connected {
        server: String,
        address: String,
        ms: f64,
    },
    Said {
        /// `>` to the server, `<` from it.
        direction: char,
        text: String,
    },
    Tls {
        version: String,
        suite: String,
        names: Vec<String>,
        days_left: Option<i64>,
    },
    /// For everybody on the way to read.
    InClear { reason: String },
    /// Nothing can be sent.
    Failed {
        stage: &'static str,
        temporary: bool,
        reason: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        recipients: Vec<String>,
    },
    Recipient {
        address: String,
        result: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<&'static str>,
        /// What the server calls the message.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_id: Option<String>,
        words: String,
    },
    /// The server has ended the session.
    Another { messages: usize },
    /// Some are refused for now.
    Again { recipients: usize, seconds: f64 },
    Sent {
        server: String,
        messages: usize,
        /// Where it is one.
        message_id: Option<String>,
        queue_id: Option<String>,
        #[serde(flatten)]
        counts: Counts,
        mechanism: Option<String>,
        round_trips: u32,
        ms: f64,
    },
    /// After several sessions.
    InAll {
        attempts: u32,
        #[serde(flatten)]
        counts: Counts,
    },
    Kept {
        file: String,
        /// Who may not have it.
        recipients: Vec<String>,
        may_have_arrived: bool,
        /// The command that sends it again.
        again: String,
    },
}

impl Event {
    pub(super) fn in_all(attempts: u32, fates: &[(Address, Fate)]) -> Event {
        Event::InAll {
            attempts,
            counts: Counts::of(fates.iter()),
        }
    }

    pub(super) fn said(line: &Line) -> Event {
        Event::Said {
            direction: line.direction.sign(),
            text: Printable(line.text.as_bytes()).to_string(),
        }
    }

    pub(super) fn tls(session: &Session) -> Event {
        let names = session.leaf.as_ref().map_or(Vec::new(), Certificate::names);
        Event::Tls {
            version: session.version.to_owned(),
            suite: session.suite.to_owned(),
            names: names
                .iter()
                .map(|name: &String| Printable(name.as_bytes()).to_string())
                .collect(),
            days_left: session.days_left,
        }
    }

    pub(super) fn failed(
        stage: Stage,
        temporary: bool,
        reason: &str,
        recipients: &[String],
    ) -> Event {
        Event::Failed {
            stage: word(stage),
            temporary,
            reason: Printable(reason.as_bytes()).to_string(),
            recipients: recipients.to_vec(),
        }
    }

    pub(super) fn in_clear(reason: &str) -> Event {
        let reason = Printable(reason.as_bytes()).to_string();
        Event::InClear { reason }
    }

    pub(super) fn recipient(address: &Address, fate: &Fate) -> Event {
        let (result, stage, words) = match fate {
            Fate::Accepted { reply, .. } => ("accepted", None, reply.lines.join(" ")),
            Fate::Refused(Refusal {
                stage,
                is_temporary,
                reason,
            }) => {
                let result = if *is_temporary { "later" } else { "refused" };
                (result, Some(word(*stage)), reason.to_string())
            }
            Fate::Unknown(reason) => ("unknown", Some(word(Stage::FinalDot)), reason.to_string()),
            Fate::Stopped(stage) => ("stopped", Some(word(*stage)), String::new()),
        };
        let queue_id = match fate {
            Fate::Accepted { queue_id, .. } => queue_id.clone(),
            Fate::Refused(_) | Fate::Unknown(_) | Fate::Stopped(_) => None,
        };
        Event::Recipient {
            address: address.to_string(),
            result,
            stage,
            queue_id,
            words: Printable(words.as_bytes()).to_string(),
        }
    }
}

pub(super) fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Dns => "dns",
        Stage::Connect => "connect",
        Stage::Tls => "tls",
        Stage::Greeting => "greeting",
        Stage::Ehlo => "ehlo",
        Stage::Auth => "auth",
        Stage::Mail => "mail",
        Stage::Rcpt => "rcpt",
        Stage::Data => "data",
        Stage::FinalDot => "final dot",
    }
}

pub(super) fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected {
                server,
                address,
                ms,
            } => write!(f, "connected to {server} ({address}) in {ms:.1} ms"),
            Event::Said { direction, text } => write!(f, "{direction} {text}"),
            Event::Tls {
                version,
                suite,
                names,
                days_left,
            } => {
                let names = names.join(", ");
                write!(f, "{version}, {suite}, ")?;
                match days_left {
                    Some(1) => write!(f, "certificate of {names}, 1 day left"),
                    Some(days) => write!(f, "certificate of {names}, {days} days left"),
                    None => write!(f, "a certificate that cannot be read"),
                }
            }
            Event::InClear { reason } => write!(f, "it went in clear: {reason}"),
            Event::Failed {
                stage,
                temporary,
                reason,
                ..
            } => {
                let when = if *temporary { ", for now" } else { "" };
                write!(f, "nothing was sent ({stage}{when}): {reason}")
            }
            Event::Recipient {
                address,
                result,
                stage,
                words,
                ..
            } => {
                match *result {
                    "accepted" => write!(f, "{address}: accepted")?,
                    "later" => write!(f, "{address}: not now")?,
                    "refused" => write!(f, "{address}: refused")?,
                    "unknown" => write!(f, "{address}: nobody knows whether it was accepted")?,
                    _ => write!(f, "{address}: not sent, as asked")?,
                }
                if let Some(stage) = stage {
                    write!(f, " ({stage})")?;
                }
                match words.as_str() {
                    "" => Ok(()),
                    words => write!(f, ": {words}"),
                }
            }
            Event::Another { messages } => {
                let what = match messages {
                    1 => "one message".to_owned(),
                    many => format!("{many} messages"),
                };
                write!(
                    f,
                    "the server has ended the session; another one for {what}"
                )
            }
            Event::Again {
                recipients,
                seconds,
            } => {
                let whom = match recipients {
                    1 => "one recipient".to_owned(),
                    many => format!("{many} recipients"),
                };
                let after = duration::human(Duration::from_secs_f64(*seconds));
                write!(f, "once more for {whom} in {after}")
            }
            Event::Sent {
                server,
                messages,
                queue_id,
                counts,
                round_trips,
                ms,
                ..
            } => {
                match (counts.accepted, queue_id) {
                    (0, _) if counts.unknown > 0 => {
                        write!(f, "nobody knows whether {server} accepted it")?;
                    }
                    (0, _) => write!(f, "not accepted by {server}")?,
                    (_, Some(id)) => write!(f, "accepted by {server} as {id}")?,
                    (_, None) => write!(f, "accepted by {server}")?,
                }
                let trips = if *round_trips == 1 { "trip" } else { "trips" };
                write!(f, " in {round_trips} round {trips}, ")?;
                match *ms < 10e3 {
                    true => write!(f, "{ms:.0} ms: ")?,
                    false => write!(f, "{:.0} s: ", ms / 1e3)?,
                }
                if *messages > 1 {
                    write!(f, "{messages} messages, ")?;
                }
                write!(f, "{counts}")
            }
            Event::InAll { attempts, counts } => match attempts {
                1 => write!(f, "in all: {counts}"),
                many => write!(f, "in all, after {many} attempts: {counts}"),
            },
            Event::Kept {
                may_have_arrived,
                again,
                ..
            } => {
                let twice = match may_have_arrived {
                    true => ", and may deliver it twice",
                    false => "",
                };
                write!(
                    f,
                    "the message is kept; this sends it again{twice}: {again}"
                )
            }
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Connected { .. } | Event::Said { .. } | Event::Tls { .. } => Tone::Plain,
            Event::InClear { .. } => Tone::Caution,
            Event::Failed { .. } => Tone::Bad,
            Event::Recipient { result, .. } => match *result {
                "accepted" => Tone::Good,
                "stopped" => Tone::Plain,
                "later" | "unknown" => Tone::Caution,
                _ => Tone::Bad,
            },
            Event::Sent { counts, .. } | Event::InAll { counts, .. } if counts.is_good() => {
                Tone::Good
            }
            Event::InAll { .. } => Tone::Caution,
            Event::Another { .. }
            | Event::Again { .. }
            | Event::Sent { .. }
            | Event::Kept { .. } => Tone::Caution,
        }
    }
}

impl Line {
    /// What the transcript's file has of it.
    pub(super) fn with_time(&self, since_start: Duration) -> String {
        let text = Printable(self.text.as_bytes());
        let sign = self.direction.sign();
        format!("{:10.3} ms {sign} {text}\n", ms(since_start))
    }
}
