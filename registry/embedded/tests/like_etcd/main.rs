//! The embedded registry beside real etcds: what one answers, the other must answer.

mod aetcd;
mod conformance;
mod differential;
mod etcdctl;
mod python;
mod raw;
mod subject;
