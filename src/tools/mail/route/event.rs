//! What was found, server by server: a table of stages for people.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::super::dialogue::outcome::{Fate, Protection, Refusal, Stage};
use super::super::direct::attempt::Target;
use super::super::report::{self, ms, word};
use super::{Candidate, Found};
use crate::measure::chart::bar;
use crate::output::{self, Printable, Tone};
use crate::wire::smtp::extensions::Extensions;

const BAR_COLUMNS: usize = 24;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Route {
        address: String,
        takers: usize,
        probes: usize,
        ms: f64,
    },
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "probe")]
pub(super) struct Probe {
    exchanger: String,
    preference: Option<u16>,
    address: String,
    verdict: &'static str,
    /// Where it was refused.
    stage: Option<&'static str>,
    words: String,
    greeting: Option<String>,
    extensions: Vec<String>,
    tls: Option<report::Event>,
    /// Why the certificate is not trusted, or no TLS was to be had.
    doubt: Option<String>,
    dane: Option<String>,
    stages: Vec<Span>,
}

#[derive(Serialize)]
struct Span {
    stage: &'static str,
    ms: f64,
}

impl Probe {
    pub(super) fn of(candidate: &Candidate, target: &Target, found: &Found, fate: &Fate) -> Probe {
        let printable = |text: &str| Printable(text.as_bytes()).to_string();
        let (verdict, stage, words) = match fate {
            Fate::Refused(Refusal {
                stage,
                is_temporary,
                reason,
            }) => {
                let verdict = if *is_temporary { "later" } else { "refuses" };
                (verdict, Some(word(*stage)), printable(&reason.to_string()))
            }
            Fate::Accepted { .. } | Fate::Stopped(_) | Fate::Unknown(_) => {
                ("takes", None, String::new())
            }
        };
        let attempt = &found.attempt;
        let outcome = attempt.result.as_ref().ok();
        Probe {
            exchanger: candidate.exchanger.clone(),
            preference: candidate.preference,
            address: target.address.to_string(),
            verdict,
            stage,
            words,
            greeting: found.greeting.as_deref().map(printable),
            extensions: outcome.map_or(Vec::new(), |outcome| names(&outcome.facts.extensions)),
            tls: attempt.session.as_ref().map(report::Event::tls),
            doubt: attempt.doubt.as_deref().map(printable),
            dane: attempt.dane.as_ref().map(ToString::to_string),
            stages: stages(candidate.dns_time, found),
        }
    }
}

/// In the order in which they come. The handshake lies between two EHLOs.
fn stages(dns_time: Duration, found: &Found) -> Vec<Span> {
    let attempt = &found.attempt;
    let mut spans = vec![
        (Stage::Dns, dns_time),
        (Stage::Connect, attempt.connect_time),
    ];
    let outcome = attempt.result.as_ref().ok();
    let is_tls = outcome.is_some_and(|outcome| outcome.facts.protection == Protection::StartTls);
    for (stage, span) in &found.spans {
        match stage {
            Stage::Ehlo if is_tls => {
                spans.push((*stage, span.saturating_sub(attempt.tls_time)));
                spans.push((Stage::Tls, attempt.tls_time));
            }
            // It was the end.
            Stage::Ehlo => spans.extend([(*stage, *span), (Stage::Tls, attempt.tls_time)]),
            _ => spans.push((*stage, *span)),
        }
    }
    let spans = spans.into_iter().filter(|(_, span)| !span.is_zero());
    let span = |(stage, span)| Span {
        stage: word(stage),
        ms: ms(span),
    };
    spans.map(span).collect()
}

fn names(extensions: &Extensions) -> Vec<String> {
    let Extensions {
        pipelining,
        size,
        size_max,
        eight_bit_mime,
        smtputf8,
        chunking,
        dsn,
        enhanced_status_codes,
        starttls,
        auth,
    } = extensions;
    let flags = [
        (pipelining, "PIPELINING"),
        (eight_bit_mime, "8BITMIME"),
        (smtputf8, "SMTPUTF8"),
        (chunking, "CHUNKING"),
        (dsn, "DSN"),
        (enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        (starttls, "STARTTLS"),
    ];
    let offered = flags.into_iter().filter(|(is_offered, _)| **is_offered);
    let mut names: Vec<String> = offered.map(|(_, name)| name.to_owned()).collect();
    match size_max {
        Some(octets) => names.push(format!("SIZE {octets}")),
        None if *size => names.push("SIZE".to_owned()),
        None => {}
    }
    if !auth.is_empty() {
        let auth = format!("AUTH {}", auth.join(" "));
        names.push(Printable(auth.as_bytes()).to_string());
    }
    names
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.exchanger)?;
        if let Some(preference) = self.preference {
            write!(f, " ({preference})")?;
        }
        write!(f, " at {}: ", self.address)?;
        match (self.verdict, self.stage) {
            ("takes", _) => write!(f, "would take it")?,
            ("later", Some(stage)) => write!(f, "not now ({stage}): {}", self.words)?,
            (_, stage) => write!(f, "no ({}): {}", stage.unwrap_or_default(), self.words)?,
        }
        let total: f64 = self.stages.iter().map(|span| span.ms).sum();
        let mut before = 0.0;
        for Span { stage, ms } in &self.stages {
            let lead = (before / total * BAR_COLUMNS as f64) as usize;
            let us = |ms: f64| (ms * 1e3) as u64;
            let bar = bar(us(*ms).max(1), us(total), BAR_COLUMNS);
            write!(f, "\n  {stage:8} {ms:9.1} ms  {:lead$}{bar}", "")?;
            before += ms;
        }
        if let Some(greeting) = &self.greeting {
            write!(f, "\n  says     {greeting}")?;
        }
        if !self.extensions.is_empty() {
            write!(f, "\n  offers   {}", self.extensions.join(", "))?;
        }
        match &self.tls {
            Some(tls) => write!(f, "\n  TLS      {tls}")?,
            None if self.greeting.is_some() => write!(f, "\n  TLS      none")?,
            None => {}
        }
        let dane = self.dane.iter().filter(|_| self.verdict == "takes");
        for verdict in self.doubt.iter().chain(dane) {
            write!(f, "\n           {verdict}")?;
        }
        Ok(())
    }
}

impl output::Event for Probe {
    fn tone(&self) -> Tone {
        match self.verdict {
            "takes" => Tone::Good,
            "later" => Tone::Caution,
            _ => Tone::Bad,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event::Route {
            address,
            takers,
            probes,
            ms,
        } = self;
        let servers = if *probes == 1 { "server" } else { "servers" };
        write!(
            f,
            "{takers} of {probes} {servers} would take mail for {address}; asked in {ms:.0} ms"
        )
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Route { takers: 0, .. } => Tone::Bad,
            Event::Route { .. } => Tone::Plain,
        }
    }
}
