//! Looking through a store, and clearing it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::file::{Fault, check_body};
use super::folder::hash_url;
use super::index::Slot;
use super::shared::locked;
use super::{Meta, Store};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) url: String,
    pub(crate) status: u16,
    /// Of the body.
    pub(crate) octets: u64,
    pub(crate) response_time: SystemTime,
    /// Since the store was opened.
    pub(crate) uses: u64,
    /// Whether it is in memory.
    pub(crate) is_hot: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verified {
    /// How many were found to be good, and what their files take.
    pub(crate) checked: usize,
    pub(crate) octets: u64,
    pub(crate) removed: Vec<Removed>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Removed {
    /// The file's name where that cannot be told any more.
    pub(crate) url: String,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) entries: usize,
    /// What the files take.
    pub(crate) octets: u64,
    pub(crate) octets_max: u64,
    /// What is kept in memory as well, roughly.
    pub(crate) hot_octets: u64,
}

impl<T> Store<T> {
    pub(crate) fn size(&self) -> Usage {
        let index = self.0.index();
        Usage {
            entries: index.entries,
            octets: index.octets,
            octets_max: self.0.octets_max,
            hot_octets: index.hot_octets,
        }
    }

    /// By URL.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let slots = self.slots().into_iter();
        let listed = slots.filter_map(|slot| {
            let (meta, is_hot) = self.meta(&slot)?;
            Some(Listed {
                url: meta.url,
                status: meta.status,
                octets: slot.length,
                response_time: meta.response_time,
                uses: slot.uses.load(Ordering::Relaxed),
                is_hot,
            })
        });
        let mut listed: Vec<Listed> = listed.collect();
        listed.sort_by(|a, b| {
            a.url
                .cmp(&b.url)
                .then(b.response_time.cmp(&a.response_time))
        });
        listed
    }

    /// Reads all there is, and removes what is not as it was written.
    pub(crate) fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        for slot in self.slots() {
            let mut url = slot.name.to_string();
            match self.check(&slot, &mut url) {
                Ok(size) => {
                    verified.checked += 1;
                    verified.octets += size;
                }
                Err(fault) if fault.is_lasting() && self.0.remove(&slot) => {
                    let why = fault.to_string();
                    verified.removed.push(Removed { url, why });
                }
                Err(_) => {}
            }
        }
        verified
    }

    fn check(&self, slot: &Slot, url: &mut String) -> Result<u64, Fault> {
        let (tail, size) = {
            let _held = locked(&slot.tail);
            self.0.read(slot)?
        };
        *url = tail.meta.url;
        check_body(&self.0.folder.file(&slot.name)?, slot.length, slot.checksum)?;
        slot.is_checked.store(true, Ordering::Relaxed);
        Ok(size)
    }

    /// How many it removes. A `*` in the pattern stands for any octets, `/` among them, and all
    /// else, `?` too, for itself. Without one it is a URL, or, if it ends in `/`, the beginning
    /// of URLs.
    pub(crate) fn purge(&self, pattern: &str) -> usize {
        if !pattern.contains('*') && !pattern.ends_with('/') {
            return self.remove_url(pattern);
        }
        let slots = self.slots().into_iter();
        let matching = slots.filter(|slot| match self.meta(slot) {
            Some((meta, _)) => matches(pattern, &meta.url),
            None => false,
        });
        matching.filter(|slot| self.0.remove(slot)).count()
    }

    pub(crate) fn purge_all(&self) -> usize {
        self.0.change(|index| index.shrink(0))
    }

    pub(crate) fn remove_url(&self, url: &str) -> usize {
        let hash = hash_url(url);
        self.0.change(|index| {
            let slots = index
                .variants(url)
                .iter()
                .map(|variant| Arc::clone(&variant.slot));
            let slots: Vec<_> = slots.filter(|slot| slot.name.url == hash).collect();
            slots.iter().filter_map(|slot| index.remove(slot)).collect()
        })
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        let index = self.0.index();
        index
            .all()
            .map(|variant| Arc::clone(&variant.slot))
            .collect()
    }

    /// Without making it hot; with whether it is.
    fn meta(&self, slot: &Slot) -> Option<(Meta, bool)> {
        let hot = {
            let index = self.0.index();
            let hot = index.variant(slot)?.hot.as_ref();
            hot.map(|hot| Arc::clone(&hot.entry))
        };
        if let Some(entry) = hot {
            return Some((entry.meta.clone(), true));
        }
        let _held = locked(&slot.tail);
        let (tail, _) = self.0.read(slot).ok()?;
        Some((tail.meta, false))
    }
}

fn matches(pattern: &str, url: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = url.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty() || pattern.ends_with('/');
    };
    for piece in pieces {
        // The first place is as good as any later one, as `*` takes whatever follows.
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        for url in matching {
            assert!(matches(pattern, url), "{pattern} {url}");
        }
        for url in others {
            assert!(!matches(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn patterns() {
        check(
            "http://a/",
            &["http://a/", "http://a/b?c"],
            &["http://a.b/", "http://a"],
        );
        check(
            "http://a/*.png",
            &["http://a/b/c.png"],
            &["http://a/b.png?c", "http://ab/.png"],
        );
        check("*", &["", "http://a/"], &[]);
        check(
            "*a?b",
            &["http://x/a?b"],
            &["http://x/acb", "http://x/a?bc"],
        );
        check("*ab*ab", &["abab", "ab-ab-ab"], &["ab", "aab", "aba"]);
        check("a*a", &["aa", "aba"], &["a"]);
        check("**[x]**", &["a[x]b"], &["axb"]);
    }
}
