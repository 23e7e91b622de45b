//! A stored response in hand.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use super::file::{Fault, check_body, read_body};
use super::index::Slot;
use super::meta::Meta;
use super::{HOT_BODY_MAX, Shared};

/// What an entry takes in memory beside its metadata and its body.
const ENTRY_OCTETS: usize = 256;

pub(crate) struct Entry<T> {
    pub(crate) meta: Meta,
    /// Of the body.
    pub(crate) length: u64,
    /// What the caller derives from the metadata.
    pub(crate) prepared: OnceLock<T>,
    pub(super) slot: Arc<Slot>,
    pub(super) memory: OnceLock<Arc<[u8]>>,
    shared: Weak<Shared<T>>,
}

pub(crate) enum Body {
    Memory(Arc<[u8]>),
    /// From offset 0; more than the body stands in the file.
    File(File),
}

impl<T> Entry<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>, meta: Meta, slot: Arc<Slot>) -> Arc<Entry<T>> {
        Arc::new(Entry {
            meta,
            length: slot.length,
            prepared: OnceLock::new(),
            slot,
            memory: OnceLock::new(),
            shared: Arc::downgrade(shared),
        })
    }

    /// The file stays readable when the entry is removed. A body that is not what was once
    /// written is an error, and removes the entry.
    pub(crate) fn body(self: &Arc<Self>) -> io::Result<Body> {
        if let Some(body) = self.memory.get() {
            return Ok(Body::Memory(Arc::clone(body)));
        }
        let closed = || io::Error::other("the store is closed");
        let shared = self.shared.upgrade().ok_or_else(closed)?;
        let body = self.read(&shared);
        if body.as_ref().is_err_and(Fault::is_lasting) {
            shared.remove(&self.slot);
        }
        Ok(body?)
    }

    fn read(self: &Arc<Self>, shared: &Shared<T>) -> Result<Body, Fault> {
        let Slot {
            name,
            length,
            checksum,
            is_checked,
            ..
        } = &*self.slot;
        let file = shared.folder.file(name)?;
        let short = usize::try_from(*length)
            .ok()
            .filter(|length| *length <= HOT_BODY_MAX);
        let Some(length) = short else {
            if !is_checked.load(Ordering::Relaxed) {
                check_body(&file, *length, *checksum)?;
                is_checked.store(true, Ordering::Relaxed);
            }
            return match file.metadata()?.len() < *length {
                true => Err(Fault::Damaged("the body is too short")),
                false => Ok(Body::File(file)),
            };
        };
        let body = Arc::from(read_body(&file, length, *checksum)?);
        let body = self.memory.get_or_init(|| body);
        shared.reweigh(self);
        Ok(Body::Memory(Arc::clone(body)))
    }

    pub(super) fn weight(&self) -> u64 {
        let body = self.memory.get().map_or(0, |body| body.len());
        // What the caller derives from the metadata is about as large again.
        (ENTRY_OCTETS + 2 * self.meta.weight() + body) as u64
    }
}
