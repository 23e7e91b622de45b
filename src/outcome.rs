//! How a command ends: with a status, or with an error that fixes one.

use crate::cancel::Cancelled;

/// An exit status, as `$?` and the process show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u8);

impl Status {
    pub(crate) const OK: Status = Status(0);
    /// A negative result: no reply, an expectation failed.
    pub(crate) const NEGATIVE: Status = Status(1);
    pub(crate) const USAGE: Status = Status(2);
    pub(crate) const UNAVAILABLE: Status = Status(69);
    pub(crate) const INTERNAL: Status = Status(70);
    pub(crate) const NOT_PERMITTED: Status = Status(77);
    pub(crate) const TIMED_OUT: Status = Status(124);
    pub(crate) const UNKNOWN_COMMAND: Status = Status(127);
    pub(crate) const INTERRUPTED: Status = Status(130);

    pub(crate) fn is_ok(self) -> bool {
        self == Status::OK
    }

    /// 128 + the signal's number, as shells have it.
    pub(crate) fn of_signal(signal: i32) -> Status {
        Status(u8::try_from(128 + signal).unwrap_or(u8::MAX))
    }
}

/// Why a command ended without a result. The variant fixes the exit status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped")]
    Cancelled,
    #[error("{0}")]
    Negative(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    NotPermitted(String),
    #[error("{0}")]
    TimedOut(String),
}

impl Error {
    pub(crate) fn status(&self) -> Status {
        match self {
            Error::Cancelled => Status::INTERRUPTED,
            Error::Negative(_) => Status::NEGATIVE,
            Error::Usage(_) => Status::USAGE,
            Error::Unavailable(_) => Status::UNAVAILABLE,
            Error::NotPermitted(_) => Status::NOT_PERMITTED,
            Error::TimedOut(_) => Status::TIMED_OUT,
        }
    }
}

impl From<Cancelled> for Error {
    fn from(Cancelled: Cancelled) -> Error {
        Error::Cancelled
    }
}
