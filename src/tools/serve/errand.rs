//! What a connection does in a thread of the pool, and how it comes back.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use mio::Waker;
use native_tls::HandshakeError;

use super::answer::Response;
use super::connection::{Connection, Errand};
use super::shared::Shared;
use super::transfer::{Handshake, Transport};

/// Where threads of the pool bring connections back, and how the loop is woken.
pub(super) struct Mailbox {
    returned: Mutex<Vec<Return>>,
    waker: Waker,
}

pub(super) struct Return {
    pub(super) slot: usize,
    pub(super) connection: Box<Connection>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Transferred,
    Worked(Option<Box<Response>>),
    /// The handshake goes on, or is done.
    Shaken,
    Failed,
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Mailbox {
        Mailbox {
            returned: Mutex::default(),
            waker,
        }
    }

    pub(super) fn wake(&self) {
        let _ = self.waker.wake();
    }

    pub(super) fn put(&self, returned: Return) {
        let mut all = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(returned);
        drop(all);
        self.wake();
    }

    pub(super) fn take(&self) -> Vec<Return> {
        std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A panic, which would be our mistake, costs this connection and no thread.
pub(super) fn run(errand: Errand, connection: &mut Connection, shared: &Shared) -> Outcome {
    let work = AssertUnwindSafe(|| run_unguarded(errand, connection, shared));
    panic::catch_unwind(work).unwrap_or(Outcome::Failed)
}

fn run_unguarded(errand: Errand, connection: &mut Connection, shared: &Shared) -> Outcome {
    match errand {
        Errand::Transfer(permit) => {
            let transferred = connection.transfer(&shared.is_cut);
            drop(permit);
            match transferred {
                Ok(()) => Outcome::Transferred,
                Err(_) => Outcome::Failed,
            }
        }
        Errand::Work(work) => Outcome::Worked(work(&shared.site).map(Box::new)),
        Errand::Handshake => shake(connection),
    }
}

/// One step of a TLS handshake, which takes the processor for a while and waits for nobody.
fn shake(connection: &mut Connection) -> Outcome {
    if connection.transport.hears_plain_http() {
        connection.transport.answer_plainly();
        return Outcome::Failed;
    }
    let step = |handshake: Handshake| match handshake {
        Handshake::Begin(stream, acceptor) => acceptor.accept(stream),
        Handshake::Going(handshake) => handshake.handshake(),
    };
    match connection.transport.take_handshake().map(step) {
        Some(Ok(stream)) => {
            connection.transport = Transport::Tls(Box::new(stream));
            Outcome::Shaken
        }
        Some(Err(HandshakeError::WouldBlock(handshake))) => {
            let going = Handshake::Going(handshake);
            connection.transport = Transport::Handshake(Box::new(going));
            Outcome::Shaken
        }
        Some(Err(HandshakeError::Failure(_))) | None => Outcome::Failed,
    }
}
