//! Makes changes and times who learns of them when.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd_client::{Client, EventType};
use harness::{
    backend::Backend,
    etcd::{Etcd, key},
    http::{Connection, Request},
    stack::Gateway,
};
use tokio::time::{sleep, timeout};

use super::{Delays, Round, watch::BareWatch};

/// Longer than what the gateway may hold changes back for, so that each change meets a quiet service.
const QUIET: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Changer<'a> {
    client: Client,
    watch: BareWatch,
    connection: Connection,
    backend: &'a Backend,
}

/// The first request with another answer than those before it.
struct Turned {
    /// How long the one before it took.
    before: Duration,
    begun: Instant,
    answered: Instant,
}

impl Delays {
    fn push(&mut self, answered: Instant, acted: Instant, noticed: Instant) {
        self.gateway.push(acted.saturating_duration_since(answered));
        self.bare.push(noticed.saturating_duration_since(answered));
    }
}

impl<'a> Changer<'a> {
    pub(super) async fn connect(etcd: &Etcd, gateway: &Gateway, backend: &'a Backend) -> Result<Self> {
        Ok(Self {
            client: etcd.client().await?,
            watch: BareWatch::open(etcd).await?,
            connection: Connection::open(gateway.address()).await?,
            backend,
        })
    }

    pub(super) async fn put_and_delete(&mut self, service: &str, round: &mut Round) -> Result<()> {
        self.put(service, round).await?;
        sleep(QUIET).await;
        self.delete(service, &mut round.deletes).await?;
        sleep(QUIET).await;
        Ok(())
    }

    async fn put(&mut self, service: &str, round: &mut Round) -> Result<()> {
        ensure!(ask(&mut self.connection, service).await? == 503, "{service} is served before it is there");
        let (key, value) = (key(service, "a"), self.backend.address().to_string());
        let change = async {
            self.client.put(key, value, None).await?;
            anyhow::Ok(Instant::now())
        };
        let served = ask_until(&mut self.connection, service, 200);
        let noticed = self.watch.next(EventType::Put);
        let (answered, served, noticed) = tokio::try_join!(change, served, noticed)?;
        let next = Instant::now();
        ensure!(ask(&mut self.connection, service).await? == 200, "{service} is served only once");
        round.parts.next.push(next.elapsed());
        round.parts.until_asked.push(served.begun.saturating_duration_since(noticed));
        round.parts.refused.push(served.before);
        round.parts.served.push(served.answered - served.begun);
        round.puts.push(answered, served.answered, noticed);
        Ok(())
    }

    async fn delete(&mut self, service: &str, delays: &mut Delays) -> Result<()> {
        ensure!(ask(&mut self.connection, service).await? == 200, "{service} is not served");
        let key = key(service, "a");
        let change = async {
            self.client.delete(key, None).await?;
            anyhow::Ok(Instant::now())
        };
        let refused = ask_until(&mut self.connection, service, 503);
        let noticed = self.watch.next(EventType::Delete);
        let (answered, _, noticed) = tokio::try_join!(change, refused, noticed)?;
        delays.push(answered, self.backend.last()?.at, noticed);
        Ok(())
    }

    /// The control: how long after etcd's answer to a put one is served who watches and then asks the instance itself.
    pub(super) async fn put_and_ask_oneself(&mut self, service: &str) -> Result<Duration> {
        let (key, instance) = (key(service, "a"), self.backend.address());
        let is_served = Cell::new(false);
        let change = async {
            self.client.put(key.clone(), instance.to_string(), None).await?;
            anyhow::Ok(Instant::now())
        };
        let served = async {
            self.watch.next(EventType::Put).await?;
            let status = ask(&mut Connection::open(instance).await?, service).await?;
            let answered = Instant::now();
            is_served.set(true);
            ensure!(status == 200, "the instance answers {status}");
            Ok(answered)
        };
        let busy = async {
            while !is_served.get() {
                ask(&mut self.connection, "absent").await?;
            }
            Ok(())
        };
        let (answered, served, ()) = tokio::try_join!(change, served, busy)?;
        sleep(QUIET).await;
        self.client.delete(key, None).await?;
        self.watch.next(EventType::Delete).await?;
        sleep(QUIET).await;
        Ok(served.saturating_duration_since(answered))
    }
}

async fn ask_until(connection: &mut Connection, service: &str, status: u16) -> Result<Turned> {
    let asking = async {
        let mut before = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let is_it = ask(connection, service).await? == status;
            let answered = Instant::now();
            if is_it {
                return anyhow::Ok(Turned { before, begun, answered });
            }
            before = answered - begun;
        }
    };
    timeout(PATIENCE, asking).await.with_context(|| format!("{service} never answered {status}"))?
}

async fn ask(connection: &mut Connection, service: &str) -> Result<u16> {
    let request = Request::get(format!("/{service}")).body(Bytes::new())?;
    Ok(connection.send(request).await?.status)
}
