//! A body that is being received, without the receiving.

use super::chunked::{Decoder, Invalid, Part};
use super::response::BodyLength;

/// What is still to come.
pub(crate) enum Remaining {
    Octets(u64),
    Chunked(Box<Decoder>),
    UntilClose,
}

/// What the octets that came first are.
pub(crate) struct Taken<'a> {
    /// How many they are, framing included.
    pub(crate) octets: usize,
    pub(crate) data: &'a [u8],
    /// What follows belongs to the next message.
    pub(crate) is_over: bool,
}

impl From<BodyLength> for Remaining {
    fn from(length: BodyLength) -> Remaining {
        match length {
            BodyLength::Octets(octets) => Remaining::Octets(octets),
            BodyLength::Chunked => Remaining::chunked(),
            BodyLength::UntilClose => Remaining::UntilClose,
        }
    }
}

impl Remaining {
    pub(crate) fn chunked() -> Remaining {
        Remaining::Chunked(Box::new(Decoder::new()))
    }

    /// Takes data or framing off the front of `input`; nothing, if more must come first.
    pub(crate) fn take<'a>(&mut self, input: &'a [u8]) -> Result<Taken<'a>, Invalid> {
        Ok(match self {
            Remaining::Octets(left) => {
                let fitting = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = &input[..input.len().min(fitting)];
                *left -= data.len() as u64;
                Taken {
                    octets: data.len(),
                    data,
                    is_over: *left == 0,
                }
            }
            Remaining::UntilClose => Taken {
                octets: input.len(),
                data: input,
                is_over: false,
            },
            Remaining::Chunked(decoder) => {
                let (octets, part) = decoder.decode(input)?;
                let (data, is_over) = match part {
                    Part::Data(data) => (data, false),
                    Part::More => (&[][..], false),
                    Part::End => (&[][..], true),
                };
                Taken {
                    octets,
                    data,
                    is_over,
                }
            }
        })
    }

    /// Whether the sender's end is the body's end.
    pub(crate) fn ends_at_close(&self) -> bool {
        matches!(self, Remaining::UntilClose)
    }

    /// Behind the last chunk, each with its CRLF.
    pub(crate) fn trailer_lines(&self) -> &[u8] {
        match self {
            Remaining::Chunked(decoder) => decoder.trailer_lines(),
            Remaining::Octets(_) | Remaining::UntilClose => &[],
        }
    }
}
