//! How long a call may take: as its client says by `grpc-timeout`, and as the route says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::grpc::{Act, Cut, Reason, SeenCall};
use serde_json::json;

use super::{PATIENCE, Place, SOON, UNARY, assert_ok, assert_own, code};

/// What `grpc-timeout` says.
fn left(call: &SeenCall) -> Result<Duration> {
    let value = call.header("grpc-timeout").context("no grpc-timeout came")?;
    let (digits, unit) = value.split_at(value.len() - 1);
    ensure!(!digits.is_empty() && digits.len() <= 8, "no timeout: {value}");
    let count: u64 = digits.parse()?;
    Ok(match unit {
        "H" => Duration::from_secs(3600 * count),
        "M" => Duration::from_secs(60 * count),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => anyhow::bail!("no unit: {value}"),
    })
}

fn is_cancelled(call: &SeenCall) -> bool {
    matches!(&call.cut, Some((Cut::Reset(Reason::CANCEL), _)))
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over_and_its_instance_is_told() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(Act::silence());
    for timeout in ["300m", "300000u", "300000n"] {
        let (count, begun) = (place.backend().count(), Instant::now());
        let outcome = place.client.unary(UNARY, &[("grpc-timeout", timeout)], b"m").await?;
        assert_own(&outcome, code::DEADLINE_EXCEEDED)?;
        assert!(begun.elapsed() < SOON, "{timeout}: {:?}", begun.elapsed());
        // So short a time may be over before the call is on its way.
        if timeout == "300m" {
            assert!(begun.elapsed() >= Duration::from_millis(300), "{timeout}: {:?}", begun.elapsed());
            place.backend().wait(SOON, |calls| calls.get(count).is_some_and(is_cancelled)).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_has_begun_ends_when_the_time_is_over() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(Act::default().head(&[]).data(harness::grpc::framed(b"first")));
    let (mut upload, mut download) = place.client.call(UNARY, &[("grpc-timeout", "500m")]).await?;
    upload.send(b"m").await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    assert_eq!(download.message().await?.map(|message| message.bytes), Some("first".into()));
    let outcome = download.outcome_within(SOON).await?;
    let told = outcome.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    let is_told = told.is_some_and(|status| status == code::DEADLINE_EXCEEDED) || outcome.cut.is_some();
    assert!(is_told, "{outcome:?}");
    place.backend().wait(SOON, |calls| is_cancelled(&calls[0])).await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_is_told_what_time_is_left() -> Result<()> {
    let place = Place::new(1).await?;
    for (sent, most) in [("5S", 5), ("1M", 60), ("1H", 3600)] {
        assert_ok(&place.client.unary(UNARY, &[("grpc-timeout", sent)], b"m").await?, b"m")?;
        let (left, most) = (left(&place.backend().last()?)?, Duration::from_secs(most));
        assert!(left <= most && left + Duration::from_secs(4) > most, "{sent}: {left:?}");
    }
    assert_ok(&place.unary(b"m").await?, b"m")?;
    assert_eq!(place.backend().last()?.header("grpc-timeout"), None);
    Ok(())
}

#[tokio::test]
async fn a_second_instance_has_less_time_than_the_first() -> Result<()> {
    let place = Place::new(2).await?;
    let refuse = Act::default()
        .wait(Duration::from_millis(700))
        .step(harness::grpc::Step::Reset(Reason::REFUSED_STREAM));
    place.backends[0].always(refuse);
    let outcome = loop {
        let count = place.backends[0].count();
        let outcome = place.client.unary(UNARY, &[("grpc-timeout", "9S")], b"m").await?;
        if place.backends[0].count() > count {
            break outcome;
        }
    };
    assert_ok(&outcome, b"m")?;
    let (first, second) = (left(&place.backends[0].last()?)?, left(&place.backends[1].last()?)?);
    assert!(second + Duration::from_millis(600) < first, "{first:?}, then {second:?}");
    Ok(())
}

#[tokio::test]
async fn the_routes_own_limit_holds_too() -> Result<()> {
    let place =
        Place::with(1, |options| options.set("gateway/timeouts", json!({ "total": "500ms" }))).await?;
    place.backend().always(Act::silence());
    for fields in [&[][..], &[("grpc-timeout", "20S")]] {
        let outcome = place.client.unary(UNARY, fields, b"m").await?;
        assert_own(&outcome, code::DEADLINE_EXCEEDED)?;
    }
    let calls =
        place.backend().wait(PATIENCE, |calls| calls.len() == 2 && calls.iter().all(is_cancelled)).await?;
    assert!(left(&calls[1])? <= Duration::from_millis(500), "{calls:?}");
    Ok(())
}
