//! A user and a password, RFC 7617: where the password comes from, and whether a client has it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cause;
use crate::tool::{Context, Error};

pub(crate) struct Credentials {
    pub(crate) user: String,
    /// Of `user:password`: comparing digests tells nothing of the length.
    digest: [u8; 32],
}

impl Credentials {
    pub(crate) fn new(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            digest: Sha256::digest(format!("{user}:{password}")).into(),
        }
    }

    /// Whether a field Authorization or Proxy-Authorization has them.
    pub(crate) fn match_field(&self, field: Option<&[u8]>) -> bool {
        let given = field.and_then(decode_basic);
        let digest: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        digest.ct_eq(&self.digest).into()
    }
}

fn decode_basic(field: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(credentials.trim_ascii()).ok()
}

/// From a file's first line, the environment, or whoever sits at the terminal.
pub(crate) fn password(
    context: &Context,
    file: Option<&Path>,
    variable: &str,
    prompt: &str,
) -> Result<String, Error> {
    if let Some(file) = file {
        return first_line(file);
    }
    match std::env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(password),
        _ => {
            let instead = format!("set {variable} or give --password-file");
            ask(context, prompt, &instead)
        }
    }
}

fn first_line(file: &Path) -> Result<String, Error> {
    let text = std::fs::read(file).map_err(|error| {
        let why = cause::of(&error);
        Error::Usage(format!("cannot read {}: {why}", file.display()))
    })?;
    let text = String::from_utf8(text)
        .map_err(|_| Error::Usage(format!("{} is not UTF-8", file.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Error::Usage(format!(
            "{} begins with an empty line",
            file.display()
        ))),
    }
}

pub(crate) fn ask(context: &Context, prompt: &str, instead: &str) -> Result<String, Error> {
    let answer = context.input.ask(&context.cancel, prompt, true, instead)?;
    let given = answer.filter(|answer| !answer.is_empty());
    given.ok_or_else(|| Error::Usage(format!("no password; {instead}")))
}

/// Of `--auth`.
pub(crate) fn parse_user(text: &str) -> Result<String, &'static str> {
    match text.contains(':') || text.is_empty() {
        true => Err("the name only: the password comes from the environment or a file"),
        false => Ok(text.to_owned()),
    }
}
