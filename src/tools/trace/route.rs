//! A trace from the first packet to the last answer.

use std::net::IpAddr;
use std::time::Duration;

use super::report::{End, HopLine};
use super::tracer::{Hop, Silence, Step, Tracer};
use super::verdict;
use crate::net::reverse::Names;
use crate::path::mtu::Survey;
use crate::path::{Probe, Prober, What};
use crate::tool::{Context, Error};
use crate::{cause, clock};

/// How long the last names of routers are waited for.
pub(super) const NAMES_PATIENCE: Duration = Duration::from_millis(400);

/// What a trace works with.
pub(super) struct Route<'a> {
    pub(super) context: &'a Context,
    pub(super) prober: Prober,
    pub(super) octets: usize,
    pub(super) tracer: Tracer,
    pub(super) names: Option<Names>,
}

impl Route<'_> {
    /// Until all is known, or the job is stopped.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let cannot_receive =
            |error| Error::Unavailable(format!("cannot receive: {}", cause::of(&error)));
        loop {
            for answer in self.prober.receive().map_err(cannot_receive)? {
                if let Some(names) = &self.names {
                    names.ask(answer.from);
                }
                self.tracer.on_answer(answer);
            }
            match self.tracer.poll(clock::now()) {
                Step::Done => return Ok(()),
                Step::Send { key, hop_limit } => {
                    let probe = Probe {
                        key,
                        hop_limit,
                        flow: 0,
                        octets: self.octets,
                    };
                    let at = self.prober.send(probe).map_err(|error| {
                        Error::Unavailable(format!("cannot send: {}", cause::of(&error)))
                    })?;
                    self.tracer.on_sent(hop_limit, at);
                }
                Step::WaitUntil(until) => {
                    let interest = self.prober.interest();
                    let fds = self.prober.fds();
                    let cancel = &self.context.cancel;
                    cancel.wait_any(&fds, interest, Some(until))?;
                }
            }
            if self.context.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }

    pub(super) fn wait_for_names(&self) -> Result<(), Error> {
        let deadline = clock::now() + NAMES_PATIENCE;
        if let Some(names) = &self.names {
            names.wait(&self.context.cancel, deadline)?;
        }
        Ok(())
    }

    pub(super) fn end(&self, hops: &[Hop], target: IpAddr) -> End {
        let of = |wanted: &[Silence]| {
            let hops = hops.iter().filter(|hop| wanted.contains(&hop.silence));
            hops.map(|hop| hop.unanswered).sum()
        };
        let replies = hops.iter().flat_map(|hop| hop.replies.iter().flatten());
        let answer = replies
            .map(|reply| reply.what)
            .find(|what| what.is_reached());
        End {
            reached: answer.is_some(),
            port_open: match answer {
                Some(What::Open) => Some(true),
                Some(What::Closed) => Some(false),
                _ => None,
            },
            hops: hops.len(),
            packets_sent: self.tracer.sent(),
            packets_lost: of(&[Silence::Lost]),
            packets_beyond: self
                .tracer
                .sent_beyond(hops.last().map_or(0, |hop| hop.hop_limit)),
            packets_ignored: of(&[Silence::Limited, Silence::Whole]),
            verdict: verdict::verdict(hops, self.tracer.cycle(), self.tracer.last(), target),
            mtu: None,
            bottleneck: None,
        }
    }
}

/// The hops as they are told.
pub(super) fn lines(hops: &[Hop], names: Option<&Names>, survey: Option<&Survey>) -> Vec<HopLine> {
    let mut translated = None;
    hops.iter()
        .map(|hop| {
            let mut line = HopLine::of(hop, names, translated);
            translated = line.translated_to.or(translated);
            let mut ways = survey.into_iter().flat_map(|survey| &survey.ways);
            let way = ways.find(|way| way.hop_limit == hop.hop_limit);
            line.mtu = way.map(|way| way.mtu);
            line
        })
        .collect()
}
