//! The transcript's file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use super::dialogue::transcript::Line;
use crate::cause;
use crate::tool::Error;

/// Writes what both sides say, with times; without a file it does nothing.
pub(super) fn recorder(
    file: Option<&Path>,
) -> Result<impl FnMut(&Line, Duration) -> Result<(), Error> + use<>, Error> {
    let mut open = match file {
        Some(path) => Some(private_file(path).map_err(|error| {
            let (shown, why) = (path.display(), cause::of(&error));
            Error::Usage(format!("cannot write {shown}: {why}"))
        })?),
        None => None,
    };
    Ok(move |said: &Line, since_start: Duration| match &mut open {
        Some(file) => {
            let written = file.write_all(said.with_time(since_start).as_bytes());
            written.map_err(|error| {
                let why = cause::of(&error);
                Error::Unavailable(format!("cannot write the transcript: {why}"))
            })
        }
        None => Ok(()),
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
