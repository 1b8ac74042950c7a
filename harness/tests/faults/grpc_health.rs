//! Servers that say of themselves, by gRPC's own health checks, whether they are well.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use harness::etcd::{Etcd, key};
use harness::stack::{Gateway, GatewayOptions};
use harness::wait::eventually;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::PATIENCE;

const GOODS: &str = "shop.v1.Goods";

/// A server, and what it says of itself. It serves as long as the set is there.
async fn serve(served: &mut JoinSet<()>) -> Result<(SocketAddr, HealthReporter)> {
    let (reporter, health) = health_reporter();
    reporter.set_service_status(GOODS, ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().add_service(health);
    served.spawn(async move {
        let _ = server.serve_with_incoming(TcpIncoming::from(listener)).await;
    });
    Ok((address, reporter))
}

/// The endpoints of `goods`, once they are in these states.
async fn wait_states(gateway: &Gateway, states: [&str; 2]) -> Result<Value> {
    eventually("they are in these states", PATIENCE, async || {
        let page = gateway.admin("/services").await?.text();
        let shown = serde_json::from_str::<Value>(&page)?["services"]["goods"].take();
        ensure!([0, 1].map(|number| shown[number]["state"].as_str()) == states.map(Some), "shown is {shown}");
        Ok(shown)
    })
    .await
}

#[tokio::test]
async fn a_server_that_says_that_it_is_not_serving_is_taken_out_until_it_is() -> Result<()> {
    let etcd = Etcd::start().await?;
    let check = json!({
        "grpc": GOODS, "interval": "100ms", "timeout": "100ms", "healthy": 3, "unhealthy": 2,
        "initially": "unhealthy",
    });
    let options = GatewayOptions::default().set("gateway/services/goods/check", check);
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let mut served = JoinSet::new();
    let mut reporters = Vec::new();
    for number in 0..2 {
        let (address, reporter) = serve(&mut served).await?;
        etcd.put(&key("goods", &number.to_string()), address.to_string()).await?;
        reporters.push(reporter);
    }
    let shown = wait_states(&gateway, ["up", "up"]).await?;
    assert!(shown[0].get("last_check_failure").is_none(), "{shown}");
    reporters[0].set_service_status(GOODS, ServingStatus::NotServing).await;
    let shown = wait_states(&gateway, ["unhealthy", "up"]).await?;
    assert_eq!(shown[0]["last_check_failure"]["reason"], "bad answer: the service is NOT_SERVING");
    reporters[0].set_service_status(GOODS, ServingStatus::Serving).await;
    wait_states(&gateway, ["up", "up"]).await?;
    // What it says of other services is not asked for.
    reporters[1].set_service_status("", ServingStatus::NotServing).await;
    reporters[1].clear_service_status(GOODS).await;
    let shown = wait_states(&gateway, ["up", "unhealthy"]).await?;
    let unknown = "bad answer: the instance does not know the service (NOT_FOUND)";
    assert_eq!(shown[1]["last_check_failure"]["reason"], unknown);
    Ok(())
}
