//! Answers of the gateway's own.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    http::{Connection, Request, raw},
    ports::free_address,
    stack::GatewayOptions,
};

use crate::{Fixture, assert_own_answer, malformed::PATIENCE};

#[tokio::test]
async fn no_route_is_404_and_no_endpoint_is_503() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    assert_own_answer(&fixture.gateway.get("/nowhere").await?, 404)?;

    let unavailable = fixture.gateway.get("/goods").await?;
    assert_own_answer(&unavailable, 503)?;
    assert_eq!(unavailable.header("retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn an_answer_of_its_own_keeps_the_connection() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for (path, status) in [("/nowhere", 404), ("/goods", 503), ("/nowhere", 404)] {
        for request in
            [Request::get(path).body(Bytes::new())?, Request::post(path).body(Bytes::from("body"))?]
        {
            assert_own_answer(&connection.send(request).await?, status)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_502() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    fixture.etcd.put(&key("goods", "dead"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["dead"]).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 502)?;
    assert_own_answer(&fixture.send(Request::post("/goods").body(Bytes::from("x"))?).await?, 502)
}

#[tokio::test]
async fn an_instance_that_never_answers_is_504() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/timeouts/idle", "300ms")).await?;
    let backend = Backend::start("a", Reply::Hang).await?;
    fixture.register("goods", &[&backend]).await?;
    for request in
        [Request::get("/goods").body(Bytes::new())?, Request::post("/goods").body(Bytes::from("x"))?]
    {
        let begin = Instant::now();
        assert_own_answer(&fixture.send(request).await?, 504)?;
        let took = begin.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_breaks_off_before_a_byte_is_502() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let backend = Backend::start("a", Reply::Drop).await?;
    fixture.register("goods", &[&backend]).await?;
    assert_own_answer(&fixture.send(Request::post("/goods").body(Bytes::from("x"))?).await?, 502)?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 502)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off_for_the_client_too() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    backend.script([Reply::Break(100, Bytes::from("half"))]);
    let request = b"GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(fixture.gateway.address(), request, PATIENCE).await?;
    assert_eq!((answer.status(), answer.answers(), answer.closed), (Some(200), 1, true), "{}", answer.text());
    assert!(answer.text().ends_with("half"), "no second answer is appended: {}", answer.text());
    assert_eq!(backend.count(), 1, "an answer that has begun is not tried again");
    Ok(())
}
