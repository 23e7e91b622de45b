//! What is sent for a file. It is chosen and measured once, so that octets, length, coding and
//! validators always belong together.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::site::Site;
use crate::http::negotiate::Coding;

/// Up to this size it is kept in memory, and head and body leave in one call.
const SMALL_OCTETS_MAX: u64 = 64 << 10;
/// Below, the fields of the answer are larger than what is saved.
const COMPRESSED_OCTETS_MIN: u64 = 1 << 10;
/// Above, it would take too long, and too much memory.
const COMPRESSED_OCTETS_MAX: u64 = 8 << 20;
/// Looked at to tell text from other octets where the name does not.
const SNIFFED_OCTETS: usize = 512;

/// Of `--secure`.
const POLICY: &str = "Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; \
                      base-uri 'self'; form-action 'self'\r\n";

pub(super) struct Representation {
    pub(super) size: u64,
    pub(super) content: Content,
    /// With its quotes.
    pub(super) etag: String,
    pub(super) last_modified: Option<SystemTime>,
    pub(super) media_type: String,
    /// Field lines of every answer with it, also 304: validators, `Vary`, `Cache-Control`.
    pub(super) validators: Vec<u8>,
    /// Those of its type and coding.
    pub(super) kind: Vec<u8>,
    /// All that go with 200.
    pub(super) whole: Vec<u8>,
    pub(super) identity: Identity,
    /// Of the resource, decoded.
    pub(super) path: Vec<u8>,
}

pub(super) enum Content {
    Memory(Vec<u8>),
    File(File),
}

/// Two with the same are the same octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether another coding could have been chosen.
    pub(super) varies: bool,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata, varies: bool) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            varies,
        }
    }
}

impl Representation {
    /// `name` and `path` are those of the resource, without a coding's extension.
    pub(super) fn read(
        site: &Site,
        file: File,
        identity: Identity,
        coding: Coding,
        (path, named): (&[u8], Option<&str>),
        now: SystemTime,
    ) -> io::Result<Representation> {
        let size = identity.size;
        let mut content = Content::File(file);
        if size <= SMALL_OCTETS_MAX {
            let mut octets = vec![0; usize::try_from(size).unwrap_or(0)];
            content.read_at(&mut octets, 0)?;
            content = Content::Memory(octets);
        }
        let media_type = match named {
            Some(media_type) => media_type.to_owned(),
            None => content.sniff(size),
        };
        let (seconds, nanoseconds) = identity.modified;
        let mut representation = Representation {
            size,
            content,
            etag: format!(
                "\"{:x}-{size:x}-{seconds:x}.{nanoseconds:x}\"",
                identity.inode
            ),
            last_modified: last_modified(seconds, now),
            media_type,
            validators: Vec::new(),
            kind: Vec::new(),
            whole: Vec::new(),
            identity,
            path: path.to_vec(),
        };
        representation.write_fields(site, coding);
        Ok(representation)
    }

    /// Whether head and body leave in one call.
    pub(super) fn is_small(&self) -> bool {
        self.size <= SMALL_OCTETS_MAX
    }

    pub(super) fn is_page(&self) -> bool {
        self.media_type.starts_with("text/html")
    }

    pub(super) fn is_strong(&self) -> bool {
        !self.etag.starts_with("W/")
    }

    pub(super) fn is_compressible(&self) -> bool {
        let media_type = self.media_type.as_str();
        (COMPRESSED_OCTETS_MIN..=COMPRESSED_OCTETS_MAX).contains(&self.size)
            && (media_type.starts_with("text/")
                || [
                    "application/javascript",
                    "application/json",
                    "application/wasm",
                    "application/xml",
                    "image/svg+xml",
                ]
                .iter()
                .any(|kind| media_type.starts_with(kind)))
    }

    /// The same in gzip. It has a weak validator, because another version of the compressor
    /// could make other octets of the same file (RFC 9110 section 8.8.1).
    pub(super) fn compressed(&self, site: &Site) -> io::Result<Representation> {
        let mut plain = vec![0; usize::try_from(self.size).unwrap_or(0)];
        self.content.read_at(&mut plain, 0)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain)?;
        let octets = encoder.finish()?;
        let mut representation = Representation {
            size: octets.len() as u64,
            content: Content::Memory(octets),
            etag: format!("W/{}-gzip\"", self.etag.trim_end_matches('"')),
            media_type: self.media_type.clone(),
            path: self.path.clone(),
            validators: Vec::new(),
            kind: Vec::new(),
            whole: Vec::new(),
            ..*self
        };
        representation.write_fields(site, Coding::Gzip);
        Ok(representation)
    }

    fn write_fields(&mut self, site: &Site, coding: Coding) {
        let mut validators = format!("ETag: {}\r\n", self.etag);
        if let Some(time) = self.last_modified {
            let date = httpdate::fmt_http_date(time);
            validators.push_str(&format!("Last-Modified: {date}\r\n"));
        }
        if self.identity.varies {
            validators.push_str("Vary: Accept-Encoding\r\n");
        }
        if let Some(seconds) = site.cached_for(&self.path) {
            validators.push_str(&format!("Cache-Control: max-age={seconds}\r\n"));
        }
        let mut kind = format!("Content-Type: {}\r\n", self.media_type);
        if let Some(name) = coding_name(coding) {
            kind.push_str(&format!("Content-Encoding: {name}\r\n"));
        }
        if site.has_policy {
            kind.push_str(POLICY);
        }
        let ranges = if self.is_strong() { "bytes" } else { "none" };
        let (size, etc) = (self.size, &validators);
        self.whole =
            format!("{kind}Content-Length: {size}\r\nAccept-Ranges: {ranges}\r\n{etc}").into();
        self.kind = kind.into();
        self.validators = validators.into();
    }
}

impl Content {
    /// Fails where the file has become shorter than it was.
    pub(super) fn read_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Content::File(file) => file.read_exact_at(octets, at),
            Content::Memory(kept) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let part = kept.get(start..).and_then(|rest| rest.get(..octets.len()));
                octets.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Text is shown by browsers, and with `nosniff` it stays text.
    fn sniff(&self, size: u64) -> String {
        let count = SNIFFED_OCTETS.min(usize::try_from(size).unwrap_or(usize::MAX));
        let mut octets = vec![0; count];
        let is_text = self.read_at(&mut octets, 0).is_ok()
            && !octets.contains(&0)
            && match std::str::from_utf8(&octets) {
                Ok(_) => true,
                // A character may be cut where we stopped reading.
                Err(error) => error.error_len().is_none() && size > count as u64,
            };
        match is_text {
            true => "text/plain; charset=utf-8".to_owned(),
            false => "application/octet-stream".to_owned(),
        }
    }
}

pub(super) fn coding_name(coding: Coding) -> Option<&'static str> {
    match coding {
        Coding::Zstd => Some("zstd"),
        Coding::Brotli => Some("br"),
        Coding::Gzip => Some("gzip"),
        Coding::Identity => None,
    }
}

/// RFC 9110 section 8.8.2.1: never later than the answer's own date. HTTP has no dates before
/// 1970.
fn last_modified(seconds: i64, now: SystemTime) -> Option<SystemTime> {
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(time.min(SystemTime::UNIX_EPOCH + Duration::from_secs(now)))
}
