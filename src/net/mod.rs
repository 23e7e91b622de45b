//! Octets in and out: the system calls.

pub(crate) mod icmp;
pub(crate) mod resolve;

use std::io;

use crate::cancel::Cancelled;
use crate::cause;

/// What was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped")]
    Cancelled,
    /// With the command that would permit it.
    #[error("{0}")]
    NotPermitted(String),
    #[error("cannot resolve '{host}': {why}")]
    Resolve { host: String, why: String },
    #[error("{what}: {}", cause::of(.error))]
    System { what: String, error: io::Error },
}

impl From<Cancelled> for Error {
    fn from(Cancelled: Cancelled) -> Error {
        Error::Cancelled
    }
}

/// A number nobody else can guess, from std's seed for hash maps.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
