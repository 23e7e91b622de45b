//! The folder of a store: which one is good enough, and whose files are whose.
//!
//! Files lie two folders deep, named by hashes alone; a response that is not complete yet is a
//! `tmp-` file at the top. Whatever has another name is the user's, and is left as it is.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RawMode};
use rustix::fs::{flock, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::meta::Meta;
use crate::cause;

const TAG_NAME: &str = "CACHEDIR.TAG";
/// So that backups leave the folder out: <https://bford.info/cachedir/>.
const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by nsh.
# For information about cache directory tags, see https://bford.info/cachedir/
";
const LOCK_NAME: &str = "lock";
const TEMPORARY: &str = "tmp-";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(HERE);
const HERE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot use {} as a cache: {}", .0.display(), cause::of(.1))]
    Io(PathBuf, io::Error),
    #[error("cannot use {} as a cache: it is a symbolic link; name the folder it leads to", .0.display())]
    Link(PathBuf),
    #[error("cannot use {} as a cache: it belongs to another user; choose another folder", .0.display())]
    Owner(PathBuf),
    #[error("cannot use {path} as a cache: everybody may write to it; try: chmod o-w {path}", path = .0.display())]
    Writable(PathBuf),
    #[error("cannot use {} as a cache: another proxy uses it", .0.display())]
    InUse(PathBuf),
    #[error("cannot use {} as a cache: it has other things in it; name an empty folder, or a new one", .0.display())]
    Occupied(PathBuf),
}

/// The name of an entry's file. The serial number makes it one of a kind, so that no one who
/// has an older entry in hand can read or remove the file of a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) url: u128,
    pub(super) selecting: u64,
    pub(super) serial: u64,
}

impl Name {
    pub(super) fn new(meta: &Meta, serial: u64) -> Name {
        let mut selecting = Sha256::new();
        for (name, value) in &meta.selecting {
            // With their lengths, so that no other pairs give the same octets.
            for octets in [name.as_bytes(), value] {
                selecting.update((octets.len() as u64).to_be_bytes());
                selecting.update(octets);
            }
        }
        Name {
            url: hash_url(&meta.url),
            selecting: (leading(selecting) >> 64) as u64,
            serial,
        }
    }

    fn parse(text: &str) -> Option<Name> {
        let mut parts = text.splitn(3, '-');
        let name = Name {
            url: u128::from_str_radix(parts.next()?, 16).ok()?,
            selecting: u64::from_str_radix(parts.next()?, 16).ok()?,
            serial: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        (name.to_string() == text).then_some(name)
    }

    /// The two folders.
    fn folders(&self) -> [String; 2] {
        [124, 120].map(|shift| format!("{:x}", (self.url >> shift) & 0xf))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name {
            url,
            selecting,
            serial,
        } = self;
        write!(f, "{url:032x}-{selecting:016x}-{serial:016x}")
    }
}

pub(super) fn hash_url(url: &str) -> u128 {
    leading(Sha256::new_with_prefix(url))
}

fn leading(hash: Sha256) -> u128 {
    let digest: [u8; 32] = hash.finalize().into();
    u128::from_be_bytes(*digest.first_chunk().expect("it is longer"))
}

pub(super) struct Folder {
    root: OwnedFd,
    owner: u32,
    /// Open as long as the folder is in use, which is what locks it.
    _lock: File,
}

/// A tag in a folder of somebody's own would make his backups leave it out.
fn is_ours(path: &Path) -> io::Result<bool> {
    if path.join(TAG_NAME).exists() {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.as_bytes();
        // A disk of its own has a `lost+found`.
        let may_stay =
            name.starts_with(b".") || name.starts_with(b"README") || name == b"lost+found";
        if !may_stay {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder, Error> {
        let failed = |error: io::Error| Error::Io(path.to_owned(), error);
        // Without a slash at its end, which would follow a symbolic link.
        let path: PathBuf = path.components().collect();
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&path);
        let root = match rustix::fs::open(&path, FOLDER, Mode::empty()) {
            Ok(root) => root,
            Err(_) if path.is_symlink() => return Err(Error::Link(path)),
            Err(error) => return Err(failed(made.err().unwrap_or(error.into()))),
        };
        let stat = fstat(&root).map_err(|error| failed(error.into()))?;
        let user = geteuid();
        if stat.st_uid != user.as_raw() && !user.is_root() {
            return Err(Error::Owner(path));
        }
        if Mode::from_raw_mode(stat.st_mode as RawMode).contains(Mode::WOTH) {
            return Err(Error::Writable(path));
        }
        if !is_ours(&path).map_err(failed)? {
            return Err(Error::Occupied(path));
        }
        let lock = match lock(root.as_fd()) {
            Ok(lock) => lock,
            Err(Errno::WOULDBLOCK) => return Err(Error::InUse(path)),
            Err(error) => return Err(failed(error.into())),
        };
        let folder = Folder {
            root,
            owner: stat.st_uid,
            _lock: lock,
        };
        folder.tag().map_err(failed)?;
        Ok(folder)
    }

    fn tag(&self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | HERE;
        match openat(&self.root, TAG_NAME, flags, Mode::from_raw_mode(0o644)) {
            Ok(tag) => File::from(tag).write_all_at(TAG, 0),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what was never completed, and shows each entry's file.
    pub(super) fn scan(&self, mut each: impl FnMut(Name, io::Result<File>)) -> io::Result<()> {
        for name in names(self.root.as_fd())? {
            let serial = name.strip_prefix(TEMPORARY);
            let serial = serial.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if serial.is_some_and(|serial| temporary(serial) == name) {
                unlinkat(&self.root, &name, AtFlags::empty())?;
            }
        }
        for outer in fan_out(self.root.as_fd())? {
            for inner in fan_out(outer.1.as_fd())? {
                for text in names(inner.1.as_fd())? {
                    let name = Name::parse(&text);
                    let here = [&outer.0, &inner.0];
                    if let Some(name) = name.filter(|name| name.folders().each_ref() == here) {
                        each(name, self.open_in(inner.1.as_fd(), &text, OFlags::RDONLY));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn file(&self, name: &Name) -> io::Result<File> {
        self.open_in(self.leaf(name)?.as_fd(), &name.to_string(), OFlags::RDONLY)
    }

    pub(super) fn file_for_writing(&self, name: &Name) -> io::Result<File> {
        self.open_in(self.leaf(name)?.as_fd(), &name.to_string(), OFlags::RDWR)
    }

    pub(super) fn create_temporary(&self, serial: u64) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | HERE;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(openat(&self.root, temporary(serial), flags, mode)?.into())
    }

    pub(super) fn remove_temporary(&self, serial: u64) {
        // At the next start otherwise.
        let _ = unlinkat(&self.root, temporary(serial), AtFlags::empty());
    }

    /// Gives a temporary file its name.
    pub(super) fn complete(&self, name: &Name) -> io::Result<()> {
        let leaf = match self.leaf(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_leaf(name)?,
            leaf => leaf?,
        };
        let temporary = temporary(name.serial);
        Ok(renameat(&self.root, temporary, leaf, name.to_string())?)
    }

    pub(super) fn remove(&self, name: &Name) {
        if let Ok(leaf) = self.leaf(name) {
            let _ = unlinkat(leaf, name.to_string(), AtFlags::empty());
        }
    }

    fn leaf(&self, name: &Name) -> io::Result<OwnedFd> {
        let [outer, inner] = name.folders();
        let outer = openat(&self.root, outer, FOLDER, Mode::empty())?;
        Ok(openat(outer, inner, FOLDER, Mode::empty())?)
    }

    fn make_leaf(&self, name: &Name) -> io::Result<OwnedFd> {
        let make = |folder: BorrowedFd<'_>, name: String| {
            match mkdirat(folder, &name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            openat(folder, name, FOLDER, Mode::empty())
        };
        let [outer, inner] = name.folders();
        let outer = make(self.root.as_fd(), outer)?;
        Ok(make(outer.as_fd(), inner)?)
    }

    fn open_in(&self, folder: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<File> {
        // A named pipe must not hold anybody up.
        let flags = flags | OFlags::NONBLOCK | HERE;
        let file = openat(folder, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode as RawMode) == FileType::RegularFile;
        // The folder may be open to a group; what others put there is not ours.
        let is_ours = stat.st_uid == self.owner || stat.st_uid == geteuid().as_raw();
        match is_file && is_ours {
            true => Ok(file.into()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

fn lock(root: BorrowedFd<'_>) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | HERE;
    let lock = openat(root, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock.into())
}

fn temporary(serial: u64) -> String {
    format!("{TEMPORARY}{serial:016x}")
}

/// The folders of one hexadecimal digit.
fn fan_out(folder: BorrowedFd<'_>) -> io::Result<Vec<(String, OwnedFd)>> {
    let mut found = Vec::new();
    for digit in "0123456789abcdef".chars().map(String::from) {
        match openat(folder, &digit, FOLDER, Mode::empty()) {
            Ok(inner) => found.push((digit, inner)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        // No name of ours is anything but ASCII.
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::Store;
    use super::super::tests::{MEMORY_MAX, OCTETS_MAX, folder, open};
    use super::*;

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = folder();
        let name = "0123456789abcdef0123456789abcdef-0123456789abcdef-0000000000000001";
        let kept = [
            "README.md",
            "tmp-notes",
            "tmp-1",
            "0/README.md",
            "0/1/README.md",
            "0/1/0123456789abcdef0123456789abcdef",
            &format!("1/0/{name}"),
            &format!("0/1/{}", name.to_uppercase()),
            &format!("{name}/file"),
        ];
        let path = |name: &str| folder.path().join(name);
        for name in kept {
            fs::create_dir_all(path(name).parent().expect("a folder")).expect("room");
            fs::write(path(name), "mine").expect("room");
        }
        let refused: Result<Store<()>, Error> = Store::open(folder.path(), OCTETS_MAX, MEMORY_MAX);
        assert!(matches!(refused.err(), Some(Error::Occupied(_))));
        fs::write(path("CACHEDIR.TAG"), TAG).expect("room");
        symlink("README.md", path("0/1").join(name)).expect("room");
        symlink("0", path("2")).expect("room");
        let ours = path("0/1").join(name.replace("-0123", "-1123"));
        fs::write(&ours, "not what it should be").expect("room");
        drop(open(&folder));
        open(&folder).purge_all();
        for name in kept {
            assert_eq!(fs::read_to_string(path(name)).expect(name), "mine");
        }
        assert!(path("2").is_symlink() && path("0/1").join(name).is_symlink() && !ours.exists());
        let tag = fs::read(path("CACHEDIR.TAG")).expect("a tag");
        assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55\n"));
    }

    #[test]
    fn a_folder_that_is_not_good_enough_is_refused() {
        let folder = folder();
        let refused = |path: &Path| {
            let opened: Result<Store<()>, Error> = Store::open(path, OCTETS_MAX, MEMORY_MAX);
            opened.err().map(|error| {
                error
                    .to_string()
                    .replace(&folder.path().display().to_string(), ".")
            })
        };
        let path = folder.path().join("new/cache");
        let store = Store::<()>::open(&path, OCTETS_MAX, MEMORY_MAX).expect("a store");
        let mode = path.metadata().expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let message = "cannot use ./new/cache as a cache: another proxy uses it";
        assert_eq!(refused(&path).as_deref(), Some(message));
        drop(store);
        assert_eq!(refused(&path), None);
        symlink("new/cache", folder.path().join("link")).expect("room");
        let message =
            "cannot use ./link as a cache: it is a symbolic link; name the folder it leads to";
        assert_eq!(
            refused(&folder.path().join("link/")).as_deref(),
            Some(message)
        );
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("a folder");
        let message = "cannot use ./new/cache as a cache: everybody may write to it; try: chmod o-w ./new/cache";
        assert_eq!(refused(&path).as_deref(), Some(message));
        fs::write(folder.path().join("file"), "").expect("room");
        let message = "cannot use ./file as a cache: File exists";
        assert_eq!(
            refused(&folder.path().join("file")).as_deref(),
            Some(message)
        );
    }
}
