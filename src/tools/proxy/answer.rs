//! The proxy's own answers: its pages, and why there is no other answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use super::client::Client;
use super::exchange::{After, NAME, Turn};
use super::failure::Failure;
use super::pages;
use super::pages::error::ErrorAnswer;
use super::rewrite::{
    Framing, Persistence, line, line_of, write_framing, write_persistence, write_status_line,
};
use super::shared::Shared;
use super::tally::{Exchange, Outcome};
use crate::clock;
use crate::http::caching::cache_status::ProxyStatus;
use crate::http::head::Fields;
use crate::http::{Refusal, Version, reason};
use crate::net::peer::Peer;

/// Of the first line of what is no request.
const LOGGED_OCTETS_MAX: usize = 1 << 10;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(media_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            media_type,
            fields: vec![("Cache-Control", "no-store".to_owned())],
            body: body.into(),
        }
    }

    pub(super) fn with_field(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    pub(super) fn page(html: String) -> Answer {
        Answer::new("text/html; charset=utf-8", html)
            .with_field("Content-Security-Policy", pages::CONTENT_SECURITY_POLICY)
            // With no-referrer, the page's own forms would say that they come from nowhere.
            .with_field("Referrer-Policy", "same-origin")
    }
}

/// Answers a head that is none, and begins so.
pub(super) fn refuse(
    client: &mut Client,
    refusal: Refusal,
    start: &[u8],
    shared: &Shared,
    out: &mut Vec<u8>,
) -> After {
    let failure = Failure::refusal(refusal);
    let (media_type, body) = page(&failure, &Fields::default());
    out.clear();
    write_failure(out, &failure);
    let framing = Framing::Octets(body.len() as u64);
    write_own_fields(out, media_type, framing, Persistence::Closes);
    if !start.starts_with(b"HEAD ") {
        out.extend_from_slice(body.as_bytes());
    }
    let stall = shared.limits.stall;
    let sent = client.peer.send_all(out, stall, &shared.cut);
    record_refusal(shared, client.address(), &failure, start, body.len());
    match sent {
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

/// As far as it can be told.
fn first_line(start: &[u8]) -> (Cow<'_, str>, Cow<'_, str>, Version) {
    let line = start
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = &line[..line.len().min(LOGGED_OCTETS_MAX)];
    let mut parts = line.trim_ascii_end().splitn(3, |octet| *octet == b' ');
    let mut part = || match parts.next() {
        Some(part @ [_, ..]) => String::from_utf8_lossy(part),
        Some([]) | None => "-".into(),
    };
    let (method, url) = (part(), part());
    let version = match parts.next() {
        Some(b"HTTP/1.0") => Version::Http10,
        Some(_) | None => Version::Http11,
    };
    (method, url, version)
}

/// Tells a client that nothing is heard from it; what does not fit is lost.
pub(super) fn turn_away(peer: &Peer, failure: &Failure, shared: &Shared, out: &mut Vec<u8>) {
    let (media_type, body) = page(failure, &Fields::default());
    out.clear();
    write_failure(out, failure);
    let framing = Framing::Octets(body.len() as u64);
    write_own_fields(out, media_type, framing, Persistence::Closes);
    out.extend_from_slice(body.as_bytes());
    let _ = peer.send_now(out);
    record_refusal(
        shared,
        peer.address.ip().to_canonical(),
        failure,
        b"",
        body.len(),
    );
}

/// Of a request that begins so.
fn record_refusal(shared: &Shared, client: IpAddr, failure: &Failure, start: &[u8], octets: usize) {
    shared.tally.count_error(failure.kind);
    let (method, url, version) = first_line(start);
    let exchange = Exchange {
        client,
        method,
        url,
        status: failure.status,
        reason: reason(failure.status),
        cache: Outcome::Own,
        octets: octets as u64,
        milliseconds: 0.0,
        origin: None,
        error: Some(failure.kind.name()),
        host: "".into(),
        version,
        user: None,
        referer: None,
        user_agent: None,
    };
    shared
        .tally
        .record(&exchange, &mut Vec::new(), clock::now());
}

fn page(failure: &Failure, fields: &Fields) -> (&'static str, String) {
    let answer = ErrorAnswer {
        status: failure.status,
        reason: reason(failure.status),
        headline: &failure.headline,
        what: &failure.what,
        why: &failure.why,
        advice: &failure.advice,
    };
    answer.emit(fields)
}

/// The status line, and what only a failure has.
fn write_failure(out: &mut Vec<u8>, failure: &Failure) {
    write_status_line(out, failure.status, reason(failure.status).as_bytes());
    let status = ProxyStatus {
        by: NAME,
        error: failure.kind,
        details: (!failure.why.is_empty()).then_some(&failure.why),
    };
    line_of(out, "Proxy-Status", status);
    let challenge = b"Basic realm=\"nsh proxy\", charset=\"UTF-8\"";
    if failure.status == 407 {
        line(out, b"Proxy-Authenticate", challenge);
    }
    if failure.status == 401 {
        line(out, b"WWW-Authenticate", challenge);
    }
    if failure.status == 503 {
        line(out, b"Retry-After", b"1");
    }
    if !failure.allow.is_empty() {
        line(out, b"Allow", failure.allow.as_bytes());
    }
    line(out, b"Cache-Control", b"no-store");
    let policy = pages::CONTENT_SECURITY_POLICY;
    line(out, b"Content-Security-Policy", policy.as_bytes());
}

fn write_own_fields(out: &mut Vec<u8>, media_type: &str, framing: Framing, stays: Persistence) {
    line(out, b"Content-Type", media_type.as_bytes());
    line(out, b"X-Content-Type-Options", b"nosniff");
    line(out, b"Date", date(clock::system()).as_bytes());
    write_framing(out, &Fields::default(), framing);
    write_persistence(out, stays);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn date(now: SystemTime) -> String {
    httpdate::fmt_http_date(now)
}

impl Turn<'_> {
    /// One of the proxy's own answers.
    pub(super) fn send_own(&mut self, answer: &Answer) -> Result<After, Failure> {
        let persistence = self.persistence();
        self.out.clear();
        write_status_line(self.out, answer.status, reason(answer.status).as_bytes());
        for (name, value) in &answer.fields {
            line(self.out, name.as_bytes(), value.as_bytes());
        }
        self.finish_own(answer.status, answer.media_type, &answer.body, persistence)
    }

    fn finish_own(
        &mut self,
        status: u16,
        media_type: &str,
        body: &[u8],
        persistence: Persistence,
    ) -> Result<After, Failure> {
        let framing = Framing::Octets(body.len() as u64);
        write_own_fields(self.out, media_type, framing, persistence);
        if self.request.head.method != b"HEAD" {
            self.out.extend_from_slice(body);
            self.note.octets = body.len() as u64;
        }
        self.note.status = status;
        self.note.outcome = Outcome::Own;
        match self.send_out() {
            Ok(()) => Ok(self.after(persistence)),
            Err(_) => Ok(After::Close),
        }
    }

    /// Tells the client why there is no answer.
    pub(super) fn fail(&mut self, failure: &Failure) -> After {
        self.note.error = Some(failure.kind);
        self.shared.tally.count_error(failure.kind);
        if self.is_answered {
            return After::Reset;
        }
        let (media_type, body) = page(failure, &self.request.head.fields);
        let persistence = self.persistence();
        self.out.clear();
        write_failure(self.out, failure);
        let outcome = self.note.outcome;
        let sent = self.finish_own(failure.status, media_type, body.as_bytes(), persistence);
        self.note.outcome = outcome;
        sent.unwrap_or(After::Close)
    }
}
