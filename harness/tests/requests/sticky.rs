//! Clients that come back to the instance that answered them.

use std::fs;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Behaviour, Reply},
    etcd::key,
    http::{Answer, Request},
    load::{Load, Outcome},
    stack::{Endpoint, Gateway, GatewayOptions},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{Fixture, assert_own_answer, malformed::PATIENCE, split::split};

/// A route to `goods` alone, by a cookie that is signed with the key in this file; none: with the gateway's own.
fn sticky(key_file: Option<&NamedTempFile>) -> Value {
    let mut sticky = json!({ "cookie": "lw" });
    if let Some(file) = key_file {
        sticky["key_file"] = json!(file.path());
    }
    json!({ "path": "/goods", "service": "goods", "sticky": sticky })
}

fn options(route: &Value) -> GatewayOptions {
    GatewayOptions::default().set("gateway/routes", json!([route]))
}

/// A split that is sticky.
fn sticky_split(weights: [u16; 2]) -> GatewayOptions {
    let mut route = split(weights);
    route["sticky"] = json!({ "cookie": "lw" });
    options(&route)
}

/// With the service `goods` on three backends, whose names are those of their instances.
async fn with_three(options: GatewayOptions) -> Result<(Fixture, [Backend; 3])> {
    let fixture = Fixture::start(options).await?;
    let backends = three().await?;
    fixture.register("goods", &backends.each_ref()).await?;
    Ok((fixture, backends))
}

async fn three() -> Result<[Backend; 3]> {
    let start = async |name: &str| Backend::start(name, Reply::ok("")).await;
    Ok([start("0").await?, start("1").await?, start("2").await?])
}

async fn wait_state(fixture: &Fixture, instance: &str, state: &str) -> Result<()> {
    let is_it = |endpoint: &Endpoint| endpoint.instance == instance && endpoint.state == state;
    fixture.gateway.wait_services(|services| services.endpoints("goods").iter().any(is_it)).await?;
    Ok(())
}

/// The answer to a client with this cookie.
async fn visit(gateway: &Gateway, cookie: &str) -> Result<Answer> {
    let request = Request::get("/goods").header("cookie", cookie).body(Bytes::new())?;
    harness::http::send(gateway.address(), request).await
}

/// The cookie that an answer gives its client, as the client sends it.
fn given(answer: &Answer) -> Result<String> {
    let line = answer.header("set-cookie").context("no cookie was given")?;
    Ok(line.split(';').next().unwrap_or_default().to_owned())
}

/// None failed, and each client moved so often at most.
fn assert_moved_within(outcome: &Outcome, most: u64) {
    assert_eq!((outcome.failed, outcome.refused), (0, 0), "{:?}", outcome.errors);
    assert!(outcome.moved <= most, "{} moves: {:?}", outcome.moved, outcome.by_instance);
}

#[tokio::test]
async fn a_client_gets_a_cookie_once_and_comes_back_by_it() -> Result<()> {
    let (fixture, _backends) = with_three(options(&sticky(None))).await?;
    let first = fixture.gateway.get("/goods").await?;
    let line = first.header("set-cookie").context("no cookie")?;
    assert!(line.starts_with("lw=1.") && line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
    assert!(!line.contains("127.0.0.1"), "{line}");
    let cookie = given(&first)?;
    for cookie in [&cookie, &format!("a=b; {cookie}; c=d"), &format!("lw=7; {cookie}")] {
        for _ in 0..10 {
            let again = visit(&fixture.gateway, cookie).await?;
            assert_eq!(again.header("x-served-by"), first.header("x-served-by"), "{cookie}");
            assert_eq!(again.header("set-cookie"), None, "{cookie}");
        }
    }
    let clients = Load::get(fixture.gateway.address(), "/goods").clients_of(50);
    let outcome = clients.run_count(2_000).await;
    assert_moved_within(&outcome, 0);
    assert!(outcome.by_instance.len() == 3 && outcome.cookies <= 56, "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn the_cookie_of_a_client_that_speaks_https_is_secure() -> Result<()> {
    let options = options(&sticky(None)).set("gateway/trusted_proxies", json!(["127.0.0.0/8"]));
    let (fixture, _backends) = with_three(options).await?;
    let request = Request::get("/goods").header("x-forwarded-proto", "https").body(Bytes::new())?;
    let answer = fixture.send(request).await?;
    let line = answer.header("set-cookie").context("no cookie")?;
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{line}");
    Ok(())
}

#[tokio::test]
async fn whatever_stands_in_the_cookie_the_request_is_served() -> Result<()> {
    let (fixture, _backends) = with_three(options(&sticky(None))).await?;
    let cookie = given(&fixture.gateway.get("/goods").await?)?;
    let (shorter, tag) = (&cookie[..cookie.len() - 1], "0123456789abcdef");
    let [nobody, upper, longer] =
        [format!("lw=1.{tag}.{tag}"), cookie.to_uppercase().replacen("LW", "lw", 1), format!("{cookie}0")];
    let long = format!("lw={}", "1.".repeat(2_000));
    for cookie in ["lw=", "lw", "lw=1", "lw=1..", "lw=\"", "lw=%00", shorter, &nobody, &upper, &longer, &long]
    {
        let answer = visit(&fixture.gateway, cookie).await?;
        assert_eq!(answer.status, 200, "{cookie}");
        let line = answer.header("set-cookie").with_context(|| format!("{cookie}: no cookie"))?;
        assert!(line.starts_with("lw=1."), "{cookie}: {line}");
    }
    let bytes = b"GET /goods HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: lw=1.\xff\xfe.\x80\r\n\r\n";
    let answer = harness::http::raw(fixture.gateway.address(), bytes, PATIENCE).await?;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    Ok(())
}

#[tokio::test]
async fn no_answer_of_the_gateways_own_gives_a_cookie() -> Result<()> {
    let fixture = Fixture::start(options(&sticky(None))).await?;
    let answer = fixture.gateway.get("/goods").await?;
    assert_own_answer(&answer, 503)?;
    assert_eq!(answer.header("set-cookie"), None);
    Ok(())
}

#[tokio::test]
async fn gateways_that_share_a_key_agree_also_after_a_restart_and_others_do_not() -> Result<()> {
    let file = NamedTempFile::new()?;
    fs::write(file.path(), "0123456789abcdef0123456789abcdef\n")?;
    let (fixture, _backends) = with_three(options(&sticky(Some(&file)))).await?;
    let start = async |key_file| {
        let options = options(&sticky(key_file));
        let gateway = Gateway::start(&fixture.etcd.endpoint(), options).await?;
        gateway.wait_instances("goods", &["0", "1", "2"]).await?;
        anyhow::Ok(gateway)
    };
    let (mut same, stranger) = (start(Some(&file)).await?, start(None).await?);
    for round in 0..2 {
        for _ in 0..20 {
            let first = fixture.gateway.get("/goods").await?;
            let again = visit(&same, &given(&first)?).await?;
            assert_eq!(again.header("x-served-by"), first.header("x-served-by"), "round {round}");
            assert_eq!(again.header("set-cookie"), None, "round {round}");
            let elsewhere = visit(&stranger, &given(&first)?).await?;
            assert_ne!(given(&elsewhere)?, given(&first)?);
        }
        same.stop(PATIENCE).await?;
        same.start_again()?;
        same.wait_ready(PATIENCE).await?;
        same.wait_instances("goods", &["0", "1", "2"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn clients_of_an_instance_that_is_killed_move_once_and_without_an_error() -> Result<()> {
    let (fixture, [killed, _a, _b]) = with_three(options(&sticky(None))).await?;
    let clients = Load::get(fixture.gateway.address(), "/goods").rate(500).clients_of(u64::MAX).start();
    clients.wait_begun(500, PATIENCE).await?;
    killed.behave(Behaviour::Refuse).await?;
    let begun = clients.begun();
    clients.wait_begun(begun + 500, PATIENCE).await?;
    let outcome = clients.stop().await;
    // A trial of the dead instance is made with whoever has no cookie of one that is well: nobody has by then.
    assert_moved_within(&outcome, 16);
    assert!(outcome.moved > 0, "nobody was there: {:?}", outcome.by_instance);
    Ok(())
}

#[tokio::test]
async fn clients_of_an_instance_that_is_taken_out_move_once_and_without_an_error() -> Result<()> {
    let (fixture, [drained, _a, _b]) = with_three(options(&sticky(None))).await?;
    let clients = Load::get(fixture.gateway.address(), "/goods").rate(500).clients_of(u64::MAX).start();
    clients.wait_begun(500, PATIENCE).await?;
    let record = json!({ "address": drained.address().to_string(), "weight": 0 });
    fixture.etcd.put(&key("goods", "0"), record.to_string()).await?;
    wait_state(&fixture, "0", "draining").await?;
    let (begun, served) = (clients.begun(), drained.count());
    clients.wait_begun(begun + 500, PATIENCE).await?;
    let outcome = clients.stop().await;
    assert_moved_within(&outcome, 16);
    assert!(outcome.moved > 0 && drained.count() <= served + 16, "{} then {}", served, drained.count());
    Ok(())
}

#[tokio::test]
async fn a_reload_moves_nobody_unless_a_service_gets_nothing_any_more() -> Result<()> {
    let (fixture, [_goods, next]) = Fixture::with_two(sticky_split([1, 1])).await?;
    let clients = Load::get(fixture.gateway.address(), "/goods").rate(500).clients_of(u64::MAX);
    let running = clients.start();
    running.wait_begun(500, PATIENCE).await?;
    fixture.gateway.reload(&sticky_split([1, 60_000])).await?;
    let begun = running.begun();
    running.wait_begun(begun + 200, PATIENCE).await?;
    assert_moved_within(&running.stop().await, 0);

    let running = clients.start();
    running.wait_begun(500, PATIENCE).await?;
    fixture.gateway.reload(&sticky_split([1, 0])).await?;
    // So many have begun since that each of the connections has had its answer to what came before.
    let begun = running.begun();
    running.wait_begun(begun + 100, PATIENCE).await?;
    let (begun, served) = (running.begun(), next.count());
    running.wait_begun(begun + 200, PATIENCE).await?;
    let outcome = running.stop().await;
    assert_moved_within(&outcome, 16);
    assert!(outcome.moved > 0);
    ensure!(next.count() == served, "{} after {served}", next.count());
    Ok(())
}

#[tokio::test]
async fn a_client_stays_with_its_service_when_its_instance_goes_and_leaves_it_when_all_are_gone() -> Result<()>
{
    let fixture = Fixture::start(sticky_split([1, 1])).await?;
    let backends = three().await?;
    let [a, b, next] = backends.each_ref();
    fixture.register("goods", &[a, b]).await?;
    fixture.register("next", &[next]).await?;
    let cookie = loop {
        let answer = fixture.gateway.get("/goods").await?;
        if answer.header("x-served-by") == Some("0") {
            break given(&answer)?;
        }
    };
    fixture.etcd.delete(&key("goods", "0")).await?;
    wait_state(&fixture, "0", "suspect").await?;
    let moved = visit(&fixture.gateway, &cookie).await?;
    assert_eq!(moved.header("x-served-by"), Some("1"));
    let cookie = given(&moved)?;
    for instance in ["0", "1"] {
        let record = json!({ "address": a.address().to_string(), "weight": 0 });
        fixture.etcd.put(&key("goods", instance), record.to_string()).await?;
    }
    wait_state(&fixture, "1", "draining").await?;
    let moved = visit(&fixture.gateway, &cookie).await?;
    assert_eq!(moved.header("x-served-by"), Some("2"));
    assert_eq!(visit(&fixture.gateway, &given(&moved)?).await?.header("set-cookie"), None);
    Ok(())
}
