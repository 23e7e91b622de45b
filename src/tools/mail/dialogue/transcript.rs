//! What people may see of a dialogue: commands and replies, and stars for secrets.

use crate::tools::mail::sasl::secret::Secret;
use crate::wire::smtp::Reply;

use super::outcome::Stage;

/// Their number says nothing about the secret.
pub(super) const STARS: &str = "********";
/// Of what is no reply, enough to tell what speaks there.
const GARBLED_OCTETS_MAX: usize = 200;

/// As it went over the wire: what the server says may hold control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) direction: Direction,
    pub(crate) text: String,
    /// QUIT belongs to none.
    pub(crate) stage: Option<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    FromServer,
    /// What neither has said.
    Aside,
}

impl Line {
    pub(crate) fn aside(text: String) -> Line {
        Line {
            direction: Direction::Aside,
            text,
            stage: None,
        }
    }

    pub(super) fn to_server(text: String, stage: Option<Stage>) -> Line {
        Line {
            direction: Direction::ToServer,
            text,
            stage,
        }
    }
}

impl Direction {
    pub(crate) fn sign(self) -> char {
        match self {
            Direction::ToServer => '>',
            Direction::FromServer => '<',
            Direction::Aside => '*',
        }
    }
}

/// A line for each of the reply's.
pub(super) fn lines(reply: &Reply, stage: Option<Stage>) -> impl Iterator<Item = Line> {
    let last = reply.lines.len().saturating_sub(1);
    reply.lines.iter().enumerate().map(move |(place, text)| {
        let separator = if place == last { ' ' } else { '-' };
        let line = format!("{}{separator}{text}", reply.code);
        Line {
            direction: Direction::FromServer,
            text: line.trim_end().to_owned(),
            stage,
        }
    })
}

/// The first line of what is no reply.
pub(super) fn garbled(input: &[u8], stage: Option<Stage>) -> Line {
    let start = input.get(..GARBLED_OCTETS_MAX).unwrap_or(input);
    let end = memchr::memchr2(b'\r', b'\n', start).unwrap_or(start.len());
    Line {
        direction: Direction::FromServer,
        text: String::from_utf8_lossy(start.get(..end).unwrap_or_default()).into_owned(),
        stage,
    }
}

/// A line that has so much of a secret is not shown. By chance nothing has.
const TELLING_OCTETS: usize = 8;

/// Servers that do not understand a command like to repeat it, or as much as their buffer holds: a
/// line of theirs with a secret in it, or with a part of one, becomes stars. So do all of them
/// where one is spread over several.
pub(super) fn scrub<'a>(reply: &Reply, secrets: impl Iterator<Item = &'a Secret>) -> Reply {
    let mut scrubbed = reply.clone();
    let whole = reply.lines.concat();
    for secret in secrets.filter(|secret| !secret.octets().is_empty()) {
        let parts = secret.octets().len().min(TELLING_OCTETS);
        let is_in = |text: &str| {
            let mut parts = secret.octets().windows(parts);
            parts.any(|part| memchr::memmem::find(text.as_bytes(), part).is_some())
        };
        if !is_in(&whole) {
            continue;
        }
        let is_spread = !reply.lines.iter().any(|line| is_in(line));
        for line in &mut scrubbed.lines {
            if is_spread || is_in(line) {
                STARS.clone_into(line);
            }
        }
    }
    scrubbed
}
