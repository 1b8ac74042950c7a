//! Which calls go to another instance, and which do not.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use futures_util::{StreamExt, TryStreamExt, stream};
use harness::{
    grpc::{Act, Client, Frame, FrameBackend, GrpcBackend, Reason, Step, framed, kind},
    stack::Gateway,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Place, UNARY, assert_ok, code, options, retrying, shown, wait_metric};

const RETRIES: &str = "leaseway_retries_total";
const ALWAYS: &str = r#"{ "idempotent": true, "grpc": ["UNAVAILABLE"] }"#;

/// Of two instances the first does this; each of the calls that reached it has to end so.
async fn each_of_the_first(retry: Value, act: Act, message: &[u8], ends: Option<&str>) -> Result<()> {
    let place = Place::with(2, |options| retrying(options, retry)).await?;
    place.backends[0].always(act);
    for number in 0..20 {
        let outcome = place.unary(message).await?;
        let by_second = place.backends[1].count();
        match ends {
            // It has met the second one, be it only then.
            Some(code::OK) => assert_ok(&outcome, message).with_context(|| {
                let line = place.gateway.process().lines().pop().unwrap_or_default();
                format!("call {number}: {line}")
            })?,
            _ if outcome.served_by() == Some("1") => assert_ok(&outcome, message)?,
            status => assert_eq!(outcome.status(), status, "{} ({by_second})", shown(&outcome)),
        }
    }
    let (first, second) = (place.backends[0].count(), place.backends[1].count());
    let expected = if ends == Some(code::OK) { 20 } else { 20 - first };
    assert!(first > 0 && second == expected, "{first} calls came to the first, {second} to the second");
    Ok(())
}

#[tokio::test]
async fn a_refused_stream_goes_elsewhere_whatever_it_is() -> Result<()> {
    for act in [
        Act::reset(Reason::REFUSED_STREAM),
        Act::default().wait(Duration::from_millis(100)).step(Step::Reset(Reason::REFUSED_STREAM)),
    ] {
        each_of_the_first(json!({}), act, b"m", Some(code::OK)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_stream_is_counted() -> Result<()> {
    let place = Place::new(2).await?;
    place.backends[0].always(Act::reset(Reason::REFUSED_STREAM));
    for _ in 0..20 {
        assert_ok(&place.unary(b"m").await?, b"m")?;
    }
    let refused = place.backends[0].count();
    assert!(refused > 0);
    wait_metric(&place.gateway, RETRIES, &["service=\"echo\""], refused as f64).await
}

#[tokio::test]
async fn a_refused_stream_of_the_only_instance_is_unavailable() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(Act::reset(Reason::REFUSED_STREAM));
    let outcome = place.unary(b"m").await?;
    assert_eq!(outcome.status(), Some(code::UNAVAILABLE), "{}", shown(&outcome));
    Ok(())
}

/// Takes the first stream of each connection, says that it has taken no other as soon as there are three, and answers the
/// first one when it is let.
async fn leaving(released: watch::Receiver<bool>) -> Result<FrameBackend> {
    let released = Arc::new(released);
    FrameBackend::start(move |mut wire| {
        let released = Arc::clone(&released);
        async move {
            let mut streams = Vec::new();
            while let Some(frame) = wire.next().await? {
                if frame.kind != kind::HEADERS || frame.stream == 0 {
                    continue;
                }
                streams.push(frame.stream);
                if streams.len() == 3 {
                    wire.send(&Frame::go_away(streams[0])).await?;
                    let mut released = watch::Receiver::clone(&released);
                    let _ = released.wait_for(|released| *released).await;
                    wire.send(&Frame::ok(streams[0])).await?;
                }
            }
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn what_is_above_the_last_stream_goes_elsewhere_and_what_is_below_ends_where_it_is() -> Result<()> {
    let (release, released) = watch::channel(false);
    let (first, second) = (leaving(released).await?, GrpcBackend::start("1").await?);
    let gateway = Gateway::start_with_registry(options(&[first.address(), second.address()])).await?;
    let client = Client::connect(gateway.address()).await?;
    let calls = stream::iter(0..6).map(|_| client.unary(UNARY, &[], b"m")).buffer_unordered(6);
    let others = async {
        // One call of six is below.
        second.wait_count(5, super::PATIENCE).await?;
        release.send_replace(true);
        anyhow::Ok(())
    };
    let (outcomes, others) = tokio::join!(calls.try_collect::<Vec<_>>(), others);
    others?;
    let outcomes = outcomes?;
    assert!(outcomes.iter().all(|outcome| outcome.status() == Some(code::OK)), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.served_by() == Some("1")).count(), 5);
    Ok(())
}

#[tokio::test]
async fn unavailable_goes_elsewhere_if_the_route_says_so() -> Result<()> {
    let retry: Value = serde_json::from_str(ALWAYS)?;
    each_of_the_first(retry.clone(), Act::status("14"), b"m", Some(code::OK)).await?;
    each_of_the_first(json!({}), Act::status("14"), b"m", Some(code::UNAVAILABLE)).await?;
    each_of_the_first(json!({ "idempotent": true }), Act::status("14"), b"m", Some(code::UNAVAILABLE)).await
}

#[tokio::test]
async fn nothing_else_goes_elsewhere() -> Result<()> {
    let retry: Value = serde_json::from_str(ALWAYS)?;
    // Another status.
    each_of_the_first(retry.clone(), Act::status("13"), b"m", Some(code::INTERNAL)).await?;
    // An answer that has begun.
    let begun = Act::default().step(Step::Read).head(&[]).data(framed(b"")).status_in_trailers("14", &[]);
    each_of_the_first(retry.clone(), begun, b"m", Some(code::UNAVAILABLE)).await?;
    // A body that is more than is kept.
    each_of_the_first(retry, Act::status("14"), &[1; 100 << 10], Some(code::UNAVAILABLE)).await
}

#[tokio::test]
async fn what_may_have_been_carried_out_does_not_go_elsewhere() -> Result<()> {
    for (reason, status) in [(Reason::INTERNAL_ERROR, code::INTERNAL), (Reason::CANCEL, code::CANCELLED)] {
        let act = Act::default().step(Step::Read).step(Step::Reset(reason));
        each_of_the_first(json!({}), act, b"m", Some(status)).await?;
    }
    let close = Act::default().step(Step::Read).step(Step::Close);
    each_of_the_first(json!({}), close, b"m", Some(code::UNAVAILABLE)).await
}

#[tokio::test]
async fn a_call_whose_body_is_not_whole_does_not_go_elsewhere_by_its_status() -> Result<()> {
    let place = Place::with(2, |options| retrying(options, serde_json::from_str(ALWAYS).unwrap())).await?;
    for backend in &place.backends {
        backend.always(Act::default().trailers_only("14", &[]));
    }
    let (mut upload, download) = place.client.call(UNARY, &[]).await?;
    upload.send(b"m").await.map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(download.outcome_within(super::SOON).await?.status(), Some(code::UNAVAILABLE));
    assert_eq!(place.total(), 1);
    Ok(())
}

#[tokio::test]
async fn what_is_sent_again_is_what_was_sent() -> Result<()> {
    let place = Place::with(2, |options| retrying(options, serde_json::from_str(ALWAYS).unwrap())).await?;
    place.backends[0].always(Act::status("14"));
    let message: Vec<_> = (0..60_000_u32).map(|at| at as u8).collect();
    for _ in 0..10 {
        assert_ok(&place.client.unary(UNARY, &[("x-data-bin", "AAEC")], &message).await?, &message)?;
    }
    assert!(place.backends[0].count() > 0);
    for call in place.backends.iter().flat_map(GrpcBackend::calls) {
        assert!(call.messages == [&message[..]] && call.header("x-data-bin") == Some("AAEC"));
    }
    Ok(())
}
