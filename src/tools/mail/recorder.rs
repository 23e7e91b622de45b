//! The transcript's file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use super::dialogue::transcript::Line;
use crate::cause;
use crate::output::Output;
use crate::tool::Error;

/// Writes what both sides say, with times; without a file it does nothing.
pub(super) fn recorder(
    out: &Output,
    file: Option<&Path>,
) -> Result<impl FnMut(&Line, Duration), Error> {
    let mut open = match file {
        Some(path) => Some(private_file(path).map_err(|error| {
            let (shown, why) = (path.display(), cause::of(&error));
            Error::Usage(format!("cannot write {shown}: {why}"))
        })?),
        None => None,
    };
    Ok(move |said: &Line, since_start: Duration| {
        let text = said.with_time(since_start);
        let written = open.as_mut().map(|file| file.write_all(text.as_bytes()));
        if let Some(Err(error)) = written {
            // What becomes of the message matters more.
            let why = cause::of(&error);
            out.warn(format!("mail: the transcript is given up: {why}"));
            open = None;
        }
    })
}

/// For its owner only, also where it was there before.
pub(super) fn private_file(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    opened.set_permissions(Permissions::from_mode(0o600))?;
    Ok(opened)
}
