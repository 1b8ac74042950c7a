//! Connections of clients that are to end: the gateway stops, or they are old.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use harness::{
    grpc::{Client, Cut, Download, Reason, Upload},
    process::Signal,
    wait::eventually,
};
use serde_json::json;

use super::{PATIENCE, Place, UNARY, assert_ok, code};

/// Waits until the connection takes no new call.
async fn wait_told(client: &Client) -> Result<()> {
    eventually("the client is told that its connection ends", PATIENCE, async || {
        let call = client.call(UNARY, &[]).await;
        let Ok((mut upload, _)) = call else { return Ok(()) };
        upload.reset(Reason::CANCEL);
        anyhow::bail!("it takes calls")
    })
    .await
}

async fn begun(place: &Place) -> Result<(Upload, Download)> {
    let (mut upload, mut download) = place.client.call(UNARY, &[]).await?;
    upload.send(b"a").await.map_err(|cut| anyhow!("{cut:?}"))?;
    download.message().await?.context("no message")?;
    Ok((upload, download))
}

/// Goes on with a call, and ends it.
async fn finish((mut upload, mut download): (Upload, Download)) -> Result<()> {
    upload.send(b"b").await.map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(download.message().await?.map(|message| message.bytes), Some("b".into()));
    upload.finish().map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(download.outcome().await?.status(), Some(code::OK));
    Ok(())
}

/// Waits for the end of a connection, which has to be a good one.
async fn ended_well(client: &Client) -> Result<()> {
    let end = client.wait_end(PATIENCE).await?;
    let is_good = matches!(end, Ok(()) | Err(Cut::GoAway(Reason::NO_ERROR)));
    anyhow::ensure!(is_good, "it has ended so: {end:?}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_calls_in_flight_end_well() -> Result<()> {
    let mut place = Place::new(1).await?;
    let idle = Client::connect(place.gateway.address()).await?;
    assert_ok(&idle.unary(UNARY, &[], b"m").await?, b"m")?;
    let call = begun(&place).await?;
    place.gateway.process().signal(Signal::SIGTERM)?;
    ended_well(&idle).await?;
    wait_told(&place.client).await?;
    finish(call).await?;
    ended_well(&place.client).await?;
    assert!(place.gateway.wait_exit(PATIENCE).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_when_the_drain_is_over() -> Result<()> {
    let mut place =
        Place::with(1, |options| options.set("gateway/timeouts", json!({ "drain": "1s" }))).await?;
    let (_upload, download) = begun(&place).await?;
    place.gateway.process().signal(Signal::SIGTERM)?;
    let outcome = download.outcome_within(PATIENCE).await?;
    assert!(outcome.status() != Some(code::OK), "{outcome:?}");
    place.gateway.wait_exit(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn an_old_connection_is_told_to_end_and_its_calls_end_well() -> Result<()> {
    let place = Place::with(1, |options| options.set("gateway/connections/max_age", "1s")).await?;
    let call = begun(&place).await?;
    wait_told(&place.client).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    finish(call).await?;
    ended_well(&place.client).await?;
    let next = Client::connect(place.gateway.address()).await?;
    assert_ok(&next.unary(UNARY, &[], b"m").await?, b"m")
}

#[tokio::test]
async fn an_old_connection_that_is_idle_ends() -> Result<()> {
    let place = Place::with(1, |options| options.set("gateway/connections/max_age", "1s")).await?;
    assert_ok(&place.unary(b"m").await?, b"m")?;
    ended_well(&place.client).await
}

#[tokio::test]
async fn an_idle_connection_ends_after_its_time() -> Result<()> {
    let place =
        Place::with(1, |options| options.set("gateway/timeouts", json!({ "keepalive": "1s" }))).await?;
    assert_ok(&place.unary(b"m").await?, b"m")?;
    ended_well(&place.client).await
}

#[tokio::test]
async fn a_client_is_told_how_many_calls_it_may_have_at_a_time() -> Result<()> {
    let place = Place::with(1, |options| options.set("gateway/connections/streams", 7)).await?;
    assert_ok(&place.unary(b"m").await?, b"m")?;
    assert_eq!(place.client.streams(), 7);
    Ok(())
}

#[tokio::test]
async fn calls_lose_nothing_while_their_connections_grow_old() -> Result<()> {
    let place = Place::with(1, |options| options.set("gateway/connections/max_age", "1s")).await?;
    let mut client = Client::connect(place.gateway.address()).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(4);
    let (mut calls, mut connections) = (0, 1);
    while tokio::time::Instant::now() < end {
        match client.call(UNARY, &[]).await {
            Ok((mut upload, download)) => {
                let sent = upload.send_all(harness::grpc::framed(b"m"), true);
                let (_, outcome) = tokio::join!(sent, download.outcome());
                let outcome = outcome?;
                // What was begun above the last stream is the client's to send again.
                if !matches!(outcome.cut, Some(Cut::GoAway(Reason::NO_ERROR))) {
                    assert_ok(&outcome, b"m")?;
                    calls += 1;
                }
            }
            Err(_) => {
                client = Client::connect(place.gateway.address()).await?;
                connections += 1;
            }
        }
    }
    assert!(connections >= 3 && place.backend().count() == calls, "{connections} connections, {calls} calls");
    Ok(())
}
