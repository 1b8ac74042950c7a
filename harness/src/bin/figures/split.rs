//! Requests that are split 90:10 among two services.

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::{Load, Outcome},
    stack::{Gateway, GatewayOptions},
};
use serde_json::json;

use crate::{Scale, heading, row};

/// And what they get, in percent.
const SERVICES: [(&str, u16); 2] = [("goods", 90), ("next", 10)];
/// Of each service.
const INSTANCES: usize = 2;
/// How often a client comes.
const VISITS: u64 = 2;

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut backends = Vec::new();
    for (service, _) in SERVICES {
        for n in 0..INSTANCES {
            let backend = Backend::start(&format!("{service}-{n}"), Reply::ok("")).await?;
            etcd.put(&key(service, &n.to_string()), backend.address().to_string()).await?;
            backends.push(backend);
        }
    }
    let shares = SERVICES.map(|(service, share)| json!({ "service": service, "weight": share }));
    let routes = json!([
        { "path": "/split", "services": shares },
        { "path": "/sticky", "services": shares, "sticky": { "cookie": "lw" } },
    ]);
    let options = GatewayOptions::default().set("gateway/routes", routes).discard_log();
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let are_there =
        |service: &str, services: &harness::stack::Services| services.endpoints(service).len() == INSTANCES;
    gateway.wait_services(|shown| SERVICES.iter().all(|(service, _)| are_there(service, shown))).await?;

    let load = |path| Load::get(gateway.address(), path).connections(64);
    let outcome = load("/split").run_count(scale.split).await;
    heading(&format!("{} requests, split 90:10", scale.split));
    show_shares(&outcome, scale.split)?;

    let requests = scale.split * VISITS;
    let outcome = load("/sticky").clients_of(VISITS).run_count(requests).await;
    heading(&format!(
        "{requests} requests of clients that come {VISITS} times and keep a cookie, split 90:10"
    ));
    show_shares(&outcome, scale.split)?;
    row("moved to another instance", format!("{} (must be 0)", outcome.moved));
    // The last client of each connection may not have come for the last time.
    let clients = scale.split..=scale.split + 64;
    row("given a cookie", format!("{} (must be one for each client)", outcome.cookies));
    ensure!(outcome.moved == 0, "clients moved although their instances were up");
    ensure!(clients.contains(&outcome.cookies), "{} cookies for {} clients", outcome.cookies, scale.split);
    Ok(())
}

/// `drawn`: how often a service was drawn.
fn show_shares(outcome: &Outcome, drawn: u64) -> Result<()> {
    row("failed", format!("{} (must be 0)", outcome.failed + outcome.refused));
    ensure!(outcome.failed + outcome.refused == 0, "requests failed: {:?}", outcome.errors);
    let of = |service: &str| -> u64 {
        let its = outcome.by_instance.iter().filter(|(instance, _)| instance.starts_with(service));
        its.map(|(_, count)| count).sum()
    };
    // Half a percent of all where there are a hundred thousand draws, and as many standard deviations of fewer.
    let bound = 0.5 * (100_000.0 / drawn as f64).sqrt();
    for (service, share) in SERVICES {
        let percent = of(service) as f64 / outcome.sent as f64 * 100.0;
        let off = percent - f64::from(share);
        row(service, format!("{percent:.2} % ({off:+.2}; must be within {bound:.2})"));
        ensure!(off.abs() <= bound, "{service} got {percent} %");
    }
    Ok(())
}
