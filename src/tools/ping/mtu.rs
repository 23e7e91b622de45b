//! `--mtu`: the largest packet that the path takes, and which hop sets it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::Arguments;
use super::targets::Target;
use crate::net::icmp::Options;
use crate::net::udp;
use crate::output::{self, Tone};
use crate::path::{self, IPV4_HEADER_OCTETS, IPV6_HEADER_OCTETS, Prober, Protocol};
use crate::tool::{Context, Error, Status};
use crate::wire::icmp::ECHO_HEADER_OCTETS;

/// Farther away no host is looked for.
const HOPS_MAX: u8 = 30;

#[derive(Serialize)]
#[serde(tag = "event", rename = "mtu")]
struct Event {
    host: String,
    address: IpAddr,
    reached: bool,
    /// To the host, or to the last hop that answers.
    mtu: usize,
    /// What `-s` can be.
    payload_octets: usize,
    hops: usize,
    explanation: Option<String>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event {
            host,
            address,
            mtu,
            payload_octets,
            hops,
            ..
        } = self;
        let plural = if *hops == 1 { "" } else { "s" };
        match self.reached {
            true => write!(
                f,
                "path MTU to {host} ({address}) is {mtu} octets: -s {payload_octets}, {hops} hop{plural} away"
            )?,
            false => write!(
                f,
                "{host} ({address}) does not answer; up to the last of {hops} hop{plural} that answer, the path MTU is {mtu} octets"
            )?,
        }
        match &self.explanation {
            Some(explanation) => write!(f, "\n{explanation}"),
            None => Ok(()),
        }
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self.reached {
            true => Tone::Plain,
            false => Tone::Caution,
        }
    }
}

pub(super) fn run(
    context: &Context,
    arguments: &Arguments,
    targets: &[Target],
) -> Result<Status, Error> {
    let mut status = Status::OK;
    for target in targets {
        let Target::Host(host) = target else {
            let text = "--mtu measures paths to single hosts, not to ranges";
            return Err(Error::Usage(text.to_owned()));
        };
        let address = arguments.resolve(context, host)?;
        let event = measure(context, arguments, host, address)?;
        if !event.reached {
            status = Status::NEGATIVE;
        }
        context.out.emit(&event);
    }
    Ok(status)
}

fn measure(
    context: &Context,
    arguments: &Arguments,
    host: &str,
    address: SocketAddr,
) -> Result<Event, Error> {
    let options = Options {
        transmit_stamps: false,
        ..arguments.options()
    };
    let mut prober = Prober::open(Protocol::Icmp, address, &options)?;
    let source = udp::source_towards(address, &options)?;
    let survey = path::mtu::survey(&mut prober, source, HOPS_MAX, &context.cancel)?;
    let header = match address.is_ipv4() {
        true => IPV4_HEADER_OCTETS,
        false => IPV6_HEADER_OCTETS,
    };
    let Some(mtu) = survey.mtu() else {
        let text = format!(
            "{host} ({}) does not answer, nor does any router",
            address.ip()
        );
        return Err(Error::Negative(text));
    };
    Ok(Event {
        host: host.to_owned(),
        address: address.ip(),
        reached: survey.is_reached,
        mtu,
        payload_octets: mtu - header - ECHO_HEADER_OCTETS,
        hops: survey.ways.len(),
        explanation: survey.explanation(),
    })
}
