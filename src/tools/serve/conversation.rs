//! One connection's requests and answers: octets in, octets out, without its socket.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::answer::{Answer, Body, Question, Response, Work, answer, takes};
use super::desk::Desk;
use super::receiving::{Receiving, TOO_LARGE};
use super::representation::Content;
use super::transfer::{Framing, Outgoing};
use crate::clock;
use crate::http::head::{Scan, parse_request};
use crate::http::request::{BodyLength, Request, interpret};
use crate::http::{self, Refusal, Version};
use crate::web::access::Record;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Shown in the log of what was no request.
const SHOWN_OCTETS_MAX: usize = 200;

pub(super) struct Conversation {
    peer: SocketAddr,
    /// Behind what the desk holds.
    pub(super) outgoing: Outgoing,
    scan: Scan,
    receiving: Option<Box<Receiving>>,
    held: Option<Box<Held>>,
    /// Nothing that comes is read as a request any more.
    pub(super) closes: bool,
    /// When the request that is being received, or answered, began.
    pub(super) began: Option<Instant>,
    /// Until the answer has been sent.
    unlogged: Option<Box<Record<'static>>>,
}

/// A request whose answer takes time.
struct Held {
    head: Vec<u8>,
    body: Vec<u8>,
}

pub(super) enum Turn {
    NeedsMore,
    Answered,
    /// The answer takes time; then [`Conversation::resume`].
    Later(Work),
}

impl Conversation {
    pub(super) fn new(peer: SocketAddr) -> Conversation {
        Conversation {
            peer,
            outgoing: Outgoing::default(),
            scan: Scan::default(),
            receiving: None,
            held: None,
            closes: false,
            began: None,
            unlogged: None,
        }
    }

    /// Whether a request has begun and not all of it has come.
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Takes one request, or a part of one, off the front of `octets`: how much that was.
    pub(super) fn turn(&mut self, octets: &[u8], desk: &mut Desk) -> (usize, Turn) {
        if let Some(receiving) = self.receiving.take() {
            return self.receive(receiving, octets, desk);
        }
        let found = match self.scan.find(octets, desk.site.limits.head_octets) {
            Ok(Some(found)) => found,
            // An empty line behind a body is not yet a request.
            Ok(None) if self.scan.is_before(octets) => {
                self.began = None;
                return (0, Turn::NeedsMore);
            }
            Ok(None) => return (0, Turn::NeedsMore),
            Err(refusal) => {
                self.refuse(refusal, octets, desk);
                return (octets.len(), Turn::Answered);
            }
        };
        self.scan = Scan::default();
        let (taken, head) = (found.end, &octets[found]);
        let request = match parse_request(head).and_then(interpret) {
            Ok(request) => request,
            Err(refusal) => {
                self.refuse(refusal, head, desk);
                return (octets.len(), Turn::Answered);
            }
        };
        if desk.site.verbose {
            desk.log.head(self.peer.ip(), head, desk.now);
        }
        if request.body == BodyLength::None {
            return (taken, self.ask(&request, head, &[], desk));
        }
        let is_too_large = matches!(
            request.body,
            BodyLength::Octets(octets) if octets > desk.site.limits.body_octets
        );
        if !takes(&desk.site, request.head.method) && (is_too_large || request.expects_continue) {
            // What the client sends all the same cannot be told from a further request.
            self.closes = true;
            return (octets.len(), self.ask(&request, head, &[], desk));
        }
        if is_too_large {
            self.refuse(TOO_LARGE, head, desk);
            return (octets.len(), Turn::Answered);
        }
        if request.expects_continue {
            desk.out.extend_from_slice(CONTINUE);
        }
        self.receiving = Some(Box::new(Receiving::new(request.body, head)));
        (taken, Turn::Answered)
    }

    fn receive(
        &mut self,
        mut receiving: Box<Receiving>,
        octets: &[u8],
        desk: &mut Desk,
    ) -> (usize, Turn) {
        let limit = desk.site.limits.body_octets;
        let (taken, is_whole) = match receiving.take(octets, limit, desk.site.echoes) {
            Ok(progress) => progress,
            Err(refusal) => {
                self.refuse(refusal, &receiving.head, desk);
                return (octets.len(), Turn::Answered);
            }
        };
        if !is_whole {
            self.receiving = Some(receiving);
            return (taken, Turn::NeedsMore);
        }
        let Receiving { head, body, .. } = *receiving;
        match parse_request(&head).and_then(interpret) {
            Ok(request) => (taken, self.ask(&request, &head, &body, desk)),
            Err(_) => (taken, Turn::Answered),
        }
    }

    fn ask(&mut self, request: &Request, head: &[u8], body: &[u8], desk: &mut Desk) -> Turn {
        match put(request, (head, body), desk, true) {
            Answer::Now(response) => {
                self.respond(Some(request), head, response, desk);
                Turn::Answered
            }
            Answer::Later(work) => {
                let (head, body) = (head.to_vec(), body.to_vec());
                self.held = Some(Box::new(Held { head, body }));
                Turn::Later(work)
            }
        }
    }

    /// The work that took time is done.
    pub(super) fn resume(&mut self, response: Option<Response>, desk: &mut Desk) {
        let Some(held) = self.held.take() else {
            return;
        };
        let Ok(request) = parse_request(&held.head).and_then(interpret) else {
            return;
        };
        let again = |desk: &mut Desk| match put(&request, (&held.head, &held.body), desk, false) {
            Answer::Now(response) => response,
            Answer::Later(_) => Response::error(503, "The server is busy."),
        };
        let response = response.unwrap_or_else(|| again(desk));
        // Earlier answers that the client has not taken come first.
        let earlier = std::mem::take(&mut self.outgoing);
        self.respond(Some(&request), &held.head, response, desk);
        if !earlier.is_empty() {
            let later = std::mem::replace(&mut self.outgoing, earlier);
            self.outgoing.push_octets(std::mem::take(&mut desk.out));
            self.outgoing.append(later);
        }
        self.began = None;
    }

    /// Answers what was no valid request, or came too slowly.
    pub(super) fn refuse(&mut self, refusal: Refusal, octets: &[u8], desk: &mut Desk) {
        self.receiving = None;
        let response = Response::refusal(refusal);
        self.respond(None, octets, response, desk);
    }

    fn respond(
        &mut self,
        request: Option<&Request>,
        head: &[u8],
        response: Response,
        desk: &mut Desk,
    ) {
        let response = response.written_for(request.map(|request| &request.head.fields));
        let version = request.map_or(Version::Http11, |request| request.head.version);
        let is_head = head.starts_with(b"HEAD ");
        let persists = request.is_some_and(|request| request.persists);
        let framing = match version {
            Version::Http11 => Framing::Chunked,
            Version::Http10 => Framing::Close,
        };
        let ends = matches!(response.body, Body::Stream(_)) && framing == Framing::Close;
        self.closes |= response.closes || !persists || ends || desk.drains;
        write_head(&response, framing, self.closes, desk);
        if version == Version::Http10 && !self.closes {
            desk.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        desk.out.extend_from_slice(b"\r\n");
        let mut octets = 0;
        match response.body {
            Body::None | Body::Error(_) => {}
            _ if is_head => {}
            Body::Octets(body) => {
                octets = body.len() as u64;
                desk.out.extend_from_slice(&body);
            }
            Body::Whole(page) => match &page.content {
                Content::Memory(body) if page.is_small() => {
                    octets = body.len() as u64;
                    desk.out.extend_from_slice(body);
                }
                Content::Memory(_) | Content::File(_) => self.outgoing.append(Outgoing::of(page)),
            },
            Body::Parts(parts) => self.outgoing.append(parts),
            Body::Stream(entries) => self.outgoing.push_stream(entries, framing),
        }
        desk.counters.count_answer(response.status);
        desk.counters.octets.add(octets);
        self.log(request, head, (response.status, octets), desk);
    }

    fn log(
        &mut self,
        request: Option<&Request>,
        head: &[u8],
        (status, octets): (u16, u64),
        desk: &mut Desk,
    ) {
        if !desk.log.wants(desk.now) {
            return;
        }
        let field = |name| {
            let value = request.and_then(|request| request.head.fields.first(name));
            value.map(String::from_utf8_lossy)
        };
        let began = self.began.unwrap_or(desk.now);
        let user = request.and_then(|request| desk.site.user(&request.head.fields).ok()?);
        let end = head.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        let end = end.unwrap_or(head.len());
        let shown = match request {
            Some(_) => end,
            None => end.min(SHOWN_OCTETS_MAX),
        };
        let record = Record {
            peer: self.peer.ip(),
            user: user.map(|user| Cow::Owned(user.to_owned())),
            request: String::from_utf8_lossy(&head[..shown]),
            status,
            octets,
            referer: field("referer"),
            user_agent: field("user-agent"),
            began,
            milliseconds: since(began),
            format: desk.log.format,
            date: Arc::clone(&desk.date.local),
        };
        match self.outgoing.is_empty() {
            true => desk.log.record(&record, desk.now),
            false => self.unlogged = Some(Box::new(record.into_owned())),
        }
    }

    /// The answer has been sent, or as much of it as the client took.
    pub(super) fn sent(&mut self, desk: &mut Desk) {
        let octets = self.outgoing.take_sent();
        if let Some(mut record) = self.unlogged.take() {
            record.octets += octets;
            record.milliseconds = since(record.began);
            desk.log.record(&record, desk.now);
        }
        desk.counters.octets.add(octets);
    }
}

fn put(request: &Request, (head, body): (&[u8], &[u8]), desk: &mut Desk, patient: bool) -> Answer {
    let question = Question {
        request,
        head,
        body,
        now: (desk.now, desk.date.wall),
    };
    let (site, library) = (&desk.site, &mut desk.library);
    answer(site, library, &desk.metrics, &question, patient)
}

/// Milliseconds, to microseconds.
fn since(began: Instant) -> f64 {
    let span = clock::now().saturating_duration_since(began);
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// All but the empty line.
fn write_head(response: &Response, framing: Framing, closes: bool, desk: &mut Desk) {
    let out = &mut desk.out;
    if response.status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let (status, reason) = (response.status, http::reason(response.status));
        out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    }
    out.extend_from_slice(desk.date.fields.as_bytes());
    out.extend_from_slice(&response.fields);
    match &response.body {
        Body::None | Body::Parts(_) | Body::Error(_) => {}
        Body::Octets(body) => {
            out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        Body::Whole(page) => out.extend_from_slice(&page.whole),
        Body::Stream(_) if framing == Framing::Close => {}
        Body::Stream(_) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(&desk.site.fields);
    if closes {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}
