//! What a dialogue is to do.

use std::sync::Arc;

use super::outcome::Stage;
use crate::tools::mail::message::stuffing::{Stuffing, Transfer};
use crate::tools::mail::sasl::mechanism::Mechanism;
use crate::tools::mail::sasl::secret::Secret;
use crate::wire::smtp::Address;
use crate::wire::smtp::command::{EhloName, EnvelopeId, Notify, Return};

/// RFC 5321 section 4.5.3.1.8 asks servers for 100; hardly one takes more than a thousand.
pub(crate) const RECIPIENTS_MAX: usize = 1000;

pub(crate) struct Plan<'a> {
    pub(crate) ehlo_name: EhloName,
    pub(crate) tls: TlsMode<'a>,
    pub(crate) credentials: Option<Credentials<'a>>,
    /// Sent one after the other. Without any, the server is only asked to let us in.
    pub(crate) jobs: Vec<Job>,
    /// After this stage of the first job comes QUIT.
    pub(crate) stop_after: Option<Stage>,
    /// Whether to use it where it is offered.
    pub(crate) pipelining: bool,
    /// Whether to use it where it is offered.
    pub(crate) chunking: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum TlsMode<'a> {
    /// Started before the greeting, with the hash for SCRAM-PLUS (RFC 5929 section 4.1).
    Implicit {
        channel_binding: Option<&'a [u8]>,
    },
    /// Nothing is said in clear beyond EHLO and STARTTLS.
    StartTls,
    /// In clear where the server does not offer STARTTLS, or refuses it.
    Opportunistic,
    None,
}

#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a str,
    pub(crate) secret: &'a Secret,
    /// The secret is a bearer token and no password.
    pub(crate) is_token: bool,
    /// No other than these.
    pub(crate) mechanisms: Option<&'a [Mechanism]>,
    pub(crate) is_allowed_in_clear: bool,
    /// For SCRAM: fresh and unforeseeable.
    pub(crate) nonce: &'a str,
}

/// A message and its envelope.
pub(crate) struct Job {
    /// `None` is the null reverse-path.
    pub(crate) from: Option<Address>,
    pub(crate) recipients: Vec<Address>,
    pub(crate) message: Message,
    pub(crate) dsn: Dsn,
}

/// Said to servers that offer DSN, RFC 3461.
#[derive(Clone, Default)]
pub(crate) struct Dsn {
    pub(crate) returned: Option<Return>,
    pub(crate) envelope_id: Option<EnvelopeId>,
    pub(crate) notify: Option<Notify>,
}

/// The octets of a message, with CRLF for every line end. Clones share them.
#[derive(Clone)]
pub(crate) struct Message {
    octets: Arc<[u8]>,
    pub(super) is_eight_bit: bool,
    pub(super) has_utf8_header: bool,
}

impl Message {
    pub(crate) fn new(octets: &[u8]) -> Message {
        let mut normalised = Vec::with_capacity(octets.len());
        let mut stuffing = Stuffing::new(Transfer::Bdat);
        stuffing.push(octets, &mut normalised);
        stuffing.finish(&mut normalised);
        let end = memchr::memmem::find(&normalised, b"\r\n\r\n").unwrap_or(normalised.len());
        let header = normalised.get(..end).unwrap_or_default();
        Message {
            is_eight_bit: !normalised.is_ascii(),
            has_utf8_header: !header.is_ascii(),
            octets: normalised.into(),
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

impl Job {
    /// RFC 6531 section 3.4.
    pub(super) fn needs_smtputf8(&self) -> bool {
        let mut addresses = self.from.iter().chain(&self.recipients);
        self.message.has_utf8_header || addresses.any(Address::needs_utf8)
    }
}
