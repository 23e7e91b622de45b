//! Which entries there are, how much they take, and which of them go first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::entry::Entry;
use super::folder::Name;

/// Of one URL. Responses that vary by a field with a value for each user would otherwise make
/// every look-up a walk through all of them.
pub(super) const VARIANTS_MAX: usize = 32;

/// The little that is kept in memory of every entry.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: Name,
    /// Of the URL, in this index only.
    key: u64,
    /// Of the body.
    pub(super) length: u64,
    pub(super) checksum: u32,
    pub(super) uses: AtomicU64,
    /// Whether the body is known to be what was once written: it may have been written before
    /// a power failure.
    pub(super) is_checked: AtomicBool,
    /// Held while what stands behind the body is read or written; taken before the index.
    pub(super) tail: Mutex<()>,
    used_on_disk: AtomicBool,
    used_in_memory: AtomicBool,
    is_gone: AtomicBool,
}

impl Slot {
    pub(super) fn touch(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        for used in [&self.used_on_disk, &self.used_in_memory] {
            // Many threads may do this to one popular entry; reading costs them nothing.
            if !used.load(Ordering::Relaxed) {
                used.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }
}

pub(super) struct Variant<T> {
    pub(super) slot: Arc<Slot>,
    /// Of the file.
    pub(super) size: u64,
    pub(super) response_time: SystemTime,
    pub(super) hot: Option<Hot<T>>,
}

pub(super) struct Hot<T> {
    pub(super) entry: Arc<Entry<T>>,
    weight: u64,
}

pub(super) struct Index<T> {
    hasher: RandomState,
    /// By a hash of the URL; the newest first. Two URLs may meet, which readers must expect.
    variants: HashMap<u64, Vec<Variant<T>>>,
    on_disk: Sieve,
    in_memory: Sieve,
    pub(super) entries: usize,
    pub(super) octets: u64,
    hot: usize,
    pub(super) hot_octets: u64,
}

impl<T> Index<T> {
    pub(super) fn new() -> Index<T> {
        Index {
            hasher: RandomState::new(),
            variants: HashMap::new(),
            on_disk: Sieve::default(),
            in_memory: Sieve::default(),
            entries: 0,
            octets: 0,
            hot: 0,
            hot_octets: 0,
        }
    }

    pub(super) fn slot(&self, url: &str, name: Name, length: u64, checksum: u32) -> Arc<Slot> {
        Arc::new(Slot {
            name,
            key: self.hasher.hash_one(url),
            length,
            checksum,
            uses: AtomicU64::new(0),
            is_checked: AtomicBool::new(false),
            tail: Mutex::new(()),
            used_on_disk: AtomicBool::new(false),
            used_in_memory: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        })
    }

    pub(super) fn variants(&self, url: &str) -> &[Variant<T>] {
        let variants = self.variants.get(&self.hasher.hash_one(url));
        variants.map_or(&[], Vec::as_slice)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Variant<T>> {
        self.variants.values().flatten()
    }

    pub(super) fn variant(&self, slot: &Slot) -> Option<&Variant<T>> {
        let mut variants = self.variants.get(&slot.key)?.iter();
        variants.find(|variant| variant.slot.name == slot.name)
    }

    fn variant_mut(&mut self, slot: &Slot) -> Option<&mut Variant<T>> {
        let mut variants = self.variants.get_mut(&slot.key)?.iter_mut();
        variants.find(|variant| variant.slot.name == slot.name)
    }

    /// What had to go for it: an older response, and what was not used.
    pub(super) fn insert(
        &mut self,
        slot: &Arc<Slot>,
        size: u64,
        response_time: SystemTime,
        octets_max: u64,
    ) -> Vec<Name> {
        let variants = self.variants.get(&slot.key).map_or(&[][..], Vec::as_slice);
        let is_same =
            |name: &Name| (name.url, name.selecting) == (slot.name.url, slot.name.selecting);
        let older = variants.iter().find(|variant| is_same(&variant.slot.name));
        let oldest = variants.last().filter(|_| variants.len() >= VARIANTS_MAX);
        let replaced = older.or(oldest).map(|variant| Arc::clone(&variant.slot));
        let mut gone: Vec<Name> = replaced
            .iter()
            .filter_map(|slot| self.remove(slot))
            .collect();
        gone.extend(self.shrink(octets_max.saturating_sub(size)));

        let variants = self.variants.entry(slot.key).or_default();
        variants.push(Variant {
            slot: Arc::clone(slot),
            size,
            response_time,
            hot: None,
        });
        sort(variants);
        self.entries += 1;
        self.octets += size;
        self.on_disk.push(Arc::clone(slot), self.entries);
        gone
    }

    /// Its name, if it was there.
    pub(super) fn remove(&mut self, slot: &Slot) -> Option<Name> {
        let variants = self.variants.get_mut(&slot.key)?;
        let at = variants
            .iter()
            .position(|variant| variant.slot.name == slot.name)?;
        let variant = variants.remove(at);
        if variants.is_empty() {
            self.variants.remove(&slot.key);
        }
        variant.slot.is_gone.store(true, Ordering::Relaxed);
        self.entries -= 1;
        self.octets -= variant.size;
        if let Some(hot) = variant.hot {
            self.hot -= 1;
            self.hot_octets -= hot.weight;
        }
        Some(variant.slot.name)
    }

    /// Until no more than these octets are left.
    pub(super) fn shrink(&mut self, octets_max: u64) -> Vec<Name> {
        let mut gone = Vec::new();
        while self.octets > octets_max {
            let used = |slot: &Slot| slot.used_on_disk.swap(false, Ordering::Relaxed);
            let Some(slot) = self.on_disk.next(used) else {
                break;
            };
            gone.extend(self.remove(&slot));
        }
        gone
    }

    /// The same body has new metadata.
    pub(super) fn freshen(&mut self, slot: &Slot, size: u64, response_time: SystemTime) {
        let Some(variant) = self.variant_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut variant.size, size);
        variant.response_time = response_time;
        self.octets = self.octets - before + size;
        if let Some(variants) = self.variants.get_mut(&slot.key) {
            sort(variants);
        }
    }

    /// Keeps it in memory, or what it weighs now.
    pub(super) fn heat(&mut self, entry: &Arc<Entry<T>>, memory_max: u64) {
        let weight = entry.weight();
        let Some(variant) = self.variant_mut(&entry.slot) else {
            return;
        };
        if variant.hot.is_none() && weight > memory_max {
            return;
        }
        let hot = Hot {
            entry: Arc::clone(entry),
            weight,
        };
        let before = variant.hot.replace(hot);
        self.hot_octets += weight;
        if let Some(before) = &before {
            self.hot_octets -= before.weight;
        }
        while self.hot_octets > memory_max {
            let used = |slot: &Slot| slot.used_in_memory.swap(false, Ordering::Relaxed);
            let Some(slot) = self.in_memory.next(used) else {
                break;
            };
            self.cool(&slot);
        }
        if before.is_none() {
            self.hot += 1;
            self.in_memory.push(Arc::clone(&entry.slot), self.hot);
        }
    }

    fn cool(&mut self, slot: &Slot) {
        if let Some(hot) = self
            .variant_mut(slot)
            .and_then(|variant| variant.hot.take())
        {
            self.hot -= 1;
            self.hot_octets -= hot.weight;
        }
    }
}

fn sort<T>(variants: &mut [Variant<T>]) {
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.response_time));
}

/// SIEVE (NSDI 2024): a hand goes through the queue from the oldest to the newest, spares what
/// was used since it last came by, and takes the first that was not.
#[derive(Default)]
struct Sieve {
    /// From the hand to the newest.
    ahead: VecDeque<Arc<Slot>>,
    /// From the oldest to the hand.
    behind: VecDeque<Arc<Slot>>,
}

impl Sieve {
    /// With how many there are now; what was removed lies about in the queue for a while.
    fn push(&mut self, slot: Arc<Slot>, count: usize) {
        const SLACK: usize = 64;
        if self.ahead.len() + self.behind.len() > 2 * count + SLACK {
            self.ahead.retain(|slot| !slot.is_gone());
            self.behind.retain(|slot| !slot.is_gone());
        }
        self.ahead.push_back(slot);
    }

    /// Takes one out; `used` tells whether it was used, and forgets it.
    fn next(&mut self, used: impl Fn(&Slot) -> bool) -> Option<Arc<Slot>> {
        loop {
            let Some(slot) = self.ahead.pop_front() else {
                if self.behind.is_empty() {
                    return None;
                }
                std::mem::swap(&mut self.ahead, &mut self.behind);
                continue;
            };
            if slot.is_gone() {
                continue;
            }
            if !used(&slot) {
                return Some(slot);
            }
            self.behind.push_back(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;
    const OCTETS_MAX: u64 = 40;

    /// Adds entries of 10 octets one after the other, where `a!` is `a` being used.
    #[track_caller]
    fn check(steps: &str, left: &str) {
        let mut index: Index<()> = Index::new();
        let mut slots: HashMap<String, Arc<Slot>> = HashMap::new();
        for step in steps.split_whitespace() {
            let url = step.trim_end_matches('!');
            if let Some(slot) = slots.get(url).filter(|_| step.ends_with('!')) {
                slot.touch();
                continue;
            }
            let serial = slots.len() as u64;
            let name = Name {
                url: u128::from(url.as_bytes()[0]),
                selecting: 0,
                serial,
            };
            let slot = index.slot(url, name, 5, 0);
            index.insert(&slot, 10, AT, OCTETS_MAX);
            slots.insert(url.to_owned(), slot);
        }
        let is_left = |url: &&str| !index.variants(url).is_empty();
        let found: Vec<&str> = left.split_whitespace().filter(is_left).collect();
        assert_eq!(
            (found.join(" "), index.octets),
            (left.to_owned(), OCTETS_MAX)
        );
        assert_eq!(index.entries, 4, "{steps}");
    }

    #[test]
    fn what_was_not_used_goes_first_and_then_what_is_oldest() {
        check("a b c d", "a b c d");
        check("a b c d e", "b c d e");
        check("a b c d a! e", "a c d e");
        check("a b c d a! e f", "a d e f");
        check("a b c d a! b! c! d! e", "b c d e");
        check("a b c d a! b! e f", "a b e f");
        // The hand stands at e, and does not come back to a before the end of the queue.
        check("a b c d a! b! c! e f g", "a b c g");
        check("a b c d a! b! c! e f g h a! i", "a b c i");
        check("a b c d b b b e", "b c d e");
    }

    #[test]
    fn variants_are_few_and_the_newest_comes_first() {
        let mut index: Index<()> = Index::new();
        for selecting in 0..2 * VARIANTS_MAX as u64 {
            let slot = index.slot(
                "a",
                Name {
                    url: 0,
                    selecting,
                    serial: 0,
                },
                5,
                0,
            );
            let at = AT + std::time::Duration::from_secs(selecting);
            index.insert(&slot, 10, at, 10_000);
        }
        let kept: Vec<u64> = index
            .variants("a")
            .iter()
            .map(|variant| variant.slot.name.selecting)
            .collect();
        let newest: Vec<u64> = (VARIANTS_MAX as u64..2 * VARIANTS_MAX as u64)
            .rev()
            .collect();
        assert_eq!(kept, newest);
    }
}
