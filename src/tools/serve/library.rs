//! Finds what a path means, and keeps what was found for a moment.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::path::{Malformed, Path};
use super::representation::{Content, Identity, Representation};
use super::site::Site;
use crate::http::head::Fields;
use crate::http::negotiate::{self, Coding};

/// For so long a file is taken to be what it was. At thousands of requests a second this spares
/// most of the work; nobody can edit and reload faster.
const TRUSTED_FOR: Duration = Duration::from_millis(10);
/// What nobody asks for is closed: a file that was deleted gives its room back.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Kept by each loop.
const KEPT_MAX: usize = 512;
/// Those that are too large for memory stay open.
const KEPT_FILES_MAX: usize = 16;
const KEPT_OCTETS_MAX: usize = 8 << 20;
/// Files that lie beside the one asked for, in the server's order of preference.
const SIBLINGS: [(Coding, &str); 3] = [
    (Coding::Zstd, ".zst"),
    (Coding::Brotli, ".br"),
    (Coding::Gzip, ".gz"),
];

pub(super) enum Found {
    Page(Arc<Representation>),
    /// It could be compressed, but is not yet.
    Compressible(Arc<Representation>),
    /// A folder without an index file.
    Folder(Path),
    /// A folder, asked for without the slash at its end.
    FolderWithoutSlash(Path),
    Missing,
    Forbidden,
    Malformed(Malformed),
    /// In no coding that the client takes.
    NotAcceptable,
    Failed,
}

#[derive(Default)]
pub(super) struct Library {
    known: HashMap<Vec<u8>, Known>,
    octets: usize,
    files: usize,
    /// When the first of them was kept.
    since: Option<Instant>,
}

struct Known {
    checked: Instant,
    variants: Vec<(Coding, Arc<Representation>)>,
}

impl Library {
    pub(super) fn find(
        &mut self,
        site: &Site,
        raw: &[u8],
        fields: &Fields,
        (now, wall): (Instant, SystemTime),
    ) -> Found {
        if let Some(known) = self.known.get(raw)
            && now < known.checked + TRUSTED_FOR
        {
            return choose(site, &known.variants, fields);
        }
        let path = match Path::parse(raw) {
            Ok(path) => path,
            Err(malformed) => return Found::Malformed(malformed),
        };
        if path.is_hidden() && !site.shows_hidden {
            return Found::Missing;
        }
        let place = match locate(site, &path) {
            Ok(place) => place,
            // Out of descriptors, perhaps, of which some are here.
            Err(Found::Failed) => {
                self.clear();
                match locate(site, &path) {
                    Ok(place) => place,
                    Err(found) => return found,
                }
            }
            Err(found) => return found,
        };
        let old = self.known.remove(raw);
        let old = old.map_or_else(Vec::new, |known| known.variants);
        self.octets -= octets_of(&old);
        self.files -= files_of(&old);
        let Ok(variants) = read(site, &path, place, &old, wall) else {
            return Found::Failed;
        };
        let found = choose(site, &variants, fields);
        self.keep(raw, variants, now);
        found
    }

    /// When all is to be forgotten.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.since.map(|since| since + KEPT_FOR)
    }

    pub(super) fn clear(&mut self) {
        *self = Library::default();
    }

    fn keep(&mut self, raw: &[u8], variants: Vec<(Coding, Arc<Representation>)>, now: Instant) {
        let (octets, files) = (octets_of(&variants), files_of(&variants));
        if self.known.len() >= KEPT_MAX
            || self.octets + octets > KEPT_OCTETS_MAX
            || self.files + files > KEPT_FILES_MAX
        {
            self.clear();
        }
        self.octets += octets;
        self.files += files;
        self.since.get_or_insert(now);
        let known = Known {
            checked: now,
            variants,
        };
        self.known.insert(raw.to_vec(), known);
    }
}

fn files_of(variants: &[(Coding, Arc<Representation>)]) -> usize {
    let is_file =
        |(_, variant): &&(Coding, Arc<Representation>)| matches!(variant.content, Content::File(_));
    variants.iter().filter(is_file).count()
}

fn octets_of(variants: &[(Coding, Arc<Representation>)]) -> usize {
    let octets = |(_, variant): &(Coding, Arc<Representation>)| match &variant.content {
        Content::Memory(octets) => octets.len(),
        Content::File(_) => 0,
    };
    variants.iter().map(octets).sum()
}

fn choose(site: &Site, variants: &[(Coding, Arc<Representation>)], fields: &Fields) -> Found {
    let Some((_, plain)) = variants.first() else {
        return Found::Failed;
    };
    if !plain.identity.varies {
        return Found::Page(Arc::clone(plain));
    }
    let mut available: Vec<Coding> = variants.iter().map(|(coding, _)| *coding).collect();
    let compresses =
        site.compresses && plain.is_compressible() && !available.contains(&Coding::Gzip);
    if compresses {
        available.push(Coding::Gzip);
    }
    let Some(coding) = negotiate::coding(fields, &available) else {
        return Found::NotAcceptable;
    };
    let chosen = variants.iter().find(|(variant, _)| *variant == coding);
    match chosen {
        Some((_, variant)) => Found::Page(Arc::clone(variant)),
        None => match site.compressed(plain) {
            Some(compressed) => Found::Page(compressed),
            None => Found::Compressible(Arc::clone(plain)),
        },
    }
}

/// A regular file, and by which name below the root it was found.
struct Place {
    file: File,
    name: Vec<u8>,
}

fn locate(site: &Site, path: &Path) -> Result<Place, Found> {
    let name = match &site.only {
        None => path.relative(),
        Some(only) if path.segments.is_empty() || path.segments == [only.as_slice()] => {
            return regular(site, only.clone());
        }
        Some(_) => return Err(Found::Missing),
    };
    let file = match site.root.file(&name) {
        Ok(file) => file,
        Err(error) if site.is_pretty && !path.is_folder && is_missing(&error) => {
            let name = [&name, &b".html"[..]].concat();
            return regular(site, name);
        }
        Err(error) => return Err(failure(&error)),
    };
    let metadata = file.metadata().map_err(|error| failure(&error))?;
    if metadata.is_file() {
        // `/file/` is not `/file`.
        return match path.is_folder {
            true => Err(Found::Missing),
            false => Ok(Place { file, name }),
        };
    }
    if !metadata.is_dir() {
        return Err(Found::Forbidden);
    }
    if !path.is_folder {
        return Err(Found::FolderWithoutSlash(path.clone()));
    }
    for index in &site.index {
        match regular(site, [&name, &b"/"[..], index.as_bytes()].concat()) {
            Err(Found::Missing) => {}
            other => return other,
        }
    }
    Err(Found::Folder(path.clone()))
}

/// The file with this name below the root, if that is one.
fn regular(site: &Site, name: Vec<u8>) -> Result<Place, Found> {
    let file = site.root.file(&name).map_err(|error| failure(&error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Place { file, name }),
        _ => Err(Found::Missing),
    }
}

fn read(
    site: &Site,
    path: &Path,
    place: Place,
    old: &[(Coding, Arc<Representation>)],
    wall: SystemTime,
) -> io::Result<Vec<(Coding, Arc<Representation>)>> {
    let mut files = vec![(Coding::Identity, place.file)];
    for (coding, extension) in SIBLINGS {
        let name = [&place.name, extension.as_bytes()].concat();
        if let Ok(sibling) = regular(site, name) {
            files.push((coding, sibling.file));
        }
    }
    let named = site.media_type(&place.name);
    let resource = path.folder();
    let resource = match path.is_folder {
        true => &resource[..],
        false => resource.strip_suffix(b"/").unwrap_or(&resource),
    };
    let siblings = files.len() > 1;
    let mut variants = Vec::with_capacity(files.len());
    for (coding, file) in files {
        let varies = siblings || site.compresses;
        let identity = Identity::of(&file.metadata()?, varies);
        let known = old.iter().find(|(_, variant)| variant.identity == identity);
        let variant = match known {
            Some((_, variant)) => Arc::clone(variant),
            None => {
                let about = (resource, named.as_deref());
                let read = Representation::read(site, file, identity, coding, about, wall);
                Arc::new(read?)
            }
        };
        variants.push((coding, variant));
    }
    Ok(variants)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(failure(error), Found::Missing)
}

fn failure(error: &io::Error) -> Found {
    use nix::errno::Errno;
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EACCES | Errno::EPERM => Found::Forbidden,
        // A link that leads outside, or round and round, is no file here.
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ENAMETOOLONG
        | Errno::EXDEV
        | Errno::ELOOP
        | Errno::ENXIO => Found::Missing,
        _ => Found::Failed,
    }
}
