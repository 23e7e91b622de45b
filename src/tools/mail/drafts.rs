//! Messages that must not get lost.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::compose::Letter;
use super::recorder::private_file;
use crate::cause;
use crate::tool::Error;

/// In a file that its owner alone can read.
pub(super) fn keep(letter: &Letter) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/state");
    let folder = folder
        .filter(|folder| folder.is_absolute())
        .unwrap_or_else(home);
    let folder = folder.join("nsh/drafts");
    let name: String = letter
        .message_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(32)
        .collect();
    let file = folder.join(format!("{name}.eml"));
    let cannot = |error: std::io::Error| {
        Error::Unavailable(format!(
            "cannot keep {}: {}",
            file.display(),
            cause::of(&error)
        ))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(cannot)?;
    private_file(&file)
        .and_then(|mut kept| kept.write_all(&letter.octets))
        .map_err(cannot)?;
    Ok(file)
}
