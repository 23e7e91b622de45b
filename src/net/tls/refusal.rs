//! Why a server's certificate was not believed, and what can be said of it.

use std::fmt;

use chrono::DateTime;

use crate::wire::certificate::Certificate;

/// Certificates of large providers are for a hundred names.
const NAMES_MAX: usize = 5;
/// RFC 1035 section 2.3.4; whoever made the certificate may have written anything.
const NAME_CHARACTERS_MAX: usize = 253;

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) host: String,
    pub(crate) verdict: Verdict,
    /// As far as it could be seen.
    pub(crate) certificate: Option<Certificate>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Verdict {
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is by an issuer whose own has expired, or is not valid yet")]
    IssuerOutOfDate,
    #[error("it is not for this host")]
    WrongHost,
    #[error("it is signed by itself, and not known here")]
    SelfSigned,
    #[error("its issuer is not known here")]
    UnknownIssuer,
    #[error("{0}")]
    Other(String),
}

impl Verdict {
    /// By OpenSSL's words. The server's own certificate has the depth 0.
    pub(super) fn of(words: &str, depth: u32) -> Verdict {
        match words.to_ascii_lowercase().replace('-', " ").as_str() {
            "certificate has expired" | "certificate is not yet valid" if depth > 0 => {
                Verdict::IssuerOutOfDate
            }
            "certificate has expired" => Verdict::Expired,
            "certificate is not yet valid" => Verdict::NotYetValid,
            "hostname mismatch" | "ip address mismatch" => Verdict::WrongHost,
            "self signed certificate" => Verdict::SelfSigned,
            "self signed certificate in certificate chain"
            | "unable to get issuer certificate"
            | "unable to get local issuer certificate"
            | "unable to verify the first certificate" => Verdict::UnknownIssuer,
            _ => Verdict::Other(words.to_owned()),
        }
    }

    /// Somebody else may be believed who has certified it.
    pub(crate) fn is_about_issuer(&self) -> bool {
        matches!(self, Verdict::SelfSigned | Verdict::UnknownIssuer)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            host,
            verdict,
            certificate,
        } = self;
        write!(f, "the certificate of {host} is not trusted: {verdict}")?;
        match certificate {
            Some(certificate) => write!(f, " ({})", describe(certificate)),
            None => Ok(()),
        }
    }
}

/// `for mx.example, *.mail.example; by Example Root; from 2026-11-21 until 2056-11-13`
fn describe(certificate: &Certificate) -> String {
    let short = |name: &String| name.chars().take(NAME_CHARACTERS_MAX).collect::<String>();
    let names = certificate.names();
    let mut told: Vec<String> = names.iter().take(NAMES_MAX).map(short).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => {}
        more => told.push(format!("{more} more")),
    }
    if told.is_empty() {
        told.push("nobody".to_owned());
    }
    let issuer = certificate.issuer.as_ref().map(short);
    format!(
        "for {}; by {}; from {} until {}",
        told.join(", "),
        issuer.as_deref().unwrap_or("nobody"),
        date(certificate.not_before),
        date(certificate.not_after)
    )
}

fn date(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0);
    time.map_or_else(
        || "another age".to_owned(),
        |time| time.format("%Y-%m-%d").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::certificate::example;

    #[test]
    fn verdicts_by_what_openssl_says() {
        #[track_caller]
        fn check(words: &str, expected: Verdict) {
            assert_eq!(Verdict::of(words, 0), expected);
        }
        check("certificate has expired", Verdict::Expired);
        check("certificate is not yet valid", Verdict::NotYetValid);
        let above = Verdict::of("certificate has expired", 1);
        assert_eq!(above, Verdict::IssuerOutOfDate);
        check("hostname mismatch", Verdict::WrongHost);
        check("IP address mismatch", Verdict::WrongHost);
        check("self-signed certificate", Verdict::SelfSigned);
        check("self signed certificate", Verdict::SelfSigned);
        check(
            "unable to get local issuer certificate",
            Verdict::UnknownIssuer,
        );
        let weak = "CA signature digest algorithm too weak";
        check(weak, Verdict::Other(weak.to_owned()));
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Certificate), expected: &str) {
        let mut certificate = Certificate::parse(&example::octets()).expect("a certificate");
        change(&mut certificate);
        let refusal = Refusal {
            host: "mail.example".to_owned(),
            verdict: Verdict::WrongHost,
            certificate: Some(certificate),
        };
        let text = refusal.to_string();
        let facts = "the certificate of mail.example is not trusted: it is not for this host";
        assert_eq!(text, format!("{facts} ({expected})"));
    }

    #[test]
    fn what_is_said_of_a_certificate() {
        let rest = "by Example Root; from 2026-11-21 until 2056-11-13";
        check(|_| {}, &format!("for mx.example, *.mail.example; {rest}"));
        let without = |certificate: &mut Certificate| certificate.dns_names.clear();
        check(without, &format!("for mx.example; {rest}"));
        let many = |certificate: &mut Certificate| {
            certificate.dns_names = (0..100).map(|n| format!("h{n}")).collect();
        };
        check(many, &format!("for h0, h1, h2, h3, h4, 95 more; {rest}"));
        let empty = |certificate: &mut Certificate| {
            certificate.dns_names.clear();
            (certificate.subject, certificate.issuer) = (None, None);
            certificate.not_after = i64::MAX;
        };
        let nobody = "for nobody; by nobody; from 2026-11-21 until another age";
        check(empty, nobody);
        let long = |certificate: &mut Certificate| {
            certificate.dns_names = vec!["ü".repeat(1000)];
        };
        check(long, &format!("for {}; {rest}", "ü".repeat(253)));
    }
}
