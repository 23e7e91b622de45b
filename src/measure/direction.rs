//! Which way lost it: requests that never arrived, or replies that never came back.
//!
//! A stateful STAMP reflector numbers its replies by a counter of its own (RFC 8762 section 4.3):
//! two sequence numbers in each reply say how many requests left, and how many arrived.

use std::collections::VecDeque;

use super::seen::Seen;

/// Requests can be labelled between the last so many replies.
const PAIRS_MAX: usize = 1_024;

/// A reply to a newer request with a number so much lower is not late: the reflector has begun
/// to count anew.
const LATE_MAX: u64 = 1_024;

/// A first reply may be ahead by so many duplicates. One that is further ahead comes from a
/// reflector that counted before this session.
const AHEAD_MAX: u64 = 16;

/// Where requests overtook each other or were doubled, so many more are not labelled.
const DISORDER: u64 = 64;

/// A stateful reflector of which only replies were lost looks stateless. So many make it unlikely.
const STATELESS_LOSSES: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
    Unknown,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests that the reflector never received.
    pub(crate) up_lost: u64,
    /// Replies that left the reflector and were not heard.
    pub(crate) down_lost: u64,
    /// Requests that the reflector received once more, as far as known.
    pub(crate) up_duplicates: u64,
    /// Unanswered requests of which nothing can be said, or not yet.
    pub(crate) undecided: u64,
}

/// Of one session, which outlives restarts of its reflector.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directions {
    pub(crate) restarts: u64,
    /// Before the last restart.
    earlier: Totals,
    count: Count,
}

/// From one start of the reflector to the next.
#[derive(Debug, Clone, Default)]
struct Count {
    /// The first request that this count can have met.
    first: u64,
    /// What the reflector had counted before.
    base: u64,
    /// Requests before its first reply that it did not meet, perhaps because the one before did.
    gap: u64,
    requests: Seen,
    replies: Seen,
    duplicates: u64,
    /// The two sequence numbers of some reply differ: they are counted apart.
    differs: bool,
    final_count: Option<u64>,
    /// Sender's and reflector's sequence numbers of the last replies, in the order of the former.
    pairs: VecDeque<(u64, u64)>,
    /// Requests before this one are not labelled.
    disorder_until: u64,
}

impl Directions {
    /// In the order of arrival. Both numbers count from 0 and do not wrap. False for a duplicate,
    /// and for a number that fits no count.
    pub(crate) fn on_reply(&mut self, sender_sequence: u64, reflector_sequence: u64) -> bool {
        // From before the restart, whose losses are closed.
        if sender_sequence < self.count.first {
            return false;
        }
        if self.count.is_restart(sender_sequence, reflector_sequence) {
            self.begin_anew(sender_sequence, reflector_sequence);
        }
        self.count.on_reply(sender_sequence, reflector_sequence)
    }

    /// The reflector tells how many requests it has received: nothing is undecided any more.
    pub(crate) fn on_final_count(&mut self, received: u64) {
        self.count.final_count = Some(received);
    }

    /// Of so many requests. Those behind the newest that was answered are undecided.
    pub(crate) fn totals(&self, sent: u64) -> Totals {
        self.earlier.plus(self.count.totals(sent))
    }

    /// Of a request that was not answered. Right unless a request was overtaken or doubled, and
    /// the reply to it lost.
    pub(crate) fn label(&self, sender_sequence: u64) -> Direction {
        self.count.label(sender_sequence)
    }

    /// A stateless reflector copies the sender's number, and does not count: in spite of losses
    /// the two never differ.
    pub(crate) fn is_stateless(&self) -> bool {
        let unanswered = self.count.totals(0).undecided;
        !self.count.is_counted() && unanswered >= STATELESS_LOSSES
    }

    fn begin_anew(&mut self, sender_sequence: u64, reflector_sequence: u64) {
        let first = self.count.requests.end;
        self.restarts += 1;
        // Only what counts can begin anew.
        self.count.differs = true;
        self.earlier = self.totals(first);
        self.count = Count {
            first,
            gap: (sender_sequence - first).saturating_sub(reflector_sequence),
            ..Count::default()
        };
    }
}

impl Totals {
    fn plus(self, other: Totals) -> Totals {
        Totals {
            up_lost: self.up_lost + other.up_lost,
            down_lost: self.down_lost + other.down_lost,
            up_duplicates: self.up_duplicates + other.up_duplicates,
            undecided: self.undecided + other.undecided,
        }
    }
}

impl Count {
    fn is_restart(&self, sender_sequence: u64, reflector_sequence: u64) -> bool {
        let (request, reply) = (sender_sequence, reflector_sequence);
        let end = self.base.saturating_add(self.replies.end);
        if request < self.requests.end || reply >= end {
            return false;
        }
        let is_far_back = reply < self.base || reply.saturating_add(LATE_MAX) < end;
        is_far_back || self.pairs.iter().any(|(_, other)| *other == reply)
    }

    fn on_reply(&mut self, sender_sequence: u64, reflector_sequence: u64) -> bool {
        let met = sender_sequence - self.first;
        if self.replies.count == 0 && reflector_sequence > met.saturating_add(AHEAD_MAX) {
            self.base = reflector_sequence - met;
        }
        let Some(reply) = reflector_sequence.checked_sub(self.base) else {
            return false;
        };
        // A counter that other sessions share runs away from ours.
        let sent = self.requests.end.max(sender_sequence) - self.first;
        if reply > sent.saturating_mul(2).saturating_add(LATE_MAX) || !self.replies.insert(reply) {
            return false;
        }
        self.differs |= sender_sequence != reflector_sequence;
        let is_first = self.requests.insert(sender_sequence);
        if !is_first {
            self.duplicates += 1;
        }
        if !self.pair(sender_sequence, reflector_sequence) || !is_first {
            self.disorder_until = self.requests.end.saturating_add(DISORDER);
        }
        true
    }

    /// Whether the requests arrived in the order in which they left, as far as this one shows.
    fn pair(&mut self, sender_sequence: u64, reflector_sequence: u64) -> bool {
        let newer = self.newer_than(sender_sequence);
        let before = newer.checked_sub(1).and_then(|place| self.pairs.get(place));
        let after = self.pairs.get(newer);
        let is_ordered = before.is_none_or(|(_, before)| *before < reflector_sequence)
            && after.is_none_or(|(_, after)| reflector_sequence < *after);
        let pair = (sender_sequence, reflector_sequence);
        self.pairs.insert(newer, pair);
        if self.pairs.len() > PAIRS_MAX {
            self.pairs.pop_front();
        }
        is_ordered
    }

    fn newer_than(&self, sender_sequence: u64) -> usize {
        self.pairs
            .partition_point(|(other, _)| *other <= sender_sequence)
    }

    fn is_counted(&self) -> bool {
        self.differs || self.final_count.is_some()
    }

    fn totals(&self, sent: u64) -> Totals {
        let sent = sent.max(self.requests.end).saturating_sub(self.first);
        if !self.is_counted() {
            return Totals {
                undecided: sent.saturating_sub(self.requests.count),
                ..Totals::default()
            };
        }
        let told = self.final_count.unwrap_or(0).saturating_sub(self.base);
        let received = self.replies.end.max(told);
        // No more can have arrived than left.
        let up_duplicates = self.duplicates.max(received.saturating_sub(sent));
        let arrived = received - up_duplicates;
        let decided = match self.final_count {
            Some(_) => sent,
            None => arrived.max(self.requests.end.saturating_sub(self.first)),
        };
        let missed = decided - arrived;
        let gap = self.gap.min(missed);
        Totals {
            up_lost: missed - gap,
            down_lost: received.saturating_sub(self.replies.count),
            up_duplicates,
            undecided: sent - decided + gap,
        }
    }

    fn label(&self, sender_sequence: u64) -> Direction {
        if !self.is_counted() || sender_sequence < self.disorder_until {
            return Direction::Unknown;
        }
        let newer = self.newer_than(sender_sequence);
        let before = newer.checked_sub(1).and_then(|place| self.pairs.get(place));
        let (Some(before), Some(after)) = (before, self.pairs.get(newer)) else {
            return Direction::Unknown;
        };
        let requests = after.0.saturating_sub(before.0);
        match after.1.saturating_sub(before.1) {
            _ if before.0 == sender_sequence => Direction::Unknown,
            1 => Direction::Up,
            replies if replies == requests => Direction::Down,
            _ => Direction::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::world::Dice;
    use super::*;
    use proptest::prelude::*;

    fn of(replies: &[(u64, u64)]) -> Directions {
        let mut directions = Directions::default();
        for (request, reply) in replies {
            directions.on_reply(*request, *reply);
        }
        directions
    }

    /// Lost on the way up and down, duplicates on the way up, undecided.
    #[track_caller]
    fn check(replies: &[(u64, u64)], sent: u64, expected: [u64; 4]) {
        assert_eq!(figures(of(replies).totals(sent)), expected);
    }

    fn figures(totals: Totals) -> [u64; 4] {
        let Totals {
            up_lost,
            down_lost,
            up_duplicates,
            undecided,
        } = totals;
        [up_lost, down_lost, up_duplicates, undecided]
    }

    #[test]
    fn totals() {
        check(&[], 3, [0, 0, 0, 3]);
        check(&[(0, 0), (1, 1), (2, 2)], 3, [0, 0, 0, 0]);
        check(&[(0, 0), (3, 1), (4, 2)], 5, [2, 0, 0, 0]);
        check(&[(0, 0), (2, 1), (5, 4)], 6, [1, 2, 0, 0]);
        check(&[(2, 1)], 6, [1, 1, 0, 3]);
        // Out of order, and twice.
        check(&[(4, 3), (2, 1), (0, 0), (2, 1), (0, 0)], 5, [1, 1, 0, 0]);
        // The reply to 5 is lost; it overtook 4.
        check(&[(3, 3), (4, 5)], 6, [0, 4, 0, 0]);
        // Two requests arrived twice. One of the four replies is lost in the second line.
        check(&[(0, 0), (0, 1), (1, 2), (1, 3)], 2, [0, 0, 2, 0]);
        check(&[(0, 0), (0, 1), (1, 3)], 2, [0, 1, 2, 0]);
        // This reflector knew somebody else on our port.
        check(&[(0, 900), (2, 901), (5, 904)], 6, [1, 2, 0, 0]);
    }

    #[test]
    fn the_last_requests_need_the_reflectors_own_count() {
        let mut directions = of(&[(0, 0), (2, 1)]);
        assert_eq!(figures(directions.totals(9)), [1, 0, 0, 6]);
        directions.on_final_count(6);
        assert_eq!(figures(directions.totals(9)), [3, 4, 0, 0]);
        let mut silent = Directions::default();
        silent.on_final_count(4);
        assert_eq!(figures(silent.totals(9)), [5, 4, 0, 0]);
        silent.on_final_count(11);
        assert_eq!(figures(silent.totals(9)), [0, 11, 2, 0]);
    }

    /// 4 billion packets later.
    #[test]
    fn numbers_beyond_32_bits() {
        let wrap = 1_u64 << 32;
        let mut directions = of(&[(wrap - 9, wrap - 19), (wrap - 5, wrap - 18)]);
        directions.on_reply(wrap + 1, wrap - 12);
        assert_eq!(directions.label(wrap - 6), Direction::Up);
        assert_eq!(directions.label(wrap - 1), Direction::Down);
        assert_eq!(directions.totals(wrap + 2).up_lost, 13);
    }

    #[test]
    fn a_stateless_reflector_is_told_by_its_losses() {
        let every = |step| -> Vec<(u64, u64)> {
            (0..20).step_by(step).zip((0..20).step_by(step)).collect()
        };
        assert!(!of(&every(1)).is_stateless());
        let mut copies = of(&every(2));
        assert!(copies.is_stateless());
        assert_eq!(copies.label(5), Direction::Unknown);
        assert_eq!(figures(copies.totals(20)), [0, 0, 0, 10]);
        // It was a stateful one, and only replies were lost.
        copies.on_final_count(19);
        assert!(!copies.is_stateless());
        assert_eq!(copies.label(5), Direction::Down);
        assert_eq!(figures(copies.totals(20)), [1, 9, 0, 0]);
    }

    #[test]
    fn a_reflector_that_restarted_counts_anew() {
        let mut directions = of(&[(0, 0), (2, 1), (4, 3), (9, 1), (11, 2), (13, 4)]);
        assert_eq!(directions.restarts, 1);
        // 1; 3 | one of 5 to 8; 10; 12 | the others of 5 to 8, which the former may have met.
        assert_eq!(figures(directions.totals(14)), [2, 3, 0, 3]);
        assert!(!directions.on_reply(3, 2), "a reply of the former");
        let long: Vec<(u64, u64)> = (0..5_000).map(|number| (number, number)).collect();
        directions = of(&long);
        directions.on_reply(5_010, 3);
        assert_eq!(
            (directions.restarts, directions.totals(5_011).down_lost),
            (1, 3)
        );
    }

    #[test]
    fn a_number_that_fits_no_count_is_ignored() {
        let mut directions = of(&[(0, 0), (2, 1)]);
        assert!(!directions.on_reply(3, 4_000_000_000));
        assert_eq!(figures(directions.totals(4)), [1, 0, 0, 1]);
    }

    /// Probabilities, and by how many intervals packets may be delayed.
    #[derive(Clone, Copy, Default)]
    struct Way {
        loss: f64,
        duplicates: f64,
        delay: f64,
    }

    impl Way {
        /// When the copies of a packet arrive.
        fn carry(self, sent_at: f64, dice: &mut Dice) -> Vec<f64> {
            let copies = 1 + usize::from(dice.roll() < self.duplicates);
            let mut arrivals = Vec::new();
            for _ in 0..copies {
                let delay = 50.0 + self.delay * dice.roll();
                if dice.roll() >= self.loss {
                    arrivals.push(sent_at + delay);
                }
            }
            arrivals
        }
    }

    /// What the reflector knows.
    struct Truth {
        received: u64,
        /// By sequence number: whether a request arrived, and whether it was answered.
        requests: Vec<(bool, bool)>,
        replies_lost: u64,
    }

    fn simulate(sent: u32, up: Way, down: Way, seed: u64) -> (Directions, Truth) {
        let mut dice = Dice(seed);
        let mut requests = vec![(false, false); sent as usize];
        let mut arrivals: Vec<(f64, u32)> = Vec::new();
        for request in 0..sent {
            let times = up.carry(f64::from(request), &mut dice);
            arrivals.extend(times.into_iter().map(|time| (time, request)));
        }
        arrivals.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut replies: Vec<(f64, u32, u64)> = Vec::new();
        let mut replies_lost = 0;
        for (count, (time, request)) in (0..).zip(&arrivals) {
            let times = down.carry(*time, &mut dice);
            replies_lost += u64::from(times.is_empty());
            requests[*request as usize].0 = true;
            requests[*request as usize].1 |= !times.is_empty();
            replies.extend(times.into_iter().map(|time| (time, *request, count)));
        }
        replies.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut directions = Directions::default();
        for (_, request, count) in replies {
            directions.on_reply(u64::from(request), count);
        }
        let truth = Truth {
            received: arrivals.len() as u64,
            requests,
            replies_lost,
        };
        (directions, truth)
    }

    const SEEDS: u64 = 100;

    const fn way(loss: f64, duplicates: f64, delay: f64) -> Way {
        Way {
            loss,
            duplicates,
            delay,
        }
    }

    /// The totals are those of the reflector, for many seeds. Returns the simulations.
    #[track_caller]
    fn check_totals(up: Way, down: Way) -> Vec<(Directions, Truth)> {
        const SENT: u64 = 1_000;
        let check = |seed| {
            let (mut directions, truth) = simulate(SENT as u32, up, down, seed);
            directions.on_final_count(truth.received);
            let arrived = truth.requests.iter().filter(|(arrived, _)| *arrived);
            let arrived = arrived.count() as u64;
            let lost = [SENT - arrived, truth.replies_lost];
            let expected = [lost[0], lost[1], truth.received - arrived, 0];
            assert_eq!(figures(directions.totals(SENT)), expected, "seed {seed}");
            assert_eq!(directions.restarts, 0, "seed {seed}");
            (directions, truth)
        };
        (1..=SEEDS).map(check).collect()
    }

    /// Totals, and every label is right. Returns how many of 1,000 requests were labelled.
    #[track_caller]
    fn check_all(up: Way, down: Way) -> usize {
        let simulations = check_totals(up, down);
        let labelled = simulations
            .iter()
            .map(|(directions, truth)| check_labels(directions, truth));
        labelled.sum::<usize>() / simulations.len()
    }

    #[track_caller]
    fn check_labels(directions: &Directions, truth: &Truth) -> usize {
        let mut labelled = 0;
        for (number, (has_arrived, is_answered)) in (0..).zip(&truth.requests) {
            if *is_answered {
                continue;
            }
            match directions.label(number) {
                Direction::Unknown => continue,
                Direction::Up => assert!(!has_arrived, "{number}"),
                Direction::Down => assert!(has_arrived, "{number}"),
            }
            labelled += 1;
        }
        labelled
    }

    #[test]
    fn totals_and_labels_are_those_of_the_reflector() {
        check_all(way(0.0, 0.0, 0.0), way(0.0, 0.0, 0.0));
        // Of 50 and of 320 lost.
        assert!(check_all(way(0.03, 0.0, 0.0), way(0.02, 0.0, 0.0)) > 40);
        assert!(check_all(way(0.2, 0.0, 0.0), way(0.15, 0.0, 0.0)) > 150);
        assert!(check_all(way(0.2, 0.0, 0.0), way(0.15, 0.1, 40.0)) > 150);
        check_all(way(0.2, 0.0, 40.0), way(0.15, 0.1, 40.0));
        check_all(way(0.0, 0.2, 0.0), way(0.0, 0.2, 40.0));
        check_all(way(0.0, 0.2, 40.0), way(0.0, 0.0, 40.0));
        // So few replies do not show that requests overtook each other.
        check_totals(way(0.9, 0.0, 3.0), way(0.9, 0.0, 300.0));
    }

    /// A doubled request of which a reply is lost looks like a single one.
    #[test]
    fn duplicates_and_losses_together_leave_totals_possible() {
        for seed in 1..=SEEDS {
            let (directions, truth) = simulate(500, way(0.1, 0.1, 9.0), way(0.1, 0.1, 9.0), seed);
            let mut told = directions.clone();
            told.on_final_count(truth.received);
            for totals in [directions.totals(500), told.totals(500)] {
                assert!(totals.up_lost + totals.undecided <= 500);
                assert!(totals.down_lost <= truth.replies_lost);
                assert!(totals.up_duplicates <= truth.received);
            }
            assert_eq!(told.totals(500).down_lost, truth.replies_lost);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_are_survived(replies: Vec<(u32, u64)>, near: Vec<(u8, u8)>, sent: u32) {
            let near = near.into_iter().map(|(request, reply)| (request.into(), reply.into()));
            let mut directions = Directions::default();
            let far = replies.into_iter().map(|(request, reply)| (request.into(), reply));
            for (request, reply) in near.chain(far) {
                directions.on_reply(request, reply);
                directions.totals(sent.into());
                directions.label(request.saturating_sub(1_u64));
            }
        }
    }
}
