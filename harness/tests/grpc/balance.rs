//! Which instance has a call: each call by itself, whatever connection it came over.

use futures_util::future::join_all;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_util::{StreamExt, TryStreamExt, stream};
use harness::{
    etcd::{Etcd, key},
    grpc::{Act, Client, GrpcBackend, GrpcOptions, Outcome, Step},
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::json;

use super::{PATIENCE, Place, SERVICE, SOON, UNARY, assert_ok, options, retrying};

async fn many(client: &Client, count: usize, at_once: usize) -> Result<Vec<Outcome>> {
    let calls = stream::iter(0..count).map(|_| client.unary(UNARY, &[], b"m"));
    calls.buffer_unordered(at_once).try_collect().await
}

#[tokio::test]
async fn the_calls_of_one_connection_are_spread_evenly() -> Result<()> {
    for (balance, allowed) in [("round_robin", 90..=110), ("random", 60..=140), ("least_request", 60..=140)] {
        let place = Place::with(3, |options| options.set("gateway/services/echo/balance", balance)).await?;
        for outcome in many(&place.client, 300, 10).await? {
            assert_ok(&outcome, b"m")?;
        }
        let counts: Vec<_> = place.backends.iter().map(GrpcBackend::count).collect();
        assert!(counts.iter().all(|count| allowed.contains(count)), "{balance}: {counts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_new_instance_has_its_share_of_the_calls_of_an_old_connection() -> Result<()> {
    let etcd = Etcd::start().await?;
    let options = GatewayOptions::without_routes().route(SERVICE, "echo");
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let (first, second) = (GrpcBackend::start("first").await?, GrpcBackend::start("second").await?);
    etcd.put(&key("echo", "first"), first.address().to_string()).await?;
    gateway.wait_instances("echo", &["first"]).await?;
    let client = Client::connect(gateway.address()).await?;
    many(&client, 20, 5).await?;
    etcd.put(&key("echo", "second"), second.address().to_string()).await?;
    gateway.wait_instances("echo", &["first", "second"]).await?;
    for outcome in many(&client, 200, 5).await? {
        assert_ok(&outcome, b"m")?;
    }
    assert!((60..=140).contains(&second.count()), "{} of 200", second.count());
    Ok(())
}

#[tokio::test]
async fn an_instance_is_spoken_to_as_its_registration_says() -> Result<()> {
    let etcd = Etcd::start().await?;
    let options = GatewayOptions::without_routes().route("/h2c", "h2c").route("/grpc", "grpc");
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let backend = GrpcBackend::start("a").await?;
    backend.always(Act::http(200, &[], "by HTTP/2"));
    for protocol in ["h2c", "grpc"] {
        let record =
            json!({ "address": backend.address().to_string(), "metadata": { "protocol": protocol } });
        etcd.put(&key(protocol, "a"), record.to_string()).await?;
        gateway.wait_instances(protocol, &["a"]).await?;
        let answer = gateway.get(&format!("/{protocol}")).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "by HTTP/2"), "{protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_takes_one_call_at_a_time_has_as_many_connections_as_it_takes() -> Result<()> {
    let backend = GrpcBackend::start_with("a", GrpcOptions { streams: Some(1), tls: None }).await?;
    backend.always(
        Act::default()
            .head(&[])
            .wait(Duration::from_millis(100))
            .step(Step::Echo)
            .trailers(&[("grpc-status", "0")]),
    );
    let gateway = Gateway::start_with_registry(options(&[backend.address()])).await?;
    let client = Client::connect(gateway.address()).await?;
    for outcome in many(&client, 20, 20).await? {
        assert_ok(&outcome, b"m")?;
    }
    assert_eq!(backend.count(), 20);
    assert!(backend.connections().accepted > 1, "{:?}", backend.connections());
    Ok(())
}

#[tokio::test]
async fn the_calls_of_an_instance_that_stands_still_go_elsewhere_and_no_other_is_touched() -> Result<()> {
    let place = Place::with(2, |options| {
        let options = retrying(options, json!({ "idempotent": true }));
        let options = options.set("gateway/services/echo/ejection", json!({ "failures": 1000 }));
        options.set("gateway/services/echo/stall", json!({ "floor": "500ms", "requests": 1 }))
    })
    .await?;
    let (mut kept, mut kept_answer) = loop {
        let (mut upload, mut answer) = place.client.call(UNARY, &[]).await?;
        upload.send(b"begin").await.map_err(|cut| anyhow!("{cut:?}"))?;
        answer.message().await?;
        let (_, head) = answer.head().await.map_err(|cut| anyhow!("{cut:?}"))?;
        if head["x-served-by"] == "1" {
            break (upload, answer);
        }
    };
    many(&place.client, 20, 5).await?;
    place.backends[0].freeze(true);
    // One after the other: that the other one answers shows who has stalled. Later ones may be the trials of that.
    let calls = join_all((0..200).map(|number| {
        let place = &place;
        async move {
            tokio::time::sleep(number * Duration::from_millis(20)).await;
            let begun = Instant::now();
            (place.unary(b"m").await, begun.elapsed())
        }
    }));
    let talk = async {
        for number in 0..20_u8 {
            let asked = Instant::now();
            kept.send(&[number]).await.map_err(|cut| anyhow!("{cut:?}"))?;
            let message = kept_answer.message().await?.context("the kept stream has ended")?;
            anyhow::ensure!(
                message.bytes[..] == [number] && asked.elapsed() < Duration::from_secs(1),
                "{asked:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let (outcomes, talked) = tokio::join!(calls, talk);
    talked?;
    assert!(outcomes.iter().take(100).all(|(_, took)| *took < SOON), "{outcomes:?}");
    for (outcome, _) in outcomes {
        let outcome = outcome?;
        assert_ok(&outcome, b"m").with_context(|| place.gateway.process().tail())?;
        assert_eq!(outcome.served_by(), Some("1"));
    }
    place.backends[0].freeze(false);
    eventually("it is used again", PATIENCE, async || {
        let outcome = place.unary(b"m").await?;
        anyhow::ensure!(outcome.served_by() == Some("0"), "the other one has answered");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_instance_that_lets_its_connection_end_loses_nothing() -> Result<()> {
    let place = Place::new(1).await?;
    for turn in 0..20 {
        if turn % 5 == 2 {
            let end =
                Act::default().step(Step::GoAway).head(&[]).step(Step::Echo).status_in_trailers("0", &[]);
            place.backend().script([end]);
        }
        for outcome in many(&place.client, 5, 5).await? {
            assert_ok(&outcome, b"m")?;
        }
    }
    assert_eq!(place.backend().count(), 100);
    assert!(place.backend().connections().accepted > 1, "{:?}", place.backend().connections());
    Ok(())
}
