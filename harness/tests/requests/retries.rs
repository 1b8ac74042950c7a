//! What is tried again, and what is not.

use anyhow::Result;
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    http::Request,
    load::Load,
    ports::free_address,
    stack::GatewayOptions,
};

use crate::{Fixture, assert_own_answer};

/// A gateway and `replies.len()` backends of the service `goods`, with these usual replies.
async fn goods(replies: &[Reply]) -> Result<(Fixture, Vec<Backend>)> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let mut backends = Vec::new();
    for (number, reply) in replies.iter().enumerate() {
        backends.push(Backend::start(&number.to_string(), reply.clone()).await?);
    }
    fixture.register("goods", &backends.iter().collect::<Vec<_>>()).await?;
    Ok((fixture, backends))
}

fn total(backends: &[Backend]) -> usize {
    backends.iter().map(Backend::count).sum()
}

#[tokio::test]
async fn a_refused_connect_is_tried_elsewhere_for_any_method() -> Result<()> {
    // Half of them: with more out, all would be used, and the budget would bound the retries.
    let (fixture, _backends) = goods(&[Reply::Echo, Reply::Echo]).await?;
    for instance in ["dead-1", "dead-2"] {
        fixture.etcd.put(&key("goods", instance), free_address()?.to_string()).await?;
    }
    fixture.gateway.wait_instances("goods", &["0", "1", "dead-1", "dead-2"]).await?;
    let target = fixture.gateway.address();
    let get = Load::get(target, "/goods").connections(4).run_count(200).await;
    let post = Load::post(target, "/goods", vec![b'x'; 10_000]).connections(4).run_count(200).await;
    for outcome in [get, post] {
        let answered = outcome.instance("0") + outcome.instance("1");
        assert_eq!((outcome.failed, answered), (0, 200), "{:?}", outcome.errors);
    }
    Ok(())
}

#[tokio::test]
async fn a_get_without_an_answer_byte_is_tried_elsewhere() -> Result<()> {
    let (fixture, backends) = goods(&[Reply::Drop, Reply::ok("")]).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(4).run_count(200).await;
    assert_eq!((outcome.failed, outcome.instance("1")), (0, 200), "{:?}", outcome.errors);
    assert!(backends[0].count() > 0, "the broken one was never tried: nothing is shown");
    Ok(())
}

#[tokio::test]
async fn a_post_is_never_sent_twice() -> Result<()> {
    let (fixture, backends) = goods(&[Reply::Drop, Reply::Drop]).await?;
    for sent in 1..=20 {
        let answer = fixture.send(Request::post("/goods").body(Bytes::from("order"))?).await?;
        assert_own_answer(&answer, 502)?;
        assert_eq!(total(&backends), sent);
    }
    Ok(())
}

#[tokio::test]
async fn no_endpoint_is_tried_twice_for_one_request() -> Result<()> {
    let (fixture, backends) = goods(&[Reply::Drop, Reply::Drop]).await?;
    for sent in 1..=10 {
        assert_own_answer(&fixture.gateway.get("/goods").await?, 502)?;
        assert_eq!((backends[0].count(), backends[1].count()), (sent, sent));
    }
    Ok(())
}

#[tokio::test]
async fn three_endpoints_are_tried_at_most() -> Result<()> {
    let (fixture, backends) = goods(&vec![Reply::Drop; 5]).await?;
    for sent in 1..=10 {
        assert_own_answer(&fixture.gateway.get("/goods").await?, 502)?;
        assert_eq!(total(&backends), 3 * sent);
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_an_answer_whatever_its_status() -> Result<()> {
    let (fixture, backends) = goods(&[Reply::status(503), Reply::status(500)]).await?;
    for sent in 1..=10 {
        assert!(fixture.gateway.get("/goods").await?.status >= 500);
        assert_eq!(total(&backends), sent);
    }
    Ok(())
}

#[tokio::test]
async fn the_access_log_counts_the_attempts() -> Result<()> {
    let (fixture, _backends) = goods(&[Reply::Drop, Reply::Drop]).await?;
    let answer = fixture.gateway.get("/goods").await?;
    let trace = answer.header("trace_id").unwrap_or_default();
    let is_access = |line: &str| line.contains(trace) && line.contains("\"attempts\":2");
    fixture.gateway.process().wait_for_line(is_access, std::time::Duration::from_secs(5)).await?;
    Ok(())
}
