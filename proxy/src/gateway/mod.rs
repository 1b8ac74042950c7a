//! The way of a request: door -> route -> admit -> (choose -> attempt)* -> answer -> log.
//!
//! All that a request carries along is in [`Request`].

mod answer;
mod attempt;
mod carry;
mod cause;
mod choose;
mod door;
mod hash_key;
mod hops;
mod log;
mod request;
mod text;
mod trace;

use std::sync::Arc;

use crate::directory::Directory;
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::metrics::{Metrics, ServiceMetrics};
use crate::site;
pub use request::Request;

/// What serves requests.
#[derive(Debug)]
pub struct Gateway {
    site: Arc<site::Current>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    /// Of requests that no route takes.
    unrouted: Arc<ServiceMetrics>,
    lifecycle: Arc<Lifecycle>,
    output: Arc<Output>,
}

impl Gateway {
    /// A gateway that serves by the site as it is, and answers for itself by the directory.
    pub(crate) fn new(
        site: Arc<site::Current>,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        output: Arc<Output>,
    ) -> Self {
        Self { site, directory, unrouted: metrics.service(""), metrics, lifecycle, output }
    }
}
