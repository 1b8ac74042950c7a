//! What users of other gateways complain of, as far as the gateway itself is concerned. (What concerns the
//! watch and the registrar is in `registry/tests/complaints.rs`.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Recorded, Reply},
    etcd::{Etcd, key},
    http::{Connection, Request},
    load::Load,
    process::Signal,
    stack::{Gateway, GatewayOptions, Services, file},
    wait::eventually,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{PATIENCE, assert_none_failed, stack_of_with};

/// "APISIX cannot start when etcd is down": <https://github.com/apache/apisix/issues/3878>.
#[tokio::test]
async fn apisix_3878_a_gateway_starts_and_serves_without_etcd() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("snapshot");
    let options = GatewayOptions::default().set("gateway/registry/snapshot", snapshot.display().to_string());
    let mut stack = stack_of_with(2, options.clone()).await?;
    eventually("the directory is on the disk", PATIENCE, async || {
        let text = std::fs::read_to_string(&snapshot)?;
        ensure!(text.contains("goods-1") && text.contains("goods-2"), "{text}");
        Ok(())
    })
    .await?;
    stack.etcd.kill().await?;
    stack.gateway.stop(PATIENCE).await?;

    let gateway = Gateway::start(&stack.etcd.endpoint(), options).await?;
    let ready = gateway.admin("/readyz").await?;
    assert!(ready.status == 200 && ready.text().contains(r#""stale":true"#), "{}", ready.text());
    let states = |services: &Services| {
        let states = services.endpoints("goods").iter().map(|e| (e.state.clone(), e.probe.clone()));
        states.collect::<Vec<_>>()
    };
    let passed = ("stale".to_owned(), Some("passed".to_owned()));
    gateway.wait_services(|services| states(services) == [passed.clone(), passed.clone()]).await?;
    let outcome = Load::get(gateway.address(), "/goods/list").rate(100).run_for(Duration::from_secs(2)).await;
    assert_none_failed(&outcome);

    stack.etcd.restart().await?;
    let all_up = |services: &Services| services.endpoints("goods").iter().all(|e| e.state == "up");
    gateway.wait_services(all_up).await?;
    let ready = gateway.admin("/readyz").await?;
    assert!(ready.text().contains(r#""stale":false"#), "{}", ready.text());
    Ok(())
}

/// Removed instances that requests still reach over kept-alive connections:
/// <https://github.com/zeromicro/go-zero/issues/2449>, <https://github.com/traefik/traefik/issues/210>.
#[tokio::test]
async fn go_zero_2449_and_traefik_210_a_removed_instance_gets_nothing_over_kept_connections() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (stays, leaves) =
        (Backend::start("stays", Reply::ok("")).await?, Backend::start("leaves", Reply::ok("")).await?);
    for (id, backend) in [("stays", &stays), ("leaves", &leaves)] {
        etcd.put(&key("goods", id), backend.address().to_string()).await?;
    }
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["leaves", "stays"]).await?;
    let load = Load::get(gateway.address(), "/goods");
    assert_none_failed(&load.clone().run_count(1_000).await);
    assert!(leaves.count() > 0 && stays.count() > 0);

    etcd.delete(&key("goods", "leaves")).await?;
    let is_out = |services: &Services| {
        services.endpoints("goods").iter().all(|e| e.instance != "leaves" || e.state == "suspect")
    };
    gateway.wait_services(is_out).await?;
    let before = leaves.count();
    assert_none_failed(&load.clone().run_count(1_000).await);
    assert_eq!(leaves.count(), before, "it is well, and its connections are open, but it has left");
    Ok(())
}

/// "All routes are rebuilt at each change of one": <https://github.com/apache/apisix/issues/12466>.
#[tokio::test]
async fn apisix_12466_a_change_touches_nothing_else() -> Result<()> {
    let etcd = Etcd::start().await?;
    let steady = Backend::start("steady", Reply::ok("")).await?;
    etcd.put(&key("goods", "steady"), steady.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["steady"]).await?;
    // One connection, one request after the other: whoever drops it is found out.
    let load = Load::get(gateway.address(), "/goods").rate(200).connections(1).start();
    load.wait_begun(100, PATIENCE).await?;
    let accepted = steady.connections().accepted;

    for change in 1..=100 {
        etcd.put(&key(&format!("other-{}", change % 10), "a"), format!("127.0.0.2:{change}")).await?;
        etcd.put(&key("goods", "steady"), steady.address().to_string()).await?;
    }
    gateway.wait_services(|services| services.services.len() == 11).await?;
    load.wait_begun(load.begun() + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    assert_eq!(steady.connections().accepted, accepted, "its kept connection outlived all of them");
    Ok(())
}

/// One of two sites, told apart by all that a request meets: the service behind the route, what the route changes of the
/// request and of the answer, and the trace's header.
fn site(name: &str) -> GatewayOptions {
    let says = json!({ "set": { "x-site": name } });
    let routes = json!([
        { "path": "/goods", "service": name, "request_headers": says, "response_headers": says },
    ]);
    GatewayOptions::without_routes()
        .set("gateway/routes", routes)
        .set("gateway/trace_header", format!("x-trace-{name}"))
}

/// "Several changes are not applied as one": <https://github.com/traefik/traefik/issues/7419>.
#[tokio::test]
async fn traefik_7419_no_request_meets_a_part_of_a_change() -> Result<()> {
    const SITES: [&str; 2] = ["blue", "green"];
    let etcd = Etcd::start().await?;
    let mut backends = Vec::new();
    for name in SITES {
        let backend = Backend::start(name, Reply::ok("")).await?;
        etcd.put(&key(name, "1"), backend.address().to_string()).await?;
        backends.push(backend);
    }
    let gateway = Gateway::start(&etcd.endpoint(), site("blue")).await?;
    gateway.wait_instances("blue", &["1"]).await?;

    let (is_over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(ask_until(gateway.address(), Arc::clone(&is_over), Arc::clone(&seen)));
    }
    for round in 1..=30 {
        gateway.reload(&site(SITES[round % 2])).await?;
        let before = seen.load(Ordering::Relaxed);
        eventually("clients have asked meanwhile", PATIENCE, async || {
            let asked = seen.load(Ordering::Relaxed) - before;
            ensure!(asked > 20, "{asked} times");
            Ok(())
        })
        .await?;
    }
    is_over.store(true, Ordering::Relaxed);
    for asked in clients.join_all().await {
        asked?;
    }
    assert!(backends.iter().all(|backend| backend.count() > 100), "both were in use");
    for (name, backend) in SITES.iter().zip(&backends) {
        let trace = format!("x-trace-{name}");
        let is_stray =
            |request: &&Recorded| request.header(&trace).is_none() || request.header("x-site") != Some(name);
        let strays = backend.requests().iter().filter(is_stray).count();
        assert_eq!(strays, 0, "requests of the other site came to {name}");
    }
    Ok(())
}

/// Asks again and again, on one connection: each answer is one site's alone.
async fn ask_until(
    gateway: std::net::SocketAddr,
    is_over: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
) -> Result<()> {
    let mut connection = Connection::open(gateway).await?;
    while !is_over.load(Ordering::Relaxed) {
        let answer = connection.send(Request::get("/goods").body(Bytes::new())?).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let site = answer.header("x-served-by").unwrap_or_default().to_owned();
        let traces = answer.headers.keys().filter(|name| name.as_str().starts_with("x-trace-"));
        let traces: Vec<_> = traces.map(ToString::to_string).collect();
        let is_whole = traces == [format!("x-trace-{site}")] && answer.header("x-site") == Some(&site);
        ensure!(is_whole, "of {site}: {:?}", answer.headers);
        seen.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// "The dashboard says success though no server of the service is well": <https://github.com/traefik/traefik/issues/6117>.
#[tokio::test]
async fn traefik_6117_a_route_to_a_dead_service_says_so() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (well, dead) =
        (Backend::start("well", Reply::ok("")).await?, Backend::start("dead", Reply::status(500)).await?);
    for (service, backend) in [("goods", &well), ("carts", &dead)] {
        etcd.put(&key(service, "1"), backend.address().to_string()).await?;
    }
    let check = json!({ "probe": "/healthz", "interval": "100ms", "timeout": "100ms", "unhealthy": 2 });
    let options = GatewayOptions::default()
        .route("/carts", "carts")
        .set("gateway/services", json!({ "goods": { "check": check }, "carts": { "check": check } }));
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    eventually("the route to the dead service is first", PATIENCE, async || {
        let page = gateway.admin("/routes").await?.json()?;
        let ups =
            [0, 1].map(|place| (page["routes"][place]["name"].clone(), page["routes"][place]["up"].clone()));
        ensure!(ups == [("/carts".into(), false.into()), ("/goods".into(), true.into())], "{page}");
        let why = &page["routes"][0]["services"][0]["why"];
        ensure!(why == "no endpoint is up: 1 unhealthy", "{page}");
        Ok(())
    })
    .await?;
    assert_eq!(gateway.metric("leaseway_routes_without_endpoint", &[]).await?, 1.0);
    Ok(())
}

/// "A bad route keeps the good ones from being updated": <https://github.com/apache/apisix/issues/11267>,
/// <https://github.com/fabiolb/fabio/issues/282>.
#[tokio::test]
async fn apisix_11267_and_fabio_282_a_bad_route_changes_nothing_and_names_its_line() -> Result<()> {
    let etcd = Etcd::start().await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    for service in ["goods", "orders"] {
        etcd.put(&key(service, "1"), backend.address().to_string()).await?;
    }
    let options = GatewayOptions::default;
    let gateway = Gateway::start(&etcd.endpoint(), options()).await?;
    gateway.wait_instances("goods", &["1"]).await?;
    let before = gateway.config().await?;
    let load = Load::get(gateway.address(), "/goods").rate(200).start();

    let bad = options().route("/orders", "orders").route("/bad/../path", "goods");
    let bad = file::yaml(&gateway.configuration(&bad))?;
    file::rename_into_place(&gateway.file(), &bad)?;
    gateway.process().signal(Signal::SIGHUP)?;
    let rejected = eventually("the file is rejected", PATIENCE, async || {
        let config = gateway.config().await?;
        ensure!(config["rejected"]["revision"] == *file::revision(&bad), "{config}");
        Ok(config)
    })
    .await?;
    assert_eq!(rejected["revision"], before["revision"], "what serves is what was there before");
    let line = bad.lines().position(|line| line.contains("/bad/")).map_or(0, |at| at + 1);
    let mistakes = rejected["rejected"]["mistakes"].as_array().map_or(&[][..], Vec::as_slice);
    let place = format!("pingora.yaml:{line}: gateway.routes[2].path: ");
    assert!(mistakes.len() == 1 && mistakes[0].as_str().is_some_and(|m| m.contains(&place)), "{rejected}");
    assert_eq!(gateway.get("/orders").await?.status, 404, "nor is the good half of it in force");

    // The gateway has not become deaf: the next file is taken, and so are changes of endpoints before it.
    let second = Backend::start("b", Reply::ok("")).await?;
    etcd.put(&key("goods", "2"), second.address().to_string()).await?;
    gateway.wait_instances("goods", &["1", "2"]).await?;
    second.wait_count(1, PATIENCE).await?;
    gateway.reload(&options().route("/orders", "orders")).await?;
    assert_eq!(gateway.get("/orders").await?.status, 200);
    load.wait_begun(load.begun() + 200, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    Ok(())
}

/// The same of registrations.
#[tokio::test]
async fn apisix_11267_and_fabio_282_a_bad_registration_spares_the_others() -> Result<()> {
    let etcd = Etcd::start().await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    let address = backend.address().to_string();
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    let bad = ["", "nonsense", "host:80", "{", r#"{"address":"10.0.0.1:80","weight":-1}"#, "169.254.0.1:80"];
    for (n, value) in bad.into_iter().enumerate() {
        etcd.put(&key("goods", &format!("bad-{n}")), value).await?;
        etcd.put(&key("goods", &format!("good-{n}")), address.clone()).await?;
    }
    let good: Vec<_> = (0..bad.len()).map(|n| format!("good-{n}")).collect();
    let good: Vec<_> = good.iter().map(String::as_str).collect();
    gateway.wait_instances("goods", &good).await?;
    assert_none_failed(&Load::get(gateway.address(), "/goods").run_count(300).await);

    etcd.put(&key("goods", "bad-0"), address.clone()).await?;
    let with_repaired: Vec<_> = ["bad-0"].into_iter().chain(good).collect();
    gateway.wait_instances("goods", &with_repaired).await?;
    Ok(())
}
