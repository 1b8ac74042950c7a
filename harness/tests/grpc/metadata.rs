//! Metadata and trailers, both ways, and from and to HTTP/1.

use anyhow::{Context, Result};
use harness::{
    backend::{Backend, Reply},
    grpc::{Act, Client, GrpcBackend, Step, framed},
    stack::Gateway,
    wire::{Framing, Instance, Wire},
};

use super::{Place, SERVICE, UNARY, assert_own, code, options, shown};

#[tokio::test]
async fn metadata_goes_both_ways_as_it_is() -> Result<()> {
    let place = Place::new(1).await?;
    let sent = [
        ("x-data-bin", "AAEC/w"),
        ("x-data-bin", "/v8="),
        ("x-word", "one"),
        ("x-word", "two, three"),
        ("user-agent", "grpc-test/1.0"),
        ("grpc-accept-encoding", "identity"),
        ("authorization", "Bearer abc"),
    ];
    let back = [("x-back-bin", "3q2+7w"), ("x-back-bin", "AA=="), ("x-back", "b")];
    place.backend().always(
        Act::default().step(Step::Read).head(&back).data(framed(b"m")).status_in_trailers(
            "0",
            &[("x-end-bin", "AAAA"), ("x-end-bin", "////"), ("grpc-message", "all%20well")],
        ),
    );
    let outcome = place.client.unary(UNARY, &sent, b"m").await?;
    let seen = place.backend().last()?;
    for name in ["x-data-bin", "x-word", "user-agent", "grpc-accept-encoding", "authorization"] {
        let came: Vec<_> =
            seen.headers.get_all(name).iter().map(|value| value.to_str()).collect::<Result<_, _>>()?;
        let expected: Vec<_> =
            sent.iter().filter(|(sent, _)| *sent == name).map(|(_, value)| *value).collect();
        assert_eq!(came, expected, "{name}");
    }
    assert_eq!(
        (seen.header("te"), seen.header("content-type")),
        (Some("trailers"), Some("application/grpc"))
    );
    let all = |fields: &harness::http::HeaderMap, name| {
        fields
            .get_all(name)
            .iter()
            .map(|value| value.to_str().map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(all(&outcome.head, "x-back-bin")?, ["3q2+7w", "AA=="]);
    let trailers = outcome.trailers.as_ref().with_context(|| shown(&outcome))?;
    assert_eq!(all(trailers, "x-end-bin")?, ["AAAA", "////"]);
    assert_eq!((outcome.status(), outcome.last("grpc-message")), (Some(code::OK), Some("all%20well")));
    Ok(())
}

#[tokio::test]
async fn a_status_in_the_head_alone_stays_there() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(
        Act::default()
            .step(Step::Read)
            .trailers_only("5", &[("grpc-message", "gone"), ("x-detail-bin", "AAEC")]),
    );
    let outcome = place.unary(b"m").await?;
    assert!(outcome.is_trailers_only(), "{}", shown(&outcome));
    let told = (outcome.status(), outcome.last("grpc-message"), outcome.last("x-detail-bin"));
    assert_eq!(told, (Some("5"), Some("gone"), Some("AAEC")));
    Ok(())
}

#[tokio::test]
async fn trailers_of_a_request_go_on() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut upload, download) = place.client.call(UNARY, &[]).await?;
    upload.send(b"m").await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    upload.finish_with(&[("x-sum", "5"), ("x-sum-bin", "AAEC")]).map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    assert_eq!(download.outcome().await?.status(), Some(code::OK));
    let trailers = place.backend().last()?.trailers.context("no trailers came")?;
    assert_eq!((&trailers["x-sum"], &trailers["x-sum-bin"]), (&"5".parse()?, &"AAEC".parse()?));
    Ok(())
}

#[tokio::test]
async fn trailers_of_an_answer_come_out_of_http1() -> Result<()> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";
    let instance = Instance::recording(move |_| chunked.as_bytes().to_vec()).await?;
    let options = options(&[instance.address()]).set("gateway/services/echo/protocol", "http1");
    let gateway = Gateway::start_with_registry(options).await?;
    let client = Client::connect(gateway.address()).await?;
    let outcome = client.send(&format!("GET {SERVICE}"), &[("te", "trailers")], "").await?;
    assert_eq!((outcome.http, &outcome.body[..]), (200, &b"hello"[..]));
    assert!(outcome.trailers.is_some() && outcome.last("x-sum") == Some("7"), "{}", shown(&outcome));
    assert!(!outcome.head.contains_key("transfer-encoding"), "{}", shown(&outcome));
    Ok(())
}

#[tokio::test]
async fn trailers_of_an_answer_go_into_http1() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    backend.always(Act::default().step(Step::Read).head(&[]).data("hello").trailers(&[("x-sum", "7")]));
    let options = options(&[backend.address()]).set("gateway/services/echo/protocol", "h2c");
    let gateway = Gateway::start_with_registry(options).await?;
    let mut wire = Wire::connect(gateway.address()).await?;
    let answer = wire.get(SERVICE, "TE: trailers\r\nConnection: te\r\n").await?;
    assert_eq!((answer.head.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.framing, Framing::Chunked);
    assert_eq!(answer.trailers.get("x-sum"), Some("7"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn trailers_of_a_request_come_out_of_http1() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let options = options(&[backend.address()]).set("gateway/services/echo/protocol", "h2c");
    let gateway = Gateway::start_with_registry(options).await?;
    let mut wire = Wire::connect(gateway.address()).await?;
    let head =
        format!("POST {SERVICE} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    wire.send(head + "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n").await?;
    assert_eq!(wire.answer("POST").await?.text(), "hello");
    let seen = backend.last()?;
    assert_eq!(seen.received, 5);
    assert!(!seen.headers.contains_key("transfer-encoding"), "{seen:?}");
    assert_eq!(seen.trailers.context("no trailers came")?["x-sum"], "5");
    Ok(())
}

#[tokio::test]
async fn trailers_of_a_request_go_into_http1() -> Result<()> {
    let instance = Instance::recording(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await?;
    let options = options(&[instance.address()]).set("gateway/services/echo/protocol", "http1");
    let gateway = Gateway::start_with_registry(options).await?;
    let client = Client::connect(gateway.address()).await?;
    let (mut upload, download) = client.request(&format!("POST {SERVICE}"), &[], false).await?;
    upload.send_all("hello".into(), false).await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    upload.finish_with(&[("x-sum", "5")]).map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    assert_eq!(download.outcome().await?.http, 200);
    let request = instance.last()?;
    assert_eq!((request.framing, request.text().as_str()), (Framing::Chunked, "hello"));
    assert_eq!(request.trailers.get("x-sum"), Some("5"), "{request:?}");
    Ok(())
}

#[tokio::test]
async fn a_length_that_is_told_is_told_on() -> Result<()> {
    let backend = Backend::start("a", Reply::Echo).await?;
    let options = options(&[backend.address()]).set("gateway/services/echo/protocol", "http1");
    let gateway = Gateway::start_with_registry(options).await?;
    let client = Client::connect(gateway.address()).await?;
    let outcome = client.send(&format!("POST {SERVICE}"), &[("content-length", "5")], "hello").await?;
    assert_eq!((outcome.http, &outcome.body[..]), (200, &b"hello"[..]));
    assert_eq!(outcome.header("content-length"), Some("5"));
    assert_eq!(backend.last()?.header("content-length"), Some("5"));
    Ok(())
}

#[tokio::test]
async fn white_space_around_a_value_is_refused_of_a_client_and_left_out_of_an_answer() -> Result<()> {
    let place = Place::new(1).await?;
    for value in [" a", "a ", "a\t"] {
        let outcome = place.client.unary(UNARY, &[("x-word", value)], b"m").await?;
        assert_own(&outcome, code::INTERNAL).map_err(|error| error.context(format!("{value:?}")))?;
    }
    assert_eq!(place.total(), 0);
    let spaced = [("grpc-message", "not there: "), ("x-word", "\tb ")];
    place.backend().script([
        Act::default().step(Step::Read).head(&[("x-head", " c")]).status_in_trailers("5", &spaced),
        Act::default().step(Step::Read).trailers_only("5", &spaced),
    ]);
    for is_in_trailers in [true, false] {
        let outcome = place.unary(b"m").await?;
        let end = outcome.trailers.as_ref().filter(|_| is_in_trailers).unwrap_or(&outcome.head);
        assert_eq!(outcome.status(), Some("5"), "{}", shown(&outcome));
        assert_eq!((&end["grpc-message"], &end["x-word"]), (&"not there:".parse()?, &"b".parse()?));
        assert!(!is_in_trailers || outcome.header("x-head") == Some("c"), "{}", shown(&outcome));
    }
    Ok(())
}

#[tokio::test]
async fn white_space_around_a_trailer_of_a_request_is_refused() -> Result<()> {
    let place = Place::new(1).await?;
    place.backend().always(Act::messages(&[b"m"]));
    let (mut upload, download) = place.client.call(UNARY, &[]).await?;
    upload.send(b"m").await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    upload.finish_with(&[("x-sum", "5 ")]).map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    assert_own(&download.outcome().await?, code::INTERNAL)?;
    assert!(!place.backend().last()?.is_whole);
    Ok(())
}
