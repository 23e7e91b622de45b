//! A bad network to learn with: loss, bursts of it, delay, jitter and duplicates, simulated
//! by a server for what it receives and sends.
//!
//! The same seed makes the same decisions on every machine. Each kind of decision has a stream
//! of random numbers of its own, with one number for each datagram: what happens to the 17th
//! reply does not depend on whether there are delays or duplicates too.

use std::time::Duration;

use crate::duration;

#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct Options {
    /// Lose so many of the requests
    #[arg(long = "loss", value_name = "PERCENT", value_parser = parse_percent, default_value = "0", hide_default_value = true)]
    pub(crate) request_loss: f64,
    /// Lose so many of the replies
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0", hide_default_value = true)]
    pub(crate) reply_loss: f64,
    /// Lose so many in a row, on average; the loss stays as it is
    // Chance alone makes bursts of 1 / (1 - loss); with less than that, losses are independent.
    #[arg(long, value_name = "N", value_parser = parse_burst, default_value = "1", hide_default_value = true)]
    pub(crate) burst: f64,
    /// Hold each reply back for so many milliseconds, or 1.5s
    #[arg(long, value_name = "MS", value_parser = duration::parse_ms, default_value = "0", hide_default_value = true)]
    pub(crate) delay: Duration,
    /// And for up to so much longer; replies may overtake each other
    // All of `0..=jitter` is equally likely.
    #[arg(long, value_name = "MS", value_parser = duration::parse_ms, default_value = "0", hide_default_value = true)]
    pub(crate) jitter: Duration,
    /// Send so many of the replies twice, without a number all
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, num_args = 0..=1, default_missing_value = "100", default_value = "0", hide_default_value = true)]
    pub(crate) duplicate: f64,
    /// Another seed loses others; the same one the same
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Impairment {
    pub(crate) requests_lost: u64,
    pub(crate) replies_lost: u64,
    pub(crate) duplicated: u64,
    request_losses: GilbertElliott,
    reply_losses: GilbertElliott,
    duplicates: SplitMix64,
    duplicate_probability: f64,
    delays: SplitMix64,
    delay: Duration,
    jitter: Duration,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) lost: bool,
    /// 1 or 2, which leave together.
    pub(crate) copies: u8,
    pub(crate) delay: Duration,
}

impl Impairment {
    pub(crate) fn new(options: &Options) -> Impairment {
        // The order is part of what a seed means.
        let mut seeds = SplitMix64(options.seed);
        let mut stream = || SplitMix64(seeds.next());
        Impairment {
            requests_lost: 0,
            replies_lost: 0,
            duplicated: 0,
            request_losses: GilbertElliott::new(stream(), options.request_loss, options.burst),
            reply_losses: GilbertElliott::new(stream(), options.reply_loss, options.burst),
            duplicates: stream(),
            duplicate_probability: options.duplicate / 100.0,
            delays: stream(),
            delay: options.delay,
            jitter: options.jitter,
        }
    }

    /// Whether the request that has just arrived is lost, as if it had not.
    pub(crate) fn on_request(&mut self) -> bool {
        let is_lost = self.request_losses.next();
        self.requests_lost += u64::from(is_lost);
        is_lost
    }

    pub(crate) fn on_reply(&mut self) -> Fate {
        let is_lost = self.reply_losses.next();
        let is_twice = self.duplicates.chance(self.duplicate_probability) && !is_lost;
        let jitter = self.delays.up_to(self.jitter);
        self.replies_lost += u64::from(is_lost);
        self.duplicated += u64::from(is_twice);
        Fate {
            lost: is_lost,
            copies: 1 + u8::from(is_twice),
            delay: self.delay.saturating_add(jitter),
        }
    }
}

/// `30%`, `30`, `0.5%`: 0 to 100.
pub(crate) fn parse_percent(text: &str) -> Result<f64, &'static str> {
    const INVALID: &str = "not a percentage from 0 to 100; write 30%, 30 or 0.5%";
    let digits = text.strip_suffix('%').unwrap_or(text);
    if !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(INVALID);
    }
    let percent: f64 = digits.parse().map_err(|_| INVALID)?;
    if percent <= 100.0 {
        Ok(percent)
    } else {
        Err(INVALID)
    }
}

fn parse_burst(text: &str) -> Result<f64, &'static str> {
    let burst: f64 = text.parse().unwrap_or(0.0);
    match (1.0..=1e6).contains(&burst) {
        true => Ok(burst),
        false => Err("a number from 1"),
    }
}

/// The Gilbert-Elliott model in Gilbert's simple form: a Markov chain, datagram by datagram, of
/// a good state in which nothing is lost and a bad one in which everything is.
#[derive(Debug)]
struct GilbertElliott {
    dice: SplitMix64,
    /// That the next one is lost.
    probability: f64,
    after_lost: f64,
    after_passed: f64,
}

impl GilbertElliott {
    fn new(dice: SplitMix64, percent: f64, burst: f64) -> GilbertElliott {
        let loss = percent / 100.0;
        // Bursts of mean length b end with probability 1 / b, and those of chance with 1 - loss.
        let after_lost = (1.0 - 1.0 / burst.max(1.0)).max(loss);
        // In the long run as many bursts begin as end. Independent losses remember nothing, and
        // 100 % are among them.
        let after_passed = if after_lost > loss {
            (1.0 - after_lost) * loss / (1.0 - loss)
        } else {
            loss
        };
        GilbertElliott {
            dice,
            probability: loss,
            after_lost,
            after_passed,
        }
    }

    fn next(&mut self) -> bool {
        let is_lost = self.dice.chance(self.probability);
        self.probability = match is_lost {
            true => self.after_lost,
            false => self.after_passed,
        };
        is_lost
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Of the 64 bits the upper 53, as many as an `f64` holds exactly.
    fn chance(&mut self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        ((self.next() >> 11) as f64 / STEPS) < probability
    }

    /// Each nanosecond is as likely as any other.
    fn up_to(&mut self, max: Duration) -> Duration {
        let choices = max.as_nanos().saturating_add(1).min(u128::from(u64::MAX));
        let chosen = (u128::from(self.next()) * choices) >> u64::BITS;
        Duration::from_nanos(chosen as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Options = Options {
        request_loss: 0.0,
        reply_loss: 0.0,
        burst: 1.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        duplicate: 0.0,
        seed: 1,
    };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// `x` where a request is lost.
    fn requests(options: &Options, count: usize) -> String {
        let mut impairment = Impairment::new(options);
        let losses = (0..count).map(|_| impairment.on_request());
        losses.map(|lost| if lost { 'x' } else { '.' }).collect()
    }

    /// `x` where a reply is lost, `2` where it leaves twice.
    fn replies(options: &Options, count: usize) -> (String, Vec<Duration>) {
        let mut impairment = Impairment::new(options);
        let fates = (0..count).map(|_| impairment.on_reply());
        let fates = fates.map(|fate| match fate {
            Fate { lost: true, .. } => ('x', fate.delay),
            Fate { copies: 2, .. } => ('2', fate.delay),
            Fate { .. } => ('.', fate.delay),
        });
        fates.unzip()
    }

    /// The figures that Java's SplittableRandom and others give for these seeds.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut dice = SplitMix64(0);
        let first = [dice.next(), dice.next(), dice.next()];
        let expected = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(first, expected);
        let mut dice = SplitMix64(1_234_567);
        assert_eq!(dice.next(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_seed_means_the_same_everywhere() {
        let options = Options {
            request_loss: 35.0,
            reply_loss: 20.0,
            duplicate: 10.0,
            delay: ms(30),
            jitter: ms(5),
            ..NONE
        };
        assert_eq!(requests(&options, 20), "..x.x..xxx..x......x");
        let (fates, delays) = replies(&options, 20);
        assert_eq!(fates, ".xx2...x...x........");
        let micros: Vec<u128> = delays[..4].iter().map(Duration::as_micros).collect();
        assert_eq!(micros, [31_228, 33_754, 31_024, 34_286]);
        let bursts = Options {
            burst: 4.0,
            ..options
        };
        assert_eq!(requests(&bursts, 20), "..x................x");
        let other = Options { seed: 2, ..bursts };
        assert_eq!(requests(&other, 20), ".x....xx..xx....xxxx");
    }

    /// Mean loss and mean burst of 200,000 requests, within 2 %.
    #[track_caller]
    fn check_bursts(request_loss: f64, burst: f64, burst_expected: f64) {
        const COUNT: usize = 200_000;
        let options = Options {
            request_loss,
            burst,
            ..NONE
        };
        let fates = requests(&options, COUNT);
        let lost = fates.matches('x').count() as f64;
        let bursts = fates.split('.').filter(|run| !run.is_empty()).count() as f64;
        let is_near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.02;
        let percent = lost / COUNT as f64 * 100.0;
        assert!(is_near(percent, request_loss), "{percent} % lost");
        let mean = lost / bursts;
        assert!(is_near(mean, burst_expected), "bursts of {mean}");
    }

    #[test]
    fn bursts_change_the_order_of_losses_but_not_their_number() {
        check_bursts(10.0, 1.0, 1.0 / 0.9);
        check_bursts(10.0, 4.0, 4.0);
        check_bursts(35.0, 1.0, 1.0 / 0.65);
        check_bursts(35.0, 8.0, 8.0);
        check_bursts(90.0, 1.0, 10.0);
        // Shorter than chance would make them, they could not be so many.
        check_bursts(80.0, 2.0, 5.0);
        check_bursts(35.0, f64::NAN, 1.0 / 0.65);
    }

    #[test]
    fn nothing_and_everything() {
        for burst in [0.0, 1.0, 7.0, f64::INFINITY] {
            let none = Options { burst, ..NONE };
            assert_eq!(requests(&none, 100), ".".repeat(100));
            assert_eq!(replies(&none, 100).0, ".".repeat(100));
            let all = Options {
                request_loss: 100.0,
                reply_loss: 100.0,
                duplicate: 100.0,
                ..none
            };
            assert_eq!(requests(&all, 100), "x".repeat(100));
            assert_eq!(replies(&all, 100).0, "x".repeat(100));
        }
    }

    #[test]
    fn one_kind_of_trouble_does_not_move_another() {
        let alone = Options {
            request_loss: 30.0,
            reply_loss: 20.0,
            ..NONE
        };
        let delayed = Options {
            delay: ms(50),
            jitter: ms(20),
            ..alone
        };
        let both = Options {
            duplicate: 30.0,
            ..delayed
        };
        assert_eq!(requests(&alone, 1000), requests(&both, 1000));
        let (fates, delays) = replies(&both, 1000);
        assert_eq!(replies(&alone, 1000).0, fates.replace('2', "."));
        assert_eq!(replies(&delayed, 1000).1, delays);
        // Nor do requests and replies share their luck.
        let alike = Options {
            reply_loss: 30.0,
            ..alone
        };
        assert_ne!(requests(&alike, 1000), replies(&alike, 1000).0);
    }

    #[test]
    fn jitter_adds_to_the_delay() {
        let options = Options {
            delay: ms(30),
            jitter: ms(10),
            ..NONE
        };
        let (_, delays) = replies(&options, 10_000);
        assert!(delays.iter().all(|delay| (ms(30)..=ms(40)).contains(delay)));
        let mean = delays.iter().sum::<Duration>() / 10_000;
        assert!(
            mean.abs_diff(ms(35)) < Duration::from_micros(100),
            "{mean:?}"
        );
        let mut dice = SplitMix64(7);
        let nanos = (0..1000).map(|_| dice.up_to(Duration::from_nanos(2)).subsec_nanos());
        let mut counts = [0; 3];
        nanos.for_each(|nanos| counts[nanos as usize] += 1);
        assert!(
            counts.iter().all(|count| (280..390).contains(count)),
            "{counts:?}"
        );
        let endless = Options {
            delay: Duration::MAX,
            jitter: Duration::MAX,
            ..NONE
        };
        assert_eq!(replies(&endless, 1).1, [Duration::MAX]);
    }

    #[test]
    fn what_happened_is_counted() {
        let options = Options {
            request_loss: 30.0,
            reply_loss: 20.0,
            duplicate: 10.0,
            ..NONE
        };
        let mut impairment = Impairment::new(&options);
        for _ in 0..1000 {
            impairment.on_request();
            impairment.on_reply();
        }
        let count = |fates: &str, fate| fates.matches(fate).count() as u64;
        let (replies, _) = replies(&options, 1000);
        assert_eq!(
            impairment.requests_lost,
            count(&requests(&options, 1000), 'x')
        );
        assert_eq!(impairment.replies_lost, count(&replies, 'x'));
        assert_eq!(impairment.duplicated, count(&replies, '2'));
    }

    #[test]
    fn percentages() {
        for (text, percent) in [
            ("30%", 30.0),
            ("30", 30.0),
            ("0.5%", 0.5),
            (".5", 0.5),
            ("0", 0.0),
            ("100%", 100.0),
        ] {
            assert_eq!(parse_percent(text), Ok(percent), "{text}");
        }
        for wrong in [
            "", "%", ".", "30%%", "30 %", "100.1", "-1", "1e1", "nan", "inf", "1.2.3", "٣",
        ] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_a_percentage_or_not(text in "[0-9.%]{0,9}|.{0,9}") {
            if let Ok(percent) = parse_percent(&text) {
                prop_assert!((0.0..=100.0).contains(&percent));
            }
        }
    }
}
