//! What goes wrong around the gateway while calls of gRPC go through it: none fails that need not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    etcd::key,
    grpc::{Call, CallLoad, Calls, Client, Download, Upload, framed},
    process::Signal,
    stack::{GatewayOptions, Stack},
    wait::eventually,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{PATIENCE, stack_of_with};

const PATH: &str = "/shop.v1.Goods/List";
/// The metadata of calls that their route lets be sent again.
const IDEMPOTENT: &str = "x-idempotent";
/// Kinds of a load's calls.
const OTHER: usize = 0;
const SAFE: usize = 1;

/// Two routes to the goods: one for calls that may be sent again, one for all others.
fn routes(retry: &Value) -> Value {
    let safe = json!({ "path": PATH, "headers": { IDEMPOTENT: "1" } });
    json!([{ "match": safe, "service": "goods", "retry": retry }, { "path": PATH, "service": "goods" }])
}

fn options() -> GatewayOptions {
    let retry = json!({ "idempotent": true, "grpc": ["UNAVAILABLE"] });
    // The other carrier of HTTP/2 has no gRPC.
    GatewayOptions::without_routes().set("gateway/http2", "ours").set("gateway/routes", routes(&retry))
}

async fn stack_of(count: usize) -> Result<Stack> {
    stack_of_with(count, options()).await
}

fn load(stack: &Stack) -> CallLoad {
    CallLoad::new(stack.gateway.address(), PATH).rate(150).also(IDEMPOTENT, "1")
}

fn is_safe(call: &Call) -> bool {
    call.kind == SAFE
}

fn is_other(call: &Call) -> bool {
    call.kind == OTHER
}

/// Checks that a load ran and that none of it failed or was refused.
fn assert_none_failed(calls: &Calls) {
    assert!(calls.count() > 50, "only {} calls were made: nothing is shown", calls.count());
    assert_eq!((calls.failures(), calls.refused()), (Vec::new(), 0), "of {}", calls.count());
}

/// Begins a call, which stays open: its message does not come. Which of the servers has it nobody knows yet.
async fn open(stack: &Stack) -> Result<(Client, Upload, Download)> {
    let client = Client::connect(stack.gateway.address()).await?;
    let (upload, download) = client.call(PATH, &[]).await?;
    Ok((client, upload, download))
}

/// Sends the message of an open call, and waits for its end.
async fn finish((_client, mut upload, download): (Client, Upload, Download)) -> Result<()> {
    let sent = upload.send_all(framed(b""), true).await;
    let outcome = download.outcome_within(PATIENCE).await?;
    ensure!(sent.is_ok() && outcome.status() == Some("0"), "it has ended so: {sent:?}, {outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_killed_server_costs_only_what_was_in_flight_on_it() -> Result<()> {
    let mut stack = stack_of(3).await?;
    let running = load(&stack).start();
    running.wait_begun(100, PATIENCE).await?;
    // Calls are in flight on it when it dies, and it has not stalled yet.
    stack.goods[0].process().freeze()?;
    sleep(Duration::from_millis(300)).await;
    stack.goods[0].process().signal(Signal::SIGKILL)?;
    let killed = Instant::now();
    stack.goods[0].wait_exit(PATIENCE).await?;
    // Until its lease has run out it is chosen still.
    stack.gateway.wait_instances("goods", &["goods-2", "goods-3"]).await?;
    let calls = running.stop().await?;

    assert!(calls.instance("goods-1") > 0, "it served before: {:?}", calls.by_instance());
    assert_none_failed(&calls.only(is_safe));
    let others = calls.only(is_other);
    let failures = others.failures();
    assert!(!failures.is_empty(), "nothing was in flight on it: nothing is shown");
    let broke_off = |text: &&str| text.contains("status 14") && text.contains("connection_terminated");
    assert!(failures.iter().all(broke_off), "{failures:?}");
    // What begins later than the gateway can have seen its end is not sent to it, with ten times what that may take.
    assert_none_failed(&others.only(|call| call.begun > killed + Duration::from_secs(1)));
    Ok(())
}

#[tokio::test]
async fn a_server_that_drains_costs_no_call() -> Result<()> {
    let mut stack = stack_of(3).await?;
    let running = load(&stack).start();
    running.wait_begun(100, PATIENCE).await?;
    assert_eq!(stack.goods[0].stop(PATIENCE).await?.code(), Some(0));
    stack.gateway.wait_instances("goods", &["goods-2", "goods-3"]).await?;
    let begun = running.begun();
    running.wait_begun(begun + 50, PATIENCE).await?;
    let calls = running.stop().await?;
    assert!(calls.instance("goods-1") > 0, "it served before: {:?}", calls.by_instance());
    assert_none_failed(&calls);
    Ok(())
}

#[tokio::test]
async fn a_dead_etcd_costs_no_call_and_a_change_afterwards_arrives() -> Result<()> {
    let mut stack = stack_of(3).await?;
    let running = load(&stack).start();
    stack.etcd.kill().await?;
    // Longer than the leases of all three.
    sleep(Duration::from_secs(4)).await;
    stack.etcd.restart().await?;
    stack.etcd.put(&key("goods", "late"), stack.goods[0].address().to_string()).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"late")).await?;
    let calls = running.stop().await?;
    assert_none_failed(&calls);
    assert_eq!((calls.by_instance().len(), calls.connections), (3, 10), "{:?}", calls.by_instance());
    Ok(())
}

#[tokio::test]
async fn a_reload_costs_no_call_and_no_connection() -> Result<()> {
    let stack = stack_of(3).await?;
    let running = load(&stack).start();
    let opened = open(&stack).await?;
    for round in 0..6 {
        let begun = running.begun();
        running.wait_begun(begun + 50, PATIENCE).await?;
        let retry = json!({ "idempotent": true, "attempts": 2 + round % 2 });
        stack.gateway.reload(&options().set("gateway/routes", routes(&retry))).await?;
    }
    finish(opened).await?;
    let calls = running.stop().await?;
    assert_none_failed(&calls);
    assert_eq!(calls.connections, 10);
    Ok(())
}

/// Clients take what GOAWAY has not let begin to another connection, and are refused there.
#[tokio::test]
async fn a_stopping_gateway_costs_no_call() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let running = load(&stack).start();
    running.wait_begun(100, PATIENCE).await?;
    let opened = open(&stack).await?;
    stack.gateway.process().signal(Signal::SIGTERM)?;
    let begun = running.begun();
    running.wait_begun(begun + 100, PATIENCE).await?;
    finish(opened).await?;
    assert_eq!(stack.gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    let calls = running.stop().await?;
    assert_eq!(calls.failures(), Vec::<&str>::new());
    assert!(calls.refused() > 0, "the load did not see the end: nothing is shown");
    assert!(calls.by_instance().len() == 2, "{:?}", calls.by_instance());
    Ok(())
}

#[tokio::test]
async fn a_handover_to_a_new_process_costs_no_call() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let running = load(&stack).start();
    running.wait_begun(100, PATIENCE).await?;
    let opened = open(&stack).await?;
    let successor = stack.gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(stack.gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await?;
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    // It serves on for a while, and then its clients are told to go.
    finish(opened).await?;
    assert_eq!(stack.gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    let begun = running.begun();
    running.wait_begun(begun + 100, PATIENCE).await?;
    let calls = running.stop().await?;
    assert_none_failed(&calls);
    assert!(calls.connections >= 20, "{} connections: nobody has moved", calls.connections);
    let served = |line: &&String| line.contains("\"grpc_status\"");
    assert!(successor.lines().iter().any(|line| served(&line)), "the new one has served no call");
    Ok(())
}

/// What cannot be sent again is not left: the server answers it when it goes on.
#[tokio::test]
#[ignore = "hyper closes a connection on which more than 20 streams were reset that it has not looked at"]
async fn a_server_that_stood_still_answers_what_has_waited_for_it() -> Result<()> {
    let stack = stack_of(3).await?;
    let running = load(&stack).rate(400).start();
    running.wait_begun(200, PATIENCE).await?;
    stack.goods[0].process().freeze()?;
    sleep(Duration::from_secs(2)).await;
    stack.goods[0].process().thaw()?;
    let calls = running.stop().await?;
    let waited = calls.only(is_other).slower_than(Duration::from_secs(1));
    assert!(waited > 0, "nothing was in flight on it: nothing is shown");
    assert_none_failed(&calls);
    Ok(())
}
