//! Requests that go round in circles through several gateways.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{backend::Reply, etcd::key, http::Request, stack::GatewayOptions, wait::eventually};
use serde_json::Value;

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

/// So many gateways a request may pass through.
const MOST: usize = 8;

async fn requests(fixture: &Fixture, labels: &[&str]) -> Result<f64> {
    fixture.gateway.metric("leaseway_requests_total", labels).await
}

/// A request for `/goods` that says that it has come through so many gateways.
fn passed(gateways: usize) -> Result<Request<Bytes>> {
    Ok(Request::get("/goods").header("cdn-loop", vec!["leaseway"; gateways].join(", ")).body(Bytes::new())?)
}

#[tokio::test]
async fn two_gateways_that_are_each_others_instances_end_a_request_after_a_few_rounds() -> Result<()> {
    let start = || Fixture::start(GatewayOptions::default());
    let ring = [start().await?, start().await?];
    for (fixture, next) in [(&ring[0], &ring[1]), (&ring[1], &ring[0])] {
        fixture.etcd.put(&key("goods", "next"), next.gateway.address().to_string()).await?;
        fixture.gateway.wait_instances("goods", &["next"]).await?;
    }

    let answer = ring[0].gateway.get("/goods").await?;
    assert_own_answer(&answer, 508)?;
    let message = "service goods: the request has gone through 8 gateways, so it goes round in circles";
    assert_eq!(answer.json()?["message"], message);
    // One is counted when its answer is gone, which its client may have before.
    eventually("eight are sent on, and the ninth is not", PATIENCE, async || {
        let (first, second) = (requests(&ring[0], &["goods"]).await?, requests(&ring[1], &["goods"]).await?);
        ensure!((first, second) == (5.0, 4.0), "{first} and {second} are counted");
        Ok(())
    })
    .await?;
    assert_eq!(ring[0].gateway.metric("leaseway_loops_total", &["service=\"goods\""]).await?, 1.0);
    for fixture in &ring {
        assert_eq!(fixture.gateway.metric("leaseway_retries_total", &[]).await?, 0.0);
        assert_eq!(fixture.gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
        let services = fixture.gateway.services().await?;
        assert_eq!(services.endpoints("goods")[0].state, "up");
    }
    let line = ring[0].gateway.process().wait_for_line(|line| line.contains("circles"), PATIENCE).await?;
    let line: Value = serde_json::from_str(&line)?;
    assert_eq!((&line["status"], &line["attempts"]), (&Value::from(508), &Value::from(0)), "{line}");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("circles")), "{line}");
    Ok(())
}

#[tokio::test]
async fn the_pages_of_one_gateway_are_not_open_to_the_clients_of_another() -> Result<()> {
    let inner = Fixture::start(GatewayOptions::default()).await?;
    let outer = Fixture::start(GatewayOptions::without_routes().route("/", "all")).await?;
    outer.etcd.put(&key("all", "pages"), inner.gateway.admin_address().to_string()).await?;
    outer.gateway.wait_instances("all", &["pages"]).await?;
    for page in ["/services", "/metrics", "/readyz", "/livez"] {
        assert_eq!(inner.gateway.admin(page).await?.status, 200, "{page}");
        let answer = outer.gateway.get(page).await?;
        assert_eq!(answer.status, 403, "{page}: {}", answer.text());
        assert!(answer.text().contains("CDN-Loop"), "{}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_of_gateways_is_counted_and_its_end_reached() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
    assert_eq!(backend.last()?.header("cdn-loop"), Some("leaseway"));

    assert_eq!(fixture.send(passed(MOST - 1)?).await?.status, 200);
    let all = ["leaseway"; MOST].join(", ");
    assert_eq!(backend.last()?.header("cdn-loop"), Some(&*all));

    assert_own_answer(&fixture.send(passed(MOST)?).await?, 508)?;
    assert_eq!(backend.count(), 2);
    Ok(())
}

#[tokio::test]
async fn what_others_wrote_is_kept_and_what_nobody_can_read_hides_no_gateway() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request = Request::get("/goods")
        .header("cdn-loop", "edge.example; v=\"1, leaseway")
        .header("cdn-loop", "LEASEWAY;x=1 ,notleaseway")
        .header("connection", "cdn-loop")
        .body(Bytes::new())?;
    assert_eq!(fixture.send(request).await?.status, 200);
    let arrived = backend.last()?;
    let lines: Vec<_> = arrived.headers.get_all("cdn-loop").iter().collect();
    assert_eq!(lines, ["edge.example; v=\"1, leaseway, LEASEWAY;x=1 ,notleaseway, leaseway"]);

    // Each such line, sent round and round, comes to an end.
    for begin in ["", ",,", "\"", "a; b=\"", "\\", "leaseway;leaseway", "\u{e9}"] {
        let mut value = begin.to_owned();
        let mut rounds = 0;
        loop {
            let request = Request::get("/goods").header("cdn-loop", value.as_bytes()).body(Bytes::new())?;
            let answer = fixture.send(request).await?;
            if answer.status == 508 {
                break;
            }
            assert_eq!(answer.status, 200, "{value:?}");
            rounds += 1;
            assert!(rounds <= MOST, "{value:?}");
            let headers = backend.last()?.headers;
            let arrived = headers.get("cdn-loop").context("no marker")?.as_bytes();
            value = String::from_utf8(arrived.to_owned())?;
        }
        assert!(rounds >= MOST - 1, "{begin:?} counts for more than one");
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_answers_508_is_not_blamed() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    backend.script(vec![Reply::status(508); 20]);
    for _ in 0..20 {
        assert_eq!(fixture.gateway.get("/goods").await?.status, 508);
    }
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
    assert_eq!(fixture.gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
    assert_eq!(fixture.gateway.metric("leaseway_loops_total", &[]).await?, 0.0, "it was not the gateway's");
    Ok(())
}
