//! The largest packet that gets to each hop.
//!
//! Packets that nobody may fragment go to all hops at once, in rounds: to each hop the size that
//! its search wants to know about. A router that cannot pass one on says how much it could, or
//! drops it without a word (a black hole); then the search halves what is left. What silence has
//! decided is asked for once more, patiently, as a machine that stalls is silent, too.

use std::net::IpAddr;
use std::time::Duration;

use super::round::{Heard, PATIENCE_FIRST, Question, ask, patience};
use super::{Answer, Prober, What};
use crate::cancel::Cancel;
use crate::net;
use crate::wire::icmp::Meaning;

/// Copies of each packet, because a lost one would look like one too large.
const COPIES: usize = 2;

/// Bisection between a size that passes and one that does not, which a router's word ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Search {
    /// The largest size that passed.
    passed: usize,
    /// The smallest that did not.
    failed: usize,
    /// Only silence says that `failed` does not pass, and only once.
    is_doubtful: bool,
    trying: usize,
    largest: usize,
}

impl Search {
    /// `smallest` is known to pass; nothing larger than `largest` can leave.
    fn new(smallest: usize, largest: usize) -> Search {
        Search {
            passed: smallest,
            failed: largest + 1,
            is_doubtful: false,
            trying: largest,
            largest,
        }
    }

    /// The size to send next; `None` when the answer is known.
    fn next(&self) -> Option<usize> {
        match self.passed + 1 < self.failed {
            true => Some(self.trying),
            false => self.is_doubtful.then_some(self.failed),
        }
    }

    /// Whether the size to send next has been met with silence before.
    fn asks_again(&self) -> bool {
        self.next() == Some(self.failed)
    }

    /// A packet of this size arrived.
    fn on_passed(&mut self, octets: usize) {
        if octets == self.failed {
            self.failed = self.largest + 1;
            self.is_doubtful = false;
        }
        if octets > self.passed && octets < self.failed {
            self.passed = octets;
            self.halve();
        }
    }

    /// A router, or this machine, said that a packet is too large, and for what it was not.
    fn on_too_big(&mut self, octets: usize, mtu: usize) {
        if octets > self.failed || octets <= self.passed {
            return;
        }
        self.failed = octets;
        self.is_doubtful = false;
        match mtu > self.passed && mtu < octets {
            true => {
                self.trying = mtu;
                self.failed = mtu + 1;
            }
            // Before RFC 1191 routers said nothing; others lie.
            false => self.halve(),
        }
    }

    /// Nothing was heard of a packet of this size.
    fn on_silence(&mut self, octets: usize) {
        if octets == self.failed {
            self.is_doubtful = false;
        } else if octets == self.trying && octets < self.failed {
            self.failed = octets;
            self.is_doubtful = true;
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.trying = usize::midpoint(self.passed, self.failed);
    }
}

/// What is known of the way to one hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) hop_limit: u8,
    pub(crate) router: Option<IpAddr>,
    /// The largest packet that gets there, with all headers.
    pub(crate) mtu: usize,
    /// Who said that no larger one is passed on; `None` for a black hole.
    pub(crate) told_by: Option<IpAddr>,
}

/// The ways to all hops up to the target, or to the last that answers.
pub(crate) struct Survey {
    pub(crate) ways: Vec<Way>,
    pub(crate) is_reached: bool,
    /// What this machine's interface lets out.
    pub(crate) local: usize,
}

pub(crate) fn survey(
    prober: &mut Prober,
    source: IpAddr,
    last: u8,
    cancel: &Cancel,
) -> Result<Survey, net::Error> {
    prober
        .forbid_fragments()
        .map_err(|error| net::Error::System {
            what: "cannot forbid fragments".to_owned(),
            error,
        })?;
    let smallest = prober.octets_min();
    let local = net::interface_mtu(source);
    let (mut ways, is_reached, patience) = find_hops(prober, smallest, last, cancel)?;
    let mut searches: Vec<Search> = ways.iter().map(|_| Search::new(smallest, local)).collect();
    let mut told_by: Vec<Vec<(IpAddr, usize)>> = vec![Vec::new(); ways.len()];
    loop {
        let mut places = Vec::new();
        let mut questions = Vec::new();
        for (place, search) in searches.iter().enumerate() {
            // Of a hop that never answers nothing can be learnt.
            if let Some(octets) = search.next().filter(|_| ways[place].router.is_some()) {
                places.push(place);
                questions.push(Question {
                    hop_limit: ways[place].hop_limit,
                    flow: 0,
                    octets,
                });
            }
        }
        if questions.is_empty() {
            break;
        }
        let patience = match searches.iter().any(Search::asks_again) {
            true => patience.max(PATIENCE_FIRST),
            false => patience,
        };
        let heard = ask(prober, &questions, COPIES, patience, cancel, |_| false)?;
        for (number, place) in places.into_iter().enumerate() {
            let octets = questions[number].octets;
            let mut answers = heard.iter().filter(|heard| heard.question == number);
            let told = answers.clone().find_map(|heard| too_big(&heard.answer));
            match told {
                Some((router, mtu)) => {
                    told_by[place].push((router, mtu));
                    searches[place].on_too_big(octets, mtu);
                }
                None if answers.next().is_some() => searches[place].on_passed(octets),
                None => searches[place].on_silence(octets),
            }
        }
    }
    for ((way, search), told) in ways.iter_mut().zip(&searches).zip(told_by) {
        way.mtu = search.passed;
        let truth = told.into_iter().find(|(_, mtu)| *mtu == search.passed);
        way.told_by = truth.map(|(router, _)| router);
    }
    // What gets farther got here, whatever a router that limits its answers made of it.
    for place in (1..ways.len()).rev() {
        ways[place - 1].mtu = ways[place - 1].mtu.max(ways[place].mtu);
    }
    Ok(Survey {
        ways,
        is_reached,
        local,
    })
}

fn too_big(answer: &Answer) -> Option<(IpAddr, usize)> {
    match answer.what {
        What::Problem(problem) => match problem.meaning() {
            Meaning::TooBig { mtu } => Some((answer.from, mtu as usize)),
            _ => None,
        },
        What::Reached | What::Open | What::Closed => None,
    }
}

/// Small packets to all hops: who is there, and how long to wait for an answer.
fn find_hops(
    prober: &mut Prober,
    smallest: usize,
    last: u8,
    cancel: &Cancel,
) -> Result<(Vec<Way>, bool, Duration), net::Error> {
    let question = |hop_limit| Question {
        hop_limit,
        flow: 0,
        octets: smallest,
    };
    let questions: Vec<Question> = (1..=last).map(question).collect();
    let end_of = |heard: &[Heard]| {
        let ends = heard.iter().filter(|heard| heard.answer.what.is_end());
        ends.map(|heard| heard.question).min()
    };
    let heard = ask(
        prober,
        &questions,
        COPIES,
        PATIENCE_FIRST,
        cancel,
        |heard| {
            // The target, and every hop before it.
            let is_heard = |place| heard.iter().any(|heard| heard.question == place);
            end_of(heard).is_some_and(|end| (0..end).all(is_heard))
        },
    )?;
    let end = end_of(&heard);
    let last = end.or(heard.iter().map(|heard| heard.question).max());
    let ways = (0..last.map_or(0, |last| last + 1)).map(|place| {
        let heard = heard.iter().find(|heard| heard.question == place);
        Way {
            hop_limit: place as u8 + 1,
            router: heard.map(|heard| heard.answer.from),
            mtu: smallest,
            told_by: None,
        }
    });
    let is_reached = heard
        .iter()
        .any(|heard| Some(heard.question) == end && heard.answer.what.is_reached());
    Ok((ways.collect(), is_reached, patience(&heard)))
}

impl Survey {
    /// The first hop that gets less than the one before it: its place, if any.
    pub(crate) fn bottleneck(&self) -> Option<usize> {
        let before = |place: usize| match place {
            0 => self.local,
            _ => self.ways[place - 1].mtu,
        };
        (0..self.ways.len())
            .rev()
            .find(|place| self.ways[*place].mtu < before(*place))
    }

    pub(crate) fn mtu(&self) -> Option<usize> {
        self.ways.last().map(|way| way.mtu)
    }

    /// Which link is the narrow one, and whether its router says so.
    pub(crate) fn explanation(&self) -> Option<String> {
        let place = self.bottleneck()?;
        let mtu = self.ways[place].mtu;
        let near = match place.checked_sub(1).map(|before| &self.ways[before]) {
            None => "this machine".to_owned(),
            Some(way) => match way.router {
                Some(router) => format!("hop {} ({router})", way.hop_limit),
                None => format!("hop {}", way.hop_limit),
            },
        };
        Some(match self.ways[place].told_by {
            Some(router) => format!(
                "{near} passes on no more than {mtu} octets, and {router} says so when asked"
            ),
            None => format!(
                "{near} passes on no more than {mtu} octets and drops larger packets without a \
                 word: a black hole"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the search finds, and in how many rounds.
    fn find(mtu: usize, is_black_hole: bool) -> (usize, u32) {
        let mut search = Search::new(68, 1500);
        let mut rounds = 0;
        while let Some(octets) = search.next() {
            rounds += 1;
            match octets <= mtu {
                true => search.on_passed(octets),
                false if is_black_hole => search.on_silence(octets),
                false => search.on_too_big(octets, mtu),
            }
        }
        (search.passed, rounds)
    }

    #[test]
    fn one_round_where_all_passes_and_two_where_a_router_speaks() {
        assert_eq!(find(1500, false), (1500, 1));
        assert_eq!(find(1400, false), (1400, 2));
        assert_eq!(find(68, false).0, 68);
    }

    #[test]
    fn black_holes_are_bisected() {
        for mtu in [68, 576, 1280, 1399, 1400, 1492, 1499] {
            let (found, rounds) = find(mtu, true);
            assert!(found == mtu && rounds <= 13, "{mtu}: {found} in {rounds}");
        }
    }

    #[test]
    fn a_silence_that_was_a_stall_decides_nothing() {
        for stalled in 1..=12 {
            let mut search = Search::new(68, 1500);
            let mut round = 0;
            while let Some(octets) = search.next() {
                round += 1;
                match octets <= 1400 && round != stalled {
                    true => search.on_passed(octets),
                    false => search.on_silence(octets),
                }
            }
            assert_eq!(search.passed, 1400, "{stalled}");
        }
    }

    #[test]
    fn a_router_that_tells_nonsense_is_not_believed() {
        for mtu in [0, 68, 1500, 9000] {
            let mut search = Search::new(68, 1500);
            while let Some(octets) = search.next() {
                match octets <= 1000 {
                    true => search.on_passed(octets),
                    false => search.on_too_big(octets, mtu),
                }
            }
            assert_eq!(search.passed, 1000, "{mtu}");
        }
    }
}
