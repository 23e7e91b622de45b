//! Where a body goes: to stdout as it is, to a person as lines, or into a file.

use std::fmt;

use serde::Serialize;

use super::save::Saving;
use crate::http::head::ResponseHead;
use crate::output;
use crate::tool::{Context, Error};

/// Without a line's end, a person is shown what there is.
const LINE_OCTETS_MAX: usize = 16 << 10;

pub(super) enum Sink {
    /// For a program.
    Octets(u64),
    /// For a person.
    Lines(Lines),
    File(Saving),
}

pub(super) struct Lines {
    octets: u64,
    waiting: Vec<u8>,
    /// Nothing of it has been shown, because it is no text.
    hidden: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "body")]
struct Body<'a> {
    text: &'a str,
}

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl output::Event for Body<'_> {}

impl Sink {
    pub(super) fn stdout(context: &Context, head: &ResponseHead) -> Sink {
        if context.out.takes_octets() {
            return Sink::Octets(0);
        }
        let media_type = head.fields.first("content-type").unwrap_or_default();
        let is_kind = |kind: &str| media_type.starts_with(kind.as_bytes());
        let pictures = ["image/", "video/", "audio/", "font/"]
            .into_iter()
            .any(is_kind);
        let hidden = pictures && !is_kind("image/svg");
        Sink::Lines(Lines {
            octets: 0,
            waiting: Vec::new(),
            hidden,
        })
    }

    pub(super) fn write(&mut self, context: &Context, octets: &[u8]) -> Result<(), Error> {
        match self {
            Sink::Octets(count) => {
                *count += octets.len() as u64;
                context.out.octets(octets);
                Ok(())
            }
            Sink::Lines(lines) => {
                lines.write(context, octets);
                Ok(())
            }
            Sink::File(saving) => saving.write(context, octets),
        }
    }

    /// The body is whole: how long it was.
    pub(super) fn finish(self, context: &Context) -> Result<u64, Error> {
        match self {
            Sink::Octets(count) => Ok(count),
            Sink::Lines(mut lines) => {
                let rest = std::mem::take(&mut lines.waiting);
                if !rest.is_empty() {
                    lines.show(context, &rest);
                }
                if lines.hidden && lines.octets > 0 {
                    let octets = lines.octets;
                    context.out.notice(format!(
                        "{octets} octets that are no text; -o FILE keeps them"
                    ));
                }
                Ok(lines.octets)
            }
            Sink::File(saving) => saving.finish(),
        }
    }

    /// It broke off; what is left of it.
    pub(super) fn broken(self) -> Option<String> {
        match self {
            Sink::Octets(_) | Sink::Lines(_) => None,
            Sink::File(saving) => saving.broken(),
        }
    }
}

impl Lines {
    fn write(&mut self, context: &Context, octets: &[u8]) {
        if self.octets == 0 && octets.contains(&0) {
            self.hidden = true;
        }
        self.octets += octets.len() as u64;
        if self.hidden {
            return;
        }
        self.waiting.extend_from_slice(octets);
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.show(context, &rest[..end]);
            rest = &rest[end + 1..];
        }
        self.waiting = rest.to_vec();
        if self.waiting.len() > LINE_OCTETS_MAX {
            let piece = std::mem::take(&mut self.waiting);
            self.show(context, &piece);
        }
    }

    fn show(&self, context: &Context, line: &[u8]) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        context.out.emit(&Body { text: &text });
    }
}
