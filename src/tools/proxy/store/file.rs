//! One file per entry: the body, so that it can be sent from offset 0; the metadata as JSON;
//! and a trailer of fixed length, with integers in network order.
//!
//! ```text
//! magic and version  8    length of the metadata   4    length of the body  8
//! CRC-32 of the body 4    CRC-32 of the metadata and of the trailer up to here  4
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::meta::Meta;

/// The last octet is the version of this layout.
const MAGIC: [u8; 8] = *b"nshbody\x01";
const TRAILER_OCTETS: usize = 28;
/// A header section has at most 64 KiB, and what selects the response as much; in JSON an octet
/// takes up to six.
const METADATA_OCTETS_MAX: usize = 1 << 20;
/// Holds the tail of nearly every file, so that one read is enough.
const TAIL_OCTETS: usize = 4 << 10;
const PIECE_OCTETS: usize = 64 << 10;

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Fault {
    /// Whether another attempt would find the same; not so if there are too many open files.
    pub(super) fn is_lasting(&self) -> bool {
        use io::ErrorKind::{NotFound, UnexpectedEof};
        match self {
            Fault::Damaged(_) => true,
            Fault::Io(error) => matches!(error.kind(), NotFound | UnexpectedEof),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Damaged(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            Fault::Io(error) => error,
        }
    }
}

/// What stands behind the body.
#[derive(Debug, PartialEq)]
pub(super) struct Tail {
    pub(super) meta: Meta,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

impl Tail {
    /// Of an open file of `size` octets.
    pub(super) fn read(file: &File, size: u64) -> Result<Tail, Fault> {
        let mut octets = read_end(file, size, TAIL_OCTETS)?;
        let length = tail_length(&octets)?;
        if length > octets.len() {
            octets = read_end(file, size, length)?;
        }
        let tail = octets.len().checked_sub(length);
        let tail = tail.map(|start| &octets[start..]);
        let tail = Tail::parse(tail.ok_or(Fault::Damaged("the file is too short"))?)?;
        let length = u64::try_from(length).ok();
        match length.and_then(|length| tail.length.checked_add(length)) {
            Some(sum) if sum == size => Ok(tail),
            _ => Err(Fault::Damaged("the file has another length")),
        }
    }

    fn parse(octets: &[u8]) -> Result<Tail, Fault> {
        let (covered, expected) = take_last::<4>(octets)?;
        if crc32fast::hash(covered) != u32::from_be_bytes(*expected) {
            return Err(Fault::Damaged("the metadata's checksum is wrong"));
        }
        let (rest, checksum) = take_last::<4>(covered)?;
        let (rest, length) = take_last::<8>(rest)?;
        let metadata = rest.get(..rest.len().saturating_sub(12));
        let meta = serde_json::from_slice(metadata.unwrap_or_default());
        Ok(Tail {
            meta: meta.map_err(|_| Fault::Damaged("the metadata is of another version"))?,
            length: u64::from_be_bytes(*length),
            checksum: u32::from_be_bytes(*checksum),
        })
    }
}

/// What stands behind a body; `None` where the metadata is too long, or of no use.
pub(super) fn emit_tail(meta: &Meta, length: u64, checksum: u32) -> Option<Vec<u8>> {
    let mut octets = serde_json::to_vec(meta).ok()?;
    if octets.len() > METADATA_OCTETS_MAX {
        return None;
    }
    let metadata_length = u32::try_from(octets.len()).ok()?;
    octets.extend(MAGIC);
    octets.extend(metadata_length.to_be_bytes());
    octets.extend(length.to_be_bytes());
    octets.extend(checksum.to_be_bytes());
    octets.extend(crc32fast::hash(&octets).to_be_bytes());
    Some(octets)
}

/// The length of metadata and trailer together, from the file's last octets.
fn tail_length(end: &[u8]) -> Result<usize, Fault> {
    let (_, trailer) = take_last::<TRAILER_OCTETS>(end)?;
    let [magic @ .., a, b, c, d] = trailer.first_chunk::<12>().expect("it is longer");
    if *magic != MAGIC {
        return Err(Fault::Damaged("the file does not end in a trailer"));
    }
    match usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) {
        Ok(length) if length <= METADATA_OCTETS_MAX => Ok(length + TRAILER_OCTETS),
        _ => Err(Fault::Damaged("the metadata is too long")),
    }
}

fn take_last<const N: usize>(octets: &[u8]) -> Result<(&[u8], &[u8; N]), Fault> {
    let taken = octets.split_last_chunk();
    taken.ok_or(Fault::Damaged("the file is too short"))
}

/// The last octets of the file, or all of it where there are fewer.
fn read_end(file: &File, size: u64, length: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(size).map_or(length, |size| size.min(length));
    let mut octets = vec![0; length];
    file.read_exact_at(&mut octets, size - length as u64)?;
    Ok(octets)
}

/// Whether the body is what was once written.
pub(super) fn check_body(file: &File, length: u64, checksum: u32) -> Result<(), Fault> {
    let mut hasher = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE_OCTETS];
    let mut offset = 0;
    while offset < length {
        let wanted = usize::try_from(length - offset).map_or(PIECE_OCTETS, |n| n.min(PIECE_OCTETS));
        let read = match file.read_at(&mut piece[..wanted], offset) {
            Ok(0) => return Err(Fault::Damaged("the body is too short")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        hasher.update(&piece[..read]);
        offset += read as u64;
    }
    compare(hasher.finalize(), checksum)
}

/// A short body, if it is what was once written.
pub(super) fn read_body(file: &File, length: usize, checksum: u32) -> Result<Vec<u8>, Fault> {
    let mut body = vec![0; length];
    file.read_exact_at(&mut body, 0)?;
    compare(crc32fast::hash(&body), checksum)?;
    Ok(body)
}

fn compare(found: u32, expected: u32) -> Result<(), Fault> {
    match found == expected {
        true => Ok(()),
        false => Err(Fault::Damaged("the body's checksum is wrong")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::Entry;
    use super::super::tests::{URL, body, check, files, folder, long_body, meta, open, put};
    use super::super::upkeep::{Removed, Verified};
    use super::*;

    #[test]
    fn an_octet_that_changes_is_noticed() {
        let folder = folder();
        let expected = meta(URL, 1);
        put(&open(&folder), expected.clone(), b"a little body").expect("room");
        let path = files(folder.path()).remove(0);
        let good = fs::read(&path).expect("a file");
        let mut lost = 0;
        let mut check = |octets: &[u8]| {
            fs::write(&path, octets).expect("room");
            let store = open(&folder);
            let verified = store.verify();
            let found = store.find(URL);
            assert_eq!(verified.checked, found.len());
            let is_right = |entry: &Arc<Entry<_>>| {
                entry.meta == expected && body(entry).as_deref() == Some(b"a little body")
            };
            assert!(found.iter().all(is_right));
            lost += usize::from(found.is_empty() && !path.exists());
        };
        for at in 0..good.len() {
            check(&good[..at]);
            let mut octets = good.clone();
            octets[at] ^= 1 << (at % 8);
            check(&octets);
        }
        check(&[&good[..], &good].concat());
        check(&[&good[..], b"\0"].concat());
        assert_eq!(lost, 2 * good.len() + 2);
    }

    /// As it is when names reach the disk, but the octets do not.
    #[test]
    fn a_body_is_checked_before_its_first_use() {
        let folder = folder();
        for (url, body) in [("http://a/", &long_body()[..]), ("http://b/", b"short")] {
            put(&open(&folder), meta(url, 1), body).expect("room");
        }
        for path in files(folder.path()) {
            let file = OpenOptions::new().write(true).open(path).expect("a file");
            file.write_all_at(b"\0", 1).expect("room");
        }
        let store = open(&folder);
        for url in ["http://a/", "http://b/"] {
            let found = store.find(url);
            let error = found[0].body().err().expect("no body");
            assert_eq!(error.to_string(), "the body's checksum is wrong");
            check(&store, url, &[]);
        }
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn verify_says_what_it_removes() {
        let folder = folder();
        let store = open(&folder);
        put(&store, meta("http://a/", 1), b"good").expect("room");
        let bad = put(&store, meta("http://b/", 1), b"bad").expect("room");
        let path = files(folder.path())
            .into_iter()
            .find(|path| path.ends_with(bad.slot.name.to_string()));
        let file = OpenOptions::new()
            .write(true)
            .open(path.expect("a file"))
            .expect("a file");
        file.write_all_at(b"B", 0).expect("room");
        let verified = store.verify();
        let removed = [("http://b/", "the body's checksum is wrong")];
        let removed = removed.map(|(url, why)| Removed {
            url: url.to_owned(),
            why: why.to_owned(),
        });
        assert_eq!((verified.checked, &verified.removed[..]), (1, &removed[..]));
        assert_eq!(
            store.verify(),
            Verified {
                removed: Vec::new(),
                ..verified
            }
        );
    }

    proptest! {
        /// Not even where the checksum is right.
        #[test]
        fn no_octets_panic(before in any::<Vec<u8>>(), length in any::<u32>(), after: [u8; 12]) {
            for length in [length, length % 400, before.len() as u32] {
                let mut octets = [&before[..], &MAGIC, &length.to_be_bytes(), &after].concat();
                let covered = octets.len().saturating_sub(length as usize + TRAILER_OCTETS - 4);
                octets.extend(crc32fast::hash(&octets[covered..]).to_be_bytes());
                let file = tempfile::tempfile().expect("a file");
                file.write_all_at(&octets, 0).expect("room");
                prop_assert!(Tail::read(&file, octets.len() as u64).is_err());
            }
        }
    }
}
