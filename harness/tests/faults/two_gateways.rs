//! Two gateways behind the balancer that deploy/balancer/ describes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    etcd::Etcd,
    http::{self, Connection, Request},
    load::Load,
    ports::free_address,
    process::{Process, Stdout},
    stack::{Gateway, GatewayOptions, Goods},
    wait::eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, assert_none_failed};

/// As deploy/balancer/haproxy.cfg demands it, with something for a busy machine: two checks a second apart.
const LAME_DUCK: Duration = Duration::from_secs(6);
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/balancer/haproxy.cfg");

/// A running HAProxy with the sample's configuration.
struct Balancer {
    process: Process,
    address: SocketAddr,
    /// Holds the configuration.
    _directory: TempDir,
}

impl Balancer {
    /// Starts one in front of these gateways, and waits until it answers. It tries no connection again: nothing
    /// but its checks keeps requests from a gateway that stops.
    async fn start(gateways: &[Gateway; 2]) -> Result<Self> {
        let address = free_address()?;
        let configuration = fs::read_to_string(SAMPLE).with_context(|| format!("reading {SAMPLE}"))?;
        let configuration = replace_each(
            &configuration,
            &[
                ("bind :80", &format!("bind {address}")),
                ("10.0.0.11:8080 check", &format!("{} check", gateways[0].address())),
                ("10.0.0.12:8080 check", &format!("{} check", gateways[1].address())),
                ("retries 2", "retries 0"),
            ],
        )?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration)?;
        let process = Process::start(haproxy(&file), Stdout::Kept)?;
        let balancer = Self { process, address, _directory: directory };
        let answers = eventually("the balancer answers", PATIENCE, async || {
            let answer = http::get(address, "/goods/list").await?;
            ensure!(answer.status == 200, "it answers {}", answer.status);
            Ok(())
        });
        answers.await.with_context(|| balancer.process.tail())?;
        Ok(balancer)
    }
}

fn haproxy(configuration: &Path) -> Command {
    let mut command = Command::new("haproxy");
    // In the foreground, so that it ends with the test.
    command.arg("-db").arg("-f").arg(configuration);
    command
}

fn replace_each(text: &str, pairs: &[(&str, &str)]) -> Result<String> {
    pairs.iter().try_fold(text.to_owned(), |text, (from, to)| {
        ensure!(text.matches(from).count() == 1, "{SAMPLE} has not one {from}");
        Ok(text.replace(from, to))
    })
}

async fn requests(gateway: &Gateway) -> Result<f64> {
    gateway.metric("leaseway_requests_total", &["service=\"goods\""]).await
}

/// Waits until the balancer sends requests to this gateway.
async fn wait_used(gateway: &Gateway) -> Result<()> {
    let before = requests(gateway).await?;
    eventually("the balancer uses the gateway", PATIENCE, async || {
        ensure!(requests(gateway).await? > before, "it got no request");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_gateways_restarted_one_after_the_other_lose_no_request() -> Result<()> {
    let etcd = Etcd::start().await?;
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    let lame_duck = format!("{}s", LAME_DUCK.as_secs());
    let options = || GatewayOptions::default().set("gateway/timeouts/lame_duck", lame_duck.clone());
    let mut gateways = [
        Gateway::start(&etcd.endpoint(), options()).await?,
        Gateway::start(&etcd.endpoint(), options()).await?,
    ];
    for gateway in &gateways {
        gateway.wait_instances("goods", &["goods-1"]).await?;
    }
    let balancer = Balancer::start(&gateways).await?;
    let gets = Load::get(balancer.address, "/goods/list").rate(100).start();
    let posts = Load::post(balancer.address, "/goods/list", "{}").rate(100).start();
    posts.wait_begun(100, PATIENCE).await?;

    for gateway in &mut gateways {
        wait_used(gateway).await?;
        assert_eq!(gateway.stop(LAME_DUCK + PATIENCE).await?.code(), Some(0));
        gateway.start_again()?;
        gateway.wait_ready(PATIENCE).await?;
    }
    for gateway in &gateways {
        wait_used(gateway).await?;
    }
    for outcome in [gets.stop().await, posts.stop().await] {
        assert_none_failed(&outcome);
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_behind_the_balancer_knows_the_client_and_believes_it_nothing() -> Result<()> {
    let etcd = Etcd::start().await?;
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    let options = || GatewayOptions::default().set("gateway/trusted_proxies", json!(["127.0.0.1"]));
    let gateways = [
        Gateway::start(&etcd.endpoint(), options()).await?,
        Gateway::start(&etcd.endpoint(), options()).await?,
    ];
    for gateway in &gateways {
        gateway.wait_instances("goods", &["goods-1"]).await?;
    }
    let balancer = Balancer::start(&gateways).await?;
    let request = Request::get("/goods/list")
        .header("x-forwarded-for", "192.0.2.1")
        .header("forwarded", "for=192.0.2.1")
        .body(Bytes::new())?;
    let client = Ipv4Addr::new(127, 0, 0, 5);
    let answer = Connection::open_from(client, balancer.address).await?.send(request).await?;
    let trace_id = answer.header("trace_id").context("no trace id")?;
    let line = eventually("a gateway has logged it", PATIENCE, async || {
        let mut lines = gateways.iter().flat_map(|gateway| gateway.process().lines());
        lines.find(|line| line.contains(trace_id)).context("none has")
    });
    let line: Value = serde_json::from_str(&line.await?)?;
    assert_eq!(line["client"], client.to_string());
    Ok(())
}
