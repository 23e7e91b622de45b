//! `mail --sink`: a small SMTP server that accepts everything, for labs and for trying mail.
//!
//! A thread for each connection moves octets between the client and its [`session`], which
//! knows the protocol and no sockets.

mod arguments;
mod auth;
mod command;
mod connection;
mod data;
mod event;
mod fields;
mod folder;
mod input;
mod path;
mod session;

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use native_tls::TlsAcceptor;

pub(super) use arguments::Arguments;
use event::Event;
use folder::Folder;
use session::Options;

use crate::cause;
use crate::net::{accept, peer, tcp};
use crate::tool::{Context, Endpoint, Error, Status};
use crate::web::places::{Place, Places};

/// Each has a thread, and may have a message of --max-size in memory.
const CONNECTIONS_MAX: usize = 100;
const TOO_MANY: &[u8] = b"421 4.3.2 there are too many connections\r\n";
/// For a client that sends nothing, or takes nothing: RFC 5321 section 4.5.3.2.7.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// RFC 6761 section 6.3: a name that is nobody else's.
const HOSTNAME: &str = "sink.localhost";

/// What all connections have in common.
struct Shared {
    context: Context,
    options: Options,
    acceptor: Option<TlsAcceptor>,
    timeout: Duration,
    verbose: bool,
    folder: Option<Folder>,
    places: Arc<Places>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    /// Given to a message, whether it can be kept or not.
    last_number: AtomicU64,
    messages: AtomicU64,
    octets: AtomicU64,
    accepted: AtomicU64,
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    timeout: Option<Duration>,
) -> Result<Status, Error> {
    let acceptor = arguments.acceptor()?;
    let folder = arguments.folder().map(Folder::open).transpose()?;
    let wanted = SocketAddr::new(arguments.bind, arguments.port);
    let listener = tcp::listen(wanted)
        .map_err(|error| context.with_neighbour(error, Endpoint::Tcp(wanted)))?;
    let address = listener.local_addr().unwrap_or(wanted);
    let shared = Arc::new(Shared {
        context: context.clone(),
        options: options(arguments, address.ip()),
        acceptor,
        timeout: timeout.unwrap_or(TIMEOUT),
        verbose: arguments.verbose,
        folder,
        places: Arc::new(Places::new(CONNECTIONS_MAX, 0)),
        tally: Tally::default(),
    });
    let summarized = Arc::clone(&shared);
    context.summarize_with(move || summarized.summary());
    context.ready(
        &[Endpoint::Tcp(address)],
        &event::listening(arguments, address),
    );
    let mut threads = Vec::new();
    let stopped = accept_all(&shared, &listener, &mut threads);
    // The port is free at once.
    drop(listener);
    for thread in threads {
        let _ = thread.join();
    }
    stopped
}

fn options(arguments: &Arguments, bound: IpAddr) -> Options {
    let has_tls = arguments.tls_cert.is_some();
    Options {
        hostname: HOSTNAME.to_owned(),
        can_start_tls: has_tls && !arguments.implicit_tls,
        is_tls: arguments.implicit_tls,
        // Nobody is on the way to see it.
        can_auth_without_tls: bound.is_loopback() && !has_tls,
        message_octets_max: arguments.max_size,
        recipients_max: session::RECIPIENTS_MAX_DEFAULT,
    }
}

/// Until the job is stopped.
fn accept_all(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Status, Error> {
    loop {
        let (stream, client) = accept::accept(listener, &shared.context.cancel)?;
        threads.retain(|thread| !thread.is_finished());
        // A listener on `::` has IPv4 clients in addresses of IPv6.
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        threads.extend(welcome(shared, stream, client));
    }
}

fn welcome(shared: &Arc<Shared>, stream: TcpStream, client: SocketAddr) -> Option<JoinHandle<()>> {
    shared.tally.accepted.fetch_add(1, Ordering::Relaxed);
    let place = shared.places.take(client.ip(), false);
    if !place.fits {
        let peer = peer::Peer::accepted(stream, client);
        let _ = peer.send_now(TOO_MANY);
        shared.refuse(
            client,
            format!("there are {CONNECTIONS_MAX} connections already"),
        );
        return None;
    }
    match start(shared, stream, client, place) {
        Ok(thread) => Some(thread),
        Err(error) => {
            shared.refuse(client, format!("no thread for it: {}", cause::of(&error)));
            None
        }
    }
}

fn start(
    shared: &Arc<Shared>,
    stream: TcpStream,
    client: SocketAddr,
    place: Place,
) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("mail-sink".to_owned())
        .spawn(move || {
            connection::serve(&shared, tcp::out_of_the_way(stream), client);
            drop(place);
        })
}

impl Shared {
    fn refuse(&self, client: SocketAddr, reason: String) {
        let client = client.to_string();
        self.context.out.emit(&Event::Refused { client, reason });
    }

    fn summary(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} messages, {} octets, {} connections ({} so far)",
            count(&self.tally.messages),
            count(&self.tally.octets),
            self.places.taken(),
            count(&self.tally.accepted)
        )
    }
}
