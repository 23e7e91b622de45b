//! A response on its way into the store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::file::emit_tail;
use super::folder::Name;
use super::meta::{Meta, Part};
use super::{HOT_BODY_MAX, Shared, on_disk};

/// No single response takes more than this share of the store, or one download would push out
/// all else.
pub(super) const OBJECT_SHARE: u64 = 4;
/// Nor do all that are not complete yet, which may never be.
const UNFINISHED_SHARE: u64 = 2;

/// Dropped without `commit`, it leaves nothing behind.
pub(crate) struct Writer<T> {
    shared: Arc<Shared<T>>,
    meta: Meta,
    serial: u64,
    file: Arc<File>,
    length: u64,
    checksum: crc32fast::Hasher,
    /// The whole body, while it is short.
    memory: Option<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Growing,
    /// It cannot be stored any more.
    Failed,
    /// The file has its name.
    Complete,
}

impl<T> Writer<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>, meta: Meta) -> io::Result<Writer<T>> {
        let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
        let file = Arc::new(shared.folder.create_temporary(serial)?);
        Ok(Writer {
            shared: Arc::clone(shared),
            meta,
            serial,
            file,
            length: 0,
            checksum: crc32fast::Hasher::new(),
            memory: Some(Vec::new()),
            state: State::Growing,
        })
    }

    /// After an error the response is not stored, but what is in the file can still be read.
    pub(crate) fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.state != State::Growing {
            return Err(io::Error::other("storing it has failed before"));
        }
        let appended = self.reserve(octets.len() as u64).and_then(|()| {
            let written = self.file.write_all_at(octets, self.length);
            written.inspect_err(|error| {
                self.shared
                    .growing
                    .fetch_sub(octets.len() as u64, Ordering::Relaxed);
                self.shared.fail(error);
            })
        });
        if appended.is_err() {
            self.state = State::Failed;
            return appended;
        }
        self.length += octets.len() as u64;
        self.checksum.update(octets);
        self.memory = self
            .memory
            .take()
            .filter(|memory| memory.len() + octets.len() <= HOT_BODY_MAX);
        if let Some(memory) = &mut self.memory {
            memory.extend_from_slice(octets);
        }
        Ok(())
    }

    /// The body so far stands at offset 0.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What has come is the beginning of a body of so many octets.
    pub(crate) fn commit_beginning(mut self, complete: u64) -> Option<Arc<Entry<T>>> {
        self.meta.part = Some(Part { first: 0, complete });
        self.commit()
    }

    /// Takes the place of an older response to the same request.
    pub(crate) fn commit(mut self) -> Option<Arc<Entry<T>>> {
        if self.state != State::Growing {
            return None;
        }
        let checksum = self.checksum.clone().finalize();
        let tail = emit_tail(&self.meta, self.length, checksum)?;
        let size = self.length + tail.len() as u64;
        if size > self.shared.octets_max / OBJECT_SHARE {
            return None;
        }
        let size = on_disk(size);
        let name = Name::new(&self.meta, self.serial);
        let written = self.file.write_all_at(&tail, self.length);
        if let Err(error) = written.and_then(|()| self.shared.folder.complete(&name)) {
            self.shared.fail(&error);
            return None;
        }
        self.state = State::Complete;
        self.shared
            .growing
            .fetch_sub(self.length, Ordering::Relaxed);

        let slot = self
            .shared
            .index()
            .slot(&self.meta.url, name, self.length, checksum);
        slot.is_checked.store(true, Ordering::Relaxed);
        let entry = Entry::new(&self.shared, self.meta.clone(), slot);
        if let Some(body) = self.memory.take() {
            entry.memory.get_or_init(|| Arc::from(body));
        }
        self.shared.insert(&entry, size);
        Some(entry)
    }

    /// Room for more octets.
    fn reserve(&self, more: u64) -> io::Result<()> {
        let Shared {
            octets_max,
            growing,
            ..
        } = &*self.shared;
        let all = growing.load(Ordering::Relaxed).saturating_add(more);
        if self.length.saturating_add(more) > octets_max / OBJECT_SHARE
            || all > octets_max / UNFINISHED_SHARE
        {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        growing.fetch_add(more, Ordering::Relaxed);
        self.shared.make_room();
        Ok(())
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        if self.state != State::Complete {
            self.shared
                .growing
                .fetch_sub(self.length, Ordering::Relaxed);
            self.shared.folder.remove_temporary(self.serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::super::shared::locked;
    use super::super::tests::{URL, check, files, folder, meta, open, put};
    use super::*;
    use crate::clock;

    #[test]
    fn others_read_what_grows_and_nothing_is_left_of_what_is_not_completed() {
        let folder = folder();
        let store = open(&folder);
        let mut writer = store.write(meta(URL, 1), None).expect("room");
        writer.append(b"ab").expect("room");
        writer.append(b"cd").expect("room");
        let mut read = [0; 4];
        writer
            .file()
            .read_exact_at(&mut read, 0)
            .expect("four octets");
        assert_eq!((&read, writer.length), (b"abcd", 4));
        check(&store, URL, &[]);
        drop(writer);
        let left = |name: &str| folder.path().join(name).exists();
        assert!(files(folder.path()).is_empty() && !left("tmp-0000000000000001"));
        // As after a crash.
        drop(store);
        File::create(folder.path().join("tmp-0000000000000001")).expect("a file");
        open(&folder);
        assert!(!left("tmp-0000000000000001"));
    }

    #[test]
    fn a_full_disk_pauses_storing() {
        let folder = folder();
        let store = open(&folder);
        for n in 0..16 {
            put(&store, meta(&format!("http://a/{n:02}"), 1), &[0; 1000]).expect("room");
        }
        let mut writer = store.write(meta(URL, 1), None).expect("room");
        writer.append(b"a").expect("room");
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device");
        writer.file = Arc::new(full);
        assert!(writer.append(b"b").is_err() && writer.append(b"c").is_err());
        assert!(writer.commit().is_none());
        assert_eq!(store.size().entries, 14);
        assert!(store.write(meta(URL, 1), None).is_none());
        *locked(&store.0.paused_until) = Some(clock::now());
        put(&store, meta(URL, 1), b"again").expect("room");
        check(&store, URL, &[(&meta(URL, 1), b"again")]);
    }
}
