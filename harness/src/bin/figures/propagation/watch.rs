//! A bare etcd watch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{EventType, WatchOptions, WatchStream};
use harness::etcd::{Etcd, PREFIX};
use tokio::{sync::mpsc, time::timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// When it sees which event.
pub(super) struct BareWatch(mpsc::UnboundedReceiver<(EventType, Instant)>);

impl BareWatch {
    pub(super) async fn open(etcd: &Etcd) -> Result<Self> {
        let mut client = etcd.client().await?;
        let mut watch = client.watch(PREFIX, Some(WatchOptions::new().with_prefix())).await?;
        let created = watch.message().await?.context("the bare watch ended")?;
        ensure!(created.created(), "the bare watch did not open: {created:?}");
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(watch, sender));
        Ok(Self(events))
    }

    /// When it saw its next event.
    pub(super) async fn next(&mut self, expected: EventType) -> Result<Instant> {
        let event = timeout(PATIENCE, self.0.recv()).await.context("the bare watch is silent")?;
        let (kind, at) = event.context("the bare watch ended")?;
        ensure!(kind == expected, "the bare watch showed {kind:?} instead of {expected:?}");
        Ok(at)
    }
}

/// Passes on when each event came. Whoever reads notices the end of the watch as silence.
async fn pass_on(mut watch: WatchStream, events: mpsc::UnboundedSender<(EventType, Instant)>) {
    while let Ok(Some(message)) = watch.message().await {
        let now = Instant::now();
        for event in message.events() {
            let _ = events.send((event.event_type(), now));
        }
    }
}
