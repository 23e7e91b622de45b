//! Commands, RFC 5321 section 4.1, with the parameters of the extensions.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Address;
use super::address::is_address_literal;

pub(crate) const DATA: &[u8] = b"DATA\r\n";
pub(crate) const QUIT: &[u8] = b"QUIT\r\n";
pub(crate) const RSET: &[u8] = b"RSET\r\n";
pub(crate) const STARTTLS: &[u8] = b"STARTTLS\r\n";
/// RFC 4954 section 4: gives up an exchange; the server answers 501.
pub(crate) const AUTH_CANCEL: &[u8] = b"*\r\n";

/// RFC 4954 section 4, with the CRLF.
const AUTH_LINE_OCTETS_MAX: usize = 12_288;
/// RFC 4422 section 3.1.
const MECHANISM_OCTETS_MAX: usize = 20;
/// RFC 3461 section 4.4, before it is encoded.
const ENVELOPE_ID_OCTETS_MAX: usize = 100;
/// RFC 5321 section 4.5.3.1.2.
const DOMAIN_OCTETS_MAX: usize = 255;
const LABEL_OCTETS_MAX: usize = 63;

/// By which name the client says hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EhloName(String);

/// The name of a SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mechanism<'a>(&'a str);

/// RFC 3461 section 4.4: comes back in delivery reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvelopeId(String);

/// How much of the message a delivery report brings back, RFC 3461 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    Full,
    Headers,
}

/// When to report about a recipient, RFC 3461 section 4.1. None of the three is NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notify {
    pub(crate) success: bool,
    pub(crate) failure: bool,
    pub(crate) delay: bool,
}

/// Each only for a server that offers its extension.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MailParameters<'a> {
    /// Of the message with CRLF line ends, before dot-stuffing (RFC 1870 section 5).
    pub(crate) size: Option<u64>,
    pub(crate) is_eight_bit: bool,
    pub(crate) is_smtputf8: bool,
    pub(crate) returned: Option<Return>,
    pub(crate) envelope_id: Option<&'a EnvelopeId>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RcptParameters {
    /// As MAIL has said.
    pub(crate) is_smtputf8: bool,
    pub(crate) notify: Option<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the address is not ASCII, and the server does not offer SMTPUTF8")]
    NeedsUtf8,
    #[error("the credentials do not fit in a line of {AUTH_LINE_OCTETS_MAX} octets")]
    AuthLineLength,
    #[error("a SASL mechanism has 1 to {MECHANISM_OCTETS_MAX} capitals, digits, - and _")]
    Mechanism,
    #[error("an envelope identifier has 1 to {ENVELOPE_ID_OCTETS_MAX} printable ASCII characters")]
    EnvelopeId,
}

pub(crate) fn ehlo(name: &EhloName) -> Vec<u8> {
    format!("EHLO {}\r\n", name.0).into_bytes()
}

/// For a server that answers EHLO with 5yz.
pub(crate) fn helo(name: &EhloName) -> Vec<u8> {
    format!("HELO {}\r\n", name.0).into_bytes()
}

/// `None` is the null reverse-path, to which no report is sent.
pub(crate) fn mail_from(
    reverse_path: Option<&Address>,
    parameters: &MailParameters<'_>,
) -> Result<Vec<u8>, CommandError> {
    let mut command = match reverse_path {
        Some(address) => format!("MAIL FROM:{}", path(address, parameters.is_smtputf8)?),
        None => "MAIL FROM:<>".to_owned(),
    };
    if let Some(size) = parameters.size {
        command += &format!(" SIZE={size}");
    }
    if parameters.is_eight_bit {
        command += " BODY=8BITMIME";
    }
    if parameters.is_smtputf8 {
        command += " SMTPUTF8";
    }
    command += match parameters.returned {
        Some(Return::Full) => " RET=FULL",
        Some(Return::Headers) => " RET=HDRS",
        None => "",
    };
    if let Some(EnvelopeId(encoded)) = parameters.envelope_id {
        command += &format!(" ENVID={encoded}");
    }
    Ok((command + "\r\n").into_bytes())
}

pub(crate) fn rcpt_to(
    forward_path: &Address,
    parameters: &RcptParameters,
) -> Result<Vec<u8>, CommandError> {
    let mut command = format!("RCPT TO:{}", path(forward_path, parameters.is_smtputf8)?);
    if let Some(notify) = parameters.notify {
        command += &format!(" NOTIFY={notify}");
    }
    Ok((command + "\r\n").into_bytes())
}

/// RFC 3030 section 2: so many octets follow at once.
pub(crate) fn bdat(octets: usize, is_last: bool) -> Vec<u8> {
    let last = if is_last { " LAST" } else { "" };
    format!("BDAT {octets}{last}\r\n").into_bytes()
}

/// RFC 4954 section 4: an empty initial response is "=".
pub(crate) fn auth(
    mechanism: Mechanism<'_>,
    initial_response: Option<&[u8]>,
) -> Result<Vec<u8>, CommandError> {
    let initial = match initial_response {
        None => String::new(),
        Some([]) => " =".to_owned(),
        Some(octets) => format!(" {}", STANDARD.encode(octets)),
    };
    auth_line(format!("AUTH {}{initial}\r\n", mechanism.0))
}

/// The answer to a 334.
pub(crate) fn auth_response(octets: &[u8]) -> Result<Vec<u8>, CommandError> {
    auth_line(STANDARD.encode(octets) + "\r\n")
}

fn auth_line(line: String) -> Result<Vec<u8>, CommandError> {
    match line.len() <= AUTH_LINE_OCTETS_MAX {
        true => Ok(line.into_bytes()),
        false => Err(CommandError::AuthLineLength),
    }
}

fn path(address: &Address, is_smtputf8: bool) -> Result<String, CommandError> {
    match address.needs_utf8() && !is_smtputf8 {
        true => Err(CommandError::NeedsUtf8),
        false => Ok(format!("<{address}>")),
    }
}

impl EhloName {
    /// A name that servers accept, as somebody gave it.
    pub(crate) fn parse(text: &str) -> Option<EhloName> {
        let is_good = is_qualified(text) || is_address_literal(text);
        is_good.then(|| EhloName(text.to_owned()))
    }

    /// The host name if others could look it up, else the address the client connects from:
    /// servers answer 504 to a bare name, and to `localhost`.
    pub(crate) fn new(hostname: &str, local: IpAddr) -> EhloName {
        let name = hostname.strip_suffix('.').unwrap_or(hostname);
        if let Some(name) = EhloName::parse(name) {
            return name;
        }
        EhloName(match local.to_canonical() {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        })
    }
}

fn is_qualified(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = !label.starts_with('-') && !label.ends_with('-');
        let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        (1..=LABEL_OCTETS_MAX).contains(&label.len()) && is_inside && label.bytes().all(is_letter)
    };
    let Some((_, top)) = name.rsplit_once('.') else {
        return false;
    };
    // Debian and Red Hat name machines without a domain so.
    let is_local = ["localhost", "localdomain"]
        .iter()
        .any(|local| top.eq_ignore_ascii_case(local));
    let is_number = top.bytes().all(|octet| octet.is_ascii_digit());
    name.len() <= DOMAIN_OCTETS_MAX && name.split('.').all(is_label) && !is_local && !is_number
}

impl fmt::Display for EhloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mechanism<'_> {
    pub(crate) fn parse(name: &str) -> Result<Mechanism<'_>, CommandError> {
        let is_letter = |octet: u8| matches!(octet, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
        let is_valid =
            (1..=MECHANISM_OCTETS_MAX).contains(&name.len()) && name.bytes().all(is_letter);
        is_valid
            .then_some(Mechanism(name))
            .ok_or(CommandError::Mechanism)
    }
}

impl EnvelopeId {
    /// Kept as xtext, RFC 3461 section 4.
    pub(crate) fn new(text: &str) -> Result<EnvelopeId, CommandError> {
        let has_length = (1..=ENVELOPE_ID_OCTETS_MAX).contains(&text.len());
        if !has_length || !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(CommandError::EnvelopeId);
        }
        let encode = |character: char| match character {
            '+' | '=' | ' ' => format!("+{:02X}", u32::from(character)),
            _ => character.to_string(),
        };
        Ok(EnvelopeId(text.chars().map(encode).collect()))
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let wanted: Vec<&str> = events
            .iter()
            .filter_map(|(is_wanted, name)| is_wanted.then_some(*name))
            .collect();
        match wanted.is_empty() {
            true => f.write_str("NEVER"),
            false => f.write_str(&wanted.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[track_caller]
    fn check(command: Result<Vec<u8>, CommandError>, line: &str) {
        let command = command.map(|octets| String::from_utf8(octets).expect("UTF-8"));
        assert_eq!(command.as_deref(), Ok(&*format!("{line}\r\n")));
    }

    #[test]
    fn the_name_of_the_client() {
        #[track_caller]
        fn check(hostname: &str, local: &str, name: &str) {
            let local = local.parse().expect(local);
            assert_eq!(
                EhloName::new(hostname, local).to_string(),
                name,
                "{hostname}"
            );
        }
        check("pc.example.org", "127.0.0.1", "pc.example.org");
        check("pc.example.org.", "127.0.0.1", "pc.example.org");
        check("[192.0.2.7]", "127.0.0.1", "[192.0.2.7]");
        let long = format!("{}.org", "a".repeat(64));
        for bare in [
            "pc",
            "localhost",
            "localhost.localdomain",
            "",
            ".",
            "pc..org",
            "my_pc.org",
            "10.0.0.1",
            "a b.org",
            "pc.org\r\nDATA",
            "bücher.example",
            "-pc.org",
            &long,
            "[x]",
        ] {
            check(bare, "127.0.0.1", "[127.0.0.1]");
            check(bare, "::ffff:192.0.2.1", "[192.0.2.1]");
            check(bare, "2001:db8::1", "[IPv6:2001:db8::1]");
        }
        let name = EhloName::new("pc.example.org", [127, 0, 0, 1].into());
        assert_eq!(ehlo(&name), b"EHLO pc.example.org\r\n");
        assert_eq!(helo(&name), b"HELO pc.example.org\r\n");
    }

    #[test]
    fn the_envelope() {
        let mail = MailParameters::default();
        check(mail_from(None, &mail), "MAIL FROM:<>");
        let ann = address("ann@example.org");
        check(mail_from(Some(&ann), &mail), "MAIL FROM:<ann@example.org>");
        let id = EnvelopeId::new("a+b=c d").expect("an identifier");
        let all = MailParameters {
            size: Some(1234),
            is_eight_bit: true,
            is_smtputf8: true,
            returned: Some(Return::Headers),
            envelope_id: Some(&id),
        };
        check(
            mail_from(Some(&address("jörg@example.org")), &all),
            "MAIL FROM:<jörg@example.org> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS \
             ENVID=a+2Bb+3Dc+20d",
        );
        let full = MailParameters {
            returned: Some(Return::Full),
            ..mail
        };
        check(mail_from(None, &full), "MAIL FROM:<> RET=FULL");
        let rcpt = RcptParameters::default();
        check(
            rcpt_to(&address("\"a b\"@c.d"), &rcpt),
            "RCPT TO:<\"a b\"@c.d>",
        );
        let notify = |success, failure, delay| RcptParameters {
            notify: Some(Notify {
                success,
                failure,
                delay,
            }),
            ..rcpt
        };
        let line = "RCPT TO:<ann@example.org> NOTIFY=";
        check(
            rcpt_to(&ann, &notify(false, false, false)),
            &format!("{line}NEVER"),
        );
        check(
            rcpt_to(&ann, &notify(true, false, true)),
            &format!("{line}SUCCESS,DELAY"),
        );
        check(
            rcpt_to(&ann, &notify(false, true, false)),
            &format!("{line}FAILURE"),
        );
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        let joerg = address("jörg@example.org");
        let needs = Err(CommandError::NeedsUtf8);
        assert_eq!(mail_from(Some(&joerg), &MailParameters::default()), needs);
        assert_eq!(rcpt_to(&joerg, &RcptParameters::default()), needs);
        for wrong in ["", "a\r\nRSET", "ü", &"x".repeat(101)] {
            assert_eq!(
                EnvelopeId::new(wrong),
                Err(CommandError::EnvelopeId),
                "{wrong}"
            );
        }
        for wrong in ["", "plain", "X Y", "A\r\nB", "ABCDEFGHIJKLMNOPQRSTU"] {
            assert_eq!(
                Mechanism::parse(wrong),
                Err(CommandError::Mechanism),
                "{wrong}"
            );
        }
    }

    #[test]
    fn authentication() {
        let plain = Mechanism::parse("PLAIN").expect("a mechanism");
        check(auth(plain, None), "AUTH PLAIN");
        check(auth(plain, Some(b"")), "AUTH PLAIN =");
        check(
            auth(plain, Some(b"\0ann\0secret")),
            "AUTH PLAIN AGFubgBzZWNyZXQ=",
        );
        check(auth_response(b"ann"), "YW5u");
        check(auth_response(b""), "");
        let long = vec![b'x'; 12_286 / 4 * 3];
        assert_eq!(auth_response(&long).map(|line| line.len()), Ok(12_286));
        let long = vec![b'x'; 9_216];
        assert_eq!(auth_response(&long), Err(CommandError::AuthLineLength));
        assert_eq!(auth(plain, Some(&long)), Err(CommandError::AuthLineLength));
    }

    #[test]
    fn chunks() {
        assert_eq!(bdat(1000, false), b"BDAT 1000\r\n");
        assert_eq!(bdat(0, true), b"BDAT 0 LAST\r\n");
    }
}
