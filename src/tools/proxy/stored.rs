//! Whether a request is answered from the cache: RFC 9111 section 4, with what RFC 5861 adds.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, Found, Stored};
use super::exchange::{After, NAME, Turn};
use super::failure::Failure;
use super::faults::Fault;
use super::fetch::Fetched;
use super::filling;
use super::flight::{Passenger, Pilot, Role, Stage};
use super::partial;
use super::renewing;
use super::riding;
use super::serving::{Served, serve};
use super::store::Meta;
use super::tally::Outcome;
use super::target::Target;
use crate::clock;
use crate::http::caching::cache_status::{self, CacheStatus, ErrorType, ForwardReason};
use crate::http::caching::directives::RequestDirectives;
use crate::http::caching::freshening::may_freshen;
use crate::http::caching::freshness::{Reason, Reuse, Terms};
use crate::http::caching::vary;
use crate::http::head::Fields;
use crate::http::request::{BodyLength, Request};

/// `None`: it is forwarded, and its answer is not stored.
pub(super) fn answer(
    turn: &mut Turn,
    target: &Target,
    fault: &Fault,
) -> Result<Option<After>, Failure> {
    let shared = Arc::clone(turn.shared);
    let Some(cache) = &shared.cache else {
        return Ok(None);
    };
    if let Some(reason) = passes_by(turn.request) {
        if cache.is_offline {
            return Err(offline());
        }
        turn.cache_status = Some(forwarded(reason, None, false, false));
        return Ok(None);
    }
    let url = std::mem::take(&mut turn.note.url);
    let lookup = Lookup {
        cache,
        target,
        fault,
        url: &url,
    };
    let answered = lookup.answer(turn);
    turn.note.url = url;
    answered
}

/// Why the cache has nothing to do with a request.
fn passes_by(request: &Request) -> Option<ForwardReason> {
    let head = &request.head;
    if head.method != b"GET" && head.method != b"HEAD" {
        return Some(ForwardReason::Method);
    }
    // RFC 9111 section 4.3.2: these conditions are for the origin.
    let for_origin = ["if-match", "if-unmodified-since"];
    let is_for_origin = for_origin
        .iter()
        .any(|name| head.fields.first(name).is_some());
    (request.body != BodyLength::None || is_for_origin).then_some(ForwardReason::Bypass)
}

fn forwarded(reason: ForwardReason, status: Option<u16>, stored: bool, collapsed: bool) -> String {
    let outcome = cache_status::Outcome::Forwarded {
        reason,
        status,
        stored,
        collapsed,
    };
    CacheStatus {
        by: NAME,
        outcome,
        ttl: None,
        detail: None,
    }
    .to_string()
}

/// One request at the cache.
struct Lookup<'v> {
    cache: &'v Cache,
    target: &'v Target<'v>,
    fault: &'v Fault,
    url: &'v str,
}

/// What is stored and needs the origin's word.
struct Old {
    entry: Arc<Stored>,
    age: Duration,
    past: Duration,
    on_error: bool,
    reason: Reason,
}

impl Lookup<'_> {
    fn answer(&self, turn: &mut Turn) -> Result<Option<After>, Failure> {
        let fields = &turn.request.head.fields;
        let found = self.cache.find(self.url, fields, clock::system());
        let only_if_cached = || RequestDirectives::parse(fields).only_if_cached;
        let (old, reason) = match found {
            Found::Entry(entry, reuse) => match self.reuse(turn, entry, reuse)? {
                Reused::Answered(after) => return Ok(Some(after)),
                Reused::Old(old) => {
                    let reason = match old.reason {
                        Reason::Expired => ForwardReason::Stale,
                        _ => ForwardReason::Request,
                    };
                    (Some(old), reason)
                }
                Reused::Gone => (None, ForwardReason::UriMiss),
            },
            Found::Part(entry, reuse) => {
                if let Reuse::Fresh { .. } = reuse
                    && partial::covered(turn, &entry).is_some()
                    && let Reused::Answered(after) = self.reuse(turn, Arc::clone(&entry), reuse)?
                {
                    return Ok(Some(after));
                }
                if !only_if_cached() && !self.cache.is_offline {
                    return self.complete(turn, entry);
                }
                (None, ForwardReason::Partial)
            }
            Found::Nothing => (None, ForwardReason::UriMiss),
            Found::OtherVariants(_) => (None, ForwardReason::VaryMiss),
        };
        if self.cache.is_offline {
            return Err(offline());
        }
        if only_if_cached() {
            return Err(nothing_stored());
        }
        turn.note.outcome = Outcome::Miss;
        self.forward(turn, old, reason)
    }

    fn reuse(&self, turn: &mut Turn, entry: Arc<Stored>, reuse: Reuse) -> Result<Reused, Failure> {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let (outcome, age, ttl, detail) = match reuse {
            Reuse::Fresh { age, left } => (Outcome::Hit, age, seconds(left), None),
            Reuse::StaleAccepted { age, past } => {
                (Outcome::Stale, age, -seconds(past), Some("max-stale"))
            }
            Reuse::StaleWhileRevalidate { age, past } if self.cache.is_offline => {
                (Outcome::Stale, age, -seconds(past), Some("offline"))
            }
            Reuse::StaleWhileRevalidate { age, past } => {
                renewing::renew_in_background(turn, self.cache, self.target, self.url);
                (
                    Outcome::Stale,
                    age,
                    -seconds(past),
                    Some("stale-while-revalidate"),
                )
            }
            Reuse::Stale {
                is_forbidden: true, ..
            } if self.cache.is_offline => {
                return Err(offline().why(
                    "What is stored is stale, and says that it must not be used without asking.",
                ));
            }
            Reuse::Stale { age, past, .. } if self.cache.is_offline => {
                (Outcome::Stale, age, -seconds(past), Some("offline"))
            }
            Reuse::Stale {
                age,
                past,
                on_error,
                reason,
                ..
            } => {
                return Ok(Reused::Old(Old {
                    entry,
                    age,
                    past,
                    on_error,
                    reason,
                }));
            }
            Reuse::Unsatisfiable => return Err(nothing_stored()),
        };
        let served = Served {
            age,
            outcome,
            status: cache_status::Outcome::Hit,
            ttl,
            detail,
        };
        let answered = serve(turn, self.cache, &entry, self.target, self.fault, &served)?;
        Ok(answered.map_or(Reused::Gone, Reused::Answered))
    }

    /// Asks the origin, alone or for a crowd.
    fn forward(
        &self,
        turn: &mut Turn,
        old: Option<Old>,
        reason: ForwardReason,
    ) -> Result<Option<After>, Failure> {
        let mut pilot = None;
        if self.is_collapsible(turn) {
            match self.cache.flights.join(self.url) {
                Role::Passenger(passenger) => {
                    if let Some(after) = self.ride(turn, &passenger)? {
                        return Ok(Some(after));
                    }
                }
                Role::Pilot(first) => {
                    // Another one may have landed since we looked.
                    let fields = &turn.request.head.fields;
                    let found = self.cache.find(self.url, fields, clock::system());
                    if let Found::Entry(entry, reuse @ Reuse::Fresh { .. }) = found {
                        first.land(Arc::clone(&entry));
                        if let Reused::Answered(after) = self.reuse(turn, entry, reuse)? {
                            return Ok(Some(after));
                        }
                    } else {
                        pilot = Some(first);
                    }
                }
            }
        }
        let is_get = turn.request.head.method == b"GET";
        match old.filter(|_| is_get) {
            Some(old) => self.validate(turn, old, reason, pilot),
            None => {
                let plan = turn.plan(self.target);
                let fetched = turn.ask(self.target, plan)?;
                self.take(turn, fetched, reason, pilot).map(Some)
            }
        }
    }

    /// Fetches what is missing behind a stored beginning.
    fn complete(&self, turn: &mut Turn, entry: Arc<Stored>) -> Result<Option<After>, Failure> {
        turn.note.outcome = Outcome::Miss;
        let own = ["range", "if-none-match", "if-modified-since"];
        let fields = &turn.request.head.fields;
        let is_whole = own.iter().all(|name| fields.first(name).is_none());
        let is_get = turn.request.head.method == b"GET";
        let conditions = partial::conditions(&entry).filter(|_| is_whole && is_get);
        let mut plan = turn.plan(self.target);
        plan.conditions = conditions.as_deref();
        let fetched = turn.ask(self.target, plan)?;
        let head = fetched.parsed()?;
        let status = head.status;
        let is_rest = conditions.is_some() && partial::is_rest(&entry, &fetched, &head);
        if is_rest {
            let told = forwarded(ForwardReason::Partial, Some(status), true, false);
            turn.cache_status = Some(told);
            let completed = partial::complete(turn, self.cache, &entry, fetched, self.target)?;
            if completed.is_some() {
                return Ok(completed);
            }
        } else if conditions.is_none() || status == 200 || (status >= 400 && status != 416) {
            return self
                .take(turn, fetched, ForwardReason::Partial, None)
                .map(Some);
        }
        // The part is of no use; what came answers a question of ours.
        self.cache.store.remove(&entry);
        let plan = turn.plan(self.target);
        let fetched = turn.ask(self.target, plan)?;
        self.take(turn, fetched, ForwardReason::Partial, None)
            .map(Some)
    }

    /// A request that others could have sent just so.
    fn is_collapsible(&self, turn: &Turn) -> bool {
        let fields = &turn.request.head.fields;
        let own = [
            "authorization",
            "range",
            "if-none-match",
            "if-modified-since",
            "if-range",
            "cache-control",
            "pragma",
        ];
        turn.request.head.method == b"GET"
            && own.iter().all(|name| fields.first(name).is_none())
            && self.cache.is_shared(self.url, clock::now())
    }

    /// RFC 9111 section 4.3.
    fn validate(
        &self,
        turn: &mut Turn,
        old: Old,
        reason: ForwardReason,
        pilot: Option<Pilot>,
    ) -> Result<Option<After>, Failure> {
        let conditions = self.cache.prepared(&old.entry).terms.conditions();
        let mut plan = turn.plan(self.target);
        plan.conditions = (!conditions.is_empty()).then_some(&conditions);
        let fetched = match turn.ask(self.target, plan) {
            Ok(fetched) => fetched,
            Err(failure) if old.on_error && failure.kind != ErrorType::HttpRequestError => {
                turn.shared.tally.count_error(failure.kind);
                return self.serve_stale(turn, &old, failure);
            }
            Err(failure) => return Err(failure),
        };
        let status = fetched.status;
        if status == 304 && !conditions.is_empty() {
            return self.freshened(turn, &old, fetched, reason, pilot);
        }
        if status >= 500 && old.on_error {
            let failure = Failure::new(ErrorType::DestinationUnavailable, "")
                .why(format!("the origin answered {status}"));
            return self.serve_stale(turn, &old, failure);
        }
        self.take(turn, fetched, reason, pilot).map(Some)
    }

    fn serve_stale(
        &self,
        turn: &mut Turn,
        old: &Old,
        failure: Failure,
    ) -> Result<Option<After>, Failure> {
        let served = Served {
            age: old.age,
            outcome: Outcome::Stale,
            status: cache_status::Outcome::Hit,
            ttl: -i64::try_from(old.past.as_secs()).unwrap_or(i64::MAX),
            detail: Some("stale-if-error"),
        };
        let answered = serve(
            turn,
            self.cache,
            &old.entry,
            self.target,
            self.fault,
            &served,
        )?;
        answered.map(Some).ok_or(failure)
    }

    /// The origin says that what is stored is still right.
    fn freshened(
        &self,
        turn: &mut Turn,
        old: &Old,
        fetched: Fetched,
        reason: ForwardReason,
        pilot: Option<Pilot>,
    ) -> Result<Option<After>, Failure> {
        let fresh = freshen(self.cache, &old.entry, turn.request, &fetched)?;
        let persists = super::delivery::persists_response(&fetched)?;
        if persists {
            turn.keep_origin(fetched.origin);
        }
        let Some(entry) = fresh else {
            // It answers for something else than is stored: that is of no use.
            self.cache.store.remove(&old.entry);
            let plan = turn.plan(self.target);
            let fetched = turn.ask(self.target, plan)?;
            return self.take(turn, fetched, reason, pilot).map(Some);
        };
        if let Some(pilot) = pilot {
            pilot.land(Arc::clone(&entry));
        }
        let terms = &self.cache.prepared(&entry).terms;
        let (age, ttl) = age_and_ttl(terms.reuse(&Fields::default(), clock::system()));
        let served = Served {
            age,
            outcome: Outcome::Validated,
            status: cache_status::Outcome::Forwarded {
                reason,
                status: Some(304),
                stored: true,
                collapsed: false,
            },
            ttl,
            detail: None,
        };
        serve(turn, self.cache, &entry, self.target, self.fault, &served)
    }

    /// An answer that replaces whatever is stored, or passes by.
    fn take(
        &self,
        turn: &mut Turn,
        fetched: Fetched,
        reason: ForwardReason,
        pilot: Option<Pilot>,
    ) -> Result<After, Failure> {
        let head = fetched.parsed()?;
        let status = Some(head.status);
        let pseudonym = &turn.shared.pseudonym;
        let meta = self
            .cache
            .meta(self.url, turn.request, &fetched, &head, pseudonym);
        match meta {
            // A part does not take the place of a whole.
            Ok(meta) if meta.part.is_none() || !self.has_whole(turn) => {
                self.keep(turn, fetched, meta, reason, pilot)
            }
            Ok(_) => {
                turn.cache_status = Some(forwarded(reason, status, false, false));
                turn.deliver(fetched, self.target, self.fault)
            }
            Err(why) => {
                self.cache.note_refusal(self.url, why);
                // What others could not have asked for just so says nothing about their requests.
                if pilot.is_some() && fetched.status < 500 {
                    self.cache.mark_unshared(self.url, clock::now());
                }
                drop(pilot);
                self.cache.forget_replaced(self.url, fetched.status, why);
                turn.cache_status = Some(forwarded(reason, status, false, false));
                turn.deliver(fetched, self.target, self.fault)
            }
        }
    }

    /// Stores an answer on its way to the client.
    fn keep(
        &self,
        turn: &mut Turn,
        fetched: Fetched,
        meta: Meta,
        reason: ForwardReason,
        pilot: Option<Pilot>,
    ) -> Result<After, Failure> {
        // A limited rate is kept by the relay, which does not store.
        let announced = filling::announced(&fetched);
        let writer = match self.fault.rate {
            None => self.cache.store.write(meta.clone(), announced),
            Some(_) => None,
        };
        // A part is for nobody who asks for the whole.
        let pilot = pilot.filter(|_| meta.part.is_none());
        let told = forwarded(reason, Some(fetched.status), writer.is_some(), false);
        turn.cache_status = Some(told);
        let Some(writer) = writer else {
            drop(pilot);
            self.cache.mark_unshared(self.url, clock::now());
            return turn.deliver(fetched, self.target, self.fault);
        };
        filling::fill(turn, self.cache, fetched, meta, writer, pilot, self.target)
    }

    fn has_whole(&self, turn: &Turn) -> bool {
        let fields = &turn.request.head.fields;
        matches!(
            self.cache.find(self.url, fields, clock::system()),
            Found::Entry(..)
        )
    }

    /// What somebody else is fetching; `None` if it is not for this request.
    fn ride(&self, turn: &mut Turn, passenger: &Passenger) -> Result<Option<After>, Failure> {
        let deadline = clock::now() + turn.shared.limits.answer_time;
        let has_begun = |stage: &Stage| !matches!(stage, Stage::Asking);
        let stage = passenger.wait(has_begun, deadline, &turn.shared.cut);
        match stage {
            Stage::Landed(entry) => {
                let terms = &self.cache.prepared(&entry).terms;
                let Some((age, ttl)) = self.fits(turn, &entry.meta, terms) else {
                    return Ok(None);
                };
                let served = Served {
                    age,
                    outcome: Outcome::Collapsed,
                    status: cache_status::Outcome::Forwarded {
                        reason: ForwardReason::UriMiss,
                        status: None,
                        stored: true,
                        collapsed: true,
                    },
                    ttl,
                    detail: None,
                };
                serve(turn, self.cache, &entry, self.target, self.fault, &served)
            }
            Stage::Arriving(arriving, _) => {
                let Some((age, _)) = self.fits(turn, &arriving.meta, &arriving.terms) else {
                    return Ok(None);
                };
                let status = forwarded(ForwardReason::UriMiss, None, true, true);
                turn.cache_status = Some(status);
                turn.note.outcome = Outcome::Collapsed;
                riding::ride(turn, passenger, &arriving, age, self.target).map(Some)
            }
            Stage::Complete(_) | Stage::Asking | Stage::GivenUp => Ok(None),
        }
    }

    /// Whether what another request is answered with may answer this one without a question to
    /// the origin (RFC 9111 section 4); its age, and how long it stays fresh.
    fn fits(&self, turn: &Turn, meta: &Meta, terms: &Terms) -> Option<(Duration, i64)> {
        let fields = &turn.request.head.fields;
        if vary::missing(&meta.selecting, fields).is_some() || self.cache.is_outdated(meta) {
            return None;
        }
        match terms.reuse(fields, clock::system()) {
            reuse @ Reuse::Fresh { .. } => Some(age_and_ttl(reuse)),
            _ => None,
        }
    }
}

/// What is stored, as a 304 has it; `None` if it is of no use any more.
pub(super) fn freshen(
    cache: &Cache,
    entry: &Arc<Stored>,
    request: &Request,
    fetched: &Fetched,
) -> Result<Option<Arc<Stored>>, Failure> {
    let head = fetched.parsed()?;
    if !may_freshen(&cache.prepared(entry).terms, &head.fields) {
        return Ok(None);
    }
    let renewed = cache.renewed(&entry.meta, request, fetched, &head);
    Ok(match renewed {
        Ok(meta) => cache.store.freshen(entry, meta),
        // It is right all the same, for this client and the others.
        Err(why) if why.is_of_request() => Some(Arc::clone(entry)),
        Err(_) => None,
    })
}

/// And how long it is fresh, below zero how long it has not been, in seconds.
fn age_and_ttl(reuse: Reuse) -> (Duration, i64) {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match reuse {
        Reuse::Fresh { age, left } => (age, seconds(left)),
        Reuse::StaleAccepted { age, past }
        | Reuse::StaleWhileRevalidate { age, past }
        | Reuse::Stale { age, past, .. } => (age, -seconds(past)),
        Reuse::Unsatisfiable => (Duration::ZERO, 0),
    }
}

enum Reused {
    Answered(After),
    Old(Old),
    /// It was evicted, or is damaged.
    Gone,
}

fn nothing_stored() -> Failure {
    Failure::new(ErrorType::HttpRequestDenied, "Nothing is stored for this")
        .with_status(504)
        .why("The request says only-if-cached.")
}

/// Nothing is asked of anybody.
pub(super) fn offline() -> Failure {
    Failure::new(ErrorType::HttpRequestDenied, "The proxy is offline")
        .with_status(504)
        .why("The proxy was started with --offline, and answers from its cache alone.")
        .advice("Start it without --offline to fetch it.")
}
