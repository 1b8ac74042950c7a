//! Clients that say that they send no more, and clients that leave.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::{
    stack::{Carrier, GatewayOptions},
    wire::{Instance, Wire},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Fixture, answered, malformed::PATIENCE};

const GET: &str = "GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers when the gateway has had time to see that its client's side is closed.
async fn unhurried() -> Result<Instance> {
    Instance::start(|mut wire| async move {
        while let Some(request) = wire.next_request().await? {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if wire.send(answered(&request)).await.is_err() {
                break;
            }
        }
        Ok(())
    })
    .await
}

/// Never answers, and tells whether a connection with a request on it ended.
async fn silent() -> Result<(Instance, mpsc::UnboundedReceiver<&'static str>)> {
    let (tell, told) = mpsc::unbounded_channel();
    let instance = Instance::start(move |mut wire| {
        let tell = tell.clone();
        async move {
            wire.request_head().await?;
            tell.send("begun")?;
            wire.rest().await?;
            tell.send("ended")?;
            Ok(())
        }
    })
    .await?;
    Ok((instance, told))
}

#[tokio::test]
async fn who_has_asked_and_closes_its_side_gets_its_answer() -> Result<()> {
    let instance = unhurried().await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let post = "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "POST /goods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (request, bodies) in [
        (GET.to_owned(), &[""][..]),
        (GET.replace("1.1", "1.0"), &[""]),
        (post.to_owned(), &["hello"]),
        (chunked.to_owned(), &["hello"]),
        (format!("{GET}{post}{GET}"), &["", "hello", ""]),
    ] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(&request).await?;
        wire.finish().await?;
        for &body in bodies {
            let answer = wire.answer("POST").await;
            if Carrier::tested() == Carrier::Pingora {
                // It takes that for leaving.
                assert!(answer.is_err(), "{request:?}: {answer:?}");
                break;
            }
            assert_eq!(answer.with_context(|| request.clone())?.text(), body, "{request:?}");
        }
        let (rest, _) = wire.rest().await?;
        assert!(rest.is_empty(), "{request:?}: {}", rest.escape_ascii());
    }
    Ok(())
}

#[tokio::test]
async fn who_leaves_takes_its_request_from_the_instance() -> Result<()> {
    let half = "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe";
    for (what, request, abort, resets) in [
        ("a reset", GET, "on_reset", true),
        ("a reset within a body", half, "on_reset", true),
        ("a FIN within a body", half, "on_reset", false),
        ("a FIN, where that is leaving", GET, "on_fin", false),
    ] {
        let (instance, mut told) = silent().await?;
        let options = GatewayOptions::default().set("gateway/client_abort", abort);
        let fixture = Fixture::over(&instance, options).await?;
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(request).await?;
        assert_eq!(timeout(PATIENCE, told.recv()).await?, Some("begun"), "{what}");
        let kept = if resets {
            wire.reset()?;
            None
        } else {
            wire.finish().await?;
            Some(wire)
        };
        assert_eq!(timeout(PATIENCE, told.recv()).await.context(what)?, Some("ended"), "{what}");
        drop(kept);
    }
    Ok(())
}
