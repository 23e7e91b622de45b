//! A stored response on its way to a client: the whole of it, a range, or that nothing changed.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;

use super::cache::{Cache, Stored, fields_of, is_age};
use super::exchange::{After, NAME, Turn};
use super::failure::Failure;
use super::faults::{Fault, Pace};
use super::partial;
use super::relay::Broken;
use super::rewrite::{
    Framing, line, line_of, write_fence, write_field, write_framing, write_persistence,
    write_status_line,
};
use super::store::Body;
use super::tally::Outcome;
use super::target::{Form, Target};
use crate::clock;
use crate::http::caching::cache_status::{self, CacheStatus};
use crate::http::condition::{self, Validators};
use crate::http::head::{Field, Fields};
use crate::http::{range, reason};
use crate::net;

/// A call of the kernel moves no more than that.
const SENDFILE_OCTETS_MAX: u64 = 1 << 30;

/// How a stored response came to be an answer.
pub(super) struct Served<'s> {
    pub(super) age: Duration,
    pub(super) outcome: Outcome,
    pub(super) status: cache_status::Outcome,
    /// Seconds it stays fresh, or below zero has not been.
    pub(super) ttl: i64,
    pub(super) detail: Option<&'s str>,
}

/// What of the response is sent.
enum Part {
    Whole,
    Range(Range<u64>),
    NotModified,
    Unsatisfiable,
}

/// `None`: what was stored is gone, or damaged, and has to be fetched.
pub(super) fn serve(
    turn: &mut Turn,
    cache: &Cache,
    entry: &Arc<Stored>,
    target: &Target,
    fault: &Fault,
    served: &Served,
) -> Result<Option<After>, Failure> {
    let Ok(body) = entry.body() else {
        return Ok(None);
    };
    cache.store.touch(entry);
    let part = part(turn, cache, entry);
    if entry.meta.part.is_some() && !matches!(part, Part::Range(_)) {
        return Ok(None);
    }
    // Where the stored octets begin in the whole, and how long that is.
    let (first, complete) = match entry.meta.part {
        Some(part) => (part.first, part.complete),
        None => (0, entry.length),
    };
    let sent = match &part {
        Part::Whole => 0..entry.length,
        Part::Range(range) => range.start - first..range.end - first,
        Part::NotModified | Part::Unsatisfiable => 0..0,
    };
    let framing = match part {
        Part::NotModified => Framing::None,
        Part::Whole if entry.meta.status == 204 => Framing::Nothing,
        Part::Whole | Part::Range(_) | Part::Unsatisfiable => {
            Framing::Octets(sent.end - sent.start)
        }
    };
    let persistence = turn.persistence_with(framing);
    turn.out.clear();
    write_head(turn, cache, entry, complete, target, &part);
    line_of(turn.out, "Age", served.age.as_secs());
    let status = CacheStatus {
        by: NAME,
        outcome: served.status,
        ttl: Some(served.ttl),
        detail: served.detail,
    };
    line_of(turn.out, "Cache-Status", status);
    write_framing(turn.out, &Fields::default(), framing);
    write_persistence(turn.out, persistence);
    turn.out.extend_from_slice(b"\r\n");
    turn.is_answered = true;
    turn.note.outcome = served.outcome;
    let sent = if turn.request.head.method == b"HEAD" {
        0..0
    } else {
        sent
    };
    let octets = sent.end - sent.start;
    let pace = fault.rate.map(|rate| Pace::new(rate, clock::now()));
    match send(turn, &body, sent, pace) {
        Ok(()) => {
            turn.note.octets = octets;
            Ok(Some(turn.after(persistence)))
        }
        Err(error) => Ok(Some(turn.broken(&Broken::Sink(error), framing))),
    }
}

fn part(turn: &Turn, cache: &Cache, entry: &Stored) -> Part {
    if let Some(range) = partial::covered(turn, entry) {
        return Part::Range(range);
    }
    let terms = &cache.prepared(entry).terms;
    let request = &turn.request.head.fields;
    let validators = Validators {
        etag: terms.etag.as_deref(),
        last_modified: terms.last_modified,
    };
    if entry.meta.status != 200 {
        return Part::Whole;
    }
    match condition::evaluate(request, true, Some(&validators)) {
        condition::Outcome::NotModified => Part::NotModified,
        condition::Outcome::Proceed { range: true } if turn.request.head.method == b"GET" => {
            match range::parse(request.first("range"), entry.length) {
                range::Ranges::Unsatisfiable => Part::Unsatisfiable,
                // Several would make a message of its own kind; all of it is an answer, too.
                range::Ranges::Parts(mut parts) if parts.len() == 1 => Part::Range(parts.remove(0)),
                range::Ranges::Parts(_) | range::Ranges::Whole => Part::Whole,
            }
        }
        // RFC 9111 section 4.3.2: the other conditions are for the origin, and do not get here.
        condition::Outcome::Proceed { .. } | condition::Outcome::PreconditionFailed => Part::Whole,
    }
}

/// Whether a Range field counts for a representation with these fields, by its If-Range; one with
/// other conditions is none for a part.
pub(super) fn heeds_range(turn: &Turn, stored: &Fields) -> bool {
    let request = &turn.request.head.fields;
    let has = |name: &str| request.first(name).is_some();
    if has("if-none-match") || has("if-modified-since") {
        return false;
    }
    request
        .first("if-range")
        .is_none_or(|etag| stored.first("etag") == Some(etag))
}

fn write_head(
    turn: &mut Turn,
    cache: &Cache,
    entry: &Stored,
    complete: u64,
    target: &Target,
    part: &Part,
) {
    turn.note.status = match part {
        Part::Whole => entry.meta.status,
        Part::Range(_) => 206,
        Part::NotModified => 304,
        Part::Unsatisfiable => 416,
    };
    let status = turn.note.status;
    let out = &mut *turn.out;
    // Whatever leads elsewhere reads otherwise in the other forms.
    let is_as_stored =
        target.form == Form::Absolute || (target.form == Form::Reverse && entry.meta.status == 200);
    if let (Part::Whole, true) = (part, is_as_stored) {
        out.extend_from_slice(&cache.prepared(entry).head);
        return;
    }
    match part {
        Part::Whole => write_status_line(out, status, entry.meta.reason.as_bytes()),
        _ => write_status_line(out, status, reason(status).as_bytes()),
    }
    let fields = fields_of(&entry.meta);
    for field in fields.0.iter().filter(|field| !is_age(field)) {
        let is_left_out = matches!(part, Part::NotModified | Part::Unsatisfiable);
        if !(is_left_out && describes_content(field)) {
            write_field(out, field, target);
        }
    }
    write_fence(out, target);
    match part {
        Part::Range(range) => {
            let value = range::content_range(range, complete);
            line(out, b"Content-Range", value.as_bytes());
        }
        Part::Unsatisfiable => {
            line(
                out,
                b"Content-Range",
                range::unsatisfied(complete).as_bytes(),
            );
        }
        Part::Whole | Part::NotModified => {}
    }
}

/// RFC 9110 section 15.4.5: a 304 leaves out what it does not need for updating a cache.
fn describes_content(field: &Field) -> bool {
    let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
    is(b"content-type")
        || is(b"content-encoding")
        || is(b"content-language")
        || is(b"content-range")
}

fn send(
    turn: &mut Turn,
    body: &Body,
    range: Range<u64>,
    pace: Option<Pace>,
) -> Result<(), net::Error> {
    let (peer, stall, cut) = (
        &turn.client.peer,
        turn.shared.limits.stall,
        &turn.shared.cut,
    );
    if let Some(mut pace) = pace {
        peer.send_all(turn.out, stall, cut)?;
        let mut at = range.start;
        while at < range.end {
            let now = clock::now();
            cut.sleep_until(now + pace.wait(now))?;
            let now = clock::now();
            let next = range.end.min(at.saturating_add(pace.allowed(now)));
            send_part(turn, body, at..next, &[])?;
            pace.on_sent(next - at, now);
            at = next;
        }
        return Ok(());
    }
    let head = std::mem::take(turn.out);
    let sent = send_part(turn, body, range, &head);
    *turn.out = head;
    sent
}

fn send_part(turn: &Turn, body: &Body, range: Range<u64>, head: &[u8]) -> Result<(), net::Error> {
    let (peer, stall, cut) = (
        &turn.client.peer,
        turn.shared.limits.stall,
        &turn.shared.cut,
    );
    match body {
        Body::Memory(octets) => {
            let index = |at| usize::try_from(at).unwrap_or(usize::MAX).min(octets.len());
            peer.send_both(
                head,
                &octets[index(range.start)..index(range.end)],
                stall,
                cut,
            )
        }
        Body::File(file) => {
            peer.send_all(head, stall, cut)?;
            send_file(turn, file, range)
        }
    }
}

/// The kernel moves the octets from the file itself.
pub(super) fn send_file(turn: &Turn, file: &File, range: Range<u64>) -> Result<(), net::Error> {
    let (peer, stall, cut) = (
        &turn.client.peer,
        turn.shared.limits.stall,
        &turn.shared.cut,
    );
    let mut at = range.start;
    while at < range.end {
        let count = (range.end - at).min(SENDFILE_OCTETS_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(peer, file, Some(&mut at), count) {
            Ok(1..) => {}
            // The file is shorter than it was: nothing can be sent in its place.
            Ok(_) => return Err(peer.cannot_send(ErrorKind::UnexpectedEof.into())),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => {
                    peer.wait(PollFlags::POLLOUT, clock::now() + stall, cut)?
                }
                _ => return Err(peer.cannot_send(error.into())),
            },
        }
        if cut.is_cancelled() {
            return Err(net::Error::Cancelled);
        }
    }
    Ok(())
}

/// Appends a piece of a file; less than wanted only at its end.
pub(super) fn read_piece(
    file: &File,
    at: u64,
    octets: usize,
    out: &mut Vec<u8>,
) -> std::io::Result<usize> {
    let start = out.len();
    out.resize(start + octets, 0);
    let read = file.read_at(&mut out[start..], at);
    out.truncate(start + *read.as_ref().unwrap_or(&0));
    read
}
