//! What a store, its entries and its writers have in common.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::file::{Fault, Tail};
use super::folder::{Folder, Name};
use super::index::{Index, Slot};
use crate::{cause, clock};

/// A disk that is full or fails does not get better at once, and trying costs time.
const PAUSE: Duration = Duration::from_secs(30);
/// When the disk is full before the store is, this share of the store makes room.
const RELIEF_SHARE: u64 = 8;

pub(super) struct Shared<T> {
    pub(super) folder: Folder,
    pub(super) octets_max: u64,
    memory_max: u64,
    index: RwLock<Index<T>>,
    /// What bodies that are not complete yet take.
    pub(super) growing: AtomicU64,
    /// The next one.
    pub(super) serial: AtomicU64,
    pub(super) paused_until: Mutex<Option<Instant>>,
    /// Why, until somebody has asked.
    trouble: Mutex<Option<String>>,
}

impl<T> Shared<T> {
    pub(super) fn new(
        folder: Folder,
        index: Index<T>,
        octets_max: u64,
        memory_max: u64,
        serial: u64,
    ) -> Shared<T> {
        Shared {
            folder,
            octets_max,
            memory_max,
            index: RwLock::new(index),
            growing: AtomicU64::new(0),
            serial: AtomicU64::new(serial),
            paused_until: Mutex::new(None),
            trouble: Mutex::new(None),
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index<T>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index<T>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index, then removes the files that are no longer in it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Index<T>) -> Vec<Name>) -> usize {
        let gone = change(&mut self.index_mut());
        for name in &gone {
            self.folder.remove(name);
        }
        gone.len()
    }

    pub(super) fn insert(&self, entry: &Arc<Entry<T>>, size: u64) {
        let limit = self.limit();
        self.change(|index| {
            let gone = index.insert(&entry.slot, size, entry.meta.response_time, limit);
            index.heat(entry, self.memory_max);
            gone
        });
    }

    pub(super) fn freshen(&self, entry: &Arc<Entry<T>>, size: u64) {
        let mut index = self.index_mut();
        index.freshen(&entry.slot, size, entry.meta.response_time);
        index.heat(entry, self.memory_max);
    }

    pub(super) fn remove(&self, slot: &Slot) -> bool {
        self.change(|index| index.remove(slot).into_iter().collect()) > 0
    }

    /// Its body has come into memory.
    pub(super) fn reweigh(&self, entry: &Arc<Entry<T>>) {
        let mut index = self.index_mut();
        let hot = index.variant(&entry.slot);
        let hot = hot.and_then(|variant| variant.hot.as_ref());
        // It may have newer metadata by now.
        if hot.is_some_and(|hot| Arc::ptr_eq(&hot.entry, entry)) {
            index.heat(entry, self.memory_max);
        }
    }

    /// From disk into memory.
    pub(super) fn load(self: &Arc<Self>, slot: &Arc<Slot>) -> Option<Arc<Entry<T>>> {
        let _held = locked(&slot.tail);
        if let Some(hot) = &self.index().variant(slot)?.hot {
            return Some(Arc::clone(&hot.entry));
        }
        match self.read(slot) {
            Ok((tail, _)) => {
                let entry = Entry::new(self, tail.meta, Arc::clone(slot));
                self.index_mut().heat(&entry, self.memory_max);
                Some(entry)
            }
            Err(fault) => {
                if fault.is_lasting() {
                    self.remove(slot);
                }
                None
            }
        }
    }

    /// What stands on disk, with the slot's `tail` held.
    pub(super) fn read(&self, slot: &Slot) -> Result<(Tail, u64), Fault> {
        let (tail, size) = super::read(&self.folder.file(&slot.name)?, &slot.name)?;
        match (tail.length, tail.checksum) == (slot.length, slot.checksum) {
            true => Ok((tail, size)),
            false => Err(Fault::Damaged("the file has another body")),
        }
    }

    pub(super) fn make_room(&self) {
        let limit = self.limit();
        let is_full = self.index().octets > limit;
        if is_full {
            self.change(|index| index.shrink(limit));
        }
    }

    fn limit(&self) -> u64 {
        let growing = self.growing.load(Ordering::Relaxed);
        self.octets_max.saturating_sub(growing)
    }

    /// The disk is full, or fails.
    pub(super) fn fail(&self, error: &io::Error) {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        *locked(&self.trouble) = Some(cause::of(error));
        *locked(&self.paused_until) = Some(clock::now() + PAUSE);
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            self.change(|index| index.shrink(index.octets - index.octets / RELIEF_SHARE));
        }
    }

    pub(super) fn take_trouble(&self) -> Option<String> {
        locked(&self.trouble).take()
    }

    pub(super) fn is_paused(&self) -> bool {
        let mut until = locked(&self.paused_until);
        *until = until.filter(|until| clock::now() < *until);
        until.is_some()
    }
}

pub(super) fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
