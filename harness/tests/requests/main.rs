//! What the gateway does with a request, end to end: a real etcd, the real `proxy`, backends that
//! record and misbehave as told.

mod admin;
mod admin_routes;
mod answers;
mod by_path;
mod corpus;
mod descriptors;
mod early;
mod edits;
mod events;
mod expect;
mod forged;
mod framing;
mod half_close;
mod headers;
mod heads;
mod hosts;
mod instances;
mod lines;
mod loops;
mod malformed;
mod old_clients;
mod origin;
mod own_addresses;
mod pipelining;
mod protocol;
mod records;
mod retries;
mod routes_odd;
mod routes_shop;
mod routing;
mod services;
mod split;
mod static_services;
mod sticky;
mod trace;
mod tunnel;
mod upgrades;

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    http::{self, Answer, Request},
    stack::{Gateway, GatewayOptions},
    wire::{Instance, Message, Wire},
};

/// A gateway on an etcd of its own.
struct Fixture {
    gateway: Gateway,
    etcd: Etcd,
}

impl Fixture {
    async fn start(options: GatewayOptions) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        Ok(Self { gateway, etcd })
    }

    /// With the service `goods` on one backend that answers 200.
    async fn with_goods() -> Result<(Self, Backend)> {
        let fixture = Self::start(GatewayOptions::default()).await?;
        let backend = Backend::start("a", Reply::ok("hello")).await?;
        fixture.register("goods", &[&backend]).await?;
        Ok((fixture, backend))
    }

    /// With the service `goods` on one instance, and all paths leading to it.
    async fn over(instance: &Instance, options: GatewayOptions) -> Result<Self> {
        let fixture = Self::start(options).await?;
        fixture.etcd.put(&key("goods", "one"), instance.address().to_string()).await?;
        fixture.gateway.wait_instances("goods", &["one"]).await?;
        Ok(fixture)
    }

    /// Registers these backends as the instances `0`, `1`, ... and waits until the gateway has them.
    async fn register(&self, service: &str, backends: &[&Backend]) -> Result<()> {
        for (instance, backend) in backends.iter().enumerate() {
            let address = backend.address().to_string();
            self.etcd.put(&key(service, &instance.to_string()), address).await?;
        }
        let all = |services: &harness::stack::Services| services.endpoints(service).len() == backends.len();
        self.gateway.wait_services(all).await?;
        Ok(())
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        http::send(self.gateway.address(), request).await
    }
}

/// Checks an answer of the gateway's own: its status, its JSON, its trace id.
fn assert_own_answer(answer: &Answer, status: u16) -> Result<()> {
    assert_eq!(answer.status, status, "{}", answer.text());
    let json = answer.json()?;
    assert_eq!(json["code"], -1);
    assert!(json["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
    assert_eq!(json["trace_id"].as_str(), answer.header("trace_id"));
    assert!(json["trace_id"].as_str().is_some_and(trace::is_trace_id), "{json}");
    Ok(())
}

/// 200 with the request's own body.
fn answered(request: &Message) -> Vec<u8> {
    let length = request.body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), &request.body].concat()
}

/// Checks that these bytes get one answer, a refusal with this status, and that the connection ends behind it.
async fn refused(fixture: &Fixture, request: &[u8], status: u16) -> Result<()> {
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(request).await?;
    let answer = wire.answer("GET").await.with_context(|| format!("to {}", request.escape_ascii()))?;
    assert_eq!(answer.head.status(), status, "{}", request.escape_ascii());
    let (rest, _) = wire.rest().await.with_context(|| format!("after {}", request.escape_ascii()))?;
    assert!(rest.is_empty(), "{}: {}", request.escape_ascii(), rest.escape_ascii());
    Ok(())
}
