//! What is in a folder, and in which order it is listed.

use std::cmp::Reverse;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Utc};
use percent_encoding::percent_encode;

use super::super::path::ENCODED;

pub(crate) enum Kind {
    Folder,
    File,
    /// A dangling link, a socket, something unreadable.
    Other,
}

pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
}

/// How much there is in a folder.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) folders: u64,
    pub(crate) files: u64,
    pub(crate) others: u64,
    pub(crate) octets: u64,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Column {
    Name,
    Size,
    Date,
}

#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) by: Column,
    pub(crate) descending: bool,
}

impl Entry {
    /// Relative to the folder, and exact for whatever octets the name has.
    pub(crate) fn href(&self) -> String {
        // Behind "./" a name with a colon or slashes in front cannot become a scheme or a host.
        format!("./{}{}", percent_encode(&self.name, ENCODED), self.slash())
    }

    /// What a folder has behind its name.
    pub(crate) fn slash(&self) -> &'static str {
        match self.kind {
            Kind::Folder => "/",
            Kind::File | Kind::Other => "",
        }
    }

    /// `None` also for a time that RFC 3339 cannot say with its four digits for a year.
    pub(crate) fn modified(&self) -> Option<DateTime<Utc>> {
        let seconds = match self.modified?.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok()?,
            Err(before) => -i64::try_from(before.duration().as_secs()).ok()?,
        };
        // The last year is left out, because local time may already be in the next.
        DateTime::from_timestamp(seconds, 0).filter(|time| (1..9999).contains(&time.year()))
    }
}

impl Totals {
    pub(crate) fn add(&mut self, entry: &Entry) {
        match entry.kind {
            Kind::Folder => self.folders += 1,
            Kind::File => {
                self.files += 1;
                self.octets = self.octets.saturating_add(entry.size);
            }
            Kind::Other => self.others += 1,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.folders + self.files + self.others
    }
}

impl Order {
    /// Reads `sort=name|size|date` and `order=asc|desc`, and ignores everything else.
    pub(crate) fn of_query(query: &[u8]) -> Order {
        let (mut by, mut descending) = (Column::Name, false);
        for pair in query.split(|octet| *octet == b'&') {
            match pair {
                b"sort=name" => by = Column::Name,
                b"sort=size" => by = Column::Size,
                b"sort=date" => by = Column::Date,
                b"order=asc" => descending = false,
                b"order=desc" => descending = true,
                _ => {}
            }
        }
        Order { by, descending }
    }

    /// Folders first; what is equal in size or date stays in the order of names.
    pub(crate) fn sort(self, entries: &mut [Entry]) {
        let size = |entry: &Entry| match entry.kind {
            Kind::File => entry.size,
            Kind::Folder | Kind::Other => 0,
        };
        entries.sort_by_cached_key(|entry| (natural(&entry.name), entry.name.clone()));
        match (self.by, self.descending) {
            (Column::Name, false) => {}
            (Column::Name, true) => entries.reverse(),
            (Column::Size, false) => entries.sort_by_key(size),
            (Column::Size, true) => entries.sort_by_key(|entry| Reverse(size(entry))),
            (Column::Date, false) => entries.sort_by_key(|entry| entry.modified),
            (Column::Date, true) => entries.sort_by_key(|entry| Reverse(entry.modified)),
        }
        entries.sort_by_key(|entry| !matches!(entry.kind, Kind::Folder));
    }
}

/// Octets whose order is that of the name in lower case with its numbers as numbers:
/// a number becomes '0', how many digits it has, and the digits.
fn natural(name: &[u8]) -> Vec<u8> {
    let name = String::from_utf8_lossy(name).to_lowercase();
    let mut rest = name.as_bytes();
    let mut key = Vec::with_capacity(rest.len() + 16);
    while let Some(first) = rest.first() {
        let is_number = first.is_ascii_digit();
        let end = rest
            .iter()
            .position(|octet| octet.is_ascii_digit() != is_number);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        if is_number {
            let zeros = run.iter().take_while(|digit| **digit == b'0').count();
            key.push(b'0');
            key.extend((run.len() - zeros).to_be_bytes());
            key.extend(&run[zeros..]);
        } else {
            key.extend(run);
        }
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entry(kind: Kind, name: &str, size: u64, second: u64) -> Entry {
        let modified = UNIX_EPOCH.checked_add(Duration::from_secs(second));
        let name = name.as_bytes().to_vec();
        Entry {
            name,
            kind,
            size,
            modified,
        }
    }

    #[track_caller]
    fn check(query: &str, expected: &str) {
        let mut entries = [
            entry(Kind::File, "file10", 5, 30),
            entry(Kind::Folder, "zoo", 4096, 1),
            entry(Kind::File, "File9", 5, 10),
            entry(Kind::File, "file2", 7, 20),
            entry(Kind::File, "file02", 1, 20),
            entry(Kind::Folder, "b", 8192, 2),
        ];
        Order::of_query(query.as_bytes()).sort(&mut entries);
        let names = entries.map(|entry| String::from_utf8_lossy(&entry.name).into_owned());
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn orders() {
        check("", "b zoo file02 file2 File9 file10");
        check(
            "sort=colour&order=up&&sort",
            "b zoo file02 file2 File9 file10",
        );
        check("order=desc", "zoo b file10 File9 file2 file02");
        check("sort=size", "b zoo file02 File9 file10 file2");
        check("sort=size&order=desc", "b zoo file2 File9 file10 file02");
        check("sort=date&order=asc", "zoo b File9 file02 file2 file10");
        check("sort=date&order=desc", "b zoo file10 file02 file2 File9");
    }

    #[test]
    fn times_that_no_calendar_has_are_left_out() {
        let modified = |second| entry(Kind::File, "a", 0, second).modified();
        assert_eq!(
            modified(1_795_000_000).map(|time| time.timestamp()),
            Some(1_795_000_000)
        );
        assert_eq!(modified(300_000_000_000), None);
        assert_eq!(modified(i64::MAX.unsigned_abs()), None);
    }

    proptest! {
        #[test]
        fn the_order_of_names_does_not_depend_on_where_they_were(
            names in proptest::collection::vec("[aAbé0-2]{0,5}", 0..20),
        ) {
            let sorted = |names: Vec<String>| {
                let mut entries: Vec<Entry> =
                    names.iter().map(|name| entry(Kind::File, name, 0, 0)).collect();
                Order::of_query(b"").sort(&mut entries);
                entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
            };
            let backwards = names.iter().rev().cloned().collect();
            prop_assert_eq!(sorted(names), sorted(backwards));
        }
    }
}
