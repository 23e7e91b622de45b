//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) struct Places {
    max: usize,
    /// 0 is no limit. This machine's own programs may have as many as they like.
    per_client_max: usize,
    taken: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's, until it is dropped; also of one that is only told that there are too many.
pub(crate) struct Place {
    places: Arc<Places>,
    counted: Option<IpAddr>,
    /// How many there were before it.
    pub(crate) before: usize,
    /// It is within both limits.
    pub(crate) fits: bool,
}

impl Places {
    pub(crate) fn new(max: usize, per_client_max: usize) -> Places {
        Places {
            max,
            per_client_max,
            taken: AtomicUsize::new(0),
            clients: Mutex::default(),
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn take(self: &Arc<Self>, client: IpAddr, is_own: bool) -> Place {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let counted = (self.per_client_max > 0 && !is_own).then(|| network(client));
        let of_client = counted.map_or(0, |client| {
            let mut clients = self.clients();
            let count = clients.entry(client).or_default();
            *count += 1;
            *count
        });
        Place {
            places: Arc::clone(self),
            counted,
            before,
            fits: before < self.max && of_client <= self.per_client_max,
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv6 client has a network of addresses to itself.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.counted else { return };
        let mut clients = self.places.clients();
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}
