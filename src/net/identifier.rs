//! ICMP identifiers: no two pings of this process have the same.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::random;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Free again when dropped.
pub(crate) struct Identifier(u16);

impl Identifier {
    /// One that is unlikely to be another process's; `None` when 65,536 are in use.
    pub(crate) fn any() -> Option<Identifier> {
        let start = random() as u16;
        (0..=u16::MAX).find_map(|step| Identifier::claim(start.wrapping_add(step)))
    }

    /// This one, unless it is in use.
    pub(crate) fn claim(value: u16) -> Option<Identifier> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(value).then(|| Identifier(value))
    }

    pub(crate) fn value(&self) -> u16 {
        self.0
    }
}

impl Drop for Identifier {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_all_different() {
        let all: Vec<Identifier> = (0..1000).filter_map(|_| Identifier::any()).collect();
        let values: HashSet<u16> = all.iter().map(Identifier::value).collect();
        assert_eq!(values.len(), 1000);
        assert!(Identifier::claim(all[0].value()).is_none());
    }
}
