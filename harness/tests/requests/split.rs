//! Routes whose requests are split among services.

use anyhow::Result;
use harness::{
    backend::{Backend, Reply},
    load::Load,
    stack::GatewayOptions,
};
use serde_json::{Value, json};

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

/// A route to `goods` and `next` with these weights.
pub(super) fn split(weights: [u16; 2]) -> Value {
    let [goods, next] = weights;
    json!({
        "path": "/goods",
        "services": [{ "service": "goods", "weight": goods }, { "service": "next", "weight": next }],
    })
}

fn options(weights: [u16; 2]) -> GatewayOptions {
    GatewayOptions::default().set("gateway/routes", json!([split(weights)]))
}

impl Fixture {
    /// With the services `goods` and `next` on a backend each, which answer 200.
    pub(super) async fn with_two(options: GatewayOptions) -> Result<(Self, [Backend; 2])> {
        let fixture = Self::start(options).await?;
        let goods = Backend::start("goods", Reply::ok("goods")).await?;
        let next = Backend::start("next", Reply::ok("next")).await?;
        fixture.register("goods", &[&goods]).await?;
        fixture.register("next", &[&next]).await?;
        Ok((fixture, [goods, next]))
    }
}

#[tokio::test]
async fn each_service_gets_its_share_and_is_named_where_it_answered() -> Result<()> {
    let (fixture, _backends) = Fixture::with_two(options([90, 10])).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").run_count(2_000).await;
    assert_eq!((outcome.failed, outcome.cookies), (0, 0), "{:?}", outcome.errors);
    // Five standard deviations.
    assert!((133..=267).contains(&outcome.instance("next")), "{:?}", outcome.by_instance);
    for service in ["goods", "next"] {
        let label = format!("service=\"{service}\"");
        let counted = fixture.gateway.metric("leaseway_requests_total", &[&label]).await?;
        assert_eq!(counted, outcome.instance(service) as f64, "{service}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_with_other_weights_holds_for_what_begins_then() -> Result<()> {
    let (fixture, [goods, next]) = Fixture::with_two(options([1, 0])).await?;
    let load = Load::get(fixture.gateway.address(), "/goods");
    assert_eq!(load.clone().run_count(50).await.instance("goods"), 50);
    fixture.gateway.reload(&options([0, 1])).await?;
    assert_eq!(load.run_count(50).await.instance("next"), 50);
    assert_eq!((goods.count(), next.count()), (50, 50));
    Ok(())
}

#[tokio::test]
async fn a_service_without_an_endpoint_leaves_its_requests_to_the_others() -> Result<()> {
    let fixture = Fixture::start(options([1_000, 1])).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 503)?;
    let next = Backend::start("next", Reply::ok("")).await?;
    fixture.register("next", &[&next]).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").run_count(100).await;
    assert_eq!((outcome.failed, next.count()), (0, 100), "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_full_declines_what_was_drawn_for_it() -> Result<()> {
    let options = options([1_000, 1]).set("gateway/services/goods/limits", json!({ "service": 1 }));
    let (fixture, [goods, next]) = Fixture::with_two(options).await?;
    goods.script([Reply::Hang]);
    let address = fixture.gateway.address();
    let hangs = tokio::spawn(async move { harness::http::get(address, "/goods").await });
    goods.wait_count(1, PATIENCE).await?;
    let answer = fixture.gateway.get("/goods").await?;
    assert_own_answer(&answer, 503)?;
    assert!(answer.text().contains("service goods: too many requests"), "{}", answer.text());
    assert_eq!(next.count(), 0);
    hangs.abort();
    Ok(())
}

#[tokio::test]
async fn a_request_that_fails_stays_with_the_service_that_was_drawn() -> Result<()> {
    let (fixture, [goods, next]) = Fixture::with_two(options([1, 1])).await?;
    goods.behave(harness::backend::Behaviour::Refuse).await?;
    let mut failed = 0;
    for _ in 0..40 {
        let answer = fixture.gateway.get("/goods").await?;
        match answer.status {
            200 => assert_eq!(answer.text(), "next"),
            _ => {
                assert_own_answer(&answer, 502)?;
                assert!(answer.text().contains("service goods: "), "{}", answer.text());
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
    assert_eq!(next.count(), 40 - failed);
    Ok(())
}
