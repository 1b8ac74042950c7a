//! gRPC-Web, on the routes that have it.

use anyhow::{Context, Result};
use harness::{
    grpc::{Act, GrpcBackend, Step, framed},
    http::{self, Answer, Request},
    stack::{Gateway, GatewayOptions},
};
use serde_json::{Value, json};

use super::{SERVICE, UNARY, code, options};

const WEB: &str = "application/grpc-web+proto";

async fn gateway(is_web: bool) -> Result<(Gateway, GrpcBackend)> {
    let backend = GrpcBackend::start("a").await?;
    let routes = json!([{ "path": SERVICE, "service": "echo", "grpc_web": is_web }]);
    let options = options(&[backend.address()]).set("gateway/routes", routes);
    Ok((Gateway::start_with_registry(options).await?, backend))
}

async fn call(gateway: &Gateway, path: &str) -> Result<Answer> {
    let request =
        Request::post(path).header("content-type", WEB).header("x-grpc-web", "1").header("x-word", "w");
    http::send(gateway.address(), request.body(framed(b"hello"))?).await
}

/// The text of the last part, which stands for the trailers.
fn last(body: &[u8]) -> Result<(&[u8], String)> {
    let mut at = 0;
    while let Some(&[flag, a, b, c, d]) = body.get(at..at + 5) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let part = body.get(at + 5..at + 5 + length).context("a part is not whole")?;
        if flag & 0x80 != 0 {
            anyhow::ensure!(at + 5 + length == body.len(), "something comes after the trailers");
            return Ok((&body[..at], String::from_utf8(part.to_vec())?));
        }
        at += 5 + length;
    }
    anyhow::bail!("no trailers: {}", body.escape_ascii())
}

#[tokio::test]
async fn a_browsers_call_goes_on_as_grpc() -> Result<()> {
    let (gateway, backend) = gateway(true).await?;
    let answer = call(&gateway, UNARY).await?;
    // The backend does not say in what its messages are written.
    assert_eq!(answer.header("content-type"), Some("application/grpc-web"), "{}", answer.text());
    assert_eq!(answer.status, 200);
    let (messages, trailers) = last(&answer.body)?;
    assert_eq!(messages, framed(b"hello"));
    assert!(trailers.contains("grpc-status:0") || trailers.contains("grpc-status: 0"), "{trailers}");
    let seen = backend.last()?;
    assert_eq!(seen.header("content-type"), Some("application/grpc+proto"));
    assert_eq!((seen.header("te"), seen.header("x-word")), (Some("trailers"), Some("w")));
    assert_eq!(seen.messages, ["hello"]);
    Ok(())
}

#[tokio::test]
async fn a_browser_sees_how_its_call_has_failed() -> Result<()> {
    let (gateway, backend) = gateway(true).await?;
    backend.always(Act::default().trailers_only("5", &[("grpc-message", "gone")]));
    for (path, status) in [(UNARY, "5"), ("/nowhere", code::UNIMPLEMENTED)] {
        let answer = call(&gateway, path).await?;
        if path == UNARY {
            let told = last(&answer.body).map(|(_, trailers)| trailers).unwrap_or_default();
            let is_told = answer.header("grpc-status") == Some(status) || told.contains(status);
            assert!(answer.status == 200 && is_told, "{answer:?}");
        } else {
            assert!(answer.status != 200 || answer.header("grpc-status") == Some(status), "{answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_route_without_it_does_not_translate() -> Result<()> {
    let (gateway, backend) = gateway(false).await?;
    call(&gateway, UNARY).await?;
    let types: Vec<_> =
        backend.calls().iter().map(|call| call.header("content-type").map(str::to_owned)).collect();
    assert!(types.iter().all(|kind| kind.as_deref() == Some(WEB)), "{types:?}");
    Ok(())
}

/// Two instances, of which the first fails each call with UNAVAILABLE, in trailers alone or behind the head of an answer.
async fn one_of_two_fails(
    options: &[(&str, Value)],
    behind_a_head: bool,
) -> Result<(Gateway, [GrpcBackend; 2])> {
    let backends = [GrpcBackend::start("0").await?, GrpcBackend::start("1").await?];
    backends[0].always(match behind_a_head {
        false => Act::status("14"),
        true => Act::default().step(Step::Read).head(&[]).status_in_trailers("14", &[]),
    });
    let addresses = [backends[0].address(), backends[1].address()];
    let set = |all: GatewayOptions, (key, value): &(&str, Value)| all.set(key, value.clone());
    let options = options.iter().fold(super::options(&addresses), set);
    Ok((Gateway::start_with_registry(options).await?, backends))
}

#[tokio::test]
async fn a_browsers_call_goes_elsewhere_if_its_route_says_so() -> Result<()> {
    let retry = json!({ "idempotent": true, "grpc": ["UNAVAILABLE"] });
    let routes = json!([{ "path": SERVICE, "service": "echo", "grpc_web": true, "retry": retry }]);
    let (gateway, backends) = one_of_two_fails(&[("gateway/routes", routes)], false).await?;
    for _ in 0..20 {
        let answer = call(&gateway, UNARY).await?;
        assert_eq!(last(&answer.body)?.0, framed(b"hello"), "{}", answer.text());
    }
    assert!(backends[0].count() > 0 && backends[1].count() == 20, "{}", backends[0].count());
    Ok(())
}

#[tokio::test]
async fn an_instance_that_fails_browsers_calls_is_ejected() -> Result<()> {
    let routes = json!([{ "path": SERVICE, "service": "echo", "grpc_web": true }]);
    let ejection = json!({ "base": "20s", "longest": "20s" });
    let options = [("gateway/routes", routes), ("gateway/services/echo/ejection", ejection)];
    for behind_a_head in [false, true] {
        let (gateway, backends) = one_of_two_fails(&options, behind_a_head).await?;
        for _ in 0..60 {
            assert_eq!(call(&gateway, UNARY).await?.status, 200);
        }
        let count = backends[0].count();
        assert!((5..10).contains(&count), "{count} of 60 calls, behind a head: {behind_a_head}");
    }
    Ok(())
}
