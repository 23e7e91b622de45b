//! Sending: what is asked for, done and told.

use std::time::Duration;

use super::arguments::{Arguments, Stop, Tls};
use super::compose::compose;
use super::courier::{SMTP_PORT, Way};
use super::direct;
use super::letter::Letter;
use super::outbox::Outbox;
use super::password;
use super::recorder::recorder;
use crate::clock;
use crate::net::tls::client::Options;
use crate::net::tls::files;
use crate::net::tls::trust::{Scrutiny, Trust};
use crate::tool::{Context, Error, Status};

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
            Some(letters) => Ok(print(context, &letters)),
            None => Ok(Status::NEGATIVE),
        };
    }
    if arguments.mx {
        let mailer = direct::open(context, arguments, timeout.unwrap_or(TIMEOUT))?;
        return match compose(context, arguments)? {
            Some(letters) => mailer.send(letters),
            None => Ok(not_sent(context)),
        };
    }
    // Before anybody has typed a letter.
    let (host, port) = split_port(&server)?;
    if host.contains('@') {
        return Err(Error::Usage(format!(
            "--server '{server}' is not HOST or HOST:PORT; who authenticates is --user's"
        )));
    }
    let options = arguments.tls_options(host)?;
    let tls = arguments.tls.unwrap_or(match port {
        Some(SUBMISSION_PORT) => Tls::Starttls,
        _ => Tls::Implicit,
    });
    if tls == Tls::None && arguments.is_particular() {
        context.out.warn(
            "mail: with --tls none there is no certificate; --ca, --pin, --insecure and \
             --client-cert have no use",
        );
    }
    // Before somebody is asked for it.
    if tls == Tls::None && arguments.user.is_some() && !arguments.insecure_auth {
        return Err(Error::Usage(
            "credentials are not sent in clear: --tls implicit or starttls protects them, and \
             --insecure-auth sends them so"
                .to_owned(),
        ));
    }
    let port = port.unwrap_or(match tls {
        Tls::Implicit => SUBMISSIONS_PORT,
        Tls::Starttls => SUBMISSION_PORT,
        Tls::Opportunistic | Tls::None => SMTP_PORT,
    });
    let mut record = recorder(context, arguments.transcript.as_deref())?;
    let secret = match &arguments.user {
        Some(user) => Some(password::find(context, arguments, host, user)?),
        None => None,
    };
    let way = Way {
        context,
        host,
        port,
        timeout: timeout.unwrap_or(TIMEOUT),
        deadline: clock::now() + arguments.deadline,
        options,
        dane: None,
        is_quiet: arguments.quiet,
    };
    let outbox = Outbox {
        way,
        arguments,
        tls,
        secret,
    };
    if arguments.is_only_look() {
        return outbox.look(&mut record);
    }
    match compose(context, arguments)? {
        Some(letters) => outbox.send(letters, &mut record),
        None => Ok(not_sent(context)),
    }
}

fn not_sent(context: &Context) -> Status {
    context.out.notice("mail: not sent");
    Status::NEGATIVE
}

/// The exact octets where a program reads them, and for a person the same as lines.
fn print(context: &Context, letters: &[Letter]) -> Status {
    for letter in letters {
        if context.out.takes_octets() {
            context.out.octets(&letter.octets);
        } else {
            let text = String::from_utf8_lossy(&letter.octets).replace("\r\n", "\n");
            context.out.emit(&Printed { text });
        }
    }
    Status::OK
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
    crate::net::split_port(server).ok_or_else(|| {
        let how = match server.contains("://") {
            true => "; it has no scheme, --tls says how the connection is protected",
            false => ", with a port from 1 to 65535",
        };
        Error::Usage(format!("--server '{server}' is not HOST or HOST:PORT{how}"))
    })
}

impl Arguments {
    /// Whether it matters whose certificate there is.
    fn is_particular(&self) -> bool {
        let is_told = self.ca.is_some() || !self.pin.is_empty() || self.insecure;
        is_told || self.client_cert.is_some()
    }

    /// Whether no message is needed, since nobody gets that far.
    fn is_only_look(&self) -> bool {
        let recipients = [&self.to, &self.cc, &self.bcc];
        let is_message = self.from.is_some()
            || recipients.iter().any(|given| !given.is_empty())
            || !self.to_file.is_empty()
            || self.message.is_some();
        !is_message && matches!(self.stop_after, Some(stop) if stop < Stop::Mail)
    }

    pub(super) fn tls_options(&self, host: &str) -> Result<Options, Error> {
        let wrong = |error: files::Error| Error::Usage(error.to_string());
        let authorities = match &self.ca {
            Some(file) => files::certificates(file).map_err(wrong)?,
            None => Vec::new(),
        };
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(chain), Some(key)) => Some(files::pem(chain, key).map_err(wrong)?),
            _ => None,
        };
        Ok(Options {
            host: host.to_owned(),
            trust: Trust {
                authorities,
                // A pin says more than any authority.
                scrutiny: match self.insecure || !self.pin.is_empty() {
                    true => Scrutiny::None,
                    false => Scrutiny::Strict,
                },
            },
            pins: self.pin.clone(),
            identity,
        })
    }
}
