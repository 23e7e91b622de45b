//! Messages that must not get lost.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use super::letter::Letter;
use super::report::Event;
use crate::cause;
use crate::home;
use crate::net::random;
use crate::tool::Context;

/// For its recipients, and says how it is sent to them again.
pub(super) fn keep(context: &Context, letter: &Letter, may_have_arrived: bool) {
    let kept = match &letter.file {
        Some(file) => Ok(file.clone()),
        None => write(letter),
    };
    match kept {
        Ok(file) => context.out.emit(&Event::Kept {
            file: file.display().to_string(),
            recipients: letter.recipients.iter().map(ToString::to_string).collect(),
            may_have_arrived,
        }),
        // What has become of the message matters more.
        Err(why) => context
            .out
            .warn(format!("mail: the message is not kept: {why}")),
    }
}

/// In a file that its owner alone can read.
fn write(letter: &Letter) -> Result<PathBuf, String> {
    let folder = home::state_folder().ok_or("there is no home folder")?;
    let folder = folder.join("drafts");
    let file = folder.join(format!("{:016x}{:016x}.eml", random(), random()));
    let cannot = |error: std::io::Error| format!("{}: {}", file.display(), cause::of(&error));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(cannot)?;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut kept| kept.write_all(&letter.octets))
        .map_err(cannot)?;
    Ok(file)
}
