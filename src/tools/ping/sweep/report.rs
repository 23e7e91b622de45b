//! What a search tells.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::duration;
use crate::measure::figure::Milliseconds;
use crate::output;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Search {
        targets: String,
        addresses: u64,
        tries: u8,
        timeout_ms: f64,
    },
    Alive {
        host: String,
        rtt_ms: f64,
        ttl: Option<u8>,
    },
    /// Somebody said that it cannot be reached.
    Unreachable {
        host: String,
        from: String,
        problem: String,
    },
    Found {
        targets: String,
        addresses: u64,
        alive: u64,
        unreachable: u64,
        silent: u64,
        /// The time was up before.
        not_asked: u64,
        sent: u64,
        time_ms: f64,
        min_ms: f64,
        avg_ms: f64,
        max_ms: f64,
        /// What the system did not let out, and why.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_sent: Option<(u64, String)>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Search {
                targets,
                addresses,
                tries,
                timeout_ms,
            } => write!(
                f,
                "PING {targets}: {addresses} addresses, {tries} tries of {timeout_ms} ms."
            ),
            Event::Alive { host, rtt_ms, .. } => {
                write!(f, "{host} is alive ({} ms)", Milliseconds(*rtt_ms))
            }
            Event::Unreachable {
                host,
                from,
                problem,
            } => write!(f, "{host} is unreachable: {from} says {problem}"),
            Event::Found {
                targets,
                addresses,
                alive,
                unreachable,
                silent,
                not_asked,
                sent,
                time_ms,
                min_ms,
                avg_ms,
                max_ms,
                not_sent,
            } => {
                write!(f, "\n--- {targets} ---\n")?;
                write!(
                    f,
                    "{addresses} addresses, {alive} alive, {unreachable} unreachable, "
                )?;
                let span = duration::human(Duration::from_secs_f64(time_ms / 1e3));
                write!(f, "{silent} silent, ")?;
                if *not_asked > 0 {
                    write!(f, "{not_asked} not asked, ")?;
                }
                write!(f, "{sent} requests in {span}")?;
                if *alive > 0 {
                    write!(
                        f,
                        "\nrtt min/avg/max = {min_ms:.3}/{avg_ms:.3}/{max_ms:.3} ms"
                    )?;
                }
                match not_sent {
                    Some((count, why)) => write!(f, "\n{count} requests did not leave: {why}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> output::Tone {
        match self {
            Event::Alive { .. } => output::Tone::Good,
            Event::Unreachable { .. } => output::Tone::Caution,
            Event::Search { .. } | Event::Found { .. } => output::Tone::Plain,
        }
    }
}
