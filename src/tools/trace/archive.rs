//! `--save` and `--diff`: a trace kept in a file, and what is different now.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tracer::Hop;
use crate::output::{self, Tone};
use crate::tool::Error;
use crate::{cause, clock};

/// A saved trace is not this long.
const FILE_OCTETS_MAX: u64 = 1 << 20;
/// Round-trip times that differ by more than this, and by half, are told.
const SLOWER_MS_MIN: f64 = 5.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// When, as RFC 3339 writes it.
    pub(super) time: String,
    pub(super) target: IpAddr,
    pub(super) reached: bool,
    hops: Vec<SavedHop>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedHop {
    hop: u8,
    routers: BTreeSet<IpAddr>,
    best_ms: Option<f64>,
}

impl Saved {
    pub(super) fn of(hops: &[Hop], target: IpAddr, reached: bool) -> Saved {
        let of = |hop: &Hop| {
            let replies = || hop.replies.iter().flatten();
            let best = replies().map(|reply| reply.rtt).min();
            SavedHop {
                hop: hop.hop_limit,
                routers: replies().map(|reply| reply.from).collect(),
                best_ms: best.map(|rtt| rtt.as_secs_f64() * 1e3),
            }
        };
        Saved {
            time: clock::stamp(),
            target,
            reached,
            hops: hops.iter().map(of).collect(),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).expect("plain values");
        std::fs::write(path, text + "\n").map_err(|error| {
            let why = cause::of(&error);
            Error::Unavailable(format!("cannot save to '{}': {why}", path.display()))
        })
    }

    pub(super) fn read(path: &Path) -> Result<Saved, Error> {
        let shown = path.display();
        let cannot = |why: String| Error::Usage(format!("cannot compare with '{shown}': {why}"));
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_string(&mut text));
        let octets = read.map_err(|error| cannot(cause::of(&error)))?;
        if octets as u64 > FILE_OCTETS_MAX {
            return Err(cannot("it is too large for a saved trace".to_owned()));
        }
        serde_json::from_str(&text)
            .map_err(|error| cannot(format!("it is no trace that --save has written ({error})")))
    }

    pub(super) fn difference(&self, now: &Saved) -> Difference {
        let mut changes = Vec::new();
        if self.target != now.target {
            changes.push(format!("the target was {}", self.target));
        }
        if self.reached != now.reached {
            let words = |reached| if reached { "reached" } else { "not reached" };
            changes.push(format!(
                "{} then, {} now",
                words(self.reached),
                words(now.reached)
            ));
        }
        let numbers: BTreeSet<u8> = self
            .hops
            .iter()
            .chain(&now.hops)
            .map(|hop| hop.hop)
            .collect();
        let find = |saved: &Saved, number| saved.hops.iter().find(|hop| hop.hop == number).cloned();
        for number in numbers {
            changes.extend(change(number, find(self, number), find(now, number)));
        }
        Difference {
            since: self.time.clone(),
            changes,
        }
    }
}

fn change(number: u8, then: Option<SavedHop>, now: Option<SavedHop>) -> Option<String> {
    let (then, now) = match (then, now) {
        (Some(then), Some(now)) => (then, now),
        (Some(then), None) => return Some(format!("hop {number}: {} is gone", told(&then))),
        (None, Some(now)) => return Some(format!("hop {number}: {} is new", told(&now))),
        (None, None) => return None,
    };
    // A router that balances shows some of its ways at a time.
    if then.routers.is_disjoint(&now.routers) && then.routers != now.routers {
        return Some(format!(
            "hop {number}: {} then, {} now",
            told(&then),
            told(&now)
        ));
    }
    let (before, after) = (then.best_ms?, now.best_ms?);
    let is_other = (before - after).abs() > SLOWER_MS_MIN.max(before.min(after) / 2.0);
    is_other.then(|| {
        format!(
            "hop {number}: {before:.1} ms then, {after:.1} ms now ({})",
            told(&now)
        )
    })
}

fn told(hop: &SavedHop) -> String {
    let routers: Vec<String> = hop.routers.iter().map(ToString::to_string).collect();
    match routers.is_empty() {
        true => "silence".to_owned(),
        false => routers.join(" or "),
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "difference")]
pub(super) struct Difference {
    since: String,
    pub(super) changes: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return write!(f, "the same path as on {}", self.since);
        }
        write!(f, "changed since {}:", self.since)?;
        for change in &self.changes {
            write!(f, "\n  {change}")?;
        }
        Ok(())
    }
}

impl output::Event for Difference {
    fn tone(&self) -> Tone {
        match self.changes.is_empty() {
            true => Tone::Good,
            false => Tone::Caution,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `-` is silence; routers by the last octet of their address, times in milliseconds.
    fn saved(hops: &[(&[u8], f64)]) -> Saved {
        let hop = |(number, (routers, best)): (u8, &(&[u8], f64))| SavedHop {
            hop: number,
            routers: routers
                .iter()
                .map(|last| IpAddr::from([10, 0, 0, *last]))
                .collect(),
            best_ms: (!routers.is_empty()).then_some(*best),
        };
        Saved {
            time: "then".to_owned(),
            target: IpAddr::from([10, 0, 0, 9]),
            reached: true,
            hops: (1..).zip(hops).map(hop).collect(),
        }
    }

    #[test]
    fn what_changed() {
        let before = saved(&[(&[1], 1.0), (&[2, 3], 2.0), (&[4], 10.0), (&[5], 3.0)]);
        assert!(before.difference(&before).changes.is_empty());
        let after = saved(&[(&[1], 1.2), (&[3], 2.0), (&[], 0.0)]);
        let changes = before.difference(&after).changes;
        let expected = [
            "hop 3: 10.0.0.4 then, silence now",
            "hop 4: 10.0.0.5 is gone",
        ];
        assert_eq!(changes, expected);
        let slow = saved(&[(&[1], 1.0), (&[2], 2.0), (&[4], 60.0), (&[5], 3.0)]);
        let changes = before.difference(&slow).changes;
        assert_eq!(changes, ["hop 3: 10.0 ms then, 60.0 ms now (10.0.0.4)"]);
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.json");
        let saved = saved(&[(&[1], 1.5), (&[], 0.0)]);
        saved.write(&path).expect("room on the disk");
        assert_eq!(Saved::read(&path), Ok(saved));
        std::fs::write(&path, "{}").expect("room on the disk");
        assert!(matches!(Saved::read(&path), Err(Error::Usage(_))));
    }
}
