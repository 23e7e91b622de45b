//! A request and its answer: what is asked for, whether it may be, and how the answer gets to
//! the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::cache::fields_of;
use super::client::Client;
use super::destination::connect_port_permitted;
use super::failure::Failure;
use super::faults::{Fault, Pace};
use super::fetch::{Fetched, Question, fetch};
use super::own::Answer;
use super::pages::error::ErrorAnswer;
use super::relay::{Broken, Frames, Inflow, Patience, Relay};
use super::rewrite::{
    Framing, Persistence, RequestPlan, ResponsePlan, end_to_end, is_loop, line, write_fence,
    write_fenced, write_framing, write_persistence, write_response, write_status_line, write_via,
};
use super::shared::Shared;
use super::store::Meta;
use super::tally::{Exchange, Outcome};
use super::target::{self, Form, Purpose, Target};
use super::upstream::{Origin, Visitor, check_destination, connect_through, looping, with_port};
use crate::http::body::Remaining;
use crate::http::caching::cache_status::{ErrorType, ProxyStatus};
use crate::http::caching::freshening::invalidates;
use crate::http::head::{Fields, parse_request};
use crate::http::request::{BodyLength, Request, parse_digits};
use crate::http::{Refusal, Version, reason, response};
use crate::net::peer::Peer;
use crate::{clock, net};

/// What the proxy calls itself in Cache-Status and Proxy-Status.
pub(super) const NAME: &str = "nsh";

/// What becomes of the client's connection.
pub(super) enum After {
    Next,
    Close,
    /// The client may still be sending, and must not miss the answer (RFC 9112 section 9.6).
    Linger,
    /// It must not take what it got for all of it.
    Reset,
    Tunnel(Box<Opened>),
}

/// The far end of a tunnel.
pub(super) struct Opened {
    pub(super) origin: Origin,
    pub(super) destination: String,
}

/// One request while it is answered.
pub(super) struct Turn<'t> {
    pub(super) shared: &'t Arc<Shared>,
    pub(super) client: &'t mut Client,
    pub(super) request: &'t Request<'t>,
    pub(super) out: &'t mut Vec<u8>,
    pub(super) began: Instant,
    /// All of the request's body has been taken from the connection.
    pub(super) is_request_whole: bool,
    /// The head of the answer has gone out.
    pub(super) is_answered: bool,
    /// What the answer says of the cache.
    pub(super) cache_status: Option<String>,
    pub(super) note: Note,
}

/// An answer whose head is written.
pub(super) struct Begun {
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    pub(super) remaining: Remaining,
    pub(super) origin_persists: bool,
}

/// For the log.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) url: String,
    pub(super) host: String,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) octets: u64,
    pub(super) origin: Option<SocketAddr>,
    pub(super) error: Option<ErrorType>,
}

/// Answers the request whose head this is.
pub(super) fn exchange(
    client: &mut Client,
    head: &[u8],
    shared: &Arc<Shared>,
    out: &mut Vec<u8>,
) -> After {
    let parsed = parse_request(head).and_then(crate::http::request::interpret);
    let request = match parsed {
        Ok(request) => request,
        Err(refusal) => {
            let is_head = head.starts_with(b"HEAD ");
            return refuse(client, refusal, is_head, shared, out);
        }
    };
    let mut turn = Turn {
        shared,
        client,
        is_request_whole: request.body == BodyLength::None,
        request: &request,
        out,
        began: clock::now(),
        is_answered: false,
        cache_status: None,
        note: Note::new(String::from_utf8_lossy(request.head.target).into_owned()),
    };
    let answered = turn.answer();
    let after = answered.unwrap_or_else(|failure| turn.fail(&failure));
    turn.log();
    after
}

/// Answers a head that is none.
pub(super) fn refuse(
    client: &mut Client,
    refusal: Refusal,
    is_head: bool,
    shared: &Shared,
    out: &mut Vec<u8>,
) -> After {
    let failure = Failure::refusal(refusal);
    let (media_type, body) = page(&failure, &Fields::default());
    out.clear();
    write_failure(out, &failure);
    let framing = Framing::Octets(body.len() as u64);
    write_own_fields(out, media_type, framing, Persistence::Closes);
    if !is_head {
        out.extend_from_slice(body.as_bytes());
    }
    let stall = shared.limits.stall;
    let sent = client.peer.send_all(out, stall, &shared.cut);
    shared.tally.count_error(failure.kind);
    let exchange = Exchange {
        client: client.address(),
        method: "-".into(),
        url: "-".into(),
        status: failure.status,
        reason: reason(failure.status),
        cache: Outcome::Own,
        octets: body.len() as u64,
        milliseconds: 0.0,
        origin: None,
        error: Some(failure.kind.name()),
        host: "".into(),
    };
    shared.tally.record(&exchange, clock::now());
    match sent {
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

/// Tells a client that nothing is heard from it; what does not fit is lost.
pub(super) fn turn_away(peer: &Peer, failure: &Failure, out: &mut Vec<u8>) {
    let (media_type, body) = page(failure, &Fields::default());
    out.clear();
    write_failure(out, failure);
    let framing = Framing::Octets(body.len() as u64);
    write_own_fields(out, media_type, framing, Persistence::Closes);
    out.extend_from_slice(body.as_bytes());
    let _ = peer.send_now(out);
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
    line(out, b"Proxy-Status", status.to_string().as_bytes());
    if failure.status == 407 {
        let challenge = b"Basic realm=\"nsh proxy\", charset=\"UTF-8\"";
        line(out, b"Proxy-Authenticate", challenge);
    }
    if failure.status == 503 {
        line(out, b"Retry-After", b"1");
    }
    if failure.status == 405 {
        line(out, b"Allow", b"GET, HEAD, POST, OPTIONS");
    }
    line(out, b"Cache-Control", b"no-store");
    let policy = super::pages::CONTENT_SECURITY_POLICY;
    line(out, b"Content-Security-Policy", policy.as_bytes());
}

fn write_own_fields(out: &mut Vec<u8>, media_type: &str, framing: Framing, stays: Persistence) {
    line(out, b"Content-Type", media_type.as_bytes());
    line(out, b"X-Content-Type-Options", b"nosniff");
    line(out, b"Date", date(clock::both().1).as_bytes());
    write_framing(out, &Fields::default(), framing);
    write_persistence(out, stays);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn date(now: SystemTime) -> String {
    httpdate::fmt_http_date(now)
}

impl Note {
    pub(super) fn new(url: String) -> Note {
        Note {
            url,
            host: String::new(),
            status: 0,
            outcome: Outcome::Pass,
            octets: 0,
            origin: None,
            error: None,
        }
    }
}

impl<'t> Turn<'t> {
    fn answer(&mut self) -> Result<After, Failure> {
        let (shared, request) = (self.shared, self.request);
        let purpose = target::interpret(request, shared.rules.reverse.as_ref());
        let purpose = purpose.map_err(Failure::refusal)?;
        self.authenticate()?;
        if is_loop(&request.head.fields, &shared.pseudonym) {
            return Err(looping("The destination"));
        }
        match purpose {
            Purpose::Own(path) => {
                let answer = super::own::answer(self, &path)?;
                self.send_own(&answer)
            }
            Purpose::Tunnel { host, port } => self.open_tunnel(&host, port),
            Purpose::Resource(target) => self.resource(&target),
        }
    }

    /// RFC 9110 section 11.7.
    fn authenticate(&self) -> Result<(), Failure> {
        let Some(credentials) = &self.shared.rules.credentials else {
            return Ok(());
        };
        let given = self.request.head.fields.first("proxy-authorization");
        match credentials.match_field(given) {
            true => Ok(()),
            false => Err(
                Failure::denied("This proxy wants a user name and a password")
                    .with_status(407)
                    .advice("Enter them where the proxy is set."),
            ),
        }
    }

    pub(super) fn visitor(&self, form: Form) -> Visitor {
        Visitor {
            is_loopback: self.client.address().is_loopback(),
            is_path_form: form == Form::Path,
        }
    }

    fn is_offline(&self) -> bool {
        let cache = self.shared.cache.as_ref();
        cache.is_some_and(|cache| cache.is_offline)
    }

    /// What a developer wants to go wrong.
    fn suffer(&mut self, host: &str) -> Result<Fault, After> {
        let fault = self.shared.rules.faults.for_host(host);
        if fault.drops(net::random()) {
            return Err(After::Reset);
        }
        if let Some(delay) = fault.delay {
            let slept = self.shared.cut.sleep_until(clock::now() + delay);
            slept.map_err(|_| After::Close)?;
        }
        Ok(fault)
    }

    fn open_tunnel(&mut self, host: &str, port: u16) -> Result<After, Failure> {
        let place = with_port(host, port);
        (self.note.url, self.note.host) = (place.clone(), host.to_owned());
        if self.request.body != BodyLength::None {
            return Err(Failure::refusal(Refusal {
                status: 400,
                why: "CONNECT has no body",
            }));
        }
        if self.shared.rules.reverse.is_some()
            || !connect_port_permitted(port, &self.shared.rules.connect_ports)
        {
            return Err(Failure::denied(format!("No tunnel leads to port {port}"))
                .why("Tunnels are for HTTPS; through others, mail could be sent in this proxy's name.")
                .advice(format!("--connect-ports {port} permits it.")));
        }
        if self.is_offline() {
            return Err(super::stored::offline());
        }
        if let Err(after) = self.suffer(host) {
            return Ok(after);
        }
        let deadline = self.began + self.shared.limits.connect_time;
        let visitor = self.visitor(Form::Absolute);
        let (peer, buffer) = connect_through(self.shared, host, port, visitor, deadline)?;
        self.note.origin = Some(peer.address);
        self.out.clear();
        write_status_line(self.out, 200, b"Connection established");
        self.out.extend_from_slice(b"\r\n");
        self.note.status = 200;
        if self.send_out().is_err() {
            return Ok(After::Close);
        }
        let route = self.shared.upstream.route(host, port);
        Ok(After::Tunnel(Box::new(Opened {
            origin: Origin {
                peer,
                route,
                buffer,
                is_reused: false,
            },
            destination: place,
        })))
    }

    fn resource(&mut self, target: &Target) -> Result<After, Failure> {
        (self.note.url, self.note.host) = (target.url(), target.host.to_string());
        if target.form == Form::Path {
            target::fence(self.request).map_err(Failure::refusal)?;
        }
        let deadline = self.began + self.shared.limits.connect_time;
        let visitor = self.visitor(target.form);
        check_destination(self.shared, &target.host, target.port, visitor, deadline)?;
        let max_forwards = self.max_forwards();
        if max_forwards == Some(0) {
            return self.answer_at_last_hop();
        }
        let fault = match self.suffer(&target.host) {
            Ok(fault) => fault,
            Err(after) => return Ok(after),
        };
        let upgrade = self.upgrade();
        if upgrade.is_some() && self.is_offline() {
            return Err(super::stored::offline());
        }
        if upgrade.is_none()
            && let Some(after) = super::stored::answer(self, target, &fault)?
        {
            return Ok(after);
        }
        let mut plan = self.plan(target);
        plan.upgrade = upgrade;
        plan.max_forwards = max_forwards.map(|hops| hops - 1);
        let fetched = self.ask(target, plan)?;
        self.deliver(fetched, target, &fault)
    }

    /// What the origin is asked, without more than the client asks.
    pub(super) fn plan<'p>(&self, target: &'p Target<'p>) -> RequestPlan<'p>
    where
        't: 'p,
    {
        plan_for(self.shared, target, self.client.address())
    }

    pub(super) fn ask(&mut self, target: &Target, plan: RequestPlan) -> Result<Fetched, Failure> {
        let question = Question {
            request: self.request,
            target,
            plan,
            visitor: self.visitor(target.form),
            began: clock::now(),
        };
        let fetched = fetch(self.shared, &question, Some(self.client), self.out)?;
        self.is_request_whole = fetched.is_request_whole;
        self.note.origin = Some(fetched.from());
        Ok(fetched)
    }

    /// RFC 9110 section 7.6.2.
    fn max_forwards(&self) -> Option<u64> {
        let head = &self.request.head;
        match head.method {
            b"TRACE" | b"OPTIONS" => head.fields.first("max-forwards").and_then(parse_digits),
            _ => None,
        }
    }

    fn answer_at_last_hop(&mut self) -> Result<After, Failure> {
        let answer = match self.request.head.method {
            b"TRACE" => {
                let secret = ["authorization", "proxy-authorization", "cookie"];
                let head = &self.request.head;
                let mut echo = [head.method, b" ", head.target, b" HTTP/1.1\r\n"].concat();
                for field in &head.fields.0 {
                    let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
                    if !secret.contains(&name.as_str()) {
                        line(&mut echo, field.name, field.value);
                    }
                }
                Answer::new("message/http", echo)
            }
            _ => Answer::new("text/plain; charset=utf-8", Vec::new()).with_field(
                "Allow",
                "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE, CONNECT",
            ),
        };
        self.send_own(&answer)
    }

    /// RFC 9110 section 7.8: what the client wants to speak instead. A request with a body cannot
    /// ask for it here.
    fn upgrade(&self) -> Option<&'t [u8]> {
        let request: &'t Request<'t> = self.request;
        let fields = &request.head.fields;
        let is_asked = |token: &[u8]| token.eq_ignore_ascii_case(b"upgrade");
        let is_plain =
            self.request.body == BodyLength::None && self.request.head.version == Version::Http11;
        let wanted = is_plain && fields.tokens("connection").any(is_asked);
        let protocol = fields.first("upgrade").filter(|_| wanted)?;
        // HTTP/2 would make the rest of the connection unreadable for the proxy.
        let is_http2 = |token: &[u8]| token.to_ascii_lowercase().starts_with(b"h2");
        (!fields.tokens("upgrade").any(is_http2)).then_some(protocol)
    }

    /// Whether the connection can go on behind an answer whose end is clear.
    pub(super) fn persistence(&self) -> Persistence {
        let stays = self.request.persists && self.is_request_whole && !self.shared.is_closing();
        match (stays, self.request.head.version) {
            (false, _) => Persistence::Closes,
            (true, Version::Http10) => Persistence::StaysOnRequest,
            (true, Version::Http11) => Persistence::Stays,
        }
    }

    /// Passes an answer on to the client.
    pub(super) fn deliver(
        &mut self,
        fetched: Fetched,
        target: &Target,
        fault: &Fault,
    ) -> Result<After, Failure> {
        if fetched.status == 101 {
            return self.switch(fetched, target);
        }
        if let Some(cache) = &self.shared.cache
            && invalidates(self.request.head.method, fetched.status)
        {
            cache.on_change(&self.note.url, &fetched.parsed()?);
        }
        let begun = self.begin_answer(&fetched, target)?;
        let Begun {
            framing,
            persistence,
            ..
        } = begun;
        let mut origin = fetched.origin;
        let (relayed, octets) = self.relay(&mut origin, framing, begun.remaining, fault);
        self.note.octets = octets;
        if relayed.is_ok() && begun.origin_persists {
            self.keep_origin(origin);
        }
        match relayed {
            Ok(()) => Ok(self.after(persistence)),
            Err(Broken::Invalid) if !self.is_answered => {
                Err(Failure::invalid(&target.host, "its chunks are not valid"))
            }
            Err(broken) => Ok(self.broken(&broken, framing)),
        }
    }

    /// Writes the head of the answer into `out`.
    pub(super) fn begin_answer(
        &mut self,
        fetched: &Fetched,
        target: &Target,
    ) -> Result<Begun, Failure> {
        let head = fetched.parsed()?;
        self.note.status = head.status;
        let is_http10 = self.request.head.version == Version::Http10;
        let has_none = self.request.head.method == b"HEAD" || matches!(head.status, 204 | 304);
        use response::BodyLength::{Chunked, Octets, UntilClose};
        let (framing, remaining) = match fetched.length {
            _ if head.status == 204 => (Framing::Nothing, Remaining::Octets(0)),
            _ if has_none => (Framing::None, Remaining::Octets(0)),
            Octets(octets) => (Framing::Octets(octets), Remaining::Octets(octets)),
            Chunked if is_http10 => (Framing::UntilClose, Remaining::chunked()),
            Chunked => (Framing::Chunked, Remaining::chunked()),
            UntilClose if is_http10 => (Framing::UntilClose, Remaining::UntilClose),
            UntilClose => (Framing::Chunked, Remaining::UntilClose),
        };
        let persistence = self.persistence_with(framing);
        let date = match head.fields.first("date") {
            Some(_) => String::new(),
            None => date(fetched.response_time),
        };
        let plan = ResponsePlan {
            pseudonym: &self.shared.pseudonym,
            framing,
            persistence,
            path_form: (target.form == Form::Path).then_some(target),
            cache_status: self.cache_status.as_deref(),
            date: &date,
        };
        self.out.clear();
        write_response(self.out, &head, &plan);
        self.is_answered = true;
        Ok(Begun {
            framing,
            persistence,
            remaining,
            origin_persists: fetched.length != UntilClose && persists(head.version, &head.fields),
        })
    }

    /// The same for what another request fetches.
    pub(super) fn begin_stored(
        &mut self,
        meta: &Meta,
        target: &Target,
        framing: Framing,
    ) -> Persistence {
        let persistence = self.persistence_with(framing);
        self.note.status = meta.status;
        self.out.clear();
        write_status_line(self.out, meta.status, meta.reason.as_bytes());
        for field in &fields_of(meta).0 {
            match target.form {
                Form::Path => write_fenced(self.out, field, target),
                Form::Absolute | Form::Reverse => line(self.out, field.name, field.value),
            }
        }
        if target.form == Form::Path {
            write_fence(self.out);
        }
        if let Some(status) = &self.cache_status {
            line(self.out, b"Cache-Status", status.as_bytes());
        }
        write_framing(self.out, &Fields::default(), framing);
        write_persistence(self.out, persistence);
        self.out.extend_from_slice(b"\r\n");
        self.is_answered = true;
        persistence
    }

    pub(super) fn persistence_with(&self, framing: Framing) -> Persistence {
        match framing {
            Framing::UntilClose => Persistence::Closes,
            Framing::Octets(_) | Framing::Chunked | Framing::None | Framing::Nothing => {
                self.persistence()
            }
        }
    }

    /// For the next request; what came behind the answer would be taken for the next one.
    pub(super) fn keep_origin(&mut self, origin: Origin) {
        if self.is_request_whole && origin.buffer.is_empty() {
            self.client.origin = Some(origin);
        }
    }

    /// The body did not get to its end: neither an announced length nor chunks can end too early
    /// unnoticed, and where the connection's end is the body's it must not look like one.
    pub(super) fn broken(&mut self, broken: &Broken, framing: Framing) -> After {
        self.note.error = Some(broken_kind(broken));
        match framing {
            Framing::UntilClose => After::Reset,
            Framing::Octets(_) | Framing::Chunked | Framing::None | Framing::Nothing => {
                After::Close
            }
        }
    }

    fn relay(
        &mut self,
        origin: &mut Origin,
        framing: Framing,
        remaining: Remaining,
        fault: &Fault,
    ) -> (Result<(), Broken>, u64) {
        let mut inflow = Inflow::new(&origin.peer, &mut origin.buffer, remaining);
        let patience = Patience {
            stall: self.shared.limits.stall,
            cancel: &self.shared.cut,
        };
        let mut relay = Relay {
            from: &mut inflow,
            to: &self.client.peer,
            out: self.out,
            frames: match framing {
                Framing::Chunked => Frames::Chunked,
                Framing::Octets(_) | Framing::UntilClose | Framing::None | Framing::Nothing => {
                    Frames::Plain
                }
            },
            patience: &patience,
            pace: fault.rate.map(|rate| Pace::new(rate, clock::now())),
            heeds_answers: false,
            has_begun: false,
            sent: 0,
        };
        let relayed = relay.run();
        let octets = relay.sent;
        self.is_answered = relay.has_begun || octets > 0;
        inflow.compact();
        self.shared.tally.count_fetched(octets);
        (relayed, octets)
    }

    pub(super) fn after(&self, persistence: Persistence) -> After {
        match persistence {
            Persistence::Closes if !self.is_request_whole => After::Linger,
            Persistence::Closes => After::Close,
            Persistence::Stays | Persistence::StaysOnRequest => After::Next,
        }
    }

    /// The origin speaks the other protocol from now on.
    fn switch(&mut self, fetched: Fetched, target: &Target) -> Result<After, Failure> {
        self.out.clear();
        let head = fetched.parsed()?;
        write_status_line(self.out, 101, head.reason);
        let protocol = head.fields.first("upgrade").unwrap_or_default();
        line(self.out, b"Connection", b"Upgrade");
        line(self.out, b"Upgrade", protocol);
        for field in end_to_end(&head.fields) {
            line(self.out, field.name, field.value);
        }
        write_via(self.out, head.version, &self.shared.pseudonym);
        self.out.extend_from_slice(b"\r\n");
        self.is_answered = true;
        if self.send_out().is_err() {
            return Ok(After::Close);
        }
        let destination = with_port(&target.host, target.port);
        let origin = fetched.origin;
        Ok(After::Tunnel(Box::new(Opened {
            origin,
            destination,
        })))
    }

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
    fn fail(&mut self, failure: &Failure) -> After {
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

    fn send_out(&mut self) -> Result<(), net::Error> {
        self.is_answered = true;
        let (stall, cut) = (self.shared.limits.stall, &self.shared.cut);
        self.client.peer.send_all(self.out, stall, cut)
    }

    fn log(&self) {
        let now = clock::now();
        let note = &self.note;
        let exchange = Exchange {
            client: self.client.address(),
            method: String::from_utf8_lossy(self.request.head.method),
            url: note.url.as_str().into(),
            status: note.status,
            reason: reason(note.status),
            cache: note.outcome,
            octets: note.octets,
            milliseconds: now.saturating_duration_since(self.began).as_secs_f64() * 1e3,
            origin: note.origin,
            error: note.error.map(ErrorType::name),
            host: note.host.as_str().into(),
        };
        self.shared.tally.record(&exchange, now);
    }
}

pub(super) fn plan_for<'p>(
    shared: &'p Shared,
    target: &'p Target<'p>,
    client: std::net::IpAddr,
) -> RequestPlan<'p> {
    let parent = match &shared.upstream.parent {
        Some(super::upstream::Parent::Http(parent)) => Some(parent),
        Some(super::upstream::Parent::Socks5(_)) | None => None,
    };
    RequestPlan {
        target,
        by_proxy: parent.is_some(),
        parent_authorization: parent.and_then(|parent| parent.authorization.as_deref()),
        pseudonym: &shared.pseudonym,
        forwarded: shared.rules.forwarded,
        client,
        upgrade: None,
        conditions: None,
        max_forwards: None,
    }
}

pub(super) fn persists(version: Version, fields: &Fields) -> bool {
    let says = |word: &[u8]| {
        let mut tokens = fields.tokens("connection");
        tokens.any(|token| token.eq_ignore_ascii_case(word))
    };
    match version {
        Version::Http11 => !says(b"close"),
        Version::Http10 => says(b"keep-alive"),
    }
}

/// Of an answer without a body.
pub(super) fn persists_response(fetched: &Fetched) -> Result<bool, Failure> {
    let head = fetched.parsed()?;
    Ok(persists(head.version, &head.fields))
}

pub(super) fn broken_kind(broken: &Broken) -> ErrorType {
    match broken {
        Broken::Incomplete => ErrorType::HttpResponseIncomplete,
        Broken::Invalid => ErrorType::HttpProtocolError,
        Broken::Source(net::Error::TimedOut(_)) => ErrorType::ConnectionReadTimeout,
        Broken::Source(_) => ErrorType::ConnectionTerminated,
        Broken::Sink(net::Error::TimedOut(_)) => ErrorType::ConnectionWriteTimeout,
        Broken::Answered | Broken::Sink(_) => ErrorType::HttpRequestError,
    }
}
