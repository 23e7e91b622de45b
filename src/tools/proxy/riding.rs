//! A response that somebody else is storing, delivered as far as he is.

use std::time::Duration;

use super::exchange::{After, Turn};
use super::failure::Failure;
use super::filling::{OUT_OCTETS_MAX, frame};
use super::flight::{Arriving, Passenger, Stage};
use super::relay::Broken;
use super::rewrite::Framing;
use super::serving::read_piece;
use super::target::Target;
use crate::clock;
use crate::http::{Version, chunked};

/// Delivers what somebody else is storing, as far as he is.
pub(super) fn ride(
    turn: &mut Turn,
    passenger: &Passenger,
    arriving: &Arriving,
    age: Duration,
    target: &Target,
) -> Result<After, Failure> {
    let is_http10 = turn.request.head.version == Version::Http10;
    let framing = match arriving.announced {
        _ if arriving.meta.status == 204 => Framing::Nothing,
        Some(octets) => Framing::Octets(octets),
        None if is_http10 => Framing::UntilClose,
        None => Framing::Chunked,
    };
    let persistence = turn.begin_stored(&arriving.meta, age, target, framing);
    let carried = carry(turn, passenger, arriving, framing);
    match carried {
        Ok(()) => Ok(turn.after(persistence)),
        Err(broken) => Ok(turn.broken(&broken, framing)),
    }
}

fn carry(
    turn: &mut Turn,
    passenger: &Passenger,
    arriving: &Arriving,
    framing: Framing,
) -> Result<(), Broken> {
    let (stall, cut) = (turn.shared.limits.stall, &turn.shared.cut);
    let client = &turn.client.peer;
    let mut at = 0;
    loop {
        let is_more = |stage: &Stage| match stage {
            Stage::Arriving(_, written) => *written > at,
            Stage::Asking | Stage::Landed(_) | Stage::Complete(_) | Stage::GivenUp => true,
        };
        let (written, is_over) = match passenger.wait(is_more, clock::now() + stall, cut) {
            Stage::Arriving(_, written) => (written, false),
            Stage::Landed(entry) => (entry.length, true),
            Stage::Complete(octets) => (octets, true),
            Stage::Asking | Stage::GivenUp => return Err(Broken::Incomplete),
        };
        while at < written {
            let octets = usize::try_from(written - at).unwrap_or(usize::MAX);
            let mut piece = Vec::new();
            let read = read_piece(&arriving.file, at, octets.min(OUT_OCTETS_MAX), &mut piece);
            match read {
                Ok(count @ 1..) => at += count as u64,
                Ok(_) | Err(_) => return Err(Broken::Incomplete),
            }
            frame(framing, &piece, turn.out);
            client
                .send_all(turn.out, stall, cut)
                .map_err(Broken::Sink)?;
            turn.out.clear();
            turn.note.octets = at;
        }
        if is_over {
            if framing == Framing::Chunked {
                turn.out.extend_from_slice(chunked::LAST);
            }
            return client.send_all(turn.out, stall, cut).map_err(Broken::Sink);
        }
    }
}
