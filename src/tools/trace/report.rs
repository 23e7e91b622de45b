//! What trace tells, in traceroute's layout.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::tracer::{Hop, Reply, Silence};
use crate::net::reverse::Names;
use crate::output::{self, Tone};
use crate::path::What;
use crate::wire::extension::Object;
use crate::wire::icmp::{Meaning, Problem};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Start {
        host: String,
        address: IpAddr,
        protocol: &'static str,
        hops_max: u8,
        packet_octets: usize,
    },
    Hop(HopLine),
    End(End),
}

#[derive(Serialize)]
pub(super) struct HopLine {
    pub(super) hop: u8,
    /// In the order of sending, `null` for those that nobody answered.
    pub(super) replies: Vec<Option<ReplyLine>>,
    /// It answers only so many packets, and passes the others on.
    pub(super) rate_limited: bool,
    /// The address that our packets have from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) translated_to: Option<IpAddr>,
    /// The largest packet that gets here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct ReplyLine {
    from: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    rtt_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    /// What the router adds about itself (RFC 4950, RFC 5837).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct End {
    pub(super) reached: bool,
    /// Whether the TCP port that was tried accepts connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port_open: Option<bool>,
    pub(super) hops: usize,
    pub(super) packets_sent: usize,
    pub(super) packets_lost: usize,
    /// By routers that never answer, or only now and then.
    pub(super) packets_ignored: usize,
    /// Sent before it was known where the path ends.
    pub(super) packets_beyond: usize,
    pub(super) verdict: String,
    /// The largest packet that gets to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bottleneck: Option<String>,
}

impl HopLine {
    /// `before` is the translated address that was told last.
    pub(super) fn of(hop: &Hop, names: Option<&Names>, before: Option<IpAddr>) -> HopLine {
        let mut replies: Vec<Option<ReplyLine>> = hop
            .replies
            .iter()
            .map(|reply| reply.as_ref().map(|reply| ReplyLine::of(reply, names)))
            .collect();
        if hop.silence == Silence::Limited {
            // What it does not care to answer is no loss.
            replies.retain(Option::is_some);
        }
        let mut heard = hop.replies.iter().flatten();
        let translated = heard.find_map(|reply| reply.translated);
        HopLine {
            hop: hop.hop_limit,
            replies,
            rate_limited: hop.silence == Silence::Limited,
            translated_to: translated.filter(|address| Some(*address) != before),
            mtu: None,
        }
    }
}

impl ReplyLine {
    fn of(reply: &Reply, names: Option<&Names>) -> ReplyLine {
        ReplyLine {
            from: reply.from,
            name: names.and_then(|names| names.of(reply.from)),
            rtt_ms: (reply.rtt.as_secs_f64() * 1e9).round() / 1e6,
            ttl: reply.hop_limit,
            note: match reply.what {
                What::Reached | What::Open | What::Closed => String::new(),
                What::Problem(problem) => annotation(&problem),
            },
            extensions: reply.objects.iter().map(told).collect(),
        }
    }

    fn address(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.from),
            None => self.from.to_string(),
        }
    }
}

/// As traceroute writes it.
fn told(object: &Object) -> String {
    match object {
        Object::LabelStack(labels) => {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            format!("<MPLS:{}>", labels.join("/"))
        }
        Object::Interface(interface) => format!("<{interface}>"),
        Object::Other { class, kind } => format!("<{class}/{kind}>"),
    }
}

/// traceroute's letters for what is not the ordinary answer of a router.
fn annotation(problem: &Problem) -> String {
    match problem.meaning() {
        Meaning::HopLimit | Meaning::PortUnreachable => String::new(),
        Meaning::NoRoute => "!N".to_owned(),
        Meaning::NoHost => "!H".to_owned(),
        Meaning::ProtocolUnreachable => "!P".to_owned(),
        Meaning::Prohibited => "!X".to_owned(),
        Meaning::TooBig { mtu } => format!("!F-{mtu}"),
        Meaning::Other => match (problem.kind, problem.code) {
            (3, 5) => "!S".to_owned(),
            (3, 14) => "!V".to_owned(),
            (3, 15) => "!C".to_owned(),
            (3, code) => format!("!{code}"),
            (kind, code) => format!("!<{kind}-{code}>"),
        },
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                host,
                address,
                protocol,
                hops_max,
                packet_octets,
            } => write!(
                f,
                "traceroute to {host} ({address}), {hops_max} hops max, \
                 {packet_octets} byte packets, {protocol}"
            ),
            Event::Hop(line) => line.fmt(f),
            Event::End(end) => end.fmt(f),
        }
    }
}

impl fmt::Display for HopLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:2} ", self.hop)?;
        let mut last = None;
        for reply in &self.replies {
            let Some(reply) = reply else {
                f.write_str(" *")?;
                continue;
            };
            if last != Some(reply.from) {
                last = Some(reply.from);
                write!(f, " {}", reply.address())?;
                for extension in &reply.extensions {
                    write!(f, " {extension}")?;
                }
            }
            write!(f, "  {:.3} ms", reply.rtt_ms)?;
            if !reply.note.is_empty() {
                write!(f, " {}", reply.note)?;
            }
        }
        if let Some(mtu) = self.mtu {
            write!(f, " F={mtu}")?;
        }
        if let Some(address) = self.translated_to {
            write!(f, "  [NAT: our packets come from {address} here]")?;
        }
        if self.rate_limited {
            f.write_str("  [limits its answers]")?;
        }
        Ok(())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict)?;
        if let Some(mtu) = self.mtu {
            write!(f, "\npath MTU {mtu}")?;
        }
        if let Some(bottleneck) = &self.bottleneck {
            write!(f, ": {bottleneck}")?;
        }
        write!(f, "\n{} packets sent", self.packets_sent)?;
        write!(f, ", {} lost", self.packets_lost)?;
        let others = [
            (
                self.packets_ignored,
                "ignored by routers that limit or refuse answers",
            ),
            (self.packets_beyond, "sent beyond the end"),
        ];
        for (count, what) in others {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl output::Event for Event {
    fn tone(&self) -> Tone {
        match self {
            Event::Start { .. } => Tone::Plain,
            Event::Hop(line) if line.replies.iter().all(Option::is_none) => Tone::Caution,
            Event::Hop(_) => Tone::Plain,
            Event::End(end) if end.reached => Tone::Good,
            Event::End(_) => Tone::Bad,
        }
    }
}
