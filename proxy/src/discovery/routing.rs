//! Which services are routed: how whoever replaces the configuration tells the loop, which alone may change the
//! directory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use registry::contract::Instance;
use tokio::sync::{mpsc, oneshot};

use crate::directory::{Policy, Services};

/// Has services routed, and routed no more, while discovery runs.
#[derive(Debug, Clone)]
pub(crate) struct Routing(mpsc::Sender<Asked>);

/// What the loop is asked. Each answer is sent when readers see what was asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Begin {
        services: Vec<(Arc<str>, Policy)>,
        answer: oneshot::Sender<Services>,
    },
    Settle {
        services: Vec<(Arc<str>, Policy)>,
        gone: Vec<Arc<str>>,
        connect: Duration,
        answer: oneshot::Sender<()>,
    },
}

/// Which services of the snapshot are routed from when it is read, beside those that are already. Routes would adopt them
/// a moment later; but by then the registry's list may have come, and whom it lacks is only held if a route leads there.
pub(crate) struct Adopting(Box<Adopt>);

type Adopt = dyn Fn(&[Instance]) -> Vec<(Arc<str>, Policy)> + Send;

impl Adopting {
    pub(crate) fn new(adopt: impl Fn(&[Instance]) -> Vec<(Arc<str>, Policy)> + Send + 'static) -> Self {
        Self(Box::new(adopt))
    }

    pub(super) fn of(&self, instances: &[Instance]) -> Vec<(Arc<str>, Policy)> {
        (self.0)(instances)
    }
}

/// Nobody.
impl Default for Adopting {
    fn default() -> Self {
        Self::new(|_| Vec::new())
    }
}

impl fmt::Debug for Adopting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopting").finish_non_exhaustive()
    }
}

impl Routing {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asking, asked) = mpsc::channel(1);
        (Self(asking), asked)
    }

    /// Has those of these services routed that are not yet. When they are, and whoever is registered can be sent to,
    /// returns all of them. One that is routed already keeps its policy. None: discovery has ended, and nothing was
    /// changed.
    pub(crate) async fn begin(&self, services: Vec<(Arc<str>, Policy)>) -> Option<Services> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::Begin { services, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Has these services routed by these policies and those that are `gone` routed no more, and returns when that is so.
    /// Requests that hold one of them go on undisturbed. A probe's connect may take `connect` from then on.
    pub(crate) async fn settle(
        &self,
        services: Vec<(Arc<str>, Policy)>,
        gone: Vec<Arc<str>>,
        connect: Duration,
    ) {
        let (answer, answered) = oneshot::channel();
        // An error means that discovery has ended: nothing is routed any more.
        if self.0.send(Asked::Settle { services, gone, connect, answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}

#[cfg(test)]
impl Routing {
    /// Answered by a writer alone, as by the loop that has it.
    pub(crate) fn of(writer: Arc<std::sync::Mutex<crate::directory::Writer>>) -> Self {
        let (routing, mut asked) = Self::new();
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                let mut writer = writer.lock().unwrap();
                match asked {
                    Asked::Begin { services, answer } => {
                        let _ = answer.send(writer.route(services).services);
                    }
                    Asked::Settle { services, gone, answer, .. } => {
                        writer.change_policies(services);
                        writer.unroute(&gone);
                        let _ = answer.send(());
                    }
                }
            }
        });
        routing
    }
}
