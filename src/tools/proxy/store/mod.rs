//! Responses kept by URL, on disk and, while they are in use, in memory.
//!
//! It knows nothing of the rules of HTTP. It survives restarts and crashes, and gives back
//! either what was written or nothing: a response gets its name when it is complete, and
//! lengths and checksums are looked at before its first use. Nothing is synced to the disk, so
//! that a power failure may lose what is recent; the checksums sort that out.
//!
//! A response that was removed while somebody reads its file stays readable. No lock is held
//! while a body is read or written.

mod entry;
mod file;
mod folder;
mod index;
mod meta;
mod shared;
mod upkeep;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub(crate) use entry::{Body, Entry};
use file::{Fault, Tail, emit_tail};
pub(crate) use folder::Error;
use folder::{Folder, Name};
use index::Index;
pub(crate) use meta::{Meta, Part};
use shared::{Shared, locked};
pub(crate) use upkeep::Usage;
use writer::OBJECT_SHARE;
pub(crate) use writer::Writer;

/// A longer body is sent from its file, which costs little beside the body itself.
const HOT_BODY_MAX: usize = 256 << 10;
/// Of most file systems. There are so many files of this size at most, and an inode with each.
const BLOCK_OCTETS: u64 = 4 << 10;
/// Servers take no longer request target than this, and a host's name is short beside it.
const URL_OCTETS_MAX: usize = 16 << 10;

/// The type parameter is what the caller derives from the metadata of an entry.
pub(crate) struct Store<T>(Arc<Shared<T>>);

impl<T> Store<T> {
    /// The files together take no more than `octets_max`; what is kept in memory as well takes
    /// no more than `memory_max`. The folder is locked until the last `Writer` is gone, too.
    pub(crate) fn open(path: &Path, octets_max: u64, memory_max: u64) -> Result<Store<T>, Error> {
        let folder = Folder::open(path)?;
        let mut index = Index::new();
        let (mut found, mut unwanted, mut serial) = (Vec::new(), Vec::new(), 0);
        let scanned = folder.scan(|name, file| {
            serial = serial.max(name.serial);
            match file.map_err(Fault::Io).and_then(|file| read(&file, &name)) {
                Ok((tail, size)) => {
                    let slot = index.slot(&tail.meta.url, name, tail.length, tail.checksum);
                    found.push((slot, size, tail.meta.response_time));
                }
                Err(fault) if fault.is_lasting() => unwanted.push(name),
                Err(_) => {}
            }
        });
        scanned.map_err(|error| Error::Io(path.to_owned(), error))?;
        // The oldest is the first to go where there is too much.
        found.sort_by_key(|(slot, ..)| slot.name.serial);
        for (slot, size, response_time) in found {
            unwanted.extend(index.insert(&slot, size, response_time, octets_max));
        }
        unwanted.extend(index.shrink(octets_max));
        for name in unwanted {
            folder.remove(&name);
        }
        let next = serial.wrapping_add(1);
        Ok(Store(Arc::new(Shared::new(
            folder, index, octets_max, memory_max, next,
        ))))
    }

    /// All variants, the newest first. None of them counts as used by this.
    pub(crate) fn find(&self, url: &str) -> Vec<Arc<Entry<T>>> {
        let (mut found, mut cold) = (Vec::new(), Vec::new());
        for variant in self.0.index().variants(url) {
            match &variant.hot {
                Some(hot) => found.push(Arc::clone(&hot.entry)),
                None => cold.push(Arc::clone(&variant.slot)),
            }
        }
        if !cold.is_empty() {
            found.extend(cold.iter().filter_map(|slot| self.0.load(slot)));
            found.sort_by_key(|entry| std::cmp::Reverse(entry.meta.response_time));
        }
        found.retain(|entry| entry.meta.url == url);
        found
    }

    /// It was used, and is not the next to go.
    pub(crate) fn touch(&self, entry: &Entry<T>) {
        entry.slot.touch();
    }

    /// `None` for a while after the disk was full or failed, for a URL that is too long, and for a
    /// body that says it is larger than a single one may be.
    pub(crate) fn write(&self, meta: Meta, announced: Option<u64>) -> Option<Writer<T>> {
        let is_too_long = announced.is_some_and(|octets| octets > self.0.octets_max / OBJECT_SHARE);
        if is_too_long || meta.url.len() > URL_OCTETS_MAX || self.0.is_paused() {
            return None;
        }
        let writer = Writer::new(&self.0, meta);
        writer.inspect_err(|error| self.0.fail(error)).ok()
    }

    /// New metadata for the same body; what selects it stays. `None` where that failed, and
    /// the entry may be gone then.
    ///
    /// It is written over the old, behind the body, which others go on reading. A crash in
    /// the middle of it leaves a file that does not check, and is removed.
    pub(crate) fn freshen(&self, entry: &Entry<T>, meta: Meta) -> Option<Arc<Entry<T>>> {
        let Meta { url, selecting, .. } = entry.meta.clone();
        let meta = Meta {
            url,
            selecting,
            ..meta
        };
        let slot = &entry.slot;
        let tail = emit_tail(&meta, slot.length, slot.checksum)?;
        let size = on_disk(slot.length + tail.len() as u64);

        let held = locked(&slot.tail);
        let file = self.0.folder.file_for_writing(&slot.name).ok()?;
        if let Err(error) = rewrite(&file, slot.length, &tail) {
            self.0.remove(slot);
            self.0.fail(&error);
            return None;
        }
        let fresh = Entry::new(&self.0, meta, Arc::clone(slot));
        if let Some(body) = entry.memory.get() {
            fresh.memory.get_or_init(|| Arc::clone(body));
        }
        self.0.freshen(&fresh, size);
        drop(held);
        self.0.make_room();
        (!slot.is_gone()).then_some(fresh)
    }

    /// Why the disk did not take something since this was asked last.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.0.take_trouble()
    }

    pub(crate) fn remove(&self, entry: &Entry<T>) {
        self.0.remove(&entry.slot);
    }
}

/// What a file takes: whole blocks of the disk, however small it is.
fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_OCTETS)
}

/// The tail of a file, and what the file takes.
fn read(file: &File, name: &Name) -> Result<(Tail, u64), Fault> {
    let size = file.metadata()?.len();
    let tail = Tail::read(file, size)?;
    match Name::new(&tail.meta, name.serial) == *name {
        true => Ok((tail, on_disk(size))),
        false => Err(Fault::Damaged("the file has another's name")),
    }
}

fn rewrite(file: &File, length: u64, tail: &[u8]) -> io::Result<()> {
    file.write_all_at(tail, length)?;
    file.set_len(length + tail.len() as u64)
}
