//! What the proxy says itself: its status page, how to set it up, its errors, `/proxy.pac` and
//! `/-/metrics`. All pure: facts go in, text comes out.

pub(crate) mod address;
mod chart;
pub(crate) mod error;
pub(crate) mod metrics;
pub(crate) mod pac;
pub(crate) mod setup;
pub(crate) mod status;
mod tables;

/// For every page here: its style is in it, nothing runs, and its forms lead back to the proxy.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
