//! What is known of an endpoint's health, and what bounds the load. Decisions only: the time and chance are
//! passed in, nothing here sleeps, locks or sends.
//!
//! | module | it decides |
//! |---|---|
//! | [`passive`] | what traffic tells: whether an endpoint is ejected, and how it comes back |
//! | [`stall`] | which requests wait at an endpoint that has fallen silent |
//! | [`latency`] | how long an endpoint usually takes to its first byte |
//! | [`budget`] | whether one more retry is allowed |
//! | [`traffic`] | nothing: it holds what the others know of one endpoint |
//! | [`limits`] | whether one more request may be in flight |
//! | [`active`] | what a run of probes tells |

pub mod active;
pub mod budget;
pub mod latency;
pub mod limits;
pub mod passive;
pub mod stall;
pub mod traffic;
