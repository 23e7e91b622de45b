//! What is to be fetched, from where.

use fluent_uri::{Uri, UriRef};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What people type and a URI must not have (RFC 3986 section 2).
const TYPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// As `Host` has it.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
    /// Without a fragment.
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("'{0}' is no URL; it looks like http://host:port/path (hosts in ASCII, as xn--...)")]
    Syntax(String),
    #[error("'{0}' has a scheme other than http and https")]
    Scheme(String),
    #[error("'{0}' has a user name; give -H 'Authorization: ...' instead")]
    User(String),
}

impl Url {
    /// Without a scheme it is http.
    pub(super) fn parse(text: &str) -> Result<Url, Invalid> {
        let typed = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let encoded = utf8_percent_encode(&typed, TYPED).to_string();
        let invalid = |_| Invalid::Syntax(text.to_owned());
        Url::of(&Uri::parse(encoded).map_err(invalid)?).map_err(|error| match error {
            Invalid::Syntax(_) => Invalid::Syntax(text.to_owned()),
            error => error,
        })
    }

    /// Of a `Location`, which may be relative (RFC 9110 section 10.2.2).
    pub(super) fn join(&self, location: &str) -> Result<Url, Invalid> {
        let syntax = || Invalid::Syntax(location.to_owned());
        let encoded = utf8_percent_encode(location, TYPED).to_string();
        let reference = UriRef::parse(encoded).map_err(|_| syntax())?;
        let base = Uri::parse(self.text.as_str()).map_err(|_| syntax())?;
        Url::of(&reference.resolve_against(&base).map_err(|_| syntax())?)
    }

    fn of(uri: &Uri<String>) -> Result<Url, Invalid> {
        let uri = uri.normalize();
        let text = || uri.as_str().to_owned();
        let is_tls = match uri.scheme().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(Invalid::Scheme(text())),
        };
        let authority = uri.authority().ok_or_else(|| Invalid::Syntax(text()))?;
        if authority.has_userinfo() {
            return Err(Invalid::User(text()));
        }
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = match authority.port().map(|port| port.as_str()) {
            None | Some("") => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(Invalid::Syntax(text())),
            },
        };
        // An encoded octet in a name would be one that no host has.
        if bare.is_empty() || bare.contains('%') {
            return Err(Invalid::Syntax(text()));
        }
        let standard = if is_tls { 443 } else { 80 };
        let path = match uri.path().as_str() {
            "" => "/",
            path => path,
        };
        let query = uri.query().map(|query| format!("?{query}"));
        let scheme = if is_tls { "https" } else { "http" };
        let authority = match port.filter(|port| *port != standard) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let target = format!("{path}{}", query.unwrap_or_default());
        Ok(Url {
            is_tls,
            host: bare.to_owned(),
            port: port.unwrap_or(standard),
            text: format!("{scheme}://{authority}{target}"),
            authority,
            target,
        })
    }

    /// Who may see what was meant for this site.
    pub(super) fn origin(&self) -> (bool, &str, u16) {
        (self.is_tls, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        let check = |typed: &str, text: &str, host: &str, port: u16| {
            let url = Url::parse(typed).expect(typed);
            assert_eq!(
                (url.text.as_str(), url.host.as_str(), url.port),
                (text, host, port)
            );
        };
        check(
            "localhost:8080",
            "http://localhost:8080/",
            "localhost",
            8080,
        );
        check(
            "HTTP://Example.COM:80/a?b#c",
            "http://example.com/a?b",
            "example.com",
            80,
        );
        check("https://[::1]/a b", "https://[::1]/a%20b", "::1", 443);
        check(
            "example.com/é",
            "http://example.com/%C3%A9",
            "example.com",
            80,
        );
        for wrong in [
            "",
            "ftp://a/",
            "http://",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:99999/",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_a_location_leads() {
        let check = |location: &str, text: &str| {
            let base = Url::parse("http://a:8080/b/c?d").expect("a URL");
            assert_eq!(base.join(location).expect(location).text, text);
        };
        check("/x?y", "http://a:8080/x?y");
        check("x", "http://a:8080/b/x");
        check("../../x", "http://a:8080/x");
        check("//other/x", "http://other/x");
        check("https://other", "https://other/");
        check("?q", "http://a:8080/b/c?q");
    }
}
