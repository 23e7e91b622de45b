//! The classic lab's UDP ping: `PING <sequence number> <hh:mm:ss>`, answered by `pong`.
//!
//! A client that wants to know more adds a session, eight hexadecimal digits, and dots as
//! padding; a server that knows it answers with what it saw:
//! `pong <sequence number> <session> <requests so far> <received at> <nanoseconds until sent>`.
//! Request 0 is not counted, and asks how many were. Other servers answer as ever. No answer is longer than its request, and none is answered
//! again.

use std::fmt::Write;
use std::time::Duration;

/// The longest request with a session, and so the shortest that can have the longest reply.
pub(crate) const EXTENDED_OCTETS: usize = 80;

const PONG: &[u8] = b"pong";

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) sequence_number: u32,
    /// The time of day, for people.
    pub(crate) time: &'a str,
    pub(crate) session: Option<u32>,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Servers that merely echo, or turn to upper case, tell it; a bare `pong` does not.
    pub(crate) sequence_number: Option<u32>,
    pub(crate) report: Option<Report>,
}

/// What the server saw of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) session: u32,
    /// With this one.
    pub(crate) requests: u32,
    /// By the server's clock, since 1970.
    pub(crate) received: Duration,
    /// From then until the reply was sent.
    pub(crate) turnaround: Duration,
}

impl Request<'_> {
    /// Padded to this size with dots; never cut.
    pub(crate) fn emit(&self, octets: usize) -> Vec<u8> {
        let mut text = format!("PING {} {}", self.sequence_number, self.time);
        if let Some(session) = self.session {
            let _ = write!(text, " {session:08x} ");
        }
        let mut emitted = text.into_bytes();
        emitted.resize(octets.max(emitted.len()), b'.');
        emitted
    }

    /// It asks how many requests of its session have come.
    pub(crate) fn is_count(&self) -> bool {
        self.sequence_number == 0 && self.session.is_some()
    }

    /// `None` for what merely is some datagram.
    pub(crate) fn parse(octets: &[u8]) -> Option<Request<'_>> {
        let mut words = words(octets);
        if words.next()? != "PING" {
            return None;
        }
        let sequence_number = words.next()?.parse().ok()?;
        let time = words.next()?;
        let session = words.next().filter(|word| word.len() == 8);
        Some(Request {
            sequence_number,
            time,
            session: session.and_then(|session| u32::from_str_radix(session, 16).ok()),
        })
    }
}

impl Reply {
    /// The answer to a datagram of so many octets.
    pub(crate) fn emit(&self, octets: usize) -> Vec<u8> {
        let mut emitted = PONG.to_vec();
        if let (Some(number), Some(report)) = (self.sequence_number, self.report) {
            let extended = format!(
                "pong {number} {:08x} {} {}.{:09} {}",
                report.session,
                report.requests,
                report.received.as_secs(),
                report.received.subsec_nanos(),
                report.turnaround.as_nanos()
            );
            if extended.len() <= octets {
                emitted = extended.into_bytes();
            }
        }
        emitted.truncate(octets);
        emitted
    }

    /// Whatever a server answers is a reply; some tell to what.
    pub(crate) fn parse(octets: &[u8]) -> Reply {
        let mut words = words(octets);
        let first = words.next().unwrap_or_default();
        let is_known = ["PING", "pong"]
            .iter()
            .any(|word| first.eq_ignore_ascii_case(word));
        let sequence_number = words
            .next()
            .filter(|_| is_known)
            .and_then(|word| word.parse().ok());
        Reply {
            sequence_number,
            report: sequence_number.and_then(|_| Report::parse(words)),
        }
    }
}

impl Report {
    fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Report> {
        let session = words.next().filter(|word| word.len() == 8)?;
        let session = u32::from_str_radix(session, 16).ok()?;
        let requests = words.next()?.parse().ok()?;
        let (seconds, nanoseconds) = words.next()?.split_once('.')?;
        let nanoseconds: u32 = nanoseconds
            .parse()
            .ok()
            .filter(|_| nanoseconds.len() == 9)?;
        let turnaround = words.next()?.parse().ok()?;
        Some(Report {
            session,
            requests,
            received: Duration::new(seconds.parse().ok()?, nanoseconds),
            turnaround: Duration::from_nanos(turnaround),
        })
    }
}

/// Whether this is an answer, or the beginning of one: answering it might never end.
pub(crate) fn is_reply(octets: &[u8]) -> bool {
    let common = octets.len().min(PONG.len());
    octets[..common].eq_ignore_ascii_case(&PONG[..common])
}

fn words(octets: &[u8]) -> impl Iterator<Item = &str> {
    octets
        .split(|octet| octet.is_ascii_whitespace())
        .map_while(|word| std::str::from_utf8(word).ok())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Reply = Reply {
        sequence_number: Some(u32::MAX),
        report: Some(Report {
            session: u32::MAX,
            requests: u32::MAX,
            received: Duration::new(9_999_999_999, 999_999_999),
            turnaround: Duration::from_nanos(9_999_999_999),
        }),
    };

    #[test]
    fn requests() {
        let mut request = Request {
            sequence_number: 7,
            time: "14:05:09",
            session: None,
        };
        assert_eq!(request.emit(0), b"PING 7 14:05:09");
        assert_eq!(request.emit(17), b"PING 7 14:05:09..");
        request.session = Some(0x9f3a_6c21);
        assert_eq!(request.emit(30), b"PING 7 14:05:09 9f3a6c21 .....");
        assert_eq!(Request::parse(&request.emit(80)), Some(request));
        for other in [
            "",
            "hello",
            "PING",
            "PING x",
            "ping 1 14:05:09",
            "\u{0}\u{ff}",
        ] {
            assert_eq!(Request::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn replies() {
        let reply = Reply {
            sequence_number: Some(7),
            report: Some(Report {
                session: 0x9f3a_6c21,
                requests: 5,
                received: Duration::new(1_795_212_653, 943_494_123),
                turnaround: Duration::from_nanos(6123),
            }),
        };
        let text = "pong 7 9f3a6c21 5 1795212653.943494123 6123";
        assert_eq!(reply.emit(80), text.as_bytes());
        assert_eq!(Reply::parse(text.as_bytes()), reply);
        assert_eq!(reply.emit(text.len() - 1), b"pong");
        assert_eq!(reply.emit(2), b"po");
        assert!(LONGEST.emit(usize::MAX).len() <= EXTENDED_OCTETS);
    }

    /// What other servers make of a request.
    #[test]
    fn answers_of_other_servers() {
        let number = |text: &str| Reply::parse(text.as_bytes()).sequence_number;
        assert_eq!(number("PING 3 14:05:09"), Some(3));
        assert_eq!(number("Ping 3 14:05:09\n"), Some(3));
        assert_eq!(number("pong 3"), Some(3));
        for bare in ["pong", "PONG\n", "", "hello 3", "pong x"] {
            assert_eq!(number(bare), None, "{bare}");
        }
    }

    proptest! {
        #[test]
        fn answers_are_never_answered_and_never_longer(octets: Vec<u8>, size in 0_usize..200) {
            let _ = Request::parse(&octets);
            let reply = Reply::parse(&octets);
            prop_assert!(is_reply(&reply.emit(size)));
            prop_assert!(is_reply(&LONGEST.emit(size)));
            prop_assert!(reply.emit(size).len() <= size);
        }
    }
}
