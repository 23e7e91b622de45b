//! One request to an origin, up to the head of its answer.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use nix::poll::PollFlags;

use super::client::Client;
use super::failure::Failure;
use super::relay::{Broken, Frames, Inflow, Patience, Relay};
use super::rewrite::{RequestPlan, end_to_end, line, write_request, write_status_line, write_via};
use super::shared::Shared;
use super::target::Target;
use super::upstream::{self, Origin, Visitor};
use crate::cancel::Wake;
use crate::clock;
use crate::http::Refusal;
use crate::http::body::Remaining;
use crate::http::caching::cache_status::ErrorType;
use crate::http::head::{Fields, ResponseHead, Scan, parse_response, parse_status};
use crate::http::request::{BodyLength, Request};
use crate::http::response::{self, body_length};
use crate::net;

/// More than any server sends; browsers take 256 KiB.
const HEAD_OCTETS_MAX: usize = 256 << 10;
/// Received at once while a head is awaited: with it comes the whole of a small answer.
const PIECE_OCTETS: usize = 8 << 10;
const INTERIM_MAX: usize = 16;

/// An answer whose body is still to come.
pub(super) struct Fetched {
    pub(super) origin: Origin,
    /// With its empty line.
    pub(super) head: Vec<u8>,
    pub(super) status: u16,
    pub(super) length: response::BodyLength,
    pub(super) request_time: SystemTime,
    pub(super) response_time: SystemTime,
    /// Of the request's body, all of it went to the origin.
    pub(super) is_request_whole: bool,
}

impl Fetched {
    pub(super) fn parsed(&self) -> Result<ResponseHead<'_>, Failure> {
        let parsed = parse_response(&self.head);
        parsed.map_err(|refusal| Failure::invalid(&self.origin.route.to_string(), refusal.why))
    }

    pub(super) fn from(&self) -> SocketAddr {
        self.origin.peer.address
    }
}

/// What is asked of whom.
pub(super) struct Question<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) target: &'a Target<'a>,
    pub(super) plan: RequestPlan<'a>,
    pub(super) visitor: Visitor,
    pub(super) began: Instant,
}

/// What can go wrong on a connection that was kept: then another one may do.
enum Trouble {
    Final(Failure),
    /// Nothing of the answer has come.
    Stale(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Final(failure)
    }
}

/// Asks, and asks again where that is safe. `client` is whose body is sent and who is told of
/// interim answers; the proxy's own requests have none.
pub(super) fn fetch(
    shared: &Shared,
    question: &Question,
    mut client: Option<&mut Client>,
    out: &mut Vec<u8>,
) -> Result<Fetched, Failure> {
    let method = question.request.head.method;
    // RFC 9110 section 9.2.2, and nothing of a body may have been used up.
    let is_repeatable = question.request.body == BodyLength::None
        && matches!(
            method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        );
    let kept = client
        .as_deref_mut()
        .and_then(|client| client.origin.take());
    let mut kept = choose(shared, question, kept);
    loop {
        let origin = match kept.take() {
            Some(origin) => origin,
            None => connect(shared, question)?,
        };
        let is_reused = origin.is_reused;
        match ask(shared, question, client.as_deref_mut(), origin, out) {
            Ok(fetched) => return Ok(fetched),
            Err(Trouble::Stale(_)) if is_reused && is_repeatable => {}
            Err(Trouble::Stale(failure) | Trouble::Final(failure)) => return Err(failure),
        }
    }
}

/// A connection that is there, if the visitor may use it.
fn choose(shared: &Shared, question: &Question, kept: Option<Origin>) -> Option<Origin> {
    let (target, upstream) = (question.target, &shared.upstream);
    let leads_there = |origin: &Origin| match upstream.parent {
        None => origin.route.port == target.port && origin.route.host == *target.host,
        Some(_) => origin.route == upstream.route(&target.host, target.port),
    };
    let usable = match kept {
        // What came behind the last answer would be taken for this one.
        Some(origin) if leads_there(&origin) && origin.peer.is_quiet() => Some(origin),
        Some(origin) => {
            upstream.keep(origin, clock::now());
            None
        }
        None => None,
    };
    let usable = usable.or_else(|| upstream.take(&upstream.route(&target.host, target.port)));
    let mut origin = usable?;
    if upstream.parent.is_none() {
        shared
            .permits(origin.peer.address.ip(), question.visitor)
            .ok()?;
    }
    origin.is_reused = true;
    shared.tally.count_reuse();
    Some(origin)
}

fn connect(shared: &Shared, question: &Question) -> Result<Origin, Failure> {
    let target = question.target;
    let deadline = question.began + shared.limits.connect_time;
    let origin = upstream::connect(
        shared,
        &target.host,
        target.port,
        question.visitor,
        deadline,
    )?;
    match origin.buffer.is_empty() {
        true => Ok(origin),
        false => Err(Failure::invalid(
            &target.host,
            "it speaks before it is asked",
        )),
    }
}

fn ask(
    shared: &Shared,
    question: &Question,
    client: Option<&mut Client>,
    mut origin: Origin,
    out: &mut Vec<u8>,
) -> Result<Fetched, Trouble> {
    let request_time = clock::system();
    out.clear();
    write_request(out, question.request, &question.plan);
    let mut exchange = Asking {
        shared,
        question,
        client,
        origin: &mut origin,
        out,
        is_request_whole: true,
        interim: 0,
    };
    let head = exchange.run()?;
    let is_request_whole = exchange.is_request_whole;
    origin.is_personal |= is_personal(&question.request.head.fields, "authorization");
    let head = take_head(&mut origin.buffer, head);
    let route = origin.route.to_string();
    let invalid = |why: &str| Failure::invalid(&route, why);
    let parsed = parse_response(&head).map_err(|refusal| invalid(refusal.why))?;
    let method = question.request.head.method;
    let length = body_length(method, &parsed).map_err(|refusal| invalid(refusal.why))?;
    let becomes_personal = is_personal(&parsed.fields, "www-authenticate");
    origin.is_personal |= becomes_personal;
    Ok(Fetched {
        status: parsed.status,
        origin,
        head,
        length,
        request_time,
        response_time: clock::system(),
        is_request_whole,
    })
}

/// Whether it is about a scheme that authenticates connections instead of requests.
fn is_personal(fields: &Fields, name: &str) -> bool {
    let is_such = |value: &[u8]| {
        let scheme = value
            .split(|octet| *octet == b' ')
            .next()
            .unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    };
    fields.tokens(name).any(is_such)
}

fn take_head(buffer: &mut Vec<u8>, head: Range<usize>) -> Vec<u8> {
    let taken = buffer[head.clone()].to_vec();
    buffer.drain(..head.end);
    taken
}

struct Asking<'q> {
    shared: &'q Shared,
    question: &'q Question<'q>,
    client: Option<&'q mut Client>,
    origin: &'q mut Origin,
    /// Holds the request's head at first.
    out: &'q mut Vec<u8>,
    is_request_whole: bool,
    /// Interim answers so far.
    interim: usize,
}

impl Asking<'_> {
    /// Sends the request; where in the origin's buffer the head of the final answer lies.
    fn run(&mut self) -> Result<Range<usize>, Trouble> {
        let body = self.question.request.body;
        if body == BodyLength::None || self.client.is_none() {
            self.send_head()?;
            return self.read_final_head(self.question.began);
        }
        if self.question.request.expects_continue {
            self.send_head()?;
            if let Some(head) = self.await_permission()? {
                self.is_request_whole = false;
                return Ok(head);
            }
        }
        match self.send_body(body)? {
            Some(head) => Ok(head),
            None => self.read_final_head(clock::now()),
        }
    }

    fn send_head(&mut self) -> Result<(), Trouble> {
        let limits = &self.shared.limits;
        let sent = self
            .origin
            .peer
            .send_all(self.out, limits.stall, &self.shared.cut);
        self.out.clear();
        sent.map_err(|error| Trouble::Stale(self.broken(&error)))
    }

    /// RFC 9110 section 10.1.1: until the origin wants the body, answers without it, or the
    /// client sends it unasked.
    fn await_permission(&mut self) -> Result<Option<Range<usize>>, Trouble> {
        let deadline = self.question.began + self.shared.limits.answer_time;
        loop {
            let Some(client) = self
                .client
                .as_deref()
                .filter(|client| client.buffer.is_empty())
            else {
                return Ok(None);
            };
            // The next answer may have come with the last one.
            if self.origin.buffer.is_empty() {
                let ends = [client.peer.as_fd(), self.origin.peer.as_fd()];
                let waited = self
                    .shared
                    .cut
                    .wait_any(&ends, PollFlags::POLLIN, Some(deadline));
                if waited.map_err(|_| self.silent())? == Wake::TimedOut {
                    return Err(self.silent());
                }
                if self.origin.peer.is_quiet() {
                    return Ok(None);
                }
            }
            let (head, status) = self.read_head(deadline)?;
            if !self.is_interim(status)? {
                return Ok(Some(head));
            }
            self.relay_interim(head, status)?;
            if status == 100 {
                return Ok(None);
            }
        }
    }

    /// The head of the final answer, if that comes before all of the body has been sent.
    fn send_body(&mut self, body: BodyLength) -> Result<Option<Range<usize>>, Trouble> {
        let (mut remaining, frames) = match body {
            BodyLength::None => return Ok(None),
            BodyLength::Octets(octets) => (Remaining::Octets(octets), Frames::Plain),
            BodyLength::Chunked => (Remaining::chunked(), Frames::Chunked),
        };
        loop {
            let Some(client) = self.client.as_deref_mut() else {
                return Ok(None);
            };
            let mut inflow = Inflow::new(&client.peer, &mut client.buffer, remaining);
            let patience = Patience {
                stall: self.shared.limits.stall,
                cancel: &self.shared.cut,
            };
            let mut relay = Relay {
                from: &mut inflow,
                to: &self.origin.peer,
                out: self.out,
                frames,
                patience: &patience,
                pace: None,
                heeds_answers: true,
                has_begun: false,
                sent: 0,
            };
            let relayed = relay.run();
            inflow.compact();
            remaining = inflow.remaining;
            match relayed {
                Ok(()) => return Ok(None),
                Err(Broken::Answered) => {
                    if let Some(head) = self.read_early_head()? {
                        self.is_request_whole = false;
                        return Ok(Some(head));
                    }
                }
                // It may have answered before it closed.
                Err(Broken::Sink(net::Error::System { .. })) => {
                    self.is_request_whole = false;
                    return Ok(None);
                }
                Err(broken) => return Err(Trouble::Final(self.body_failure(&broken))),
            }
        }
    }

    /// `None`: only interim answers have come.
    fn read_early_head(&mut self) -> Result<Option<Range<usize>>, Trouble> {
        let deadline = clock::now() + self.shared.limits.answer_time;
        loop {
            let (head, status) = self.read_head(deadline)?;
            if !self.is_interim(status)? {
                return Ok(Some(head));
            }
            self.relay_interim(head, status)?;
            // The connection does not tell of what has been taken from it already.
            if self.origin.buffer.is_empty() {
                return Ok(None);
            }
        }
    }

    fn body_failure(&self, broken: &Broken) -> Failure {
        let refused = |status, why| Failure::refusal(Refusal { status, why });
        match broken {
            Broken::Sink(error) => self.broken(error),
            Broken::Invalid => refused(400, "the chunks of the request's body are not valid"),
            Broken::Source(net::Error::TimedOut(_)) => {
                refused(408, "the request's body stopped coming")
            }
            Broken::Incomplete | Broken::Answered | Broken::Source(_) => Failure::gone(),
        }
    }

    fn read_final_head(&mut self, since: Instant) -> Result<Range<usize>, Trouble> {
        let deadline = since + self.shared.limits.answer_time;
        loop {
            let (head, status) = self.read_head(deadline)?;
            if !self.is_interim(status)? {
                return Ok(head);
            }
            self.relay_interim(head, status)?;
        }
    }

    /// Whether another answer follows. There may only be so many before the final one.
    fn is_interim(&mut self, status: u16) -> Result<bool, Trouble> {
        match status {
            101 if self.question.plan.upgrade.is_some() => Ok(false),
            101 => Err(self.invalid("it changes to a protocol nobody asked for")),
            100..200 if self.interim == INTERIM_MAX => {
                Err(self.invalid("there are too many interim answers"))
            }
            100..200 => {
                self.interim += 1;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A head at the front of the origin's buffer, which stays there.
    fn read_head(&mut self, deadline: Instant) -> Result<(Range<usize>, u16), Trouble> {
        let mut scan = Scan::default();
        loop {
            let found = scan.find(&self.origin.buffer, HEAD_OCTETS_MAX);
            if let Some(head) = found.map_err(|refusal| self.refused(refusal))? {
                let status = parse_status(&self.origin.buffer[head.clone()]);
                let why = "it does not begin with an HTTP status line";
                return Ok((head, status.ok_or_else(|| self.invalid(why))?));
            }
            let Origin { peer, buffer, .. } = &mut *self.origin;
            match peer.receive(buffer, PIECE_OCTETS, deadline, &self.shared.cut) {
                Ok(1..) => {}
                Ok(_) if self.origin.buffer.is_empty() => {
                    let failure = Failure::closed(&self.origin.route.to_string());
                    return Err(Trouble::Stale(failure));
                }
                Ok(_) => return Err(self.invalid("it ends within the header section")),
                Err(net::Error::TimedOut(_)) => return Err(self.silent()),
                Err(error) if self.origin.buffer.is_empty() => {
                    return Err(Trouble::Stale(self.broken(&error)));
                }
                Err(error) => return Err(Trouble::Final(self.broken(&error))),
            }
        }
    }

    /// RFC 9110 section 15.2: to whoever knows what that is.
    fn relay_interim(&mut self, head: Range<usize>, status: u16) -> Result<(), Trouble> {
        let head = take_head(&mut self.origin.buffer, head);
        let Some(client) = self.client.as_deref_mut() else {
            return Ok(());
        };
        let is_known = self.question.request.head.version == crate::http::Version::Http11
            && (status != 100 || self.question.request.expects_continue);
        let parsed = parse_response(&head);
        let parsed = parsed.map_err(|refusal| {
            Trouble::Final(Failure::invalid(
                &self.origin.route.to_string(),
                refusal.why,
            ))
        })?;
        if is_known {
            let mut interim = Vec::new();
            write_status_line(&mut interim, parsed.status, parsed.reason);
            for field in end_to_end(&parsed.fields) {
                line(&mut interim, field.name, field.value);
            }
            write_via(&mut interim, parsed.version, &self.shared.pseudonym);
            interim.extend_from_slice(b"\r\n");
            let stall = self.shared.limits.stall;
            let sent = client.peer.send_all(&interim, stall, &self.shared.cut);
            sent.map_err(|_| Trouble::Final(Failure::gone()))?;
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> Trouble {
        let why = match refusal.status {
            414 => "its status line is too long",
            _ => refusal.why,
        };
        let mut failure = Failure::invalid(&self.origin.route.to_string(), why);
        if refusal.status == 431 {
            failure.kind = ErrorType::HttpResponseHeaderSectionSize;
        }
        Trouble::Final(failure)
    }

    fn invalid(&self, why: &str) -> Trouble {
        Trouble::Final(Failure::invalid(&self.origin.route.to_string(), why))
    }

    fn silent(&self) -> Trouble {
        let seconds = self.shared.limits.answer_time.as_secs_f64();
        Trouble::Final(Failure::silent(&self.origin.route.to_string(), seconds))
    }

    fn broken(&self, error: &net::Error) -> Failure {
        Failure::broken(&self.origin.route.to_string(), error)
    }
}
