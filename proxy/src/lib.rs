//! Leaseway: a reverse proxy for services that register themselves in etcd under a lease.
//!
//! ```text
//! main -> server -> gateway    the way of a request
//!           |         balance    whom it goes to
//!           |         health     who works, and how much is too much
//!           |       discovery  the registry's updates -> the directory
//!           |         directory  the current picture
//!           |       admin      what operators ask
//!           |       embedded   a registry in this process
//!           |       lookout    which addresses no instance may have
//!           |       announcement  what a start says of itself
//!           |       run_files  where the upgrade socket is safe
//!           +-> config, logging, metrics, lifecycle, signals, causes
//! ```
//!
//! Arrows run down only; the registry itself is the crate `leaseway-registry`.

pub mod admin;
pub mod balance;
pub mod causes;
pub mod cli;
pub mod config;
pub mod directory;
pub mod discovery;
pub mod gateway;
pub mod health;
pub mod lifecycle;
pub mod logging;
pub mod lookout;
pub mod metrics;
pub mod server;
pub mod site;
pub mod snapshot;
mod tasks;
pub mod traffic;
