//! HTTP/2 in clear, and what passes between it and HTTP/1.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use harness::{
    backend::{Backend, Reply},
    grpc::{Act, Client, GrpcBackend, Step},
    http::{self, Request},
    load::Load,
    stack::Gateway,
    wire::Wire,
};

use super::{Place, SERVICE, SOON, UNARY, assert_ok, options, shown};

/// A client of HTTP/2 in front of an instance of HTTP/1.
async fn to_http1(reply: Reply) -> Result<(Gateway, Backend, Client)> {
    let backend = Backend::start("a", reply).await?;
    let gateway = Gateway::start_with_registry(options(&[backend.address()])).await?;
    let client = Client::connect(gateway.address()).await?;
    Ok((gateway, backend, client))
}

/// An instance of HTTP/2, which has all requests.
async fn to_http2() -> Result<(Gateway, GrpcBackend)> {
    let backend = GrpcBackend::start("a").await?;
    backend.always(Act::http(200, &[("content-type", "text/plain"), ("x-answer", "b")], "hello"));
    let options = options(&[backend.address()]).set("gateway/services/echo/protocol", "h2c");
    Ok((Gateway::start_with_registry(options).await?, backend))
}

#[tokio::test]
async fn a_request_of_http2_comes_to_an_instance_as_one_of_http1() -> Result<()> {
    let (gateway, backend, client) = to_http1(Reply::Echo).await?;
    let fields = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("x-word", "there"), ("te", "trailers")];
    let outcome = client.send(&format!("POST {SERVICE}/x?y=z"), &fields, "hello").await?;
    assert_eq!((outcome.http, &outcome.body[..]), (200, &b"hello"[..]), "{}", shown(&outcome));
    let seen = backend.last()?;
    assert_eq!(seen.target, format!("{SERVICE}/x?y=z"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(seen.header("host"), Some(gateway.address().to_string().as_str()));
    assert_eq!((seen.header("x-word"), &seen.body[..]), (Some("there"), &b"hello"[..]));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    let trace = outcome.header("trace_id").context("no trace id")?;
    assert_eq!(seen.header("trace_id"), Some(trace));
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert!(!outcome.head.contains_key(name), "{}", shown(&outcome));
    }
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_body_has_none_in_http1() -> Result<()> {
    let (_gateway, backend, client) = to_http1(Reply::ok("hello")).await?;
    for line in ["GET", "DELETE", "HEAD"] {
        let outcome = client.send(&format!("{line} {SERVICE}"), &[], "").await?;
        let expected = if line == "HEAD" { "" } else { "hello" };
        assert_eq!((outcome.http, &outcome.body[..]), (200, expected.as_bytes()), "{line}");
        let seen = backend.last()?;
        assert!(!seen.headers.contains_key("transfer-encoding"), "{line}: {seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_of_http1_comes_to_an_instance_as_one_of_http2() -> Result<()> {
    let (gateway, backend) = to_http2().await?;
    let mut wire = Wire::connect(gateway.address()).await?;
    for _ in 0..2 {
        let head = format!("POST {SERVICE}/x?y=z HTTP/1.1\r\nHost: shop.example\r\nCookie: a=1; b=2\r\n");
        let fields = "Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Word: There\r\nContent-Length: 5\r\n\r\n";
        wire.send(head + fields + "hello").await?;
        let answer = wire.answer("POST").await?;
        assert_eq!((answer.head.status(), answer.text().as_str()), (200, "hello"));
        assert_eq!((answer.head.start[0].as_str(), answer.head.get("x-answer")), ("HTTP/1.1", Some("b")));
        let seen = backend.last()?;
        assert_eq!(seen.target, format!("{SERVICE}/x?y=z"));
        assert_eq!(seen.origin, (Some("http".to_owned()), Some("shop.example".to_owned())));
        let cookies: Vec<_> = seen.headers.get_all("cookie").iter().collect();
        assert!(cookies == ["a=1; b=2"] || cookies == ["a=1", "b=2"], "{cookies:?}");
        assert_eq!((seen.header("x-word"), seen.received), (Some("There"), 5));
        for name in ["connection", "keep-alive", "x-hop", "host", "transfer-encoding"] {
            assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
        }
    }
    assert_eq!(backend.connections().accepted, 1);
    Ok(())
}

#[tokio::test]
async fn answers_without_a_body_stay_so() -> Result<()> {
    let (gateway, backend) = to_http2().await?;
    let mut wire = Wire::connect(gateway.address()).await?;
    for status in [204, 304] {
        let only = Step::Head { status, fields: Default::default(), ends: true };
        backend.script([Act::default().step(Step::Read).step(only)]);
        let answer = wire.get(SERVICE, "").await?;
        assert_eq!((answer.head.status(), answer.text().as_str()), (status, ""));
    }
    wire.send(format!("HEAD {SERVICE} HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
    let only = Step::Head { status: 200, fields: Default::default(), ends: true };
    backend.script([Act::default().step(Step::Read).step(only)]);
    assert_eq!(wire.answer("HEAD").await?.head.status(), 200);
    assert_eq!(wire.get(SERVICE, "").await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn an_old_client_gets_the_answer_of_an_instance_of_http2() -> Result<()> {
    let (gateway, _backend) = to_http2().await?;
    let mut wire = Wire::connect(gateway.address()).await?;
    wire.send(format!("GET {SERVICE} HTTP/1.0\r\nHost: a\r\n\r\n")).await?;
    let answer = wire.answer("GET").await?;
    assert_eq!((answer.head.status(), answer.text().as_str()), (200, "hello"));
    Ok(())
}

#[tokio::test]
async fn interim_answers_are_no_answers() -> Result<()> {
    let (gateway, backend) = to_http2().await?;
    let place = Place::new(1).await?;
    let early = || Act::http(200, &[], "hello");
    backend.script([Act(vec![Step::Interim(103), Step::Interim(100)]).and(early())]);
    assert_eq!(gateway.get(SERVICE).await?.text(), "hello");
    place.backend().script([Act(vec![Step::Interim(103)]).and(Act::messages(&[b"m"]))]);
    assert_ok(&place.unary(b"x").await?, b"m")
}

#[tokio::test]
async fn an_instance_of_http1_may_answer_before_the_end_of_a_request() -> Result<()> {
    let (_gateway, backend, client) = to_http1(Reply::ok("hello")).await?;
    backend.script([Reply::Early(Box::new(Reply::Answer(413, Vec::new(), "too much".into())))]);
    let (mut upload, download) = client.request(&format!("POST {SERVICE}"), &[], false).await?;
    upload.send_all("begin".into(), false).await.map_err(|cut| anyhow!("{cut:?}"))?;
    let outcome = download.outcome_within(SOON).await?;
    assert_eq!((outcome.http, &outcome.body[..]), (413, &b"too much"[..]));
    assert_eq!(client.send(&format!("GET {SERVICE}"), &[], "").await?.http, 200);
    Ok(())
}

#[tokio::test]
async fn clients_of_both_are_served_at_one_address() -> Result<()> {
    let (gateway, backend, client) = to_http1(Reply::ok("hello")).await?;
    let load = Load::get(gateway.address(), SERVICE).connections(4).run_count(400);
    let calls = async {
        for _ in 0..100 {
            let outcome = client.send(&format!("GET {SERVICE}"), &[], "").await?;
            anyhow::ensure!((outcome.http, &outcome.body[..]) == (200, &b"hello"[..]), "{}", shown(&outcome));
        }
        anyhow::Ok(())
    };
    let (outcome, called) = tokio::join!(load, calls);
    called?;
    assert_eq!((outcome.failed, backend.count()), (0, 500), "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_large_body_goes_there_and_back_between_both() -> Result<()> {
    let (_gateway, _backend, client) = to_http1(Reply::Echo).await?;
    let large: bytes::Bytes = (0..1_u32 << 20).flat_map(u32::to_be_bytes).collect();
    let outcome = client.send(&format!("POST {SERVICE}"), &[], large.clone()).await?;
    assert!(outcome.http == 200 && outcome.body == large, "{}", shown(&outcome));
    let backend = GrpcBackend::start("a").await?;
    backend.always(Act::default().head(&[]).step(Step::Echo).step(Step::End));
    let options = options(&[backend.address()]).set("gateway/services/echo/protocol", "h2c");
    let gateway = Gateway::start_with_registry(options).await?;
    let request = Request::post(SERVICE).body(large.clone())?;
    let answer = http::send(gateway.address(), request).await?;
    assert!(answer.status == 200 && answer.body == large, "{} bytes", answer.body.len());
    Ok(())
}

#[tokio::test]
async fn an_instance_of_http1_that_breaks_off_is_no_whole_answer() -> Result<()> {
    let (_gateway, backend, client) = to_http1(Reply::ok("hello")).await?;
    backend.script([Reply::Break(10, "half".into())]);
    let outcome = client.send(&format!("GET {SERVICE}"), &[], "").await?;
    assert!(outcome.cut.is_some(), "{}", shown(&outcome));
    assert_eq!(client.send(&format!("GET {SERVICE}"), &[], "").await?.http, 200);
    Ok(())
}

#[tokio::test]
async fn an_instance_of_http2_that_breaks_off_is_no_whole_answer() -> Result<()> {
    let (gateway, backend) = to_http2().await?;
    let head = Act::default().step(Step::Read).head(&[]).data("half").wait(Duration::from_millis(50));
    for end in [Step::Reset(harness::grpc::Reason::INTERNAL_ERROR), Step::Close] {
        backend.script([head.clone().step(end)]);
        let mut wire = Wire::connect(gateway.address()).await?;
        let answer = wire.get(SERVICE, "").await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(gateway.get(SERVICE).await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn an_authority_and_a_host_that_differ_are_no_request() -> Result<()> {
    let (_gateway, backend, client) = to_http1(Reply::ok("hello")).await?;
    let outcome = client.send(&format!("GET {SERVICE}"), &[("host", "other.example")], "").await?;
    let is_refused = outcome.http == 400 || outcome.cut.is_some();
    assert!(is_refused && backend.count() == 0, "{}", shown(&outcome));
    assert_ok_http(&client).await
}

async fn assert_ok_http(client: &Client) -> Result<()> {
    let outcome = client.send(&format!("GET {UNARY}"), &[], "").await?;
    anyhow::ensure!(outcome.http == 200, "{}", shown(&outcome));
    Ok(())
}
