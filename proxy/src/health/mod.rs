//! What is known of an endpoint's health, and what bounds the load.
//!
//! First the decisions. They are pure: the time and chance are passed in, nothing sleeps, locks or sends.
//!
//! | module | it decides |
//! |---|---|
//! | [`passive`] | what traffic tells: whether an endpoint is ejected, and how it comes back |
//! | [`stall`] | which requests wait at an endpoint that has fallen silent |
//! | [`latency`] | how long an endpoint takes to its first byte, usually and at its worst of late |
//! | [`budget`] | whether one more retry is allowed |
//! | [`traffic`] | nothing: it holds what the others know of one endpoint |
//! | [`limits`] | whether one more request may be in flight |
//! | [`active`] | what a run of probes tells |
//!
//! Then what puts them to use:
//!
//! | module | what it does |
//! |---|---|
//! | [`service`] | takes the outcomes of a service's requests, under its rules |
//! | [`trials`] | knows when an ejected endpoint is to be tried |
//! | [`waiting`] | holds the requests that wait at an endpoint, and breaks them off |
//! | [`watch`] | looks at them |
//! | [`checks`] | asks endpoints whether they are well |
//! | [`verdict`] | tells the directory's writer what was found |

pub mod active;
pub mod budget;
pub mod checks;
pub mod latency;
pub mod limits;
pub mod passive;
pub mod service;
pub mod stall;
pub mod traffic;
pub mod trials;
pub mod verdict;
pub mod waiting;
pub mod watch;

#[cfg(test)]
mod tests;
