//! Where this user's programs keep their files.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/nsh`; a relative one does not count (XDG Base Directory Specification).
pub(crate) fn state_folder() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = match named.filter(|path| path.is_absolute()) {
        Some(state) => state,
        None => std::env::home_dir()?.join(".local/state"),
    };
    Some(state.join("nsh")).filter(|folder| folder.is_absolute())
}
