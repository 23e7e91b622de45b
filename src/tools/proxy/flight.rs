//! Responses that are being fetched for a crowd: the first who asks fetches, and the others take
//! what he has so far from the file that he writes.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Stored;
use super::store::Meta;
use crate::cancel::Cancel;
use crate::clock;
use crate::http::caching::freshness::Terms;

/// Whoever waits looks so often whether the proxy is stopped.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Arc<Flight>>>);

pub(super) struct Flight {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    stage: Stage,
    passengers: usize,
}

#[derive(Clone)]
pub(super) enum Stage {
    /// The origin has not answered yet.
    Asking,
    Arriving(Arc<Arriving>, u64),
    /// All of it is stored.
    Landed(Arc<Stored>),
    /// All of it is in the file, so many octets, and it is not going to be stored.
    Complete(u64),
    /// There is nothing to share, or no more of it.
    GivenUp,
}

/// A response whose body is being written to a file.
pub(super) struct Arriving {
    pub(super) meta: Meta,
    pub(super) terms: Terms,
    pub(super) file: Arc<File>,
    pub(super) announced: Option<u64>,
}

pub(super) enum Role<'f> {
    Pilot(Pilot<'f>),
    Passenger(Passenger),
}

/// Who fetches. When he is gone without having landed, the others look after themselves.
pub(super) struct Pilot<'f> {
    flights: &'f Flights,
    url: String,
    flight: Arc<Flight>,
}

pub(super) struct Passenger(Arc<Flight>);

impl Flights {
    pub(super) fn join(&self, url: &str) -> Role<'_> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(url) {
            flight.state().passengers += 1;
            return Role::Passenger(Passenger(Arc::clone(flight)));
        }
        let flight = Arc::new(Flight {
            state: Mutex::new(State {
                stage: Stage::Asking,
                passengers: 0,
            }),
            changed: Condvar::new(),
        });
        flights.insert(url.to_owned(), Arc::clone(&flight));
        Role::Pilot(Pilot {
            flights: self,
            url: url.to_owned(),
            flight,
        })
    }
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        let mut state = self.state();
        state.stage = stage;
        if state.passengers > 0 {
            self.changed.notify_all();
        }
    }
}

impl Pilot<'_> {
    pub(super) fn has_passengers(&self) -> bool {
        self.flight.state().passengers > 0
    }

    pub(super) fn begin(&self, arriving: Arriving) {
        self.flight.set(Stage::Arriving(Arc::new(arriving), 0));
    }

    /// So many octets of the body are in the file.
    pub(super) fn advance(&self, octets: u64) {
        let mut state = self.flight.state();
        if let Stage::Arriving(_, written) = &mut state.stage {
            *written = octets;
        }
        if state.passengers > 0 {
            self.flight.changed.notify_all();
        }
    }

    pub(super) fn land(self, entry: Arc<Stored>) {
        self.flight.set(Stage::Landed(entry));
    }

    /// The same without a place in the store.
    pub(super) fn complete(self, octets: u64) {
        self.flight.set(Stage::Complete(octets));
    }
}

impl Drop for Pilot<'_> {
    fn drop(&mut self) {
        let mut flights = self
            .flights
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.url);
        drop(flights);
        let stage = self.flight.state().stage.clone();
        if !matches!(stage, Stage::Landed(_) | Stage::Complete(_)) {
            self.flight.set(Stage::GivenUp);
        }
    }
}

impl Passenger {
    /// What there is once `is_enough` of it.
    pub(super) fn wait(
        &self,
        is_enough: impl Fn(&Stage) -> bool,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Stage {
        let mut state = self.0.state();
        loop {
            if is_enough(&state.stage) {
                return state.stage.clone();
            }
            if clock::now() >= deadline || cancel.is_cancelled() {
                return Stage::GivenUp;
            }
            let waited = self.0.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        self.0.state().passengers -= 1;
    }
}
