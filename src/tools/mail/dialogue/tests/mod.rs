//! Transcripts: what the server sends (`S:`) and what the client must have said (`C:`).

use std::collections::BTreeMap;

use super::outcome::{Fate, Outcome, exit_status};
use super::plan::{Credentials, Dsn, Job, Message, Plan, TlsMode};
use super::{Dialogue, Patience, Step};
use crate::tools::mail::sasl::secret::Secret;
use crate::wire::smtp::Address;
use crate::wire::smtp::command::EhloName;

mod authentication;
mod endings;
mod opening;
mod pipelining;
mod transaction;

const CANARY: &str = "s3cret pass\\word";

/// In clear, without an extension, for one recipient.
fn plan<'a>() -> Plan<'a> {
    Plan {
        ehlo_name: EhloName::new("pc.example.org", [127, 0, 0, 1].into()),
        tls: TlsMode::None,
        credentials: None,
        jobs: vec![job(&["b@d.e"], "Subject: x\n\n.hi\n")],
        stop_after: None,
        pipelining: true,
        chunking: true,
    }
}

fn job(recipients: &[&str], message: &str) -> Job {
    let address = |text: &&str| Address::parse(text).expect(text);
    Job {
        from: Some(address(&"a@b.c")),
        recipients: recipients.iter().map(address).collect(),
        message: Message::new(message.as_bytes()),
        dsn: Dsn::default(),
    }
}

fn credentials(secret: &Secret) -> Credentials<'_> {
    Credentials {
        user: "ann",
        secret,
        is_token: false,
        mechanisms: None,
        is_allowed_in_clear: false,
        nonce: "rOprNGfwEbeRWgbNEkqO",
    }
}

/// What came of it, and all that may be shown.
struct Played {
    outcome: Outcome,
    transcript: Vec<String>,
    patience: Vec<Patience>,
}

impl Played {
    /// A recipient each: what became of it, with the exit status of a refusal.
    fn fates(&self) -> String {
        let fates = self.outcome.messages.iter().flatten();
        let words = fates.map(|(_, fate)| match fate {
            Fate::Accepted { queue_id, .. } => {
                format!("accepted {}", queue_id.as_deref().unwrap_or("-"))
            }
            Fate::Refused(refusal) => format!("{} {}", refusal.exit_status(), refusal.reason),
            Fate::Unknown(reason) => format!("unknown: {reason}"),
            Fate::Stopped(stage) => format!("stopped after {stage:?}"),
        });
        words.collect::<Vec<String>>().join("; ")
    }

    fn exit_status(&self) -> u8 {
        exit_status(self.outcome.messages.iter().flatten())
    }
}

/// A line `TLS` is the handshake. The last line may be an accident: `closed`, `timeout`, `cancel`.
/// What the server says at one time comes in pieces of so many octets.
#[track_caller]
fn play(plan: Plan<'_>, script: &str, piece: usize) -> Played {
    let mut dialogue = Dialogue::new(plan);
    let mut patience = BTreeMap::new();
    let mut said = String::new();
    let mut meant = String::new();
    let mut heard = String::new();
    talk(&mut dialogue, &mut said, &mut patience);
    for line in script.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("S: ") {
            heard += &format!("{text}\r\n");
            continue;
        }
        for octets in heard.as_bytes().chunks(piece) {
            dialogue.received(octets);
        }
        if !heard.is_empty() {
            assert_eq!(said, meant);
            heard.clear();
        }
        if let Some(text) = line.strip_prefix("C:") {
            meant += &format!("{}\r\n", text.trim_start());
        }
        // What was heard comes after all that is said.
        let step = talk(&mut dialogue, &mut said, &mut patience);
        match line {
            "TLS" => {
                assert!(matches!(step, Step::StartTls));
                dialogue.tls_started(None);
            }
            "closed" => dialogue.closed(None),
            "timeout" => dialogue.timed_out(),
            "cancel" => dialogue.cancelled(),
            _ => {}
        }
    }
    for octets in heard.as_bytes().chunks(piece) {
        dialogue.received(octets);
    }
    let step = talk(&mut dialogue, &mut said, &mut patience);
    assert_eq!(said, meant);
    assert!(matches!(step, Step::Done), "{step:?}");
    let transcript = std::iter::from_fn(|| dialogue.next_line())
        .map(|line| format!("{} {}", line.direction.sign(), line.text));
    Played {
        transcript: transcript.collect(),
        patience: patience.into_values().collect(),
        outcome: dialogue.into_outcome(),
    }
}

/// Until there is something to wait for.
fn talk(
    dialogue: &mut Dialogue<'_>,
    said: &mut String,
    patience: &mut BTreeMap<u64, Patience>,
) -> Step {
    loop {
        match dialogue.poll() {
            Step::Send { octets, .. } => {
                said.push_str(str::from_utf8(octets.octets()).expect("UTF-8"));
            }
            step => {
                if let Step::Receive {
                    patience: next,
                    reply_number,
                } = step
                {
                    patience.insert(reply_number, next);
                }
                return step;
            }
        }
    }
}

/// Whole and octet by octet, the same comes of it.
#[track_caller]
fn check<'a>(plan: impl Fn() -> Plan<'a>, script: &str, fates: &str) -> Played {
    let by_octet = play(plan(), script, 1);
    let whole = play(plan(), script, usize::MAX);
    assert_eq!(whole.fates(), fates);
    assert_eq!(by_octet.fates(), fates);
    // Of what is no reply, only what had come can be shown.
    assert_eq!(by_octet.transcript.len(), whole.transcript.len());
    let pairs = whole.transcript.iter().zip(&by_octet.transcript);
    for (line, by_octet) in pairs {
        assert!(line.starts_with(by_octet.as_str()), "{by_octet}: {line}");
    }
    let shown = format!("{:?} {:?} {fates}", whole.transcript, whole.outcome);
    for secret in [
        CANARY,
        "czNjcmV0IHBhc3Ncd29yZA",
        "MzY3JldCBwYXNzXHdvcm",
        "zM2NyZXQgcGFzc1x3b3Jk",
        "s3cret%20pass",
        "733363726574",
    ] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    whole
}
