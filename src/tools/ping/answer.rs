//! Which of the messages that arrive are answers to this ping.

use std::net::SocketAddr;

use super::COOKIE_OCTETS;
use crate::net::icmp::{Mode, Received};
use crate::wire::icmp::{self, ECHO_HEADER_OCTETS, Echo, Message, Problem, Version};
use crate::wire::{self, ip};

/// What a received message is to this ping.
pub(super) enum Answer {
    Reply {
        sequence_number: u16,
        octets: usize,
        intact: bool,
    },
    Problem {
        sequence_number: u16,
        problem: Problem,
    },
    Corrupted,
    /// Another process's, or no answer at all.
    Foreign,
}

/// The ICMP message in what was received, and the hop limit it came with.
pub(super) fn message_of<'a>(
    received: &Received<'a>,
    version: Version,
    mode: Mode,
) -> (Result<&'a [u8], wire::Error>, Option<u8>) {
    if version == Version::V6 || mode == Mode::Datagram || received.problem.is_some() {
        return (Ok(received.octets), received.hop_limit);
    }
    match ip::Packet::parse(received.octets) {
        Ok(packet) => (Ok(packet.payload), Some(packet.hop_limit)),
        Err(error) => (Err(error), None),
    }
}

/// How this ping's own messages are told from others.
pub(super) struct Own<'a> {
    pub(super) identifier: u16,
    pub(super) address: SocketAddr,
    pub(super) payload: &'a [u8],
}

impl Own<'_> {
    pub(super) fn recognise(
        &self,
        received: &Received,
        message: Result<&[u8], wire::Error>,
        version: Version,
    ) -> Answer {
        let Ok(message) = message else {
            return Answer::Foreign;
        };
        if let Some(queued) = received.problem {
            let problem = Problem::new(version, queued.kind, queued.code, queued.info);
            return match (problem, icmp::parse_quoted_request(version, message)) {
                (Some(problem), Ok(echo)) if echo.identifier == self.identifier => {
                    Answer::Problem {
                        sequence_number: echo.sequence_number,
                        problem,
                    }
                }
                _ => Answer::Foreign,
            };
        }
        match Message::parse(version, message) {
            Ok(Message::EchoReply(echo)) => self.recognise_reply(received, &echo),
            Ok(Message::Problem { problem, quote }) => {
                match icmp::parse_quoted_packet(version, quote) {
                    Ok((packet, echo))
                        if packet.destination == self.address.ip()
                            && echo.identifier == self.identifier =>
                    {
                        Answer::Problem {
                            sequence_number: echo.sequence_number,
                            problem,
                        }
                    }
                    _ => Answer::Foreign,
                }
            }
            // Whose it was is not certain, but it came from the host that is asked.
            Err(wire::Error::Checksum) if received.from == self.address.ip() => Answer::Corrupted,
            Ok(Message::Other { .. }) | Err(_) => Answer::Foreign,
        }
    }

    fn recognise_reply(&self, received: &Received, echo: &Echo) -> Answer {
        let cookie = |payload: &[u8]| payload.get(..COOKIE_OCTETS).map(<[u8]>::to_vec);
        let is_own = echo.identifier == self.identifier && received.from == self.address.ip();
        if !is_own || cookie(echo.payload) != cookie(self.payload) {
            return Answer::Foreign;
        }
        Answer::Reply {
            sequence_number: echo.sequence_number,
            octets: ECHO_HEADER_OCTETS + echo.payload.len(),
            intact: echo.payload == self.payload,
        }
    }
}
