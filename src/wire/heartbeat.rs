//! Heartbeats: one line of text in each datagram, so that people read them in a capture and
//! send one by hand.
//!
//! ```text
//! HEARTBEAT <name> <boot> <sequence_number> <timestamp> <interval_ms> [<mac>]
//! BYE <name> <boot> <sequence_number> <timestamp> <interval_ms> [<mac>]
//! ```
//!
//! The mac is the first half of HMAC-SHA-256 (RFC 2104, RFC 6234) over all that is before it,
//! the last space included. Without a key the heartbeat of the textbook's exercise counts too,
//! `<sequence_number> <timestamp>`. Nobody answers a heartbeat.

use std::time::Duration;

use super::mac::{Key, MAC_OCTETS};

/// It keeps a line within [`LINE_OCTETS_MAX`], and a table of senders readable.
pub(crate) const NAME_OCTETS_MAX: usize = 64;
/// More often is a load, not a sign of life.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Who beats less often than once a day is not being watched.
pub(crate) const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest of the format has 191 octets with CRLF.
const LINE_OCTETS_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Heartbeat,
    /// The last one: the sender ends on purpose.
    Bye,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat<'a> {
    pub(crate) kind: Kind,
    /// Empty in the textbook's heartbeat, which has neither name nor boot nor interval.
    pub(crate) name: &'a str,
    /// Tells one run of the sender from the next: when it began, in nanoseconds since 1970.
    pub(crate) boot: u64,
    pub(crate) sequence_number: u64,
    /// By the sender's clock, since 1970.
    pub(crate) sent: Duration,
    /// Whole milliseconds; zero where it is not said.
    pub(crate) interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("not a heartbeat")]
    NotAHeartbeat,
    #[error("a heartbeat whose {0} is missing or wrong")]
    Malformed(Field),
    #[error("a heartbeat without a mac, where a key is set")]
    MissingMac,
    #[error("a heartbeat made with another key, or changed on the way")]
    WrongMac,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Field {
    #[error("name")]
    Name,
    #[error("boot")]
    Boot,
    #[error("sequence number")]
    SequenceNumber,
    #[error("timestamp")]
    Timestamp,
    #[error("interval")]
    Interval,
    #[error("mac")]
    Mac,
}

impl Beat<'_> {
    /// One datagram, from a sender that has a name.
    pub(crate) fn emit(&self, key: Option<&Key>) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Heartbeat => "HEARTBEAT",
            Kind::Bye => "BYE",
        };
        let mut line = format!(
            "{kind} {} {} {} {}.{:09} {}",
            self.name,
            self.boot,
            self.sequence_number,
            self.sent.as_secs(),
            self.sent.subsec_nanos(),
            self.interval.as_millis(),
        );
        if let Some(key) = key {
            line.push(' ');
            for octet in key.sign(line.as_bytes()) {
                line.push_str(&format!("{octet:02x}"));
            }
        }
        line.into_bytes()
    }

    /// With a key, only what was made with it. Without one, a mac is not looked into.
    pub(crate) fn parse<'a>(datagram: &'a [u8], key: Option<&Key>) -> Result<Beat<'a>, Error> {
        if datagram.len() > LINE_OCTETS_MAX {
            return Err(Error::NotAHeartbeat);
        }
        let line = str::from_utf8(datagram).map_err(|_| Error::NotAHeartbeat)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (first, rest) = line.split_once(' ').ok_or(Error::NotAHeartbeat)?;
        let kind = match first {
            "HEARTBEAT" => Kind::Heartbeat,
            "BYE" => Kind::Bye,
            _ => return parse_textbook(first, rest, key),
        };
        let (beat, mac) = parse_fields(kind, rest)?;
        match (key, mac) {
            (Some(key), Some((mac, digits))) => {
                let (covered, _) = line.split_at(line.len() - digits);
                if !key.verifies(covered.as_bytes(), &mac) {
                    return Err(Error::WrongMac);
                }
            }
            (Some(_), None) => return Err(Error::MissingMac),
            (None, _) => {}
        }
        Ok(beat)
    }
}

/// Whether a sender may be called this.
pub(crate) fn is_name(name: &str) -> bool {
    let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    (1..=NAME_OCTETS_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// The mac comes with the number of digits that it took at the end.
type SignedBeat<'a> = (Beat<'a>, Option<([u8; MAC_OCTETS], usize)>);

fn parse_fields(kind: Kind, fields: &str) -> Result<SignedBeat<'_>, Error> {
    let mut fields = fields.split(' ');
    let mut next = |field| fields.next().ok_or(Error::Malformed(field));
    let name = Some(next(Field::Name)?).filter(|name| is_name(name));
    let name = name.ok_or(Error::Malformed(Field::Name))?;
    let boot = number(next(Field::Boot)?).ok_or(Error::Malformed(Field::Boot))?;
    let sequence_number = number(next(Field::SequenceNumber)?);
    let sequence_number = sequence_number.ok_or(Error::Malformed(Field::SequenceNumber))?;
    let sent = timestamp(next(Field::Timestamp)?).ok_or(Error::Malformed(Field::Timestamp))?;
    let interval = number(next(Field::Interval)?).map(Duration::from_millis);
    let interval = interval.filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval));
    let interval = interval.ok_or(Error::Malformed(Field::Interval))?;
    let mac = match fields.next() {
        None => None,
        Some(digits) => {
            let mac = parse_mac(digits).ok_or(Error::Malformed(Field::Mac))?;
            Some((mac, digits.len()))
        }
    };
    if fields.next().is_some() {
        return Err(Error::Malformed(Field::Mac));
    }
    let beat = Beat {
        kind,
        name,
        boot,
        sequence_number,
        sent,
        interval,
    };
    Ok((beat, mac))
}

fn parse_textbook<'a>(first: &str, rest: &str, key: Option<&Key>) -> Result<Beat<'a>, Error> {
    let sequence_number = number(first).ok_or(Error::NotAHeartbeat)?;
    if key.is_some() {
        return Err(Error::MissingMac);
    }
    Ok(Beat {
        kind: Kind::Heartbeat,
        name: "",
        boot: 0,
        sequence_number,
        sent: timestamp(rest).ok_or(Error::Malformed(Field::Timestamp))?,
        interval: Duration::ZERO,
    })
}

/// Digits alone: what the standard library reads may have a sign.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Seconds, with up to nine decimals as `date +%s.%N` writes them.
fn timestamp(text: &str) -> Option<Duration> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = u32::try_from(decimals.len()).ok()?;
    let scale = 10_u64.pow(9_u32.checked_sub(digits)?);
    let nanoseconds = number(decimals)?.checked_mul(scale)?;
    Some(Duration::new(
        number(seconds)?,
        u32::try_from(nanoseconds).ok()?,
    ))
}

fn parse_mac(digits: &str) -> Option<[u8; MAC_OCTETS]> {
    let mut mac = [0; MAC_OCTETS];
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != mac.len() || !odd.is_empty() {
        return None;
    }
    for (octet, pair) in mac.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "HEARTBEAT web1 1699999990000000001 42 1700000032.000000005 1000";
    /// Of [`LINE`] and a space under the key "secret", by `openssl dgst -sha256 -hmac secret`.
    const MAC: &str = "88b027e11e26fbcc5db74b97048553b9";

    fn beat() -> Beat<'static> {
        Beat {
            kind: Kind::Heartbeat,
            name: "web1",
            boot: 1_699_999_990_000_000_001,
            sequence_number: 42,
            sent: Duration::new(1_700_000_032, 5),
            interval: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_line_says_it_all() {
        assert_eq!(beat().emit(None), LINE.as_bytes());
        for end in ["", "\n", "\r\n"] {
            let line = format!("{LINE}{end}");
            assert_eq!(Beat::parse(line.as_bytes(), None), Ok(beat()), "{line:?}");
        }
        let bye = Beat {
            kind: Kind::Bye,
            ..beat()
        };
        let line = LINE.replace("HEARTBEAT", "BYE");
        assert_eq!(bye.emit(None), line.as_bytes());
        assert_eq!(Beat::parse(line.as_bytes(), None), Ok(bye));
    }

    #[test]
    fn only_the_key_makes_a_mac() {
        let (key, other) = (Key::new(b"secret"), Key::new(b"secreT"));
        let line = format!("{LINE} {MAC}");
        assert_eq!(beat().emit(Some(&key)), line.as_bytes());
        for line in [format!("{line}\n"), line.clone(), line.replace('c', "C")] {
            let line = line.as_bytes();
            assert_eq!(Beat::parse(line, Some(&key)), Ok(beat()));
            assert_eq!(Beat::parse(line, Some(&other)), Err(Error::WrongMac));
            assert_eq!(Beat::parse(line, None), Ok(beat()));
        }
        let parsed = |line: &str| Beat::parse(line.as_bytes(), Some(&key)).map(|_| ());
        assert_eq!(parsed(LINE), Err(Error::MissingMac));
        assert_eq!(parsed("42 1700000032.5"), Err(Error::MissingMac));
        for (old, new) in [
            ("HEARTBEAT", "BYE"),
            ("web1", "web2"),
            ("001 42", "002 42"),
            (" 42 ", " 43 "),
            (" 42 ", " 042 "),
            (".000000005", ".000000006"),
            (" 1000 ", " 2000 "),
            (&MAC[30..], "00"),
        ] {
            let forged = line.replace(old, new);
            assert_ne!(forged, line);
            assert_eq!(parsed(&forged), Err(Error::WrongMac), "{forged}");
        }
        assert!(!format!("{key:?}").contains(|octet: char| octet.is_ascii_digit()));
    }

    /// By hand, and the textbook's.
    #[test]
    fn what_people_send() {
        #[track_caller]
        fn check(line: &str, expected: (&str, u64, Duration, Duration)) {
            let beat = Beat::parse(line.as_bytes(), None).expect(line);
            let Beat {
                name,
                sequence_number,
                sent,
                interval,
                ..
            } = beat;
            assert_eq!((name, sequence_number, sent, interval), expected, "{line}");
        }
        let (second, half) = (Duration::from_secs(1), Duration::from_millis(1500));
        check(
            "HEARTBEAT a 1 0 1.5 86400000\n",
            ("a", 0, half, INTERVAL_MAX),
        );
        check("BYE a.b-C_d 1 7 1 1", ("a.b-C_d", 7, second, INTERVAL_MIN));
        check("3 1.5\n", ("", 3, half, Duration::ZERO));
        let no_time = Duration::ZERO;
        check("18446744073709551615 0", ("", u64::MAX, no_time, no_time));
    }

    #[test]
    fn what_is_wrong_with_a_line() {
        use Field::{Boot, Interval, Mac, Name, SequenceNumber, Timestamp};
        #[track_caller]
        fn check(line: &str, expected: Error) {
            assert_eq!(Beat::parse(line.as_bytes(), None), Err(expected), "{line}");
        }
        for line in ["", "\n", "PING 1 2", "heartbeat a 1 1 1.0 1", "-1 2", "7"] {
            check(line, Error::NotAHeartbeat);
        }
        check(&format!("{LINE} {}", "0".repeat(200)), Error::NotAHeartbeat);
        let long = format!("HEARTBEAT {} 1 1 1.0 1", "n".repeat(65));
        for (line, field) in [
            ("HEARTBEAT ", Name),
            (&*long, Name),
            ("HEARTBEAT a/b 1 1 1.0 1", Name),
            ("HEARTBEAT \u{1b}[2J 1 1 1.0 1", Name),
            ("HEARTBEAT  a 1 1 1.0 1", Name),
            ("HEARTBEAT a", Boot),
            ("HEARTBEAT a -1 1 1.0 1", Boot),
            ("HEARTBEAT a 1 18446744073709551616 1.0 1", SequenceNumber),
            ("HEARTBEAT a 1 +1 1.0 1", SequenceNumber),
            ("HEARTBEAT a 1 1", Timestamp),
            ("HEARTBEAT a 1 1 1. 1", Timestamp),
            ("HEARTBEAT a 1 1 .5 1", Timestamp),
            ("HEARTBEAT a 1 1 1.0000000000 1", Timestamp),
            ("HEARTBEAT a 1 1 1.-5 1", Timestamp),
            ("7 8 9", Timestamp),
            ("HEARTBEAT a 1 1 1.0", Interval),
            ("HEARTBEAT a 1 1 1.0 0", Interval),
            ("HEARTBEAT a 1 1 1.0 86400001", Interval),
            ("HEARTBEAT a 1 1 1.0 1 ", Mac),
            ("HEARTBEAT a 1 1 1.0 1 00", Mac),
            (
                "HEARTBEAT a 1 1 1.0 1 0000000000000000000000000000000g",
                Mac,
            ),
            (
                "HEARTBEAT a 1 1 1.0 1 00000000000000000000000000000000 1",
                Mac,
            ),
        ] {
            check(line, Error::Malformed(field));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_emitted_is_parsed(
            is_bye: bool,
            name in "[A-Za-z0-9._-]{1,64}",
            numbers: (u64, u64, u64),
            nanoseconds in 0_u32..1_000_000_000,
            interval_ms in 1_u64..=86_400_000,
            secret in proptest::option::of(vec(any::<u8>(), 0..100)),
        ) {
            let (boot, sequence_number, seconds) = numbers;
            let beat = Beat {
                kind: if is_bye { Kind::Bye } else { Kind::Heartbeat },
                name: &name,
                boot,
                sequence_number,
                sent: Duration::new(seconds, nanoseconds),
                interval: Duration::from_millis(interval_ms),
            };
            let key = secret.as_deref().map(Key::new);
            let datagram = beat.emit(key.as_ref());
            prop_assert!(datagram.len() <= 189);
            prop_assert_eq!(Beat::parse(&datagram, key.as_ref()), Ok(beat));
        }

        #[test]
        fn no_octets_panic(
            front in prop_oneof![Just(""), Just("HEARTBEAT a 1 1 "), Just("BYE a 1 1 1.0 1 ")],
            rest in prop_oneof![vec(any::<u8>(), 0..300), "[0-9a-f. ]{0,60}".prop_map(String::into)],
        ) {
            let datagram = [front.as_bytes(), &rest].concat();
            let _ = Beat::parse(&datagram, None);
            prop_assert!(Beat::parse(&datagram, Some(&Key::new(b"secret"))).is_err());
        }
    }
}
