//! What health tells the directory's writer of an endpoint.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::directory::{Endpoint, Finding};

/// What was found of an endpoint. One that is gone by now is nobody's concern.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) finding: Finding,
}

/// Sends what was found. Nobody waits: an endpoint has at most a few findings a second, whatever the traffic.
#[derive(Debug, Clone)]
pub(crate) struct Findings(mpsc::UnboundedSender<Found>);

pub(crate) fn channel() -> (Findings, mpsc::UnboundedReceiver<Found>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Findings(sender), receiver)
}

impl Findings {
    /// Tells what was found. To nobody, if the process is ending.
    pub(crate) fn tell(&self, endpoint: &Arc<Endpoint>, finding: Finding) {
        let _ = self.0.send(Found { endpoint: endpoint.clone(), finding });
    }
}
