//! Messages that must not get lost.

use std::borrow::Cow;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use super::arguments::Arguments;
use super::letter::Letter;
use super::report::Event;
use crate::cause;
use crate::home;
use crate::net::random;
use crate::tool::Context;

/// For its recipients, and says how it is sent to them again.
pub(super) fn keep(
    context: &Context,
    arguments: &Arguments,
    letter: &Letter,
    may_have_arrived: bool,
) {
    let kept = match &letter.file {
        Some(file) => Ok(file.clone()),
        None => write(letter),
    };
    match kept {
        Ok(file) => {
            let file = file.display().to_string();
            let recipients = letter.recipients.iter().map(ToString::to_string);
            let recipients: Vec<String> = recipients.collect();
            let mut words = vec!["mail".to_owned()];
            words.extend(arguments.way());
            words.extend(["--message".to_owned(), file.clone()]);
            words.extend(["--to".to_owned(), recipients.join(",")]);
            let words = words.iter().map(|word| quoted(word));
            let again = words.collect::<Vec<_>>().join(" ");
            context.out.emit(&Event::Kept {
                file,
                recipients,
                may_have_arrived,
                again,
            });
        }
        // What has become of the message matters more.
        Err(why) => context
            .out
            .warn(format!("mail: the message is not kept: {why}")),
    }
}

/// As a line of a shell has it.
fn quoted(text: &str) -> Cow<'_, str> {
    shlex::try_quote(text).unwrap_or(text.into())
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
