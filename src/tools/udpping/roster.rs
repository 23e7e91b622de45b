//! Who is up: the senders of heartbeats that a monitor listens to.
//!
//! A sender is down after as many missed beats as chance does not lose, by its own measured
//! loss. Nothing here waits or sends: the monitor hands over what has arrived, then polls.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{Event, Reason};
use super::sender::{Sender, State};
use crate::wire::heartbeat::{Beat, Kind};

/// A sender takes 264 octets, and with its name and places in the tables less than 1,000.
pub(crate) const SENDERS_MAX: usize = 16_384;

/// How far the clocks of sender and monitor may be apart when there is a key.
///
/// Within a run a sequence number counts once, and an earlier run never again. But a monitor
/// that has itself begun anew, or has forgotten the sender, knows neither: what was recorded
/// yesterday has a good mac today. Only its timestamp gives it away, so the first beat of a
/// sender and of each of its runs has to be of now. A recording of the last five minutes can
/// still raise a dead sender once, for as long as it lasts.
const FIRST_BEAT_APART_MAX: Duration = Duration::from_secs(5 * 60);
/// Only when there is no room for a new one: who has been away for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The same for whom anybody can make up: where there is no key, one forged datagram is a sender,
/// and where there is no name, so is each source port.
const STRANGERS_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// To look for them takes a while, and strangers must not make that happen for each datagram.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);
/// A sender that changes its interval all the time leaves deadlines behind; there are not to be
/// more of them than this on average.
const DEADLINES_PER_SENDER_MAX: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// So many missed intervals are a death; `None` goes by each sender's loss.
    pub(crate) down_after: Option<u32>,
    /// Beats have been checked with a key.
    pub(crate) is_authenticated: bool,
    pub(crate) senders_max: usize,
}

#[derive(Debug)]
pub(crate) struct Roster {
    plan: Plan,
    senders: Vec<Sender>,
    /// By name, which is the address of those that send none.
    indexes: HashMap<Arc<str>, usize>,
    /// A beat does not touch it. What comes up too early is put back, and what is not at the
    /// time that its sender remembers is dropped.
    deadlines: BinaryHeap<Reverse<(Instant, usize)>>,
    swept_at: Option<Instant>,
}

impl Roster {
    pub(crate) fn new(plan: Plan) -> Roster {
        Roster {
            plan,
            senders: Vec::new(),
            indexes: HashMap::new(),
            deadlines: BinaryHeap::new(),
            swept_at: None,
        }
    }

    /// `wall` is the monitor's own clock, since 1970.
    pub(crate) fn on_beat(
        &mut self,
        now: Instant,
        wall: Duration,
        from: SocketAddr,
        beat: &Beat<'_>,
        events: &mut Vec<Event>,
    ) {
        let is_apart = wall.abs_diff(beat.sent) > FIRST_BEAT_APART_MAX;
        let is_timely = !(self.plan.is_authenticated && is_apart);
        let name = match beat.name {
            "" => Cow::Owned(from.to_string()),
            name => Cow::Borrowed(name),
        };
        match self.indexes.get(&*name).copied() {
            Some(index) => {
                if let Some(sender) = self.senders.get_mut(index) {
                    sender.on_beat(now, from, beat, is_timely, events);
                }
                self.schedule(index);
            }
            // Who was never there cannot leave.
            None if beat.kind == Kind::Bye => {}
            None => events.push(self.admit(now, from, name.into(), beat, is_timely)),
        }
    }

    /// Tells what is due, and when to ask again. Whatever has arrived is handed over first:
    /// who did not look is in no place to call others silent.
    pub(crate) fn poll(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Instant> {
        if self.deadlines.len() > self.senders.len() * DEADLINES_PER_SENDER_MAX {
            self.reschedule();
        }
        while let Some(&Reverse((at, index))) = self.deadlines.peek() {
            if at > now {
                return Some(at);
            }
            self.deadlines.pop();
            let sender = self.senders.get_mut(index);
            if let Some(sender) = sender.filter(|sender| sender.scheduled == Some(at)) {
                sender.scheduled = None;
                sender.on_silence(now, self.plan.down_after, events);
                self.schedule(index);
            }
        }
        None
    }

    /// How many are up, late and down.
    pub(crate) fn count(&self) -> [usize; 3] {
        let count = |state| {
            self.senders
                .iter()
                .filter(|sender| sender.state == state)
                .count()
        };
        [State::Up, State::Late, State::Down].map(count)
    }

    /// In no order.
    pub(crate) fn senders(&self) -> &[Sender] {
        &self.senders
    }

    fn admit(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: Arc<str>,
        beat: &Beat<'_>,
        is_timely: bool,
    ) -> Event {
        let reason = match is_timely {
            false => Some(Reason::Stale),
            true if !self.has_room(now) => Some(Reason::TooMany),
            true => None,
        };
        if let Some(reason) = reason {
            return Event::Rejected {
                reason,
                name,
                address: from,
            };
        }
        let index = self.senders.len();
        self.indexes.insert(name.clone(), index);
        let mut sender = Sender::new(now, from, name.clone(), beat);
        sender.may_go_back = !self.plan.is_authenticated;
        self.senders.push(sender);
        self.schedule(index);
        Event::Up {
            name,
            address: from,
            after: None,
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let is_full = self.senders.len() >= self.plan.senders_max;
        let since = |at| now.saturating_duration_since(at);
        if is_full && self.swept_at.is_none_or(|at| since(at) >= SWEEP_PAUSE) {
            self.swept_at = Some(now);
            let is_authenticated = self.plan.is_authenticated;
            self.senders
                .retain(|sender| !may_go(sender, since(sender.last_seen), is_authenticated));
            let names = self.senders.iter().map(|sender| sender.name.clone());
            self.indexes = names.zip(0..).collect();
            self.reschedule();
        }
        self.senders.len() < self.plan.senders_max
    }

    fn reschedule(&mut self) {
        self.deadlines.clear();
        for index in 0..self.senders.len() {
            if let Some(sender) = self.senders.get_mut(index) {
                sender.scheduled = None;
            }
            self.schedule(index);
        }
    }

    /// At most one deadline of a sender counts: an earlier one replaces it, a later one is seen
    /// to when it comes up.
    fn schedule(&mut self, index: usize) {
        let Some(sender) = self.senders.get_mut(index) else {
            return;
        };
        let Some(due) = sender.due(self.plan.down_after) else {
            return;
        };
        if sender.scheduled.is_none_or(|at| due < at) {
            sender.scheduled = Some(due);
            self.deadlines.push(Reverse((due, index)));
        }
    }
}

/// Whether a sender may be forgotten for a new one.
fn may_go(sender: &Sender, silence: Duration, is_authenticated: bool) -> bool {
    let is_away = matches!(sender.state, State::Down | State::Left);
    let is_stranger = sender.received == 1 || (is_away && sender.is_nameless);
    match is_stranger && !is_authenticated {
        true => silence > STRANGERS_FORGOTTEN_AFTER,
        false => is_away && silence > FORGOTTEN_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::words;
    use super::*;
    use crate::clock;

    const PLAN: Plan = Plan {
        down_after: None,
        is_authenticated: false,
        senders_max: SENDERS_MAX,
    };
    const SECOND: Duration = Duration::from_secs(1);
    const WALL: Duration = Duration::from_secs(1_700_000_000);

    /// A roster, and a time that is seconds since it was made.
    struct Monitor {
        start: Instant,
        roster: Roster,
        events: Vec<Event>,
    }

    impl Monitor {
        fn new(plan: Plan) -> Monitor {
            Monitor {
                start: clock::now(),
                roster: Roster::new(plan),
                events: Vec::new(),
            }
        }

        fn beat(&mut self, seconds: u64, beat: Beat<'_>) {
            self.beat_from(4000, seconds, beat);
        }

        fn beat_from(&mut self, port: u16, seconds: u64, beat: Beat<'_>) {
            let after = Duration::from_secs(seconds);
            let from = SocketAddr::from(([192, 0, 2, 1], port));
            let (now, events) = (self.start + after, &mut self.events);
            self.roster.on_beat(now, WALL + after, from, &beat, events);
        }

        /// The milliseconds of the next poll.
        fn poll(&mut self, seconds: u64) -> Option<u128> {
            let now = self.start + Duration::from_secs(seconds);
            let next = self.roster.poll(now, &mut self.events);
            next.map(|next| (next - self.start).as_millis())
        }

        /// What was told since the last time.
        #[track_caller]
        fn check(&mut self, expected: &[&str]) {
            let told = self.events.drain(..).map(|event| words(event, self.start));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }

    /// Sent as many seconds after the monitor began as its number says.
    fn beat(name: &str, sequence_number: u64) -> Beat<'_> {
        Beat {
            kind: Kind::Heartbeat,
            name,
            boot: 1,
            sequence_number,
            sent: WALL + SECOND * u32::try_from(sequence_number).expect("few seconds"),
            interval: SECOND,
        }
    }

    /// The classic heartbeat: a number and a time.
    fn nameless(sequence_number: u64) -> Beat<'static> {
        Beat {
            boot: 0,
            interval: Duration::ZERO,
            ..beat("", sequence_number)
        }
    }

    #[test]
    fn everyone_has_a_deadline_of_their_own() {
        let mut monitor = Monitor::new(Plan {
            down_after: Some(3),
            ..PLAN
        });
        monitor.beat(0, beat("a", 0));
        monitor.beat(1, beat("b", 1));
        let bye = Beat {
            kind: Kind::Bye,
            ..beat("c", 1)
        };
        monitor.beat(1, bye);
        monitor.beat(1, beat("a", 1));
        monitor.check(&["up a 192.0.2.1:4000", "up b 192.0.2.1:4000"]);
        assert_eq!(monitor.poll(1), Some(2010));
        monitor.beat(3, beat("a", 3));
        assert_eq!(monitor.poll(3), Some(3010));
        assert_eq!(monitor.poll(4), Some(4010));
        assert_eq!(monitor.poll(5), Some(5010));
        let down = "down b since 1000 missed 4";
        monitor.check(&["lost a 1", "late b by 2000", down]);
    }

    /// Nobody can fill the memory, and who has been away for a day makes room.
    #[test]
    fn room_is_limited() {
        let mut monitor = Monitor::new(Plan {
            senders_max: 2,
            ..PLAN
        });
        let day = 24 * 60 * 60;
        for second in 0..2 {
            monitor.beat(second, beat("a", second));
            monitor.beat(second, beat("b", second));
        }
        monitor.beat(1, beat("c", 1));
        monitor.poll(day);
        monitor.beat(day, beat("b", day));
        monitor.events.clear();
        monitor.beat(day + 2, beat("c", day + 2));
        monitor.beat(day + 3, beat("d", day + 3));
        monitor.beat(day + 3, beat("b", day + 3));
        monitor.check(&["up c 192.0.2.1:4000", "rejected d TooMany"]);
        assert_eq!(monitor.roster.senders().len(), 2);
    }

    /// Who is known, and then somebody makes up others until there is no room. When a new one
    /// comes after these seconds, who is there?
    #[track_caller]
    fn check_room(is_authenticated: bool, seconds: u64, expected: &[&str]) {
        let mut monitor = Monitor::new(Plan {
            is_authenticated,
            senders_max: 4,
            ..PLAN
        });
        for second in 0..2 {
            monitor.beat(second, beat("known", second));
            monitor.beat(second, nameless(second));
        }
        // It says that it will be silent for a day.
        let made_up = Beat {
            interval: SECOND * 86_400,
            ..beat("made-up", 1)
        };
        monitor.beat(1, made_up);
        monitor.beat_from(4001, 1, nameless(1));
        monitor.poll(seconds);
        monitor.beat(seconds, beat("new", seconds));
        let mut names: Vec<&str> = monitor
            .roster
            .senders()
            .iter()
            .map(|sender| &*sender.name)
            .collect();
        names.sort();
        assert_eq!(names, expected, "after {seconds} s");
    }

    #[test]
    fn who_is_made_up_makes_room_and_who_is_known_stays() {
        let strangers = ["192.0.2.1:4000", "192.0.2.1:4001", "known", "made-up"];
        check_room(false, 60, &strangers);
        check_room(false, 62, &["known", "new"]);
        // With a key nobody can be made up.
        check_room(true, 62, &strangers);
    }

    /// With a key: who begins has to begin now.
    #[test]
    fn a_monitor_that_begins_anew_takes_no_recordings() {
        #[track_caller]
        fn check(is_authenticated: bool, sent: Duration, expected: &str) {
            let plan = Plan {
                is_authenticated,
                ..PLAN
            };
            let mut monitor = Monitor::new(plan);
            monitor.beat(
                0,
                Beat {
                    sent,
                    ..beat("a", 5)
                },
            );
            monitor.check(&[expected]);
        }
        let limit = FIRST_BEAT_APART_MAX;
        let more = limit + Duration::from_nanos(1);
        check(true, WALL - limit, "up a 192.0.2.1:4000");
        check(true, WALL + limit, "up a 192.0.2.1:4000");
        check(true, WALL - more, "rejected a Stale");
        check(true, WALL + more, "rejected a Stale");
        check(false, WALL - more, "up a 192.0.2.1:4000");
    }

    #[test]
    fn a_new_run_has_to_be_of_now_too() {
        let mut monitor = Monitor::new(Plan {
            is_authenticated: true,
            ..PLAN
        });
        let run = |boot, number| Beat {
            boot,
            ..beat("a", number)
        };
        monitor.beat(0, run(1, 0));
        monitor.beat(1000, run(2, 1));
        monitor.beat(1000, run(3, 1000));
        monitor.beat(1001, run(2, 1001));
        // What was held back on the way is no sign of life.
        monitor.beat(1001, run(3, 5000));
        monitor.check(&[
            "up a 192.0.2.1:4000",
            "rejected a Stale",
            "restarted a",
            "rejected a Replayed",
            "rejected a Stale",
        ]);
    }

    #[test]
    fn who_sends_no_name_is_called_by_the_address() {
        let mut monitor = Monitor::new(PLAN);
        for seconds in 0..4 {
            monitor.beat(seconds, nameless(seconds));
        }
        monitor.check(&["up 192.0.2.1:4000 192.0.2.1:4000"]);
        assert_eq!(monitor.roster.senders().len(), 1);
    }

    #[test]
    fn a_changing_interval_leaves_no_deadlines_behind() {
        let mut monitor = Monitor::new(PLAN);
        for number in 0..1000 {
            let interval = SECOND * [1, 80_000][usize::from(number % 2 == 0)];
            monitor.beat(
                number * 50,
                Beat {
                    interval,
                    ..beat("a", number)
                },
            );
            monitor.poll(number * 50);
            monitor.poll(number * 50 + 49);
        }
        assert!(monitor.roster.deadlines.len() <= DEADLINES_PER_SENDER_MAX);
    }

    #[test]
    fn a_sender_takes_little_memory() {
        let octets = size_of::<Sender>();
        assert!(octets <= 264, "{octets}");
    }

    /// 35 % are lost, each by itself. Only those are told to be down that are.
    #[track_caller]
    fn check_lossy(senders: usize, seconds: u64) {
        const LOSS: u64 = u64::MAX / 100 * 35;
        let mut monitor = Monitor::new(PLAN);
        let names: Vec<String> = (0..senders).map(|number| format!("host{number}")).collect();
        let (dead, dies_at) = (names.len() / 2, seconds / 2);
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        for second in 0..seconds {
            for (number, name) in names.iter().enumerate() {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                if dice > LOSS && !(number == dead && second >= dies_at) {
                    let early = Duration::from_micros(dice % 50_000);
                    let sound = beat(name, second);
                    let sent = sound.sent.saturating_sub(early);
                    monitor.beat(second, Beat { sent, ..sound });
                }
            }
            monitor.poll(second);
            monitor
                .events
                .retain(|event| matches!(event, Event::Down { .. }));
        }
        let [
            Event::Down {
                name,
                since,
                missed,
                ..
            },
        ] = &*monitor.events
        else {
            panic!("{} deaths", monitor.events.len());
        };
        assert_eq!(**name, *names[dead]);
        assert!(*since < monitor.start + SECOND * 900);
        assert!((15..=40).contains(missed), "{missed}");
    }

    #[test]
    fn chance_kills_nobody() {
        check_lossy(600, 1000);
        check_lossy(10_000, 60);
    }
}
