//! Parts of responses: what a range request brought, and what was there when a download broke
//! off. They answer ranges within them, and what is missing behind a beginning is fetched alone
//! (RFC 9111 sections 3.3 and 3.4).

use std::ops::Range;
use std::sync::Arc;

use super::cache::{Cache, Stored, fields_of};
use super::exchange::{After, Turn};
use super::failure::Failure;
use super::fetch::Fetched;
use super::store::{Body, Meta, Part};
use super::target::Target;
use super::{filling, serving};
use crate::http::head::{Fields, ResponseHead};
use crate::http::range::{self, Ranges, parse_content_range};
use crate::http::response::BodyLength;

/// Of a download that broke off; less is soon fetched again.
pub(super) const BEGINNING_OCTETS_MIN: u64 = 64 << 10;

/// Makes of what a 206 answer says what a 200 answer would have said; `None` if that is not clear.
pub(super) fn describe(meta: &mut Meta, fetched: &Fetched, head: &ResponseHead) -> Option<()> {
    let (range, complete) = parse_content_range(head.fields.first("content-range")?)?;
    let is_whole = fetched.length == BodyLength::Octets(range.end - range.start);
    let has_strong_validator = strong_etag(&head.fields).is_some();
    if !is_whole || !has_strong_validator {
        return None;
    }
    meta.part = Some(Part {
        first: range.start,
        complete: complete?,
    });
    (meta.status, meta.reason) = (200, "OK".to_owned());
    let is_range = |name: &[u8]| name.eq_ignore_ascii_case(b"content-range");
    meta.fields.retain(|(name, _)| !is_range(name));
    Some(())
}

/// How long the body of this answer is, if its beginning is of use alone.
pub(super) fn complete_length(meta: &Meta, fetched: &Fetched) -> Option<u64> {
    let BodyLength::Octets(octets) = fetched.length else {
        return None;
    };
    let is_usable = meta.status == 200 && meta.part.is_none();
    (is_usable && strong_etag(&fields_of(meta)).is_some()).then_some(octets)
}

/// Only what is the same octet by octet can be put together.
fn strong_etag<'f>(fields: &Fields<'f>) -> Option<&'f [u8]> {
    let etag = fields.first("etag")?;
    (!etag.starts_with(b"W/")).then_some(etag)
}

/// The range that the request wants, if a part has all of it.
pub(super) fn covered(turn: &Turn, entry: &Stored) -> Option<Range<u64>> {
    let part = entry.meta.part?;
    if turn.request.head.method != b"GET" || !serving::heeds_range(turn, &fields_of(&entry.meta)) {
        return None;
    }
    let field = turn.request.head.fields.first("range");
    match range::parse(field, part.complete) {
        Ranges::Parts(mut parts) if parts.len() == 1 => {
            let wanted = parts.remove(0);
            let end = part.first + entry.length;
            (wanted.start >= part.first && wanted.end <= end).then_some(wanted)
        }
        Ranges::Parts(_) | Ranges::Whole | Ranges::Unsatisfiable => None,
    }
}

/// What to ask for the rest of a stored beginning.
pub(super) fn conditions(entry: &Stored) -> Option<Vec<(&'static str, String)>> {
    let part = entry.meta.part.filter(|part| part.first == 0)?;
    let fields = fields_of(&entry.meta);
    let etag = String::from_utf8(strong_etag(&fields)?.to_vec()).ok()?;
    let range = format!("bytes={}-", entry.length);
    (entry.length < part.complete).then(|| vec![("Range", range), ("If-Range", etag)])
}

/// Whether this answer is the rest.
pub(super) fn is_rest(entry: &Stored, fetched: &Fetched, head: &ResponseHead) -> bool {
    let content_range = head
        .fields
        .first("content-range")
        .and_then(parse_content_range);
    let part = entry
        .meta
        .part
        .map(|part| (entry.length..part.complete, Some(part.complete)));
    let rest = part
        .as_ref()
        .map(|(range, _)| BodyLength::Octets(range.end - range.start));
    head.status == 206
        && content_range == part
        && rest == Some(fetched.length)
        && strong_etag(&head.fields) == strong_etag(&fields_of(&entry.meta))
}

/// Stores the beginning and the rest as one, and delivers it; `None` if it cannot be stored.
pub(super) fn complete(
    turn: &mut Turn,
    cache: &Cache,
    entry: &Arc<Stored>,
    fetched: Fetched,
    target: &Target,
) -> Result<Option<After>, Failure> {
    let head = fetched.parsed()?;
    let Ok(renewed) = cache.renewed(&entry.meta, turn.request, &fetched, &head) else {
        return Ok(None);
    };
    let meta = Meta {
        part: None,
        ..renewed
    };
    let body = entry.body().ok();
    let writer = cache.store.write(meta.clone(), None);
    let Some((body, mut writer)) = body.zip(writer) else {
        return Ok(None);
    };
    match copy(&body, entry.length, &mut |piece| writer.append(piece)) {
        Ok(()) => filling::fill_rest(turn, writer, entry.length, fetched, &meta, target).map(Some),
        Err(_) => Ok(None),
    }
}

fn copy(
    body: &Body,
    length: u64,
    write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    const PIECE_OCTETS: usize = 256 << 10;
    let file = match body {
        Body::Memory(octets) => return write(octets),
        Body::File(file) => file,
    };
    let mut at = 0;
    while at < length {
        let mut piece = Vec::new();
        let octets = usize::try_from(length - at)
            .unwrap_or(PIECE_OCTETS)
            .min(PIECE_OCTETS);
        match serving::read_piece(file, at, octets, &mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => at += count as u64,
        }
        write(&piece)?;
    }
    Ok(())
}
