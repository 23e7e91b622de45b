//! What the proxy answers for itself: pages for people, figures for machines, and its cache for
//! `proxy cache`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Local};
use percent_encoding::percent_decode;

use super::answer::Answer;
use super::control;
use super::exchange::Turn;
use super::failure::Failure;
use super::pages::address::Address;
use super::pages::{metrics, pac, setup, status};
use super::relay::{Inflow, Patience};
use super::shared::Shared;
use super::tally::{BUCKET_SPAN, HISTOGRAM_BOUNDS, Outcome, Sums};
use super::target;
use crate::clock;
use crate::http::Refusal;
use crate::http::body::Remaining;
use crate::http::request::{BodyLength, Target};

/// Of a form.
const FORM_OCTETS_MAX: usize = 32 << 10;
const TEXT: &str = "text/plain; charset=utf-8";
const METHODS: &str = "GET, HEAD, POST, OPTIONS";
const HOSTS_SHOWN: usize = 10;

pub(super) fn answer(turn: &mut Turn, path: &[u8]) -> Result<Answer, Failure> {
    let is_named_freely = is_configuration(path);
    if !matches!(turn.request.target, Target::Absolute { .. }) && !is_named_freely {
        target::is_meant_for_us(turn.request).map_err(Failure::refusal)?;
    }
    let path = String::from_utf8_lossy(path).into_owned();
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    match turn.request.head.method {
        b"GET" | b"HEAD" => get(turn, path, &parse_form(query.as_bytes())),
        b"POST" => post(turn, path),
        b"OPTIONS" => Ok(Answer::new(TEXT, Vec::new()).with_field("Allow", METHODS)),
        _ => Err(Failure::method_not_allowed(
            METHODS,
            "the proxy's own pages know GET, HEAD, POST and OPTIONS",
        )),
    }
}

/// What browsers look for before they use the proxy, by whatever name they have for it.
pub(super) fn is_configuration(path: &[u8]) -> bool {
    matches!(path, b"/proxy.pac" | b"/wpad.dat")
}

type Form = HashMap<String, String>;

fn get(turn: &Turn, path: &str, query: &Form) -> Result<Answer, Failure> {
    let shared = turn.shared;
    match path {
        "/" | "/-/" | "/-/status" => Ok(Answer::page(status::page(&snapshot(turn, query)))),
        "/-/setup" => Ok(Answer::page(setup::page(&address(turn)))),
        "/proxy.pac" | "/wpad.dat" => Ok(Answer::new(pac::MEDIA_TYPE, pac::emit(&address(turn)))),
        "/-/metrics" => {
            let text = counters(shared).open_metrics();
            Ok(Answer::new(metrics::MEDIA_TYPE, text))
        }
        "/-/cache" | "/-/cache/show" | "/-/cache/why" if is_insider(turn) => {
            control::answer(shared, path, query)
        }
        _ => Err(nothing_there()),
    }
}

fn nothing_there() -> Failure {
    Failure::refusal(Refusal {
        status: 404,
        why: "the proxy has no such page",
    })
    .advice("A page of a site is asked for by its whole URL, or as /example.com/path.")
}

/// Whoever sits at this machine may look at everything, and change the cache.
fn is_insider(turn: &Turn) -> bool {
    turn.client.address().is_loopback()
}

fn post(turn: &mut Turn, path: &str) -> Result<Answer, Failure> {
    let head = &turn.request.head;
    if !is_insider(turn) || !target::is_own_page(&head.fields, turn.request.authority) {
        return Err(Failure::refusal(Refusal {
            status: 403,
            why: "only this machine, and no other site's page, may change the cache",
        }));
    }
    let wants_page = head.fields.first("accept").is_some_and(|accept| {
        let mut windows = accept.windows(9);
        windows.any(|part| part == b"text/html")
    });
    let form = parse_form(&body(turn)?);
    let answer = control::change(turn.shared, path, &form).ok_or_else(nothing_there)?;
    Ok(match wants_page {
        // So that loading the page again does not send the form again.
        true => Answer {
            status: 303,
            ..Answer::new(TEXT, Vec::new()).with_field("Location", "/-/status")
        },
        false => answer,
    })
}

fn body(turn: &mut Turn) -> Result<Vec<u8>, Failure> {
    let remaining = match turn.request.body {
        BodyLength::None => return Ok(Vec::new()),
        BodyLength::Octets(octets) => Remaining::Octets(octets),
        BodyLength::Chunked => Remaining::chunked(),
    };
    let patience = Patience {
        stall: turn.shared.limits.stall,
        cancel: &turn.shared.cut,
    };
    let mut inflow = Inflow::new(&turn.client.peer, &mut turn.client.buffer, remaining);
    let mut body = Vec::new();
    loop {
        let data = inflow.take().map_err(|_| Failure::gone())?;
        let is_more_needed = data.is_empty();
        body.extend_from_slice(data);
        if body.len() > FORM_OCTETS_MAX {
            return Err(Failure::refusal(Refusal {
                status: 413,
                why: "that is too much for a form",
            }));
        }
        if inflow.is_over {
            inflow.compact();
            turn.is_request_whole = true;
            return Ok(body);
        }
        if is_more_needed {
            let filled = inflow.fill(clock::now() + patience.stall, patience.cancel);
            filled.map_err(|_| Failure::gone())?;
        }
    }
}

/// `application/x-www-form-urlencoded`; of a name that is there twice, the last counts.
fn parse_form(text: &[u8]) -> Form {
    let decode = |text: &[u8]| {
        let spaced: Vec<u8> = text
            .iter()
            .map(|octet| if *octet == b'+' { b' ' } else { *octet })
            .collect();
        percent_decode(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = text
        .split(|octet| *octet == b'&')
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut parts = pair.splitn(2, |octet| *octet == b'=');
            let name = decode(parts.next().unwrap_or_default());
            (name, decode(parts.next().unwrap_or_default()))
        })
        .collect()
}

/// As the client calls the proxy.
fn address(turn: &Turn) -> Address {
    let named = match turn.request.target {
        Target::Absolute { .. } => None,
        _ => turn
            .request
            .head
            .fields
            .first("host")
            .and_then(Address::parse),
    };
    let own = || {
        turn.client
            .peer
            .own_address()
            .unwrap_or(turn.shared.address)
    };
    named.unwrap_or_else(|| own().into())
}

fn snapshot(turn: &Turn, query: &Form) -> status::Snapshot {
    let (shared, tally) = (turn.shared, &turn.shared.tally);
    let now = clock::now();
    let is_insider = is_insider(turn);
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let sums = tally.sums();
    let desk = tally.desk();
    let usage = shared.cache.as_ref().map(|cache| cache.usage());
    let mut hosts: Vec<status::Host> = desk
        .hosts
        .iter()
        .map(|(host, figures)| status::Host {
            host: host.clone(),
            requests: figures.requests,
            hits: figures.hits,
            octets: figures.octets,
        })
        .collect();
    hosts.sort_by(|one, other| {
        other
            .requests
            .cmp(&one.requests)
            .then_with(|| one.host.cmp(&other.host))
    });
    hosts.truncate(HOSTS_SHOWN);
    let buckets = buckets(desk.buckets.iter().copied().chain([sums]));
    let last = buckets
        .iter()
        .rev()
        .nth(1)
        .map_or(0, |bucket| bucket.requests);
    let recent = desk.recent.iter().rev();
    let recent = recent.map(|(time, exchange)| status::Exchange {
        time: local_time(*time),
        client: exchange.client.to_string(),
        method: exchange.method.clone().into_owned(),
        url: exchange.url.clone().into_owned(),
        status: (exchange.status > 0).then_some(exchange.status),
        result: exchange.error.unwrap_or(exchange.cache.word()),
        octets: exchange.octets,
        took: Duration::from_secs_f64(exchange.milliseconds / 1e3),
    });
    let recent = if is_insider {
        recent.collect()
    } else {
        Vec::new()
    };
    drop(desk);
    let cached = shared.cache.as_ref().filter(|_| is_insider);
    status::Snapshot {
        listens_on: shared.address.to_string(),
        uptime: now.saturating_duration_since(tally.started),
        open_connections: shared.places.taken() as u64,
        open_tunnels: load(&tally.tunnels_open),
        requests: sums.requests,
        hits: sums.hits,
        requests_per_second: last as f64 / BUCKET_SPAN.as_secs_f64(),
        octets_to_clients: load(&tally.octets_to_clients),
        octets_saved: load(&tally.octets_saved),
        buckets,
        bucket_span: BUCKET_SPAN,
        recent,
        hosts: if is_insider { hosts } else { Vec::new() },
        cached: cached.map_or_else(Vec::new, |cache| cache.listed()),
        cache_octets: usage.map_or(0, |usage| usage.octets),
        cache_octets_max: usage.map_or(0, |usage| usage.octets_max),
        query: query.get("q").cloned().unwrap_or_default(),
        refreshes: query.contains_key("refresh"),
        may_purge: is_insider,
    }
}

/// From sums that only grow, what happened between them.
fn buckets(sums: impl Iterator<Item = Sums>) -> Vec<status::Bucket> {
    let mut before = Sums::default();
    let bucket = |sums: Sums| {
        let bucket = status::Bucket {
            requests: sums.requests.saturating_sub(before.requests),
            hits: sums.hits.saturating_sub(before.hits),
        };
        before = sums;
        bucket
    };
    sums.map(bucket).collect()
}

fn local_time(unix_seconds: f64) -> DateTime<chrono::FixedOffset> {
    let time = DateTime::from_timestamp_millis((unix_seconds * 1e3) as i64);
    time.unwrap_or_default()
        .with_timezone(&Local)
        .fixed_offset()
}

fn counters(shared: &Shared) -> metrics::Counters {
    let tally = &shared.tally;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let usage = shared.cache.as_ref().map(|cache| cache.usage());
    let words = Outcome::ALL.into_iter().zip(&tally.results);
    let durations = HISTOGRAM_BOUNDS.into_iter().zip(&tally.durations);
    metrics::Counters {
        uptime: clock::now().saturating_duration_since(tally.started),
        connections_accepted: load(&tally.accepted),
        connections_open: shared.places.taken() as u64,
        connections_refused: load(&tally.refused),
        tunnels_opened: load(&tally.tunnels_opened),
        tunnels_open: load(&tally.tunnels_open),
        results: words
            .map(|(outcome, count)| (outcome.word(), load(count)))
            .collect(),
        responses: std::array::from_fn(|class| load(&tally.classes[class])),
        octets_to_clients: load(&tally.octets_to_clients),
        octets_from_origins: load(&tally.octets_from_origins),
        octets_saved: load(&tally.octets_saved),
        origin_connections_opened: load(&tally.connections_opened),
        origin_connections_reused: load(&tally.connections_reused),
        origin_connections_idle: shared.upstream.count_idle() as u64,
        errors: tally.desk().errors.clone(),
        cache_entries: usage.map_or(0, |usage| usage.entries as u64),
        cache_octets: usage.map_or(0, |usage| usage.octets),
        cache_octets_max: usage.map_or(0, |usage| usage.octets_max),
        request_seconds: metrics::Histogram {
            buckets: durations
                .map(|(bound, count)| (bound, load(count)))
                .collect(),
            longer: load(&tally.durations[HISTOGRAM_BOUNDS.len()]),
            sum: Duration::from_micros(load(&tally.duration_us)),
        },
    }
}
