//! What the loops have in common.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use native_tls::TlsAcceptor;

use super::pool::Pool;
use super::site::{Limits, Site};
use crate::web::places::Places;

pub(super) struct Shared {
    pub(super) site: Arc<Site>,
    pub(super) pool: Pool,
    pub(super) tls: Option<Arc<TlsAcceptor>>,
    pub(super) places: Arc<Places>,
    /// Once it is set there are no new connections, and the ones there are get their last
    /// answer; at this time they end.
    pub(super) ends_at: OnceLock<Instant>,
    /// It has come: nothing more is sent.
    pub(super) is_cut: AtomicBool,
}

impl Shared {
    pub(super) fn new(site: Arc<Site>, tls: Option<Arc<TlsAcceptor>>) -> Shared {
        let Limits {
            connections,
            per_client,
            ..
        } = site.limits;
        Shared {
            places: Arc::new(Places::new(connections, per_client)),
            site,
            pool: Pool::default(),
            tls,
            ends_at: OnceLock::new(),
            is_cut: AtomicBool::new(false),
        }
    }
}
