//! A capped number of threads for what would hold up a loop: large bodies, listings,
//! compression, TLS handshakes. Threads begin when there is work, and end when there was none
//! for a while.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const THREADS_MAX: usize = 32;
/// The other threads are for what is over soon.
const TRANSFERS_MAX: usize = 24;
/// Work that waits for a thread; a connection with still more is closed.
const WAITING_MAX: usize = 1024;
const IDLE_FOR: Duration = Duration::from_secs(5);

pub(super) type Task = Box<dyn FnOnce() + Send>;

#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    transfers: AtomicUsize,
}

/// One of the threads that may be held up by a client.
pub(super) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    threads: usize,
    idle: usize,
}

impl Pool {
    /// For a transfer, if there are not too many already.
    pub(super) fn permit(&self) -> Option<Permit> {
        let before = self.0.transfers.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.0));
        (before < TRANSFERS_MAX).then_some(permit)
    }

    /// Runs it soon; gives it back where too much waits already.
    pub(super) fn run(&self, task: Task) -> Result<(), Task> {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            return Err(task);
        }
        state.waiting.push_back(task);
        if state.waiting.len() <= state.idle {
            self.0.work.notify_one();
        } else if state.threads < THREADS_MAX {
            let pool = self.clone();
            let thread = thread::Builder::new().name("serve-pool".to_owned());
            match thread.spawn(move || pool.work()) {
                Ok(_) => state.threads += 1,
                // Another thread comes to it later.
                Err(_) if state.threads > 0 => {}
                Err(_) => return state.waiting.pop_back().map_or(Ok(()), Err),
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(task) = state.waiting.pop_front() {
                drop(state);
                task();
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.0.work.wait_timeout(state, IDLE_FOR);
            let (woken, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if result.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
