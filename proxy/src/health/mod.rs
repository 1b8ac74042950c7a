//! What acts on endpoints' health. What is known of an endpoint is in [`traffic`](crate::traffic).
//!
//! | module | what it does |
//! |---|---|
//! | [`service`] | takes the outcomes of a service's requests, under its rules |
//! | [`trials`] | knows when an ejected endpoint is to be tried |
//! | [`watch`] | looks at the requests that wait, and breaks off those that wait too long |
//! | [`checks`] | asks endpoints whether they are well |
//! | [`active`] | decides what a run of checks tells |
//! | [`verdict`] | tells the directory's writer what was found |

pub mod active;
pub mod checks;
pub mod service;
pub mod trials;
pub mod verdict;
pub mod watch;
