//! `serve`: a static web server, HTTP/1.1 and HTTPS.
//!
//! Loops, one for each processor, have a listener and connections of their own
//! ([`worker`]); what would hold them up goes to a pool of threads ([`pool`]). A connection's
//! octets become requests in [`conversation`], and requests responses in [`answer`].

mod answer;
mod arguments;
mod connection;
mod conversation;
mod desk;
mod errand;
mod folder;
mod library;
mod listing;
mod metrics;
mod path;
mod pool;
mod qr;
mod receiving;
mod representation;
mod root;
mod shared;
mod site;
mod transfer;
mod worker;

use std::fmt;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use mio::net::TcpListener;
use native_tls::TlsAcceptor;
use serde::Serialize;

use arguments::Arguments;
use desk::Desk;
use errand::Mailbox;
use metrics::{Counters, Metrics, Sum};
use shared::Shared;
use site::Site;
use worker::Worker;

use crate::measure::size;
use crate::net::{self, tcp};
use crate::output::{self, Tone};
use crate::tool::{Context, Endpoint, Error, Example, Group, Kind, Manual, Status, Tool};
use crate::web::access::{self, AccessLog};
use crate::web::certificate;
use crate::web::credentials::{self, Credentials};
use crate::{cause, clock};

/// What `jobs` shows as requests a second is counted over this span.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) const TOOL: Tool = Tool {
    manual: Manual {
        name: "serve",
        summary: "serve files over HTTP and HTTPS",
        group: Group::Network,
        examples: &[
            Example {
                line: "serve",
                what: "./www, or this folder, on http://127.0.0.1:8080/",
            },
            Example {
                line: "serve ~/photos -b 0.0.0.0 --qr",
                what: "to the phones around",
            },
            Example {
                line: "serve -p 0 --log access.log --log-format combined",
                what: "on a free port, with an access log",
            },
            Example {
                line: "serve --tls-cert cert.pem --tls-key key.pem -p 8443",
                what: "HTTPS",
            },
            Example {
                line: "serve dist --spa --compress --cache '*.js=86400'",
                what: "a built web application",
            },
        ],
        statuses: &[
            (Status::UNAVAILABLE, "the port is taken"),
            (Status::NOT_PERMITTED, "this user may not use the port"),
        ],
        command: Arguments::command,
    },
    run,
    kind: |_| Kind::Server,
};

#[derive(Serialize)]
#[serde(tag = "event", rename = "listening")]
struct Listening {
    folder: String,
    address: String,
    urls: Vec<String>,
    reach: &'static str,
    #[serde(skip)]
    qr: Option<String>,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, urls) = (&self.folder, self.urls.join(" "));
        write!(f, "serving {folder} at {urls}, reachable {}", self.reach)?;
        match &self.qr {
            Some(qr) => write!(f, "\n{qr}"),
            None => Ok(()),
        }
    }
}

impl output::Event for Listening {
    fn tone(&self) -> Tone {
        Tone::Good
    }
}

fn run(context: &Context, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments =
        Arguments::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let tls = acceptor(context, &arguments)?;
    let credentials = visitors(context, &arguments)?;
    let server = Server::start(context, &arguments, tls, credentials)?;
    context.progress.set_grace(arguments.grace);
    let is_stopped = server.attend(context);
    server.stop(arguments.grace);
    is_stopped?;
    Err(Error::Cancelled)
}

fn acceptor(context: &Context, arguments: &Arguments) -> Result<Option<Arc<TlsAcceptor>>, Error> {
    let identity = match (&arguments.tls_cert, &arguments.tls_key, &arguments.tls_p12) {
        (Some(chain), Some(key), _) => certificate::pem(chain, key)?,
        (_, _, Some(file)) => certificate::pkcs12(context, file)?,
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(certificate::acceptor(&identity)?)))
}

/// Of `--auth`.
fn visitors(context: &Context, arguments: &Arguments) -> Result<Option<Credentials>, Error> {
    let Some(user) = &arguments.auth else {
        return Ok(None);
    };
    let (file, prompt) = (
        arguments.password_file.as_deref(),
        "Password for visitors: ",
    );
    let password = credentials::password(context, file, "NSH_SERVE_PASSWORD", prompt)?;
    Ok(Some(Credentials::new(user, &password)))
}

struct Server {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    loops: Vec<(Arc<Mailbox>, JoinHandle<std::io::Result<()>>)>,
}

impl Server {
    fn start(
        context: &Context,
        arguments: &Arguments,
        tls: Option<Arc<TlsAcceptor>>,
        credentials: Option<Credentials>,
    ) -> Result<Server, Error> {
        let site = Arc::new(Site::new(arguments, credentials)?);
        let log = arguments.log.as_deref().map(access::open).transpose();
        let log = log.map_err(|error| {
            let (file, why) = (
                arguments.log.as_deref().unwrap_or(Path::new("")),
                cause::of(&error),
            );
            Error::Usage(format!(
                "cannot write the access log {}: {why}",
                file.display()
            ))
        })?;
        let count = arguments.threads.map_or_else(processors, usize::from);
        let wanted = SocketAddr::new(arguments.bind, arguments.port);
        let listeners = tcp::listen_together(wanted, count)
            .map_err(|error| context.with_neighbour(error, Endpoint::Tcp(wanted)))?;
        let address = listeners[0].local_addr().unwrap_or(wanted);
        let now = clock::now();
        let metrics = Arc::new(Metrics {
            loops: (0..count).map(|_| Arc::default()).collect(),
            started: now,
        });
        let shared = Arc::new(Shared::new(Arc::clone(&site), tls));
        let mut server = Server {
            shared,
            metrics: Arc::clone(&metrics),
            loops: Vec::new(),
        };
        for (listener, counters) in listeners.into_iter().zip(&metrics.loops) {
            let file = log.as_ref().map(File::try_clone).transpose();
            let started = file.map_err(cannot_start).and_then(|file| {
                let log = AccessLog::new(context.out.clone(), arguments.log_format, file, now);
                let desk = server.desk(counters, log);
                server.start_loop(TcpListener::from_std(listener), desk)
            });
            if let Err(error) = started {
                server.stop(Duration::ZERO);
                return Err(error);
            }
        }
        if arguments.qr && address.ip().is_loopback() {
            let text = "no QR code: no phone can reach a loopback address; add -b 0.0.0.0";
            context.out.notice(text);
        }
        context.ready(&[Endpoint::Tcp(address)], &listening(arguments, address));
        Ok(server)
    }

    fn desk(&self, counters: &Arc<Counters>, log: AccessLog) -> Desk {
        let (site, metrics) = (Arc::clone(&self.shared.site), Arc::clone(&self.metrics));
        Desk::new(site, metrics, Arc::clone(counters), log, clock::now())
    }

    fn start_loop(&mut self, listener: TcpListener, desk: Desk) -> Result<(), Error> {
        let worker = Worker::new(Arc::clone(&self.shared), listener, desk).map_err(cannot_start)?;
        let mailbox = worker.mailbox();
        let thread = thread::Builder::new().name(format!("serve-{}", self.loops.len()));
        let handle = thread.spawn(move || worker.run()).map_err(cannot_start)?;
        self.loops.push((mailbox, handle));
        Ok(())
    }

    /// Until the job is stopped.
    fn attend(&self, context: &Context) -> Result<(), Error> {
        let rate = Arc::new(AtomicU64::new(0));
        let (metrics, shown) = (Arc::clone(&self.metrics), Arc::clone(&rate));
        context.summarize_with(move || summary(&metrics.sum(), shown.load(Ordering::Relaxed)));
        let mut counted = 0;
        while context
            .cancel
            .sleep_until(clock::now() + RATE_INTERVAL)
            .is_ok()
        {
            if self.loops.iter().any(|(_, thread)| thread.is_finished()) {
                let what = "one of the server's loops has ended".to_owned();
                return Err(Error::Unavailable(what));
            }
            let requests = self.metrics.sum().requests;
            rate.store(requests - counted, Ordering::Relaxed);
            counted = requests;
        }
        Ok(())
    }

    /// The port is free at once; answers may go on for the grace period.
    fn stop(self, grace: Duration) {
        let end = clock::now() + grace;
        self.shared.ends_at.get_or_init(|| end);
        for (mailbox, _) in &self.loops {
            mailbox.wake();
        }
        for (_, thread) in self.loops {
            let _ = thread.join();
        }
    }
}

fn cannot_start(error: std::io::Error) -> Error {
    Error::Unavailable(format!("cannot start the server: {}", cause::of(&error)))
}

fn processors() -> usize {
    const LOOPS_MAX: usize = 16;
    thread::available_parallelism().map_or(1, |count| count.get().min(LOOPS_MAX))
}

fn summary(sum: &Sum, per_second: u64) -> String {
    let mut text = format!(
        "{} connections, {} requests ({per_second}/s), {}",
        sum.open,
        sum.requests,
        size::human(sum.octets)
    );
    for (class, count) in sum.classes.iter().enumerate() {
        if *count > 0 {
            text.push_str(&format!(", {}xx {count}", class + 1));
        }
    }
    text
}

fn listening(arguments: &Arguments, address: SocketAddr) -> Listening {
    let scheme = if arguments.is_tls() { "https" } else { "http" };
    let reachable = net::reachable_at(address.ip());
    let url = |ip: &IpAddr| format!("{scheme}://{}/", SocketAddr::new(*ip, address.port()));
    let shared = reachable.iter().find(|ip| !ip.is_loopback());
    Listening {
        folder: arguments.folder().display().to_string(),
        address: address.to_string(),
        reach: if address.ip().is_loopback() {
            "from this machine only"
        } else {
            "by whoever reaches this machine"
        },
        qr: shared
            .filter(|_| arguments.qr)
            .and_then(|ip| qr::draw(&url(ip))),
        urls: reachable.iter().map(url).collect(),
    }
}
