//! SMTP commands as a server reads them, RFC 5321 section 4.1, with those of its extensions.

use super::path::{self, Path};

/// RFC 5321 section 4.5.3.1.4.
const LINE_OCTETS_MAX: usize = 512;
/// What SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and AUTH (RFC 4954) add.
const MAIL_LINE_OCTETS_MAX: usize = LINE_OCTETS_MAX + 26 + 17 + 10 + 500;
/// RFC 4954 section 4.
pub(crate) const AUTH_LINE_OCTETS_MAX: usize = 12_288;

/// RFC 5321 section 4.5.3.1.2.
const HELO_OCTETS_MAX: usize = 255;
/// RFC 1870 section 3 and RFC 3030 section 2.
const NUMBER_DIGITS_MAX: usize = 20;

#[derive(PartialEq, Eq)]
// AUTH may carry a password, which is not to be seen outside of tests.
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    StartTls,
    Auth {
        mechanism: &'a str,
        initial_response: Option<&'a str>,
    },
    Mail(Mail<'a>),
    Rcpt {
        forward_path: Path<'a>,
    },
    Data,
    Bdat {
        chunk_octets: usize,
        is_last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mail<'a> {
    pub(crate) reverse_path: &'a str,
    /// What the client says that the message has.
    pub(crate) size: Option<usize>,
    pub(crate) smtputf8: bool,
    pub(crate) has_parameters: bool,
}

/// Shown as the reply to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("500 5.5.1 this is not a command")]
    Unknown,
    #[error("502 5.5.1 this command is not implemented")]
    NotImplemented,
    #[error("501 5.5.4 the command takes no parameters")]
    Parameters,
    #[error("501 5.5.4 the command needs a parameter")]
    NoParameter,
    #[error("501 5.5.4 this is not the name of a host or an address in brackets")]
    HostName,
    #[error("501 5.5.2 it is MAIL FROM:<address>")]
    MailSyntax,
    #[error("501 5.5.2 it is RCPT TO:<address>")]
    RcptSyntax,
    #[error("501 5.1.7 the address of the sender: {0}")]
    ReversePath(path::Error),
    #[error("501 5.1.3 the address of the recipient: {0}")]
    ForwardPath(path::Error),
    #[error("555 5.5.4 a parameter was not offered")]
    ParameterUnknown,
    #[error("501 5.5.4 a parameter is malformed or comes twice")]
    ParameterValue,
    /// How many octets follow is not known, and so not where the next command is.
    #[error("421 4.5.4 it is BDAT octets [LAST]: what follows cannot be told from commands")]
    ChunkOctets,
}

/// The limit of a line with its CRLF, by how it begins.
pub(crate) fn line_octets_max(line: &[u8]) -> usize {
    let begins_with = |verb: &[u8]| {
        let start = line.get(..verb.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(verb))
    };
    if begins_with(b"AUTH ") {
        AUTH_LINE_OCTETS_MAX
    } else if begins_with(b"MAIL ") {
        MAIL_LINE_OCTETS_MAX
    } else {
        LINE_OCTETS_MAX
    }
}

/// `line` is without its CRLF.
pub(crate) fn parse(line: &str) -> Result<Command<'_>, Error> {
    // RFC 5321 section 4.1.1: white space at the end is tolerated.
    let line = line.trim_end_matches(' ');
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let alone = |command| match rest {
        "" => Ok(command),
        _ => Err(Error::Parameters),
    };
    match &*verb.to_ascii_uppercase() {
        "EHLO" => parse_host(rest).map(Command::Ehlo),
        "HELO" => parse_host(rest).map(Command::Helo),
        "STARTTLS" => alone(Command::StartTls),
        "AUTH" => parse_auth(rest),
        "MAIL" => parse_mail(rest).map(Command::Mail),
        "RCPT" => parse_rcpt(rest),
        "DATA" => alone(Command::Data),
        "BDAT" => parse_bdat(rest).ok_or(Error::ChunkOctets),
        "RSET" => alone(Command::Rset),
        // RFC 5321 section 4.1.1.9: what is behind it is ignored.
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(Error::NoParameter),
        "VRFY" => Ok(Command::Vrfy),
        "QUIT" => alone(Command::Quit),
        "EXPN" | "ETRN" | "SEND" | "SOML" | "SAML" | "TURN" => Err(Error::NotImplemented),
        _ => Err(Error::Unknown),
    }
}

/// Underscores are against the rules and in many names of machines.
fn parse_host(text: &str) -> Result<&str, Error> {
    let is_valid = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
    match text {
        "" => Err(Error::NoParameter),
        _ if text.len() <= HELO_OCTETS_MAX && text.bytes().all(is_valid) => Ok(text),
        _ => Err(Error::HostName),
    }
}

fn parse_auth(text: &str) -> Result<Command<'_>, Error> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(Error::NoParameter)?;
    let initial_response = words.next();
    match words.next() {
        Some(_) => Err(Error::ParameterValue),
        None => Ok(Command::Auth {
            mechanism,
            initial_response,
        }),
    }
}

fn parse_mail(text: &str) -> Result<Mail<'_>, Error> {
    let text = strip_label(text, "FROM:").ok_or(Error::MailSyntax)?;
    let (path, rest) = path::parse(text).map_err(Error::ReversePath)?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(Error::MailSyntax);
    }
    let mut mail = Mail {
        reverse_path: path.mailbox,
        size: None,
        smtputf8: false,
        has_parameters: !rest.is_empty(),
    };
    let mut seen = Vec::new();
    for parameter in rest.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) => (keyword.to_ascii_uppercase(), Some(value)),
            None => (parameter.to_ascii_uppercase(), None),
        };
        match (&*keyword, value) {
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) if seen.contains(&keyword) => {
                return Err(Error::ParameterValue);
            }
            ("SIZE", Some(value)) => {
                mail.size = Some(parse_number(value).ok_or(Error::ParameterValue)?);
            }
            ("BODY", Some(value)) if is_one_of(value, &["7BIT", "8BITMIME"]) => {}
            ("SMTPUTF8", None) => mail.smtputf8 = true,
            // RFC 4954 section 5: who is said to have submitted the message. Nobody is told.
            ("AUTH", Some(_)) => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(Error::ParameterValue),
            _ => return Err(Error::ParameterUnknown),
        }
        seen.push(keyword);
    }
    Ok(mail)
}

fn parse_rcpt(text: &str) -> Result<Command<'_>, Error> {
    let text = strip_label(text, "TO:").ok_or(Error::RcptSyntax)?;
    let (forward_path, rest) = path::parse(text).map_err(Error::ForwardPath)?;
    if forward_path.mailbox.is_empty() {
        return Err(Error::ForwardPath(path::Error::Empty));
    }
    match rest {
        "" => Ok(Command::Rcpt { forward_path }),
        // None are offered.
        _ if rest.starts_with(' ') => Err(Error::ParameterUnknown),
        _ => Err(Error::RcptSyntax),
    }
}

/// `None` is malformed.
fn parse_bdat(text: &str) -> Option<Command<'_>> {
    let (number, last) = text.split_once(' ').unwrap_or((text, ""));
    let chunk_octets = parse_number(number)?;
    match last {
        "" => Some(false),
        _ => is_one_of(last, &["LAST"]).then_some(true),
    }
    .map(|is_last| Command::Bdat {
        chunk_octets,
        is_last,
    })
}

/// Spaces behind the colon are against RFC 5321 section 3.3 and typed by many.
fn strip_label<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(label.len())?;
    let rest = rest.trim_start_matches(' ');
    start.eq_ignore_ascii_case(label).then_some(rest)
}

fn is_one_of(value: &str, values: &[&str]) -> bool {
    values.iter().any(|known| known.eq_ignore_ascii_case(value))
}

/// A number that is too great for `usize` is as good as the greatest.
fn parse_number(digits: &str) -> Option<usize> {
    let is_number = (1..=NUMBER_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In any case of letters, and with white space at the end.
    #[track_caller]
    fn check(line: &str, expected: Result<Command<'_>, Error>) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let lower = format!("{} {rest}", verb.to_ascii_lowercase());
        for line in [line, &*lower, &*format!("{line}  ")] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn commands() {
        check("EHLO mail.example", Ok(Command::Ehlo("mail.example")));
        check("HELO [IPv6:::1]", Ok(Command::Helo("[IPv6:::1]")));
        check("EHLO", Err(Error::NoParameter));
        for wrong in ["EHLO a b", "EHLO ä.example", "EHLO (x)"] {
            check(wrong, Err(Error::HostName));
        }
        check(&format!("EHLO {}", "a".repeat(256)), Err(Error::HostName));
        check("STARTTLS", Ok(Command::StartTls));
        check("NOOP whatever", Ok(Command::Noop));
        check("HELP MAIL", Ok(Command::Help));
        check("VRFY ann", Ok(Command::Vrfy));
        check("VRFY", Err(Error::NoParameter));
        check("RSET", Ok(Command::Rset));
        check("QUIT", Ok(Command::Quit));
        check("DATA", Ok(Command::Data));
        check("DATA now", Err(Error::Parameters));
        check("EXPN list", Err(Error::NotImplemented));
        for unknown in ["", "GET / HTTP/1.1", "MAILFROM:<a@b>", "\u{16}\u{3}"] {
            check(unknown, Err(Error::Unknown));
        }
    }

    #[test]
    fn chunks() {
        let bdat = |chunk_octets, is_last| {
            Ok(Command::Bdat {
                chunk_octets,
                is_last,
            })
        };
        check("BDAT 1000", bdat(1000, false));
        check("BDAT 0 last", bdat(0, true));
        check("BDAT 99999999999999999999 LAST", bdat(usize::MAX, true));
        let wrong = ["", " ", " x", " -1", " +1", " 1 FIRST", " 1 LAST x"];
        for wrong in wrong.map(|rest| format!("BDAT{rest}")) {
            check(&wrong, Err(Error::ChunkOctets));
        }
        check("BDAT 100000000000000000000", Err(Error::ChunkOctets));
    }

    #[test]
    fn authentication() {
        let auth = |initial_response| {
            Ok(Command::Auth {
                mechanism: "PLAIN",
                initial_response,
            })
        };
        check("AUTH PLAIN", auth(None));
        check("AUTH PLAIN =", auth(Some("=")));
        check("AUTH PLAIN AGEAYg==", auth(Some("AGEAYg==")));
        check("AUTH", Err(Error::NoParameter));
        check("AUTH PLAIN a b", Err(Error::ParameterValue));
    }

    #[test]
    fn envelopes() {
        let mail = |reverse_path, size, smtputf8, has_parameters| {
            Ok(Command::Mail(Mail {
                reverse_path,
                size,
                smtputf8,
                has_parameters,
            }))
        };
        check("MAIL FROM:<a@b>", mail("a@b", None, false, false));
        check("MAIL from: <>", mail("", None, false, false));
        let line = "MAIL FROM:<a@b> size=12 BODY=8bitmime SMTPUTF8 AUTH=<>";
        check(line, mail("a@b", Some(12), true, true));
        for wrong in [
            "MAIL",
            "MAIL TO:<a@b>",
            "MAIL FROM <a@b>",
            "MAIL FROM:<a@b>x",
        ] {
            check(wrong, Err(Error::MailSyntax));
        }
        let wrong = [
            "SIZE",
            "SIZE=",
            "SIZE=x",
            "SIZE=1 SIZE=1",
            "BODY=BINARYMIME",
            "SMTPUTF8=1",
        ];
        for wrong in wrong.map(|parameters| format!("MAIL FROM:<a@b> {parameters}")) {
            check(&wrong, Err(Error::ParameterValue));
        }
        check("MAIL FROM:<a@b> RET=HDRS", Err(Error::ParameterUnknown));
        check(
            "MAIL FROM:<root>",
            Err(Error::ReversePath(path::Error::NoDomain)),
        );

        let forward_path = path::parse("<a@b>").expect("a path").0;
        check("RCPT TO:<a@b>", Ok(Command::Rcpt { forward_path }));
        check("RCPT to: <a@b>", Ok(Command::Rcpt { forward_path }));
        check("RCPT TO:<>", Err(Error::ForwardPath(path::Error::Empty)));
        check(
            "RCPT TO:a@b",
            Err(Error::ForwardPath(path::Error::NoBrackets)),
        );
        check("RCPT TO:<a@b> NOTIFY=NEVER", Err(Error::ParameterUnknown));
        check("RCPT TO:<a@b>NOTIFY=NEVER", Err(Error::RcptSyntax));
        check("RCPT FOR:<a@b>", Err(Error::RcptSyntax));
    }

    proptest! {
        #[test]
        fn no_line_panics(
            verb in "(MAIL FROM:|RCPT TO:|AUTH |BDAT |EHLO |ä)?",
            rest in r#"(<[a"\\@b]{0,9}>)?( [A-Z0-9=]{0,30}| \PC){0,5}"#,
        ) {
            let line = format!("{verb}{rest}");
            if let Ok(Command::Mail(mail)) = parse(&line) {
                prop_assert!(line.contains(mail.reverse_path));
            }
        }
    }
}
