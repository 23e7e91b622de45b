//! The network tools. Adding one is a file, a `mod` line and a row here.

mod get;
mod mail;
mod ping;
mod proxy;
mod serve;
mod trace;
mod udpping;
mod upper;

use crate::net;
use crate::tool::{Error, Tool};

pub(crate) const TABLE: &[&Tool] = &[
    &get::TOOL,
    &mail::TOOL,
    &ping::TOOL,
    &proxy::TOOL,
    &serve::TOOL,
    &trace::TOOL,
    &udpping::TOOL,
    &upper::TOOL,
];

impl From<net::Error> for Error {
    fn from(error: net::Error) -> Error {
        let text = error.to_string();
        match error {
            net::Error::Cancelled => Error::Cancelled,
            net::Error::NotPermitted(_) => Error::NotPermitted(text),
            net::Error::TimedOut(_) | net::Error::NoDatagram(_) => Error::TimedOut(text),
            net::Error::NoInterface(_) => Error::Usage(text),
            net::Error::Resolve { .. }
            | net::Error::System { .. }
            | net::Error::Closed(_)
            | net::Error::Tls { .. }
            | net::Error::NotTrusted { .. }
            | net::Error::Refused(_)
            | net::Error::PortUnreachable(_) => Error::Unavailable(text),
        }
    }
}
