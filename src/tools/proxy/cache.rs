//! The cache as the exchanges use it: what is stored, under which terms, and what is being
//! fetched for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::arguments::Arguments;
use super::fetch::Fetched;
use super::flight::Flights;
use super::pages::status;
use super::partial;
use super::rewrite::{Pseudonym, end_to_end, line, via, write_status_line};
use super::store::{Entry, Meta, Store, Usage};
use super::target;
use crate::clock;
use crate::http::caching::Mode;
use crate::http::caching::freshening::freshen;
use crate::http::caching::freshness::{Reuse, Terms};
use crate::http::caching::storing::{Asked, Why, may_store};
use crate::http::caching::vary;
use crate::http::head::{Field, Fields, ResponseHead};
use crate::http::request::{BodyLength, Request};
use crate::tool::{Context, Error};

/// Of small bodies that are kept in memory beside the disk.
const MEMORY_OCTETS_MAX: u64 = 16 << 20;
/// A response that was not to be shared is not waited for by others for so long.
const UNSHARED_FOR: Duration = Duration::from_secs(10);
const UNSHARED_MAX: usize = 1024;
/// For `proxy cache why`.
const REFUSED_MAX: usize = 1024;
/// URLs whose change is remembered for what is under way.
const CHANGES_MAX: usize = 1024;
/// Stale responses that are fetched anew behind the back of whom they are served to.
const BACKGROUND_MAX: usize = 8;

pub(super) type Stored = Entry<Prepared>;

/// What is worked out once from what is stored.
pub(super) struct Prepared {
    pub(super) terms: Terms,
    /// The status line and the fields, but those that each answer has its own.
    pub(super) head: Vec<u8>,
}

pub(super) struct Cache {
    pub(super) store: Store<Prepared>,
    folder: PathBuf,
    pub(super) mode: Mode,
    /// Only what is stored is served.
    pub(super) is_offline: bool,
    pub(super) flights: Flights,
    unshared: Mutex<HashMap<String, Instant>>,
    changes: Mutex<Changes>,
    /// Why the last answer for a URL was not stored, and when that was.
    refused: Mutex<HashMap<String, (Why, SystemTime)>>,
    in_background: AtomicUsize,
    /// Octets in files that are not going to be stored.
    pub(super) borrowed: AtomicU64,
}

/// When what was stored has been made invalid: an answer to an older request is not stored after
/// that.
#[derive(Default)]
struct Changes {
    of_all: Option<SystemTime>,
    of_url: HashMap<String, SystemTime>,
}

/// What is stored for a request.
pub(super) enum Found {
    Nothing,
    /// But not for a request with such a field.
    OtherVariants(String),
    /// Some of it.
    Part(Arc<Stored>, Reuse),
    Entry(Arc<Stored>, Reuse),
}

impl Cache {
    pub(super) fn open(context: &Context, arguments: &Arguments) -> Result<Option<Cache>, Error> {
        if arguments.no_cache {
            return Ok(None);
        }
        let Some((folder, store)) = open_store(context, arguments)? else {
            return Ok(None);
        };
        Ok(Some(Cache {
            store,
            folder,
            mode: Mode { cdn: arguments.cdn },
            is_offline: arguments.offline,
            flights: Flights::default(),
            unshared: Mutex::default(),
            changes: Mutex::default(),
            refused: Mutex::default(),
            in_background: AtomicUsize::new(0),
            borrowed: AtomicU64::new(0),
        }))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn usage(&self) -> Usage {
        self.store.size()
    }

    pub(super) fn find(&self, url: &str, request: &Fields, now: SystemTime) -> Found {
        let variants = self.store.find(url);
        let mut missed = None;
        for entry in variants {
            match vary::missing(&entry.meta.selecting, request) {
                None => {
                    let reuse = self.prepared(&entry).terms.reuse(request, now);
                    return match entry.meta.part {
                        None => Found::Entry(entry, reuse),
                        Some(_) => Found::Part(entry, reuse),
                    };
                }
                Some(name) => missed = missed.or_else(|| Some(name.to_owned())),
            }
        }
        missed.map_or(Found::Nothing, Found::OtherVariants)
    }

    pub(super) fn prepared<'e>(&self, entry: &'e Stored) -> &'e Prepared {
        entry.prepared.get_or_init(|| self.prepare(&entry.meta))
    }

    fn prepare(&self, meta: &Meta) -> Prepared {
        let fields = fields_of(meta);
        let Meta {
            request_time,
            response_time,
            ..
        } = *meta;
        let terms = Terms::new(meta.status, &fields, request_time, response_time, self.mode);
        let mut head = Vec::new();
        write_status_line(&mut head, meta.status, meta.reason.as_bytes());
        for field in fields.0.iter().filter(|field| !is_age(field)) {
            line(&mut head, field.name, field.value);
        }
        Prepared { terms, head }
    }

    pub(super) fn terms(&self, meta: &Meta) -> Terms {
        self.prepare(meta).terms
    }

    /// What would be stored of an answer; or why nothing is.
    pub(super) fn meta(
        &self,
        url: &str,
        request: &Request,
        fetched: &Fetched,
        head: &ResponseHead,
        pseudonym: &Pseudonym,
    ) -> Result<Meta, Why> {
        may_store(&asked(request), head.status, &head.fields, self.mode)?;
        let selecting = vary::selecting(&head.fields, &request.head.fields);
        let mut meta = Meta {
            url: url.to_owned(),
            selecting: selecting.ok_or(Why::VaryUnusable)?,
            status: head.status,
            reason: String::from_utf8_lossy(head.reason).into_owned(),
            fields: stored_fields(head, fetched.response_time, pseudonym),
            request_time: fetched.request_time,
            response_time: fetched.response_time,
            part: None,
        };
        if head.status == 206 {
            partial::describe(&mut meta, fetched, head).ok_or(Why::ContentRange)?;
        }
        Ok(meta)
    }

    /// What is stored becomes, after a 304 or another part has told of it (RFC 9111 sections 3.4
    /// and 4.3.4); or why it is not stored any more.
    pub(super) fn renewed(
        &self,
        meta: &Meta,
        request: &Request,
        fetched: &Fetched,
        head: &ResponseHead,
    ) -> Result<Meta, Why> {
        // The way that the stored answer came is still its way, and a cookie is for one client.
        let is_left_out = |field: &&Field| {
            let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
            is(b"via") || is(b"set-cookie")
        };
        let news = end_to_end(&head.fields).filter(|field| !is_left_out(field));
        let mut news: Vec<Field> = news.copied().collect();
        let date = httpdate::fmt_http_date(fetched.response_time);
        if head.fields.first("date").is_none() {
            let (name, value) = (&b"Date"[..], date.as_bytes());
            news.push(Field { name, value });
        }
        let meta = Meta {
            fields: freshen(&fields_of(meta), &Fields(news)),
            request_time: fetched.request_time,
            response_time: fetched.response_time,
            ..meta.clone()
        };
        may_store(&asked(request), meta.status, &fields_of(&meta), self.mode)?;
        Ok(meta)
    }

    /// RFC 9111 section 4.4.
    pub(super) fn on_change(&self, url: &str, head: &ResponseHead) {
        self.remove(url);
        for name in ["location", "content-location"] {
            if let Some(value) = head.fields.first(name)
                && let Some(other) = target::same_site(url, value)
            {
                self.remove(&other);
            }
        }
    }

    pub(super) fn remove(&self, url: &str) -> usize {
        let mut changes = self.changes();
        if changes.of_url.len() >= CHANGES_MAX {
            // What is under way for the others is not stored either.
            changes.of_all = Some(clock::system());
            changes.of_url.clear();
        }
        changes.of_url.insert(url.to_owned(), clock::system());
        drop(changes);
        self.store.remove_url(url)
    }

    pub(super) fn purge(&self, pattern: &str) -> usize {
        self.changes().of_all = Some(clock::system());
        self.store.purge(pattern)
    }

    pub(super) fn purge_all(&self) -> usize {
        self.changes().of_all = Some(clock::system());
        self.store.purge_all()
    }

    /// Whether something has changed since this was asked for.
    pub(super) fn is_outdated(&self, meta: &Meta) -> bool {
        let changes = self.changes();
        let changed = [changes.of_all, changes.of_url.get(&meta.url).copied()];
        changed
            .into_iter()
            .flatten()
            .any(|changed| changed >= meta.request_time)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_refusal(&self, url: &str, why: Why) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REFUSED_MAX {
            refused.clear();
        }
        refused.insert(url.to_owned(), (why, clock::system()));
    }

    pub(super) fn last_refusal(&self, url: &str) -> Option<(Why, SystemTime)> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(url).copied()
    }

    /// Whether others may wait for what one of them fetches.
    pub(super) fn is_shared(&self, url: &str, now: Instant) -> bool {
        let unshared = self.unshared();
        unshared.get(url).is_none_or(|until| *until <= now)
    }

    pub(super) fn mark_unshared(&self, url: &str, now: Instant) {
        let mut unshared = self.unshared();
        if unshared.len() >= UNSHARED_MAX {
            unshared.retain(|_, until| *until > now);
        }
        if unshared.len() < UNSHARED_MAX {
            unshared.insert(url.to_owned(), now + UNSHARED_FOR);
        }
    }

    fn unshared(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.unshared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more fetch in the background.
    pub(super) fn enter_background(&self) -> bool {
        let before = self.in_background.fetch_add(1, Ordering::SeqCst);
        if before >= BACKGROUND_MAX {
            self.leave_background();
        }
        before < BACKGROUND_MAX
    }

    pub(super) fn leave_background(&self) {
        self.in_background.fetch_sub(1, Ordering::SeqCst);
    }

    /// What replaces a stored response and is not stored leaves none behind: neither that which
    /// is private from now on, nor that which is gone. What only this one client was told, or
    /// what only its request forbade to store, says nothing about what is stored.
    pub(super) fn forget_replaced(&self, url: &str, status: u16, why: Why) {
        let is_replaced =
            !why.is_of_request() && !matches!(why, Why::Status(_) | Why::ContentRange);
        let is_final = matches!(status, 200..206 | 300..304 | 307 | 308 | 404 | 410);
        if is_replaced && is_final {
            self.remove(url);
        }
    }

    pub(super) fn listed(&self) -> Vec<status::Cached> {
        let now = clock::system();
        let listed = self.store.list().into_iter();
        listed
            .map(|listed| {
                let age = now.duration_since(listed.response_time).unwrap_or_default();
                status::Cached {
                    state: self.state(&listed.url, now),
                    url: listed.url,
                    status: listed.status,
                    octets: listed.octets,
                    age,
                    uses: listed.uses,
                }
            })
            .collect()
    }

    pub(super) fn state(&self, url: &str, now: SystemTime) -> status::State {
        let newest = self.store.find(url).into_iter().next();
        let is_fresh = newest.is_some_and(|entry| {
            let reuse = self.prepared(&entry).terms.reuse(&Fields::default(), now);
            matches!(reuse, Reuse::Fresh { .. })
        });
        match is_fresh {
            true => status::State::Fresh,
            false => status::State::Stale,
        }
    }
}

/// In `--cache`, else in ./cache where there is one, else in the user's own. What nobody has asked
/// for by name is passed over where it cannot be used.
fn open_store(
    context: &Context,
    arguments: &Arguments,
) -> Result<Option<(PathBuf, Store<Prepared>)>, Error> {
    let open = |folder: &Path| Store::open(folder, arguments.cache_size, MEMORY_OCTETS_MAX);
    if let Some(folder) = &arguments.cache {
        return match open(folder) {
            Ok(store) => Ok(Some((folder.clone(), store))),
            Err(error) => Err(Error::Unavailable(format!(
                "{error}; --cache DIR takes another folder, --no-cache none"
            ))),
        };
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    let here = Some(PathBuf::from("cache")).filter(|here| here.is_dir());
    for folder in here.into_iter().chain(base.map(|base| base.join("nsh"))) {
        match open(&folder) {
            Ok(store) => return Ok(Some((folder, store))),
            Err(error) => context.out.notice(error.to_string()),
        }
    }
    context
        .out
        .notice("so nothing is kept; --cache DIR says where to");
    Ok(None)
}

fn asked<'r>(request: &'r Request) -> Asked<'r> {
    Asked {
        method: request.head.method,
        fields: &request.head.fields,
        has_body: request.body != BodyLength::None,
    }
}

pub(super) fn fields_of(meta: &Meta) -> Fields<'_> {
    let fields = meta.fields.iter();
    Fields(fields.map(|(name, value)| Field { name, value }).collect())
}

/// Each answer has its own.
pub(super) fn is_age(field: &Field) -> bool {
    field.name.eq_ignore_ascii_case(b"age")
}

/// End-to-end, with a Date and our Via.
fn stored_fields(
    head: &ResponseHead,
    received: SystemTime,
    pseudonym: &Pseudonym,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let kept = |field: &&Field| {
        let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
        // A cookie is for the client that it was sent to.
        !is(b"cache-status") && !is(b"proxy-status") && !is(b"set-cookie")
    };
    let owned = |field: &Field| (field.name.to_vec(), field.value.to_vec());
    let mut fields: Vec<_> = end_to_end(&head.fields).filter(kept).map(owned).collect();
    if head.fields.first("date").is_none() {
        let date = httpdate::fmt_http_date(received);
        fields.push((b"Date".to_vec(), date.into_bytes()));
    }
    fields.push((b"Via".to_vec(), via(head.version, pseudonym).into_bytes()));
    fields
}
