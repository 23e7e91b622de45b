//! Faults that developers ask for, to see how their programs bear them: answers that come late,
//! slowly or not at all.

use std::time::{Duration, Instant};

use super::host::HostPattern;
use crate::duration;
use crate::measure::size;

/// Pieces this far apart look even to whoever watches, and cost little.
const PIECES_PER_SECOND: u64 = 50;
/// How far a sender may fall behind and catch up. Without an end to it, a pause would end in a
/// burst at full speed.
const BEHIND_MAX: Duration = Duration::from_millis(100);
const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// A fault for some hosts, or for all of them.
#[derive(Debug, Clone)]
pub(crate) struct Rule<T> {
    pub(crate) hosts: Option<HostPattern>,
    pub(crate) value: T,
}

impl<T> Rule<T> {
    /// `value`, or `HOST=value`.
    fn parse(
        text: &str,
        parse_value: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Rule<T>, String> {
        let (hosts, value) = match text.rsplit_once('=') {
            Some((host, value)) => (Some(HostPattern::parse(host)?), value),
            None => (None, text),
        };
        let value = parse_value(value)?;
        Ok(Rule { hosts, value })
    }
}

/// `200ms`, `*.example.com=1.5s`, of `--delay`.
pub(crate) fn parse_delay(text: &str) -> Result<Rule<Duration>, String> {
    Rule::parse(text, |span| {
        duration::parse(span).map_err(|error| error.to_string())
    })
}

/// `100K`, `*.example.com=1M`, of `--rate`: octets a second.
pub(crate) fn parse_rate(text: &str) -> Result<Rule<u64>, String> {
    Rule::parse(text, |octets| size::parse(octets).map_err(str::to_owned))
}

/// `1%`, `*.example.com=0.5%`, of `--drop`; the value is from 0 to 1.
pub(crate) fn parse_drop(text: &str) -> Result<Rule<f64>, String> {
    Rule::parse(text, |percent| {
        let share = parse_percent(percent);
        share.ok_or_else(|| "write a percentage from 0% to 100%, like 0.5%".to_owned())
    })
}

fn parse_percent(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%')?;
    let is_plain = digits.bytes().all(|o| o.is_ascii_digit() || o == b'.');
    let percent: f64 = digits.parse().ok().filter(|_| is_plain)?;
    (percent <= 100.0).then_some(percent / 100.0)
}

/// All rules, in the order they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) delays: Vec<Rule<Duration>>,
    pub(crate) rates: Vec<Rule<u64>>,
    pub(crate) drops: Vec<Rule<f64>>,
}

impl Faults {
    /// The first rule of each kind that is for this host counts, and else the first for all.
    pub(crate) fn for_host(&self, host: &str) -> Fault {
        Fault {
            delay: first(&self.delays, host),
            rate: first(&self.rates, host),
            drop: first(&self.drops, host),
        }
    }
}

/// A rule for some hosts counts before one for all of them.
fn first<T: Copy>(rules: &[Rule<T>], host: &str) -> Option<T> {
    let is_for = |rule: &&Rule<T>| {
        let hosts = rule.hosts.as_ref();
        hosts.is_some_and(|hosts| hosts.matches_host(host))
    };
    let particular = rules.iter().find(is_for);
    let general = || rules.iter().find(|rule| rule.hosts.is_none());
    particular.or_else(general).map(|rule| rule.value)
}

/// What happens to an exchange with one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fault {
    pub(crate) delay: Option<Duration>,
    /// Octets a second.
    pub(crate) rate: Option<u64>,
    /// How probable it is, from 0 to 1.
    pub(crate) drop: Option<f64>,
}

impl Fault {
    /// Whether this exchange is dropped; `random` is evenly distributed.
    pub(crate) fn drops(&self, random: u64) -> bool {
        // As many bits as an f64 keeps, so that the quotient stays below 1.
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        self.drop.is_some_and(|drop| share < drop)
    }
}

/// Spreads octets over time: small pieces at even distances, the first at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    octets_per_second: u64,
    started: Instant,
    sent: u64,
}

impl Pace {
    pub(crate) fn new(octets_per_second: u64, now: Instant) -> Pace {
        Pace {
            octets_per_second: octets_per_second.max(1),
            started: now,
            sent: 0,
        }
    }

    /// How many octets may be sent now.
    pub(crate) fn allowed(&self, now: Instant) -> u64 {
        match self.wait(now) {
            Duration::ZERO => (self.octets_per_second / PIECES_PER_SECOND).max(1),
            _ => 0,
        }
    }

    /// How long it is until the next piece.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.due().saturating_sub(self.elapsed(now))
    }

    /// That many octets were sent, at most those that were allowed.
    pub(crate) fn on_sent(&mut self, octets: u64, now: Instant) {
        if self.due() + BEHIND_MAX < self.elapsed(now) {
            *self = Pace::new(self.octets_per_second, now);
        }
        self.sent = self.sent.saturating_add(octets);
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// When all that was sent is paid for, after the start.
    fn due(&self) -> Duration {
        let (sent, rate) = (u128::from(self.sent), u128::from(self.octets_per_second));
        let nanoseconds = sent * NANOSECONDS_PER_SECOND / rate;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    #[track_caller]
    fn check(delays: &[&str], host: &str, milliseconds: Option<u64>) {
        let delays = delays.iter().map(|text| parse_delay(text).expect(text));
        let faults = Faults {
            delays: delays.collect(),
            ..Faults::default()
        };
        let delay = faults.for_host(host).delay;
        assert_eq!(delay, milliseconds.map(Duration::from_millis), "{host}");
    }

    #[test]
    fn the_first_rule_for_a_host_counts() {
        check(&[], "a.example", None);
        check(&["200ms"], "a.example", Some(200));
        let rules = [
            "api.example=0",
            "*.Example=1.5s",
            "[::1]=5ms",
            "10.0.0.0/8=6ms",
            "2s",
        ];
        check(&rules, "API.example.", Some(0));
        check(&rules, "a.api.example", Some(1500));
        check(&rules, "[0::1]", Some(5));
        check(&rules, "::1", Some(5));
        check(&rules, "10.1.1.1", Some(6));
        check(&rules, "example", Some(2000));
        check(&["a.example=1s"], "b.example", None);
        check(&["1s", "a.example=2s"], "a.example", Some(2000));
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let faults = Faults {
            delays: vec![parse_delay("a=1s").unwrap()],
            rates: vec![parse_rate("a=100K").unwrap(), parse_rate("512").unwrap()],
            drops: vec![parse_drop("b=100%").unwrap(), parse_drop("0.5%").unwrap()],
        };
        let fault = |delay, rate, drop| Fault { delay, rate, drop };
        let second = Some(Duration::from_secs(1));
        assert_eq!(
            faults.for_host("a"),
            fault(second, Some(100 << 10), Some(0.005))
        );
        assert_eq!(faults.for_host("b"), fault(None, Some(512), Some(1.0)));
    }

    #[test]
    fn what_is_no_rule() {
        for wrong in [
            "", "=", "a=", "=1s", "a b=1s", "a=b=1s", "1", "-1%", "101%", "nan%", "%",
        ] {
            assert!(parse_drop(wrong).is_err(), "{wrong}");
        }
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("a=1MB").is_err());
        assert!(parse_delay("http://a=1s").is_err());
        let why = parse_delay("a=soon").unwrap_err();
        assert!(why.contains("200ms"), "{why}");
    }

    #[test]
    fn drops_as_often_as_asked() {
        let often = |text: &str| {
            let drop = Some(parse_drop(text).unwrap().value);
            let (delay, rate) = (None, None);
            let fault = Fault { delay, rate, drop };
            let random = (0..1000).map(|step| step * (u64::MAX / 1000) + u64::MAX / 2000);
            random.filter(|random| fault.drops(*random)).count()
        };
        assert_eq!(often("0%"), 0);
        assert_eq!(often("1%"), 10);
        assert_eq!(often("50%"), 500);
        assert_eq!(often("100%"), 1000);
        assert!(!Faults::default().for_host("a").drops(0));
    }

    /// Sends as fast as it may for this long, `late` after each wait; the pieces and their sum.
    fn send(pace: &mut Pace, mut now: Instant, span: Duration, late: Duration) -> (u64, u64) {
        let (end, mut pieces, mut sum) = (now + span, 0, 0);
        while now < end {
            let allowed = pace.allowed(now);
            pace.on_sent(allowed, now);
            (pieces, sum) = (pieces + 1, sum + allowed);
            now += pace.wait(now) + late;
        }
        (pieces, sum)
    }

    #[test]
    fn octets_are_spread_evenly() {
        let (start, second) = (clock::now(), Duration::from_secs(1));
        let sent = |rate, late| send(&mut Pace::new(rate, start), start, 10 * second, late);
        assert_eq!(sent(100_000, Duration::ZERO), (500, 1_000_000));
        // Waking up late does not make it slower.
        assert_eq!(sent(100_000, Duration::from_millis(3)), (500, 1_000_000));
        assert_eq!(sent(7, Duration::ZERO), (70, 70));
        assert_eq!(sent(1, Duration::ZERO), (10, 10));
        assert_eq!(sent(50 << 40, Duration::ZERO), (500, 500 << 40));
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let (start, second) = (clock::now(), Duration::from_secs(1));
        let mut pace = Pace::new(100_000, start);
        send(&mut pace, start, second, Duration::ZERO);
        let (_, sum) = send(&mut pace, start + 60 * second, second, Duration::ZERO);
        assert_eq!(sum, 100_000);
    }

    #[test]
    fn small_sends_wait_less() {
        let start = clock::now();
        let mut pace = Pace::new(1000, start);
        assert_eq!(pace.allowed(start), 20);
        pace.on_sent(5, start);
        assert_eq!(pace.allowed(start), 0);
        assert_eq!(pace.wait(start), Duration::from_millis(5));
        assert_eq!(pace.allowed(start + Duration::from_millis(5)), 20);
    }

    proptest! {
        #[test]
        fn no_text_and_no_figures_panic(
            text in "([*.a]{0,3}=)?[0-9.]{0,5}(%|ms|K)?|\\PC{0,9}",
            rate in any::<u64>(),
            sent in any::<u64>(),
        ) {
            let _ = (parse_delay(&text), parse_rate(&text), parse_drop(&text));
            let now = clock::now();
            let mut pace = Pace::new(rate, now);
            pace.on_sent(sent, now);
            pace.on_sent(sent, now);
            prop_assert!(pace.allowed(now) == 0 || pace.wait(now).is_zero());
        }
    }
}
