//! What measurements add up to: round-trip times, losses, and pictures of them. Pure.

pub(crate) mod chart;
pub(crate) mod direction;
pub(crate) mod figure;
mod line;
pub(crate) mod loss;
pub(crate) mod offset;
pub(crate) mod one_way;
pub(crate) mod rtt;
pub(crate) mod sample;
mod seen;
pub(crate) mod size;
