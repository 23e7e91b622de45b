//! What Cache-Control says, RFC 9111 section 5.2 and RFC 5861, and CDN-Cache-Control, RFC 9213.
//!
//! Nothing malformed makes a response live longer: of a repeated number the strictest counts,
//! and a number that cannot be read counts as the strictest one.

use std::time::Duration;

use super::Mode;
use super::structured::{self, Value};
use crate::http::head::Fields;

/// RFC 9111 section 1.2.2: whatever is larger counts as this.
const DELTA_SECONDS_MAX: u64 = 1 << 31;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) no_store: bool,
    /// Also where it names fields: the whole response is validated then.
    pub(crate) no_cache: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    /// Also where it names fields.
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_understand: bool,
    /// They are CDN-Cache-Control's, and replace Expires too (RFC 9213 section 2.2).
    pub(crate) targeted: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
}

impl ResponseDirectives {
    pub(crate) fn parse(fields: &Fields, mode: Mode) -> ResponseDirectives {
        if mode.cdn
            && let Some(targeted) = parse_targeted(fields)
        {
            return targeted;
        }
        let mut directives = ResponseDirectives::default();
        for element in fields.all("cache-control").flat_map(elements) {
            let (name, argument) = parse_directive(element);
            directives.add(&name.to_ascii_lowercase(), argument);
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: Argument) {
        if let Some(seconds) = self.seconds(name) {
            *seconds = least(*seconds, argument);
        } else if let Some(flag) = self.flag(name) {
            *flag = true;
        }
    }

    /// `None` if it has the wrong type, which invalidates the whole field.
    fn add_targeted(&mut self, key: &[u8], value: Value) -> Option<()> {
        let names_fields = matches!(key, b"no-cache" | b"private") && value == Value::String;
        if let Some(seconds) = self.seconds(key) {
            let Value::Integer(number) = value else {
                return None;
            };
            let number = u64::try_from(number).unwrap_or(0);
            *seconds = Some(Duration::from_secs(number.min(DELTA_SECONDS_MAX)));
        } else if let Some(flag) = self.flag(key) {
            *flag = (value == Value::Boolean(true) || names_fields).then_some(true)?;
        }
        Some(())
    }

    fn seconds(&mut self, name: &[u8]) -> Option<&mut Option<Duration>> {
        match name {
            b"s-maxage" => Some(&mut self.s_maxage),
            b"max-age" => Some(&mut self.max_age),
            b"stale-while-revalidate" => Some(&mut self.stale_while_revalidate),
            b"stale-if-error" => Some(&mut self.stale_if_error),
            _ => None,
        }
    }

    fn flag(&mut self, name: &[u8]) -> Option<&mut bool> {
        match name {
            b"no-store" => Some(&mut self.no_store),
            b"no-cache" => Some(&mut self.no_cache),
            b"must-revalidate" => Some(&mut self.must_revalidate),
            b"proxy-revalidate" => Some(&mut self.proxy_revalidate),
            b"private" => Some(&mut self.private),
            b"public" => Some(&mut self.public),
            b"must-understand" => Some(&mut self.must_understand),
            _ => None,
        }
    }

    /// RFC 9111 section 4.2.4: it must not be served stale, not even when the origin is away.
    pub(crate) fn forbid_stale(&self) -> bool {
        let revalidate = self.must_revalidate || self.proxy_revalidate;
        revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

impl RequestDirectives {
    pub(crate) fn parse(fields: &Fields) -> RequestDirectives {
        let mut directives = RequestDirectives::default();
        let mut lines = fields.all("cache-control").peekable();
        // RFC 9111 section 5.4.
        if lines.peek().is_none() {
            let mut tokens = fields.tokens("pragma");
            directives.no_cache = tokens.any(|token| token.eq_ignore_ascii_case(b"no-cache"));
            return directives;
        }
        for element in lines.flat_map(elements) {
            let (name, argument) = parse_directive(element);
            directives.add(&name.to_ascii_lowercase(), argument);
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: Argument) {
        match name {
            b"max-age" => self.max_age = least(self.max_age, argument),
            b"stale-if-error" => self.stale_if_error = least(self.stale_if_error, argument),
            b"max-stale" => {
                let argument = match argument {
                    Argument::Absent => Argument::Seconds(Duration::MAX),
                    other => other,
                };
                self.max_stale = least(self.max_stale, argument);
            }
            b"min-fresh" => {
                let seconds = match argument {
                    Argument::Seconds(seconds) => seconds,
                    Argument::Absent | Argument::Other => Duration::MAX,
                };
                self.min_fresh = self.min_fresh.max(Some(seconds));
            }
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Absent,
    Seconds(Duration),
    Other,
}

fn least(before: Option<Duration>, argument: Argument) -> Option<Duration> {
    let seconds = match argument {
        Argument::Seconds(seconds) => seconds,
        Argument::Absent | Argument::Other => Duration::ZERO,
    };
    Some(before.map_or(seconds, |before| before.min(seconds)))
}

/// White space around the `=` spoils the argument, but not the name: `private =x` is private.
fn parse_directive(element: &[u8]) -> (&[u8], Argument) {
    let Some(at) = memchr::memchr(b'=', element) else {
        return (element, Argument::Absent);
    };
    let (name, value) = (&element[..at], &element[at + 1..]);
    let is_spoilt = name.last().is_some_and(u8::is_ascii_whitespace);
    let seconds = parse_delta_seconds(unquoted(value)).filter(|_| !is_spoilt);
    let argument = seconds.map_or(Argument::Other, Argument::Seconds);
    (name.trim_ascii_end(), argument)
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

pub(super) fn parse_delta_seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let append = |number: u64, digit: &u8| {
        let number = number * 10 + u64::from(digit - b'0');
        number.min(DELTA_SECONDS_MAX)
    };
    Some(Duration::from_secs(value.iter().fold(0, append)))
}

/// What stands between commas that are not in a quoted-string. Where one is not closed, a
/// quotation mark means nothing, so that it cannot hide a directive.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut whole = Quotation::default();
    line.iter().for_each(|octet| whole.pass(*octet));
    let (is_closed, mut quotation) = (!whole.is_open, Quotation::default());
    let separates = move |octet: &u8| {
        quotation.pass(*octet);
        *octet == b',' && !(is_closed && quotation.is_open)
    };
    line.split(separates).map(<[u8]>::trim_ascii)
}

/// RFC 9110 section 5.6.4.
#[derive(Debug, Clone, Copy, Default)]
struct Quotation {
    is_open: bool,
    is_escaped: bool,
}

impl Quotation {
    fn pass(&mut self, octet: u8) {
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        self.is_open ^= octet == b'"';
        self.is_escaped = self.is_open && octet == b'\\';
    }
}

/// `None` where RFC 9213 section 2.2 wants Cache-Control instead: absent, empty or invalid.
fn parse_targeted(fields: &Fields) -> Option<ResponseDirectives> {
    let lines: Vec<_> = fields.all("cdn-cache-control").collect();
    let joined = lines.join(&b","[..]);
    let dictionary = structured::parse_dictionary(&joined)?;
    let mut directives = ResponseDirectives {
        targeted: !dictionary.is_empty(),
        ..ResponseDirectives::default()
    };
    for (key, value) in dictionary {
        directives.add_targeted(key, value)?;
    }
    directives.targeted.then_some(directives)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields;
    use super::*;

    const CDN: Mode = Mode { cdn: true };

    fn response(lines: &[&str]) -> ResponseDirectives {
        let lines: Vec<_> = lines.iter().map(|line| ("Cache-Control", *line)).collect();
        ResponseDirectives::parse(&fields(&lines), Mode::default())
    }

    #[track_caller]
    fn check_max_age(lines: &[&str], seconds: Option<u64>) {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(response(lines).max_age, expected, "{lines:?}");
    }

    #[test]
    fn max_age() {
        check_max_age(&[], None);
        check_max_age(&["max-age=3600"], Some(3600));
        check_max_age(&["foobar, ,MaX-aGe=\"003600\""], Some(3600));
        check_max_age(&["max-age=99999999999999999999999"], Some(1 << 31));
        check_max_age(&["max-age=1800, max-age=1"], Some(1));
        check_max_age(&["max-age=1", "max-age=1800"], Some(1));
        check_max_age(&["extension=\"max-age=3600\", max-age=1"], Some(1));
        check_max_age(&["max-age=1, extension=\"a\\\", max-age=0\""], Some(1));
        check_max_age(&["x-max-age=1, max-agent=2"], None);
    }

    #[test]
    fn a_number_that_cannot_be_read_counts_as_zero() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=+1",
            "max-age='3600'",
            "max-age=3600.0",
            "max-age=a3600",
            "max-age=3600a",
            "max-age =1",
            "max-age= 1",
            "max-age=\"1",
            "max-age=\"\"",
            "max-age=1, max-age=x",
        ] {
            check_max_age(&[line], Some(0));
        }
    }

    #[test]
    fn nothing_hides_a_prohibition() {
        let check = |line: &str, name: &str| {
            let mut directives = response(&[line]);
            assert_eq!(directives.flag(name.as_bytes()), Some(&mut true), "{line}");
        };
        check("No-StOrE", "no-store");
        check("max-age=1,no-store", "no-store");
        check("no-store=1", "no-store");
        check("private =\"x\"", "private");
        check("no-cache=\"a, b\"", "no-cache");
        check("a=\"b, no-store", "no-store");
        check("a=\"b\\\", no-store", "no-store");
        assert!(!response(&["a=\"b, no-store\""]).no_store);
    }

    #[test]
    fn requests() {
        let parse = |name, line| RequestDirectives::parse(&fields(&[(name, line)]));
        let all = "max-age=1, max-stale=\"2\", min-fresh=3, min-fresh=4, stale-if-error=5, \
                   no-cache, no-store, only-if-cached";
        let seconds = |number| Some(Duration::from_secs(number));
        let expected = RequestDirectives {
            max_age: seconds(1),
            max_stale: seconds(2),
            min_fresh: seconds(4),
            stale_if_error: seconds(5),
            no_cache: true,
            no_store: true,
            only_if_cached: true,
        };
        assert_eq!(parse("Cache-Control", all), expected);
        let max_stale = |line| parse("Cache-Control", line).max_stale;
        assert_eq!(max_stale("max-stale"), Some(Duration::MAX));
        assert_eq!(max_stale("max-stale=x"), seconds(0));
        assert_eq!(max_stale("max-stale, max-stale=3"), seconds(3));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let no_cache = |lines: &[(&str, &str)]| RequestDirectives::parse(&fields(lines)).no_cache;
        assert!(no_cache(&[("Pragma", "x, No-Cache")]));
        assert!(!no_cache(&[("Pragma", "x")]));
        assert!(!no_cache(&[
            ("Pragma", "no-cache"),
            ("Cache-Control", "max-age=1")
        ]));
    }

    /// Beside `Cache-Control: max-age=1`: what counts in front of one's own origin.
    #[track_caller]
    fn check_targeted(line: &str, max_age: u64, targeted: bool) {
        let lines = [("Cache-Control", "max-age=1"), ("CDN-Cache-Control", line)];
        let directives = ResponseDirectives::parse(&fields(&lines), CDN);
        assert_eq!(directives.targeted, targeted, "{line}");
        assert_eq!(directives.max_age, Some(Duration::from_secs(max_age)));
        let elsewhere = ResponseDirectives::parse(&fields(&lines), Mode::default());
        assert_eq!(elsewhere.max_age, Some(Duration::from_secs(1)));
    }

    #[test]
    fn cdn_cache_control() {
        check_targeted("max-age=3600", 3600, true);
        check_targeted("foobar, max-age=99999999999;x", 1 << 31, true);
        check_targeted("max-age=-5", 0, true);
        check_targeted("max-age=2, no-cache=\"a\"", 2, true);
        for invalid in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.5",
            "max-age",
            "max-age=5, no-store=1",
            "max-age=5, no-store=?0",
            "MaX-aGe=3600",
            "max-age =100",
        ] {
            check_targeted(invalid, 1, false);
        }
        let lines = [
            ("Cache-Control", "no-store"),
            ("CDN-Cache-Control", "public"),
            ("CDN-Cache-Control", "s-maxage=2"),
        ];
        let directives = ResponseDirectives::parse(&fields(&lines), CDN);
        assert!(directives.public && !directives.no_store);
        assert_eq!(directives.s_maxage, Some(Duration::from_secs(2)));
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_no_store_is_never_missed(
            before in "([a-z=,\\\\ ]|\"[a-z,]{0,3}\"|[0-9]{1,30}){0,9}",
            after in "(\\PC|[,=\"\\\\]){0,9}",
        ) {
            let line = format!("{before},no-store");
            prop_assert!(response(&[&line]).no_store, "{}", line);
            let line = format!("{before}{after}");
            let lines = [("Cache-Control", &*line), ("CDN-Cache-Control", &line)];
            let _ = ResponseDirectives::parse(&fields(&lines), CDN);
            let _ = RequestDirectives::parse(&fields(&lines));
        }
    }
}
