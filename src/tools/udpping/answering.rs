//! What a server answers to a datagram. Pure: what time it is, it is told.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::dialect::CLOCK_ERROR;
use super::sessions::Sessions;
use crate::echo::{Reason, RecentStamps};
use crate::wire::mac::Key;
use crate::wire::ping_pong;
use crate::wire::stamp;
use crate::wire::timestamp::{ErrorEstimate, Timestamp};

/// A datagram that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) octets: &'a [u8],
    pub(super) hop_limit: Option<u8>,
    /// When it came, since 1970.
    pub(super) received: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    Refused(Reason),
    /// No packet of this protocol, or with a wrong HMAC.
    NotUnderstood,
}

pub(super) enum Answerer {
    /// Any datagram gets `pong`; who asks for it, what this server saw.
    Words(Sessions<(SocketAddr, u32), ()>),
    /// A stateful reflector, RFC 8762 section 4.3.
    Stamp {
        sessions: Sessions<(SocketAddr, Option<IpAddr>, u16), RecentStamps>,
        key: Option<Key>,
        /// What is known of the own clock.
        error_estimate: ErrorEstimate,
    },
}

impl Answerer {
    pub(super) fn words() -> Answerer {
        Answerer::Words(Sessions::new())
    }

    pub(super) fn stamp(key: Option<Key>) -> Answerer {
        Answerer::Stamp {
            sessions: Sessions::new(),
            key,
            error_estimate: ErrorEstimate::of(CLOCK_ERROR, false),
        }
    }

    /// Whether sessions may ask how many of their requests have come.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Answerer::Words(_))
    }

    /// The answer as it is to leave at `now`, which is `since_1970`.
    pub(super) fn answer(
        &mut self,
        question: &Question,
        now: Instant,
        since_1970: Duration,
    ) -> Result<Vec<u8>, Silence> {
        match self {
            Answerer::Words(sessions) => answer_words(question, sessions, now, since_1970),
            Answerer::Stamp {
                sessions,
                key,
                error_estimate,
            } => {
                let request = stamp::Request::parse(question.octets, key.as_ref())
                    .map_err(|_| Silence::NotUnderstood)?;
                let key = key.as_ref();
                let reply_octets = stamp::base_octets(key);
                if question.octets.len() < reply_octets && !is_near(question.from.ip()) {
                    return Err(Silence::Refused(Reason::Amplification));
                }
                let session = (question.from, question.to, request.ssid);
                let session = sessions.count(session, now);
                if came_back(question.octets, &session.more, key, since_1970) {
                    return Err(Silence::Refused(Reason::OwnReply));
                }
                let timestamp = Timestamp::of(since_1970);
                session.more.remember(timestamp.0);
                let reply = stamp::Reply {
                    sequence_number: session.requests.wrapping_sub(1),
                    timestamp,
                    error_estimate: *error_estimate,
                    ssid: request.ssid,
                    receive_timestamp: Timestamp::of(question.received),
                    session_sender: stamp::SessionSender {
                        sequence_number: request.sequence_number,
                        timestamp: request.timestamp,
                        error_estimate: request.error_estimate,
                    },
                    ttl: question.hop_limit,
                };
                Ok(reply.emit(question.octets, key))
            }
        }
    }
}

/// Whether a test packet is one of the last replies, reflected: its sender's timestamp, taken
/// for a reply, is ours. Or somebody has changed it on the way, but where a test packet has zeros
/// it has a time that is about now.
fn came_back(octets: &[u8], sent: &RecentStamps, key: Option<&Key>, now: Duration) -> bool {
    const DAY_NS: u128 = 24 * 3600 * 1_000_000_000;
    let Ok(reply) = stamp::Reply::parse(octets, key) else {
        return false;
    };
    let is_ptp = reply.error_estimate.is_ptp;
    let received = reply.receive_timestamp.nanoseconds_since_1970(is_ptp, now);
    let apart = received.abs_diff(now.as_nanos().cast_signed());
    sent.contains(reply.session_sender.timestamp.0) || apart < DAY_NS
}

fn answer_words(
    question: &Question,
    sessions: &mut Sessions<(SocketAddr, u32), ()>,
    now: Instant,
    since_1970: Duration,
) -> Result<Vec<u8>, Silence> {
    if ping_pong::is_reply(question.octets) {
        return Err(Silence::Refused(Reason::OwnReply));
    }
    let request = ping_pong::Request::parse(question.octets);
    let extended = request.and_then(|request| Some((request, request.session?)));
    let reply = ping_pong::Reply {
        sequence_number: extended.map(|(request, _)| request.sequence_number),
        report: extended.map(|(_, session)| ping_pong::Report {
            session,
            requests: match request {
                Some(request) if request.is_count() => sessions.requests((question.from, session)),
                _ => sessions.count((question.from, session), now).requests,
            },
            received: question.received,
            turnaround: since_1970.saturating_sub(question.received),
        }),
    };
    Ok(reply.emit(question.octets.len()))
}

/// Whether it asks for a count, which no simulated network loses.
pub(super) fn is_count(octets: &[u8]) -> bool {
    ping_pong::Request::parse(octets).is_some_and(|request| request.is_count())
}

/// TWAMP Light sends 14 octets and wants 44. Those of a stranger's address may be a victim's.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const NOW: Duration = Duration::new(1_795_212_653, 943_500_000);
    const RECEIVED: Duration = Duration::new(1_795_212_653, 943_494_123);
    const FAR: &str = "192.0.2.1:5000";

    fn ask(answerer: &mut Answerer, from: &str, octets: &[u8]) -> Result<Vec<u8>, Silence> {
        let question = Question {
            from: from.parse().expect("an address"),
            to: None,
            octets,
            hop_limit: Some(61),
            received: RECEIVED,
        };
        answerer.answer(&question, clock::now(), NOW)
    }

    #[test]
    fn any_datagram_gets_pong() {
        let mut server = Answerer::words();
        for (octets, expected) in [
            ("PING 1 14:05:09", "pong"),
            ("hello", "pong"),
            ("hi", "po"),
            // Who gave a session learns what was seen, if there is room for it.
            (
                "PING 7 14:05:09 9f3a6c21 ......................................",
                "pong 7 9f3a6c21 1 1795212653.943494123 5877",
            ),
            (
                "PING 9 14:05:11 9f3a6c21 ......................................",
                "pong 9 9f3a6c21 2 1795212653.943494123 5877",
            ),
            ("PING 8 14:05:10 9f3a6c21", "pong"),
            (
                "PING 1 14:05:11 00000001 ......................................",
                "pong 1 00000001 1 1795212653.943494123 5877",
            ),
        ] {
            let answer = ask(&mut server, FAR, octets.as_bytes());
            let answer = answer.map(|octets| String::from_utf8_lossy(&octets).into_owned());
            assert_eq!(answer.as_deref(), Ok(expected), "{octets}");
        }
        let answered =
            ["pong", "PONG 1", "p", ""].map(|octets| ask(&mut server, FAR, octets.as_bytes()));
        for answer in answered {
            assert_eq!(answer, Err(Silence::Refused(Reason::OwnReply)));
        }
    }

    fn test_packet(sequence_number: u32, octets: usize) -> Vec<u8> {
        let request = stamp::Request {
            sequence_number,
            timestamp: Timestamp::of(RECEIVED),
            error_estimate: ErrorEstimate::of(Duration::from_millis(1), false),
            ssid: 0,
        };
        request.emit(octets, None)
    }

    /// RFC 8762 section 4.3: a stateful reflector counts for each session.
    #[test]
    fn test_packets_are_reflected() {
        let mut server = Answerer::stamp(None);
        for (number, from, expected) in [(0, FAR, 0), (3, FAR, 1), (0, "192.0.2.1:5001", 0)] {
            let answer = ask(&mut server, from, &test_packet(number, 100)).expect("an answer");
            assert_eq!(answer.len(), 100);
            let reply = stamp::Reply::parse(&answer, None).expect("a reply");
            assert_eq!(reply.sequence_number, expected);
            assert_eq!(reply.session_sender.sequence_number, number);
            assert_eq!(reply.ttl, Some(61));
            assert_eq!(reply.receive_timestamp, Timestamp::of(RECEIVED));
            assert_eq!(reply.timestamp, Timestamp::of(NOW));
        }
    }

    #[test]
    fn short_test_packets_are_reflected_to_neighbours_only() {
        let mut server = Answerer::stamp(None);
        let short = &test_packet(0, 44)[..14];
        let refused = Err(Silence::Refused(Reason::Amplification));
        assert_eq!(ask(&mut server, FAR, short), refused);
        for near in ["127.0.0.1:5000", "10.1.2.3:862", "[fe80::1]:862"] {
            let answer = ask(&mut server, near, short);
            assert_eq!(answer.map(|octets| octets.len()), Ok(44), "{near}");
        }
        let nothing = ask(&mut server, FAR, &short[..13]);
        assert_eq!(nothing, Err(Silence::NotUnderstood));
    }

    /// One forged packet between two reflectors, and what follows.
    #[test]
    fn two_reflectors_fall_silent() {
        let mut reflectors = [0, 1].map(|_| Answerer::stamp(None));
        let mut packet = test_packet(0, 44);
        let mut passed = 1;
        while let Ok(answer) = ask(&mut reflectors[passed % 2], FAR, &packet) {
            packet = answer;
            passed += 1;
            assert!(passed <= 4, "{passed} datagrams");
        }
    }

    proptest! {
        #[test]
        fn answers_to_strangers_are_never_longer(octets: Vec<u8>) {
            let mut servers = [
                Answerer::words(),
                Answerer::stamp(None),
                Answerer::stamp(Some(Key::new(b"key"))),
            ];
            for server in &mut servers {
                if let Ok(answer) = ask(server, FAR, &octets) {
                    prop_assert!(answer.len() <= octets.len());
                }
            }
        }
    }
}
