//! One exchange as a client: a request out, a response in, over a connection that is there.

use std::time::{Duration, Instant};

use super::Refusal;
use super::body::{Remaining, Taken};
use super::chunked::Invalid;
use super::head::{ResponseHead, Scan, parse_response};
use super::response::{BodyLength, body_length};
use crate::clock;
use crate::net;
use crate::net::tls::Stream;

/// More than any server sends; browsers take 256 KiB.
const HEAD_OCTETS_MAX: usize = 256 << 10;
const BUFFER_OCTETS: usize = 64 << 10;
const INTERIM_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Net(#[from] net::Error),
    /// It is no HTTP, or no safe one.
    #[error("the answer cannot be understood: {0}")]
    Invalid(&'static str),
    #[error("the server closed the connection before it answered")]
    NoAnswer,
    #[error("the server closed the connection after {received} octets{}", of(.announced))]
    Incomplete {
        received: u64,
        announced: Option<u64>,
    },
    /// RFC 9112 section 9.8.
    #[error(
        "the connection ended after {received} octets without the close_notify of TLS: some may \
         be missing"
    )]
    CutOff { received: u64 },
}

fn of(announced: &Option<u64>) -> String {
    announced.map_or_else(String::new, |octets| format!(" of {octets}"))
}

/// A response whose body is still to be read.
pub(crate) struct Response {
    stream: Stream,
    patience: Duration,
    /// Came behind what has been read.
    buffer: Vec<u8>,
    taken: usize,
    /// With its empty line.
    pub(crate) head: Vec<u8>,
    /// Its length where that was announced.
    pub(crate) announced: Option<u64>,
    rest: Remaining,
    received: u64,
    /// When its first octet came.
    pub(crate) began: Instant,
}

impl From<Invalid> for Error {
    fn from(_: Invalid) -> Error {
        Error::Invalid("its chunks are not valid")
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Invalid(refusal.why)
    }
}

/// Sends a whole request, and reads the head of the final answer to it.
///
/// The server may be silent for `patience` at a time.
pub(crate) fn exchange(
    mut stream: Stream,
    method: &str,
    request: &[u8],
    patience: Duration,
) -> Result<Response, Error> {
    let sent = request
        .chunks(BUFFER_OCTETS)
        .try_for_each(|piece| stream.write_all(piece, clock::now() + patience));
    let mut buffer = Vec::new();
    let answered = read_final_head(&mut stream, &mut buffer, patience);
    // A server may answer before it has read everything, and close.
    let (head, began) = match (sent, answered) {
        (_, Ok(answered)) => answered,
        (Err(error), Err(_)) => return Err(error.into()),
        (Ok(()), Err(error)) => return Err(error),
    };
    let parsed = parse_response(&head)?;
    let length = body_length(method.as_bytes(), &parsed)?;
    let announced = match length {
        BodyLength::Octets(octets) => Some(octets),
        BodyLength::Chunked | BodyLength::UntilClose => None,
    };
    Ok(Response {
        stream,
        patience,
        buffer,
        taken: 0,
        head,
        announced,
        rest: length.into(),
        received: 0,
        began,
    })
}

/// RFC 9110 section 15.2: interim answers come first.
pub(crate) fn read_final_head(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    patience: Duration,
) -> Result<(Vec<u8>, Instant), Error> {
    for _ in 0..INTERIM_MAX {
        let (head, began) = read_head(stream, buffer, patience)?;
        match parse_response(&head)?.status {
            101 => return Err(Error::Invalid("it changes to a protocol nobody asked for")),
            100..200 => {}
            _ => return Ok((head, began)),
        }
    }
    Err(Error::Invalid("there are too many interim answers"))
}

/// Takes a head off the front of `buffer`, which is filled as needed.
fn read_head(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    patience: Duration,
) -> Result<(Vec<u8>, Instant), Error> {
    let deadline = clock::now() + patience;
    let mut scan = Scan::default();
    let mut piece = vec![0; BUFFER_OCTETS];
    let mut began = None;
    loop {
        if let Some(found) = scan.find(buffer, HEAD_OCTETS_MAX)? {
            let rest = buffer.split_off(found.end);
            let head = std::mem::replace(buffer, rest).split_off(found.start);
            return Ok((head, began.unwrap_or_else(clock::now)));
        }
        match stream.read(&mut piece, deadline)? {
            0 if buffer.is_empty() => return Err(Error::NoAnswer),
            0 => return Err(Error::Invalid("it ends within the header section")),
            count => buffer.extend_from_slice(&piece[..count]),
        }
        began.get_or_insert_with(clock::now);
    }
}

impl Response {
    pub(crate) fn parsed(&self) -> Result<ResponseHead<'_>, Error> {
        Ok(parse_response(&self.head)?)
    }

    /// Appends the next piece of the body; `false` at its end.
    pub(crate) fn read(&mut self, body: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            let waiting = &self.buffer[self.taken..];
            let Taken {
                octets,
                data,
                is_over,
            } = self.rest.take(waiting)?;
            body.extend_from_slice(data);
            self.received += data.len() as u64;
            let is_progress = !data.is_empty();
            self.taken += octets;
            if is_progress {
                return Ok(true);
            }
            if is_over {
                return Ok(false);
            }
            if !self.fill()? {
                let received = self.received;
                return match self.rest.ends_at_close() {
                    true if self.stream.is_cut_off() => Err(Error::CutOff { received }),
                    true => Ok(false),
                    false => Err(Error::Incomplete {
                        received,
                        announced: self.announced,
                    }),
                };
            }
        }
    }

    /// Whether more has come.
    fn fill(&mut self) -> Result<bool, Error> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + BUFFER_OCTETS, 0);
        let deadline = clock::now() + self.patience;
        let count = self.stream.read(&mut self.buffer[kept..], deadline);
        self.buffer.truncate(kept + *count.as_ref().unwrap_or(&0));
        Ok(count? > 0)
    }
}
