//! What the servers of web pages have in common beside the protocol: how a request is logged,
//! what their own pages look like, and who may have them. Certificates and the count of
//! connections are the same for a server of mail.

pub(crate) mod access;
pub(crate) mod certificate;
pub(crate) mod credentials;
pub(crate) mod page;
pub(crate) mod places;

use std::net::IpAddr;

/// Whether a host name, or an address as the Host field has it, can only mean this machine.
///
/// Behind a name of somebody's own, a page of his in a browser here could read a server that
/// only this machine reaches (DNS rebinding).
pub(crate) fn is_this_machine(host: &[u8]) -> bool {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}
