//! An instance whose calls fail is left alone for a while.

use anyhow::Result;
use harness::grpc::Act;
use serde_json::json;

use super::{Place, UNARY, code, wait_metric};

const EJECTIONS: &str = "leaseway_ejections_total";

/// How many of 60 calls reach the first of two instances that answers so.
async fn reached(status: &str, ejection: serde_json::Value) -> Result<(Place, usize)> {
    let place = Place::with(2, |options| options.set("gateway/services/echo/ejection", ejection)).await?;
    place.backends[0].always(Act::status(status));
    for _ in 0..60 {
        let outcome = place.client.unary(UNARY, &[], b"m").await?;
        let expected = if outcome.served_by() == Some("0") { status } else { code::OK };
        assert_eq!(outcome.status(), Some(expected));
    }
    let count = place.backends[0].count();
    Ok((place, count))
}

#[tokio::test]
async fn an_instance_whose_calls_fail_is_ejected() -> Result<()> {
    for status in ["14", "13", "2", "4"] {
        let (place, count) = reached(status, json!({ "base": "20s", "longest": "20s" })).await?;
        assert!((5..10).contains(&count), "{status}: {count} of 60 calls");
        wait_metric(&place.gateway, EJECTIONS, &["service=\"echo\""], 1.0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_finds_fault_with_its_calls_is_not_ejected() -> Result<()> {
    for status in ["3", "5", "7", "12", "16"] {
        let (_, count) = reached(status, json!({ "base": "20s", "longest": "20s" })).await?;
        assert!((25..=35).contains(&count), "{status}: {count} of 60 calls");
    }
    Ok(())
}

#[tokio::test]
async fn which_statuses_count_can_be_said() -> Result<()> {
    let only = |grpc| json!({ "base": "20s", "longest": "20s", "grpc": grpc });
    let (_, count) = reached("5", only(json!(["NOT_FOUND"]))).await?;
    assert!((5..10).contains(&count), "{count} of 60 calls");
    let (_, count) = reached("14", only(json!(["NOT_FOUND"]))).await?;
    assert!((25..=35).contains(&count), "{count} of 60 calls");
    Ok(())
}
