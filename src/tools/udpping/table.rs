//! The senders that a monitor knows, as a table.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::roster::Roster;
use super::sender::{Sender, State};
use crate::duration;
use crate::output::{self, Tone};

/// Rows for a person; JSON has all.
const ROWS_MAX: usize = 40;

#[derive(Serialize)]
#[serde(tag = "event", rename = "senders")]
pub(super) struct Table {
    senders: Vec<Row>,
    /// Datagrams that were not believed.
    rejected: u64,
}

#[derive(Serialize)]
struct Row {
    name: Arc<str>,
    address: String,
    state: &'static str,
    last_seen_ms: f64,
    interval_ms: f64,
    received: u64,
    lost: u64,
    loss_percent: f64,
    reordered: u64,
    duplicates: u64,
    restarts: u32,
    jitter_ms: f64,
    delay_variation_ms: f64,
}

impl Table {
    /// Those in trouble first, and by name.
    pub(super) fn of(roster: &Roster, rejected: u64, now: Instant) -> Table {
        let mut senders: Vec<&Sender> = roster.senders().iter().collect();
        senders.sort_by(|a, b| (rank(a.state), &a.name).cmp(&(rank(b.state), &b.name)));
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let row = |sender: &Sender| Row {
            name: Arc::clone(&sender.name),
            address: sender.address.to_string(),
            state: word(sender.state),
            last_seen_ms: ms(now.saturating_duration_since(sender.last_seen)),
            interval_ms: ms(sender.interval),
            received: sender.received,
            lost: sender.lost,
            loss_percent: loss_percent(sender),
            reordered: sender.reordered,
            duplicates: sender.duplicates,
            restarts: sender.restarts,
            jitter_ms: ms(sender.jitter),
            delay_variation_ms: ms(sender.delay_variation()),
        };
        Table {
            senders: senders.into_iter().map(row).collect(),
            rejected,
        }
    }
}

pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Late => "late",
        State::Down => "down",
        State::Left => "left",
    }
}

fn rank(state: State) -> u8 {
    match state {
        State::Down => 0,
        State::Late => 1,
        State::Up => 2,
        State::Left => 3,
    }
}

pub(super) fn loss_percent(sender: &Sender) -> f64 {
    let (received, lost) = (sender.received as f64, sender.lost as f64);
    lost * 100.0 / (received + lost).max(1.0)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.senders.is_empty() {
            true => f.write_str("no heartbeats yet")?,
            false => self.write_senders(f)?,
        }
        match self.rejected {
            0 => Ok(()),
            1 => f.write_str("\n1 datagram was rejected"),
            count => write!(f, "\n{count} datagrams were rejected"),
        }
    }
}

impl Table {
    fn write_senders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.senders[..self.senders.len().min(ROWS_MAX)];
        let width = |value: fn(&Row) -> usize| shown.iter().map(value).max().unwrap_or(0);
        let name_width = width(|row| row.name.len()).max("name".len());
        let address_width = width(|row| row.address.len()).max("address".len());
        write!(
            f,
            "{:name_width$}  {:address_width$}  state  {:>10}  {:>8}  {:>6}  {:>9}  restarts",
            "name", "address", "last seen", "received", "loss", "variation"
        )?;
        for row in shown {
            let seen = duration::human(Duration::from_secs_f64(row.last_seen_ms / 1e3));
            write!(
                f,
                "\n{:name_width$}  {:address_width$}  {:5}  {seen:>10}  {:>8}  {:>5.1}%  {:>6.1} ms  {:>8}",
                row.name,
                row.address,
                row.state,
                row.received,
                row.loss_percent,
                row.delay_variation_ms,
                row.restarts
            )?;
        }
        match self.senders.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

impl output::Event for Table {
    fn tone(&self) -> Tone {
        match self.senders.first() {
            Some(row) if row.state == "down" => Tone::Caution,
            _ => Tone::Plain,
        }
    }
}
