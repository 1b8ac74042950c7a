//! What the embedded registry does when it is asked for too much.

use anyhow::{Context, Result, ensure};
use embedded_registry::Settings;
use etcd_client::{DeleteOptions, Error, LeaseGrantOptions, Txn, TxnOp, WatchOptions};
use futures_util::{StreamExt, stream};
use harness::wait::eventually;
use tonic::Code;

use crate::{
    follow::{End, LAST, follow},
    json::post,
    raw,
    subject::{Embedded, PATIENCE},
};

const MEBIBYTE: usize = 1024 * 1024;

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> (Code, String) {
    match answer {
        Err(Error::GRpcStatus(status)) => raw::refusal(&status),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn exhausted(text: &str) -> (Code, String) {
    (Code::ResourceExhausted, format!("etcdserver: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_of_puts_is_refused_and_room_comes_back() -> Result<()> {
    let registry = Embedded::start(Settings { max_bytes: 64 * MEBIBYTE, ..Settings::default() })?;
    let mut client = registry.client().await?;
    let value = vec![b'x'; MEBIBYTE];
    let no_space = exhausted("mvcc: database space exceeded");
    let mut stored = 0;
    for n in 0..1_024 {
        match client.put(format!("key{n}"), value.clone(), None).await {
            Ok(_) => stored += 1,
            refusal => assert_eq!(refused(refusal), no_space),
        }
    }
    assert_eq!(stored, 63, "as many as fit");
    assert!(client.status().await?.db_size() <= i64::try_from(65 * MEBIBYTE)?);
    assert_eq!(client.get("key0", None).await?.kvs()[0].value(), value);
    let half = || vec![b'x'; 600 * 1024];
    let both = Txn::new().and_then([TxnOp::put("a", half(), None), TxnOp::put("b", half(), None)]);
    assert_eq!(refused(client.txn(both).await), no_space, "one would fit");

    let deleted = client.delete("key", Some(DeleteOptions::new().with_prefix())).await?;
    assert_eq!(deleted.deleted(), stored);
    client.put("again", value, None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_churn_of_one_key_needs_no_room() -> Result<()> {
    let registry = Embedded::start(Settings { max_bytes: 8 * MEBIBYTE, ..Settings::default() })?;
    let mut client = registry.client().await?;
    for n in 0..100_u8 {
        client.put("key", vec![n; MEBIBYTE], None).await?;
        let size = client.status().await?.db_size();
        assert!(size <= i64::try_from(9 * MEBIBYTE)?, "{size}");
    }
    Ok(())
}

const TOO_LARGE: &str = "grpc: trying to send message larger than max (16777216): ask for less at once, with a \
    limit, a nearer range end or keys_only";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_larger_than_16_mib() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    client.put("key", vec![b'x'; MEBIBYTE], None).await?;
    let gets = |count| Txn::new().and_then((0..count).map(|_| TxnOp::get("key", None)).collect::<Vec<_>>());
    let nested = |count| Txn::new().and_then((0..count).map(|_| TxnOp::txn(gets(8))).collect::<Vec<_>>());
    let refusal = (Code::ResourceExhausted, TOO_LARGE.to_owned());
    // Larger answers than etcd-client takes by default are nothing to it: it is told before they are built.
    assert_eq!(refused(client.txn(gets(100)).await), refusal);
    assert_eq!(refused(client.txn(nested(12)).await), refusal);
    assert!(client.txn(gets(3)).await?.succeeded());

    let get = r#"{"request_range":{"key":"a2V5"}}"#;
    let body = |count| format!(r#"{{"success":[{}]}}"#, vec![get; count].join(","));
    let refused = post(registry.address, "/v3/kv/txn", body(16)).await?;
    assert_eq!((refused.status, refused.json()?["error"].as_str()), (429, Some(TOO_LARGE)));
    let taken = post(registry.address, "/v3/kv/txn", body(15)).await?;
    assert_eq!(taken.status, 200);
    assert!(taken.text().len() < 21 * MEBIBYTE, "of base64 a third more");
    let refused = registry.observer().counts().refused;
    assert_eq!(refused.get("answer too large"), Some(&3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_nested_transactions_count_in_all() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    let gets = |count| Txn::new().and_then((0..count).map(|_| TxnOp::get("key", None)).collect::<Vec<_>>());
    let nested =
        |outer, inner| Txn::new().and_then((0..outer).map(|_| TxnOp::txn(gets(inner))).collect::<Vec<_>>());
    assert!(client.txn(nested(38, 9)).await?.succeeded());
    // Each level is within etcd's bound of 128.
    let too_many = (Code::InvalidArgument, "etcdserver: too many operations in txn request".to_owned());
    assert_eq!(refused(client.txn(nested(39, 9)).await), too_many);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_leases_than_there_may_be_are_refused() -> Result<()> {
    let registry = Embedded::start(Settings { max_leases: 500, ..Settings::default() })?;
    let client = registry.client().await?;
    let grants = stream::iter(1..=2_000_i64).map(|id| {
        let mut client = client.clone();
        async move { client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(id))).await }
    });
    let answers: Vec<_> = grants.buffer_unordered(64).collect().await;
    let (granted, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(granted.len(), 500);
    assert!(others.into_iter().all(|other| refused(other) == exhausted("too many requests")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_watches_than_there_may_be_are_refused() -> Result<()> {
    let registry = Embedded::start(Settings { max_watches_per_stream: 1_000, ..Settings::default() })?;
    let (mut asks, mut answers) = registry.client().await?.watch("key0", None).await?.split();
    let asking = tokio::spawn(async move {
        for n in 1..5_000 {
            asks.watch(format!("key{n}"), None).await?;
        }
        anyhow::Ok(asks)
    });
    let mut created = 0;
    for _ in 0..5_000 {
        let answer = answers.message().await?.context("the stream ended")?;
        assert!(answer.created());
        if answer.canceled() {
            assert_eq!((answer.watch_id(), answer.cancel_reason()), (-1, "etcdserver: too many requests"));
        } else {
            created += 1;
        }
    }
    assert_eq!(created, 1_000);
    let _asks = asking.await??;
    registry.client().await?.put("key999", "", None).await?;
    assert_eq!(answers.message().await?.context("the stream ended")?.watch_id(), 999);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_there_may_be_are_refused_and_places_come_back() -> Result<()> {
    let registry = Embedded::start(Settings { max_watch_streams: 3, ..Settings::default() })?;
    let mut client = registry.client().await?;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(client.watch("key", None).await?);
    }
    assert_eq!(refused(client.watch("key", None).await), exhausted("too many requests"));
    streams.pop();
    eventually("a place comes back", PATIENCE, async || Ok(client.watch("key", None).await?)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_may_be_wait_for_a_place() -> Result<()> {
    let registry = Embedded::start(Settings { max_connections: 2, ..Settings::default() })?;
    let mut connected = Vec::new();
    for _ in 0..2 {
        let mut client = registry.client().await?;
        client.get("any", None).await?;
        connected.push(client);
    }
    // The kernel connects it, and nobody answers.
    let address = registry.address;
    let mut waiting = tokio::spawn(async move {
        let mut client = crate::subject::client(address).await?;
        anyhow::Ok(client.get("any", None).await?)
    });
    connected[0].get("any", None).await?;
    assert!(!waiting.is_finished());
    connected.pop();
    tokio::time::timeout(PATIENCE, &mut waiting).await.context("no place comes back")???;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_told_compacted_and_holds_up_nobody() -> Result<()> {
    const PUTS: i64 = 3_000;
    let registry = Embedded::start(Settings { history: 300, ..Settings::default() })?;
    let prefix = || Some(WatchOptions::new().with_prefix());
    let mut slow = registry.client().await?.watch("/service/", prefix()).await?;
    let mut quick = registry.client().await?.watch("/service/", prefix()).await?;
    for watch in [&mut slow, &mut quick] {
        ensure!(watch.message().await?.context("the stream ended")?.created());
    }
    let mut client = registry.client().await?;
    let base = client.get("any", None).await?.header().context("no header")?.revision();

    let quick = tokio::spawn(async move { follow(&mut quick, base).await });
    // Together far more than what connections hold.
    let value = "x".repeat(8_000);
    for _ in 0..PUTS {
        client.put("/service/key", value.clone(), None).await?;
    }
    client.put(LAST, "", None).await?;
    assert_eq!(quick.await??, End::Last(base + PUTS + 1));
    // What was on its way is read in order; then it is told what it has missed.
    assert!(matches!(follow(&mut slow, base).await?, End::Compacted(_)));
    Ok(())
}
