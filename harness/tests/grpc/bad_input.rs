//! What is no call, or no answer to one: each has a status, and one line in the log.

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    grpc::{Act, Client, Outcome, Step, TonicClient, framed},
    stack::Gateway,
    wire::Instance,
};
use serde_json::Value;

use super::{Place, UNARY, assert_ok, assert_own, code, one_line, options, shown};

/// How a call has ended, and its one line in the log.
async fn call(place: &Place, fields: &[(&str, &str)]) -> Result<(Outcome, Value)> {
    let since = place.gateway.process().line_count();
    let outcome = place.client.unary(UNARY, fields, b"m").await?;
    let line = one_line(&place.gateway, since).await.with_context(|| shown(&outcome))?;
    Ok((outcome, line))
}

/// The same through a gateway whose only instance is this, spoken to so.
async fn call_at(address: std::net::SocketAddr, protocol: &str) -> Result<(Outcome, Value)> {
    let options = options(&[address]).set("gateway/services/echo/protocol", protocol);
    let gateway = Gateway::start_with_registry(options).await?;
    let client = Client::connect(gateway.address()).await?;
    call(&Place { gateway, backends: Vec::new(), client }, &[]).await
}

#[tokio::test]
async fn an_instance_that_speaks_http1_alone_is_unavailable_to_http2() -> Result<()> {
    let strict = Backend::start("a", Reply::ok("hello")).await?;
    let lax = Instance::start(|mut wire| async move {
        wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
        wire.rest().await.map(drop)
    })
    .await?;
    for address in [strict.address(), lax.address()] {
        for protocol in ["h2c", "auto"] {
            let (outcome, line) = call_at(address, protocol).await?;
            assert_own(&outcome, code::UNAVAILABLE)?;
            assert!(line["error"].is_string() || line["failed"].is_array(), "{line}");
        }
    }
    assert_eq!(strict.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_call_to_an_instance_of_http1_has_the_status_that_its_answer_means() -> Result<()> {
    for (status, expected) in [
        (200, code::UNKNOWN),
        (400, code::INTERNAL),
        (401, "16"),
        (403, "7"),
        (404, code::UNIMPLEMENTED),
        (418, code::UNKNOWN),
        (429, code::UNAVAILABLE),
        (500, code::UNKNOWN),
        (503, code::UNAVAILABLE),
    ] {
        let backend = Backend::start("a", Reply::Answer(status, Vec::new(), "hello".into())).await?;
        let (outcome, line) = call_at(backend.address(), "http1").await?;
        assert_eq!(outcome.status(), Some(expected), "{status}: {}, {line}", shown(&outcome));
        assert_eq!(backend.count(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_timeout_that_is_none_is_told_so_and_goes_nowhere() -> Result<()> {
    let place = Place::new(1).await?;
    for timeout in ["123456789S", "000000001S", "5", "S", "5s", "-1S", "1.5S", "5 S", "junk"] {
        let (outcome, _) = call(&place, &[("grpc-timeout", timeout)]).await?;
        assert_own(&outcome, code::INTERNAL).map_err(|error| error.context(timeout))?;
    }
    let (outcome, _) = call(&place, &[("grpc-timeout", "5S"), ("grpc-timeout", "6S")]).await?;
    assert_own(&outcome, code::INTERNAL)?;
    assert_eq!(place.total(), 0);
    assert_ok(&place.client.unary(UNARY, &[("grpc-timeout", "99999999H")], b"m").await?, b"m")
}

#[tokio::test]
async fn an_answer_without_a_status_that_there_is_has_ended_nobody_knows_how() -> Result<()> {
    let place = Place::new(1).await?;
    let begun = || Act::default().step(Step::Read).head(&[]).data(framed(b"m"));
    for act in [
        begun().trailers(&[("x-end", "1")]),
        begun().trailers(&[("grpc-status", "17")]),
        begun().trailers(&[("grpc-status", "-1")]),
        begun().trailers(&[("grpc-status", "OK")]),
        begun().trailers(&[("grpc-status", "")]),
        Act::default().step(Step::Read).trailers_only("17", &[]),
        begun().step(Step::End),
    ] {
        let what = format!("{act:?}");
        place.backend().script([act]);
        let (outcome, line) = call(&place, &[]).await.with_context(|| what.clone())?;
        assert_eq!(outcome.status(), Some(code::UNKNOWN), "{what}: {}, {line}", shown(&outcome));
    }
    Ok(())
}

#[tokio::test]
async fn metadata_above_its_bound_is_too_much_and_its_connection_goes_on() -> Result<()> {
    let place = Place::new(1).await?;
    let pieces: Vec<_> = (0..10).map(|number| (format!("x-{number}"), "y".repeat(7000))).collect();
    let pieces: Vec<_> = pieces.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let long: Vec<_> = [64 << 10, 100 << 10, 1 << 20].map(|length| "x".repeat(length)).into();
    let one = long.iter().map(|value| vec![("x-long", value.as_str())]);
    for metadata in one.chain([pieces]) {
        let (outcome, line) = call(&place, &metadata).await?;
        assert_own(&outcome, code::RESOURCE_EXHAUSTED)?;
        let said = (&line["grpc_status"], &line["error"], &line["path"]);
        let expected =
            (&"RESOURCE_EXHAUSTED".into(), &"the request's head is too long".into(), &UNARY.into());
        assert_eq!(said, expected, "{line}");
    }
    assert_eq!(place.total(), 0);
    assert_ok(&place.unary(b"m").await?, b"m")
}

#[tokio::test]
async fn a_head_of_a_mebibyte_that_is_no_calls_is_refused_as_over_http1() -> Result<()> {
    let place = Place::new(1).await?;
    let long = "x".repeat(1 << 20);
    let outcome = place.client.send("GET /test.Echo/page", &[("x-long", &long)], "").await?;
    assert!(outcome.http == 431 && outcome.cut.is_none(), "{}", shown(&outcome));
    assert_ok(&place.unary(b"m").await?, b"m")
}

#[tokio::test]
async fn metadata_of_a_mebibyte_is_too_much_to_tonic() -> Result<()> {
    let place = Place::new(1).await?;
    let mut client = TonicClient::connect(place.gateway.address()).await?;
    let mut request = tonic::Request::new(Bytes::from_static(b"m"));
    request.metadata_mut().insert("x-long", "x".repeat(1 << 20).parse()?);
    let status = client.unary(request).await.err().context("it is a success")?;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    let next = client.unary(tonic::Request::new(Bytes::from_static(b"m"))).await;
    assert!(next.is_ok(), "{next:?}");
    Ok(())
}

#[tokio::test]
async fn an_instances_metadata_of_a_mebibyte_ends_its_call_and_no_other() -> Result<()> {
    let place = Place::new(1).await?;
    let long = "x".repeat(1 << 20);
    place.backend().script([
        Act::default().step(Step::Read).head(&[("x-long", &long)]).status_in_trailers("0", &[]),
        Act::default().step(Step::Read).head(&[]).status_in_trailers("0", &[("x-long", &long)]),
    ]);
    for _ in 0..2 {
        let (outcome, line) = call(&place, &[]).await?;
        assert_ne!(outcome.status(), Some(code::OK), "{}, {line}", shown(&outcome));
        assert!(outcome.status().is_some() || outcome.cut.is_some(), "{}", shown(&outcome));
    }
    assert_ok(&place.unary(b"m").await?, b"m")
}

#[tokio::test]
async fn a_body_that_is_not_of_messages_is_the_instances_affair() -> Result<()> {
    let place = Place::new(1).await?;
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let outcome = place.client.send(&format!("POST {UNARY}"), &fields, "no message").await?;
    assert_eq!((outcome.status(), &outcome.body[..]), (Some(code::OK), &b"no message"[..]));
    Ok(())
}
