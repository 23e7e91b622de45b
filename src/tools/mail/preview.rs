//! A message before it is sent, for those who have been asked for parts of it.

use std::fmt;

use serde::Serialize;

use super::letter::Letter;
use super::message::Message;
use super::message::address::Mailbox;
use crate::measure::size;
use crate::output::{self, Tone};

const RECIPIENTS_MAX: usize = 10;

#[derive(Serialize)]
#[serde(tag = "event", rename = "preview")]
pub(super) struct Preview {
    from: String,
    to: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cc: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bcc: Vec<String>,
    messages: usize,
    subject: String,
    octets: usize,
    text: String,
}

impl Preview {
    pub(super) fn of(message: &Message, bcc: &[Mailbox], letters: &[Letter]) -> Preview {
        let addresses = |list: &[Mailbox]| -> Vec<String> {
            let addresses = list.iter().map(|mailbox| mailbox.address.to_string());
            addresses.collect()
        };
        let (cc, bcc) = (addresses(&message.cc), addresses(bcc));
        let recipients = letters.iter().flat_map(|letter| &letter.recipients);
        let recipients = recipients.map(ToString::to_string);
        Preview {
            from: message.from.address.to_string(),
            to: recipients
                .filter(|recipient| !cc.contains(recipient) && !bcc.contains(recipient))
                .collect(),
            cc,
            bcc,
            messages: letters.len(),
            subject: message.subject.clone(),
            octets: letters.iter().map(|letter| letter.octets.len()).sum(),
            text: message.text.clone(),
        }
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from    {}", self.from)?;
        for (name, all) in [("to", &self.to), ("cc", &self.cc), ("bcc", &self.bcc)] {
            let shown = &all[..all.len().min(RECIPIENTS_MAX)];
            match all.len() - shown.len() {
                _ if all.is_empty() => {}
                0 => writeln!(f, "{name:7} {}", shown.join(", "))?,
                1 => writeln!(f, "{name:7} {} and another one", shown.join(", "))?,
                more => writeln!(f, "{name:7} {} and {more} others", shown.join(", "))?,
            }
        }
        writeln!(f, "subject {}", self.subject)?;
        if self.messages > 1 {
            write!(f, "{} messages, ", self.messages)?;
        }
        let size = size::human(self.octets as u64);
        write!(f, "{size}:\n{}", self.text.trim_end())
    }
}

impl output::Event for Preview {
    fn tone(&self) -> Tone {
        Tone::Plain
    }
}
