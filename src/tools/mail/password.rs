//! Where a password comes from; never from an argument.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::PollFlags;
use zeroize::Zeroizing;

use super::arguments::Arguments;
use super::netrc;
use super::sasl::secret::Secret;
use crate::tool::{Context, Error};
use crate::web::credentials;
use crate::{cause, clock};

const VARIABLE: &str = "NSH_MAIL_PASSWORD";
const PROMPT: &str = "password: ";
const MOMENT: Duration = Duration::from_millis(10);
/// More than any token has.
const OCTETS_MAX: usize = 64 << 10;

pub(super) fn find(
    context: &Context,
    arguments: &Arguments,
    host: &str,
    user: &str,
) -> Result<Secret, Error> {
    if let Some(command) = &arguments.password_command {
        return printed(context, command);
    }
    if let Some(file) = &arguments.password_file {
        check_mode(file)?;
    } else if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty())
        && let Some(secret) = from_netrc(host, user)?
    {
        return Ok(secret);
    }
    let file = arguments.password_file.as_deref();
    let password = credentials::password(context, file, VARIABLE, PROMPT)?;
    Ok(Secret::new(password.as_bytes()))
}

fn from_netrc(host: &str, user: &str) -> Result<Option<Secret>, Error> {
    let Some(home) = std::env::var_os("HOME") else {
        return Ok(None);
    };
    let file = PathBuf::from(home).join(".netrc");
    let Ok(text) = std::fs::read(&file).map(Zeroizing::new) else {
        return Ok(None);
    };
    let found = netrc::password(&String::from_utf8_lossy(&text), host, user);
    let found = found.map(|password| Secret::new(password.as_bytes()));
    if found.is_some() {
        check_mode(&file)?;
    }
    Ok(found)
}

fn check_mode(file: &Path) -> Result<(), Error> {
    let shown = file.display();
    let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode());
    match mode {
        Ok(mode) if mode & 0o077 != 0 => Err(Error::NotPermitted(format!(
            "others may read {shown}; 'chmod 600 {shown}' keeps the password a secret"
        ))),
        _ => Ok(()),
    }
}

/// The first line that a command prints, which ends with the job.
fn printed(context: &Context, command: &str) -> Result<Secret, Error> {
    let cannot = |why: String| Error::Unavailable(format!("--password-command: {why}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| cannot(cause::of(&error)))?;
    let mut output = Zeroizing::new(Vec::with_capacity(OCTETS_MAX));
    let read = child.stdout.take().map(|mut stdout| {
        loop {
            let waited = context.cancel.wait(stdout.as_fd(), PollFlags::POLLIN, None);
            waited.map_err(Error::from)?;
            let mut buffer = Zeroizing::new([0; 1024]);
            match stdout.read(&mut *buffer) {
                Ok(0) => return Ok(()),
                Ok(count) if output.len() + count <= OCTETS_MAX => {
                    output.extend_from_slice(&buffer[..count]);
                }
                Ok(_) => return Err(cannot("it prints too much".to_owned())),
                Err(error) => return Err(cannot(cause::of(&error))),
            }
        }
    });
    if let Some(Err(error)) = read {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    // It has said all, but may not have ended.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {
                let soon = clock::now() + MOMENT;
                if let Err(cancelled) = context.cancel.sleep_until(soon) {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(cancelled.into());
                }
            }
            Err(error) => return Err(cannot(cause::of(&error))),
        }
    };
    let first = output
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    match first.strip_suffix(b"\r").unwrap_or(first) {
        _ if !status.success() => Err(cannot(format!("it ended with {status}"))),
        [] => Err(cannot("it printed nothing".to_owned())),
        first => Ok(Secret::new(first)),
    }
}
