//! etcd that dies, comes late, or refuses.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    etcd::{Etcd, key},
    load::Load,
    ports::free_address,
    process::Process,
    stack::{Gateway, GatewayOptions, Goods},
    tls::TlsFiles,
    wait::eventually,
};

use crate::{PATIENCE, assert_none_failed, stack_of};

/// Ten times what is promised: tests run beside others.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_dead_etcd_costs_no_request_and_no_endpoint() -> Result<()> {
    let mut stack = stack_of(3).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(200).start();
    stack.etcd.kill().await?;
    // Longer than the leases of all three.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let services = stack.gateway.services().await?;
    assert_eq!(services.instances("goods"), ["goods-1", "goods-2", "goods-3"]);
    let ready = stack.gateway.admin("/readyz").await?;
    assert_eq!(ready.status, 200, "losing etcd is reported, never acted on: {}", ready.text());

    stack.etcd.restart().await?;
    let returned = Instant::now();
    stack.etcd.put(&key("goods", "late"), stack.goods[0].address().to_string()).await?;
    let has_late = |services: &harness::stack::Services| services.instances("goods").contains(&"late");
    stack.gateway.wait_services(has_late).await?;
    assert!(returned.elapsed() < ARRIVES_WITHIN, "a change took {:?}", returned.elapsed());
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn every_backend_registers_again_after_etcd_was_emptied() -> Result<()> {
    let mut stack = stack_of(3).await?;
    stack.etcd.restart_empty().await?;
    let mut client = stack.etcd.client().await?;
    eventually("all three register again", PATIENCE, async || {
        let options = etcd_client::GetOptions::new().with_prefix().with_count_only();
        let count = client.get(harness::etcd::PREFIX, Some(options)).await?.count();
        ensure!(count == 3, "{count} are registered");
        Ok(())
    })
    .await?;
    stack.gateway.wait_instances("goods", &["goods-1", "goods-2", "goods-3"]).await?;
    stack.etcd.put(&key("goods", "late"), stack.goods[0].address().to_string()).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"late")).await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_without_etcd_waits_says_why_and_gets_ready() -> Result<()> {
    let address = free_address()?;
    let gateway = Gateway::launch(&format!("http://{address}"), GatewayOptions::default()).await?;
    assert_eq!(gateway.get("/").await?.status, 503);
    assert_eq!(gateway.get("/goods").await?.status, 503);
    assert_eq!(gateway.admin("/livez").await?.status, 200);
    let names_it =
        |line: &str| line.contains(&address.port().to_string()) && line.to_lowercase().contains("refused");
    gateway.process().wait_for_line(names_it, PATIENCE).await?;
    eventually("/readyz says why", PATIENCE, async || {
        let ready = gateway.admin("/readyz").await?;
        ensure!(ready.status == 503 && ready.text().to_lowercase().contains("refused"), "{}", ready.text());
        Ok(())
    })
    .await?;

    let etcd = Etcd::builder().port(address.port()).start().await?;
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    gateway.wait_ready(PATIENCE).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    assert_eq!(gateway.get("/").await?.text(), "gateway");
    assert_eq!(gateway.get("/goods/list").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_goods_without_etcd_serves_and_registers_once_it_comes() -> Result<()> {
    let address = free_address()?;
    let goods = Goods::start(&format!("http://{address}"), "goods-1", &[]).await?;
    assert_eq!(harness::http::get(goods.address(), "/").await?.text(), "goods");
    let etcd = Etcd::builder().port(address.port()).start().await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    Ok(())
}

#[tokio::test]
async fn users_with_the_roles_they_need_and_no_more_suffice() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    let password_file = users.writer.password_file.display().to_string();
    let credentials = ["--username", &users.writer.name, "--password-file", &password_file];
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &credentials).await?;
    let gateway = Gateway::start(&etcd.endpoint(), reader(&etcd)?).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    assert_eq!(gateway.get("/goods/list").await?.status, 200);
    Ok(())
}

fn reader(etcd: &Etcd) -> Result<GatewayOptions> {
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    Ok(GatewayOptions::default()
        .set("gateway/registry/username", users.reader.name.as_str())
        .set("gateway/registry/password_file", users.reader.password_file.display().to_string()))
}

#[tokio::test]
async fn a_wrong_password_is_logged_now_and_then_until_it_is_right() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    let mut root = etcd.client().await?;
    root.user_change_password(users.reader.name.as_str(), "another one").await?;
    let gateway = Gateway::launch(&etcd.endpoint(), reader(&etcd)?).await?;
    let is_complaint = |line: &str| {
        let line = line.to_lowercase();
        line.contains("password") || line.contains("authentication failed")
    };
    gateway.process().wait_for_line(is_complaint, PATIENCE).await?;
    let mark = gateway.process().line_count();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let later = gateway.process().lines_since(mark).iter().filter(|line| is_complaint(line)).count();
    assert!(later <= 3, "{later} complaints in 6 s");
    let ready = gateway.admin("/readyz").await?;
    assert!(ready.status == 503 && is_complaint(&ready.text()), "{}", ready.text());

    root.user_change_password(users.reader.name.as_str(), users.reader.password.as_str()).await?;
    gateway.wait_ready(PATIENCE).await
}

#[tokio::test]
async fn a_record_with_a_misspelt_key_is_used_and_told_of_once() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), r#"{"address":"127.0.0.2:80","wieght":0}"#).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["a"]).await?;
    for revision in 0..3 {
        etcd.put(&key("goods", "a"), format!(r#"{{"address":"127.0.0.{}:80","wieght":0}}"#, revision + 3))
            .await?;
    }
    etcd.put(&key("goods", "b"), "127.0.0.9:80").await?;
    gateway.wait_instances("goods", &["a", "b"]).await?;
    const WARNING: &str = "a record has an unknown key, which is ignored";
    // What the gateway has said may take a moment to be read here.
    gateway.process().wait_for_line(|line| line.contains(WARNING), PATIENCE).await?;
    let is_warning = |line: &&String| line.contains(WARNING);
    let lines = gateway.process().lines();
    let warnings: Vec<_> = lines.iter().filter(is_warning).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for expected in ["did you mean weight?", r#""unknown":"wieght""#, &key("goods", "a")] {
        assert!(warnings[0].contains(expected), "{expected}: {}", warnings[0]);
    }
    Ok(())
}

#[tokio::test]
async fn a_registrar_says_what_stands_in_its_way_and_what_to_do() -> Result<()> {
    let clear = Etcd::start().await?;
    let endpoint = format!("https://{}", clear.address());
    let goods = Goods::start(&endpoint, "a", &[]).await?;
    let is_trouble = |line: &str| line.contains("the registration is in trouble");
    let told = goods.process().wait_for_line(is_trouble, PATIENCE).await?;
    let expected = format!("could not grant a lease at {endpoint}: the server ended the TLS handshake");
    assert!(told.contains(&expected) && told.contains("write http:// in the place of https://"), "{told}");

    let etcd = Etcd::builder().users().start().await?;
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    let password_file = users.reader.password_file.display().to_string();
    let credentials = ["--username", &users.reader.name, "--password-file", &password_file];
    let goods = Goods::start(&etcd.endpoint(), "a", &credentials).await?;
    let told = goods.process().wait_for_line(is_trouble, PATIENCE).await?;
    let remedy = "role grant-permission ROLE readwrite /service_registry_discovery/goods/ --prefix=true";
    assert!(told.contains(&etcd.endpoint()) && told.contains(remedy), "{told}");
    Ok(())
}

#[tokio::test]
async fn the_first_of_two_processes_with_one_id_names_both_addresses_and_the_cure() -> Result<()> {
    let etcd = Etcd::start().await?;
    let first = Goods::start(&etcd.endpoint(), "a", &[]).await?;
    first.process().wait_for_line(|line| line.contains("\"registered\""), PATIENCE).await?;
    let second = Goods::start(&etcd.endpoint(), "a", &[]).await?;
    let is_taken = |line: &str| line.contains("another process registered the same instance id");
    let told = first.process().wait_for_line(is_taken, PATIENCE).await?;
    for expected in [
        format!("\"ours\":\"{}\"", first.address()),
        format!("\"theirs\":\"{}\"", second.address()),
        "Give each process an instance id of its own".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_goods_whose_registry_is_no_url_does_not_start() -> Result<()> {
    let mut goods = Process::spawn("goods", ["--registry", "127.0.0.1:2379"], &[])?;
    assert!(!goods.wait_exit(PATIENCE).await?.success());
    // The end of a process is known before the last of its output has been read.
    eventually("it says why", PATIENCE, async || {
        let told = goods.stderr().join("\n");
        ensure!(told.contains("'127.0.0.1:2379'") && told.contains("must start with http://"), "{told}");
        Ok(())
    })
    .await
}

fn with_tls(authority: &TlsFiles, client: &TlsFiles) -> GatewayOptions {
    GatewayOptions::default()
        .set("gateway/registry/tls/ca", authority.ca.display().to_string())
        .set("gateway/registry/tls/cert", client.client_cert.display().to_string())
        .set("gateway/registry/tls/key", client.client_key.display().to_string())
}

#[tokio::test]
async fn certificates_of_the_right_authority_are_accepted_on_both_sides() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    let Some(tls) = etcd.tls() else { anyhow::bail!("no certificates") };
    let files = [&tls.ca, &tls.client_cert, &tls.client_key].map(|file| file.display().to_string());
    let [ca, cert, key] = &files;
    let _goods = Goods::start(&etcd.endpoint(), "a", &["--ca", ca, "--cert", cert, "--key", key]).await?;
    let gateway = Gateway::start(&etcd.endpoint(), with_tls(tls, tls)).await?;
    gateway.wait_instances("goods", &["a"]).await?;
    assert_eq!(gateway.get("/goods/list").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_is_not_believed() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    let Some(tls) = etcd.tls() else { anyhow::bail!("no certificates") };
    let elsewhere = tempfile::tempdir()?;
    let stranger = TlsFiles::generate(elsewhere.path())?;
    assert_first_warning_speaks_of_certificates(&etcd, with_tls(&stranger, tls)).await
}

#[tokio::test]
async fn a_client_certificate_that_etcd_refuses_is_named_as_the_reason() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    let Some(tls) = etcd.tls() else { anyhow::bail!("no certificates") };
    let elsewhere = tempfile::tempdir()?;
    let stranger = TlsFiles::generate(elsewhere.path())?;
    assert_first_warning_speaks_of_certificates(&etcd, with_tls(tls, &stranger)).await
}

async fn assert_first_warning_speaks_of_certificates(etcd: &Etcd, options: GatewayOptions) -> Result<()> {
    let gateway = Gateway::launch(&etcd.endpoint(), options).await?;
    let is_warning = |line: &str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    let warning = gateway.process().wait_for_line(is_warning, PATIENCE).await?;
    assert!(warning.to_lowercase().contains("certificate"), "{warning}");
    assert_eq!(gateway.get("/").await?.status, 503);
    Ok(())
}
