//! A body on its way from one connection to another, in pieces, so that neither side can make
//! this process hold more than a piece of it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::faults::Pace;
use super::pipe::Pipe;
use super::rewrite::write_trailers;
use crate::cancel::Cancel;
use crate::clock;
use crate::http::body::Remaining;
use crate::http::chunked;
use crate::net;
use crate::net::peer::Peer;

/// Received at once.
const PIECE_OCTETS: usize = 128 << 10;
/// And while it is not known that there is much to come.
const SMALL_PIECE_OCTETS: usize = 8 << 10;
/// From here on the kernel moves the octets itself: below, a pipe costs more than it saves.
const SPLICED_OCTETS_MIN: u64 = 1 << 20;

#[derive(Debug)]
pub(super) enum Broken {
    /// The source closed before the body's end.
    Incomplete,
    Invalid,
    /// The sink has answered already.
    Answered,
    Source(net::Error),
    Sink(net::Error),
}

/// A body that comes in.
pub(super) struct Inflow<'a> {
    pub(super) peer: &'a Peer,
    /// What came and was not taken.
    pub(super) buffer: &'a mut Vec<u8>,
    pub(super) remaining: Remaining,
    taken: usize,
    pub(super) is_over: bool,
}

/// What both directions need.
pub(super) struct Patience<'a> {
    pub(super) stall: Duration,
    pub(super) cancel: &'a Cancel,
}

impl<'a> Inflow<'a> {
    pub(super) fn new(peer: &'a Peer, buffer: &'a mut Vec<u8>, remaining: Remaining) -> Self {
        Inflow {
            peer,
            buffer,
            is_over: matches!(remaining, Remaining::Octets(0)),
            remaining,
            taken: 0,
        }
    }

    /// Takes what has come, without waiting; empty if that is nothing.
    pub(super) fn take(&mut self) -> Result<&[u8], Broken> {
        while !self.is_over {
            let waiting = &self.buffer[self.taken..];
            let taken = self.remaining.take(waiting).map_err(|_| Broken::Invalid)?;
            let (octets, data) = (taken.octets, taken.data.len());
            self.is_over = taken.is_over;
            self.taken += octets;
            if data > 0 {
                // Framing comes before data.
                return Ok(&self.buffer[self.taken - data..self.taken]);
            }
            if octets == 0 {
                break;
            }
        }
        Ok(&[])
    }

    /// Receives more, if the body is not over.
    pub(super) fn fill(&mut self, deadline: Instant, cancel: &Cancel) -> Result<(), Broken> {
        self.compact();
        let octets = self.piece();
        let received = self.peer.receive(self.buffer, octets, deadline, cancel);
        match received.map_err(Broken::Source)? {
            0 => self.ended(),
            _ => Ok(()),
        }
    }

    pub(super) fn ended(&mut self) -> Result<(), Broken> {
        match self.remaining.ends_at_close() {
            true => {
                self.is_over = true;
                Ok(())
            }
            false => Err(Broken::Incomplete),
        }
    }

    pub(super) fn piece(&self) -> usize {
        match &self.remaining {
            Remaining::Octets(left) => {
                let left = usize::try_from(*left).unwrap_or(PIECE_OCTETS);
                left.clamp(SMALL_PIECE_OCTETS, PIECE_OCTETS)
            }
            Remaining::Chunked(_) | Remaining::UntilClose => PIECE_OCTETS,
        }
    }

    /// Takes out of the buffer what was taken of the body.
    pub(super) fn compact(&mut self) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
    }
}

/// How the body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    Plain,
    Chunked,
}

/// A body on its way.
pub(super) struct Relay<'r, 'a> {
    pub(super) from: &'r mut Inflow<'a>,
    pub(super) to: &'r Peer,
    /// What goes before the body: the message's head.
    pub(super) out: &'r mut Vec<u8>,
    pub(super) frames: Frames,
    pub(super) patience: &'r Patience<'r>,
    pub(super) pace: Option<Pace>,
    /// The recipient may answer before it has everything, and then wants no more.
    pub(super) heeds_answers: bool,
    /// Some of it has gone out, be it the head alone.
    pub(super) has_begun: bool,
    /// Of the body so far.
    pub(super) sent: u64,
}

impl Relay<'_, '_> {
    /// Until the body's end.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        loop {
            if let Err(broken) = self.pass_on() {
                // What was right of it is not kept back.
                if self.has_begun || self.sent > 0 {
                    self.flush()?;
                }
                return Err(broken);
            }
            if self.from.is_over {
                if self.frames == Frames::Chunked {
                    self.out.extend_from_slice(b"0\r\n");
                    write_trailers(self.out, self.from.remaining.trailer_lines());
                    self.out.extend_from_slice(b"\r\n");
                }
                return self.flush();
            }
            self.flush()?;
            if !self.splice()? {
                self.wait()?;
            }
        }
    }

    /// Sends what has come.
    fn pass_on(&mut self) -> Result<(), Broken> {
        loop {
            let data = self.from.take()?;
            if data.is_empty() {
                return Ok(());
            }
            let octets = data.len() as u64;
            if let Some(pace) = &mut self.pace {
                send_paced(self.to, self.out, data, self.frames, pace, self.patience)?;
                self.sent += octets;
                continue;
            }
            match self.frames {
                Frames::Plain if data.len() >= SMALL_PIECE_OCTETS => {
                    let Patience { stall, cancel } = *self.patience;
                    let sent = self.to.send_both(self.out, data, stall, cancel);
                    sent.map_err(Broken::Sink)?;
                    self.out.clear();
                }
                Frames::Plain => self.out.extend_from_slice(data),
                Frames::Chunked => chunked::frame(data, self.out),
            }
            self.sent += octets;
            if self.out.len() >= PIECE_OCTETS {
                self.flush()?;
            }
        }
    }

    fn flush(&mut self) -> Result<(), Broken> {
        self.has_begun = true;
        let Patience { stall, cancel } = *self.patience;
        let sent = self.to.send_all(self.out, stall, cancel);
        self.out.clear();
        sent.map_err(Broken::Sink)
    }

    fn wait(&mut self) -> Result<(), Broken> {
        let Patience { stall, cancel } = *self.patience;
        let deadline = clock::now() + stall;
        if self.heeds_answers {
            let ends = [self.from.peer.as_fd(), self.to.as_fd()];
            let waited = cancel.wait_any(&ends, PollFlags::POLLIN, Some(deadline));
            waited.map_err(|cancelled| Broken::Source(cancelled.into()))?;
            if !self.to.is_quiet() {
                return Err(Broken::Answered);
            }
        }
        self.from.fill(deadline, cancel)
    }

    /// Lets the kernel move a large rest; `false` where that is not worth it.
    fn splice(&mut self) -> Result<bool, Broken> {
        let is_plain = self.frames == Frames::Plain && self.pace.is_none() && !self.heeds_answers;
        let Remaining::Octets(left) = &mut self.from.remaining else {
            return Ok(false);
        };
        if !is_plain || *left < SPLICED_OCTETS_MIN {
            return Ok(false);
        }
        let Some(mut pipe) = Pipe::open() else {
            return Ok(false);
        };
        let before = *left;
        let spliced = splice(self.from.peer, self.to, left, &mut pipe, self.patience);
        self.sent += before - *left - pipe.octets as u64;
        self.from.is_over = *left == 0;
        spliced.map(|()| true)
    }
}

/// In small pieces, as over a slow line; what is in `out` goes first.
fn send_paced(
    to: &Peer,
    out: &mut Vec<u8>,
    mut data: &[u8],
    frames: Frames,
    pace: &mut Pace,
    patience: &Patience,
) -> Result<(), Broken> {
    while !data.is_empty() {
        let now = clock::now();
        let slept = patience.cancel.sleep_until(now + pace.wait(now));
        slept.map_err(|cancelled| Broken::Sink(cancelled.into()))?;
        let now = clock::now();
        let allowed = usize::try_from(pace.allowed(now)).unwrap_or(usize::MAX);
        let (piece, rest) = data.split_at(allowed.min(data.len()));
        match frames {
            Frames::Plain => out.extend_from_slice(piece),
            Frames::Chunked => chunked::frame(piece, out),
        }
        let sent = to.send_all(out, patience.stall, patience.cancel);
        out.clear();
        sent.map_err(Broken::Sink)?;
        pace.on_sent(piece.len() as u64, now);
        data = rest;
    }
    Ok(())
}

/// Until `left` is nothing, or one of them fails.
fn splice(
    from: &Peer,
    to: &Peer,
    left: &mut u64,
    pipe: &mut Pipe,
    patience: &Patience,
) -> Result<(), Broken> {
    while *left > 0 {
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
        let filled = pipe.fill_up_to(from, wanted);
        match filled.map_err(|error| Broken::Source(from.cannot_receive(error)))? {
            Some(0) => return Err(Broken::Incomplete),
            Some(count) => *left -= count as u64,
            None => {
                let deadline = clock::now() + patience.stall;
                let waited = from.wait(PollFlags::POLLIN, deadline, patience.cancel);
                waited.map_err(Broken::Source)?;
            }
        }
        while pipe.octets > 0 {
            let drained = pipe.drain(to);
            drained.map_err(|error| Broken::Sink(to.cannot_send(error)))?;
            if pipe.octets > 0 {
                let deadline = clock::now() + patience.stall;
                let waited = to.wait(PollFlags::POLLOUT, deadline, patience.cancel);
                waited.map_err(Broken::Sink)?;
            }
        }
    }
    Ok(())
}
