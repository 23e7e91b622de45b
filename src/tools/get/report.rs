//! What is told of an exchange beside its body.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Arguments;
use super::url::Url;
use crate::clock;
use crate::http::client::Response;
use crate::measure::size;
use crate::output::{self, Printable};
use crate::tool::{Context, Error, Status};

/// When each step was done.
pub(super) struct Times {
    began: Instant,
    pub(super) resolved: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) secured: Option<Instant>,
    pub(super) first_octet: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

impl Times {
    pub(super) fn start() -> Times {
        Times {
            began: clock::now(),
            resolved: None,
            connected: None,
            secured: None,
            first_octet: None,
            ended: None,
        }
    }
}

/// What came, and when.
#[derive(Serialize)]
#[serde(tag = "event", rename = "answer")]
pub(super) struct Answer {
    url: String,
    status: u16,
    reason: String,
    /// By their names in small letters.
    fields: BTreeMap<String, String>,
    octets: u64,
    milliseconds: Milliseconds,
    #[serde(skip)]
    shows_steps: bool,
}

/// How long each step took, of those that there were.
#[derive(Serialize)]
struct Milliseconds {
    resolve: Option<f64>,
    connect: Option<f64>,
    tls: Option<f64>,
    first_octet: Option<f64>,
    rest: Option<f64>,
    total: f64,
}

impl Milliseconds {
    fn of(times: &Times) -> Milliseconds {
        let mut last = times.began;
        let mut step = |at: Option<Instant>| {
            let at = at?;
            let span = at.saturating_duration_since(last);
            last = at;
            Some(milliseconds(span))
        };
        Milliseconds {
            resolve: step(times.resolved),
            connect: step(times.connected),
            tls: step(times.secured),
            first_octet: step(times.first_octet),
            rest: step(times.ended),
            total: milliseconds(last.saturating_duration_since(times.began)),
        }
    }
}

/// To microseconds.
fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

impl Answer {
    pub(super) fn new(url: &Url, response: &Response, octets: u64, times: &Times) -> Answer {
        let mut answer = Answer {
            url: url.text.clone(),
            status: 0,
            reason: String::new(),
            fields: BTreeMap::new(),
            octets,
            milliseconds: Milliseconds::of(times),
            shows_steps: false,
        };
        let Ok(head) = response.parsed() else {
            return answer;
        };
        answer.status = head.status;
        answer.reason = Printable(head.reason).to_string();
        for field in &head.fields.0 {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            let value = String::from_utf8_lossy(field.value);
            let values = answer.fields.entry(name).or_default();
            if !values.is_empty() {
                values.push_str(", ");
            }
            values.push_str(&value);
        }
        answer
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (octets, took) = (size::human(self.octets), &self.milliseconds);
        write!(
            f,
            "{}: {} {}, {octets}, ",
            self.url, self.status, self.reason
        )?;
        if self.shows_steps {
            for (step, span) in [
                ("resolve", took.resolve),
                ("connect", took.connect),
                ("TLS", took.tls),
                ("first octet", took.first_octet),
                ("rest", took.rest),
            ] {
                if let Some(span) = span {
                    write!(f, "{step} {span:.3} ms, ")?;
                }
            }
            f.write_str("total ")?;
        }
        write!(f, "{:.3} ms", took.total)
    }
}

impl output::Event for Answer {}

#[derive(Serialize)]
#[serde(tag = "event", rename = "head")]
struct Head {
    direction: char,
    lines: Vec<String>,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.lines.iter().enumerate() {
            let separator = if number > 0 { "\n" } else { "" };
            write!(f, "{separator}{} {line}", self.direction)?;
        }
        Ok(())
    }
}

impl output::Event for Head {}

pub(super) fn show_head(context: &Context, direction: char, head: &[u8]) {
    let lines = lines(head);
    context.out.tell(&Head { direction, lines });
}

/// The answer of HEAD is its head.
pub(super) fn print_head(context: &Context, head: &[u8]) {
    let text = lines(head).join("\n");
    context.out.emit(&output::Text { text });
}

/// Without what lets others in.
fn lines(head: &[u8]) -> Vec<String> {
    let head = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let lines = head.split(|octet| *octet == b'\n');
    lines
        .map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|octet| *octet == b':').unwrap_or(0);
            let (name, value) = line.split_at(colon);
            let is_secret = ["authorization", "proxy-authorization", "cookie"]
                .iter()
                .any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()));
            let shown = if is_secret { &b": ***"[..] } else { value };
            format!("{}{}", Printable(name), Printable(shown))
        })
        .collect()
}

pub(super) fn conclude(
    context: &Context,
    arguments: &Arguments,
    mut answer: Answer,
) -> Result<Status, Error> {
    answer.shows_steps = arguments.verbose;
    context.out.tell(&answer);
    match arguments.expect {
        Some(wanted) if wanted == answer.status => Ok(Status::OK),
        Some(wanted) => Err(Error::Negative(format!(
            "{}: {} {} instead of {wanted}",
            answer.url, answer.status, answer.reason
        ))),
        None if answer.status >= 400 => Ok(Status::NEGATIVE),
        None => Ok(Status::OK),
    }
}
