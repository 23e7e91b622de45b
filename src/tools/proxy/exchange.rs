//! A request and its answer: what is asked for, whether it may be, and how the answer gets to
//! the client.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::answer::{Answer, refuse};
use super::client::Client;
use super::destination::{connect_port_permitted, is_barred_port};
use super::failure::Failure;
use super::faults::Fault;
use super::fetch::{Fetched, Question, fetch};
use super::parents::Parent;
use super::rewrite::{RequestPlan, is_loop, line, remove_unsent, write_status_line};
use super::shared::Shared;
use super::tally::{Exchange, Outcome};
use super::target::{self, Form, Purpose, Target};
use super::upstream::{Origin, Visitor, check_destination, connect_through, looping, with_port};
use crate::http::caching::cache_status::ErrorType;
use crate::http::head::parse_request;
use crate::http::request::{BodyLength, Request, Target as RequestTarget, parse_digits};
use crate::http::{Refusal, Version, reason};
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
    pub(super) fault: Fault,
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

fn is_asked_as_proxy(request: &Request) -> bool {
    matches!(
        request.target,
        RequestTarget::Absolute { .. } | RequestTarget::Authority
    )
}

/// RFC 9110 section 11, as a proxy and as the web server that it is for other requests: whether
/// the client has said who it is, where it has to.
fn authenticate(shared: &Shared, request: &Request, purpose: &Purpose) -> Result<bool, Failure> {
    let Some(credentials) = &shared.rules.credentials else {
        return Ok(false);
    };
    // Browsers set themselves up before they can say who asks.
    if matches!(purpose, Purpose::Own(path) if super::own::is_configuration(path)) {
        return Ok(false);
    }
    let (names, status) = match is_asked_as_proxy(request) {
        true => (&["proxy-authorization"][..], 407),
        false => (&["authorization", "proxy-authorization"][..], 401),
    };
    let given = |name: &&str| credentials.match_field(request.head.fields.first(name));
    if names.iter().any(given) {
        return Ok(true);
    }
    Err(
        Failure::denied("This proxy wants a user name and a password")
            .with_status(status)
            .advice("Enter them where the proxy is set."),
    )
}

/// For the log.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// Until it is clear what is asked for: empty.
    pub(super) url: String,
    pub(super) host: String,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    /// The password was right.
    pub(super) is_authenticated: bool,
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
    let mut request = match parsed {
        Ok(request) => request,
        Err(refusal) => {
            return refuse(client, refusal, head, shared, out);
        }
    };
    let purpose = target::interpret(&request, shared.rules.reverse.as_ref());
    let admitted = purpose.map_err(Failure::refusal).and_then(|purpose| {
        let is_authenticated = authenticate(shared, &request, &purpose)?;
        Ok((purpose, is_authenticated))
    });
    let is_path_form = shared.rules.reverse.is_none() && target::is_path_form(&request);
    let is_for_us = shared.rules.credentials.is_some() && !is_asked_as_proxy(&request);
    remove_unsent(&mut request.head.fields, is_path_form, is_for_us);
    let mut turn = Turn {
        shared,
        client,
        is_request_whole: request.body == BodyLength::None,
        request: &request,
        out,
        began: clock::now(),
        is_answered: false,
        cache_status: None,
        note: Note::default(),
    };
    let answered = admitted.and_then(|(purpose, is_authenticated)| {
        turn.note.is_authenticated = is_authenticated;
        turn.answer(purpose)
    });
    let after = answered.unwrap_or_else(|failure| turn.fail(&failure));
    turn.log();
    after
}

impl Default for Note {
    fn default() -> Note {
        Note {
            url: String::new(),
            host: String::new(),
            status: 0,
            outcome: Outcome::Own,
            is_authenticated: false,
            octets: 0,
            origin: None,
            error: None,
        }
    }
}

impl<'t> Turn<'t> {
    fn answer(&mut self, purpose: Purpose) -> Result<After, Failure> {
        let (shared, request) = (self.shared, self.request);
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
        self.note.outcome = Outcome::Pass;
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
                .why("Tunnels are for HTTPS: through others, anything could be sent in this proxy's name.")
                .advice(match port {
                    25 => "Port 25 is never permitted.".to_owned(),
                    port => format!("--connect-ports 443,8443,{port} permits it."),
                }));
        }
        if self.is_offline() {
            return Err(super::stored::offline());
        }
        let fault = match self.suffer(host) {
            Ok(fault) => fault,
            Err(after) => return Ok(after),
        };
        let deadline = clock::now() + self.shared.limits.connect_time;
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
                is_personal: false,
            },
            destination: place,
            fault,
        })))
    }

    fn resource(&mut self, target: &Target) -> Result<After, Failure> {
        (self.note.url, self.note.host) = (target.url(), target.host.to_string());
        self.note.outcome = Outcome::Pass;
        if target.form == Form::Path {
            if !matches!(self.request.head.method, b"GET" | b"HEAD") {
                let why = "in path form there are only GET and HEAD";
                return Err(Failure::method_not_allowed("GET, HEAD", why));
            }
            target::fence(self.request).map_err(Failure::refusal)?;
        }
        let deadline = self.began + self.shared.limits.connect_time;
        let visitor = self.visitor(target.form);
        if target.form != Form::Reverse && is_barred_port(target.port) {
            let headline = format!("Port {} is not for the web", target.port);
            return Err(Failure::denied(headline)
                .why("What listens there could take a request for something else, like mail."));
        }
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

    pub(super) fn send_out(&mut self) -> Result<(), net::Error> {
        self.is_answered = true;
        let (stall, cut) = (self.shared.limits.stall, &self.shared.cut);
        self.client.peer.send_all(self.out, stall, cut)
    }

    fn user(&self) -> Option<Cow<'_, str>> {
        let credentials = self.shared.rules.credentials.as_ref();
        let user = credentials
            .filter(|_| self.note.is_authenticated)?
            .user
            .as_str();
        Some(user.into())
    }

    fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = self.request.head.fields.first(name);
        value.map(String::from_utf8_lossy)
    }

    fn log(&mut self) {
        let mut ledger = std::mem::take(&mut self.client.ledger);
        let now = clock::now();
        let note = &self.note;
        let exchange = Exchange {
            client: self.client.address(),
            method: String::from_utf8_lossy(self.request.head.method),
            url: match note.url.as_str() {
                "" => String::from_utf8_lossy(self.request.head.target),
                url => url.into(),
            },
            status: note.status,
            reason: reason(note.status),
            cache: note.outcome,
            octets: note.octets,
            milliseconds: now.saturating_duration_since(self.began).as_secs_f64() * 1e3,
            origin: note.origin,
            error: note.error.map(ErrorType::name),
            host: note.host.as_str().into(),
            version: self.request.head.version,
            user: self.user(),
            referer: self.field("referer"),
            user_agent: self.field("user-agent"),
        };
        self.shared.tally.record(&exchange, &mut ledger, now);
        self.client.ledger = ledger;
    }
}

pub(super) fn plan_for<'p>(
    shared: &'p Shared,
    target: &'p Target<'p>,
    client: std::net::IpAddr,
) -> RequestPlan<'p> {
    let parent = match &shared.upstream.parent {
        Some(Parent::Http(parent)) => Some(parent),
        Some(Parent::Socks5(_)) | None => None,
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
