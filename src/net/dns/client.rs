//! One query to one name server.
//!
//! What cannot be sent, what is refused and what does not come in time are all silence: another
//! server may answer.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::poll::PollFlags;

use crate::cancel::{Cancel, Cancelled, Wake};
use crate::net::{Error, tcp, udp};
use crate::wire::dns::{Query, Response};

/// Not all servers keep to what they are asked for.
const DATAGRAM_OCTETS_MAX: usize = 65_535;
/// Each datagram that is no answer may be somebody's guess (RFC 5452 section 9.3). So few of them
/// have no chance, and the next query has other numbers.
const STRANGERS_MAX: usize = 64;

/// From a port that the kernel draws for this query alone (RFC 5452 section 9.2). The socket
/// gets nothing from anybody but the server.
pub(super) fn over_udp(
    server: SocketAddr,
    query: &Query,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Option<Response>, Cancelled> {
    let Ok(socket) = udp::connect(server) else {
        return Ok(None);
    };
    if socket.send(&query.emit()).is_err() {
        return Ok(None);
    }
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    for _ in 0..STRANGERS_MAX {
        if cancel.wait(socket.as_fd(), PollFlags::POLLIN, Some(deadline))? == Wake::TimedOut {
            return Ok(None);
        }
        let response = match socket.recv(&mut buffer) {
            Ok(count) => answer(query, &buffer[..count]),
            // One with a wrong checksum is gone when it is to be read.
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => return Ok(None),
        };
        if response.is_some() {
            return Ok(response);
        }
    }
    Ok(None)
}

pub(super) fn over_tcp(
    server: SocketAddr,
    query: &Query,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Option<Response>, Cancelled> {
    match exchange(server, query, deadline, cancel) {
        Ok(message) => Ok(answer(query, &message)),
        Err(Error::Cancelled) => Err(Cancelled),
        Err(_) => Ok(None),
    }
}

/// RFC 1035 section 4.2.2: each message has its length in front, and leaves together with it
/// (RFC 7766 section 8).
fn exchange(
    server: SocketAddr,
    query: &Query,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<Vec<u8>, Error> {
    let mut connection = tcp::connect(server, deadline, cancel)?;
    let message = query.emit();
    // A name's limit keeps a query far below 65,536 octets.
    let [.., high, low] = message.len().to_be_bytes();
    connection.write_all(&[&[high, low], &message[..]].concat(), deadline)?;
    let mut fill = |buffer: &mut [u8]| {
        let mut filled = 0;
        while filled < buffer.len() {
            match connection.read(&mut buffer[filled..], deadline)? {
                0 => return Err(Error::Closed(server)),
                count => filled += count,
            }
        }
        Ok(())
    };
    let mut length = [0; 2];
    fill(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut message)?;
    Ok(message)
}

fn answer(query: &Query, message: &[u8]) -> Option<Response> {
    let response = Response::parse(message).ok();
    response.filter(|response| response.matches(query))
}
