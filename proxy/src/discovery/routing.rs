//! Which services are routed: how whoever replaces the configuration tells the loop, which alone may change the
//! directory.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::directory::{Policy, Services};

/// Has services routed, and routed no more, while discovery runs.
#[derive(Debug, Clone)]
pub(crate) struct Routing(mpsc::Sender<Asked>);

/// What the loop is asked. Each answer is sent when readers see what was asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Route { services: Vec<(Arc<str>, Policy)>, answer: oneshot::Sender<Services> },
    Unroute { names: Vec<Arc<str>>, answer: oneshot::Sender<()> },
}

impl Routing {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asking, asked) = mpsc::channel(1);
        (Self(asking), asked)
    }

    /// Has services routed by these policies. When they are, and whoever is registered can be sent to, returns them.
    /// None: discovery has ended, and nothing was changed.
    pub(crate) async fn route(&self, services: Vec<(Arc<str>, Policy)>) -> Option<Services> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::Route { services, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Has services routed no more, and returns when they are not. Requests that hold one of them go on undisturbed.
    pub(crate) async fn unroute(&self, names: Vec<Arc<str>>) {
        let (answer, answered) = oneshot::channel();
        // An error means that discovery has ended: nothing is routed any more.
        if self.0.send(Asked::Unroute { names, answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}
