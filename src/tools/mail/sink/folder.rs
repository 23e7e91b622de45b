//! Where messages are kept: each whole, under a name of its own that no client has a say in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local};
use rustix::fs::{Access, access};

use crate::cause;
use crate::tool::Error;

/// Of another server with the same folder in the same second, or of one that was killed.
const SAME_NAMES_MAX: u32 = 100;

pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Mail is nobody else's.
    pub(super) fn open(path: &Path) -> Result<Folder, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.and_then(|()| Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?))
            .map_err(|error| {
                let why = cause::of(&error);
                Error::Usage(format!("cannot keep messages in {}: {why}", path.display()))
            })?;
        Ok(Folder {
            path: path.to_owned(),
        })
    }

    /// Writes the parts of a message into one file, which is there once it is whole.
    pub(super) fn keep(
        &self,
        number: u64,
        received: DateTime<Local>,
        parts: &[&[u8]],
    ) -> io::Result<PathBuf> {
        let stamp = received.format("%Y%m%d-%H%M%S");
        for attempt in 1..=SAME_NAMES_MAX {
            let name = match attempt {
                1 => format!("{stamp}-{number:04}"),
                _ => format!("{stamp}-{number:04}-{attempt}"),
            };
            let part = match Part::create(self.path.join(format!(".{name}.part"))) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                part => part?,
            };
            // Whoever has the part has the name, so that nobody takes it meanwhile.
            let file = self.path.join(format!("{name}.eml"));
            if fs::symlink_metadata(&file).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                return part.complete(parts, file);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

/// A file that grows, and is removed unless it is completed.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(path: PathBuf) -> io::Result<Part> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Part { path, file })
    }

    fn complete(mut self, parts: &[&[u8]], name: PathBuf) -> io::Result<PathBuf> {
        for part in parts {
            self.file.write_all(part)?;
        }
        // A full disk shows here at the latest.
        self.file.sync_all()?;
        fs::rename(&self.path, &name)?;
        Ok(name)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Under its own name it is there no more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_overwritten_or_seen_by_others() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("a/sink");
        let received = crate::clock::wall();
        let stamp = received.format("%Y%m%d-%H%M%S").to_string();
        let keep = |octets: &[u8]| {
            let folder = Folder::open(&path).expect("a folder");
            folder
                .keep(7, received, &[octets, b"."])
                .expect("room on the disk")
        };
        let first = keep(b"first");
        // One that was killed left this.
        fs::write(path.join(format!(".{stamp}-0007-2.part")), "half").expect("room");
        let second = keep(b"second");
        assert_eq!(fs::read(&first).expect("it is there"), b"first.");
        assert_eq!(fs::read(&second).expect("it is there"), b"second.");
        let expected = [".part", ".eml", ".eml"];
        let names = names(&path);
        assert_eq!(names.len(), expected.len(), "{names:?}");
        assert_eq!(first, path.join(format!("{stamp}-0007.eml")));
        assert_eq!(second, path.join(format!("{stamp}-0007-3.eml")));
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!((mode(&path) & 0o777, mode(&first) & 0o777), (0o700, 0o600));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(place.path()).expect("a folder");
        let part = place.path().join(".a.part");
        let name = place.path().join("missing/a.eml");
        let completed = Part::create(part).and_then(|part| part.complete(&[b"a"], name));
        assert_eq!(
            completed.expect_err("no folder").kind(),
            ErrorKind::NotFound
        );
        assert!(names(&folder.path).is_empty());
        assert!(Folder::open(Path::new("/dev/null")).is_err());
    }
}
