//! Where a password comes from; never from an argument.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use super::arguments::Arguments;
use super::netrc;
use super::sasl::secret::Secret;
use crate::cancel::Wake;
use crate::tool::{Context, Error};
use crate::web::credentials;
use crate::{cause, clock};

const VARIABLE: &str = "NSH_MAIL_PASSWORD";
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
        return printed(context, command, clock::now() + arguments.deadline);
    }
    if let Some(file) = &arguments.password_file {
        check_mode(file)?;
    } else if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty())
        && let Some(secret) = from_netrc(host, user)?
    {
        return Ok(secret);
    }
    let file = arguments.password_file.as_deref();
    // Else the first line of the text would be taken for the password.
    let is_text_read = arguments.body.is_none()
        && arguments.body_file.is_none()
        && arguments.message.is_none()
        && !std::io::stdin().is_terminal();
    if file.is_none() && std::env::var_os(VARIABLE).is_none() && is_text_read {
        return Err(Error::Usage(format!(
            "no password, and the input is the text; set {VARIABLE}, or give --password-file or \
             --password-command"
        )));
    }
    let prompt = format!("password of {user} at {host}: ");
    let password = credentials::password(context, file, VARIABLE, &prompt)?;
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
    match std::fs::metadata(file) {
        // Who may read a device or a pipe is not for us to say.
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 => {
            Err(Error::NotPermitted(format!(
                "others may read {shown}; 'chmod 600 {shown}' keeps the password a secret"
            )))
        }
        _ => Ok(()),
    }
}

/// The first line that a command prints. It ends with the job, and so does all that it has
/// started.
fn printed(context: &Context, command: &str, deadline: Instant) -> Result<Secret, Error> {
    let cannot = |why: String| Error::Unavailable(format!("--password-command: {why}"));
    // A process group of its own may not read from the terminal. This way it is told so, and is
    // not stopped for ever.
    let script = format!("trap '' TTIN TTOU; {command}");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| cannot(cause::of(&error)))?;
    let mut output = Zeroizing::new(Vec::with_capacity(OCTETS_MAX));
    let ended = read(context, &mut child, &mut output, deadline)
        .and_then(|()| wait(context, &mut child, deadline));
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            kill_group(&mut child);
            return Err(error);
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

/// Until it has said a line. Who it leaves behind may keep the pipe open.
fn read(
    context: &Context,
    child: &mut Child,
    output: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), Error> {
    let cannot = |why: String| Error::Unavailable(format!("--password-command: {why}"));
    let Some(stdout) = &mut child.stdout else {
        return Ok(());
    };
    while !output.contains(&b'\n') {
        let cancel = &context.cancel;
        if cancel.wait(stdout.as_fd(), PollFlags::POLLIN, Some(deadline))? == Wake::TimedOut {
            return Err(too_slow());
        }
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
    Ok(())
}

/// Until it has ended; what else it says is for nobody.
fn wait(context: &Context, child: &mut Child, deadline: Instant) -> Result<ExitStatus, Error> {
    let cannot = |error| Error::Unavailable(format!("--password-command: {}", cause::of(&error)));
    loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            return Ok(status);
        }
        if clock::now() >= deadline {
            return Err(too_slow());
        }
        let (cancel, soon) = (&context.cancel, clock::now() + MOMENT);
        let Some(stdout) = &mut child.stdout else {
            cancel.sleep_until(soon)?;
            continue;
        };
        let wake = cancel.wait(stdout.as_fd(), PollFlags::POLLIN, Some(soon))?;
        let mut buffer = Zeroizing::new([0; 1024]);
        if wake == Wake::Ready && !matches!(stdout.read(&mut *buffer), Ok(1..)) {
            child.stdout = None;
        }
    }
}

fn too_slow() -> Error {
    Error::TimedOut("--password-command: it has not ended within --deadline".to_owned())
}

/// `child` has not been waited for, so that the group is still its own.
fn kill_group(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}
