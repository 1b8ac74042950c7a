//! What acts on endpoints' health. What is known of an endpoint is in [`traffic`](crate::traffic).
//!
//! | module | what it does |
//! |---|---|
//! | [`service_health`] | takes the outcomes of a service's requests, under its rules |
//! | [`trials`] | knows when an ejected endpoint is to be tried |
//! | [`stall_watch`] | looks at the requests that wait, and breaks off those that wait too long |
//! | [`checks`] | asks endpoints whether they are well |
//! | [`probers`] | connects to one, and expects an answer |
//! | [`active`] | decides what a row of checks tells |
//! | [`rounds`] | asks many, each again and again, and so many at once |
//! | [`findings`] | tells the directory's writer what was found |

mod active;
pub(crate) mod checks;
pub(crate) mod findings;
pub(crate) mod probers;
pub(crate) mod rounds;
pub(crate) mod service_health;
pub(crate) mod stall_watch;
mod trials;

pub(crate) use service_health::ServiceHealth;
