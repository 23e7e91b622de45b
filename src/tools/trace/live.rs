//! `--live`: the path again and again, in a table that is refreshed in place.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::measure::chart::sparkline;
use crate::measure::rtt::Rtts;
use crate::net::reverse::Names;
use crate::output::{self, Tone};
use crate::path::{Answer, Probe, Prober};
use crate::tool::{Context, Error};
use crate::{cause, clock};

/// Round-trip times in a row's picture.
const LAST_MAX: usize = 20;
/// Longer than the interval an answer is hardly waited for.
const PATIENCE_MIN: Duration = Duration::from_millis(1000);
/// Addresses of one hop that are kept.
const ADDRESSES_MAX: usize = 16;

struct Row {
    addresses: Vec<IpAddr>,
    sent: u64,
    received: u64,
    rtts: Rtts,
    /// The newest, in the order of sending.
    last: VecDeque<Slot>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Waiting,
    Lost,
    Answered(f64),
}

struct Outstanding {
    key: u16,
    /// Which of its hop's it is.
    nth: u64,
    hop_limit: u8,
    sent: Instant,
}

/// The rows and what is on its way. Pure: time is passed in.
struct Table {
    rows: Vec<Row>,
    /// Hops that are asked: up to the target, once it has answered.
    end: u8,
    is_reached: bool,
    /// Who refuses in this round; the next may fare better.
    refused_at: Option<u8>,
    /// Why the newest packet that did not leave did not.
    trouble: Option<String>,
    outstanding: Vec<Outstanding>,
}

impl Table {
    fn new(last: u8) -> Table {
        let row = |_| Row {
            addresses: Vec::new(),
            sent: 0,
            received: 0,
            rtts: Rtts::default(),
            last: VecDeque::new(),
        };
        Table {
            rows: (0..last).map(row).collect(),
            end: last,
            is_reached: false,
            refused_at: None,
            trouble: None,
            outstanding: Vec::new(),
        }
    }

    fn on_sent(&mut self, key: u16, hop_limit: u8, sent: Instant) {
        let row = &mut self.rows[usize::from(hop_limit) - 1];
        row.sent += 1;
        row.last.push_back(Slot::Waiting);
        if row.last.len() > LAST_MAX {
            row.last.pop_front();
        }
        self.outstanding.push(Outstanding {
            nth: row.sent,
            key,
            hop_limit,
            sent,
        });
    }

    fn on_answer(&mut self, answer: &Answer) {
        let place = self
            .outstanding
            .iter()
            .position(|sent| sent.key == answer.key);
        let Some(sent) = place.map(|place| self.outstanding.swap_remove(place)) else {
            return;
        };
        if answer.what.is_reached() {
            self.end = self.end.min(sent.hop_limit);
            self.is_reached = true;
        } else if answer.what.is_end() {
            let earlier = self.refused_at.unwrap_or(u8::MAX);
            self.refused_at = Some(earlier.min(sent.hop_limit));
        }
        let rtt = answer.at.saturating_duration_since(sent.sent);
        let row = &mut self.rows[usize::from(sent.hop_limit) - 1];
        row.received += 1;
        row.rtts.add(rtt);
        row.settle(sent.nth, Slot::Answered(rtt.as_secs_f64() * 1e3));
        if !row.addresses.contains(&answer.from) && row.addresses.len() < ADDRESSES_MAX {
            row.addresses.push(answer.from);
        }
    }

    /// What was not answered in time counts as not answered.
    fn expire(&mut self, before: Instant) {
        let rows = &mut self.rows;
        self.outstanding.retain(|sent| {
            let is_expired = sent.sent < before;
            if is_expired {
                rows[usize::from(sent.hop_limit) - 1].settle(sent.nth, Slot::Lost);
            }
            !is_expired
        });
    }

    /// The last hop worth a row: the target, who refuses, or one behind the last that answered.
    fn last(&self) -> usize {
        let heard = self.rows.iter().rposition(|row| row.received > 0);
        let known = self.refused_at.unwrap_or(self.end).min(self.end);
        let silent = heard.map_or(1, |heard| heard + 2);
        match self.is_reached {
            true => usize::from(known),
            false => silent.min(usize::from(known)),
        }
    }

    fn event(&self, target: String, names: Option<&Names>) -> Event {
        let last = self.last();
        let waiting = |hop: u8| {
            self.outstanding
                .iter()
                .filter(|sent| sent.hop_limit == hop)
                .count()
        };
        let rows = self.rows[..last].iter().enumerate().map(|(place, row)| {
            let settled = row.sent - waiting(place as u8 + 1) as u64;
            Line::of(place as u8 + 1, row, settled, names)
        });
        let mut hops: Vec<Line> = rows.collect();
        // Loss that packets to hops behind it do not share is a router's own choice.
        let mut behind = f64::MAX;
        for line in hops.iter_mut().rev() {
            line.loss_percent = line.unanswered_percent.min(behind);
            behind = behind.min(line.unanswered_percent);
        }
        Event {
            target,
            hops,
            trouble: self.trouble.clone(),
        }
    }
}

impl Row {
    fn settle(&mut self, nth: u64, slot: Slot) {
        let back = self.sent - nth + 1;
        let place = self.last.len().checked_sub(back as usize);
        if let Some(place) = place.and_then(|place| self.last.get_mut(place)) {
            *place = slot;
        }
    }

    fn recent(&self) -> Vec<Option<f64>> {
        let settled = self.last.iter().filter(|slot| **slot != Slot::Waiting);
        settled
            .map(|slot| match slot {
                Slot::Answered(ms) => Some(*ms),
                Slot::Waiting | Slot::Lost => None,
            })
            .collect()
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "live")]
pub(super) struct Event {
    target: String,
    hops: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Line {
    hop: u8,
    addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    sent: u64,
    /// On the path: what no hop behind it was spared.
    loss_percent: f64,
    /// By this hop, which may have better things to do.
    unanswered_percent: f64,
    last_ms: f64,
    avg_ms: f64,
    best_ms: f64,
    worst_ms: f64,
    stdev_ms: f64,
    recent_ms: Vec<Option<f64>>,
}

impl Line {
    fn of(hop: u8, row: &Row, settled: u64, names: Option<&Names>) -> Line {
        let unanswered = settled.saturating_sub(row.received) as f64;
        let first = row.addresses.first().copied();
        Line {
            hop,
            addresses: row.addresses.clone(),
            name: first.and_then(|address| names?.of(address)),
            sent: row.sent,
            loss_percent: 0.0,
            unanswered_percent: unanswered * 100.0 / settled.max(1) as f64,
            last_ms: row.rtts.last,
            avg_ms: row.rtts.average,
            best_ms: row.rtts.min,
            worst_ms: row.rtts.max,
            stdev_ms: row.rtts.deviation(),
            recent_ms: row.recent(),
        }
    }

    fn host(&self) -> String {
        let Some(address) = self.addresses.first() else {
            return "(no answer)".to_owned();
        };
        let more = match self.addresses.len() {
            1 => String::new(),
            count => format!(" +{}", count - 1),
        };
        match &self.name {
            Some(name) => format!("{name}{more}"),
            None => format!("{address}{more}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .hops
            .iter()
            .map(|line| line.host().chars().count())
            .max();
        let width = width.unwrap_or(0).max(self.target.chars().count()).max(20);
        write!(
            f,
            "    {:width$}  Loss%  Snt   Last    Avg   Best   Wrst  StDev",
            self.target
        )?;
        for line in &self.hops {
            let host = line.host();
            write!(f, "\n{:2}. {host:width$}", line.hop)?;
            write!(f, "  {:>4.1}%  {:>3}", line.loss_percent, line.sent)?;
            let times = [
                line.last_ms,
                line.avg_ms,
                line.best_ms,
                line.worst_ms,
                line.stdev_ms,
            ];
            for ms in times {
                let places = if ms < 10.0 { 2 } else { 1 };
                write!(f, " {ms:>6.places$}")?;
            }
            write!(f, "  {}", sparkline(line.recent_ms.iter().copied()))?;
            if line.unanswered_percent > line.loss_percent + 0.5 {
                write!(f, "  answers {:.0}%", 100.0 - line.unanswered_percent)?;
            }
        }
        match &self.trouble {
            Some(trouble) => write!(f, "\nthe newest packet did not leave: {trouble}"),
            None => Ok(()),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        Tone::Plain
    }
}

pub(super) struct Plan {
    pub(super) last: u8,
    pub(super) interval: Duration,
    pub(super) rounds: Option<u64>,
    pub(super) octets: usize,
}

/// Rounds until there were enough of them, or somebody ends it.
pub(super) fn run(
    context: &Context,
    prober: &mut Prober,
    plan: &Plan,
    target: &str,
    names: Option<&Names>,
) -> Result<bool, Error> {
    let mut table = Table::new(plan.last);
    let ended = rounds(context, prober, plan, target, names, &mut table);
    context.out.emit(&table.event(target.to_owned(), names));
    match ended {
        // It has no other end.
        Err(Error::Cancelled) if plan.rounds.is_none() => Ok(table.is_reached),
        Err(error) => Err(error),
        Ok(()) => Ok(table.is_reached),
    }
}

fn rounds(
    context: &Context,
    prober: &mut Prober,
    plan: &Plan,
    target: &str,
    names: Option<&Names>,
    table: &mut Table,
) -> Result<(), Error> {
    context.end_on_q();
    let patience = plan.interval.max(PATIENCE_MIN);
    let mut round = 0;
    let mut next = clock::now();
    loop {
        table.refused_at = None;
        for hop_limit in 1..=plan.last {
            if hop_limit > table.refused_at.unwrap_or(table.end).min(table.end) {
                break;
            }
            let key = prober.reserve_keys(1);
            let at = prober.send(Probe {
                key,
                hop_limit,
                flow: 0,
                octets: plan.octets,
            });
            table.trouble = at.as_ref().err().map(cause::of);
            table.on_sent(key, hop_limit, at.unwrap_or_else(|_| clock::now()));
            // The first answers must not wait: the kernel stamps some only when they are read.
            take(prober, table, names)?;
        }
        round += 1;
        let is_last = plan.rounds.is_some_and(|rounds| round >= rounds);
        next = (next + plan.interval).max(clock::now());
        let until = if is_last {
            clock::now() + patience
        } else {
            next
        };
        while clock::now() < until && !(is_last && table.outstanding.is_empty()) {
            take(prober, table, names)?;
            if is_last && table.outstanding.is_empty() {
                break;
            }
            let interest = prober.interest();
            let cancel = &context.cancel;
            cancel.wait_any(&prober.fds(), interest, Some(until))?;
        }
        let now = clock::now();
        table.expire(now.checked_sub(patience).unwrap_or(now));
        if is_last {
            table.expire(now);
            return Ok(());
        }
        let event = table.event(target.to_owned(), names);
        let worst = event.hops.last().map_or(0.0, |line| line.loss_percent);
        let hops = event.hops.len();
        context.summarize(format!(
            "round {round}, {hops} hops, {worst:.1}% loss at the last"
        ));
        context.out.redraw(&event);
    }
}

fn take(prober: &mut Prober, table: &mut Table, names: Option<&Names>) -> Result<(), Error> {
    for answer in prober.receive().map_err(cannot)? {
        if let Some(names) = names {
            names.ask(answer.from);
        }
        table.on_answer(&answer);
    }
    let end = table.end;
    table.outstanding.retain(|sent| sent.hop_limit <= end);
    Ok(())
}

fn cannot(error: std::io::Error) -> Error {
    Error::Unavailable(format!("cannot probe: {}", cause::of(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::What;
    use crate::wire::icmp::{Problem, Version};

    /// Three hops; the second answers every other time, the third is the target and answers
    /// `answered` times of four.
    fn play(answered: usize) -> Event {
        let mut table = Table::new(3);
        let start = clock::now();
        let exceeded = Problem::new(Version::V4, 11, 0, 0).expect("an error");
        let mut key = 0;
        for round in 0..4 {
            for hop in 1..=3 {
                key += 1;
                table.on_sent(key, hop, start);
                let is_answered = match hop {
                    2 => round % 2 == 0,
                    3 => round < answered,
                    _ => true,
                };
                if is_answered {
                    table.on_answer(&Answer {
                        key,
                        from: IpAddr::from([10, 0, 0, hop]),
                        at: start + Duration::from_millis(u64::from(hop)),
                        what: if hop == 3 {
                            What::Reached
                        } else {
                            What::Problem(exceeded)
                        },
                        hop_limit: None,
                        translated: None,
                        objects: Vec::new(),
                    });
                }
            }
        }
        table.expire(start + Duration::from_secs(9));
        table.event("host".to_owned(), None)
    }

    #[test]
    fn a_reluctant_router_is_no_loss() {
        let losses = |event: Event| {
            event
                .hops
                .iter()
                .map(|line| line.loss_percent)
                .collect::<Vec<_>>()
        };
        assert_eq!(losses(play(4)), [0.0, 0.0, 0.0]);
        assert_eq!(losses(play(3)), [0.0, 25.0, 25.0]);
        let text = play(4).to_string();
        let row = " 2. 10.0.0.2               0.0%    4   2.00   2.00   2.00   2.00   0.00  ▁×▁×  answers 50%";
        assert!(
            text.contains("▁") && text.lines().count() == 4,
            "{text}\n{row}"
        );
        assert!(text.contains("answers 50%"), "{text}");
    }
}
