//! How an embedded registry begins and ends.

use std::{
    net::TcpListener,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use embedded_registry::{ServeError, Server, Settings, first_revision};
use etcd_client::{Error, GetOptions, WatchOptions};
use tokio::{sync::oneshot, time::timeout};
use tonic::Code;

use crate::{
    raw,
    subject::{Embedded, PATIENCE, client},
};

/// Serves on a listener until told to stop.
fn serve(
    listener: TcpListener,
    first: i64,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), ServeError>>) {
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or_default() };
        Server::new(Settings::default(), first).serve(listener, shutdown).await
    });
    (stop, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_serves_on_the_same_socket_at_a_later_revision() -> Result<()> {
    let listener = Server::bind(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    let (stop, serving) = serve(listener.try_clone()?, first_revision(SystemTime::now()));
    let mut old = client(address).await?;
    let written = old.put("key", "value", None).await?.header().context("no header")?.revision();
    let mut watch = old.watch("key", None).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    drop(stop);

    // Its streams end as those of an etcd that stops, and so does it.
    let Err(Error::GRpcStatus(status)) = watch.message().await else { panic!("the stream goes on") };
    assert_eq!(raw::refusal(&status), (Code::Unavailable, "etcdserver: server stopped".to_owned()));
    timeout(PATIENCE, serving).await.context("it does not end")???;

    // Who connects meanwhile waits in the socket's queue.
    let waiting = tokio::spawn(async move { anyhow::Ok(client(address).await?.get("key", None).await?) });
    let (_stop, _serving) = serve(listener, first_revision(SystemTime::now()));
    let found = waiting.await??;
    assert_eq!(found.count(), 0, "it begins empty");
    let first = found.header().context("no header")?.revision();
    assert!(first > written, "{first} follows {written}");

    // What was before answers as compacted.
    let mut new = client(address).await?;
    let read = new.get("key", Some(GetOptions::new().with_revision(written))).await;
    let Err(Error::GRpcStatus(status)) = read else { panic!("it is read") };
    assert_eq!(status.message(), "etcdserver: mvcc: required revision has been compacted");
    let options = WatchOptions::new().with_start_revision(written + 1);
    let mut watch = new.watch("key", Some(options)).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    let answer = watch.message().await?.context("the stream ended")?;
    assert_eq!((answer.canceled(), answer.compact_revision()), (true, first));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_although_a_client_holds_its_connection() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    let (_keeper, mut answers) = {
        let lease = client.lease_grant(60, None).await?.id();
        client.lease_keep_alive(lease).await?
    };
    registry.stop().await?;
    let Err(Error::GRpcStatus(status)) = answers.message().await else { panic!("the stream goes on") };
    assert_eq!(status.code(), Code::Unavailable);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named() -> Result<()> {
    let taken = Server::bind(([127, 0, 0, 1], 0).into())?;
    let address = taken.local_addr()?;
    let refused = Server::bind(address).unwrap_err();
    assert!(refused.to_string().contains(&address.to_string()), "{refused}");
    Ok(())
}

#[test]
fn the_first_revision_is_the_time_in_microseconds() {
    let at = |micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    assert_eq!(first_revision(at(1_795_000_000_123_456)), 1_795_000_000_123_456);
    assert_eq!(first_revision(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_any_size_are_counted_on() -> Result<()> {
    for first in [i64::MIN, 0, 1, i64::MAX] {
        let listener = Server::bind(([127, 0, 0, 1], 0).into())?;
        let address = listener.local_addr()?;
        let (_stop, _serving) = serve(listener, first);
        let mut client = client(address).await?;
        let before = client.get("key", None).await?.header().context("no header")?.revision();
        assert!(before >= 1);
        let after = client.put("key", "", None).await?.header().context("no header")?.revision();
        assert_eq!(after, before + 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_is_told_its_progress_if_it_wants_to_be() -> Result<()> {
    let as_often_as_it_can = Settings { progress_interval: Duration::ZERO, ..Settings::default() };
    let registry = Embedded::start(as_often_as_it_can)?;
    let mut client = registry.client().await?;
    let mut watch = client.watch("key", Some(WatchOptions::new().with_progress_notify())).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    let elsewhere = client.put("elsewhere", "", None).await?.header().context("no header")?.revision();
    loop {
        let answer = watch.message().await?.context("the stream ended")?;
        assert!(answer.events().is_empty() && !answer.canceled());
        assert_eq!(answer.watch_id(), 0, "it is told of its own watch");
        if answer.header().context("no header")?.revision() == elsewhere {
            return Ok(());
        }
    }
}
