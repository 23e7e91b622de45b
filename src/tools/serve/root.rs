//! Opening files below a folder and nowhere else, whatever symbolic links say.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{Mode, OFlags, fstat, stat};
use rustix::io::Errno;

/// The kernel gives up when names change while it looks.
const TRIES_MAX: usize = 8;

pub(super) struct Root {
    path: PathBuf,
    folder: RwLock<Arc<OwnedFd>>,
}

impl Root {
    pub(super) fn open(folder: &Path) -> io::Result<Root> {
        let path = std::path::absolute(folder)?;
        let folder = RwLock::new(Arc::new(open_folder(&path)?));
        Ok(Root { path, folder })
    }

    /// The folder that has the path now: a build may delete it and make it anew.
    fn folder(&self) -> Result<Arc<OwnedFd>, Errno> {
        let known = {
            let folder = self.folder.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&folder)
        };
        let (now, then) = (stat(&self.path)?, fstat(&known)?);
        if (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino) {
            return Ok(known);
        }
        let opened = Arc::new(open_folder(&self.path)?);
        let mut folder = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        *folder = Arc::clone(&opened);
        Ok(opened)
    }

    /// Opens `relative` for reading. A link may lead anywhere inside the root if it is relative.
    pub(super) fn file(&self, relative: &[u8]) -> io::Result<File> {
        // A named pipe without a writer must not hold anybody up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(beneath(&*self.folder()?, relative, flags)?.into())
    }

    /// Where a name in an open folder of this root leads, without opening it.
    pub(super) fn place(&self, relative: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(beneath(&*self.folder()?, relative, flags)?)
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(target_os = "linux")]
fn beneath(folder: &OwnedFd, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let name = OsStr::from_bytes(relative);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        match openat2(folder, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Before Linux 5.6, or where a sandbox does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return walk(folder, relative, flags),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(not(target_os = "linux"))]
fn beneath(folder: &OwnedFd, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    walk(folder, relative, flags)
}

/// Name by name, following no link at all.
fn walk(folder: impl AsFd, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let open = |folder: &dyn AsFd, name: &[u8], flags: OFlags| {
        let name = OsStr::from_bytes(name);
        rustix::fs::openat(
            folder.as_fd(),
            name,
            flags | OFlags::NOFOLLOW,
            Mode::empty(),
        )
    };
    let mut names = relative.split(|octet| *octet == b'/');
    let last = names.next_back().unwrap_or(b".");
    let through = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut inner: Option<OwnedFd> = None;
    for name in names {
        inner = Some(match &inner {
            None => open(&folder, name, through)?,
            Some(outer) => open(outer, name, through)?,
        });
    }
    match &inner {
        None => open(&folder, last, flags),
        Some(outer) => open(outer, last, flags),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::super::path;
    use super::*;

    fn tree() -> tempfile::TempDir {
        let outer = tempfile::tempdir().expect("a folder");
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).expect("room");
        fs::write(outer.path().join("secret"), "secret").expect("room");
        fs::write(root.join("a/b/file"), "inside").expect("room");
        symlink("b/file", root.join("a/link")).expect("room");
        symlink("../../secret", root.join("a/out")).expect("room");
        symlink(outer.path().join("secret"), root.join("absolute")).expect("room");
        symlink("..", root.join("up")).expect("room");
        symlink("/proc/self/root", root.join("magic")).expect("room");
        outer
    }

    fn read<E>(file: Result<impl Into<File>, E>) -> Option<String> {
        let mut text = String::new();
        file.ok()?.into().read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn links_lead_nowhere_but_inside() {
        let tree = tree();
        let root = Root::open(&tree.path().join("root")).expect("a folder");
        assert_eq!(read(root.file(b"a/b/file")).as_deref(), Some("inside"));
        assert_eq!(read(root.file(b"a/link")).as_deref(), Some("inside"));
        let outside: [&[u8]; 6] = [
            b"a/out",
            b"absolute",
            b"up/secret",
            b"magic/etc/passwd",
            b"../secret",
            b"/etc/passwd",
        ];
        for name in outside {
            assert_eq!(read(root.file(name)), None, "{}", name.escape_ascii());
            let walked = walk(&*root.folder().expect("a folder"), name, OFlags::RDONLY);
            assert!(name.starts_with(b".") || name.starts_with(b"/") || walked.is_err());
        }
        assert_eq!(
            read(walk(
                &*root.folder().expect("a folder"),
                b"a/b/file",
                OFlags::RDONLY
            ))
            .as_deref(),
            Some("inside")
        );
        assert!(
            walk(
                &*root.folder().expect("a folder"),
                b"a/link",
                OFlags::RDONLY
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_target_opens_a_file_outside(
            target in r"(/|\.|%2e|%2F|\\|%5c|%00|a|b|file|link|out|absolute|up|magic|secret|etc|passwd|\PC){1,12}",
        ) {
            let tree = tree();
            let root = Root::open(&tree.path().join("root")).expect("a folder");
            if let Ok(path) = path::Path::parse(target.as_bytes()) {
                for opened in [
                    root.file(&path.relative()).ok(),
                    walk(&*root.folder().expect("a folder"), &path.relative(), OFlags::RDONLY).ok().map(File::from),
                ] {
                    let Some(file) = opened else { continue };
                    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
                    let place = fs::read_link(name).expect("proc");
                    let inside = fs::canonicalize(tree.path().join("root")).expect("a folder");
                    prop_assert!(place.starts_with(&inside), "{target} is {place:?}");
                }
            }
        }
    }
}
