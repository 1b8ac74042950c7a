//! The gateway's own end, and its replacement.

pub(crate) mod terminated;
pub(crate) mod upgraded;
