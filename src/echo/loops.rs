//! Signs that a datagram comes from a program which answers everything, and how often to
//! speak of what was refused.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

/// Source ports of services that answer whatever arrives, some of them with more than that: an
/// answer to one would be answered in turn (CVE-2024-2169). Clients have other ports.
const SUSPICIOUS_PORTS: [u16; 13] = [
    0,      // reserved: nobody can be answered there
    7,      // echo, RFC 862
    13,     // daytime, RFC 867
    17,     // quote of the day, RFC 865
    19,     // character generator, RFC 864
    37,     // time, RFC 868
    53,     // DNS
    69,     // TFTP
    123,    // NTP
    161,    // SNMP
    389,    // LDAP without connections
    1900,   // SSDP
    11_211, // memcached
];

/// So many replies may leave before the first of them must have come back to be known.
const STAMPS_MAX: usize = 64;

/// A person reads no faster, and a flood must not fill a disk.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn is_suspicious_port(port: u16) -> bool {
    SUSPICIOUS_PORTS.contains(&port)
}

/// The timestamps of the last replies that left.
///
/// Another reflector takes a reply for a test packet and sends its timestamp back as the
/// Session-Sender Timestamp (RFC 8762 section 4.3.1). What has one of these there is no test
/// packet but a reply that has come back. It takes one of the two servers to notice.
#[derive(Debug, Default)]
pub(crate) struct RecentStamps {
    stamps: VecDeque<u64>,
}

impl RecentStamps {
    pub(crate) fn remember(&mut self, stamp: u64) {
        if self.stamps.len() == STAMPS_MAX {
            self.stamps.pop_front();
        }
        self.stamps.push_back(stamp);
    }

    pub(crate) fn contains(&self, stamp: u64) -> bool {
        self.stamps.contains(&stamp)
    }
}

/// Why a datagram is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Reason {
    #[error("more datagrams than one source may send")]
    Rate,
    #[error("from the port of a service that answers everything")]
    Port,
    #[error("an own reply that came back")]
    OwnReply,
    #[error("shorter than the answer would be")]
    Amplification,
}

/// Speaks of each reason once a second at most.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    told: HashMap<Reason, Told>,
}

impl Notice {
    /// How many of that reason were not told since the last one that was, if this one is to be
    /// told now.
    pub(crate) fn tell(&mut self, reason: Reason, now: Instant) -> Option<u64> {
        let told = self.told.entry(reason).or_default();
        let since = told.at.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < TELL_INTERVAL) {
            told.untold += 1;
            return None;
        }
        told.at = Some(now);
        Some(mem::take(&mut told.untold))
    }
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn services_are_told_from_clients() {
        let services = [0, 7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 1900, 11_211];
        let suspicious = (0..=u16::MAX).filter(|port| is_suspicious_port(*port));
        assert_eq!(suspicious.collect::<Vec<u16>>(), services);
    }

    #[test]
    fn the_last_stamps_are_known_and_no_others() {
        let mut stamps = RecentStamps::default();
        // A test packet is zero where a reply has the Session-Sender Timestamp.
        assert!(!stamps.contains(0));
        for stamp in 1..=100 {
            stamps.remember(stamp);
            assert!(!stamps.contains(0), "{stamp}");
        }
        for stamp in 0..=101 {
            let is_recent = (37..=100).contains(&stamp);
            assert_eq!(stamps.contains(stamp), is_recent, "{stamp}");
        }
    }

    /// Two reflectors of which some remember, and one forged test packet: how many replies.
    #[track_caller]
    fn check_loop(remember: [bool; 2], replies_expected: usize) {
        const FORGED: u64 = 1;
        let mut recent = [RecentStamps::default(), RecentStamps::default()];
        // What arrives: its timestamp, and that of the packet which it answers.
        let mut arriving = (FORGED, 0);
        let mut replies = 0;
        for stamp in 1000..1100 {
            let here = replies % 2;
            if recent[here].contains(arriving.1) {
                break;
            }
            if remember[here] {
                recent[here].remember(stamp);
            }
            arriving = (stamp, arriving.0);
            replies += 1;
        }
        assert_eq!(replies, replies_expected, "{remember:?}");
    }

    #[test]
    fn a_loop_ends_when_either_side_remembers() {
        check_loop([true, true], 2);
        check_loop([true, false], 2);
        check_loop([false, true], 3);
        check_loop([false, false], 100);
    }

    /// Refusals at these milliseconds: how many of each were untold, `-` where it is not told.
    #[track_caller]
    fn check_told(refusals: &[(Reason, u64)], expected: &str) {
        let start = clock::now();
        let mut notice = Notice::default();
        let told = refusals.iter().map(|(reason, ms)| {
            let untold = notice.tell(*reason, start + Duration::from_millis(*ms));
            untold.map_or("-".to_owned(), |untold| untold.to_string())
        });
        let told: Vec<String> = told.collect();
        assert_eq!(told.join(" "), expected, "{refusals:?}");
    }

    #[test]
    fn each_reason_is_told_once_a_second() {
        use Reason::{Amplification, OwnReply, Port, Rate};
        let flood = [0, 1, 2, 999, 1000, 1500, 2000, 9000].map(|ms| (Rate, ms));
        check_told(&flood, "0 - - - 3 - 1 0");
        let mixed = [
            (Rate, 0),
            (Port, 1),
            (OwnReply, 2),
            (Amplification, 3),
            (Rate, 4),
            (Port, 5),
            (Rate, 1000),
            (Port, 1000),
            (Port, 1001),
        ];
        check_told(&mixed, "0 0 0 0 - - 1 - 2");
        check_told(&[(Rate, 5000), (Rate, 0), (Rate, 6000)], "0 - 1");
    }

    #[test]
    fn reasons_complete_a_sentence() {
        let words = format!("not answered: {}", Reason::OwnReply);
        assert_eq!(words, "not answered: an own reply that came back");
    }
}
