//! AUTH PLAIN (RFC 4616) and LOGIN as a server sees them that believes everybody, RFC 4954.
//!
//! The user name is kept to show it, the password is only looked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the client's next line answers.
pub(crate) enum Exchange {
    Plain,
    LoginUser,
    LoginPassword { user: String },
}

pub(crate) enum Step {
    /// The text of the 334 reply, and what its answer is.
    Challenge(&'static str, Exchange),
    Authenticated {
        user: String,
    },
}

/// Shown as the reply to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("504 5.5.4 the mechanism is not offered")]
    Mechanism,
    #[error("501 5.7.0 the authentication is cancelled")]
    Cancelled,
    #[error("501 5.5.2 this is not base64")]
    Base64,
    #[error("501 5.5.2 these are not a user name and a password")]
    Malformed,
    #[error("535 5.7.8 the user name or the password is empty")]
    Empty,
}

/// "Username:" and "Password:".
const LOGIN_USER: &str = "VXNlcm5hbWU6";
const LOGIN_PASSWORD: &str = "UGFzc3dvcmQ6";

impl Exchange {
    pub(crate) fn begin(mechanism: &str, initial_response: Option<&str>) -> Result<Step, Error> {
        let (exchange, challenge) = match &*mechanism.to_ascii_uppercase() {
            "PLAIN" => (Exchange::Plain, ""),
            "LOGIN" => (Exchange::LoginUser, LOGIN_USER),
            _ => return Err(Error::Mechanism),
        };
        match initial_response {
            None => Ok(Step::Challenge(challenge, exchange)),
            // RFC 4954 section 4: a response without octets.
            Some("=") => exchange.on_response(""),
            Some(response) => exchange.on_response(response),
        }
    }

    pub(crate) fn on_response(self, response: &str) -> Result<Step, Error> {
        if response == "*" {
            return Err(Error::Cancelled);
        }
        let decoded = STANDARD.decode(response).map_err(|_| Error::Base64)?;
        let text = String::from_utf8(decoded).map_err(|_| Error::Malformed)?;
        match self {
            Exchange::Plain => {
                let parts: Vec<&str> = text.split('\0').collect();
                let [_authorization, user, password] = parts[..] else {
                    return Err(Error::Malformed);
                };
                authenticate(user.to_owned(), password)
            }
            Exchange::LoginUser => {
                let exchange = Exchange::LoginPassword { user: text };
                Ok(Step::Challenge(LOGIN_PASSWORD, exchange))
            }
            Exchange::LoginPassword { user } => authenticate(user, &text),
        }
    }
}

fn authenticate(user: String, password: &str) -> Result<Step, Error> {
    match user.is_empty() || password.is_empty() {
        true => Err(Error::Empty),
        false => Ok(Step::Authenticated { user }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The challenges and the user, or how it ends instead.
    #[track_caller]
    fn check(command: &[&str], responses: &[&str], expected: &str) {
        let mut shown = String::new();
        let mut responses = responses.iter();
        let mut step = Exchange::begin(command[0], command.get(1).copied());
        loop {
            step = match step {
                Ok(Step::Challenge(text, exchange)) => {
                    shown += &format!("[{text}] ");
                    exchange.on_response(responses.next().expect("a response"))
                }
                Ok(Step::Authenticated { user }) => break shown += &user,
                Err(error) => break shown += &error.to_string()[..9],
            };
        }
        assert_eq!(shown, expected);
    }

    #[test]
    fn exchanges() {
        // "\0ann\0secret", "ann" and "secret".
        check(&["PLAIN", "AGFubgBzZWNyZXQ="], &[], "ann");
        check(&["plain"], &["AGFubgBzZWNyZXQ="], "[] ann");
        let challenges = "[VXNlcm5hbWU6] [UGFzc3dvcmQ6] ann";
        check(&["LOGIN"], &["YW5u", "c2VjcmV0"], challenges);
        check(&["Login", "YW5u"], &["c2VjcmV0"], "[UGFzc3dvcmQ6] ann");
    }

    #[test]
    fn failures() {
        check(&["CRAM-MD5"], &[], "504 5.5.4");
        check(&["PLAIN"], &["*"], "[] 501 5.7.0");
        check(&["PLAIN", "?"], &[], "501 5.5.2");
        check(&["PLAIN", "="], &[], "501 5.5.2");
        check(&["PLAIN", "YW5u"], &[], "501 5.5.2");
        // "\0ann\0", and "ann\xff".
        check(&["PLAIN", "AGFubgA="], &[], "535 5.7.8");
        check(&["PLAIN", "YW5u/w=="], &[], "501 5.5.2");
        check(&["LOGIN", "="], &["c2VjcmV0"], "[UGFzc3dvcmQ6] 535 5.7.8");
    }
}
