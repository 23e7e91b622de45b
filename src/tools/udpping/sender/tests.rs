use proptest::collection::vec;
use proptest::prelude::*;

use super::super::event::words;
use super::*;
use crate::clock;

const WALL: Duration = Duration::from_secs(1_700_000_000);

/// A sender called web1, and a time that is milliseconds since its first beat.
struct Watch {
    start: Instant,
    sender: Sender,
    down_after: Option<u32>,
    events: Vec<Event>,
}

impl Watch {
    fn new(first: &Beat<'_>) -> Watch {
        let start = clock::now();
        Watch {
            start,
            sender: Sender::new(start, address(4000), "web1".into(), first),
            down_after: None,
            events: Vec::new(),
        }
    }

    /// Of one whose beats 0, 1 and so on have come one in a second.
    fn after(beats: u64) -> Watch {
        let mut watch = Watch::new(&web1(0));
        for number in 1..beats {
            watch.beat(number * 1000, web1(number));
        }
        watch.check(&[]);
        watch
    }

    fn beat(&mut self, ms: u64, beat: Beat<'_>) {
        self.beat_from(ms, 4000, &beat, true);
    }

    fn beat_from(&mut self, ms: u64, port: u16, beat: &Beat<'_>, timely: bool) {
        self.silence(ms);
        let now = self.start + Duration::from_millis(ms);
        let events = &mut self.events;
        self.sender
            .on_beat(now, address(port), beat, timely, events);
    }

    /// As the roster looks at a sender: whenever something is due.
    fn silence(&mut self, ms: u64) {
        let now = self.start + Duration::from_millis(ms);
        while let Some(due) = self.sender.due(self.down_after).filter(|due| *due <= now) {
            self.sender
                .on_silence(due, self.down_after, &mut self.events);
        }
    }

    /// What was told since the last time.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        let told = self.events.drain(..).map(|event| words(event, self.start));
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// Sent as many seconds after the first as its number says.
fn web1(sequence_number: u64) -> Beat<'static> {
    Beat {
        kind: Kind::Heartbeat,
        name: "web1",
        boot: 1,
        sequence_number,
        sent: WALL + Duration::from_secs(sequence_number),
        interval: Duration::from_secs(1),
    }
}

fn textbook(sequence_number: u64, sent: u64) -> Beat<'static> {
    Beat {
        name: "",
        boot: 0,
        sent: WALL + Duration::from_secs(sent),
        interval: Duration::ZERO,
        ..web1(sequence_number)
    }
}

#[test]
fn lost_reordered_and_doubled() {
    let mut watch = Watch::new(&web1(7));
    for (tenth, number) in (1..).zip([8, 11, 10, 10, 11, 6, 12]) {
        watch.beat(tenth * 100, web1(number));
    }
    watch.check(&[
        "lost web1 2",
        "reordered web1 by 1",
        "duplicate web1",
        "duplicate web1",
        "reordered web1 by 5",
    ]);
    let sender = &watch.sender;
    assert_eq!((sender.received, sender.lost), (6, 1));
    assert_eq!((sender.reordered, sender.duplicates), (2, 2));
}

#[test]
fn silence_is_late_once_and_then_down() {
    let mut watch = Watch::after(3000);
    watch.silence(3_001_009);
    watch.check(&[]);
    watch.silence(3_001_010);
    assert_eq!(watch.sender.state, State::Late);
    watch.silence(3_002_009);
    watch.check(&["late web1 by 1010"]);
    watch.silence(3_600_000);
    watch.check(&["down web1 since 2999000 missed 3"]);
    watch.beat(3_660_000, web1(3660));
    watch.check(&["up web1 after 661000", "lost web1 660"]);
    assert_eq!(watch.sender.state, State::Up);
}

#[test]
fn late_is_neither_lost_nor_down() {
    let mut watch = Watch::after(3000);
    watch.beat(3_001_600, web1(3000));
    watch.check(&["late web1 by 1010"]);
    assert_eq!((watch.sender.state, watch.sender.lost), (State::Up, 0));
}

/// Of one beat nothing is known yet; the more come, the sooner a silence means something.
#[test]
fn few_beats_prove_little() {
    #[track_caller]
    fn check(beats: u64, down_after: Option<u32>, intervals: u64) {
        let mut watch = Watch::after(beats);
        watch.down_after = down_after;
        let due = (beats - 1 + intervals) * 1000 + 10;
        watch.silence(due - 1);
        assert_ne!(watch.sender.state, State::Down);
        watch.silence(due);
        assert_eq!(watch.sender.state, State::Down);
    }
    check(1, None, 34);
    check(10, None, 13);
    check(60, None, 7);
    check(300, None, 5);
    check(3000, None, 3);
    check(1, Some(1), 1);
    check(3000, Some(5), 5);
}

/// Every third beat is lost: neither that nor the silences are told, but its death is.
#[test]
fn a_lossy_sender_does_not_flood() {
    let mut watch = Watch::after(1);
    for number in (0..3000).filter(|number| number % 3 > 0) {
        watch.beat(number * 1000, web1(number));
    }
    watch.check(&["lost web1 1", "lost web1 1"]);
    assert_eq!(watch.sender.lost, 999);
    watch.silence(4_000_000);
    watch.check(&["down web1 since 2999000 missed 21"]);
}

#[test]
fn a_restart_loses_nothing() {
    let mut watch = Watch::new(&web1(4_294_967_295));
    watch.beat(1000, web1(4_294_967_296));
    watch.beat(2000, Beat { boot: 2, ..web1(0) });
    watch.beat(60_000, Beat { boot: 3, ..web1(0) });
    watch.check(&[
        "restarted web1",
        "late web1 by 1010",
        "down web1 since 2000 missed 21",
        "up web1 after 58000",
        "restarted web1",
    ]);
    assert_eq!((watch.sender.restarts, watch.sender.lost), (2, 0));
}

#[test]
fn recordings_are_rejected() {
    let mut watch = Watch::after(100);
    watch.beat(99_100, web1(35));
    watch.beat(
        99_200,
        Beat {
            boot: 0,
            ..web1(101)
        },
    );
    watch.beat_from(99_300, 4000, &Beat { boot: 2, ..web1(0) }, false);
    let (replayed, stale) = ("rejected web1 Replayed", "rejected web1 Stale");
    watch.check(&[replayed, replayed, stale]);
    // The newest over and over does not keep a dead sender alive.
    for second in 100..130 {
        watch.beat(second * 1000, web1(99));
    }
    assert_eq!(watch.sender.state, State::Down);
    assert_eq!(watch.sender.received, 100);
}

/// Without a boot, numbers and timestamps together tell a restart from a recording.
#[test]
fn the_textbook_heartbeat() {
    let mut watch = Watch::new(&textbook(1, 0));
    // It does not say so, but beats every five seconds.
    for number in 2..10 {
        watch.beat((number - 1) * 5000, textbook(number, number * 5));
    }
    assert_eq!(watch.sender.interval, Duration::from_secs(5));
    watch.events.clear();
    for (number, sent) in [(1, 50), (2, 50), (8, 40), (2, 10), (4, 60)] {
        watch.beat(50_000, textbook(number, sent));
    }
    watch.check(&[
        "restarted web1",
        "rejected web1 Replayed",
        "duplicate web1",
        "lost web1 1",
    ]);
}

/// A NAT gives it another port in the middle of it.
#[test]
fn an_address_may_change() {
    let mut watch = Watch::after(10);
    watch.beat_from(10_000, 5000, &web1(10), true);
    watch.beat_from(10_100, 4000, &web1(9), true);
    watch.check(&["moved web1 192.0.2.1:4000 192.0.2.1:5000", "duplicate web1"]);
    assert_eq!(watch.sender.address, address(5000));
}

#[test]
fn a_clock_that_is_set_is_no_loss_and_no_jitter() {
    let hour = Duration::from_secs(3600);
    for set in [|sent, by| sent + by, |sent: Duration, by| sent - by] {
        let mut watch = Watch::after(100);
        for number in 100..200 {
            let beat = web1(number);
            let sent = set(beat.sent, hour);
            watch.beat(number * 1000 + number % 2 * 8, Beat { sent, ..beat });
        }
        watch.check(&[]);
        let sender = &watch.sender;
        assert_eq!((sender.steps, sender.lost, sender.received), (1, 0, 200));
        let jitter_us = sender.jitter.as_micros();
        assert!((7900..=8000).contains(&jitter_us), "{jitter_us}");
        assert_eq!(sender.delay_variation(), Duration::from_millis(8));
    }
}

#[test]
fn a_sender_that_says_bye_is_not_down() {
    let mut watch = Watch::after(10);
    let bye = Beat {
        kind: Kind::Bye,
        ..web1(10)
    };
    watch.beat(10_000, bye);
    watch.beat(10_100, web1(9));
    watch.beat(10_200, bye);
    watch.silence(9_000_000);
    watch.check(&["left web1", "duplicate web1", "duplicate web1"]);
    assert_eq!(watch.sender.state, State::Left);
    watch.beat(9_000_000, Beat { boot: 2, ..web1(0) });
    watch.check(&["up web1 after 8990000", "restarted web1"]);
}

#[test]
fn a_slow_path_that_varies_makes_nobody_late() {
    let mut watch = Watch::after(3000);
    for number in 3000..3200 {
        let delay = if number % 50 == 0 {
            950
        } else {
            number % 7 * 90
        };
        watch.beat(number * 1000 + delay, web1(number));
    }
    watch.check(&[]);
}

proptest! {
    /// And nothing but a newer one is a sign of life.
    #[test]
    fn no_beats_panic(
        beats in vec(
            (
                prop_oneof![Just(0), 0_u64..200_000, Just(1 << 40)],
                prop_oneof![0_u64..200, any::<u64>()],
                prop_oneof![Just(1_u64), any::<u64>()],
                any::<(u64, bool, bool, bool)>(),
                prop_oneof![Just(0_u64), 1_u64..=86_400_000],
            ),
            1..100,
        ),
    ) {
        let mut watch = Watch::new(&web1(0));
        let mut ms = 0;
        for (wait, sequence_number, boot, (sent, is_bye, is_named, is_timely), interval) in beats {
            ms += wait;
            let beat = Beat {
                kind: if is_bye { Kind::Bye } else { Kind::Heartbeat },
                name: if is_named { "web1" } else { "" },
                boot,
                sequence_number,
                sent: Duration::from_secs(sent),
                interval: Duration::from_millis(interval),
            };
            let before = watch.sender.last_seen;
            watch.beat_from(ms, 4000, &beat, is_timely);
            let now = watch.start + Duration::from_millis(ms);
            let proves_nothing = watch.events.drain(..).any(|event| {
                use Event::{Duplicate, Rejected, Reordered};
                matches!(event, Duplicate { .. } | Rejected { .. } | Reordered { .. })
            });
            let last_seen = if proves_nothing { before } else { now };
            prop_assert_eq!(watch.sender.last_seen, last_seen);
            prop_assert!(watch.sender.due(None).is_none_or(|due| due > now));
            prop_assert!(watch.sender.jitter < Duration::from_secs(1));
        }
    }
}
