//! What is tried again, and what is not.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    http::Request,
    load::Load,
    ports::free_address,
    stack::GatewayOptions,
    wait::eventually,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::{Fixture, assert_own_answer};

/// A gateway and `replies.len()` backends of the service `goods`, with these usual replies.
async fn goods(replies: &[Reply]) -> Result<(Fixture, Vec<Backend>)> {
    goods_with(GatewayOptions::default(), replies).await
}

async fn goods_with(options: GatewayOptions, replies: &[Reply]) -> Result<(Fixture, Vec<Backend>)> {
    let fixture = Fixture::start(options).await?;
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
    // Half of them: with more out, all would be used. The budget is for what was a load on somebody.
    let options = GatewayOptions::default().set("gateway/services", without_budget());
    let (fixture, _backends) = goods_with(options, &[Reply::Echo, Reply::Echo]).await?;
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

/// `goods` may not retry anything that costs.
fn without_budget() -> serde_json::Value {
    json!({ "goods": { "budget": { "percent": 0, "per_second": 0 } } })
}

#[tokio::test]
async fn what_was_sent_is_sent_again_within_the_budget_alone() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/services", without_budget());
    let (fixture, backends) = goods_with(options, &[Reply::Drop, Reply::ok("")]).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(1).run_count(50).await;
    assert!(outcome.status(502) > 0, "{:?}", outcome.by_status);
    assert_eq!(total(&backends), 50);
    let denied = fixture.gateway.metric("leaseway_retries_denied_total", &[]).await?;
    assert_eq!(denied, outcome.status(502) as f64);
    Ok(())
}

#[tokio::test]
async fn the_only_place_at_an_endpoint_is_free_again_for_the_same_request() -> Result<()> {
    let limited = json!({ "goods": { "limits": { "endpoint": 1 } } });
    let options = GatewayOptions::default().set("gateway/services", limited);
    let (fixture, backends) = goods_with(options, &[Reply::ok("")]).await?;
    // The kept connection is closed when the next request comes: it goes to the same instance, anew.
    for _ in 0..5 {
        for replies in [&[][..], &[Reply::Drop]] {
            // A client has its answer before the gateway has done with the request.
            wait_idle(&fixture).await?;
            backends[0].script(replies.to_vec());
            assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
        }
    }
    Ok(())
}

async fn wait_idle(fixture: &Fixture) -> Result<()> {
    eventually("no request is in flight", Duration::from_secs(10), async || {
        let in_flight = fixture.gateway.metric("leaseway_requests_in_flight", &[]).await?;
        anyhow::ensure!(in_flight == 0.0, "{in_flight} are");
        Ok(())
    })
    .await
}

/// An instance that reads requests and answers each with these bytes, which are no whole answer.
async fn babbler(bytes: &'static [u8]) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await;
            if read.is_ok_and(|count| count > 0) {
                // The gateway may be gone: that is the test's to find.
                let _ = stream.write_all(bytes).await;
            }
        }
    };
    Ok((address, tokio::spawn(serve)))
}

#[tokio::test]
async fn one_byte_of_an_answer_is_enough_for_a_request_not_to_be_tried_again() -> Result<()> {
    for bytes in [&b"H"[..], b"HTTP/1.1 20", b"no answer at all\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"]
    {
        let (fixture, backends) = goods(&[Reply::ok("")]).await?;
        let (address, server) = babbler(bytes).await?;
        fixture.etcd.put(&key("goods", "babbler"), address.to_string()).await?;
        fixture.gateway.wait_instances("goods", &["0", "babbler"]).await?;
        let outcome = Load::get(fixture.gateway.address(), "/goods").connections(1).run_count(30).await;
        server.abort();
        assert!(outcome.failed > 0, "the babbler was never asked: nothing is shown");
        assert_eq!(total(&backends) as u64, 30 - outcome.failed, "{}", bytes.escape_ascii());
        assert_eq!(fixture.gateway.metric("leaseway_retries_total", &[]).await?, 0.0);
    }
    Ok(())
}

/// A single request that waits makes a stall.
fn of_little_patience() -> GatewayOptions {
    let stall = json!({ "goods": { "stall": { "requests": 1 } } });
    GatewayOptions::default().set("gateway/services", stall)
}

/// Three seconds of silence, three times as much as makes a stall once it is known how fast they are.
fn pause() -> Reply {
    Reply::After(Duration::from_secs(3), Box::new(Reply::ok("late")))
}

#[tokio::test]
async fn what_waits_at_the_only_instance_is_answered_late_and_not_broken_off() -> Result<()> {
    let (fixture, backends) = goods_with(of_little_patience(), &[Reply::ok("")]).await?;
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
    backends[0].script([pause()]);
    let answer = fixture.gateway.get("/goods").await?;
    assert_eq!((answer.status, &*answer.text()), (200, "late"));
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_to_be_sent_again_is_not_broken_off_and_what_is_small_moves() -> Result<()> {
    for (size, moves) in [(200_000, false), (20_000, true)] {
        let (fixture, backends) = goods_with(of_little_patience(), &[Reply::ok(""), Reply::ok("")]).await?;
        Load::get(fixture.gateway.address(), "/goods").connections(1).run_count(50).await;
        backends.iter().for_each(|backend| backend.script([pause()]));
        let put = Request::put("/goods").body(Bytes::from(vec![b'x'; size]))?;
        assert_eq!(fixture.send(put).await?.status, 200);
        assert_eq!(total(&backends), if moves { 52 } else { 51 }, "{size}");
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
    fixture.gateway.process().wait_for_line(is_access, Duration::from_secs(5)).await?;
    Ok(())
}
