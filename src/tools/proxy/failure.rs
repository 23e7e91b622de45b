//! Why a request gets the proxy's own answer instead of the origin's.

use super::target::authority;
use crate::http::Refusal;
use crate::http::caching::cache_status::ErrorType;
use crate::net;
use crate::net::lookup;

#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: ErrorType,
    pub(super) status: u16,
    /// Without a full stop.
    pub(super) headline: String,
    /// What was tried, and on what: a sentence.
    pub(super) what: String,
    pub(super) why: String,
    pub(super) advice: String,
    /// Of a 405.
    pub(super) allow: &'static str,
}

impl Failure {
    pub(super) fn new(kind: ErrorType, headline: impl Into<String>) -> Failure {
        Failure {
            status: kind.status(),
            kind,
            headline: headline.into(),
            what: String::new(),
            why: String::new(),
            advice: String::new(),
            allow: "",
        }
    }

    pub(super) fn with_status(mut self, status: u16) -> Failure {
        self.status = status;
        self
    }

    pub(super) fn what(mut self, what: impl Into<String>) -> Failure {
        self.what = what.into();
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Failure {
        self.why = why.into();
        self
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Failure {
        self.advice = advice.into();
        self
    }

    /// What is asked for knows these methods only.
    pub(super) fn method_not_allowed(allow: &'static str, why: &'static str) -> Failure {
        Failure {
            allow,
            ..Failure::refusal(Refusal { status: 405, why })
        }
    }

    /// Of the client's request.
    pub(super) fn refusal(refusal: Refusal) -> Failure {
        let headline = match refusal.status {
            403 => "This is not allowed",
            404 => "There is no such page here",
            405 => "That method is not for this page",
            408 => "The request took too long",
            421 => "This is another server",
            _ => "The request cannot be answered",
        };
        Failure::new(ErrorType::HttpRequestError, headline)
            .with_status(refusal.status)
            .why(sentence(refusal.why))
    }

    pub(super) fn denied(headline: impl Into<String>) -> Failure {
        Failure::new(ErrorType::HttpRequestDenied, headline)
    }

    /// The origin's answer is no HTTP, or no safe one.
    pub(super) fn invalid(host: &str, why: &str) -> Failure {
        Failure::new(
            ErrorType::HttpProtocolError,
            format!("{host} does not answer as a web server should"),
        )
        .what(format!("The proxy asked {host} and cannot use the answer."))
        .why(sentence(why))
        .advice("Is that the port of a web server, and one without TLS?")
    }

    pub(super) fn closed(host: &str) -> Failure {
        Failure::new(
            ErrorType::ConnectionTerminated,
            format!("{host} closed the connection without an answer"),
        )
        .what(format!("The proxy sent the request to {host}."))
    }

    /// The connection to an origin failed in the middle.
    pub(super) fn broken(host: &str, error: &net::Error) -> Failure {
        Failure::new(
            ErrorType::ConnectionTerminated,
            format!("The connection to {host} broke"),
        )
        .what(format!("The proxy was waiting for {host}."))
        .why(sentence(&error.to_string()))
        .advice("Trying again may help.")
    }

    /// The client itself has gone: nobody reads this.
    pub(super) fn gone() -> Failure {
        Failure::new(ErrorType::HttpRequestError, "The request is not complete").with_status(400)
    }

    pub(super) fn silent(host: &str, seconds: f64) -> Failure {
        Failure::new(
            ErrorType::HttpResponseTimeout,
            format!("{host} does not answer"),
        )
        .what(format!("The proxy sent the request to {host}."))
        .why(format!("There was no answer within {seconds:.1} seconds."))
        .advice("It may be busy; --answer-timeout gives it longer.")
    }

    pub(super) fn name(host: &str, error: &lookup::Error) -> Failure {
        let kind = match error {
            lookup::Error::NotFound(_) => ErrorType::DestinationNotFound,
            lookup::Error::TimedOut(_) => ErrorType::DnsTimeout,
            lookup::Error::Temporary(_)
            | lookup::Error::Failed { .. }
            | lookup::Error::Cancelled => ErrorType::DnsError,
        };
        let status = if kind == ErrorType::DnsTimeout {
            504
        } else {
            502
        };
        Failure::new(kind, format!("The name {host} cannot be found"))
            .with_status(status)
            .what(format!("The proxy asked the system's resolver for {host}."))
            .why(sentence(&error.to_string()))
            .advice("Is the name spelt right, and is there a network?")
    }

    pub(super) fn connection(host: &str, port: u16, error: &net::Error) -> Failure {
        let place = authority(host, port);
        let (kind, headline, advice) = match error {
            net::Error::Refused(_) => (
                ErrorType::ConnectionRefused,
                format!("{place} refuses the connection"),
                "The machine is there, but nothing listens on that port.",
            ),
            net::Error::TimedOut(_) => (
                ErrorType::ConnectionTimeout,
                format!("{place} cannot be reached"),
                "It may be switched off, or a firewall may be silent.",
            ),
            _ => (
                ErrorType::DestinationIpUnroutable,
                format!("{place} cannot be reached"),
                "",
            ),
        };
        Failure::new(kind, headline)
            .what(format!("The proxy tried to connect to {place}."))
            .why(sentence(&error.to_string()))
            .advice(advice)
    }
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    let mut text = first.unwrap_or_default() + characters.as_str();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}
