//! The servers to ask: every address of every exchanger, as DNS has them.

use std::time::Duration;

use super::super::destination::Destination;
use super::super::dialogue::outcome::Refusal;
use super::super::direct::directory::{Directory, Host};
use super::super::direct::event::Event;
use super::super::exchangers::{self, Exchanger, Exchangers};
use super::super::side_by_side::side_by_side;
use super::PROBES_MAX;
use crate::cancel::Cancelled;
use crate::clock;
use crate::tool::{Context, Error};
use crate::wire::dns::name::Name;

pub(super) struct Candidate {
    pub(super) exchanger: String,
    /// Address literals have none.
    pub(super) preference: Option<u16>,
    pub(super) dns_time: Duration,
    pub(super) host: Host,
}

pub(super) struct Candidates {
    /// Not empty.
    pub(super) list: Vec<Candidate>,
    /// Of exchangers without an address.
    pub(super) refusals: Vec<Refusal>,
}

/// With the time it took.
type Lookup = (Result<Result<Host, exchangers::Error>, Cancelled>, Duration);

impl Candidates {
    /// And tells what there is. `shown` is the domain as it was written.
    pub(super) fn look_up(
        context: &Context,
        directory: &Directory,
        destination: &Destination,
        shown: &str,
    ) -> Result<Result<Candidates, exchangers::Error>, Error> {
        let domain = match destination {
            Destination::Domain(domain) => domain,
            Destination::AddressLiteral(address) => {
                let candidate = Candidate {
                    exchanger: address.to_string(),
                    preference: None,
                    dns_time: Duration::ZERO,
                    host: directory.literal(*address),
                };
                return Ok(Ok(Candidates {
                    list: vec![candidate],
                    refusals: Vec::new(),
                }));
            }
        };
        let started = clock::now();
        let plan = match directory.exchangers(domain)? {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error)),
        };
        let mx_time = clock::now() - started;
        context.out.emit(&Event::exchangers(shown, &plan));
        if plan.left_out > 0 {
            let text = format!("{} more exchangers are not asked", plan.left_out);
            context.out.emit(&Event::noted(shown, &text));
        }
        let candidates = Candidates::of(context, domain, shown, &plan, |exchanger| {
            let started = clock::now();
            let host = directory.host(domain, &plan, exchanger);
            (host, mx_time + (clock::now() - started))
        })?;
        Ok(candidates)
    }

    fn of(
        context: &Context,
        domain: &Name,
        shown: &str,
        plan: &Exchangers,
        look_up: impl Fn(&Exchanger) -> Lookup + Sync,
    ) -> Result<Result<Candidates, exchangers::Error>, Cancelled> {
        let together = plan.list.chunks(PROBES_MAX);
        let lookups = together.flat_map(|exchangers| side_by_side(exchangers, &look_up));
        let (mut list, mut refusals, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (exchanger, (host, dns_time)) in plan.list.iter().zip(lookups) {
            let name = exchanger.name.to_string();
            match host? {
                Ok(host) => {
                    let left_out = host.left_out;
                    let text = format!("{left_out} more addresses of {name} are not asked");
                    let limit = (left_out > 0).then_some(&text);
                    for text in limit.into_iter().chain(&host.note) {
                        context.out.emit(&Event::noted(shown, text));
                    }
                    list.push(Candidate {
                        exchanger: name,
                        preference: Some(exchanger.preference),
                        dns_time,
                        host,
                    });
                }
                Err(error) => {
                    let refusal = Refusal::nowhere(error.clone());
                    context
                        .out
                        .emit(&Event::passed(&name, None, None, &refusal));
                    refusals.push(refusal);
                    errors.push(error);
                }
            }
        }
        Ok(match list.is_empty() {
            true => Err(exchangers::Error::of_all(domain, errors)),
            false => Ok(Candidates { list, refusals }),
        })
    }
}
