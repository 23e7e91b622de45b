//! Which of the last sequence numbers have been there: what is late, and what a duplicate.

/// Late and duplicate numbers are told apart within so many: 6 s at 100 us.
const SEEN: u64 = 65_536;

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// One more than the highest.
    pub(crate) end: u64,
    pub(crate) count: u64,
    bits: Vec<bool>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            end: 0,
            count: 0,
            bits: vec![false; SEEN as usize],
        }
    }
}

impl Seen {
    /// False if it has been there, or is too far back to be known.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        if number.saturating_add(SEEN) < self.end {
            return false;
        }
        if number >= self.end {
            let skipped = (number - self.end).min(SEEN);
            for back in 0..=skipped {
                self.set(number.saturating_sub(back), false);
            }
            self.end = number.saturating_add(1);
        }
        let is_new = !self.set(number, true);
        self.count += u64::from(is_new);
        is_new
    }

    /// Returns what it was.
    fn set(&mut self, number: u64, value: bool) -> bool {
        let bit = self.bits.get_mut((number % SEEN) as usize);
        bit.is_some_and(|bit| std::mem::replace(bit, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_new_once() {
        let mut seen = Seen::default();
        for number in [0, 2, 1, 200_000, 134_465, 200_001] {
            assert!(seen.insert(number), "{number}");
        }
        // 134,465 has just been forgotten, and might have been there.
        for number in [2, 200_000, 134_465] {
            assert!(!seen.insert(number), "{number}");
        }
        assert!(seen.insert(200_002 + SEEN), "it shares its bit with others");
        assert_eq!((seen.end, seen.count), (265_539, 7));
    }
}
