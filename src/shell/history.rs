//! The lines typed at the prompt: in memory, and in a file only its owner can read.
//!
//! A line that starts with a space, or seems to hold a secret, is not kept.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::home;

/// Lines kept in memory and in the file.
pub(super) const LINES_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct History {
    pub(crate) lines: Vec<String>,
}

impl History {
    pub(super) fn add(&mut self, line: &str) {
        if self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        if self.lines.len() > LINES_MAX {
            self.lines.remove(0);
        }
    }
}

/// `$XDG_STATE_HOME/nsh/history`, its folder made where it is missing and can be.
pub(super) fn file() -> Option<PathBuf> {
    let folder = home::state_folder()?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .ok()?;
    Some(folder.join("history"))
}

/// For its owner only, whoever made it.
pub(super) fn keep_private(path: &Path) {
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
}

/// Whether the line may be kept.
pub(super) fn is_kept(line: &str) -> bool {
    !line.starts_with([' ', '\t']) && !line.trim().is_empty() && !holds_secret(line)
}

/// `set TOKEN=...`, `--password ...`, `http://user:secret@host/`.
fn holds_secret(line: &str) -> bool {
    line.split_whitespace().any(|word| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let is_given = !value.is_empty() || name.starts_with("--");
        (is_given && names_secret(name)) || has_url_password(word)
    })
}

fn names_secret(name: &str) -> bool {
    const NAMES: [&str; 5] = ["pass", "secret", "token", "apikey", "credential"];
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    name.ends_with("pw") || NAMES.iter().any(|secret| name.contains(secret))
}

fn has_url_password(word: &str) -> bool {
    let authority = word
        .split_once("://")
        .map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let user = authority
        .and_then(|authority| authority.rsplit_once('@'))
        .map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_lines_with_a_leading_space_are_not_kept() {
        for kept in [
            "ping 127.0.0.1",
            "set X=1",
            "echo a@b:c",
            "get http://h/p@x:y",
            "help password",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for dropped in [
            " ping 127.0.0.1",
            "",
            "  ",
            "set MAIL_PASSWORD=hunter2",
            "set API_KEY=1",
            "x --password=hunter2",
            "x --password hunter2",
            "set MAIL_PW=hunter2",
            "get https://me:hunter2@host/",
        ] {
            assert!(!is_kept(dropped), "{dropped}");
        }
    }
}
