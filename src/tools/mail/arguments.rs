//! The options of sending.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::dialogue::outcome;
use super::dialogue::plan::Dsn;
use super::sasl::mechanism::Mechanism;
use crate::duration;
use crate::net::tls::pin::Pin;
use crate::wire::smtp::command::{EhloName, EnvelopeId, Notify, Return};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tls {
    // From the first octet on, RFC 8314.
    Implicit,
    // Nothing is said in clear but EHLO and STARTTLS.
    Starttls,
    // In clear where there is no STARTTLS.
    Opportunistic,
    None,
}

/// After which stage the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Stop {
    Greeting,
    Ehlo,
    Tls,
    /// No message is asked for until here
    Auth,
    Mail,
    Rcpt,
}

/// RFC 3461 section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    Success,
    Failure,
    Delay,
    Never,
}

/// RFC 3461 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Back {
    Full,
    Headers,
}

#[derive(Args)]
// The outer one has the group of this name.
#[group(skip)]
pub(super) struct Arguments {
    /// The server, with its port if that is not the mode's own
    #[arg(long, value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname, conflicts_with = "sink")]
    pub(super) server: Option<String>,
    /// Straight to the mail exchangers of the recipients' domains, as DNS has them
    #[arg(long, conflicts_with_all = ["sink", "server", "tls", "user", "pin", "insecure"])]
    pub(super) mx: bool,
    /// Send nothing, and ask all exchangers of somebody's domain how far a message would come
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::EmailAddress, conflicts_with_all = ["sink", "server", "mx", "to", "cc", "bcc", "to_file", "subject", "body", "body_file", "html", "attach", "tls", "user", "pin", "insecure", "notify", "ret", "envid", "stop_after", "dry_run", "transcript"])]
    pub(super) route: Option<String>,
    /// Ask this name server, with its port if that is not 53 [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname, conflicts_with_all = ["sink", "server"])]
    pub(super) dns: Option<String>,
    /// The exchangers' port, for labs [default: 25]
    #[arg(long, value_name = "PORT", conflicts_with_all = ["sink", "server"])]
    pub(super) mx_port: Option<u16>,
    /// From whom, like 'Ann <ann@example.org>'
    #[arg(long, value_name = "MAILBOX", value_hint = ValueHint::EmailAddress, conflicts_with = "sink")]
    pub(super) from: Option<String>,
    /// To whom; several with commas, or several times
    #[arg(long, value_name = "MAILBOXES", value_hint = ValueHint::EmailAddress, conflicts_with = "sink")]
    pub(super) to: Vec<String>,
    /// Who gets it, too
    #[arg(long, value_name = "MAILBOXES", value_hint = ValueHint::EmailAddress, conflicts_with = "sink")]
    pub(super) cc: Vec<String>,
    /// Who gets it, and nobody sees that
    #[arg(long, value_name = "MAILBOXES", value_hint = ValueHint::EmailAddress, conflicts_with = "sink")]
    pub(super) bcc: Vec<String>,
    /// Send this message as it is, such as one that was kept, to those it names unless --to does
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["sink", "route", "cc", "bcc", "to_file", "subject", "body", "body_file", "edit", "html", "attach"])]
    pub(super) message: Option<PathBuf>,
    /// A message of its own for each line of mailboxes in this file, all over one connection
    /// (with --mx each over its own)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["sink", "to", "cc", "bcc"])]
    pub(super) to_file: Vec<PathBuf>,
    /// What it is about
    #[arg(long, value_name = "TEXT", conflicts_with = "sink")]
    pub(super) subject: Option<String>,
    /// The text; without it and --body-file, lines are asked for until '.' or the end
    #[arg(long, value_name = "TEXT", conflicts_with = "sink")]
    pub(super) body: Option<String>,
    /// The text from a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["sink", "body"])]
    pub(super) body_file: Option<PathBuf>,
    /// Write the text with $VISUAL or $EDITOR; --body and --body-file are where it begins
    #[arg(long, conflicts_with_all = ["sink", "route"])]
    pub(super) edit: bool,
    /// The same as HTML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "sink")]
    pub(super) html: Option<PathBuf>,
    /// A file to go with it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "sink")]
    pub(super) attach: Vec<PathBuf>,
    /// How the connection is protected [default: starttls at port 587, else implicit]
    #[arg(long, value_name = "MODE", conflicts_with = "sink")]
    pub(super) tls: Option<Tls>,
    /// Believe what is signed by these authorities (PEM), too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "sink")]
    pub(super) ca: Option<PathBuf>,
    /// Believe the certificate, or public key, with this SHA-256 and no other, whoever signed it
    #[arg(long, value_name = "SHA256", conflicts_with = "sink")]
    pub(super) pin: Vec<Pin>,
    /// Believe any certificate
    #[arg(short = 'k', long, conflicts_with = "sink")]
    pub(super) insecure: bool,
    /// Show this certificate chain (PEM) to a server that asks, with --client-key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "client_key", conflicts_with = "sink")]
    pub(super) client_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "client_cert")]
    pub(super) client_key: Option<PathBuf>,
    /// Authenticate as this user; the password comes from NSH_MAIL_PASSWORD, a file, a command,
    /// ~/.netrc or a question
    #[arg(long, value_name = "NAME", value_parser = user, conflicts_with = "sink")]
    pub(super) user: Option<String>,
    /// The first line of this file is the password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "user")]
    pub(super) password_file: Option<PathBuf>,
    /// The first line that this command prints is the password; it has no terminal to ask at
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "user",
        conflicts_with = "password_file"
    )]
    pub(super) password_command: Option<String>,
    /// The password is an OAuth bearer token
    #[arg(long, requires = "user")]
    pub(super) token: bool,
    /// Only by this mechanism, like PLAIN or SCRAM-SHA-256
    #[arg(long, value_name = "MECHANISM", requires = "user", value_parser = mechanism)]
    pub(super) auth: Vec<Mechanism>,
    /// Send the password also where everybody can read it
    #[arg(long, requires = "user")]
    pub(super) insecure_auth: bool,
    /// Ask for a report to the sender on these: success, failure, delay, or never
    #[arg(
        long,
        value_name = "WHEN",
        value_delimiter = ',',
        conflicts_with = "sink"
    )]
    pub(super) notify: Vec<When>,
    /// How much of the message such a report brings back
    #[arg(long, value_name = "WHAT", conflicts_with = "sink")]
    pub(super) ret: Option<Back>,
    /// What such a report calls the message
    #[arg(long, value_name = "ID", value_parser = envelope_id, conflicts_with = "sink")]
    pub(super) envid: Option<EnvelopeId>,
    /// What to call this machine [default: its name, or its address]
    #[arg(long, value_name = "NAME", value_parser = ehlo_name, conflicts_with = "sink")]
    pub(super) ehlo: Option<EhloName>,
    /// Try again so often, for the recipients alone that were refused for now
    #[arg(
        long,
        value_name = "TIMES",
        default_value_t = 0,
        conflicts_with_all = ["sink", "route", "stop_after"]
    )]
    pub(super) retry: u32,
    /// After so long
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = duration::parse, requires = "retry")]
    pub(super) retry_after: Duration,
    /// How long a session may take in all, but for the answer to a message that is sent
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = duration::parse, conflicts_with = "sink")]
    pub(super) deadline: Duration,
    /// End the session after this stage, before anything is sent
    #[arg(long, value_name = "STAGE", conflicts_with = "sink")]
    pub(super) stop_after: Option<Stop>,
    /// Print the message as it would be sent, and send nothing
    #[arg(long, conflicts_with = "sink")]
    pub(super) dry_run: bool,
    /// Write what both sides say to this file, with times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "sink")]
    pub(super) transcript: Option<PathBuf>,
    /// Only what became of it
    #[arg(short, long, conflicts_with = "sink")]
    pub(super) quiet: bool,
}

fn user(text: &str) -> Result<String, &'static str> {
    match text.is_empty() || text.contains(char::is_control) {
        true => Err("a name without line ends and other control characters"),
        false => Ok(text.to_owned()),
    }
}

fn ehlo_name(text: &str) -> Result<EhloName, &'static str> {
    EhloName::parse(text).ok_or("a name with a domain, like client.example.org, or [192.0.2.1]")
}

fn envelope_id(text: &str) -> Result<EnvelopeId, String> {
    EnvelopeId::new(text).map_err(|error| error.to_string())
}

impl Arguments {
    pub(super) fn ehlo_name(&self, local: IpAddr) -> EhloName {
        let own = || {
            let name = nix::unistd::gethostname().unwrap_or_default();
            EhloName::new(&name.to_string_lossy(), local)
        };
        self.ehlo.clone().unwrap_or_else(own)
    }

    /// The options that say how the server is reached, to write once more.
    pub(super) fn way(&self) -> Vec<String> {
        let shown = |file: &PathBuf| file.display().to_string();
        let mode = self.tls.as_ref().and_then(ValueEnum::to_possible_value);
        let pins = self.pin.iter().map(|pin| ("--pin", Some(pin.to_string())));
        let with_values = [
            ("--server", self.server.clone()),
            ("--dns", self.dns.clone()),
            ("--mx-port", self.mx_port.map(|port| port.to_string())),
            ("--tls", mode.map(|mode| mode.get_name().to_owned())),
            ("--ca", self.ca.as_ref().map(shown)),
            ("--client-cert", self.client_cert.as_ref().map(shown)),
            ("--client-key", self.client_key.as_ref().map(shown)),
            ("--user", self.user.clone()),
            ("--password-file", self.password_file.as_ref().map(shown)),
            ("--password-command", self.password_command.clone()),
        ];
        let alone = [
            ("--mx", self.mx),
            ("-k", self.insecure),
            ("--token", self.token),
            ("--insecure-auth", self.insecure_auth),
        ];
        let alone = alone.into_iter().filter(|(_, is_given)| *is_given);
        let given = with_values.into_iter().chain(pins);
        let given = given.filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let alone = alone.map(|(name, _)| name.to_owned());
        alone.chain(given.flatten()).collect()
    }

    /// What is asked of servers that offer DSN.
    pub(super) fn dsn(&self) -> Dsn {
        let is_wanted = |when| self.notify.contains(&when);
        Dsn {
            returned: self.ret.map(|back| match back {
                Back::Full => Return::Full,
                Back::Headers => Return::Headers,
            }),
            envelope_id: self.envid.clone(),
            notify: (!self.notify.is_empty()).then(|| Notify {
                success: is_wanted(When::Success),
                failure: is_wanted(When::Failure),
                delay: is_wanted(When::Delay),
            }),
        }
    }
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    let found = Mechanism::all().find(|known| known.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<&str> = Mechanism::all().map(Mechanism::name).collect();
        format!("the mechanisms are {}", names.join(", "))
    })
}

impl From<Stop> for outcome::Stage {
    fn from(stop: Stop) -> outcome::Stage {
        match stop {
            Stop::Greeting => outcome::Stage::Greeting,
            Stop::Ehlo => outcome::Stage::Ehlo,
            Stop::Tls => outcome::Stage::Tls,
            Stop::Auth => outcome::Stage::Auth,
            Stop::Mail => outcome::Stage::Mail,
            Stop::Rcpt => outcome::Stage::Rcpt,
        }
    }
}
