//! `--paths`: all routers of each hop, where packets are spread over several ways.
//!
//! Multipath detection as of Augustin, Friedman and Teixeira (2007): a hop where k routers are
//! known gets packets of so many flows that one more, if flows are spread evenly, would have
//! been met with 95 % confidence. All hops are asked at once, with the same flows, so that the
//! links between routers show, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::route::NAMES_PATIENCE;
use crate::cancel::Cancel;
use crate::clock;
use crate::net;
use crate::net::reverse::Names;
use crate::output::{self, Tone};
use crate::path::Prober;
use crate::path::round::{Heard, PATIENCE_FIRST, Question, ask, patience};

/// The chance that one more router is missed.
const MISSED: f64 = 0.05;
/// More are not told apart.
const FLOWS_MAX: usize = 128;
/// A flow whose packet is lost is asked again.
const TRIES: usize = 2;
/// Packets in a round; more wait for the next one.
const ROUND_MAX: usize = 256;

/// So many flows show that there are no more than `routers`, with 95 % confidence.
fn flows_needed(routers: usize) -> usize {
    let known = routers.max(1) as f64;
    // Any of k + 1 equally likely routers is missed with a chance of (k + 1) (k / (k + 1))^n at
    // most.
    let flows = (MISSED / (known + 1.0)).ln() / (known / (known + 1.0)).ln();
    (flows.ceil() as usize).min(FLOWS_MAX)
}

/// What was heard from one hop.
#[derive(Debug, Clone, Default)]
struct Hop {
    /// By flow: who answered, in order.
    answers: BTreeMap<u16, Vec<IpAddr>>,
    asked: BTreeMap<u16, usize>,
    best_ms: BTreeMap<IpAddr, f64>,
    /// Flows that go no farther.
    ended: BTreeSet<u16>,
    is_reached: bool,
}

impl Hop {
    fn routers(&self) -> BTreeSet<IpAddr> {
        self.answers.values().flatten().copied().collect()
    }

    /// One flow should have one router.
    fn is_per_packet(&self) -> bool {
        let differ = |answers: &&Vec<IpAddr>| answers.iter().any(|router| *router != answers[0]);
        self.answers.values().filter(differ).count() > 0
    }
}

/// All hops, the first being hop 1. Pure: it says what to ask, and is told the answers.
struct Survey {
    hops: Vec<Hop>,
    octets: usize,
}

impl Survey {
    fn new(hops: u8, octets: usize) -> Survey {
        Survey {
            hops: vec![Hop::default(); usize::from(hops)],
            octets,
        }
    }

    /// Where all flows have ended.
    fn end(&self) -> usize {
        let has_ended = |hop: &Hop| hop.answers.keys().all(|flow| hop.ended.contains(flow));
        let is_end = |hop: &Hop| !hop.answers.is_empty() && has_ended(hop);
        let end = self.hops.iter().position(is_end);
        let last = self.hops.iter().rposition(|hop| !hop.answers.is_empty());
        end.or(last).map_or(self.hops.len(), |place| place + 1)
    }

    /// What is still to be asked; nothing when all is known.
    fn questions(&self) -> Vec<Question> {
        // First one flow looks how far it is, so that the target is not asked by all of them.
        let is_first = self.hops.iter().all(|hop| hop.asked.is_empty());
        let mut questions = Vec::new();
        for (place, hop) in self.hops[..self.end()].iter().enumerate() {
            let routers = hop.routers().len();
            let is_balanced = routers > 1;
            let flows = if is_first { 1 } else { flows_needed(routers) };
            for flow in 0..flows as u16 {
                let asked = hop.asked.get(&flow).copied().unwrap_or(0);
                let answered = hop.answers.get(&flow).map_or(0, Vec::len);
                // Where there are several, the same flow asked twice tells how they are chosen.
                let wanted = if is_balanced { 2 } else { 1 };
                let is_silent = answered == 0 && asked >= TRIES;
                if answered < wanted && !is_silent && asked < wanted + TRIES - 1 {
                    questions.push(Question {
                        hop_limit: place as u8 + 1,
                        flow,
                        octets: self.octets,
                    });
                }
            }
        }
        questions.truncate(ROUND_MAX);
        questions
    }

    fn on_round(&mut self, questions: &[Question], heard: &[Heard]) {
        for question in questions {
            let hop = &mut self.hops[usize::from(question.hop_limit) - 1];
            *hop.asked.entry(question.flow).or_default() += 1;
        }
        for Heard {
            question,
            rtt,
            answer,
        } in heard
        {
            let question = questions[*question];
            let hop = &mut self.hops[usize::from(question.hop_limit) - 1];
            let ms = rtt.as_secs_f64() * 1e3;
            let best = hop.best_ms.entry(answer.from).or_insert(ms);
            *best = best.min(ms);
            hop.answers
                .entry(question.flow)
                .or_default()
                .push(answer.from);
            if answer.what.is_end() {
                hop.ended.insert(question.flow);
            }
            hop.is_reached |= answer.what.is_reached();
        }
    }

    fn paths(&self, names: Option<&Names>) -> Paths {
        let end = self.end();
        let hops = (0..end).map(|place| self.line(place, names)).collect();
        let balanced = self.hops[..end]
            .iter()
            .filter(|hop| hop.routers().len() > 1)
            .count();
        Paths {
            hops,
            ways: self.ways(end),
            balanced,
            packets_sent: self.hops.iter().flat_map(|hop| hop.asked.values()).sum(),
            reached: self.hops[..end].last().is_some_and(|hop| hop.is_reached),
        }
    }

    /// Different sequences of routers that flows have taken.
    fn ways(&self, end: usize) -> usize {
        let flows: BTreeSet<u16> = self.hops[..end]
            .iter()
            .flat_map(|hop| hop.answers.keys().copied())
            .collect();
        let way = |flow: &u16| -> Option<Vec<IpAddr>> {
            let hops = self.hops[..end].iter();
            let spread = hops.filter(|hop| hop.routers().len() > 1);
            spread.map(|hop| Some(hop.answers.get(flow)?[0])).collect()
        };
        flows
            .iter()
            .filter_map(way)
            .collect::<BTreeSet<_>>()
            .len()
            .max(1)
    }

    fn line(&self, place: usize, names: Option<&Names>) -> Line {
        let hop = &self.hops[place];
        let before = place.checked_sub(1).map(|before| &self.hops[before]);
        let routers = hop.routers().into_iter().map(|address| {
            let through = |answers: &&Vec<IpAddr>| answers.contains(&address);
            let flows = hop.answers.iter().filter(|(_, answers)| through(answers));
            let flows: Vec<u16> = flows.map(|(flow, _)| *flow).collect();
            let from = before
                .filter(|before| before.routers().len() > 1)
                .map(|before| {
                    let from = flows.iter().filter_map(|flow| before.answers.get(flow));
                    from.flatten().copied().collect::<BTreeSet<IpAddr>>()
                });
            Router {
                address,
                name: names.and_then(|names| names.of(address)),
                best_ms: (hop.best_ms[&address] * 1e6).round() / 1e6,
                flows: flows.len(),
                from: from.unwrap_or_default().into_iter().collect(),
            }
        });
        Line {
            hop: place + 1,
            routers: routers.collect(),
            flows: hop.answers.len(),
            per_packet: hop.is_per_packet(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "paths")]
pub(super) struct Paths {
    hops: Vec<Line>,
    ways: usize,
    /// Hops with several routers.
    balanced: usize,
    packets_sent: usize,
    pub(super) reached: bool,
}

#[derive(Serialize)]
struct Line {
    hop: usize,
    routers: Vec<Router>,
    flows: usize,
    /// Packets of one flow take several ways.
    per_packet: bool,
}

#[derive(Serialize)]
struct Router {
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    best_ms: f64,
    /// That passed it.
    flows: usize,
    /// The routers before it, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<IpAddr>,
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.hops {
            line.fmt(f)?;
        }
        let ways = match self.ways {
            1 => "one way".to_owned(),
            ways => format!("{ways} ways"),
        };
        write!(
            f,
            "{ways}; with 95% confidence no hop has more routers than are shown, if flows are spread evenly\n{} packets sent",
            self.packets_sent
        )
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.routers.is_empty() {
            return writeln!(f, "{:2}  *", self.hop);
        }
        let is_single = self.routers.len() == 1;
        for (place, router) in self.routers.iter().enumerate() {
            match place {
                0 => write!(f, "{:2}  ", self.hop)?,
                _ => f.write_str("    ")?,
            }
            f.write_str(match place {
                _ if is_single => "",
                0 => "┬ ",
                last if last + 1 == self.routers.len() => "└ ",
                _ => "├ ",
            })?;
            match &router.name {
                Some(name) => write!(f, "{name} ({})", router.address)?,
                None => write!(f, "{}", router.address)?,
            }
            write!(f, "  {:.3} ms", router.best_ms)?;
            if !is_single {
                write!(f, "  {} of {} flows", router.flows, self.flows)?;
            }
            if !router.from.is_empty() && !is_single {
                let from: Vec<String> = router.from.iter().map(ToString::to_string).collect();
                write!(f, "  behind {}", from.join(" and "))?;
            }
            if place == 0 && !is_single {
                f.write_str(if self.per_packet {
                    "  (chosen by packet)"
                } else {
                    "  (chosen by flow)"
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

impl output::Event for Paths {
    fn tone(&self) -> Tone {
        Tone::Plain
    }
}

pub(super) fn run(
    prober: &mut Prober,
    hops: u8,
    octets: usize,
    names: Option<&Names>,
    cancel: &Cancel,
) -> Result<Paths, net::Error> {
    let mut survey = Survey::new(hops, octets);
    let mut wait = PATIENCE_FIRST;
    loop {
        let questions = survey.questions();
        if questions.is_empty() {
            if let Some(names) = names {
                names.wait(cancel, clock::now() + NAMES_PATIENCE)?;
            }
            return Ok(survey.paths(names));
        }
        let heard = ask(prober, &questions, 1, wait, cancel, |heard| {
            is_enough(&questions, heard)
        })?;
        if let Some(names) = names {
            heard.iter().for_each(|heard| names.ask(heard.answer.from));
        }
        wait = patience(&heard);
        survey.on_round(&questions, &heard);
    }
}

/// All hops up to one where packets end have answered all that they were asked.
fn is_enough(questions: &[Question], heard: &[Heard]) -> bool {
    let ends = heard.iter().filter(|heard| heard.answer.what.is_end());
    let Some(end) = ends.map(|heard| questions[heard.question].hop_limit).min() else {
        return false;
    };
    let mut wanted = (0..questions.len()).filter(|place| questions[*place].hop_limit <= end);
    wanted.all(|place| heard.iter().any(|heard| heard.question == place))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::path::{Answer, What};
    use crate::wire::icmp::{Problem, Version};

    /// Augustin et al., "Multipath tracing with Paris traceroute", table for 95 %.
    #[test]
    fn as_many_flows_as_the_table_says() {
        let needed: Vec<usize> = (1..=6).map(flows_needed).collect();
        assert_eq!(needed, [6, 11, 16, 21, 27, 33]);
    }

    /// Surveys a path of four hops where `router` says who is met.
    fn play(router: impl Fn(u8, u16, usize) -> IpAddr) -> Survey {
        let mut survey = Survey::new(30, 60);
        let exceeded = Problem::new(Version::V4, 11, 0, 0).expect("an error");
        let mut packets = 0;
        loop {
            let questions = survey.questions();
            if questions.is_empty() {
                return survey;
            }
            let heard: Vec<Heard> = questions
                .iter()
                .enumerate()
                .map(|(place, question)| {
                    packets += 1;
                    let is_target = question.hop_limit >= 4;
                    Heard {
                        question: place,
                        rtt: Duration::from_millis(1),
                        answer: Answer {
                            key: 0,
                            from: router(question.hop_limit.min(4), question.flow, packets),
                            at: clock::now(),
                            what: if is_target {
                                What::Reached
                            } else {
                                What::Problem(exceeded)
                            },
                            hop_limit: None,
                            translated: None,
                            objects: Vec::new(),
                        },
                    }
                })
                .collect();
            survey.on_round(&questions, &heard);
        }
    }

    fn address(hop: u8, branch: u16) -> IpAddr {
        IpAddr::from([10, 0, hop, branch as u8])
    }

    #[test]
    fn all_branches_are_found() {
        let survey = play(|hop, flow, _| address(hop, if hop == 2 { flow % 4 } else { 0 }));
        let paths = survey.paths(None);
        assert_eq!(paths.hops.len(), 4);
        assert_eq!(paths.hops[1].routers.len(), 4);
        assert_eq!((paths.ways, paths.balanced), (4, 1));
        assert!(!paths.hops[1].per_packet && paths.reached);
        let text = paths.to_string();
        assert!(
            text.contains(" 2  ┬ 10.0.2.0  1.000 ms  6 of 21 flows  (chosen by flow)\n"),
            "{text}"
        );
        assert!(
            text.contains("\n    └ 10.0.2.3  1.000 ms  5 of 21 flows\n"),
            "{text}"
        );
    }

    #[test]
    fn a_choice_by_packet_is_told_from_one_by_flow() {
        let survey =
            play(|hop, _, nth| address(hop, if hop == 2 { nth as u16 / 3 % 2 } else { 0 }));
        assert!(survey.paths(None).hops[1].per_packet);
    }

    #[test]
    fn a_single_path_is_asked_no_more_than_needed() {
        let survey = play(|hop, _, _| address(hop, 0));
        let paths = survey.paths(None);
        assert_eq!((paths.ways, paths.balanced), (1, 0));
        assert_eq!(
            survey.hops[..4].iter().map(|hop| hop.asked.len()).max(),
            Some(6)
        );
    }
}
