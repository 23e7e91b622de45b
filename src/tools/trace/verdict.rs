//! Where the packets went, in one line. Pure.

use std::net::IpAddr;

use super::tracer::{Hop, Reply, is_terminal};
use crate::path::What;
use crate::wire::icmp::Meaning;

/// `last` is the last hop that was to be asked.
pub(super) fn verdict(hops: &[Hop], cycle: Option<(u8, u8)>, last: u8, target: IpAddr) -> String {
    let heard = |hop: &Hop| hop.replies.iter().flatten().next().cloned();
    let terminal = hops.last().and_then(|hop| {
        let mut replies = hop.replies.iter().flatten();
        let last = replies.rfind(|reply| is_terminal(reply))?;
        Some((hop.hop_limit, last.clone()))
    });
    if let Some((hop_limit, reply)) = &terminal {
        return ended(*hop_limit, reply, target);
    }
    if let Some((first, again)) = cycle {
        let routers: Vec<String> = hops
            .iter()
            .filter(|hop| (first..again).contains(&hop.hop_limit))
            .filter_map(|hop| Some(format!("{} (hop {})", heard(hop)?.from, hop.hop_limit)))
            .collect();
        return format!(
            "routing loop: {} send packets round and round",
            routers.join(" and ")
        );
    }
    let farthest = hops
        .iter()
        .rev()
        .find_map(|hop| Some((hop.hop_limit, heard(hop)?)));
    match farthest {
        Some((hop_limit, reply)) if hop_limit == last => {
            format!(
                "stopped at hop {last} ({}), the last that -m allows",
                reply.from
            )
        }
        Some((hop_limit, reply)) => {
            format!("nothing answers after hop {hop_limit} ({})", reply.from)
        }
        None => "nothing answers at all: is the network up, and ICMP let in?".to_owned(),
    }
}

fn ended(hop_limit: u8, reply: &Reply, target: IpAddr) -> String {
    let from = reply.from;
    let hops = match hop_limit {
        1 => "1 hop".to_owned(),
        count => format!("{count} hops"),
    };
    let problem = match reply.what {
        What::Problem(problem) => problem,
        What::Reached => return format!("reached {target} in {hops}"),
        What::Open => return format!("reached {target} in {hops}: its port is open"),
        What::Closed => return format!("reached {target} in {hops}: its port is closed"),
    };
    let router = format!("{from} (hop {hop_limit})");
    match problem.meaning() {
        Meaning::NoRoute => format!("{router} has no route to {target}"),
        Meaning::NoHost => format!("{router} finds nobody with the address {target}"),
        Meaning::Prohibited => format!("{router} forbids it: a filter"),
        Meaning::TooBig { mtu } => format!("{router} passes on {mtu} octets at most; see --mtu"),
        Meaning::PortUnreachable if from == target => format!("reached {target} in {hops}"),
        Meaning::PortUnreachable
        | Meaning::ProtocolUnreachable
        | Meaning::HopLimit
        | Meaning::Other => {
            format!("refused by {router}: {problem}")
        }
    }
}
