//! Formats as they are on the wire: octets to values and back. No sockets, clock or threads.

pub(crate) mod certificate;
pub mod checksum;
mod der;
pub(crate) mod dns;
pub mod extension;
pub(crate) mod heartbeat;
pub mod icmp;
pub mod ip;
pub(crate) mod mac;
pub(crate) mod ping_pong;
mod reader;
pub(crate) mod smtp;
pub(crate) mod socks5;
pub(crate) mod stamp;
pub mod tcp;
pub(crate) mod timestamp;
pub mod udp;

/// What is wrong with octets from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("truncated")]
    Truncated,
    #[error("wrong checksum")]
    Checksum,
    #[error("not this protocol or version")]
    Version,
}
