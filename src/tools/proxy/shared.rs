//! What all threads of a proxy use.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::access_list::{Clients, Denied};
use super::cache::Cache;
use super::destination::PortRange;
use super::faults::Faults;
use super::lobby::Lobby;
use super::rewrite::{Forwarded, Pseudonym};
use super::tally::Tally;
use super::target::Site;
use super::tunnel::Tunnel;
use super::upstream::Upstream;
use crate::cancel::Cancel;
use crate::clock;
use crate::net;
use crate::web::credentials::Credentials;
use crate::web::places::Places;

pub(super) struct Shared {
    pub(super) address: SocketAddr,
    /// All of them that lead here.
    pub(super) own_addresses: Vec<IpAddr>,
    pub(super) lobby: Lobby,
    pub(super) places: Arc<Places>,
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    pub(super) upstream: Upstream,
    pub(super) cache: Option<Cache>,
    pub(super) tally: Arc<Tally>,
    pub(super) pseudonym: Pseudonym,
    /// No further requests: what is under way may end.
    is_closing: AtomicBool,
    /// Everything ends now.
    pub(super) cut: Cancel,
}

pub(super) struct Limits {
    pub(super) head_octets: usize,
    pub(super) head_time: Duration,
    pub(super) idle_time: Duration,
    pub(super) connect_time: Duration,
    pub(super) answer_time: Duration,
    pub(super) stall: Duration,
    pub(super) threads: usize,
}

/// Who may go where.
pub(super) struct Rules {
    pub(super) clients: Option<Clients>,
    pub(super) credentials: Option<Credentials>,
    pub(super) denied: Denied,
    pub(super) connect_ports: Vec<PortRange>,
    pub(super) allow_private: bool,
    pub(super) is_bound_to_loopback: bool,
    pub(super) forwarded: Option<Forwarded>,
    pub(super) faults: Faults,
    pub(super) reverse: Option<Site>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub(super) fn new(
        address: SocketAddr,
        lobby: Lobby,
        places: Places,
        limits: Limits,
        rules: Rules,
        upstream: Upstream,
        cache: Option<Cache>,
        tally: Tally,
    ) -> std::io::Result<Shared> {
        Ok(Shared {
            address,
            own_addresses: net::reachable_at(address.ip()),
            lobby,
            places: Arc::new(places),
            limits,
            rules,
            upstream,
            cache,
            tally: Arc::new(tally),
            pseudonym: Pseudonym(format!("nsh-{:08x}", net::random() as u32)),
            is_closing: AtomicBool::new(false),
            cut: Cancel::new()?,
        })
    }

    /// The tunnels that must go on until they are done.
    pub(super) fn close(&self) -> Vec<Tunnel> {
        self.is_closing.store(true, Ordering::SeqCst);
        self.lobby.close(clock::now())
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Whether connecting there would lead back here.
    pub(super) fn is_self(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() == self.address.port()
            && (self.own_addresses.contains(&ip)
                || self.address.ip().is_unspecified() && ip.is_loopback())
    }
}
