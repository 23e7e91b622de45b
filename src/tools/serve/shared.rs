//! What the loops have in common.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use mio::net::TcpStream;
use native_tls::TlsAcceptor;

use super::pool::Pool;
use super::site::Site;

pub(super) struct Shared {
    pub(super) site: Arc<Site>,
    pub(super) pool: Pool,
    pub(super) tls: Option<Arc<TlsAcceptor>>,
    pub(super) open: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
    /// Once it is set there are no new connections, and the ones there are get their last
    /// answer; at this time they end.
    pub(super) ends_at: OnceLock<Instant>,
    /// It has come: nothing more is sent.
    pub(super) is_cut: AtomicBool,
}

impl Shared {
    pub(super) fn new(site: Arc<Site>, tls: Option<Arc<TlsAcceptor>>) -> Shared {
        Shared {
            site,
            pool: Pool::default(),
            tls,
            open: AtomicUsize::new(0),
            clients: Mutex::default(),
            ends_at: OnceLock::new(),
            is_cut: AtomicBool::new(false),
        }
    }

    /// This machine's own programs may have as many as they like.
    pub(super) fn is_counted(&self, stream: &TcpStream, client: IpAddr) -> bool {
        let is_own = || stream.local_addr().is_ok_and(|own| own.ip() == client);
        self.site.limits.per_client > 0 && !client.to_canonical().is_loopback() && !is_own()
    }

    /// Whether this client may have one more; it is counted in any case.
    pub(super) fn count_client(&self, client: IpAddr) -> bool {
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        *count += 1;
        *count <= self.site.limits.per_client
    }

    pub(super) fn forget_client(&self, client: IpAddr) {
        let mut clients = self.clients();
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
