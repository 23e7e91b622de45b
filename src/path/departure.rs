//! Where packets leave: the options that all tools have which send single packets.

use std::net::IpAddr;

use crate::net::icmp::Options;
use crate::net::resolve::Family;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Departure {
    /// Interface, or address of this machine, to send from
    #[arg(short = 'I', long, value_name = "INTERFACE|ADDRESS")]
    pub(crate) from: Option<String>,
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl Departure {
    fn source(&self) -> Option<IpAddr> {
        self.from.as_deref()?.parse().ok()
    }

    /// What is asked for, or what the source address has.
    pub(crate) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6, self.source()) {
            (true, ..) | (_, false, Some(IpAddr::V4(_))) => Family::V4,
            (_, true, _) | (_, _, Some(IpAddr::V6(_))) => Family::V6,
            _ => Family::Any,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let source = self.source();
        Options {
            interface: self.from.clone().filter(|_| source.is_none()),
            source,
            ..Options::default()
        }
    }
}
