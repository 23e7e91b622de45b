//! Sending: what is asked for, done and told.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use native_tls::Identity;

use super::arguments::{Arguments, Tls};
use super::compose::{Letter, compose};
use super::courier::{Failure, Recorder, SMTP_PORT, Way};
use super::dialogue::outcome::{Fate, Outcome, Protection, Refusal, Stage};
use super::dialogue::plan::{Credentials, Job, Message, Plan, TlsMode};
use super::direct;
use super::password;
use super::recorder::{private_file, recorder};
use super::report::{self, Event};
use super::sasl::mechanism::{Mechanism, misses_channel_binding};
use super::sasl::secret::Secret;
use crate::net::random;
use crate::net::tls::client::Options;
use crate::net::tls::{Trust, files};
use crate::tool::{Context, Error, Status};
use crate::{cause, clock};

/// For people; the final dot has more (see [`super::courier`]).
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const SUBMISSIONS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    timeout: Option<Duration>,
) -> Result<Status, Error> {
    let server = match &arguments.server {
        Some(server) => server.clone(),
        None if arguments.dry_run || arguments.mx => String::new(),
        None => {
            let instead = "give --server HOST[:PORT]";
            let answer = context
                .input
                .ask(&context.cancel, "server: ", false, instead)?;
            answer.filter(|answer| !answer.is_empty()).ok_or_else(|| {
                Error::Usage(format!(
                    "which server? {instead}, or 'mail --sink' catches mail"
                ))
            })?
        }
    };
    if arguments.dry_run {
        return match compose(context, arguments)? {
            Some(letter) => print(context, &letter),
            None => Ok(Status::NEGATIVE),
        };
    }
    if arguments.mx {
        return match compose(context, arguments)? {
            Some(letter) => direct::run(context, arguments, timeout.unwrap_or(TIMEOUT), &letter),
            None => {
                context.out.notice("mail: not sent");
                Ok(Status::NEGATIVE)
            }
        };
    }
    // Before anybody has typed a letter.
    let (host, port) = split_port(&server)?;
    let options = arguments.tls_options(host)?;
    let tls = arguments.tls.unwrap_or(match port {
        Some(SUBMISSION_PORT) => Tls::Starttls,
        _ => Tls::Implicit,
    });
    let port = port.unwrap_or(match tls {
        Tls::Implicit => SUBMISSIONS_PORT,
        Tls::Starttls => SUBMISSION_PORT,
        Tls::Opportunistic | Tls::None => SMTP_PORT,
    });
    let mut record = recorder(&context.out, arguments.transcript.as_deref())?;
    let secret = match &arguments.user {
        Some(user) => Some(password::find(context, arguments, host, user)?),
        None => None,
    };
    let way = Way {
        context,
        host,
        port,
        timeout: timeout.unwrap_or(TIMEOUT),
        options,
        tlsa: Vec::new(),
        is_quiet: arguments.quiet,
    };
    let Some(letter) = compose(context, arguments)? else {
        context.out.notice("mail: not sent");
        return Ok(Status::NEGATIVE);
    };
    deliver(&way, arguments, tls, &letter, secret.as_ref(), &mut record)
}

fn deliver(
    way: &Way,
    arguments: &Arguments,
    tls: Tls,
    letter: &Letter,
    secret: Option<&Secret>,
    record: &mut Recorder<'_>,
) -> Result<Status, Error> {
    let context = way.context;
    let started = clock::now();
    let mut line = match way.connect(tls == Tls::Implicit)? {
        Ok(line) => line,
        Err(failure) => return Ok(told(context, failure)),
    };
    let binding = line
        .session
        .as_ref()
        .and_then(|session| session.channel_binding.clone());
    let nonce = format!("{:016x}{:016x}", random(), random());
    let mechanisms: Option<&[Mechanism]> = match arguments.auth.as_slice() {
        [] => None,
        mechanisms => Some(mechanisms),
    };
    let credentials = arguments.user.as_deref().zip(secret);
    let credentials_given = credentials.is_some();
    let plan = Plan {
        ehlo_name: arguments.ehlo_name(line.local),
        tls: match tls {
            Tls::Implicit => TlsMode::Implicit {
                channel_binding: binding.as_deref(),
            },
            Tls::Starttls => TlsMode::StartTls,
            Tls::Opportunistic => TlsMode::Opportunistic,
            Tls::None => TlsMode::None,
        },
        credentials: credentials.map(|(user, secret)| Credentials {
            user,
            secret,
            is_token: arguments.token,
            mechanisms,
            is_allowed_in_clear: arguments.insecure_auth,
            nonce: &nonce,
        }),
        jobs: vec![Job {
            from: Some(letter.from.clone()),
            recipients: letter.recipients.clone(),
            message: Message::new(&letter.octets),
            dsn: arguments.dsn(),
        }],
        stop_after: arguments.stop_after.map(Into::into),
        pipelining: true,
        chunking: true,
    };
    let outcome = match way.talk(&mut line, plan, record)? {
        Ok(outcome) => outcome,
        Err(failure) => return Ok(told(context, failure)),
    };
    if let Some(broken) = &line.broken {
        let reason = broken.to_string();
        context
            .out
            .emit(&Event::failed(Stage::Tls, broken.is_temporary(), &reason));
    }
    let offered: Vec<&str> = outcome
        .facts
        .extensions
        .auth
        .iter()
        .map(String::as_str)
        .collect();
    let has_binding = line
        .session
        .as_ref()
        .is_some_and(|session| session.channel_binding.is_some());
    if credentials_given && misses_channel_binding(&offered, has_binding) {
        context.out.warn(
            "mail: the server could bind the login to this TLS connection, and nsh could not",
        );
    }
    let server = format!("{} [{}]:{}", way.host, line.peer.ip(), line.peer.port());
    tell(context, letter, &outcome, server, clock::now() - started)?;
    if context.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(Status(outcome.exit_status()))
}

fn told(context: &Context, failure: Failure) -> Status {
    let Failure {
        stage,
        is_temporary,
        reason,
    } = failure;
    context
        .out
        .emit(&Event::failed(stage, is_temporary, &reason));
    let refusal = Refusal {
        stage,
        is_temporary,
        reason: super::dialogue::outcome::Reason::Tls,
    };
    Status(refusal.exit_status())
}

pub(super) fn tell(
    context: &Context,
    letter: &Letter,
    outcome: &Outcome,
    server: String,
    took: Duration,
) -> Result<(), Error> {
    let fates = || outcome.messages.iter().flatten();
    if let Protection::ClearAfter(reason) = &outcome.facts.protection {
        context.out.emit(&Event::in_clear(&reason.to_string()));
    }
    for (address, fate) in fates() {
        context.out.emit(&Event::recipient(address, fate));
    }
    let count = |is: fn(&Fate) -> bool| fates().filter(|(_, fate)| is(fate)).count();
    let unknown = count(|fate| matches!(fate, Fate::Unknown(_)));
    if count(|fate| matches!(fate, Fate::Stopped(_))) == 0 {
        context.out.emit(&Event::Sent {
            server,
            message_id: letter.message_id.clone(),
            queue_id: fates().find_map(|(_, fate)| match fate {
                Fate::Accepted { queue_id, .. } => queue_id.clone(),
                _ => None,
            }),
            accepted: count(|fate| matches!(fate, Fate::Accepted { .. })),
            refused: count(|fate| matches!(fate, Fate::Refused(_))),
            unknown,
            mechanism: outcome
                .facts
                .mechanism
                .map(|mechanism| mechanism.to_string()),
            round_trips: outcome.facts.round_trips,
            ms: report::ms(took),
        });
    }
    if unknown > 0 {
        let file = keep(letter)?;
        context.out.emit(&Event::Kept {
            file: file.display().to_string(),
        });
    }
    Ok(())
}

/// Of a message of which nobody knows whether it was sent.
fn keep(letter: &Letter) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/state");
    let folder = folder
        .filter(|folder| folder.is_absolute())
        .unwrap_or_else(home);
    let folder = folder.join("nsh/drafts");
    let name: String = letter
        .message_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(32)
        .collect();
    let file = folder.join(format!("{name}.eml"));
    let cannot = |error: std::io::Error| {
        Error::Unavailable(format!(
            "cannot keep {}: {}",
            file.display(),
            cause::of(&error)
        ))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(cannot)?;
    private_file(&file)
        .and_then(|mut kept| kept.write_all(&letter.octets))
        .map_err(cannot)?;
    Ok(file)
}

/// The exact octets where a program reads them, and for a person the same as lines.
fn print(context: &Context, letter: &Letter) -> Result<Status, Error> {
    if context.out.takes_octets() {
        context.out.octets(&letter.octets);
    } else {
        let text = String::from_utf8_lossy(&letter.octets).replace("\r\n", "\n");
        context.out.emit(&Printed { text });
    }
    Ok(Status::OK)
}

#[derive(serde::Serialize)]
#[serde(tag = "event", rename = "message")]
struct Printed {
    text: String,
}

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

impl crate::output::Event for Printed {}

fn split_port(server: &str) -> Result<(&str, Option<u16>), Error> {
    let wrong = || Error::Usage(format!("--server '{server}' is not HOST or HOST:PORT"));
    crate::net::split_port(server).ok_or_else(wrong)
}

impl Arguments {
    pub(super) fn tls_options(&self, host: &str) -> Result<Options, Error> {
        let wrong = |error: files::Error| Error::Usage(error.to_string());
        let authorities = match &self.ca {
            Some(file) => files::authorities(file).map_err(wrong)?,
            None => Vec::new(),
        };
        let identity: Option<Identity> = match (&self.client_cert, &self.client_key) {
            (Some(chain), Some(key)) => Some(files::pem(chain, key).map_err(wrong)?),
            _ => None,
        };
        Ok(Options {
            host: host.to_owned(),
            trust: Trust {
                authorities,
                // A pin says more than any authority.
                insecure: self.insecure || !self.pin.is_empty(),
            },
            pins: self.pin.clone(),
            identity,
        })
    }
}
