//! A response on its way into the cache, and to the client at the same time. The origin is read
//! as fast as it sends: what a slow client has not taken yet waits in the file, so that others
//! who want the same do not wait for him.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::cache::{Cache, Prepared, Stored};
use super::delivery::{Begun, persists_response};
use super::exchange::{After, Turn};
use super::failure::Failure;
use super::fetch::Fetched;
use super::flight::{Arriving, Pilot};
use super::partial;
use super::relay::{Broken, Inflow};
use super::rewrite::{Framing, write_trailers};
use super::serving::read_piece;
use super::shared::Shared;
use super::store::{Meta, Writer};
use super::target::Target;
use super::upstream::Origin;
use crate::cancel::{Wake, poll_until};
use crate::http::body::Remaining;
use crate::http::{chunked, response};
use crate::net::peer::Peer;
use crate::{clock, net};

/// Framed and waiting for the client.
pub(super) const OUT_OCTETS_MAX: usize = 64 << 10;
/// Of all that is not stored, for those who wait for it: endless answers must not fill the disk.
const SHARED_OCTETS_MAX: u64 = 1 << 30;
/// Without a client, and nobody else who waits, this much of the rest is worth fetching.
const REST_OCTETS_MAX: u64 = 1 << 20;

/// Delivers and stores an answer.
pub(super) fn fill(
    turn: &mut Turn,
    cache: &Cache,
    fetched: Fetched,
    meta: Meta,
    writer: Writer<Prepared>,
    pilot: Option<Pilot>,
    target: &Target,
) -> Result<After, Failure> {
    let announced = announced(&fetched);
    let complete = partial::complete_length(&meta, &fetched);
    begin(cache, pilot.as_ref(), &writer, &meta, announced);
    let begun = turn.begin_answer(&fetched, target)?;
    let delivery = Delivery {
        meta: &meta,
        writer,
        beginning: 0,
        complete,
        pilot,
        origin: fetched.origin,
        begun,
    };
    delivery.run(turn)
}

/// Delivers and stores a whole answer whose beginning is written already, and `fetched` the rest.
pub(super) fn fill_rest(
    turn: &mut Turn,
    writer: Writer<Prepared>,
    beginning: u64,
    fetched: Fetched,
    meta: &Meta,
    target: &Target,
) -> Result<After, Failure> {
    let rest = announced(&fetched).unwrap_or(0);
    let framing = Framing::Octets(beginning + rest);
    let begun = Begun {
        framing,
        persistence: turn.begin_stored(meta, Duration::ZERO, target, framing),
        remaining: Remaining::Octets(rest),
        origin_persists: persists_response(&fetched)?,
    };
    let delivery = Delivery {
        meta,
        writer,
        beginning,
        complete: Some(beginning + rest),
        pilot: None,
        origin: fetched.origin,
        begun,
    };
    delivery.run(turn)
}

/// An answer that is both stored and sent.
struct Delivery<'p> {
    meta: &'p Meta,
    writer: Writer<Prepared>,
    /// Of the body, written before.
    beginning: u64,
    /// How long the body is, where what breaks off can be completed later.
    complete: Option<u64>,
    pilot: Option<Pilot<'p>>,
    origin: Origin,
    begun: Begun,
}

impl Delivery<'_> {
    fn run(self, turn: &mut Turn) -> Result<After, Failure> {
        let Delivery {
            meta,
            writer,
            beginning,
            complete,
            pilot,
            mut origin,
            begun,
        } = self;
        let Begun { framing, .. } = begun;
        let mut filling = Filling {
            shared: turn.shared,
            meta,
            inflow: Inflow::new(&origin.peer, &mut origin.buffer, begun.remaining),
            file: Arc::clone(writer.file()),
            length: beginning,
            complete,
            writer: Some(writer),
            pilot,
            client: Some(&turn.client.peer),
            framing,
            out: std::mem::take(turn.out),
            handed: 0,
            has_begun: false,
            borrowed: 0,
        };
        let filled = filling.run();
        turn.is_answered = filling.has_begun;
        filling.inflow.compact();
        turn.note.octets = filling.handed;
        turn.shared.tally.count_fetched(filling.length - beginning);
        *turn.out = std::mem::take(&mut filling.out);
        drop(filling);
        match filled {
            Ok(has_client) => {
                if begun.origin_persists {
                    turn.keep_origin(origin);
                }
                Ok(match has_client {
                    true => turn.after(begun.persistence),
                    false => After::Close,
                })
            }
            Err(Broken::Invalid) if !turn.is_answered => Err(Failure::invalid(
                &turn.note.host,
                "its chunks are not valid",
            )),
            Err(broken) => Ok(turn.broken(&broken, framing)),
        }
    }
}

/// Stores an answer that no client waits for.
pub(super) fn fill_unseen(
    shared: &Shared,
    cache: &Cache,
    fetched: Fetched,
    meta: Meta,
    pilot: Pilot,
) {
    let announced = announced(&fetched);
    let Some(writer) = cache.store.write(meta.clone(), announced) else {
        return;
    };
    begin(cache, Some(&pilot), &writer, &meta, announced);
    let remaining = Remaining::from(fetched.length);
    let mut origin = fetched.origin;
    let mut filling = Filling {
        shared,
        meta: &meta,
        inflow: Inflow::new(&origin.peer, &mut origin.buffer, remaining),
        file: Arc::clone(writer.file()),
        length: 0,
        complete: None,
        writer: Some(writer),
        pilot: Some(pilot),
        client: None,
        framing: Framing::None,
        out: Vec::new(),
        handed: 0,
        has_begun: false,
        borrowed: 0,
    };
    // Nobody is there to be told that it broke off.
    let _ = filling.run();
    shared.tally.count_fetched(filling.length);
}

pub(super) fn announced(fetched: &Fetched) -> Option<u64> {
    match fetched.length {
        response::BodyLength::Octets(octets) => Some(octets),
        response::BodyLength::Chunked | response::BodyLength::UntilClose => None,
    }
}

fn begin(
    cache: &Cache,
    pilot: Option<&Pilot>,
    writer: &Writer<Prepared>,
    meta: &Meta,
    announced: Option<u64>,
) {
    if let Some(pilot) = pilot {
        pilot.begin(Arriving {
            terms: cache.terms(meta),
            meta: meta.clone(),
            file: Arc::clone(writer.file()),
            announced,
        });
    }
}

struct Filling<'f, 'a, 'p> {
    shared: &'f Shared,
    meta: &'f Meta,
    inflow: Inflow<'a>,
    /// Until all of it is stored, or it turns out that it cannot be.
    writer: Option<Writer<Prepared>>,
    file: Arc<File>,
    /// Of the body, in the file.
    length: u64,
    complete: Option<u64>,
    pilot: Option<Pilot<'p>>,
    /// Until he goes.
    client: Option<&'f Peer>,
    framing: Framing,
    /// For the client: the head at first, then the body with its framing.
    out: Vec<u8>,
    /// Of the body, in `out` or sent.
    handed: u64,
    /// Something has been sent to the client.
    has_begun: bool,
    /// In the file, although it is not going to be stored.
    borrowed: u64,
}

impl Drop for Filling<'_, '_, '_> {
    /// What broke off can be completed later.
    fn drop(&mut self) {
        if let Some(cache) = &self.shared.cache {
            cache.borrowed.fetch_sub(self.borrowed, Ordering::Relaxed);
        }
        if let (Some(writer), Some(complete)) = (self.writer.take(), self.complete)
            && self.length >= partial::BEGINNING_OCTETS_MIN
            && !self.is_outdated()
            && let Some(entry) = writer.commit_beginning(complete)
        {
            self.remove_outdated(&entry);
        }
    }
}

impl Filling<'_, '_, '_> {
    /// Whether the client got all of it.
    fn run(&mut self) -> Result<bool, Broken> {
        let mut stalls_at = clock::now() + self.shared.limits.stall;
        loop {
            match self.take() {
                Ok(true) => stalls_at = clock::now() + self.shared.limits.stall,
                Ok(false) => {}
                Err(broken) => {
                    // What was right of it is not kept back, unless there may be a better answer.
                    if self.has_begun || self.length > 0 {
                        self.send_now();
                    }
                    return Err(broken);
                }
            }
            if self.inflow.is_over {
                break;
            }
            self.send_now();
            if self.client.is_none() && !self.is_worth_it() {
                return Ok(false);
            }
            self.receive(stalls_at)?;
        }
        self.land();
        self.finish()
    }

    /// Stored before its last octet is sent: whoever asks after that finds it.
    fn land(&mut self) {
        // Asked before, so that it takes the place of nothing newer, and after, so that nothing
        // changes in between.
        let writer = self.writer.take().filter(|_| !self.is_outdated());
        let entry = writer.and_then(Writer::commit);
        let entry = entry.filter(|entry| !self.remove_outdated(entry));
        match (self.pilot.take(), entry) {
            (Some(pilot), Some(entry)) => pilot.land(entry),
            (Some(pilot), None) => pilot.complete(self.length),
            (None, _) => {}
        }
    }

    /// It has changed at its origin since it was asked for.
    fn is_outdated(&self) -> bool {
        let cache = self.shared.cache.as_ref();
        cache.is_none_or(|cache| cache.is_outdated(self.meta))
    }

    fn remove_outdated(&self, entry: &Arc<Stored>) -> bool {
        let is_outdated = self.is_outdated();
        if let (true, Some(cache)) = (is_outdated, &self.shared.cache) {
            cache.store.remove(entry);
        }
        is_outdated
    }

    /// Stores what has come, and hands it to the client if he has all before it.
    fn take(&mut self) -> Result<bool, Broken> {
        let before = self.length;
        loop {
            let data = self.inflow.take()?;
            if data.is_empty() {
                break;
            }
            let octets = data.len() as u64;
            let stored = self.writer.as_mut().map(|writer| writer.append(data));
            if !matches!(stored, Some(Ok(()))) {
                let data = data.to_vec();
                self.pass_by(&data)?;
                continue;
            }
            let is_up_to_date = self.handed == self.length;
            self.length += octets;
            if is_up_to_date && self.out.len() < OUT_OCTETS_MAX && self.client.is_some() {
                self.handed += octets;
                frame(self.framing, data, &mut self.out);
            }
        }
        if let Some(pilot) = &self.pilot
            && self.length > before
        {
            pilot.advance(self.length);
        }
        Ok(self.length > before)
    }

    /// The disk is full, or this is larger than the cache wants.
    fn pass_by(&mut self, data: &[u8]) -> Result<(), Broken> {
        self.writer = None;
        // The file has no name any more, but others read it.
        if self.pilot.as_ref().is_some_and(Pilot::has_passengers)
            && self.borrow(data.len() as u64)
            && self.file.write_all_at(data, self.length).is_ok()
        {
            self.length += data.len() as u64;
            return Ok(());
        }
        self.pilot = None;
        let Some(client) = self.client else {
            return Ok(());
        };
        self.catch_up(client)?;
        frame(self.framing, data, &mut self.out);
        self.length += data.len() as u64;
        self.handed = self.length;
        let (stall, cut) = (self.shared.limits.stall, &self.shared.cut);
        self.has_begun = true;
        client
            .send_all(&self.out, stall, cut)
            .map_err(Broken::Sink)?;
        self.out.clear();
        Ok(())
    }

    /// Room on the disk for what is not stored.
    fn borrow(&mut self, octets: u64) -> bool {
        let Some(cache) = &self.shared.cache else {
            return false;
        };
        self.borrowed += octets;
        cache.borrowed.fetch_add(octets, Ordering::Relaxed) + octets <= SHARED_OCTETS_MAX
    }

    /// What the client takes without waiting.
    fn send_now(&mut self) {
        let Some(client) = self.client else { return };
        loop {
            if self.out.is_empty() && self.refill().is_err() {
                self.client = None;
                return;
            }
            match client.send_now(&self.out) {
                Ok(0) => return,
                Ok(sent) => {
                    self.has_begun = true;
                    self.out.drain(..sent);
                }
                Err(_) => {
                    self.client = None;
                    return;
                }
            }
        }
    }

    /// Gets from the file what the client was too slow for.
    fn refill(&mut self) -> std::io::Result<()> {
        let left = usize::try_from(self.length - self.handed).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(());
        }
        let mut piece = Vec::new();
        let octets = left.min(OUT_OCTETS_MAX);
        let read = read_piece(&self.file, self.handed, octets, &mut piece)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.handed += read as u64;
        frame(self.framing, &piece, &mut self.out);
        Ok(())
    }

    /// Whether to go on without the client.
    fn is_worth_it(&self) -> bool {
        let is_short = match &self.inflow.remaining {
            Remaining::Octets(left) => *left <= REST_OCTETS_MAX.max(self.length),
            Remaining::Chunked(_) | Remaining::UntilClose => false,
        };
        let waits = |pilot: &Pilot| pilot.has_passengers();
        let is_stored = self.writer.is_some();
        (is_stored && (is_short || self.framing == Framing::None))
            || self.pilot.as_ref().is_some_and(waits)
    }

    /// Waits until the origin has sent more, or the client takes more.
    fn receive(&mut self, stalls_at: Instant) -> Result<(), Broken> {
        let client = self.client.filter(|_| !self.out.is_empty());
        let Some(client) = client else {
            return self.inflow.fill(stalls_at, &self.shared.cut);
        };
        let origin = self.inflow.peer;
        let mut fds = [
            PollFd::new(self.shared.cut.as_fd(), PollFlags::POLLIN),
            PollFd::new(origin.as_fd(), PollFlags::POLLIN),
            PollFd::new(client.as_fd(), PollFlags::POLLOUT),
        ];
        let wake = poll_until(&mut fds, Some(stalls_at));
        if self.shared.cut.is_cancelled() {
            return Err(Broken::Source(net::Error::Cancelled));
        }
        if wake == Ok(Wake::TimedOut) {
            let text = format!("{} does not answer", origin.address);
            return Err(Broken::Source(net::Error::TimedOut(text)));
        }
        self.inflow.compact();
        let octets = self.inflow.piece();
        match origin.receive_now(self.inflow.buffer, octets) {
            Ok(Some(0)) => self.inflow.ended(),
            Ok(_) => Ok(()),
            Err(error) => Err(Broken::Source(origin.cannot_receive(error))),
        }
    }

    /// The rest for the client, who may take his time now.
    fn finish(&mut self) -> Result<bool, Broken> {
        let Some(client) = self.client else {
            return Ok(false);
        };
        self.has_begun = true;
        self.catch_up(client)?;
        if self.framing == Framing::Chunked {
            self.out.extend_from_slice(b"0\r\n");
            write_trailers(&mut self.out, self.inflow.remaining.trailer_lines());
            self.out.extend_from_slice(b"\r\n");
        }
        let (stall, cut) = (self.shared.limits.stall, &self.shared.cut);
        client
            .send_all(&self.out, stall, cut)
            .map_err(Broken::Sink)?;
        Ok(true)
    }

    /// What is in the file is in `out` or sent.
    fn catch_up(&mut self, client: &Peer) -> Result<(), Broken> {
        let (stall, cut) = (self.shared.limits.stall, &self.shared.cut);
        while self.handed < self.length {
            client
                .send_all(&self.out, stall, cut)
                .map_err(Broken::Sink)?;
            self.out.clear();
            let refilled = self.refill();
            refilled.map_err(|error| Broken::Sink(client.cannot_send(error)))?;
        }
        Ok(())
    }
}

pub(super) fn frame(framing: Framing, data: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => chunked::frame(data, out),
        Framing::Octets(_) | Framing::UntilClose | Framing::None | Framing::Nothing => {
            out.extend_from_slice(data)
        }
    }
}
