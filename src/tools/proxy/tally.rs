//! What happened: counters, the log, and what the status page shows of the recent past.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::target::OWN_PATHS;
use crate::clock;
use crate::http::Version;
use crate::http::caching::cache_status::ErrorType;
use crate::measure::size;
use crate::output::{self, Printable};
use crate::web::access::{AccessLog, Record};

/// Exchanges that one connection's ledger has at most.
const LEDGER_MAX: usize = 64;
/// Shown on the status page.
pub(super) const RECENT_MAX: usize = 50;
/// Hosts that are told apart; what is asked of further ones is in the sums only.
const HOSTS_MAX: usize = 512;
pub(super) const BUCKETS_MAX: usize = 60;
pub(super) const BUCKET_SPAN: Duration = Duration::from_secs(10);
/// Seconds; the last bucket of the histogram has what took longer.
pub(super) const HISTOGRAM_BOUNDS: [f64; 10] =
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// What the cache did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Hit,
    /// Asked for, and the origin says that what is stored is still right.
    Validated,
    /// Served although it is stale.
    Stale,
    Miss,
    /// A miss that another request was under way for.
    Collapsed,
    /// Nothing that is cached: other methods, tunnels.
    Pass,
    /// The proxy's own answer.
    Own,
}

impl Outcome {
    pub(super) const ALL: [Outcome; 7] = [
        Outcome::Hit,
        Outcome::Validated,
        Outcome::Stale,
        Outcome::Miss,
        Outcome::Collapsed,
        Outcome::Pass,
        Outcome::Own,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Validated => "validated",
            Outcome::Stale => "stale",
            Outcome::Miss => "miss",
            Outcome::Collapsed => "collapsed",
            Outcome::Pass => "pass",
            Outcome::Own => "own",
        }
    }

    /// The body came from the cache.
    pub(super) fn is_from_cache(self) -> bool {
        match self {
            Outcome::Hit | Outcome::Validated | Outcome::Stale => true,
            Outcome::Miss | Outcome::Collapsed | Outcome::Pass | Outcome::Own => false,
        }
    }
}

/// A request and its answer.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename = "exchange")]
pub(super) struct Exchange<'a> {
    pub(super) client: IpAddr,
    pub(super) method: Cow<'a, str>,
    pub(super) url: Cow<'a, str>,
    pub(super) status: u16,
    #[serde(skip)]
    pub(super) reason: &'static str,
    pub(super) cache: Outcome,
    /// Of the body, as far as it was sent.
    pub(super) octets: u64,
    pub(super) milliseconds: f64,
    /// Where it was fetched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'static str>,
    #[serde(skip)]
    pub(super) host: Cow<'a, str>,
    #[serde(skip)]
    pub(super) version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
    #[serde(skip)]
    pub(super) referer: Option<Cow<'a, str>>,
    #[serde(skip)]
    pub(super) user_agent: Option<Cow<'a, str>>,
}

impl Exchange<'_> {
    fn owned(&self) -> Exchange<'static> {
        let owned = |text: &Cow<str>| Cow::Owned(text.clone().into_owned());
        Exchange {
            method: owned(&self.method),
            url: owned(&self.url),
            host: owned(&self.host),
            user: self.user.as_ref().map(owned),
            referer: self.referer.as_ref().map(owned),
            user_agent: self.user_agent.as_ref().map(owned),
            ..*self
        }
    }

    fn protocol(&self) -> &'static str {
        match self.version {
            Version::Http10 => " HTTP/1.0",
            Version::Http11 => " HTTP/1.1",
        }
    }
}

impl fmt::Display for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client;
        let (method, url) = (self.method.as_bytes(), self.url.as_bytes());
        writeln!(
            f,
            "From {client} Request {} {}{}",
            Printable(method),
            Printable(url),
            self.protocol()
        )?;
        let (status, reason) = (self.status, self.reason);
        write!(f, "To {client} Response HTTP/1.1 {status} {reason}")?;
        let word = self.error.unwrap_or(self.cache.word());
        write!(
            f,
            " ({word}, {}, {:.1} ms)",
            size::human(self.octets),
            self.milliseconds
        )
    }
}

impl output::Event for Exchange<'_> {}

/// A tunnel that has ended.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "tunnel_closed")]
struct TunnelClosed {
    client: IpAddr,
    destination: String,
    octets_up: u64,
    octets_down: u64,
    seconds: f64,
}

impl fmt::Display for TunnelClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tunnel {} to {} closed ({} up, {} down, {})",
            self.client,
            Printable(self.destination.as_bytes()),
            size::human(self.octets_up),
            size::human(self.octets_down),
            crate::duration::human(Duration::from_secs_f64(self.seconds))
        )
    }
}

impl output::Event for TunnelClosed {}

/// A tunnel's line in the log, written when it is dropped.
pub(super) struct TunnelRecord {
    tally: Arc<Tally>,
    closed: TunnelClosed,
    began: Instant,
}

impl TunnelRecord {
    pub(super) fn new(tally: &Arc<Tally>, client: IpAddr, destination: String) -> TunnelRecord {
        tally.tunnels_opened.fetch_add(1, Ordering::Relaxed);
        tally.tunnels_open.fetch_add(1, Ordering::Relaxed);
        TunnelRecord {
            tally: Arc::clone(tally),
            closed: TunnelClosed {
                client,
                destination,
                octets_up: 0,
                octets_down: 0,
                seconds: 0.0,
            },
            began: clock::now(),
        }
    }

    /// How much it has carried by now.
    pub(super) fn note(&mut self, up: u64, down: u64) {
        let add = |counter: &AtomicU64, octets: u64| {
            if octets > 0 {
                counter.fetch_add(octets, Ordering::Relaxed);
            }
        };
        add(
            &self.tally.octets_to_clients,
            down - self.closed.octets_down,
        );
        add(
            &self.tally.octets_from_origins,
            down - self.closed.octets_down,
        );
        (self.closed.octets_up, self.closed.octets_down) = (up, down);
    }
}

impl Drop for TunnelRecord {
    fn drop(&mut self) {
        self.tally.tunnels_open.fetch_sub(1, Ordering::Relaxed);
        let now = clock::now();
        self.closed.seconds = now.saturating_duration_since(self.began).as_secs_f64();
        let mut desk = self.tally.desk();
        let (host, _) = self.closed.destination.rsplit_once(':').unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        desk.count_host(host, 0, 0, self.closed.octets_down);
        desk.log.show(&self.closed, now);
    }
}

pub(super) struct Tally {
    pub(super) started: Instant,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) tunnels_opened: AtomicU64,
    pub(super) tunnels_open: AtomicU64,
    pub(super) octets_to_clients: AtomicU64,
    pub(super) octets_from_origins: AtomicU64,
    pub(super) octets_saved: AtomicU64,
    pub(super) connections_opened: AtomicU64,
    pub(super) connections_reused: AtomicU64,
    pub(super) results: [AtomicU64; Outcome::ALL.len()],
    pub(super) classes: [AtomicU64; 5],
    pub(super) durations: [AtomicU64; HISTOGRAM_BOUNDS.len() + 1],
    pub(super) duration_us: AtomicU64,
    desk: Mutex<Desk>,
}

/// What takes more than adding a number.
pub(super) struct Desk {
    log: AccessLog,
    date: (u64, Arc<str>),
    /// The newest last.
    pub(super) recent: VecDeque<(f64, Exchange<'static>)>,
    pub(super) hosts: HashMap<String, HostFigures>,
    pub(super) errors: Vec<(&'static str, u64)>,
    /// The newest last, each with the sums at its end.
    pub(super) buckets: VecDeque<Sums>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HostFigures {
    pub(super) requests: u64,
    pub(super) hits: u64,
    pub(super) octets: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    pub(super) hits: u64,
}

impl Tally {
    pub(super) fn new(log: AccessLog) -> Tally {
        Tally {
            started: clock::now(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            tunnels_opened: AtomicU64::new(0),
            tunnels_open: AtomicU64::new(0),
            octets_to_clients: AtomicU64::new(0),
            octets_from_origins: AtomicU64::new(0),
            octets_saved: AtomicU64::new(0),
            connections_opened: AtomicU64::new(0),
            connections_reused: AtomicU64::new(0),
            results: Default::default(),
            classes: Default::default(),
            durations: Default::default(),
            duration_us: AtomicU64::new(0),
            desk: Mutex::new(Desk {
                log,
                date: (0, "".into()),
                recent: VecDeque::new(),
                hosts: HashMap::new(),
                errors: Vec::new(),
                buckets: VecDeque::new(),
            }),
        }
    }

    pub(super) fn count_connection(&self) {
        self.connections_opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Octets of bodies from origins.
    pub(super) fn count_fetched(&self, octets: u64) {
        self.octets_from_origins
            .fetch_add(octets, Ordering::Relaxed);
    }

    pub(super) fn count_reuse(&self) {
        self.connections_reused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self, error: ErrorType) {
        let mut desk = self.desk();
        let word = error.name();
        match desk.errors.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => desk.errors.push((word, 1)),
        }
    }

    /// An exchange has ended. Whoever finds the desk busy writes it into his own ledger instead of
    /// waiting: a thread that is put aside while it holds the desk would hold up all others.
    pub(super) fn record(
        &self,
        exchange: &Exchange,
        ledger: &mut Vec<Exchange<'static>>,
        now: Instant,
    ) {
        self.count(exchange);
        let desk = match ledger.len() {
            LEDGER_MAX.. => Some(self.desk()),
            _ => match self.desk.try_lock() {
                Ok(desk) => Some(desk),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            },
        };
        match desk {
            Some(mut desk) => {
                ledger
                    .drain(..)
                    .for_each(|earlier| desk.record(&earlier, now));
                desk.record(exchange, now);
            }
            None => ledger.push(exchange.owned()),
        }
    }

    /// Nothing of a ledger is left behind.
    pub(super) fn settle(&self, ledger: &mut Vec<Exchange<'static>>) {
        if !ledger.is_empty() {
            let (mut desk, now) = (self.desk(), clock::now());
            ledger
                .drain(..)
                .for_each(|exchange| desk.record(&exchange, now));
        }
    }

    fn count(&self, exchange: &Exchange) {
        let add = |counter: &AtomicU64, count| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.results[exchange.cache as usize], 1);
        // A dropped exchange has none.
        let class = usize::from(exchange.status / 100).checked_sub(1);
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            add(class, 1);
        }
        add(&self.octets_to_clients, exchange.octets);
        if exchange.cache.is_from_cache() {
            add(&self.octets_saved, exchange.octets);
        }
        let seconds = exchange.milliseconds / 1e3;
        let bucket = HISTOGRAM_BOUNDS.iter().position(|bound| seconds <= *bound);
        add(&self.durations[bucket.unwrap_or(HISTOGRAM_BOUNDS.len())], 1);
        add(&self.duration_us, (seconds * 1e6) as u64);
    }

    pub(super) fn sums(&self) -> Sums {
        let value = |outcome: Outcome| self.results[outcome as usize].load(Ordering::Relaxed);
        let of = |wanted: fn(Outcome) -> bool| {
            let outcomes = Outcome::ALL.into_iter().filter(|outcome| wanted(*outcome));
            outcomes.map(value).sum()
        };
        Sums {
            requests: of(|outcome| outcome != Outcome::Own),
            hits: of(Outcome::is_from_cache),
        }
    }

    /// Called at the end of each bucket's time.
    pub(super) fn close_bucket(&self) {
        let sums = self.sums();
        let mut desk = self.desk();
        // One more than are shown, because a bucket is the difference of two.
        if desk.buckets.len() > BUCKETS_MAX {
            desk.buckets.pop_front();
        }
        desk.buckets.push_back(sums);
    }

    pub(super) fn flush(&self, now: Instant) {
        let mut desk = self.desk();
        if desk.log.next_flush().is_some_and(|at| at <= now) {
            desk.log.flush(now);
        }
    }

    /// Nothing comes any more.
    pub(super) fn finish(&self, now: Instant) {
        self.desk().log.flush(now);
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn record(&mut self, exchange: &Exchange, now: Instant) {
        if exchange.cache != Outcome::Own && !exchange.host.is_empty() {
            let hits = u64::from(exchange.cache.is_from_cache());
            self.count_host(&exchange.host, 1, hits, exchange.octets);
            self.remember(exchange);
        }
        if !self.log.wants(now) {
            return;
        }
        let (method, url) = (&exchange.method, &exchange.url);
        let record = Record {
            peer: exchange.client,
            user: exchange.user.clone(),
            request: [method, " ", url, exchange.protocol()].concat().into(),
            status: exchange.status,
            octets: exchange.octets,
            referer: exchange.referer.clone(),
            user_agent: exchange.user_agent.clone(),
            milliseconds: exchange.milliseconds,
            began: now,
            format: self.log.format,
            date: self.date(),
        };
        // Those who look how it goes are not what they want to see.
        let is_look = exchange.cache == Outcome::Own && exchange.url.starts_with(OWN_PATHS);
        match is_look && exchange.error.is_none() {
            true => self.log.write(&record, exchange, now),
            false => self.log.record_as(&record, exchange, now),
        }
    }

    /// As the log has it; worked out once a second.
    fn date(&mut self) -> Arc<str> {
        let second = clock::unix_seconds() as u64;
        if self.date.0 != second {
            let date = clock::wall().format("%d/%b/%Y:%H:%M:%S %z");
            self.date = (second, date.to_string().into());
        }
        Arc::clone(&self.date.1)
    }

    fn count_host(&mut self, host: &str, requests: u64, hits: u64, octets: u64) {
        let add = |figures: &mut HostFigures| {
            figures.requests += requests;
            figures.hits += hits;
            figures.octets += octets;
        };
        if let Some(figures) = self.hosts.get_mut(host) {
            add(figures);
        } else if self.hosts.len() < HOSTS_MAX {
            add(self.hosts.entry(host.to_owned()).or_default());
        }
    }

    /// This happens for every request: the oldest one's memory is used again.
    fn remember(&mut self, exchange: &Exchange) {
        let oldest = match self.recent.len() {
            RECENT_MAX => self.recent.pop_front(),
            _ => None,
        };
        let (method, url, host) = match oldest {
            Some((_, oldest)) => (oldest.method, oldest.url, oldest.host),
            None => Default::default(),
        };
        let kept = Exchange {
            method: overwritten(method, &exchange.method),
            url: overwritten(url, &exchange.url),
            host: overwritten(host, &exchange.host),
            user: None,
            referer: None,
            user_agent: None,
            ..*exchange
        };
        self.recent.push_back((clock::unix_seconds(), kept));
    }
}

fn overwritten(old: Cow<'static, str>, text: &str) -> Cow<'static, str> {
    let mut old = old.into_owned();
    old.clear();
    old.push_str(text);
    old.into()
}
