//! Answers that come piece by piece, such as a server's events: nothing of them waits for what comes after it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::{
    stack::{Carrier, GatewayOptions},
    wire::{End, Instance, Wire},
};
use tokio::sync::{Mutex, mpsc};

use super::Fixture;

const EVENTS: usize = 5;

/// How the end of the events is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Chunked,
    ByClose,
    ByLength,
}

impl Ended {
    fn head(self) -> String {
        let field = match self {
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Self::ByClose => "Connection: close\r\n".to_owned(),
            Self::ByLength => format!("Content-Length: {}\r\n", EVENTS * event(0).len()),
        };
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{field}\r\n")
    }

    fn sent(self, event: &str) -> String {
        match self {
            Self::Chunked => format!("{:x}\r\n{event}\r\n", event.len()),
            _ => event.to_owned(),
        }
    }
}

fn event(number: usize) -> String {
    format!("data: {number}\n\n")
}

/// Sends each event only when it is told to go on, which the client does when it has the one before.
async fn send_events(mut wire: Wire, ended: Ended, told: &Mutex<mpsc::UnboundedReceiver<()>>) -> Result<()> {
    let mut told = told.lock().await;
    let mut go_on = async || told.recv().await.context("the client has left");
    wire.request().await?;
    wire.send(ended.head()).await?;
    go_on().await?;
    for number in 0..EVENTS {
        wire.send(ended.sent(&event(number))).await?;
        go_on().await?;
    }
    match ended {
        Ended::Chunked => wire.send("0\r\n\r\n").await,
        Ended::ByClose => wire.finish().await,
        Ended::ByLength => Ok(()),
    }
}

#[tokio::test]
async fn each_event_reaches_the_client_before_the_next_is_sent() -> Result<()> {
    // Where it knows a length, the other carrier keeps what comes until there is more of it.
    let with_length = Carrier::either(Some(Ended::ByLength), None);
    for ended in [Ended::Chunked, Ended::ByClose].into_iter().chain(with_length) {
        for version in ["1.1", "1.0"] {
            let (tell, told) = mpsc::unbounded_channel();
            let told = Arc::new(Mutex::new(told));
            let instance = Instance::start(move |wire| {
                let told = Arc::clone(&told);
                async move { send_events(wire, ended, &told).await }
            })
            .await?;
            let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
            let mut wire = Wire::connect(fixture.gateway.address()).await?;
            wire.send(format!("GET /goods HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n")).await?;

            let what = || format!("{ended:?}, HTTP/{version}");
            let head = wire.answer_head().await.with_context(what)?;
            assert_eq!(head.fields.get("content-type"), Some("text/event-stream"), "{}", what());
            tell.send(())?;
            for number in 0..EVENTS {
                wire.until(&event(number)).await.with_context(what)?;
                tell.send(())?;
            }
            let (rest, end) = wire.rest().await?;
            assert_eq!(end, End::Closed, "{}", what());
            let rest = String::from_utf8(rest)?;
            ensure!(["", "\r\n0\r\n\r\n"].contains(&rest.as_str()), "{}: it ends with {rest:?}", what());
            assert_eq!(instance.failures(), [""; 0], "{}", what());
        }
    }
    Ok(())
}
