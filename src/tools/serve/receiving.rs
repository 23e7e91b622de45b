//! A request's body, on its way.

use crate::http::Refusal;
use crate::http::chunked::{Decoder, Part};
use crate::http::request::BodyLength;

pub(super) const TOO_LARGE: Refusal = Refusal {
    status: 413,
    why: "the body is larger than this server takes",
};

/// A request whose body is on its way.
pub(super) struct Receiving {
    pub(super) head: Vec<u8>,
    decoder: Option<Decoder>,
    /// Of a body with a length.
    left: u64,
    pub(super) body: Vec<u8>,
}

impl Receiving {
    pub(super) fn new(body: BodyLength, head: &[u8]) -> Receiving {
        let (decoder, left) = match body {
            BodyLength::Octets(octets) => (None, octets),
            BodyLength::Chunked | BodyLength::None => (Some(Decoder::new()), 0),
        };
        Receiving {
            head: head.to_vec(),
            decoder,
            left,
            body: Vec::new(),
        }
    }

    /// How much of `octets` it took, and whether the body is whole.
    pub(super) fn take(
        &mut self,
        octets: &[u8],
        octets_max: u64,
        keeps: bool,
    ) -> Result<(usize, bool), Refusal> {
        let Some(decoder) = &mut self.decoder else {
            let count = octets
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= count as u64;
            if keeps {
                self.body.extend_from_slice(&octets[..count]);
            }
            return Ok((count, self.left == 0));
        };
        let mut at = 0;
        loop {
            let invalid = |_| Refusal {
                status: 400,
                why: "the chunked coding of the body is not valid",
            };
            let (taken, part) = decoder.decode(&octets[at..]).map_err(invalid)?;
            at += taken;
            match part {
                Part::More => return Ok((at, false)),
                Part::End => return Ok((at, true)),
                Part::Data(data) => {
                    self.left += data.len() as u64;
                    if self.left > octets_max {
                        return Err(TOO_LARGE);
                    }
                    if keeps {
                        self.body.extend_from_slice(data);
                    }
                }
            }
        }
    }
}
