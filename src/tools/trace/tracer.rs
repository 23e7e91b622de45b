//! Which hop to probe next, how long to wait, and what the answers say about the path. Pure:
//! time is passed in.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::path::{Answer, UNKNOWN_KEY, What};
use crate::wire::extension::Object;

/// Hops that are probed at once in full, and with one packet each, before anything is known.
const NEAR_HOPS: u8 = 8;
const FAR_HOPS: u8 = 16;
/// A router that limits its answers gives one a second (RFC 4443 section 2.4 leaves the rate
/// open; this is what Linux does). Who said nothing before is asked again after that.
const SLOW_AFTER: Duration = Duration::from_millis(1100);
/// For a hop that has answered, at least; else for one of which nothing is known.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
const PATIENCE_FOR_THE_UNKNOWN: Duration = Duration::from_millis(300);
const PATIENCE_MAX: Duration = Duration::from_secs(3);
/// Where nobody says anything, the system itself may: it asks for the link address of a neighbour
/// for three seconds.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(3200);
/// Answers take up to so many times as long as the slowest so far.
const SLOWER: u32 = 3;

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) first: u8,
    pub(super) last: u8,
    /// To each hop.
    pub(super) queries: usize,
    /// On their way at once.
    pub(super) simultaneous: usize,
    /// Between two of them.
    pub(super) wait: Duration,
    pub(super) timeout: Option<Duration>,
    /// The target, too, answers with errors, which hosts send only so many of (UDP).
    pub(super) target_limits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Send { key: u16, hop_limit: u8 },
    WaitUntil(Instant),
    Done,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) from: IpAddr,
    pub(super) rtt: Duration,
    pub(super) what: What,
    pub(super) hop_limit: Option<u8>,
    pub(super) translated: Option<IpAddr>,
    pub(super) objects: Vec<Object>,
}

#[derive(Debug, Clone)]
struct Attempt {
    hop_limit: u8,
    sent: Instant,
    /// Sent to learn why others were not answered.
    is_evidence: bool,
    reply: Option<Reply>,
}

/// What is known of one hop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hop {
    pub(super) hop_limit: u8,
    /// As many as were asked for; `None` for those that nobody answered.
    pub(super) replies: Vec<Option<Reply>>,
    /// Of these.
    pub(super) unanswered: usize,
    pub(super) silence: Silence,
}

/// Why a hop did not answer everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did.
    None,
    /// It passes packets on, but answers only so many of them.
    Limited,
    /// Packets were lost.
    Lost,
    /// It never answers, or is not there.
    Whole,
}

pub(super) struct Tracer {
    plan: Plan,
    started: Instant,
    next_at: Instant,
    /// The key of an attempt is its place, from 1.
    attempts: Vec<Attempt>,
    /// Answers of which nobody knows what they answer.
    unknown: usize,
    /// Probes go this far as long as nobody says where the path ends.
    horizon: u8,
}

impl Tracer {
    pub(super) fn new(plan: Plan, now: Instant) -> Tracer {
        let horizon = plan.first.saturating_add(FAR_HOPS - 1).min(plan.last);
        Tracer {
            plan,
            started: now,
            next_at: now,
            attempts: Vec::new(),
            unknown: 0,
            horizon,
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Step {
        loop {
            let end = self.end().unwrap_or(self.horizon);
            let waits = self.open(now, end);
            let candidate = self.candidate(now, end);
            if let Some(hop_limit) = candidate {
                if self.next_at > now {
                    return Step::WaitUntil(self.next_at);
                }
                if waits.len() < self.plan.simultaneous {
                    let key = self.attempts.len() as u16 + 1;
                    return Step::Send { key, hop_limit };
                }
            }
            let slow = self.next_slow(now, end);
            let until = waits.iter().copied().chain(slow).min();
            let is_wide = self.end().is_some() || self.horizon == self.plan.last;
            // Nothing more will come from here: perhaps the target is farther away.
            if waits.is_empty() && !is_wide && candidate.is_none() {
                self.horizon = self.plan.last;
                continue;
            }
            let is_silent = self.attempts.iter().all(|attempt| attempt.reply.is_none());
            let neighbour = self.started + NEIGHBOUR_PATIENCE;
            return match until {
                Some(until) => Step::WaitUntil(until),
                None if is_silent && neighbour > now => Step::WaitUntil(neighbour),
                None => Step::Done,
            };
        }
    }

    pub(super) fn on_sent(&mut self, hop_limit: u8, at: Instant) {
        let is_evidence = self.ordinary(hop_limit).count() >= self.quota(hop_limit);
        self.next_at = at + self.plan.wait;
        self.attempts.push(Attempt {
            hop_limit,
            sent: at,
            is_evidence,
            reply: None,
        });
    }

    /// Whether it is the first answer to something that was sent.
    pub(super) fn on_answer(&mut self, answer: Answer) -> bool {
        if answer.key == UNKNOWN_KEY {
            self.unknown += 1;
            return true;
        }
        let place = usize::from(answer.key).checked_sub(1);
        let Some(attempt) = place.and_then(|place| self.attempts.get_mut(place)) else {
            return false;
        };
        if attempt.reply.is_some() {
            return false;
        }
        attempt.reply = Some(Reply {
            from: answer.from,
            rtt: answer.at.saturating_duration_since(attempt.sent),
            what: answer.what,
            hop_limit: answer.hop_limit,
            translated: answer.translated,
            objects: answer.objects,
        });
        let answered = attempt.hop_limit;
        // Where one router is there may be more.
        let ahead = answered.saturating_add(NEAR_HOPS).min(self.plan.last);
        self.horizon = self.horizon.max(ahead);
        true
    }

    /// To hops farther away than this one.
    pub(super) fn sent_beyond(&self, hop_limit: u8) -> usize {
        let attempts = self.attempts.iter();
        attempts
            .filter(|attempt| attempt.hop_limit > hop_limit)
            .count()
    }

    /// The last hop that may be asked.
    pub(super) fn last(&self) -> u8 {
        self.plan.last
    }

    pub(super) fn sent(&self) -> usize {
        self.attempts.len()
    }

    /// The hop where packets end: at the target, at who refuses them, or back where they were.
    fn end(&self) -> Option<u8> {
        let terminal = self
            .attempts
            .iter()
            .filter(|attempt| attempt.reply.as_ref().is_some_and(is_terminal));
        let terminal = terminal.map(|attempt| attempt.hop_limit).min();
        match (terminal, self.cycle()) {
            (Some(terminal), Some((_, again))) => Some(terminal.min(again)),
            (terminal, cycle) => terminal.or(cycle.map(|cycle| cycle.1)),
        }
    }

    /// Where a router is met, and met again after others.
    pub(super) fn cycle(&self) -> Option<(u8, u8)> {
        let first = |hop_limit| self.replies(hop_limit).next().map(|reply| reply.from);
        let path: Vec<(u8, IpAddr)> = (self.plan.first..=self.plan.last)
            .filter_map(|hop_limit| Some((hop_limit, first(hop_limit)?)))
            .collect();
        path.iter()
            .enumerate()
            .find_map(|(later, (again, address))| {
                let earlier = path[..later]
                    .iter()
                    .position(|(_, other)| other == address)?;
                let has_others = path[earlier..later]
                    .iter()
                    .any(|(_, other)| other != address);
                has_others.then_some((path[earlier].0, *again))
            })
    }

    /// When each packet on its way is given up.
    fn open(&self, now: Instant, end: u8) -> Vec<Instant> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.reply.is_none() && attempt.hop_limit <= end)
            .map(|attempt| attempt.sent + self.patience(attempt.hop_limit))
            .filter(|expires| *expires > now)
            .collect()
    }

    fn patience(&self, hop_limit: u8) -> Duration {
        let slowest = |from: u8| {
            let later = self
                .attempts
                .iter()
                .filter(|attempt| attempt.hop_limit >= from);
            later
                .filter_map(|attempt| attempt.reply.as_ref().map(|reply| reply.rtt))
                .max()
        };
        let rtt = slowest(hop_limit).or(slowest(0)).unwrap_or_default();
        let least = match self.replies(hop_limit).next() {
            Some(_) => PATIENCE_MIN,
            None => PATIENCE_FOR_THE_UNKNOWN,
        };
        let span = (rtt * SLOWER).max(least);
        span.min(self.plan.timeout.unwrap_or(PATIENCE_MAX))
    }

    fn ordinary(&self, hop_limit: u8) -> impl Iterator<Item = &Attempt> {
        self.of(hop_limit).filter(|attempt| !attempt.is_evidence)
    }

    fn of(&self, hop_limit: u8) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(move |attempt| attempt.hop_limit == hop_limit)
    }

    fn replies(&self, hop_limit: u8) -> impl Iterator<Item = &Reply> {
        self.of(hop_limit)
            .filter_map(|attempt| attempt.reply.as_ref())
    }

    /// How many packets a hop gets by now.
    fn quota(&self, hop_limit: u8) -> usize {
        let is_near = hop_limit < self.plan.first.saturating_add(NEAR_HOPS);
        let is_passed = self
            .attempts
            .iter()
            .any(|attempt| attempt.hop_limit >= hop_limit && attempt.reply.is_some());
        match is_near || is_passed {
            true => self.plan.queries,
            false => 1,
        }
    }

    /// The next hop that is to get a packet now.
    fn candidate(&self, now: Instant, end: u8) -> Option<u8> {
        (self.plan.first..=end).find(|hop_limit| {
            let quota = self.quota(*hop_limit);
            self.ordinary(*hop_limit).count() < quota
                || self
                    .evidence_at(*hop_limit, end)
                    .is_some_and(|at| at <= now)
        })
    }

    fn next_slow(&self, now: Instant, end: u8) -> Option<Instant> {
        let hops = self.plan.first..=end;
        let at = hops.filter_map(|hop_limit| self.evidence_at(hop_limit, end));
        at.filter(|at| *at > now).min()
    }

    /// When a hop that was not heard of, or not always, is asked once more.
    fn evidence_at(&self, hop_limit: u8, end: u8) -> Option<Instant> {
        let has_evidence = self.of(hop_limit).any(|attempt| attempt.is_evidence);
        let is_partial = self
            .ordinary(hop_limit)
            .any(|attempt| attempt.reply.is_some());
        let unanswered = self
            .ordinary(hop_limit)
            .filter(|attempt| attempt.reply.is_none());
        let expired = unanswered.map(|attempt| attempt.sent).max()? + self.patience(hop_limit);
        // At the end of the path it is plain loss.
        let is_end = hop_limit == end && is_partial && !self.plan.target_limits;
        match is_partial {
            _ if has_evidence || is_end => None,
            true => Some(expired),
            false => Some(expired.max(self.started + SLOW_AFTER)),
        }
    }

    /// The hops up to the end of the path; of an unfinished one up to the first behind which
    /// nobody answers.
    pub(super) fn hops(&self) -> Vec<Hop> {
        let answered = self
            .attempts
            .iter()
            .filter(|attempt| attempt.reply.is_some());
        let last_answered = answered.map(|attempt| attempt.hop_limit).max();
        let first_silent = last_answered.map(|last| last.saturating_add(1).min(self.plan.last));
        let end = self.end().or(first_silent).unwrap_or(0);
        let mut later_are_whole = true;
        let mut hops: Vec<Hop> = Vec::new();
        for hop_limit in (self.plan.first..=end).rev() {
            let may_limit = hop_limit < end || self.plan.target_limits;
            let hop = self.hop(hop_limit, later_are_whole && may_limit);
            later_are_whole &= matches!(hop.silence, Silence::None | Silence::Limited)
                || hop.silence == Silence::Whole && hop_limit < end;
            hops.push(hop);
        }
        hops.reverse();
        self.forgive(&mut hops);
        hops
    }

    /// What a hop seems not to have answered it may have answered after all.
    fn forgive(&self, hops: &mut [Hop]) {
        let mut unknown = self.unknown;
        let is_partial = |hop: &&mut Hop| matches!(hop.silence, Silence::Lost | Silence::Limited);
        for hop in hops.iter_mut().filter(is_partial) {
            let forgiven = hop.unanswered.min(unknown);
            unknown -= forgiven;
            hop.unanswered -= forgiven;
            if hop.unanswered == 0 {
                hop.replies.retain(Option::is_some);
                hop.silence = Silence::None;
            }
        }
    }

    fn hop(&self, hop_limit: u8, later_are_whole: bool) -> Hop {
        let ordinary = self.ordinary(hop_limit);
        let mut replies: Vec<Option<Reply>> =
            ordinary.map(|attempt| attempt.reply.clone()).collect();
        let is_whole = replies.iter().all(Option::is_some);
        let evidence = self.of(hop_limit).find(|attempt| attempt.is_evidence);
        let evidence = evidence.and_then(|attempt| attempt.reply.clone());
        let heard = replies.iter().flatten().count();
        let silence = match (is_whole, heard, &evidence) {
            (true, 1.., _) => Silence::None,
            // It took a second to answer again.
            (false, 0, Some(_)) => Silence::Limited,
            (_, 0, None) => Silence::Whole,
            // It is asked once more and says nothing, while all that is behind it answers.
            (false, _, None) if later_are_whole => Silence::Limited,
            _ => Silence::Lost,
        };
        let unanswered = replies.len() - heard;
        if heard == 0 && evidence.is_some() {
            replies = vec![evidence];
        }
        Hop {
            hop_limit,
            replies,
            unanswered,
            silence,
        }
    }
}

/// No packet goes farther.
pub(super) fn is_terminal(reply: &Reply) -> bool {
    reply.what.is_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::wire::icmp::{Problem, Version};

    const PLAN: Plan = Plan {
        first: 1,
        last: 30,
        queries: 3,
        simultaneous: 64,
        wait: Duration::ZERO,
        timeout: None,
        target_limits: false,
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Plays a path: who answers the n-th packet to a hop, and after how long.
    fn play(
        plan: Plan,
        mut answer: impl FnMut(u8, usize) -> Option<(IpAddr, What)>,
    ) -> (Tracer, Duration) {
        let start = clock::now();
        let mut now = start;
        let mut tracer = Tracer::new(plan, now);
        let mut coming: Vec<(Instant, u16, u8, IpAddr, What)> = Vec::new();
        let mut asked = [0; 256];
        loop {
            coming.sort_by_key(|answer| answer.0);
            if let Some((at, key, _, from, what)) = coming.first().copied()
                && at <= now
            {
                coming.remove(0);
                let answer = Answer {
                    key,
                    from,
                    at,
                    what,
                    hop_limit: None,
                    translated: None,
                    objects: Vec::new(),
                };
                assert!(tracer.on_answer(answer));
                continue;
            }
            match tracer.poll(now) {
                Step::Send { key, hop_limit } => {
                    tracer.on_sent(hop_limit, now);
                    asked[usize::from(hop_limit)] += 1;
                    if let Some((from, what)) = answer(hop_limit, asked[usize::from(hop_limit)]) {
                        coming.push((now + ms(u64::from(hop_limit)), key, hop_limit, from, what));
                    }
                }
                Step::WaitUntil(until) => {
                    let next = coming.first().map(|answer| answer.0);
                    now = next.map_or(until, |next| next.min(until));
                }
                Step::Done => return (tracer, now - start),
            }
        }
    }

    fn exceeded() -> What {
        What::Problem(Problem::new(Version::V4, 11, 0, 0).expect("an error"))
    }

    fn router(hop: u8) -> IpAddr {
        IpAddr::from([10, 0, hop, 1])
    }

    /// A path of seven hops, whose last is the target.
    fn seven(hop: u8) -> Option<(IpAddr, What)> {
        match hop {
            1..7 => Some((router(hop), exceeded())),
            _ => Some((router(7), What::Reached)),
        }
    }

    fn picture(tracer: &Tracer) -> Vec<(u8, usize, Silence)> {
        let hops = tracer.hops();
        let of = |hop: &Hop| {
            (
                hop.hop_limit,
                hop.replies.iter().flatten().count(),
                hop.silence,
            )
        };
        hops.iter().map(of).collect()
    }

    #[test]
    fn a_short_path_takes_one_round_trip() {
        let (tracer, took) = play(PLAN, |hop, _| seven(hop));
        assert_eq!(took, ms(7));
        let whole: Vec<_> = (1..=7).map(|hop| (hop, 3, Silence::None)).collect();
        assert_eq!(picture(&tracer), whole);
        assert!(tracer.sent() <= 24 + 8, "{}", tracer.sent());
    }

    #[test]
    fn silent_hops_are_asked_again_after_a_second() {
        let (tracer, took) = play(PLAN, |hop, _| {
            seven(hop).filter(|_| !(2..=6).contains(&hop))
        });
        assert!(took < ms(1500), "{took:?}");
        let picture = picture(&tracer);
        assert_eq!(picture[1], (2, 0, Silence::Whole));
        assert_eq!(picture.len(), 7);
    }

    #[test]
    fn a_limited_hop_is_no_loss() {
        let (tracer, _) = play(PLAN, |hop, nth| seven(hop).filter(|_| hop != 3 || nth == 1));
        assert_eq!(picture(&tracer)[2], (3, 1, Silence::Limited));
        let (tracer, _) = play(PLAN, |hop, nth| seven(hop).filter(|_| hop != 3 || nth == 4));
        assert_eq!(picture(&tracer)[2], (3, 1, Silence::Limited));
        let (tracer, _) = play(PLAN, |hop, nth| seven(hop).filter(|_| hop != 3 || nth != 2));
        assert_eq!(
            picture(&tracer)[2],
            (3, 2, Silence::Lost),
            "asked again it answers"
        );
        let (tracer, _) = play(PLAN, |hop, nth| seven(hop).filter(|_| hop < 7 || nth != 2));
        assert_eq!(picture(&tracer)[6], (7, 2, Silence::Lost));
        let plan = Plan {
            target_limits: true,
            ..PLAN
        };
        let (tracer, _) = play(plan, |hop, nth| seven(hop).filter(|_| hop < 7 || nth < 2));
        assert_eq!(picture(&tracer)[6], (7, 1, Silence::Limited));
    }

    #[test]
    fn a_target_that_is_not_there_is_given_up_soon() {
        let (tracer, took) = play(PLAN, |hop, _| seven(hop).filter(|_| hop <= 3));
        assert!(took < ms(1500), "{took:?}");
        let picture = picture(&tracer);
        assert_eq!(picture[3..], [(4, 0, Silence::Whole)]);
        let (tracer, took) = play(PLAN, |_, _| None);
        assert!(
            took == NEIGHBOUR_PATIENCE && tracer.hops().is_empty(),
            "{took:?}"
        );
    }

    #[test]
    fn a_far_target_behind_silence_is_found() {
        let far = |hop: u8, _| match hop {
            1..=2 => Some((router(hop), exceeded())),
            3..25 => None,
            _ => Some((router(25), What::Reached)),
        };
        let (tracer, took) = play(PLAN, far);
        assert_eq!(picture(&tracer).len(), 25);
        assert!(took < ms(1600), "{took:?}");
    }

    #[test]
    fn a_loop_is_seen_once() {
        let looping = |hop: u8, _| {
            let at = if hop < 4 { hop } else { 4 + hop % 2 };
            Some((router(at), exceeded()))
        };
        let (tracer, _) = play(PLAN, looping);
        assert_eq!(tracer.cycle(), Some((4, 6)));
        assert_eq!(picture(&tracer).len(), 6);
    }

    #[test]
    fn answers_count_once() {
        let now = clock::now();
        let mut tracer = Tracer::new(PLAN, now);
        tracer.on_sent(1, now);
        let answer = |key| Answer {
            key,
            from: router(1),
            at: now,
            what: exceeded(),
            hop_limit: None,
            translated: None,
            objects: Vec::new(),
        };
        assert!(!tracer.on_answer(answer(2)) && !tracer.on_answer(answer(9)));
        assert!(tracer.on_answer(answer(1)) && !tracer.on_answer(answer(1)));
    }
}
