//! What measurements add up to: round-trip times, losses, and pictures of them. Pure.

pub(crate) mod chart;
pub(crate) mod figure;
pub(crate) mod loss;
pub(crate) mod rtt;
pub(crate) mod size;
