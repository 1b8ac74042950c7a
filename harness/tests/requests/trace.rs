//! Trace ids.

use std::collections::HashSet;

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Recorded, Reply},
    http::{Answer, Request},
    stack::GatewayOptions,
};

use super::Fixture;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// 32 lower-case hex digits that are not all zero.
pub(crate) fn is_trace_id(text: &str) -> bool {
    is_id(text, 32)
}

fn is_id(text: &str, digits: usize) -> bool {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.len() == digits && is_hex && text.bytes().any(|byte| byte != b'0')
}

/// Checks that client and backend were told the same trace, and returns its id and the span's.
fn ids(answer: &Answer, upstream: &Recorded) -> Result<(String, String)> {
    let id = answer.header("trace_id").context("no trace_id in the answer")?;
    assert!(is_trace_id(id), "{id:?}");
    assert_eq!(upstream.header("trace_id"), Some(id));
    let parent = upstream.header("traceparent").context("no traceparent reached the backend")?;
    let [version, trace, span, flags] = parent.split('-').collect::<Vec<_>>()[..] else {
        anyhow::bail!("not a traceparent: {parent}")
    };
    assert_eq!((version, trace, flags.len()), ("00", id, 2), "{parent}");
    assert!(is_id(span, 16), "{parent}");
    Ok((id.to_owned(), span.to_owned()))
}

#[tokio::test]
async fn a_request_without_a_trace_gets_a_new_random_one_on_both_sides() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let (mut traces, mut spans) = (HashSet::new(), HashSet::new());
    for _ in 0..20 {
        let answer = fixture.gateway.get("/goods").await?;
        let (trace, span) = ids(&answer, &backend.last()?)?;
        assert!(traces.insert(trace) && spans.insert(span), "an id came twice");
    }
    Ok(())
}

#[tokio::test]
async fn a_valid_traceparent_keeps_its_trace_and_its_span() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    // A later version may have more fields: the first four still count.
    for incoming in
        [format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00"), format!("01-{TRACE}-{SPAN}-01-x")]
    {
        let request = Request::get("/goods").header("traceparent", &incoming).body(Bytes::new())?;
        let (trace, span) = ids(&fixture.send(request).await?, &backend.last()?)?;
        assert_eq!(trace, TRACE, "{incoming}");
        assert_eq!(span, SPAN, "{incoming}");
        let sent = backend.last()?;
        assert_eq!(sent.header("traceparent").map(|sent| &sent[53..]), Some(&incoming[53..55]), "{incoming}");
    }
    Ok(())
}

#[tokio::test]
async fn every_attempt_of_a_request_has_the_same_traceparent() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let other = Backend::start("b", Reply::Drop).await?;
    fixture.register("goods", &[&backend, &other]).await?;
    for incoming in [None, Some(format!("00-{TRACE}-{SPAN}-01"))] {
        backend.script([Reply::Drop]);
        let request = Request::get("/goods");
        let request = incoming.iter().fold(request, |request, sent| request.header("traceparent", sent));
        let before = [backend.count(), other.count()];
        fixture.send(request.body(Bytes::new())?).await?;
        let sent =
            [(&backend, before[0]), (&other, before[1])].map(|(to, before)| to.requests().split_off(before));
        let sent: Vec<_> = sent.iter().flatten().map(|request| request.header("traceparent")).collect();
        assert!(sent.len() > 1, "it was sent once: nothing is shown");
        assert!(sent.iter().all(|traceparent| traceparent.is_some() && *traceparent == sent[0]), "{sent:?}");
        assert!(incoming.is_none() || sent[0] == incoming.as_deref(), "{sent:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_invalid_traceparent_is_replaced() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let upper = TRACE.to_uppercase();
    let (zeros, zero_span) = ("0".repeat(32), "0".repeat(16));
    for incoming in [
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-{zero_span}-01"),
        format!("00-{upper}-{SPAN}-01"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        format!("00-{TRACE}0-{SPAN}-01"),
        format!("00_{TRACE}_{SPAN}_01"),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let request = Request::get("/goods").header("traceparent", &incoming).body(Bytes::new())?;
        let (trace, _) = ids(&fixture.send(request).await?, &backend.last()?)?;
        assert_ne!(trace, TRACE, "{incoming:?} was taken");
    }
    Ok(())
}

#[tokio::test]
async fn a_clients_own_trace_id_is_replaced() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request =
        Request::get("/goods").header("trace_id", TRACE).header("trace_id", "second").body(Bytes::new())?;
    // `ids` finds the backend's header once: both of the client's are gone.
    let (trace, _) = ids(&fixture.send(request).await?, &backend.last()?)?;
    assert_ne!(trace, TRACE);
    Ok(())
}

#[tokio::test]
async fn the_headers_name_is_configurable() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/trace_header", "x-request-id");
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    let answer = fixture.gateway.get("/goods").await?;
    let id = answer.header("x-request-id").context("no x-request-id in the answer")?;
    assert!(is_trace_id(id));
    assert_eq!(backend.last()?.header("x-request-id"), Some(id));
    assert_eq!((answer.header("trace_id"), backend.last()?.header("trace_id")), (None, None));
    Ok(())
}

#[tokio::test]
async fn a_backends_own_trace_id_does_not_reach_the_client() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let own = vec![("trace_id", "the backend's".to_owned())];
    backend.script([Reply::Answer(200, own, Bytes::new())]);
    let answer = fixture.gateway.get("/goods").await?;
    ids(&answer, &backend.last()?)?;
    assert_eq!(answer.headers.get_all("trace_id").iter().count(), 1);
    Ok(())
}

#[tokio::test]
async fn the_access_log_names_the_trace_and_what_became_of_it() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let answer = fixture.gateway.get("/goods/list?secret=1").await?;
    let (trace, _) = ids(&answer, &backend.last()?)?;
    let process = fixture.gateway.process();
    let line = process.wait_for_line(|line| line.contains(&trace), std::time::Duration::from_secs(5)).await?;
    serde_json::from_str::<serde_json::Value>(&line).with_context(|| format!("not JSON: {line}"))?;
    let address = backend.address().to_string();
    for part in ["GET", "/goods/list", "200", "goods", &address] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    Ok(())
}
