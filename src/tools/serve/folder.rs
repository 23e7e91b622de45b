//! A folder's entries, read and shown in pieces.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, statat};

use super::answer::Body;
use super::entry::{Entry, Kind, Order};
use super::listing::Listing;
use super::path::is_hidden;
use super::site::Site;

/// More are shown in the folder's own order, without being held in memory.
const SORTED_MAX: usize = 100_000;
/// Rendered in one go.
const PIECE_ENTRIES: usize = 256;

/// What is left of a folder.
pub(super) struct Source {
    sorted: std::vec::IntoIter<Entry>,
    rest: Option<Reader>,
}

struct Reader {
    site: Arc<Site>,
    dir: Dir,
    /// Of the folder, below the root.
    relative: Vec<u8>,
    shows_hidden: bool,
}

/// The order is none where there are too many to sort.
pub(super) fn read(
    site: &Arc<Site>,
    relative: Vec<u8>,
    shows_hidden: bool,
    order: Order,
) -> io::Result<(Source, Option<Order>)> {
    let mut reader = Reader {
        dir: Dir::read_from(site.root.file(&relative)?)?,
        site: Arc::clone(site),
        relative,
        shows_hidden,
    };
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry);
        if entries.len() == SORTED_MAX {
            let rest = Some(reader);
            let sorted = entries.into_iter();
            return Ok((Source { sorted, rest }, None));
        }
    }
    order.sort(&mut entries);
    let sorted = entries.into_iter();
    Ok((Source { sorted, rest: None }, Some(order)))
}

impl Reader {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        while let Some(entry) = self.dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (is_hidden(name) && !self.shows_hidden) {
                continue;
            }
            return Ok(Some(self.describe(name.to_vec())));
        }
        Ok(None)
    }

    fn describe(&self, name: Vec<u8>) -> Entry {
        let stat = self.stat(&name);
        let kind = match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Directory) => Kind::Folder,
            Some(FileType::RegularFile) => Kind::File,
            _ => Kind::Other,
        };
        Entry {
            name,
            kind,
            size: stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)),
            modified: stat.and_then(modified),
        }
    }

    /// Of what a link leads to, if that is inside the root.
    fn stat(&self, name: &[u8]) -> Option<Stat> {
        let folder = self.dir.fd().ok()?;
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Some(stat);
        }
        let place = [&self.relative, &b"/"[..], name].concat();
        fstat(self.site.root.place(&place).ok()?).ok()
    }
}

fn modified(stat: Stat) -> Option<SystemTime> {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// A listing that is written as it is sent.
pub(super) struct Entries {
    source: Source,
    listing: Listing,
    began: bool,
    ended: bool,
}

impl Entries {
    pub(super) fn new(source: Source, listing: Listing) -> Entries {
        Entries {
            source,
            listing,
            began: false,
            ended: false,
        }
    }

    /// The whole text where it is short.
    pub(super) fn into_body(mut self) -> Body {
        let mut text = Vec::new();
        if self.source.rest.is_none() && self.source.sorted.len() <= PIECE_ENTRIES {
            while self.next(&mut text) {}
            Body::Octets(text)
        } else {
            Body::Stream(self)
        }
    }

    /// Appends the next piece; whether there was one.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.ended {
            return false;
        }
        if !self.began {
            self.began = true;
            self.listing.start(out);
        }
        let mut piece: Vec<Entry> = self.source.sorted.by_ref().take(PIECE_ENTRIES).collect();
        while piece.len() < PIECE_ENTRIES
            && let Some(reader) = &mut self.source.rest
        {
            match reader.next() {
                Ok(Some(entry)) => piece.push(entry),
                Ok(None) | Err(_) => self.source.rest = None,
            }
        }
        self.listing.entries(&piece, out);
        if piece.len() < PIECE_ENTRIES {
            self.ended = true;
            self.listing.end(out);
        }
        true
    }
}
