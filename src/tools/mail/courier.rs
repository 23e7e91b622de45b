//! Connects, protects the connection, and holds the dialogue over it.

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;

use super::broken::{Broken, advice, is_temporary};
use super::dane::Demand;
use super::dialogue::outcome::{Fate, Outcome, Stage};
use super::dialogue::plan::Plan;
use super::dialogue::transcript::{self, Direction};
use super::dialogue::{Dialogue, Patience, Step};
use super::line::Line;
use super::report::{self, Event};
use crate::clock;
use crate::net::dial::dial;
use crate::net::resolve::{Family, resolve};
use crate::net::tcp::Connection;
use crate::net::tls::Stream;
use crate::net::tls::client::{self, Options};
use crate::net::{self, udp};
use crate::tool::{Context, Error};
use crate::wire::smtp::Address;

/// RFC 5321 section 4.5.3.2.6: who gives up here may send a message twice.
const FINAL_DOT_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Nothing depends on it.
const QUIT_PATIENCE: Duration = Duration::from_secs(2);
/// A server that says nothing for so long may wait for TLS.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const TLS_TEST_PATIENCE: Duration = Duration::from_millis(1500);
/// For what a server said before it closed the connection.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(200);
pub(super) const SMTP_PORT: u16 = 25;
const BUFFER_OCTETS: usize = 16 << 10;

/// Before the dialogue: what went wrong.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) is_temporary: bool,
    pub(super) reason: String,
}

/// How the server is reached.
pub(super) struct Way<'a> {
    pub(super) context: &'a Context,
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// For each answer.
    pub(super) timeout: Duration,
    /// Of the session. The answer to a message that was sent is waited for beyond it.
    pub(super) deadline: Instant,
    pub(super) options: Options,
    /// What DNSSEC has of the certificate, if it is not left to the options alone.
    pub(super) dane: Option<Demand<'a>>,
    pub(super) is_quiet: bool,
}

/// Is told every line of the dialogue, and when it was.
pub(super) type Recorder<'a> = dyn FnMut(&transcript::Line, Duration) + 'a;

/// Is told what became of a recipient as soon as that is certain.
pub(super) type Reporter<'a> = dyn FnMut(&Address, &Fate) + 'a;

impl Way<'_> {
    /// `Err` for a job that was stopped.
    pub(super) fn connect(&self, is_tls_first: bool) -> Result<Result<Line, Failure>, Error> {
        let started = clock::now();
        match resolve(self.host, self.port, Family::Any, &self.context.cancel) {
            Ok(addresses) => self.connect_to(&addresses, is_tls_first, started),
            Err(net::Error::Cancelled) => Err(Error::Cancelled),
            // Whether the name will ever have an address, the system does not say.
            Err(error) => Ok(Err(Failure {
                stage: Stage::Dns,
                is_temporary: true,
                reason: error.to_string(),
            })),
        }
    }

    /// To whichever of the addresses answers first.
    pub(super) fn connect_to(
        &self,
        addresses: &[SocketAddr],
        is_tls_first: bool,
        started: Instant,
    ) -> Result<Result<Line, Failure>, Error> {
        let cancel = &self.context.cancel;
        let deadline = self.deadline.min(started + self.timeout);
        let failed = |stage, is_temporary, reason: String| {
            Ok(Err(Failure {
                stage,
                is_temporary,
                reason,
            }))
        };
        let dialled = dial(addresses, deadline, cancel)
            .and_then(|(stream, peer)| Ok((Connection::dialled(stream, peer, cancel)?, peer)));
        let (mut connection, peer) = match dialled {
            Ok(dialled) => dialled,
            Err(net::Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => return failed(Stage::Connect, true, self.explain(&error)),
        };
        self.tell(&Event::Connected {
            server: self.host.to_owned(),
            address: peer.to_string(),
            ms: report::ms(clock::now() - started),
        });
        let local = udp::source_towards(peer, &net::icmp::Options::default())
            .unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
        if !is_tls_first {
            connection.hurry().map_err(Error::from)?;
            let stream = Stream::Plain(connection);
            return Ok(Ok(Line::new(stream, peer, local, None)));
        }
        match client::begin(connection, &self.options, deadline) {
            Ok((stream, session)) => {
                self.tell(&Event::tls(&session));
                Ok(Ok(Line::new(stream, peer, local, Some(session))))
            }
            Err(client::Error::Net(net::Error::Cancelled)) => Err(Error::Cancelled),
            Err(error) => {
                let reason = format!("{error}{}", advice(&error));
                failed(Stage::Tls, is_temporary(&error), reason)
            }
        }
    }

    fn explain(&self, error: &net::Error) -> String {
        match error {
            net::Error::Refused(peer) if peer.ip().is_loopback() => format!(
                "{error}; 'mail --sink -p {}' starts a server that catches mail",
                peer.port()
            ),
            net::Error::TimedOut(_) if self.port == SMTP_PORT => {
                format!("{error}; many networks let nobody out to port {SMTP_PORT}")
            }
            _ => error.to_string(),
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        if !self.is_quiet {
            self.context.out.emit(event);
        }
    }

    /// From the greeting to QUIT.
    pub(super) fn talk(
        &self,
        line: &mut Line,
        plan: Plan,
        record: &mut Recorder<'_>,
        report: &mut Reporter<'_>,
    ) -> Result<Result<Outcome, Failure>, Error> {
        let binding = OnceCell::new();
        let mut dialogue = Dialogue::new(plan);
        let started = clock::now();
        let mut buffer = vec![0; BUFFER_OCTETS];
        let (mut awaited, mut deadline, mut is_heard) = (None, started, false);
        let peer = format!("{} [{}]:{}", self.host, line.peer.ip(), line.peer.port());
        let now = clock::wall().to_rfc3339_opts(SecondsFormat::Secs, false);
        let mut note = |line: &transcript::Line| {
            if line.direction != Direction::Aside {
                self.tell(&Event::said(line));
            }
            record(line, clock::now() - started);
        };
        note(&transcript::Line::aside(format!("{peer} {now}")));
        if let Some(session) = &line.session {
            note(&transcript::Line::aside(Event::tls(session).to_string()));
        }
        loop {
            note_all(&mut dialogue, &mut note);
            while let Some((address, fate)) = dialogue.next_settled() {
                report(address, fate);
            }
            let step = dialogue.poll();
            note_all(&mut dialogue, &mut note);
            match step {
                Step::Send { octets, patience } => {
                    let deadline = self.until(patience);
                    let sent = line.stream().write_all(octets.octets(), deadline);
                    if let Err(error) = sent {
                        // Why it would not take more.
                        let soon = clock::now() + LAST_WORDS_PATIENCE;
                        if let Ok(count @ 1..) = line.stream().read(&mut buffer, soon) {
                            dialogue.received(&buffer[..count]);
                        }
                        on_lost(&mut dialogue, &error);
                    }
                }
                Step::Receive {
                    patience,
                    reply_number,
                } => {
                    if awaited != Some(reply_number) {
                        awaited = Some(reply_number);
                        deadline = self.until(patience);
                    }
                    let is_greeting = matches!(patience, Patience::Greeting);
                    let may_want_tls = is_greeting && line.session.is_none() && !is_heard;
                    match self.receive(line, &mut buffer, deadline, may_want_tls)? {
                        Heard::Octets(0) => dialogue.closed(None),
                        Heard::Octets(count) => {
                            is_heard = true;
                            dialogue.received(&buffer[..count]);
                        }
                        Heard::Lost(error) => on_lost(&mut dialogue, &error),
                        Heard::WantsTls => return Ok(Err(self.wants_tls())),
                    }
                }
                Step::StartTls => match self.protect(line) {
                    Ok(channel_binding) => {
                        let session = line.session.as_ref().map(Event::tls);
                        if let Some(event) = session {
                            note(&transcript::Line::aside(event.to_string()));
                        }
                        let binding = binding.get_or_init(|| channel_binding);
                        dialogue.tls_started(binding.as_deref());
                    }
                    Err(Broken::Tls(client::Error::Net(net::Error::Cancelled))) => {
                        dialogue.cancelled();
                    }
                    Err(broken) => {
                        dialogue.tls_failed(broken.is_temporary());
                        line.broken = Some(broken);
                    }
                },
                Step::Done => return Ok(Ok(dialogue.into_outcome())),
            }
        }
    }

    /// The binding of the channel, if it has one.
    fn protect(&self, line: &mut Line) -> Result<Option<Vec<u8>>, Broken> {
        let started = clock::now();
        let deadline = self.deadline.min(started + self.timeout);
        let protected = line.protect(&self.options, deadline);
        line.tls_time = clock::now() - started;
        let session = line.session.insert(protected?);
        self.tell(&Event::tls(session));
        if let Some(demand) = &self.dane {
            let verdict = demand.judge(&session.chain);
            line.dane = Some(verdict.clone());
            if !verdict.is_good() {
                return Err(Broken::Dane(verdict));
            }
        }
        Ok(session.channel_binding.clone())
    }

    fn receive(
        &self,
        line: &mut Line,
        buffer: &mut [u8],
        deadline: Instant,
        may_want_tls: bool,
    ) -> Result<Heard, Error> {
        let left = deadline.saturating_duration_since(clock::now());
        let silence = clock::now() + SILENCE_MAX.min(left / 2);
        if may_want_tls {
            match line.stream().read(buffer, silence) {
                Ok(count) => return Ok(Heard::Octets(count)),
                Err(net::Error::TimedOut(_)) => {
                    let (host, cancel) = (self.host, &self.context.cancel);
                    let soon = clock::now() + TLS_TEST_PATIENCE;
                    if client::is_spoken_by(line.peer, host, soon, cancel)? {
                        return Ok(Heard::WantsTls);
                    }
                }
                Err(error) => return Ok(Heard::Lost(error)),
            }
        }
        Ok(match line.stream().read(buffer, deadline) {
            Ok(count) => Heard::Octets(count),
            Err(error) => Heard::Lost(error),
        })
    }

    fn wants_tls(&self) -> Failure {
        Failure {
            stage: Stage::Tls,
            is_temporary: false,
            reason: format!(
                "{}:{} waits for TLS from the first octet on; take --tls implicit",
                self.host, self.port
            ),
        }
    }

    fn until(&self, patience: Patience) -> Instant {
        let span = match patience {
            Patience::FinalDot => return clock::now() + self.timeout.max(FINAL_DOT_PATIENCE),
            Patience::Quit => self.timeout.min(QUIT_PATIENCE),
            Patience::Greeting
            | Patience::Ehlo
            | Patience::StartTls
            | Patience::Auth
            | Patience::Mail
            | Patience::Rcpt
            | Patience::Data
            | Patience::Block => self.timeout,
        };
        self.deadline.min(clock::now() + span)
    }
}

enum Heard {
    Octets(usize),
    Lost(net::Error),
    /// It says nothing in clear.
    WantsTls,
}

fn note_all(dialogue: &mut Dialogue, note: &mut dyn FnMut(&transcript::Line)) {
    while let Some(said) = dialogue.next_line() {
        note(&said);
    }
}

fn on_lost(dialogue: &mut Dialogue, error: &net::Error) {
    match error {
        net::Error::Cancelled => dialogue.cancelled(),
        net::Error::TimedOut(_) => dialogue.timed_out(),
        net::Error::System { error, .. } => dialogue.closed(Some(error.kind())),
        _ => dialogue.closed(Some(ErrorKind::ConnectionAborted)),
    }
}
