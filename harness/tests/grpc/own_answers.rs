//! The gateway's own answers: gRPC's to gRPC, and to others what they always were.

use anyhow::{Result, anyhow};
use harness::grpc::Act;
use serde_json::json;

use super::{PATIENCE, Place, SERVICE, UNARY, assert_own, code, one_line, shown};

#[tokio::test]
async fn a_call_that_no_route_takes_is_unimplemented() -> Result<()> {
    let place = Place::new(1).await?;
    for path in ["/", "/test.Other/Unary", "/test.EchoOther/Unary", "/test"] {
        let since = place.gateway.process().line_count();
        let outcome = place.client.unary(path, &[], b"m").await?;
        assert_own(&outcome, code::UNIMPLEMENTED)?;
        let line = one_line(&place.gateway, since).await?;
        assert_eq!(line["trace_id"].as_str(), outcome.header("trace_id"), "{line}");
    }
    assert_eq!(place.total(), 0);
    Ok(())
}

#[tokio::test]
async fn a_call_of_a_service_without_an_instance_is_unavailable() -> Result<()> {
    let place = Place::with(1, |options| {
        options.set(
            "gateway/routes",
            json!([{ "path": SERVICE, "service": "nobody" }, { "path": "/x", "service": "echo" }]),
        )
    })
    .await?;
    assert_own(&place.unary(b"m").await?, code::UNAVAILABLE)
}

#[tokio::test]
async fn a_call_of_an_instance_that_is_gone_is_unavailable() -> Result<()> {
    let mut place = Place::new(1).await?;
    place.backends.clear();
    assert_own(&place.unary(b"m").await?, code::UNAVAILABLE)
}

#[tokio::test]
async fn a_call_above_a_limit_is_told_so() -> Result<()> {
    for (key, limit) in [
        ("gateway/services/echo/limits", json!({ "endpoint": 1 })),
        ("gateway/services/echo/limits", json!({ "service": 1 })),
        ("gateway/max_requests", json!(1)),
    ] {
        let place = Place::with(1, |options| options.set(key, limit.clone())).await?;
        let (mut first, mut first_answer) = place.client.call(UNARY, &[]).await?;
        first.send(b"m").await.map_err(|cut| anyhow!("{cut:?}"))?;
        first_answer.message().await?;
        let outcome = place.unary(b"m").await?;
        assert_own(&outcome, code::RESOURCE_EXHAUSTED).map_err(|error| error.context(limit))?;
        first.finish().map_err(|cut| anyhow!("{cut:?}"))?;
        assert_eq!(first_answer.outcome().await?.status(), Some(code::OK));
    }
    Ok(())
}

#[tokio::test]
async fn a_call_says_its_service_method_and_status_in_the_log_and_the_metrics() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().script([Act::status("5")]);
    let since = place.gateway.process().line_count();
    let outcome = place.unary(b"m").await?;
    assert_eq!(outcome.status(), Some("5"), "{}", shown(&outcome));
    let line = one_line(&place.gateway, since).await?;
    let text = line.to_string();
    for part in ["NOT_FOUND", "test.Echo", "Unary"] {
        assert!(text.contains(part), "{part} is not in {line}");
    }
    super::wait_metric(&place.gateway, "leaseway_grpc_calls_total", &["grpc_status=\"NOT_FOUND\""], 1.0).await
}

#[tokio::test]
async fn who_speaks_no_grpc_has_an_answer_of_https() -> Result<()> {
    let place = Place::new(1).await?;
    let outcome = place.client.send("GET /nowhere", &[], "").await?;
    assert_eq!((outcome.http, outcome.status()), (404, None), "{}", shown(&outcome));
    let json: serde_json::Value = serde_json::from_slice(&outcome.body)?;
    assert_eq!(json["trace_id"].as_str(), outcome.header("trace_id"));
    // A content type alone makes a call, and it need not be its first words.
    for kind in ["application/grpc+proto", "application/grpc;x=y", "Application/gRPC+json"] {
        let outcome =
            place.client.send("POST /nowhere", &[("content-type", kind), ("te", "trailers")], "").await?;
        assert_own(&outcome, code::UNIMPLEMENTED).map_err(|error| error.context(kind))?;
    }
    for kind in ["application/grpcx", "application/grp", "text/plain"] {
        let outcome = place.client.send("POST /nowhere", &[("content-type", kind)], "m").await?;
        assert_eq!((outcome.http, outcome.status()), (404, None), "{kind}: {}", shown(&outcome));
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_of_the_gateways_own_comes_before_the_end_of_a_call() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut upload, download) = place.client.call("/nowhere", &[]).await?;
    upload.send(b"m").await.map_err(|cut| anyhow!("{cut:?}"))?;
    assert_own(&download.outcome_within(PATIENCE).await?, code::UNIMPLEMENTED)
}
