//! Addresses to names, beside the work: nobody waits for an answer that may never come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::poll::PollFlags;

use crate::cancel::{Bell, Cancel, Cancelled, Wake};

/// Questions that are on their way at once; more are not asked.
const ASKED_MAX: usize = 64;

/// Each question has a thread, which is left behind when the job ends before the resolver does.
pub(crate) struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// `None` as long as nobody answered, and for what has no name.
    names: HashMap<IpAddr, Option<String>>,
    waiting: usize,
}

impl Names {
    pub(crate) fn new() -> std::io::Result<Names> {
        Ok(Names {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                bell: Bell::new()?,
            }),
        })
    }

    /// Starts to ask for the name of an address, once.
    pub(crate) fn ask(&self, address: IpAddr) {
        let mut state = self.shared.state();
        if state.waiting >= ASKED_MAX || state.names.contains_key(&address) {
            return;
        }
        state.names.insert(address, None);
        let shared = Arc::clone(&self.shared);
        let lookup = move || {
            let name = dns_lookup::lookup_addr(&address).ok();
            let mut state = shared.state();
            // Without a name the system answers with the address.
            let name = name.filter(|name| name.parse::<IpAddr>().is_err());
            state.names.insert(address, name);
            state.waiting -= 1;
            drop(state);
            shared.bell.ring();
        };
        let started = thread::Builder::new()
            .name("reverse".to_owned())
            .spawn(lookup);
        state.waiting += usize::from(started.is_ok());
    }

    /// The name, if it is known by now.
    pub(crate) fn of(&self, address: IpAddr) -> Option<String> {
        self.shared.state().names.get(&address).cloned().flatten()
    }

    /// Until all are known, or the deadline has passed.
    pub(crate) fn wait(&self, cancel: &Cancel, deadline: Instant) -> Result<(), Cancelled> {
        loop {
            self.shared.bell.clear();
            if self.shared.state().waiting == 0 {
                return Ok(());
            }
            let fd = self.shared.bell.as_fd();
            if cancel.wait(fd, PollFlags::POLLIN, Some(deadline))? == Wake::TimedOut {
                return Ok(());
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
