//! The admin port.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd_client::PutOptions;
use harness::{
    backend::Backend,
    etcd::key,
    http::{self, Request},
    load::Load,
    stack::GatewayOptions,
    wait::eventually,
};

use super::{Fixture, malformed::PATIENCE};

#[tokio::test]
async fn livez_and_readyz_answer_for_a_synced_gateway() -> Result<()> {
    let (fixture, _backend) = Fixture::with_goods().await?;
    assert_eq!(fixture.gateway.admin("/livez").await?.status, 200);
    let ready = fixture.gateway.admin("/readyz").await?;
    assert_eq!(ready.status, 200);
    let json = ready.json()?;
    let revision = json["revision"].as_i64().with_context(|| format!("no revision in {json}"))?;
    assert!(revision > 1, "{json}");
    assert_eq!(fixture.gateway.get("/").await?.text(), "gateway");
    assert_eq!(fixture.gateway.admin("/nothing-here").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn services_shows_every_endpoint_with_its_lease() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let mut client = fixture.etcd.client().await?;
    let lease = client.lease_grant(60, None).await?.id();
    let options = PutOptions::new().with_lease(lease);
    client.put(key("goods", "leased"), "127.0.0.2:80", Some(options)).await?;
    let services = fixture.gateway.wait_instances("goods", &["0", "leased"]).await?;
    assert!(services.synced && services.revision > 1);
    let of =
        |instance: &str| services.endpoints("goods").iter().find(|endpoint| endpoint.instance == instance);
    let leased = of("leased").context("not there")?;
    assert_eq!((leased.address.as_str(), leased.weight, leased.state.as_str()), ("127.0.0.2:80", 1, "up"));
    assert_eq!(i64::from_str_radix(&leased.lease, 16)?, lease);
    let plain = of("0").context("not there")?;
    assert_eq!(plain.address, backend.address().to_string());
    Ok(())
}

#[tokio::test]
async fn metrics_count_requests_by_service_and_status() -> Result<()> {
    let (fixture, _backend): (_, Backend) = Fixture::with_goods().await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(2).run_count(50).await;
    assert_eq!(outcome.failed, 0);
    fixture.gateway.get("/nowhere").await?;
    let requests = "leaseway_requests_total";
    // A client may have its whole answer a moment before it is counted.
    eventually("all are counted", PATIENCE, async || {
        let counted = fixture.gateway.metric(requests, &["service=\"goods\"", "status=\"200\""]).await?;
        ensure!(counted == 50.0, "{counted} are");
        Ok(())
    })
    .await?;
    let timed = "leaseway_request_duration_seconds_count";
    assert_eq!(fixture.gateway.metric(timed, &["service=\"goods\""]).await?, 50.0);
    let endpoints = "leaseway_endpoints";
    assert_eq!(fixture.gateway.metric(endpoints, &["service=\"goods\"", "state=\"up\""]).await?, 1.0);
    let revision = fixture.gateway.services().await?.revision;
    assert_eq!(fixture.gateway.metric("leaseway_registry_revision", &[]).await?, revision as f64);
    assert_eq!(fixture.gateway.metric("leaseway_panics_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn metrics_show_the_build_and_what_the_process_takes() -> Result<()> {
    let (fixture, _backend) = Fixture::with_goods().await?;
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(fixture.gateway.metric("leaseway_build_info", &[&version]).await?, 1.0);
    for name in ["process_open_fds", "process_max_fds", "process_threads", "process_virtual_memory_bytes"] {
        let value = fixture.gateway.metric(name, &[]).await?;
        assert!(value > 0.0, "{name} is {value}");
    }
    let memory = fixture.gateway.metric("process_resident_memory_bytes", &[]).await?;
    let resident = fixture.gateway.process().resident_memory()? as f64;
    assert!((resident / 2.0..resident * 2.0).contains(&memory), "{memory}, and it has {resident}");
    let started = fixture.gateway.metric("process_start_time_seconds", &[]).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    assert!((now - 600.0..now + 2.0).contains(&started), "it began at {started}, and now is {now}");

    // Whole seconds: it has taken one when it has answered a few thousand requests.
    let address = fixture.gateway.address();
    let cpu = async || fixture.gateway.metric("process_cpu_seconds_total", &[]).await;
    eventually("it has taken a second of CPU time", Duration::from_secs(60), async || {
        Load::get(address, "/goods").connections(4).run_count(1000).await;
        let cpu = cpu().await?;
        ensure!(cpu >= 1.0, "it took {cpu} s");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_web_page_whose_name_leads_here_reads_nothing() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/admin_hosts", vec!["gateway.internal"]);
    let fixture = Fixture::start(options).await?;
    let admin = fixture.gateway.admin_address();
    let get = async |path: &str, name: &str, value: &str| {
        http::send(admin, Request::get(path).header(name, value).body(Bytes::new())?).await
    };
    for path in ["/livez", "/readyz", "/metrics", "/services", "/routes", "/nothing-here"] {
        let refused = get(path, "host", "evil.example:9090").await?;
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.text().contains("gateway.admin_hosts"), "{}", refused.text());
        for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
            assert_eq!(get(path, name, value).await?.status, 403, "{path} with {name}");
        }
    }
    for host in ["gateway.internal:9090", "localhost", "10.1.2.3:9090", "[::1]:9090"] {
        assert_eq!(get("/services", "host", host).await?.status, 200, "{host}");
    }
    let old = http::raw(admin, b"GET /livez HTTP/1.0\r\n\r\n", PATIENCE).await?;
    assert_eq!(old.status(), Some(200), "{}", old.text());
    Ok(())
}
