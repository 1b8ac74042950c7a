//! The embedded registry beside real etcds: what one answers, the other must answer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured or compared is printed")]

mod aetcd;
mod bounds;
mod churn;
mod conformance;
mod differential;
mod etcdctl;
mod follow;
mod go;
mod json;
mod lifetime;
mod metrics;
mod python;
mod raw;
mod refused;
mod strangers;
mod subject;
mod suites;
