//! A complete list when somebody asks for one: the driver decodes all records anew, and sends a reset.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// From the end of a list to the next one that is asked for, at least.
const INTERVAL: Duration = Duration::from_secs(5);
/// And this many times what the list took: whoever can make somebody ask must not keep the registry busy.
const SHARE: u32 = 10;

/// Asks a watch for a complete list. All its clones ask the same one.
#[derive(Debug, Clone, Default)]
pub struct Reread(Arc<Notify>);

impl Reread {
    /// Has the registry listed soon. What was asked before a list began is answered by it, however often it was
    /// asked.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// When a list is due that somebody has asked for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    asked: Reread,
    not_before: Option<Instant>,
}

impl Wish {
    pub fn handle(&self) -> Reread {
        self.asked.clone()
    }

    /// Waits until a list was asked for and may be read. May be dropped while it waits.
    pub async fn due(&self) {
        if let Some(at) = self.not_before {
            sleep_until(at).await;
        }
        self.asked.0.notified().await;
    }

    /// A list begins: it answers whoever has asked.
    pub fn begins(&self) {
        let _ = self.asked.0.notified().now_or_never();
    }

    /// A list that began at this time has ended.
    pub fn ended(&mut self, begun: Instant, now: Instant) {
        self.not_before = Some(now + INTERVAL.max((now - begun) * SHARE));
    }
}
