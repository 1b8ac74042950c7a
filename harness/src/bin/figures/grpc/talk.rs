//! Streams on the connections of the load's calls, which nothing is to touch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use harness::{grpc::Client, quantile::quantile};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::row;

pub(super) const SERVICE: &str = "/test.Echo";
const METHOD: &str = "/test.Echo/Both";
/// From one message of a stream to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// Less than what it takes to see that an instance stands still, and much more than a message does.
const TOUCHED: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(15);

/// One stream on each connection, over which messages go and come back until it is stopped.
pub(super) struct Talk {
    streams: JoinSet<Result<Vec<Message>>>,
    stop: watch::Sender<bool>,
}

struct Message {
    sent: Instant,
    took: Duration,
}

/// The messages of all streams, each of which came back.
pub(super) struct Talked(Vec<Message>);

impl Talk {
    pub(super) fn start(clients: &[Arc<Client>]) -> Self {
        let stop = watch::Sender::new(false);
        let streams = clients.iter().map(|client| talk(Arc::clone(client), stop.subscribe())).collect();
        Self { streams, stop }
    }

    pub(super) async fn stop(self) -> Result<Talked> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        for stream in self.streams.join_all().await {
            all.extend(stream.context("a stream was touched")?);
        }
        Ok(Talked(all))
    }
}

async fn talk(client: Arc<Client>, stop: watch::Receiver<bool>) -> Result<Vec<Message>> {
    let (mut upload, mut download) = client.call(METHOD, &[]).await?;
    let mut messages = Vec::new();
    while !*stop.borrow() {
        let sent = Instant::now();
        upload.send(b"message").await.map_err(|cut| anyhow!("{cut:?}"))?;
        let back = timeout(PATIENCE, download.message()).await.context("no message comes back")??;
        ensure!(back.is_some_and(|message| message.bytes[..] == *b"message"), "it has ended");
        messages.push(Message { sent, took: sent.elapsed() });
        sleep(PAUSE).await;
    }
    upload.finish().map_err(|cut| anyhow!("{cut:?}"))?;
    let outcome = download.outcome().await?;
    ensure!(outcome.status() == Some("0"), "it has ended with {:?}", outcome.status());
    Ok(messages)
}

impl Talked {
    /// Prints how long messages took before something happened, and from then on.
    pub(super) fn show(&self, since: Instant) -> Result<()> {
        let shown = |wanted: fn(&Message, Instant) -> bool| {
            let mut times: Vec<_> = self.0.iter().filter(|m| wanted(m, since)).map(|m| m.took).collect();
            times.sort_unstable();
            let [p99, longest] = [0.99, 1.0].map(|share| quantile(&times, share).unwrap_or_default());
            (times.len(), 1e3 * p99.as_secs_f64(), 1e3 * longest.as_secs_f64())
        };
        for (what, (count, p99, longest)) in [
            ("before it", shown(|message, since| message.sent < since)),
            ("from it on", shown(|message, since| message.sent >= since)),
        ] {
            let times = format!("{count} came back; p99 {p99:.2} ms, longest {longest:.1} ms");
            row(&format!("messages of other streams, {what}"), times);
            ensure!(count > 0, "no message came back: nothing is shown");
            ensure!(longest < 1e3 * TOUCHED.as_secs_f64(), "a message of another stream took {longest} ms");
        }
        Ok(())
    }
}
