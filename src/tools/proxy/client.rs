//! A client's connection, between requests and in the middle of a head.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Instant;

use super::shared::Shared;
use super::tally::Exchange;
use super::upstream::Origin;
use crate::clock;
use crate::http::Refusal;
use crate::http::head::Scan;
use crate::net::peer::Peer;
use crate::web::places::Place;

/// Received at once while a head is awaited. Most are a few hundred octets.
const PIECE_OCTETS: usize = 2 << 10;

pub(super) struct Client {
    pub(super) peer: Peer,
    /// What came and was not taken.
    pub(super) buffer: Vec<u8>,
    scan: Scan,
    /// When the first octet of a head came that is not complete.
    began: Option<Instant>,
    /// The connection that its last request went over, which its next one is likely to need.
    pub(super) origin: Option<Origin>,
    /// Exchanges that are not in the figures yet.
    pub(super) ledger: Vec<Exchange<'static>>,
    /// Its place among those that may be open at a time.
    pub(super) place: Place,
}

pub(super) const TOO_SLOW: Refusal = Refusal {
    status: 408,
    why: "the request's head took too long",
};

pub(super) enum Next {
    /// A head lies there in `buffer`.
    Head(Range<usize>),
    /// Nothing for now.
    Waits,
    Refused(Refusal),
    /// It has closed, or failed.
    Over,
}

impl Client {
    pub(super) fn new(peer: Peer, place: Place) -> Client {
        Client {
            peer,
            buffer: Vec::new(),
            scan: Scan::default(),
            began: None,
            origin: None,
            ledger: Vec::new(),
            place,
        }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.peer.address.ip().to_canonical()
    }

    pub(super) fn next(&mut self, shared: &Shared) -> Next {
        let octets_max = shared.limits.head_octets;
        loop {
            match self.scan.find(&self.buffer, octets_max) {
                Ok(Some(found)) => {
                    self.scan = Scan::default();
                    self.began = None;
                    return Next::Head(found);
                }
                Ok(None) => {}
                Err(refusal) => return Next::Refused(refusal),
            }
            if self.is_in_head() && clock::now() >= self.deadline(shared) {
                return Next::Refused(TOO_SLOW);
            }
            match self.peer.receive_soon(&mut self.buffer, PIECE_OCTETS) {
                Ok(Some(1..)) => {}
                Ok(None) => return Next::Waits,
                Ok(Some(_)) | Err(_) => return Next::Over,
            }
            if self.began.is_none() && !self.scan.is_before(&self.buffer) {
                self.began = Some(clock::now());
            }
        }
    }

    /// Until when it may wait for the rest of a head, or for the next one.
    pub(super) fn deadline(&self, shared: &Shared) -> Instant {
        match self.began {
            Some(began) => began + shared.limits.head_time,
            None => clock::now() + shared.limits.idle_time,
        }
    }

    pub(super) fn is_in_head(&self) -> bool {
        self.began.is_some()
    }

    /// It is going to wait, and takes as little room as it can.
    pub(super) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}
