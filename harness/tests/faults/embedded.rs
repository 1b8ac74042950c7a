//! A gateway that is its own registry: it ends and begins anew, and nobody is hurt by that.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use etcd_client::{Txn, TxnOp};
use harness::{
    backend::{Backend, Reply},
    etcd::{self, PREFIX, key},
    http::{self, Connection, Request},
    load::Load,
    ports::free_address,
    process::{Process, Signal},
    stack::{EmbeddedStack, Gateway, GatewayOptions, Goods, Services, write_configuration},
    wait::eventually,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{PATIENCE, assert_none_failed};

const RATE: u32 = 300;
const GOODS: usize = 4;
const DRAIN: [&str; 2] = ["--drain", "1s"];

async fn stack() -> Result<EmbeddedStack> {
    EmbeddedStack::start(GOODS, &DRAIN, GatewayOptions::default()).await
}

#[tokio::test]
async fn goods_register_in_it_and_requests_flow() -> Result<()> {
    let stack = stack().await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").connections(4);
    let outcome = load.run_count(400).await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.by_instance.len(), GOODS);
    Ok(())
}

#[tokio::test]
async fn etcdctl_works_on_it() -> Result<()> {
    let stack = stack().await?;
    let keys = stack.etcdctl(&["get", "--prefix", "--keys-only", PREFIX]).await?;
    assert_eq!(keys.lines().filter(|line| line.starts_with(PREFIX)).count(), GOODS, "{keys}");
    let status = stack.etcdctl(&["endpoint", "status"]).await?;
    assert!(status.contains(&stack.registry), "{status}");
    let members = stack.etcdctl(&["member", "list"]).await?;
    assert!(members.contains(&stack.registry_url()), "{members}");

    let by_hand = key("goods", "by-hand");
    let address = stack.goods[0].address().to_string();
    stack.etcdctl(&["put", &by_hand, &address]).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"by-hand")).await?;
    stack.etcdctl(&["del", &by_hand]).await?;
    stack.gateway.wait_services(|services| !services.instances("goods").contains(&"by-hand")).await?;
    Ok(())
}

/// Each of their calls takes as long as a turn, and the line of them never ends. (All is written over JSON: who
/// comes over gRPC gives the watch its turn.)
#[tokio::test]
async fn the_gateway_hears_of_registrations_while_others_keep_its_registry_busy() -> Result<()> {
    let gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let registry = gateway.registry_address()?;
    let mut client = etcd::client(&format!("http://{registry}")).await?;
    for first in (0..4_000).step_by(100) {
        let puts: Vec<_> = (first..first + 100).map(|n| TxnOp::put(format!("busy{n}"), "", None)).collect();
        client.txn(Txn::new().and_then(puts)).await?;
    }
    let [from, end] = ["busy", "busz"].map(|key| BASE64_STANDARD.encode(key));
    let count = json!({ "requestRange": { "key": from, "range_end": end, "count_only": true } });
    let body = Bytes::from(json!({ "success": vec![count; 60] }).to_string());
    let mut busy = JoinSet::new();
    for _ in 0..8 {
        let mut connection = Connection::open(registry).await?;
        let body = body.clone();
        busy.spawn(async move {
            loop {
                let call = Request::post("/v3/kv/txn").header("host", "localhost");
                let call = call.header("content-type", "application/json").body(body.clone())?;
                let answer = connection.send(call).await?;
                ensure!(answer.status == 200, "{}", answer.text());
            }
        });
    }
    let mut registrar = Connection::open(registry).await?;
    for round in 1..=10 {
        let address = format!("127.0.0.1:{round}");
        let [key, value] = [key("goods", "moving"), address.clone()].map(|text| BASE64_STANDARD.encode(text));
        let put = Request::post("/v3/kv/put").header("host", "localhost");
        let put = put.header("content-type", "application/json");
        let body = json!({ "key": key, "value": value }).to_string();
        ensure!(registrar.send(put.body(body.into())?).await?.status == 200);
        let has_moved =
            |services: &Services| services.endpoints("goods").iter().any(|e| e.address == address);
        gateway.wait_services(has_moved).await?;
    }
    let idle: Option<Result<Result<()>, _>> = busy.try_join_next();
    ensure!(idle.is_none(), "nobody kept it busy: {idle:?}");
    let lost = gateway.process().lines().into_iter().find(|line| line.contains("lost touch"));
    ensure!(lost.is_none(), "{lost:?}");
    Ok(())
}

#[tokio::test]
async fn a_program_registers_by_json_and_no_page_in_a_browser_does() -> Result<()> {
    let stack = stack().await?;
    let registry = stack.registry.parse()?;
    let put = async |instance: &str, header: (&str, &str)| {
        let [key, value] = [key("goods", instance), stack.goods[0].address().to_string()];
        let body = json!({ "key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value) });
        let request = Request::post("/v3/kv/put").header("content-type", "application/json");
        http::send(registry, request.header(header.0, header.1).body(body.to_string().into())?).await
    };
    for (header, expected) in [
        (("origin", "http://evil.example"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("host", "evil.example"), 421),
        (("content-type", "text/plain"), 415),
    ] {
        assert_eq!(put("evil", header).await?.status, expected, "{header:?}");
    }
    // What came before it would have been seen before it.
    assert_eq!(put("by-json", ("accept", "*/*")).await?.status, 200);
    let seen =
        stack.gateway.wait_services(|services| services.instances("goods").contains(&"by-json")).await?;
    assert!(!seen.instances("goods").contains(&"evil"));
    Ok(())
}

#[tokio::test]
async fn the_gateway_needs_no_place_that_strangers_could_take() -> Result<()> {
    const PLACES: usize = 8;
    let directory = tempfile::tempdir()?;
    let registry = free_address()?;
    let mut configuration = configuration(&registry.to_string())?;
    configuration["gateway"]["registry"]["embedded"]["max_connections"] = json!(PLACES);
    let _gateway = run(&configuration, &[], directory.path(), directory.path())?;
    eventually("it serves", PATIENCE, async || Ok(TcpStream::connect(registry).await.map(drop)?)).await?;
    let mut strangers = Vec::new();
    for n in 0..PLACES {
        let mut stranger = TcpStream::connect(registry).await?;
        stranger.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = [0; 12];
        timeout(PATIENCE, stranger.read_exact(&mut answer))
            .await
            .with_context(|| format!("number {n}"))??;
        assert_eq!(answer, *b"HTTP/1.1 200");
        strangers.push(stranger);
    }
    Ok(())
}

#[tokio::test]
async fn the_metrics_tell_what_it_holds_and_refuses() -> Result<()> {
    let stack = stack().await?;
    let metric =
        async |name: &str| stack.gateway.metric(&format!("leaseway_embedded_registry_{name}"), &[]).await;
    let goods = GOODS as f64;
    assert_eq!((metric("keys").await?, metric("leases").await?), (goods, goods));
    let watched = eventually("the gateway and each instance watch", PATIENCE, async || {
        let watches = metric("watches").await?;
        ensure!(watches == goods + 1.0, "{watches} watches");
        Ok(())
    });
    watched.await?;
    assert!(metric("live_bytes").await? > 0.0);
    assert!(metric("revision").await? > metric("compacted_revision").await?);
    let refused = async || {
        let reason = ["reason=\"requested lease not found\""];
        stack.gateway.metric("leaseway_embedded_registry_refused_total", &reason).await
    };
    let before = refused().await?;
    stack.etcdctl(&["put", "--lease=4711", "key", "value"]).await.expect_err("there is no such lease");
    assert_eq!(refused().await?, before + 1.0);
    Ok(())
}

/// The path names the service.
async fn stack_by_path() -> Result<EmbeddedStack> {
    let routes = json!([{ "path": "/{service}", "services_allowed": ["go*"] }]);
    EmbeddedStack::start(GOODS, &DRAIN, GatewayOptions::default().set("gateway/routes", routes)).await
}

#[tokio::test]
async fn killed_and_started_under_load_it_fails_no_request_once_it_listens() -> Result<()> {
    kill_and_start(stack().await?).await
}

#[tokio::test]
async fn killed_and_started_it_fails_no_request_of_a_service_that_its_path_names() -> Result<()> {
    kill_and_start(stack_by_path().await?).await
}

async fn kill_and_start(mut stack: EmbeddedStack) -> Result<()> {
    stack.wait_snapshot().await?;
    let former = stack.leases().await?;
    stack.gateway.kill().await?;
    // Before it starts, so that whatever it answers first is counted.
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(RATE).start();
    load.wait_begun(30, PATIENCE).await?;
    stack.gateway.start_again()?;
    stack.wait_registered_again(&former, Instant::now()).await?;
    load.wait_begun(load.begun() + 300, PATIENCE).await?;
    let outcome = load.stop().await;
    assert!(outcome.refused > 0, "the load did not see the gateway down: nothing is shown");
    assert!(outcome.status(200) > 300, "only {:?}", outcome.by_status);
    assert_eq!(outcome.failed, 0, "{:?}\n{}", outcome.errors, stack.gateway.process().tail());
    Ok(())
}

#[tokio::test]
async fn an_instance_younger_than_the_snapshot_registers_again_like_the_others() -> Result<()> {
    let mut stack = stack().await?;
    stack.wait_snapshot().await?;
    let snapshot = stack.gateway.snapshot()?;
    let older = fs::read(&snapshot)?;
    stack.goods.push(Goods::start(&stack.registry_url(), "younger", &DRAIN).await?);
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"younger")).await?;
    let former = stack.leases().await?;
    stack.gateway.kill().await?;
    fs::write(&snapshot, older)?;
    stack.gateway.start_again()?;
    stack.wait_registered_again(&former, Instant::now()).await?;
    Ok(())
}

#[tokio::test]
async fn upgrades_under_load_fail_and_refuse_nothing() -> Result<()> {
    upgrade_under_load(stack().await?).await
}

#[tokio::test]
async fn upgrades_fail_and_refuse_nothing_of_a_service_that_its_path_names() -> Result<()> {
    upgrade_under_load(stack_by_path().await?).await
}

async fn upgrade_under_load(mut stack: EmbeddedStack) -> Result<()> {
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(RATE).start();
    load.wait_begun(100, PATIENCE).await?;
    let registering = Load::get(stack.gateway.registry_address()?, "/").rate(50).start();
    for _ in 0..2 {
        let (old, _) = stack.upgrade().await?;
        assert!(old.lines().iter().any(|line| line.contains("stops serving")), "{}", old.tail());
    }
    load.wait_begun(load.begun() + 300, PATIENCE).await?;
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    // They are no gRPC, but each has its own connection.
    let connections = registering.stop().await;
    assert!(connections.sent > 100 && connections.refused == 0, "{connections:?}");
    Ok(())
}

#[tokio::test]
async fn who_registers_during_a_handover_is_answered_soon() -> Result<()> {
    let mut stack = stack().await?;
    let successor = stack.successor().await?;
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    stack.gateway.process().wait_for_line(|line| line.contains("stops serving"), PATIENCE).await?;
    // Ten times the second within which the new process accepts.
    let put = timeout(Duration::from_secs(10), put_by_hand(&stack)).await;
    put.context("the new process took no put in time")
        .and_then(|put| put)
        .with_context(|| successor.tail())?;
    let mut old = stack.gateway.replace(successor);
    old.wait_exit(PATIENCE).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"by-hand")).await?;
    Ok(())
}

/// On a connection of its own.
async fn put_by_hand(stack: &EmbeddedStack) -> Result<()> {
    let address = stack.goods[0].address().to_string();
    stack.client().await?.put(key("goods", "by-hand"), address, None).await?;
    Ok(())
}

#[tokio::test]
async fn a_successor_that_dies_while_it_waits_leaves_the_registry_where_it_was() -> Result<()> {
    let stack = stack().await?;
    let mut successor = stack.successor().await?;
    successor.signal(Signal::SIGKILL)?;
    successor.wait_exit(PATIENCE).await?;
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    stack.gateway.process().wait_for_line(|line| line.contains("serving on"), PATIENCE).await?;
    put_by_hand(&stack).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"by-hand")).await?;
    Ok(())
}

#[tokio::test]
async fn it_serves_until_the_last_request_is_done() -> Result<()> {
    let mut stack = EmbeddedStack::start(0, &[], GatewayOptions::default()).await?;
    let backend = Backend::start("slow", Reply::Echo).await?;
    let mut client = stack.client().await?;
    client.put(key("goods", "slow"), backend.address().to_string(), None).await?;
    stack.gateway.wait_instances("goods", &["slow"]).await?;
    // In flight for as long as its only byte is missing.
    let mut request = TcpStream::connect(stack.gateway.address()).await?;
    request.write_all(b"POST /goods HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n").await?;
    eventually("the request is in flight", PATIENCE, async || {
        ensure!(stack.gateway.metric("leaseway_requests_in_flight", &[]).await? == 1.0, "it is not");
        Ok(())
    })
    .await?;

    stack.gateway.process().signal(Signal::SIGTERM)?;
    eventually("the gateway does not listen any more", PATIENCE, async || {
        ensure!(stack.gateway.get("/").await.is_err(), "it answers");
        Ok(())
    })
    .await?;
    // As a backend does that stops at the same time.
    let deleted = client.delete(key("goods", "slow"), None).await?;
    assert_eq!(deleted.deleted(), 1);
    request.write_all(b"x").await?;
    let mut answer = String::new();
    request.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nx"), "{answer}");
    assert_eq!(stack.gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    assert!(client.get(key("goods", "slow"), None).await.is_err(), "it ends with the gateway");
    Ok(())
}

/// Of a gateway whose registry is to listen here; its files are where they are by default.
fn configuration(listen: &str) -> Result<Value> {
    Ok(json!({
        "version": 1,
        "gateway": {
            "listen": [free_address()?.to_string()],
            "admin": "off",
            "registry": { "embedded": { "listen": listen } },
            "routes": [{ "path": "/goods", "service": "goods" }],
        },
    }))
}

/// Runs a gateway with this configuration, whose default for its files is below `session`.
fn run(configuration: &Value, flags: &[&str], directory: &Path, session: &Path) -> Result<Process> {
    let file = directory.join("pingora.yaml");
    write_configuration(&file, configuration)?;
    let (file, session) = (file.display().to_string(), session.display().to_string());
    let none_of_a_service = [("RUNTIME_DIRECTORY", ""), ("STATE_DIRECTORY", "")];
    let environment = [&none_of_a_service[..], &[("XDG_RUNTIME_DIR", session.as_str())]].concat();
    Process::spawn("proxy", [&["-c", &file], flags].concat(), &environment)
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_start_and_is_named() -> Result<()> {
    let taken = TcpListener::bind(free_address()?).context("taking a port")?;
    let address = taken.local_addr()?.to_string();
    let directory = tempfile::tempdir()?;
    let mut process = run(&configuration(&address)?, &[], directory.path(), directory.path())?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    let told = process.stderr().join("\n");
    let expected = format!("the embedded registry cannot listen on {address}");
    assert!(told.contains(&expected) && told.contains("in use"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_successor_does_not_take_over_with_an_empty_registry() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let address = free_address()?.to_string();
    let mut process = run(&configuration(&address)?, &["-u"], directory.path(), directory.path())?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    let told = process.stderr().join("\n");
    assert!(told.contains("empty registry") && told.contains(&address), "{told}");
    Ok(())
}

#[tokio::test]
async fn without_a_place_for_the_snapshot_it_warns_and_serves() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let missing = directory.path().join("missing");
    let address = free_address()?;
    let process = run(&configuration(&address.to_string())?, &[], directory.path(), &missing)?;
    process.wait_for_line(|line| line.contains("no snapshot is kept"), PATIENCE).await?;
    process.wait_for_line(|line| line.contains("the embedded registry serves"), PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_beyond_this_machine_is_warned_of_at_each_start() -> Result<()> {
    let warned = |line: &str| line.contains("WARN") && line.contains("has no users");
    let here = Gateway::start_with_registry(GatewayOptions::default()).await?;
    here.process().wait_for_line(|line| line.contains("the embedded registry serves"), PATIENCE).await?;
    assert!(!here.process().lines().iter().any(|line| warned(line)));

    let everywhere = format!("0.0.0.0:{}", free_address()?.port());
    let options = GatewayOptions::default().set("gateway/registry/embedded/listen", everywhere);
    let gateway = Gateway::start_with_registry(options).await?;
    gateway.process().wait_for_line(warned, PATIENCE).await?;
    let successor = gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(gateway.is_awaited(), "there is no upgrade socket\n{}", successor.tail());
        Ok(())
    })
    .await?;
    gateway.process().signal(Signal::SIGQUIT)?;
    successor.wait_for_line(warned, PATIENCE).await?;
    Ok(())
}
