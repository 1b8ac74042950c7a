//! An instance of raw bytes: it reads strictly, and answers what no well-behaved one would.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle, time::timeout};

use super::{BrokenOff, Message, Wire};

/// An instance whose every connection is served by a function of the test's. Dropping it closes its port.
#[derive(Debug)]
pub struct Instance {
    address: SocketAddr,
    seen: Arc<Seen>,
    server: AbortHandle,
}

/// What reached an instance.
#[derive(Debug, Default)]
struct Seen {
    connections: watch::Sender<usize>,
    requests: watch::Sender<Vec<Message>>,
    failures: Mutex<Vec<String>>,
}

impl Instance {
    /// Does this with each connection. Its errors are the instance's [`Instance::failures`].
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start<F>(serve: impl Fn(Wire) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::start_seeing(Arc::default(), serve).await
    }

    /// Keeps every request that comes, and answers each with what this makes of it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn recording(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Result<Self> {
        let (seen, answer) = (Arc::<Seen>::default(), Arc::new(answer));
        let requests = Arc::clone(&seen);
        let serve = move |mut wire: Wire| {
            let (seen, answer) = (Arc::clone(&requests), Arc::clone(&answer));
            async move {
                while let Some(request) = wire.next_request().await? {
                    let bytes = answer(&request);
                    seen.requests.send_modify(|requests| requests.push(request));
                    wire.send(bytes).await?;
                }
                Ok(())
            }
        };
        Self::start_seeing(seen, serve).await
    }

    async fn start_seeing<F>(
        seen: Arc<Seen>,
        serve: impl Fn(Wire) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding an instance's port")?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&seen);
        let accept = async move {
            let serve = Arc::new(serve);
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.send_modify(|count| *count += 1);
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&shared));
                tokio::spawn(async move {
                    let served = match Wire::over(stream) {
                        Ok(wire) => serve(wire).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = served
                        && !error.is::<BrokenOff>()
                    {
                        seen.failures
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{error:#}"));
                    }
                });
            }
        };
        let server = tokio::spawn(accept).abort_handle();
        Ok(Self { address, seen, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        *self.seen.connections.borrow()
    }

    /// What came whole, of an [`Instance::recording`].
    pub fn requests(&self) -> Vec<Message> {
        self.seen.requests.borrow().clone()
    }

    /// What went wrong with its connections: what came was not valid. A request may be broken off.
    pub fn failures(&self) -> Vec<String> {
        self.seen.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest request of an [`Instance::recording`].
    ///
    /// # Errors
    /// When none came.
    pub fn last(&self) -> Result<Message> {
        let last = self.seen.requests.borrow().last().cloned();
        last.with_context(|| format!("no request came; failures: {:?}", self.failures()))
    }

    /// Waits until so many connections have come.
    ///
    /// # Errors
    /// When they have not within `within`.
    pub async fn wait_connections(&self, count: usize, within: Duration) -> Result<()> {
        let mut connections = self.seen.connections.subscribe();
        let come = timeout(within, connections.wait_for(|come| *come >= count)).await;
        ensure!(matches!(come, Ok(Ok(_))), "{} connections of {count} came", self.connections());
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}
