//! The gateway's own end, its replacement, and that of its configuration.

pub(crate) mod reloaded;
pub(crate) mod terminated;
pub(crate) mod upgraded;
