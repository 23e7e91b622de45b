//! The timestamps of test packets: that of NTP (RFC 5905 section 6), the truncated one of PTPv2
//! (RFC 8186), and the Error Estimate beside them (RFC 4656 section 4.1.2).
//!
//! Left out: leap seconds, and the 37 of them between UTC and a PTP clock that runs on TAI. Both
//! are an offset of the peer's clock like any other.

use std::time::Duration;

/// RFC 5905 section 6: NTP counts from 1900.
const SECONDS_FROM_1900_TO_1970: u32 = 2_208_988_800;
const NANOSECONDS: u32 = 1_000_000_000;

/// RFC 4656 section 4.1.2: the bits of an Error Estimate.
const SYNCHRONIZED: u16 = 0x8000;
/// RFC 8186 has taken it from the bits that were zero.
const PTP: u16 = 0x4000;
const SCALE_MAX: u8 = 63;

/// As it is in the packet: the Error Estimate beside it says in which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Timestamp(pub(crate) u64);

impl Timestamp {
    /// In the format of NTP, which every peer knows.
    pub(crate) fn of(since_1970: Duration) -> Timestamp {
        let seconds = seconds_field(since_1970, false);
        // Rounded up, so that the same nanosecond comes back when what is read is rounded down.
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32).div_ceil(NANOSECONDS.into());
        Timestamp((u64::from(seconds) << 32) | fraction)
    }

    /// The instant nearest to `near` that this can mean: the seconds of NTP start again in 2036,
    /// those of PTP in 2106. All timestamps of one session need the same `near`.
    pub(crate) fn nanoseconds_since_1970(self, is_ptp: bool, near: Duration) -> i128 {
        let [seconds, fraction] = [(self.0 >> 32) as u32, self.0 as u32];
        let apart = seconds.wrapping_sub(seconds_field(near, is_ptp));
        let seconds = i128::from(near.as_secs()) + i128::from(apart.cast_signed());
        let nanoseconds = match is_ptp {
            true => u64::from(fraction),
            false => (u64::from(fraction) * u64::from(NANOSECONDS)) >> 32,
        };
        seconds * i128::from(NANOSECONDS) + i128::from(nanoseconds)
    }
}

/// The seconds as the packet has them, without those of the eras before.
fn seconds_field(since_1970: Duration, is_ptp: bool) -> u32 {
    let seconds = since_1970.as_secs() as u32;
    match is_ptp {
        true => seconds,
        false => seconds.wrapping_add(SECONDS_FROM_1900_TO_1970),
    }
}

/// What a clock thinks of itself, and the format of its timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorEstimate {
    /// To UTC, from an external source.
    pub(crate) is_synchronized: bool,
    pub(crate) is_ptp: bool,
    /// Up to 63.
    pub(crate) scale: u8,
    /// Zero would make the packet a corrupt one. Who does not care for it sends it nevertheless.
    pub(crate) multiplier: u8,
}

impl ErrorEstimate {
    /// The smallest estimate that is not below the error, for timestamps in the format of NTP.
    pub(crate) fn of(error: Duration, is_synchronized: bool) -> ErrorEstimate {
        let units = (error.as_nanos() << 32).div_ceil(NANOSECONDS.into());
        let multiplier = |scale: &u8| u8::try_from(units.div_ceil(1 << scale)).ok();
        let fitting = (0..=SCALE_MAX).find_map(|scale| Some((scale, multiplier(&scale)?)));
        let (scale, multiplier) = fitting.unwrap_or((SCALE_MAX, u8::MAX));
        ErrorEstimate {
            is_synchronized,
            is_ptp: false,
            scale,
            multiplier: multiplier.max(1),
        }
    }

    /// Multiplier · 2^(Scale - 32) seconds.
    #[cfg(test)]
    fn error(self) -> Duration {
        let scale = 2_f64.powi(i32::from(self.scale.min(SCALE_MAX)) - 32);
        Duration::from_secs_f64(f64::from(self.multiplier) * scale)
    }

    pub(crate) fn parse(field: u16) -> ErrorEstimate {
        let [first, multiplier] = field.to_be_bytes();
        ErrorEstimate {
            is_synchronized: field & SYNCHRONIZED != 0,
            is_ptp: field & PTP != 0,
            scale: first & SCALE_MAX,
            multiplier,
        }
    }

    pub(crate) fn emit(self) -> u16 {
        let mut field = u16::from_be_bytes([self.scale & SCALE_MAX, self.multiplier]);
        if self.is_synchronized {
            field |= SYNCHRONIZED;
        }
        if self.is_ptp {
            field |= PTP;
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20 12:00:00 UTC.
    const NOW: Duration = Duration::from_secs(1_795_176_000);
    /// 2036-02-07 06:28:16 UTC, when the seconds of NTP are zero again.
    const ERA_1: Duration = Duration::from_secs(2_085_978_496);
    /// 2106-02-07 06:28:16 UTC, when those of PTP are.
    const PTP_ERA_1: Duration = Duration::from_secs(1 << 32);

    #[track_caller]
    fn check(since_1970: Duration, octets: u64) {
        assert_eq!(Timestamp::of(since_1970), Timestamp(octets));
        let nanoseconds = Timestamp(octets).nanoseconds_since_1970(false, NOW);
        assert_eq!(nanoseconds.cast_unsigned(), since_1970.as_nanos());
    }

    #[test]
    fn timestamps_of_ntp() {
        check(Duration::ZERO, 0x83aa_7e80_0000_0000);
        check(NOW, 0xeeaa_b4c0_0000_0000);
        check(NOW + Duration::from_millis(500), 0xeeaa_b4c0_8000_0000);
        check(NOW + Duration::from_nanos(1), 0xeeaa_b4c0_0000_0005);
        check(
            NOW + Duration::from_nanos(999_999_999),
            0xeeaa_b4c0_ffff_fffc,
        );
        check(ERA_1 - Duration::from_secs(1), 0xffff_ffff_0000_0000);
        check(ERA_1, 0);
        check(ERA_1 + Duration::from_millis(1250), 0x0000_0001_4000_0000);
    }

    #[test]
    fn timestamps_of_ptp() {
        #[track_caller]
        fn check(octets: u64, near: Duration, since_1970: Duration) {
            let nanoseconds = Timestamp(octets).nanoseconds_since_1970(true, near);
            assert_eq!(nanoseconds.cast_unsigned(), since_1970.as_nanos());
        }
        let now = 0x6b00_3640_u64 << 32;
        check(now, NOW, NOW);
        let last = Duration::from_nanos(999_999_999);
        check(now + 999_999_999, NOW, NOW + last);
        check(0, PTP_ERA_1, PTP_ERA_1);
        check(0, PTP_ERA_1 - last, PTP_ERA_1);
        let before = PTP_ERA_1 - Duration::from_secs(1);
        check(0xffff_ffff_0000_0000, PTP_ERA_1, before);
    }

    #[test]
    fn times_between_two_clocks() {
        #[track_caller]
        fn check(from: (u64, bool), to: (u64, bool), near: Duration, nanoseconds: i128) {
            let [from, to] = [from, to].map(|(octets, is_ptp)| (Timestamp(octets), is_ptp, near));
            let from = from.0.nanoseconds_since_1970(from.1, from.2);
            let to = to.0.nanoseconds_since_1970(to.1, to.2);
            assert_eq!(to - from, nanoseconds);
        }
        let ntp = 0xeeaa_b4c0_8000_0000;
        let ptp = (0x6b00_3640 << 32) | 500_000_000;
        check((ntp, false), (ntp + (1 << 32), false), NOW, 1_000_000_000);
        check((ntp, false), (ntp - (1 << 30), false), NOW, -250_000_000);
        check((ntp, false), (ptp, true), NOW, 0);
        check((ptp + 37, true), (ntp, false), NOW, -37);
        for near in [ERA_1 - Duration::from_secs(1), ERA_1] {
            let last = 0xffff_ffff_c000_0000;
            check((last, false), (1 << 30, false), near, 500_000_000);
            check((1 << 30, false), (last, false), near, -500_000_000);
        }
        // A clock that was never set.
        let since_1900 = -i128::from(SECONDS_FROM_1900_TO_1970) * 1_000_000_000;
        let year_1960 = (60 * 365 + 14) * 86_400_u64;
        let since_1960 = since_1900 + i128::from(year_1960) * 1_000_000_000;
        let unset = (year_1960 << 32, false);
        check((0x83aa_7e80 << 32, false), unset, NOW, since_1960);
    }

    #[test]
    fn error_estimates() {
        #[track_caller]
        fn check(error: Duration, is_synchronized: bool, field: u16) {
            let estimate = ErrorEstimate::of(error, is_synchronized);
            assert_eq!(estimate.emit(), field, "{estimate:?}");
        }
        check(Duration::ZERO, false, 0x0001);
        check(Duration::from_nanos(1), false, 0x0005);
        check(Duration::from_nanos(59), false, 0x00fe);
        check(Duration::from_nanos(60), false, 0x0181);
        check(Duration::from_millis(1), true, 0x8f84);
        check(Duration::from_secs(1), true, 0x9980);
        check(Duration::from_secs(255 << 31), false, 0x3fff);
        check(Duration::MAX, false, 0x3fff);

        let error = |field| ErrorEstimate::parse(field).error();
        assert_eq!(error(0xd980), Duration::from_secs(1));
        assert_eq!(error(0x0005), Duration::from_nanos(1));
        assert_eq!(error(0x3fff), Duration::from_secs(255 << 31));
        assert_eq!(error(0x3f00), Duration::ZERO);
        for field in 0..=u16::MAX {
            assert_eq!(ErrorEstimate::parse(field).emit(), field);
        }
        assert!(ErrorEstimate::parse(0x4001).is_ptp);
        assert!(ErrorEstimate::parse(0x8001).is_synchronized);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_says_comes_back(
            seconds in 0_u64..1 << 34,
            nanoseconds in 0..NANOSECONDS,
            apart in -0x7fff_ffff_i64..0x7fff_ffff,
        ) {
            let since_1970 = Duration::new(seconds, nanoseconds);
            let near = Duration::from_secs(seconds.saturating_add_signed(apart));
            let nanoseconds = Timestamp::of(since_1970).nanoseconds_since_1970(false, near);
            prop_assert_eq!(nanoseconds.cast_unsigned(), since_1970.as_nanos());
        }

        #[test]
        fn any_octets_are_a_time(octets: u64, is_ptp: bool, near: Duration) {
            let nanoseconds = Timestamp(octets).nanoseconds_since_1970(is_ptp, near);
            let apart = nanoseconds.abs_diff(near.as_nanos().cast_signed());
            prop_assert!(apart <= (1 << 31) * u128::from(NANOSECONDS) + (1 << 33));
        }

        #[test]
        fn no_smaller_estimate_would_do(seconds in 0_u64..1 << 38, nanoseconds in 1..NANOSECONDS) {
            let error = Duration::new(seconds, nanoseconds);
            let estimate = ErrorEstimate::of(error, false);
            prop_assert!(estimate.error() >= error);
            let smaller = ErrorEstimate { multiplier: estimate.multiplier - 1, ..estimate };
            prop_assert!(smaller.error() <= error);
        }
    }
}
