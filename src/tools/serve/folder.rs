//! A folder's entries, read and shown in pieces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, statat};

use super::answer::Body;
use super::listing::Listing;
use super::listing::entry::{Entry, Kind, Order};
use super::path::is_hidden;
use super::site::Site;

/// More are shown in the folder's own order, without being held in memory.
const SORTED_MAX: usize = 50_000;
/// Of more than a piece, at a time: a client that reads slowly holds one in memory.
const LISTINGS_MAX: usize = 16;
/// Rendered in one go.
const PIECE_ENTRIES: usize = 256;

/// What is left of a folder.
pub(super) struct Source {
    sorted: std::vec::IntoIter<Entry>,
    rest: Option<Reader>,
    _place: Option<Place>,
}

/// Among the large ones.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(listings: &Arc<AtomicUsize>) -> io::Result<Place> {
        let before = listings.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(listings));
        match before < LISTINGS_MAX {
            true => Ok(place),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Reader {
    site: Arc<Site>,
    dir: Dir,
    /// Of the folder, below the root.
    relative: Vec<u8>,
}

/// The order is none where there are too many to sort.
pub(super) fn read(
    site: &Arc<Site>,
    relative: Vec<u8>,
    order: Order,
) -> io::Result<(Source, Option<Order>)> {
    let mut reader = Reader {
        dir: Dir::read_from(site.root.file(&relative)?)?,
        site: Arc::clone(site),
        relative,
    };
    let (mut entries, mut place) = (Vec::new(), None);
    while let Some(entry) = reader.next()? {
        entries.push(entry);
        if entries.len() > PIECE_ENTRIES && place.is_none() {
            place = Some(Place::take(&site.listings)?);
        }
        if entries.len() == SORTED_MAX {
            let source = Source {
                sorted: entries.into_iter(),
                rest: Some(reader),
                _place: place,
            };
            return Ok((source, None));
        }
    }
    order.sort(&mut entries);
    let source = Source {
        sorted: entries.into_iter(),
        rest: None,
        _place: place,
    };
    Ok((source, Some(order)))
}

impl Reader {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        while let Some(entry) = self.dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (is_hidden(name) && !self.site.shows_hidden) {
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
