//! What direct delivery tells beside what every session does.

use std::fmt;

use serde::Serialize;

use super::super::dane::Policy;
use super::super::dialogue::outcome::Refusal;
use super::super::exchangers::Exchangers;
use super::super::report::word;
use crate::output::{self, Printable, Tone};
use crate::wire::smtp::Address;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Exchangers {
        domain: String,
        exchangers: Vec<Listed>,
        /// There is no MX record, so that the domain is its own exchanger.
        implicit: bool,
        dnssec: bool,
    },
    /// What the domain's administrator should know.
    Noted { domain: String, text: String },
    /// What TLS to the exchanger is worth.
    Protection {
        exchanger: String,
        mode: &'static str,
    },
    /// What TLS is worth that was, or was to be.
    Certificate {
        exchanger: String,
        verdict: &'static str,
        text: String,
    },
    /// The next address or exchanger may do better.
    Passed {
        exchanger: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// Where it is not about all of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        recipient: Option<String>,
        stage: &'static str,
        reason: String,
    },
}

#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) preference: u16,
    pub(crate) name: String,
}

impl Event {
    pub(crate) fn exchangers(domain: &str, plan: &Exchangers) -> Event {
        let listed = plan.list.iter().map(|exchanger| Listed {
            preference: exchanger.preference,
            name: exchanger.name.to_string(),
        });
        Event::Exchangers {
            domain: domain.to_owned(),
            exchangers: listed.collect(),
            implicit: plan.is_implicit,
            dnssec: plan.is_authentic,
        }
    }

    pub(super) fn protection(exchanger: &str, policy: &Policy) -> Event {
        Event::Protection {
            exchanger: exchanger.to_owned(),
            mode: match policy {
                Policy::None | Policy::Unknown(_) => "opportunistic",
                Policy::Encrypted => "encrypted",
                Policy::Authenticated(_) => "dane",
            },
        }
    }

    pub(super) fn certificate(exchanger: &str, verdict: &'static str, text: &str) -> Event {
        Event::Certificate {
            exchanger: exchanger.to_owned(),
            verdict,
            text: Printable(text.as_bytes()).to_string(),
        }
    }

    pub(crate) fn noted(domain: &str, text: &str) -> Event {
        Event::Noted {
            domain: domain.to_owned(),
            text: text.to_owned(),
        }
    }

    pub(crate) fn passed(
        exchanger: &str,
        address: Option<String>,
        recipient: Option<&Address>,
        refusal: &Refusal,
    ) -> Event {
        Event::Passed {
            exchanger: exchanger.to_owned(),
            address,
            recipient: recipient.map(ToString::to_string),
            stage: word(refusal.stage),
            reason: Printable(refusal.reason.to_string().as_bytes()).to_string(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Exchangers {
                domain,
                exchangers,
                implicit,
                dnssec,
            } => {
                let vouched = if *dnssec { ", by DNSSEC" } else { "" };
                if *implicit {
                    return write!(
                        f,
                        "{domain} has no MX record and takes its mail itself{vouched}"
                    );
                }
                write!(f, "exchangers of {domain}{vouched}:")?;
                for (place, Listed { preference, name }) in exchangers.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma} {preference} {name}")?;
                }
                Ok(())
            }
            Event::Noted { domain, text } => write!(f, "{domain}: {text}"),
            Event::Protection { exchanger, mode } => match *mode {
                "dane" => write!(
                    f,
                    "{exchanger}: only with TLS, and the certificate that DNS has"
                ),
                "encrypted" => write!(f, "{exchanger}: only with TLS, as DNS demands"),
                _ => write!(f, "{exchanger}: with TLS if it is offered, whoever answers"),
            },
            Event::Certificate { text, .. } => f.write_str(text),
            Event::Passed {
                exchanger,
                address,
                recipient,
                stage,
                reason,
            } => {
                write!(f, "{exchanger}")?;
                if let Some(address) = address {
                    write!(f, " ({address})")?;
                }
                write!(f, ": passed over")?;
                if let Some(recipient) = recipient {
                    write!(f, " for {recipient}")?;
                }
                write!(f, " ({stage}): {reason}")
            }
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Exchangers { .. } | Event::Protection { .. } => Tone::Plain,
            Event::Certificate { verdict, .. } if matches!(*verdict, "trusted" | "matched") => {
                Tone::Good
            }
            Event::Noted { .. } | Event::Certificate { .. } | Event::Passed { .. } => Tone::Caution,
        }
    }
}
