//! How long a response is fresh, and how old it came, RFC 9111 sections 4.2.1 to 4.2.3.

use std::time::{Duration, SystemTime};

use super::date;
use super::directives::{ResponseDirectives, parse_delta_seconds};
use crate::http::head::Fields;

/// RFC 9111 section 4.2.2 suggests a tenth of the time since the last modification. A page that
/// was not touched for years is still looked at again the next day.
const HEURISTIC_FRACTION: u32 = 10;
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 3600);

/// What says how long a response is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    SMaxage,
    MaxAge,
    Expires,
    InvalidExpires,
    LastModified,
    Nothing,
}

/// RFC 9111 section 4.2.3, at the time of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialAge {
    /// By the Age field.
    pub(super) age_value: Duration,
    pub(super) response_delay: Duration,
    /// By the Date field.
    pub(super) apparent_age: Duration,
}

impl InitialAge {
    pub(super) fn corrected(&self) -> Duration {
        self.apparent_age.max(self.age_value + self.response_delay)
    }
}

/// RFC 9111 section 4.2.1.
pub(super) fn lifetime(
    response: &Fields,
    directives: &ResponseDirectives,
    date: SystemTime,
    since_modified: Option<Duration>,
) -> (Duration, Basis) {
    if let Some(seconds) = directives.s_maxage {
        return (seconds, Basis::SMaxage);
    }
    if let Some(seconds) = directives.max_age {
        return (seconds, Basis::MaxAge);
    }
    if is_explicit(response, directives) {
        let expires = only_line(response, "expires").and_then(date::parse);
        return match expires {
            Some(expires) => (whole(since(date, expires)), Basis::Expires),
            None => (Duration::ZERO, Basis::InvalidExpires),
        };
    }
    match since_modified {
        Some(span) => {
            let fraction = whole(span / HEURISTIC_FRACTION);
            (fraction.min(HEURISTIC_MAX), Basis::LastModified)
        }
        None => (Duration::ZERO, Basis::Nothing),
    }
}

/// Whether the response itself says how long it is fresh, be it not at all.
pub(super) fn is_explicit(response: &Fields, directives: &ResponseDirectives) -> bool {
    let has_expires = !directives.targeted && response.first("expires").is_some();
    directives.s_maxage.is_some() || directives.max_age.is_some() || has_expires
}

/// RFC 9110 section 15.1, and whatever says `public` (RFC 9111 section 4.2.2).
pub(super) fn is_heuristically_cacheable(status: u16, directives: &ResponseDirectives) -> bool {
    const STATUSES: [u16; 12] = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
    STATUSES.contains(&status) || directives.public
}

/// RFC 9111 section 5.1: of several values the first counts, and an invalid one not at all.
pub(super) fn age_value(response: &Fields) -> Duration {
    let line = response.first("age").unwrap_or_default();
    let first = line.split(|octet| *octet == b',').next();
    let seconds = first.and_then(|first| parse_delta_seconds(first.trim_ascii()));
    seconds.unwrap_or_default()
}

pub(super) fn only_line<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    let mut lines = fields.all(name);
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// Zero if it was later: clocks differ.
pub(super) fn since(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

fn whole(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::freshness::Terms;
    use super::super::{Mode, fields};
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 07:49:37 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    /// Seconds after `DATE`.
    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
    }

    fn terms(status: u16, lines: &[(&str, &str)]) -> Terms {
        Terms::new(status, &fields(lines), at(0), at(0), Mode::default())
    }

    /// A 200 with these fields that was asked for and came at `DATE`: its age, and its lifetime.
    #[track_caller]
    fn check(lines: &[(&str, &str)], age: u64, lifetime: u64) {
        let terms = terms(200, lines);
        let seconds = (terms.age(at(0)).as_secs(), terms.lifetime.as_secs());
        assert_eq!(seconds, (age, lifetime), "{lines:?}");
    }

    #[test]
    fn lifetimes() {
        let expires = ("Expires", LATER);
        check(&[("Cache-Control", "max-age=5, s-maxage=9"), expires], 0, 9);
        check(&[("Cache-Control", "max-age=5"), expires], 0, 5);
        check(&[("Cache-Control", "max-age=5"), ("Expires", "0")], 0, 5);
        check(&[("Cache-Control", "max-age=x"), expires], 0, 0);
        check(&[expires, ("Date", DATE)], 0, 60);
        check(&[expires], 0, 60);
        check(&[expires, ("Date", "foo")], 0, 60);
        check(&[("Expires", DATE), ("Date", LATER)], 0, 0);
        let modified = ("Last-Modified", MODIFIED);
        check(&[("Expires", "0"), modified], 0, 0);
        check(&[expires, expires, modified], 0, 0);
        check(&[modified, ("Date", DATE)], 0, 360);
        check(&[modified], 0, 360);
        check(&[("Last-Modified", LATER)], 0, 0);
        let long_ago = ("Last-Modified", "Mon, 07 Nov 1983 08:49:37 GMT");
        check(&[long_ago], 0, 24 * 3600);
        check(&[("ETag", "\"a\"")], 0, 0);
        let heuristic = |status, line| terms(status, &[modified, ("Cache-Control", line)]).lifetime;
        assert_eq!(heuristic(302, ""), Duration::ZERO);
        assert_eq!(heuristic(302, "public"), Duration::from_secs(360));
    }

    #[test]
    fn ages() {
        let age = |value, seconds| check(&[("Age", value), ("Date", DATE)], seconds, 0);
        age("30", 30);
        age("7200, 0", 7200);
        age("0, 7200", 0);
        age("99999999999", 1 << 31);
        for invalid in ["abc", "-7200", "7200.0", "7200;foo=bar", "", "abc, 5"] {
            age(invalid, 0);
        }
        check(&[("Age", "7"), ("Age", "9")], 7, 0);
        check(&[("Age", "7"), ("Date", MODIFIED)], 3600, 0);
        let delayed = fields(&[("Age", "7"), ("Date", DATE)]);
        let delayed = Terms::new(200, &delayed, at(10), at(15), Mode::default());
        assert_eq!(delayed.age(at(15)), Duration::from_secs(15));
        assert_eq!(delayed.age(at(35)), Duration::from_secs(35));
        assert_eq!(
            delayed.age(at(0)),
            Duration::from_secs(15),
            "the clock went back"
        );
    }
}
