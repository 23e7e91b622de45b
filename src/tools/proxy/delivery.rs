//! An answer on its way to the client: how it is framed, and what becomes of both connections.

use super::answer::date;
use std::time::Duration;

use super::cache::{fields_of, is_age};
use super::exchange::{After, Opened, Turn};
use super::failure::Failure;
use super::faults::{Fault, Pace};
use super::fetch::Fetched;
use super::relay::{Broken, Frames, Inflow, Patience, Relay};
use super::rewrite::{
    Framing, Persistence, ResponsePlan, end_to_end, line, line_of, write_fence, write_field,
    write_framing, write_persistence, write_response, write_status_line, write_via,
};
use super::store::Meta;
use super::target::Target;
use super::upstream::{Origin, with_port};
use crate::http::body::Remaining;
use crate::http::caching::cache_status::ErrorType;
use crate::http::caching::freshening::invalidates;
use crate::http::head::Fields;
use crate::http::{Version, response};
use crate::{clock, net};

/// An answer whose head is written.
pub(super) struct Begun {
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    pub(super) remaining: Remaining,
    pub(super) origin_persists: bool,
}

impl Turn<'_> {
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
            return self.switch(fetched, target, fault);
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
            Err(Broken::Invalid) if !self.is_answered => Err(Failure::invalid(
                &target.authority(),
                "its chunks are not valid",
            )),
            Err(broken) => Ok(self.broken(&broken, framing)),
        }
    }

    /// The origin speaks the other protocol from now on.
    fn switch(
        &mut self,
        fetched: Fetched,
        target: &Target,
        fault: &Fault,
    ) -> Result<After, Failure> {
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
            fault: *fault,
        })))
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
            target,
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
        age: Duration,
        target: &Target,
        framing: Framing,
    ) -> Persistence {
        let persistence = self.persistence_with(framing);
        self.note.status = meta.status;
        self.out.clear();
        write_status_line(self.out, meta.status, meta.reason.as_bytes());
        let fields = fields_of(meta);
        for field in fields.0.iter().filter(|field| !is_age(field)) {
            write_field(self.out, field, target);
        }
        write_fence(self.out, target);
        line_of(self.out, "Age", age.as_secs());
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
}

pub(super) fn persists(version: Version, fields: &Fields) -> bool {
    let says = |word: &[u8]| {
        let mut tokens = fields.tokens("connection");
        tokens.any(|token| token.eq_ignore_ascii_case(word))
    };
    match version {
        Version::Http11 => !says(b"close"),
        Version::Http10 => says(b"keep-alive") && !says(b"close"),
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
