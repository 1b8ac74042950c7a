//! Clients of HTTP/1.0.

use anyhow::Result;
use harness::{
    stack::GatewayOptions,
    wire::{Framing, Instance, Wire},
};

use super::{Fixture, answered};

const KEEP: &str = "Connection: Keep-Alive\r\n";

#[tokio::test]
async fn the_shortest_request_is_answered_and_its_connection_closed() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::without_routes().route("/", "goods")).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send("GET / HTTP/1.0\r\n\r\n").await?;
    assert_eq!(wire.answer("GET").await?.head.status(), 200);
    assert!(wire.rest().await?.0.is_empty());
    let arrived = instance.last()?.head;
    let own = instance.address().to_string();
    assert_eq!((arrived.start[2].as_str(), arrived.get("host")), ("HTTP/1.1", Some(own.as_str())));
    Ok(())
}

#[tokio::test]
async fn a_connection_is_kept_for_a_client_that_asks_for_it() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for body in ["first", "", "third"] {
        let length = body.len();
        wire.send(format!("POST /goods HTTP/1.0\r\nHost: a\r\n{KEEP}Content-Length: {length}\r\n\r\n{body}"))
            .await?;
        let answer = wire.answer("POST").await?;
        assert_eq!((answer.text().as_str(), answer.framing), (body, Framing::Length(length)));
        assert!(answer.head.fields.lists("connection", "keep-alive"), "it is not told so: {:?}", answer.head);
    }
    wire.send("GET /goods HTTP/1.0\r\nHost: a\r\n\r\n").await?;
    assert_eq!(wire.answer("GET").await?.head.status(), 200);
    assert!(wire.rest().await?.0.is_empty(), "it was not asked for any more");
    Ok(())
}

/// It knows no chunks: where the answer ends only the end of the connection can tell.
#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() -> Result<()> {
    let instance = Instance::recording(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for keep in ["", KEEP] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(format!("GET /goods HTTP/1.0\r\nHost: a\r\n{keep}\r\n")).await?;
        let answer = wire.answer("GET").await?;
        assert_eq!((answer.text().as_str(), answer.framing), ("hello", Framing::Close));
        assert!(!answer.head.fields.lists("connection", "keep-alive"), "{:?}", answer.head);
    }
    Ok(())
}
