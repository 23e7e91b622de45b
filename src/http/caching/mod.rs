//! Caching, RFC 9111, as a shared cache does it: what may be stored, for how long it is fresh,
//! which request it answers, what a validation changes, and what is told about it.
//!
//! Decisions only. Nothing here stores, connects or asks the clock: times are handed in.

pub(crate) mod cache_status;
mod date;
pub(crate) mod directives;
mod explain;
pub(crate) mod freshening;
pub(crate) mod freshness;
mod lifetime;
pub(crate) mod storing;
mod structured;
pub(crate) mod vary;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    /// In front of an origin that it speaks for: CDN-Cache-Control (RFC 9213) is meant for it.
    pub(crate) cdn: bool,
}

#[cfg(test)]
fn fields<'a>(lines: &[(&'a str, &'a str)]) -> crate::http::head::Fields<'a> {
    use crate::http::head::{Field, Fields};
    let field = |(name, value): &(&'a str, &'a str)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
    };
    Fields(lines.iter().map(field).collect())
}
