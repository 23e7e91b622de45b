//! `proxy`: a caching forward proxy for HTTP/1.1, with tunnels for everything else.
//!
//! Connections wait in the [`lobby`] until something happens on them, and a thread of the
//! [`crew`] takes each from there. A [`client`]'s head becomes an [`exchange`]: its [`target`]
//! says what it is for, [`stored`] whether the cache has it, [`fetch`] asks the origin by a
//! connection of [`upstream`], [`rewrite`] writes both messages anew, and [`relay`] moves the
//! body. CONNECT becomes a [`tunnel`].

mod access_list;
mod answer;
mod arguments;
mod cache;
mod client;
mod control;
mod crew;
mod delivery;
mod destination;
mod exchange;
mod failure;
mod faults;
mod fetch;
mod filling;
mod flight;
mod host;
mod lobby;
mod own;
mod pages;
mod parents;
mod partial;
mod pipe;
mod relay;
mod renewing;
mod rewrite;
mod riding;
mod serving;
mod shared;
mod store;
mod stored;
mod tally;
mod target;
mod tunnel;
mod upstream;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde::Serialize;

use access_list::{Clients, Denied};
use arguments::{Arguments, Command};
use cache::Cache;
use crew::Crew;
use faults::Faults;
use lobby::Lobby;
use shared::{Limits, Rules, Shared};
use tally::{BUCKET_SPAN, Tally};
use upstream::Upstream;

use crate::measure::size;
use crate::net::{peer, tcp};
use crate::output::{self, Tone};
use crate::tool::{Context, Endpoint, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::web::access::{self, AccessLog};
use crate::web::credentials::{self, Credentials};
use crate::web::places::Places;
use crate::{cause, clock};

/// Who waits too long is looked for so often, and so is what the log has not written yet.
const ROUND: Duration = Duration::from_millis(250);
/// Fields of browsers take a few KiB, cookies some more.
const HEAD_OCTETS_MAX: usize = 64 << 10;

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "proxy",
        summary: "a caching web proxy",
        group: Group::Network,
        examples: &[
            Example {
                line: "proxy",
                what: "for this machine, on 127.0.0.1:8888; http://nsh.proxy/ shows how it goes",
            },
            Example {
                line: "get --via 127.0.0.1:8888 http://example.com/",
                what: "a page through it, and from its cache the next time",
            },
            Example {
                line: "proxy cache why http://example.com/",
                what: "what the cache does with that page, and why",
            },
            Example {
                line: "proxy -b 0.0.0.0 --allow 192.168.1.0/24",
                what: "for the machines of a network",
            },
            Example {
                line: "proxy --origin http://127.0.0.1:8080 -p 8081 --delay 200ms",
                what: "in front of one site, as if it were far away",
            },
            Example {
                line: "proxy --upstream socks5://127.0.0.1:1080",
                what: "by way of another proxy",
            },
        ],
        statuses: &[
            (
                Status::NEGATIVE,
                "proxy cache: nothing is stored for that URL, or something was damaged",
            ),
            (
                Status::UNAVAILABLE,
                "the port or the cache's folder is taken; proxy cache: no proxy answers there",
            ),
            (Status::NOT_PERMITTED, "this user may not use the port"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |matches| match matches.subcommand() {
        Some(_) => Kind::Foreground,
        None => Kind::Server,
    },
};

#[derive(Serialize)]
#[serde(tag = "event", rename = "listening")]
struct Listening {
    address: String,
    cache: Option<String>,
    reach: &'static str,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listening { address, reach, .. } = self;
        write!(f, "proxy at {address}, {reach}")?;
        match &self.cache {
            Some(cache) => write!(f, ", cache in {cache}"),
            None => write!(f, ", no cache"),
        }?;
        write!(f, "; status at http://nsh.proxy/ through it")
    }
}

impl output::Event for Listening {
    fn tone(&self) -> Tone {
        Tone::Good
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let mut arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    if let Some(Command::Cache(command)) = arguments.command.take() {
        return control::run(context, &command);
    }
    let proxy = Proxy::start(context, arguments)?;
    proxy.attend(context);
    proxy.stop();
    Err(Error::Cancelled)
}

struct Proxy {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    grace: Duration,
}

impl Proxy {
    fn start(context: &Context, arguments: Arguments) -> Result<Proxy, Error> {
        let credentials = password(context, &arguments)?;
        let rules = rules(&arguments, credentials)?;
        let tally = Tally::new(log(context, &arguments)?);
        let cache = Cache::open(context, &arguments)?;
        let wanted = SocketAddr::new(arguments.bind, arguments.port);
        let listener = tcp::listen(wanted)
            .map_err(|error| context.with_neighbour(error, Endpoint::Tcp(wanted)))?;
        let address = listener.local_addr().unwrap_or(wanted);
        let places = Places::new(
            arguments.max_connections as usize,
            arguments.max_per_client as usize,
        );
        let listening = listening(&arguments, address, cache.as_ref());
        let limits = limits(&arguments);
        let upstream = Upstream::new(arguments.upstream);
        let lobby = peer::prepare(&listener).and_then(|()| Lobby::open(listener));
        let lobby = lobby.map_err(cannot_start)?;
        let shared = Shared::new(
            address, lobby, places, limits, rules, upstream, cache, tally,
        );
        let shared = Arc::new(shared.map_err(cannot_start)?);
        let crew = Crew::start(Arc::clone(&shared)).map_err(cannot_start)?;
        context.progress.set_grace(arguments.grace);
        // Not the whole of it, which must go with the proxy: the cache's folder is locked by it.
        let shown = (Arc::clone(&shared.tally), Arc::clone(&shared.places));
        context.summarize_with(move || summary(&shown.0, &shown.1));
        context.ready(&[Endpoint::Tcp(address)], &listening);
        Ok(Proxy {
            shared,
            crew,
            grace: arguments.grace,
        })
    }

    /// Until the job is stopped.
    fn attend(&self, context: &Context) {
        let mut bucket_ends = clock::now() + BUCKET_SPAN;
        while context.cancel.sleep_until(clock::now() + ROUND).is_ok() {
            let now = clock::now();
            self.crew.dismiss_overdue(now);
            self.crew.look_after();
            self.shared.lobby.watch_listener();
            self.shared.upstream.forget_old(now);
            self.shared.tally.flush(now);
            self.tell_trouble(context);
            if now >= bucket_ends {
                self.shared.tally.close_bucket();
                bucket_ends += BUCKET_SPAN;
            }
        }
    }

    /// Each pause of the cache once.
    fn tell_trouble(&self, context: &Context) {
        if let Some(cache) = &self.shared.cache
            && let Some(why) = cache.store.take_trouble()
        {
            let folder = cache.folder().display();
            let text = format!("nothing is stored in {folder} for 30 s: {why}");
            context.out.warn(text);
        }
    }

    /// The port is free at once; what is under way may go on for the grace period.
    fn stop(&self) {
        const ENDING: Duration = Duration::from_secs(1);
        self.crew.close();
        self.crew.wait_until(clock::now() + self.grace);
        self.shared.cut.cancel();
        self.crew.wait_until(clock::now() + ENDING);
        self.shared.tally.finish(clock::now());
    }
}

fn cannot_start(error: std::io::Error) -> Error {
    Error::Unavailable(format!("cannot start the proxy: {}", cause::of(&error)))
}

/// Of `--auth`.
fn password(context: &Context, arguments: &Arguments) -> Result<Option<Credentials>, Error> {
    let Some(user) = &arguments.auth else {
        return Ok(None);
    };
    let (file, prompt) = (
        arguments.password_file.as_deref(),
        "Password for the proxy: ",
    );
    let password = credentials::password(context, file, "NSH_PROXY_PASSWORD", prompt)?;
    Ok(Some(Credentials::new(user, &password)))
}

fn rules(arguments: &Arguments, credentials: Option<Credentials>) -> Result<Rules, Error> {
    let is_bound_to_loopback = arguments.bind.is_loopback();
    let is_open = arguments.allow.is_empty() && credentials.is_none();
    if !is_bound_to_loopback && is_open && arguments.origin.is_none() {
        return Err(Error::Usage(format!(
            "a proxy on {} would serve whoever finds it; say for whom it is with --allow \
             192.168.1.0/24 or --auth USER",
            arguments.bind
        )));
    }
    // A password, or being a web server for all, lets everybody in who reaches it.
    let is_for_named = !arguments.allow.is_empty() || is_bound_to_loopback;
    Ok(Rules {
        clients: is_for_named.then(|| Clients {
            allowed: arguments.allow.clone(),
        }),
        credentials,
        denied: Denied(arguments.deny.clone()),
        connect_ports: arguments.connect_ports.clone(),
        allow_private: arguments.allow_private,
        is_bound_to_loopback,
        forwarded: arguments.forwarded,
        faults: Faults {
            delays: arguments.delay.clone(),
            rates: arguments.rate.clone(),
            drops: arguments.drop.clone(),
        },
        reverse: arguments.origin.clone(),
    })
}

fn limits(arguments: &Arguments) -> Limits {
    Limits {
        head_octets: HEAD_OCTETS_MAX,
        head_time: arguments.header_timeout,
        idle_time: arguments.idle_timeout,
        connect_time: arguments.connect_timeout,
        answer_time: arguments.answer_timeout,
        stall: arguments.stall_timeout,
        threads: usize::from(arguments.threads),
    }
}

fn log(context: &Context, arguments: &Arguments) -> Result<AccessLog, Error> {
    let cannot = |path: &PathBuf, error: std::io::Error| {
        let why = cause::of(&error);
        Error::Usage(format!(
            "cannot write the access log {}: {why}",
            path.display()
        ))
    };
    let file = arguments
        .log
        .as_ref()
        .map(|path| access::open(path).map_err(|error| cannot(path, error)));
    let (out, format) = (context.out.clone(), arguments.log_format);
    Ok(AccessLog::new(out, format, file.transpose()?, clock::now()))
}

fn summary(tally: &Tally, places: &Places) -> String {
    let sums = tally.sums();
    let tunnels = tally.tunnels_open.load(Ordering::Relaxed);
    let saved = tally.octets_saved.load(Ordering::Relaxed);
    let percent = (sums.hits * 100).checked_div(sums.requests).unwrap_or(0);
    let connections = places.taken();
    let requests = sums.requests;
    let saved = size::human(saved);
    format!(
        "{connections} connections, {tunnels} tunnels, {requests} requests, {percent}% hits, \
         {saved} saved"
    )
}

fn listening(arguments: &Arguments, address: SocketAddr, cache: Option<&Cache>) -> Listening {
    Listening {
        address: address.to_string(),
        cache: cache.map(|cache| cache.folder().display().to_string()),
        reach: match (
            address.ip().is_loopback(),
            &arguments.auth,
            arguments.allow.is_empty(),
        ) {
            (true, _, _) => "for this machine only",
            (false, Some(_), true) => "for all who know the password",
            (false, Some(_), false) => "for the allowed addresses, with the password",
            (false, None, false) => "for the allowed addresses",
            (false, None, true) => "for all who reach this machine",
        },
    }
}
