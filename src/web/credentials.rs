//! A user and a password, RFC 7617: where the password comes from, and whether a client has it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cause;
use crate::tool::{Context, Error};

/// More than any password has, of a file that may have no end.
const FILE_OCTETS_MAX: usize = 64 << 10;

pub(crate) struct Credentials {
    pub(crate) user: String,
    /// Of `user:password`: comparing digests tells nothing of the length.
    digest: [u8; 32],
}

impl Credentials {
    pub(crate) fn new(user: &str, password: &str) -> Credentials {
        let both = Zeroizing::new(format!("{user}:{password}"));
        Credentials {
            user: user.to_owned(),
            digest: Sha256::digest(both.as_bytes()).into(),
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
) -> Result<Zeroizing<String>, Error> {
    if let Some(file) = file {
        return first_line(file);
    }
    match std::env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(Zeroizing::new(password)),
        _ => {
            let instead = format!("set {variable} or give --password-file");
            ask(context, prompt, &instead)
        }
    }
}

fn first_line(file: &Path) -> Result<Zeroizing<String>, Error> {
    let cannot = |why: String| Error::Usage(format!("cannot read {}: {why}", file.display()));
    let mut octets = Zeroizing::new(Vec::with_capacity(FILE_OCTETS_MAX));
    // One that a shell has made for this command (/dev/fd/63) has somebody who writes into it.
    let is_pipe = std::fs::metadata(file).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_pipe && !file.starts_with("/dev") && !file.starts_with("/proc") {
        return Err(cannot("it is a pipe".to_owned()));
    }
    File::open(file)
        .and_then(|file| file.take(FILE_OCTETS_MAX as u64).read_to_end(&mut octets))
        .map_err(|error| cannot(cause::of(&error)))?;
    let line = octets
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() == FILE_OCTETS_MAX {
        return Err(cannot("its first line is too long".to_owned()));
    }
    match std::str::from_utf8(line) {
        Err(_) => Err(Error::Usage(format!("{} is not UTF-8", file.display()))),
        Ok("") => Err(Error::Usage(format!(
            "{} begins with an empty line",
            file.display()
        ))),
        Ok(line) => Ok(Zeroizing::new(line.to_owned())),
    }
}

pub(crate) fn ask(
    context: &Context,
    prompt: &str,
    instead: &str,
) -> Result<Zeroizing<String>, Error> {
    let answer = context.input.ask(&context.cancel, prompt, true, instead)?;
    match answer.map(Zeroizing::new) {
        Some(answer) if !answer.is_empty() => Ok(answer),
        _ => Err(Error::Usage(format!("no password; {instead}"))),
    }
}

/// Of `--auth`.
pub(crate) fn parse_user(text: &str) -> Result<String, &'static str> {
    match text.contains(':') || text.is_empty() {
        true => Err("the name only: the password comes from the environment or a file"),
        false => Ok(text.to_owned()),
    }
}
