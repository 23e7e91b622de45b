//! `proxy cache`: what a running proxy keeps, asked over its own port, so that it works from
//! another terminal, too.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::arguments::{self, Place};
use super::cache::{Cache, Found, fields_of};
use super::failure::Failure;
use super::pages::status::State;
use super::shared::Shared;
use super::target;
use crate::http::client::{Response, exchange};
use crate::http::head::{Field, Fields, parse_field};
use crate::http::{Refusal, reason};
use crate::measure::size;
use crate::net::tcp;
use crate::net::tls::Stream;
use crate::output::{self, Printable};
use crate::tool::{Context, Error, Status};
use crate::web::credentials;
use crate::{clock, duration};

const JSON: &str = "application/json";
/// The proxy is on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// A list of all that a large cache keeps.
const ANSWER_OCTETS_MAX: usize = 256 << 20;

/// A stored response.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "cached")]
struct Kept<'a> {
    url: Cow<'a, str>,
    status: u16,
    octets: u64,
    age_seconds: u64,
    is_fresh: bool,
    uses: u64,
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_fresh { "fresh" } else { "stale" };
        let (octets, age) = (size::human(self.octets), age(self.age_seconds));
        let url = Printable(self.url.as_bytes());
        write!(
            f,
            "{octets:>10}  {state}  {age:>8}  {:>8}  {url}",
            count(self.uses, "use")
        )
    }
}

impl output::Event for Kept<'_> {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "cache")]
struct Usage {
    entries: usize,
    octets: u64,
    octets_max: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (octets, max) = (size::human(self.octets), size::human(self.octets_max));
        let count = count(self.entries as u64, "response");
        write!(f, "{count}, {octets} of {max}")
    }
}

impl output::Event for Usage {}

/// One variant of a URL, with all that is stored of it but the body.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "stored_response")]
struct Variant {
    url: String,
    status: u16,
    reason: String,
    fields: Vec<(String, String)>,
    /// What the request had in the fields that Vary names.
    selecting: Vec<(String, String)>,
    octets: u64,
    age_seconds: u64,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (octets, age) = (size::human(self.octets), age(self.age_seconds));
        let url = Printable(self.url.as_bytes());
        write!(f, "{url}: {octets}, stored {age} ago")?;
        write!(
            f,
            "\n  {} {}",
            self.status,
            Printable(self.reason.as_bytes())
        )?;
        for (name, value) in &self.fields {
            write!(f, "\n  {name}: {}", Printable(value.as_bytes()))?;
        }
        for (name, value) in &self.selecting {
            write!(
                f,
                "\n  for requests with {name}: {}",
                Printable(value.as_bytes())
            )?;
        }
        Ok(())
    }
}

impl output::Event for Variant {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "why")]
struct Why {
    url: String,
    is_stored: bool,
    lines: Vec<String>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable(self.url.as_bytes()))?;
        for line in &self.lines {
            write!(f, "\n  {}", Printable(line.as_bytes()))?;
        }
        Ok(())
    }
}

impl output::Event for Why {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "purged")]
struct Purged {
    responses: usize,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} removed", count(self.responses as u64, "response"))
    }
}

impl output::Event for Purged {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "verified")]
struct Verified {
    responses: usize,
    octets: u64,
    /// Each URL, and what was wrong.
    damaged: Vec<(String, String)>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, octets) = (
            count(self.responses as u64, "response"),
            size::human(self.octets),
        );
        write!(f, "{count} read, {octets}; {} damaged", self.damaged.len())?;
        for (url, why) in &self.damaged {
            write!(f, "\n  removed {}: {why}", Printable(url.as_bytes()))?;
        }
        Ok(())
    }
}

impl output::Event for Verified {}

fn count(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

fn age(age_seconds: u64) -> String {
    match age_seconds {
        0 => "0 s".to_owned(),
        age => duration::human(seconds(age)),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Form = HashMap<String, String>;

fn json(value: &impl Serialize) -> Answer {
    Answer::new(JSON, serde_json::to_vec(value).unwrap_or_default())
}

fn age_seconds(response_time: SystemTime, now: SystemTime) -> u64 {
    now.duration_since(response_time)
        .unwrap_or_default()
        .as_secs()
}

/// What `proxy cache` asks.
pub(super) fn answer(shared: &Shared, path: &str, query: &Form) -> Result<Answer, Failure> {
    let cache = cache(shared)?;
    let url = query.get("url").map(String::as_str).unwrap_or_default();
    Ok(match path {
        "/-/cache/show" => json(&variants(cache, url)),
        "/-/cache/why" => json(&why(cache, url, query.get("fields"))),
        _ => json(&list(cache)),
    })
}

fn cache(shared: &Shared) -> Result<&Cache, Failure> {
    shared.cache.as_ref().ok_or_else(|| {
        Failure::refusal(Refusal {
            status: 404,
            why: "this proxy has no cache; it was started with --no-cache",
        })
    })
}

fn list(cache: &Cache) -> (Vec<Kept<'_>>, Usage) {
    let listed = cache.listed().into_iter().map(|cached| Kept {
        url: cached.url.into(),
        status: cached.status,
        octets: cached.octets,
        age_seconds: cached.age.as_secs(),
        is_fresh: matches!(cached.state, State::Fresh),
        uses: cached.uses,
    });
    let usage = cache.usage();
    let usage = Usage {
        entries: usage.entries,
        octets: usage.octets,
        octets_max: usage.octets_max,
    };
    (listed.collect(), usage)
}

fn variants(cache: &Cache, url: &str) -> Vec<Variant> {
    let now = clock::system();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let found = cache.store.find(url).into_iter();
    found
        .map(|entry| {
            let meta = &entry.meta;
            let fields = meta.fields.iter();
            let selecting = meta.selecting.iter();
            Variant {
                url: meta.url.clone(),
                status: meta.status,
                reason: meta.reason.clone(),
                fields: fields
                    .map(|(name, value)| (text(name), text(value)))
                    .collect(),
                selecting: selecting
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                octets: entry.length,
                age_seconds: age_seconds(meta.response_time, now),
            }
        })
        .collect()
}

fn why(cache: &Cache, url: &str, fields: Option<&String>) -> Why {
    let lines = fields.map(String::as_str).unwrap_or_default();
    let parsed = lines
        .lines()
        .filter_map(|line| parse_field(line.as_bytes()).ok());
    let request = Fields(parsed.collect::<Vec<Field>>());
    let now = clock::system();
    let (is_stored, lines) = match cache.find(url, &request, now) {
        Found::Nothing => (false, vec![nothing_stored(cache, url, now)]),
        Found::OtherVariants(name) => {
            let line =
                format!("what is stored is for requests with another {name}, which Vary names");
            (false, vec![line])
        }
        Found::Part(entry, _) => {
            let line = format!("only a part of it is stored, {}", size::human(entry.length));
            (true, vec![line])
        }
        Found::Entry(entry, _) => {
            let mut lines = cache.prepared(&entry).terms.explain(&request, now);
            let vary = fields_of(&entry.meta);
            for value in vary.all("vary") {
                lines.push(format!(
                    "it matches in what Vary names: {}",
                    String::from_utf8_lossy(value)
                ));
            }
            (true, lines)
        }
    };
    Why {
        url: url.to_owned(),
        is_stored,
        lines,
    }
}

fn nothing_stored(cache: &Cache, url: &str, now: SystemTime) -> String {
    if !url.starts_with("http://") {
        return "nothing but http is stored; https goes through tunnels, which nobody looks into"
            .to_owned();
    }
    match cache.last_refusal(url) {
        Some((why, when)) => {
            let ago = duration::human(seconds(age_seconds(when, now).max(1)));
            format!("nothing is stored for this URL: of the answer {ago} ago, {why}")
        }
        None => "nothing is stored for this URL; no answer for it has come since the start, or \
                 it was purged or evicted"
            .to_owned(),
    }
}

/// What `proxy cache` and the status page change; `None` for what there is not.
pub(super) fn change(shared: &Shared, path: &str, form: &Form) -> Option<Answer> {
    let cache = shared.cache.as_ref()?;
    match path {
        "/-/cache/purge" => {
            let responses = match (form.get("url"), form.get("pattern"), form.get("all")) {
                (Some(url), _, _) => cache.remove(url),
                (_, Some(pattern), _) => cache.purge(pattern),
                (_, _, Some(_)) => cache.purge_all(),
                (None, None, None) => 0,
            };
            Some(json(&Purged { responses }))
        }
        "/-/cache/verify" => {
            let verified = cache.store.verify();
            let damaged = verified.removed.into_iter();
            Some(json(&Verified {
                responses: verified.checked,
                octets: verified.octets,
                damaged: damaged.map(|removed| (removed.url, removed.why)).collect(),
            }))
        }
        _ => None,
    }
}

/// The command.
pub(super) fn run(context: &Context, command: &arguments::Cache) -> Result<Status, Error> {
    match command {
        arguments::Cache::List { place } => {
            let (kept, usage): (Vec<Kept>, Usage) = ask(context, place, "GET", "/-/cache", "")?;
            kept.iter().for_each(|kept| context.out.emit(kept));
            context.out.emit(&usage);
            Ok(Status::OK)
        }
        arguments::Cache::Show { url, place } => {
            let path = format!("/-/cache/show?url={}", encode(&whole(url)));
            let variants: Vec<Variant> = ask(context, place, "GET", &path, "")?;
            if variants.is_empty() {
                return Err(Error::Negative(format!(
                    "nothing is stored for {}",
                    whole(url)
                )));
            }
            variants
                .iter()
                .for_each(|variant| context.out.emit(variant));
            Ok(Status::OK)
        }
        arguments::Cache::Why { url, fields, place } => {
            let fields = encode(&fields.join("\n"));
            let path = format!("/-/cache/why?url={}&fields={fields}", encode(&whole(url)));
            let why: Why = ask(context, place, "GET", &path, "")?;
            context.out.emit(&why);
            Ok(if why.is_stored {
                Status::OK
            } else {
                Status::NEGATIVE
            })
        }
        arguments::Cache::Purge { pattern, place } => {
            let form = match pattern.as_str() {
                "all" => "all=yes".to_owned(),
                pattern => format!("pattern={}", encode(&whole(pattern))),
            };
            let purged: Purged = ask(context, place, "POST", "/-/cache/purge", &form)?;
            context.out.emit(&purged);
            Ok(Status::OK)
        }
        arguments::Cache::Verify { place } => {
            let verified: Verified = ask(context, place, "POST", "/-/cache/verify", "")?;
            context.out.emit(&verified);
            Ok(if verified.damaged.is_empty() {
                Status::OK
            } else {
                Status::NEGATIVE
            })
        }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `example.com` means `http://example.com/`; a pattern may begin with anything.
fn whole(url: &str) -> Cow<'_, str> {
    if url.contains('*') {
        return match url.contains("://") || url.starts_with('*') {
            true => url.into(),
            false => format!("http://{url}").into(),
        };
    }
    let with_scheme: Cow<str> = match url.contains("://") {
        true => url.into(),
        false => format!("http://{url}").into(),
    };
    target::normalized(&with_scheme).map_or(with_scheme, Cow::Owned)
}

fn ask<T: DeserializeOwned>(
    context: &Context,
    place: &Place,
    method: &str,
    path: &str,
    form: &str,
) -> Result<T, Error> {
    let address = SocketAddr::new(place.bind, place.port);
    let connected = tcp::connect(address, clock::now() + PATIENCE, &context.cancel);
    let connection = connected.map_err(|error| match Error::from(error) {
        Error::Unavailable(text) => Error::Unavailable(format!(
            "{text}; start a proxy there with 'proxy -p {}'",
            place.port
        )),
        error => error,
    })?;
    let length = form.len();
    let authorization = authorization(context, place)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{form}"
    );
    let unusable = |why: String| {
        Error::Unavailable(format!(
            "{address} does not answer as a proxy of nsh does: {why}"
        ))
    };
    let stream = Stream::Plain(connection);
    let asked = exchange(stream, method, request.as_bytes(), PATIENCE);
    let mut response = asked.map_err(|error| unusable(error.to_string()))?;
    let status = response
        .parsed()
        .map_err(|error| unusable(error.to_string()))?
        .status;
    let body = read(&mut response).map_err(unusable)?;
    if status != 200 {
        let text = String::from_utf8_lossy(&body);
        let why = text.lines().nth(2).unwrap_or(reason(status)).to_owned();
        return Err(unusable(why));
    }
    serde_json::from_slice(&body).map_err(|_| unusable("that is something else".to_owned()))
}

/// The field line, where the proxy asks for it.
fn authorization(context: &Context, place: &Place) -> Result<String, Error> {
    let Some(user) = &place.auth else {
        return Ok(String::new());
    };
    let (file, prompt) = (place.password_file.as_deref(), "Password for the proxy: ");
    let password = credentials::password(context, file, "NSH_PROXY_PASSWORD", prompt)?;
    let encoded = STANDARD.encode(format!("{user}:{}", *password));
    Ok(format!("Authorization: Basic {encoded}\r\n"))
}

fn read(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while response
        .read(&mut body)
        .map_err(|error| error.to_string())?
    {
        if body.len() > ANSWER_OCTETS_MAX {
            return Err("it answers too much".to_owned());
        }
    }
    Ok(body)
}
