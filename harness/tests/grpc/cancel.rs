//! Calls that are left: by their client, and by their instance.

use anyhow::{Result, anyhow};
use harness::{
    grpc::{Act, Cut, Reason, SeenCall, Step, framed},
    wait::eventually,
};

use super::{PATIENCE, Place, SOON, UNARY, assert_ok, code, one_line, shown};

fn is_cancelled(call: &SeenCall) -> bool {
    matches!(&call.cut, Some((Cut::Reset(Reason::CANCEL), _)))
}

#[tokio::test]
async fn a_client_that_leaves_a_call_leaves_its_instance_and_no_other_call() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut kept, mut kept_answer) = place.client.call(UNARY, &[]).await?;
    kept.send(b"a").await.map_err(|cut| anyhow!("{cut:?}"))?;
    kept_answer.message().await?;
    place.backend().script([Act::silence()]);
    let (mut left, _answer) = place.client.call(UNARY, &[]).await?;
    left.send(b"b").await.map_err(|cut| anyhow!("{cut:?}"))?;
    place.backend().wait_count(2, PATIENCE).await?;
    left.reset(Reason::CANCEL);
    let calls = place.backend().wait(SOON, |calls| is_cancelled(&calls[1])).await?;
    assert_eq!(calls[0].cut, None);
    kept.send(b"c").await.map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(kept_answer.message().await?.map(|message| message.bytes), Some("c".into()));
    kept.finish().map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(kept_answer.outcome().await?.status(), Some(code::OK));
    assert_ok(&place.unary(b"d").await?, b"d")?;
    let connections: Vec<_> = place.backend().calls().iter().map(|call| call.connection).collect();
    assert_eq!((place.backend().connections().open, connections[0]), (1, connections[2]), "one for all");
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_within_an_answer_leaves_its_instance() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut upload, mut answer) = place.client.call(UNARY, &[]).await?;
    upload.send(b"a").await.map_err(|cut| anyhow!("{cut:?}"))?;
    answer.message().await?;
    let since = place.gateway.process().line_count();
    upload.reset(Reason::CANCEL);
    place.backend().wait(SOON, |calls| is_cancelled(&calls[0])).await?;
    one_line(&place.gateway, since).await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_closes_its_connection_leaves_all_its_calls() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(Act::silence());
    let mut calls = Vec::new();
    for _ in 0..10 {
        let (mut upload, download) = place.client.call(UNARY, &[]).await?;
        upload.send(b"m").await.map_err(|cut| anyhow!("{cut:?}"))?;
        calls.push((upload, download));
    }
    place.backend().wait_count(10, PATIENCE).await?;
    let Place { gateway, backends, client } = place;
    drop((client, calls));
    let left = backends[0].wait(SOON, |calls| calls.iter().all(is_cancelled)).await;
    left.map_err(|_| {
        anyhow!("{:?}", backends[0].calls().iter().map(|call| call.cut.clone()).collect::<Vec<_>>())
    })?;
    eventually("nothing is in flight", PATIENCE, async || {
        let in_flight = gateway.metric("leaseway_requests_in_flight", &[]).await?;
        anyhow::ensure!(in_flight == 0.0, "{in_flight} are");
        Ok(())
    })
    .await
}

/// As gRPC over HTTP/2 has them, "Errors".
const RESETS: [(Reason, &str); 8] = [
    (Reason::NO_ERROR, code::INTERNAL),
    (Reason::PROTOCOL_ERROR, code::INTERNAL),
    (Reason::INTERNAL_ERROR, code::INTERNAL),
    (Reason::FLOW_CONTROL_ERROR, code::INTERNAL),
    (Reason::REFUSED_STREAM, code::UNAVAILABLE),
    (Reason::CANCEL, code::CANCELLED),
    (Reason::ENHANCE_YOUR_CALM, code::RESOURCE_EXHAUSTED),
    (Reason::INADEQUATE_SECURITY, "7"),
];

#[tokio::test]
async fn an_instances_reset_before_its_answer_is_a_status() -> Result<()> {
    let place = Place::new(1).await?;
    for (reason, status) in RESETS {
        place.backend().always(Act::default().step(Step::Read).step(Step::Reset(reason)));
        let since = place.gateway.process().line_count();
        let outcome = place.unary(b"m").await?;
        assert_eq!(outcome.status(), Some(status), "{reason:?}: {}", shown(&outcome));
        one_line(&place.gateway, since).await?;
    }
    place.backend().always(Act::echo());
    assert_ok(&place.unary(b"m").await?, b"m")
}

#[tokio::test]
async fn an_instances_reset_within_its_answer_is_no_good_end() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut kept, mut kept_answer) = place.client.call(UNARY, &[]).await?;
    kept.send(b"a").await.map_err(|cut| anyhow!("{cut:?}"))?;
    kept_answer.message().await?;
    for (reason, status) in RESETS {
        let begin = Act::default().step(Step::Read).head(&[]).data(framed(b"first"));
        place.backend().script([begin.wait(std::time::Duration::from_millis(50)).step(Step::Reset(reason))]);
        let outcome = place.unary(b"m").await?;
        let is_status = outcome.trailers.is_some() && outcome.status() == Some(status);
        assert!(is_status || outcome.cut.is_some(), "{reason:?}: {}", shown(&outcome));
        assert_eq!(outcome.body, framed(b"first"), "{reason:?}: what came before is passed on");
    }
    kept.send(b"b").await.map_err(|cut| anyhow!("{cut:?}"))?;
    assert_eq!(kept_answer.message().await?.map(|message| message.bytes), Some("b".into()));
    Ok(())
}

#[tokio::test]
async fn an_instance_that_closes_its_connection_ends_its_calls_with_a_status() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().script([Act::default().step(Step::Read).step(Step::Close)]);
    let outcome = place.unary(b"m").await?;
    assert_eq!(outcome.status(), Some(code::UNAVAILABLE), "{}", shown(&outcome));
    assert_ok(&place.unary(b"m").await?, b"m")
}

#[tokio::test]
async fn an_early_answer_ends_the_call_though_its_request_goes_on() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().script([
        Act::default().trailers_only("9", &[]),
        Act::default().head(&[]).trailers(&[("grpc-status", "9")]),
    ]);
    for _ in 0..2 {
        let (mut upload, download) = place.client.call(UNARY, &[]).await?;
        upload.send(b"m").await.map_err(|cut| anyhow!("{cut:?}"))?;
        let outcome = download.outcome_within(SOON).await?;
        assert_eq!(outcome.status(), Some("9"), "{}", shown(&outcome));
    }
    assert_ok(&place.unary(b"m").await?, b"m")
}
