//! How many recipients came to which end.

use std::fmt;

use serde::Serialize;

use super::dialogue::outcome::Fate;
use crate::wire::smtp::Address;

#[derive(Default, Serialize)]
pub(super) struct Counts {
    pub(super) accepted: usize,
    /// Refused for now.
    later: usize,
    refused: usize,
    pub(super) unknown: usize,
}

impl Counts {
    pub(super) fn of<'a>(fates: impl Iterator<Item = &'a (Address, Fate)>) -> Counts {
        let mut counts = Counts::default();
        for (_, fate) in fates {
            match fate {
                Fate::Accepted { .. } => counts.accepted += 1,
                Fate::Refused(refusal) if refusal.is_temporary => counts.later += 1,
                Fate::Refused(_) => counts.refused += 1,
                Fate::Unknown(_) => counts.unknown += 1,
                Fate::Stopped(_) => {}
            }
        }
        counts
    }

    pub(super) fn is_good(&self) -> bool {
        self.later + self.refused + self.unknown == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accepted", self.accepted)?;
        for (count, word) in [
            (self.later, "not now"),
            (self.refused, "refused"),
            (self.unknown, "unknown"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}
