//! HTTP-date, RFC 9110 section 5.6.7: exactly its three forms.
//!
//! Names of days, months and GMT count in any case. The day of the week only has to be one: it
//! says nothing that the date does not, and a wrong one must not make a response stale.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

pub(super) fn parse(value: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    match text.split_once(", ") {
        Some((day_name, rest)) if is_short_day(day_name) => parse_imf_fixdate(rest),
        Some((day_name, rest)) if is_long_day(day_name) => parse_rfc850(rest),
        Some(_) => None,
        None => parse_asctime(text),
    }
}

/// `06 Nov 1994 08:49:37 GMT`
fn parse_imf_fixdate(text: &str) -> Option<SystemTime> {
    let mut parts = text.split(' ');
    let day = digits(parts.next()?, 2)?;
    let month = parse_month(parts.next()?)?;
    let year = digits(parts.next()?, 4)?;
    let time = parse_time(parts.next()?)?;
    let is_gmt = parts.next()?.eq_ignore_ascii_case("GMT");
    (is_gmt && parts.next().is_none()).then_some(())?;
    at(year, month, day, time)
}

/// `06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &str) -> Option<SystemTime> {
    let mut parts = text.split(' ');
    let mut date = parts.next()?.split('-');
    let day = digits(date.next()?, 2)?;
    let month = parse_month(date.next()?)?;
    let year = digits(date.next()?, 2)?;
    let time = parse_time(parts.next()?)?;
    let is_gmt = parts.next()?.eq_ignore_ascii_case("GMT");
    (is_gmt && date.next().is_none() && parts.next().is_none()).then_some(())?;
    // The RFC takes what is more than 50 years ahead as past. A fixed border is the same for
    // every year that anything still sends.
    let century = if year < 70 { 2000 } else { 1900 };
    at(century + year, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(text: &str) -> Option<SystemTime> {
    let (day_name, text) = text.split_at_checked(3)?;
    let (month, text) = text.strip_prefix(' ')?.split_at_checked(3)?;
    let (day, text) = text.strip_prefix(' ')?.split_at_checked(2)?;
    let (time, year) = text.strip_prefix(' ')?.split_once(' ')?;
    is_short_day(day_name).then_some(())?;
    let day = match day.strip_prefix(' ') {
        Some(digit) => digits(digit, 1)?,
        None => digits(day, 2)?,
    };
    at(
        digits(year, 4)?,
        parse_month(month)?,
        day,
        parse_time(time)?,
    )
}

fn is_short_day(name: &str) -> bool {
    let short = DAYS.iter().filter_map(|day| day.get(..3));
    short.into_iter().any(|day| name.eq_ignore_ascii_case(day))
}

fn is_long_day(name: &str) -> bool {
    DAYS.iter().any(|day| name.eq_ignore_ascii_case(day))
}

/// From 1.
fn parse_month(name: &str) -> Option<u64> {
    let mut numbered = (1..).zip(MONTHS);
    let (number, _) = numbered.find(|(_, month)| name.eq_ignore_ascii_case(month))?;
    Some(number)
}

/// `08:49:37` as seconds. A leap second is the last one.
fn parse_time(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_valid = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    is_valid.then_some(hour * 3600 + minute * 60 + second.min(59))
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let is_number = text.len() == count && text.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn at(year: u64, month: u64, day: u64, seconds: u64) -> Option<SystemTime> {
    const DAYS_TO_EPOCH: u64 = 719_468;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > last {
        return None;
    }
    // Years are taken to begin in March, so that a leap day is a year's last one, and months
    // then begin 153 days apart for each five of them.
    let (year, month) = match month {
        1 | 2 => (year.checked_sub(1)?, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (153 * month + 2) / 5 + day - 1;
    match days.checked_sub(DAYS_TO_EPOCH) {
        Some(days) => UNIX_EPOCH.checked_add(Duration::from_secs(days * 86400 + seconds)),
        None => {
            let before = Duration::from_secs((DAYS_TO_EPOCH - days) * 86400 - seconds);
            UNIX_EPOCH.checked_sub(before)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: u64) {
        let expected = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
    }

    #[test]
    fn the_three_forms() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);
        check("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777);
        check("Sun Nov  6 08:49:37 1994", 784_111_777);
        check("Sun Nov 06 08:49:37 1994", 784_111_777);
        check("SUN, 06 nov 1994 08:49:37 gMT", 784_111_777);
        check("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777);
        check("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878);
        check("Thu, 01 Jan 1970 00:00:00 GMT", 0);
        check("Tue, 29 Feb 2000 23:59:60 GMT", 951_868_799);
        check("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800);
        check("Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599);
        let before = UNIX_EPOCH.checked_sub(Duration::from_secs(1));
        assert_eq!(parse(b"Wed, 31 Dec 1969 23:59:59 GMT"), before);
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu,18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT+1",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Thu, 29 Feb 2100 02:01:18 GMT",
            "Thu, 00 Jan 2050 02:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 August 2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Thu, 18 Aug +050 02:01:18 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_as_others_write_them(seconds in 0_u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(httpdate::fmt_http_date(time).as_bytes()), Some(time));
        }

        #[test]
        fn no_octets_panic(
            text in "[A-Z][a-z]{2,8}(, | )[0-9 ]{0,3}.[A-Z][a-z]{2}.[0-9]{0,4} ?[0-9:]{0,9}( GMT| [0-9]{4})?|\\PC*",
        ) {
            let _ = parse(text.as_bytes());
        }
    }
}
