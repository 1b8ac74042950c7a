//! The embedded registry beside real etcds: what one answers, the other must answer.

mod conformance;
mod python;
mod raw;
mod subject;
