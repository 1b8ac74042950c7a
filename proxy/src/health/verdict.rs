//! What health tells the directory's writer of an endpoint.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::directory::{Endpoint, Finding};

/// What was found of an endpoint. One that is gone by now is nobody's concern.
#[derive(Debug)]
pub struct Verdict {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// What was found.
    pub finding: Finding,
}

/// Sends verdicts. Nobody waits: an endpoint has at most a few a second, whatever the traffic.
#[derive(Debug, Clone)]
pub struct Verdicts(mpsc::UnboundedSender<Verdict>);

/// Where verdicts go, and where they come out: in the order in which they were sent.
pub fn channel() -> (Verdicts, mpsc::UnboundedReceiver<Verdict>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Verdicts(sender), receiver)
}

impl Verdicts {
    /// Tells what was found. To nobody, if the process is ending.
    pub fn tell(&self, endpoint: &Arc<Endpoint>, finding: Finding) {
        let _ = self.0.send(Verdict { endpoint: endpoint.clone(), finding });
    }
}
