//! TLS to instances.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    certificates::{Authority, Wanted},
    link::TlsServer,
    load::Load,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;

const PAY: &str = "pay.example";

/// An instance that speaks TLS, and the authority that knows it.
struct Pay {
    directory: TempDir,
    authority: Authority,
    ca: PathBuf,
    backend: Backend,
}

impl Pay {
    /// Its certificate has these names.
    async fn new(names: &[&str]) -> Result<Self> {
        let (directory, authority) = (tempfile::tempdir()?, Authority::new("Instances")?);
        let ca = directory.path().join("pay.pem");
        authority.write(&ca)?;
        let server = TlsServer::new(&authority.server(names)?)?;
        let backend = Backend::start_tls("pay", Reply::ok("paid"), server).await?;
        Ok(Self { directory, authority, ca, backend })
    }

    fn options(&self, tls: Value) -> GatewayOptions {
        self.options_at(&self.backend.address().to_string(), tls)
    }

    /// `/goods` leads to it, of whom every connection is a new one.
    fn options_at(&self, address: &str, tls: Value) -> GatewayOptions {
        GatewayOptions::default()
            .set("gateway/services/goods", json!({ "addresses": [address], "tls": tls }))
            .set("gateway/timeouts/pool", "10ms")
    }

    async fn gateway(&self, tls: Value) -> Result<Gateway> {
        Gateway::start_with_registry(self.options(tls)).await
    }
}

#[tokio::test]
async fn an_instance_is_verified_and_asked_for_by_its_name() -> Result<()> {
    let pay = Pay::new(&[PAY]).await?;
    let gateway = pay.gateway(json!({ "ca": pay.ca, "server_name": PAY })).await?;
    let answer = gateway.get("/goods").await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "paid"));
    let greeting = pay.backend.last()?.greeting;
    assert_eq!(greeting.as_ref().and_then(|greeting| greeting.name.as_deref()), Some(PAY));
    assert_eq!(greeting.and_then(|greeting| greeting.certificate), None);
    for load in
        [Load::get(gateway.address(), "/goods"), Load::post(gateway.address(), "/goods", vec![b'x'; 100_000])]
    {
        let outcome = load.connections(4).run_count(100).await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_name_of_its_own_it_is_asked_for_as_its_address_says() -> Result<()> {
    let pay = Pay::new(&["localhost"]).await?;
    let address = format!("localhost:{}", pay.backend.address().port());
    let gateway = Gateway::start_with_registry(pay.options_at(&address, json!({ "ca": pay.ca }))).await?;
    assert_eq!(gateway.get("/goods").await?.status, 200);
    let greeting = pay.backend.last()?.greeting;
    assert_eq!(greeting.and_then(|greeting| greeting.name).as_deref(), Some("localhost"));

    // An IP address is no name that can be asked for (RFC 6066, 3); the certificate must have it all the same.
    let pay = Pay::new(&["127.0.0.1"]).await?;
    let gateway = pay.gateway(json!({ "ca": pay.ca })).await?;
    assert_eq!(gateway.get("/goods").await?.status, 200);
    assert_eq!(pay.backend.last()?.greeting.and_then(|greeting| greeting.name), None);
    Ok(())
}

#[tokio::test]
async fn whoever_is_not_the_instance_gets_no_request() -> Result<()> {
    for (what, names, ca, server_name) in [
        ("another name", &["other.example"][..], true, Some(PAY)),
        ("no name for the address", &[PAY], true, None),
        ("an unknown authority", &[PAY], false, Some(PAY)),
    ] {
        let pay = Pay::new(names).await?;
        let stranger = pay.directory.path().join("stranger.pem");
        Authority::new("A stranger")?.write(&stranger)?;
        let mut tls = json!({ "ca": if ca { &pay.ca } else { &stranger } });
        if let Some(name) = server_name {
            tls["server_name"] = json!(name);
        }
        let gateway = pay.gateway(tls).await?;
        let answer = gateway.get("/goods").await?;
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        assert_eq!(pay.backend.count(), 0, "{what}");
        let says_why =
            |line: &str| line.to_ascii_lowercase().contains("certificate") && line.contains("goods");
        gateway.process().wait_for_line(says_why, PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_in_clear_or_one_that_is_silent_is_no_instance_of_a_service_under_tls() -> Result<()> {
    let clear = Backend::start("clear", Reply::ok("clear")).await?;
    let pay = Pay::new(&[PAY]).await?;
    let tls = json!({ "ca": pay.ca, "server_name": PAY });
    let gateway = Gateway::start_with_registry(pay.options_at(&clear.address().to_string(), tls)).await?;
    assert_eq!(gateway.get("/goods").await?.status, 502);
    assert_eq!(clear.count(), 0);
    Ok(())
}

#[tokio::test]
async fn verification_can_be_turned_off_and_each_start_warns_of_it() -> Result<()> {
    let pay = Pay::new(&["other.example"]).await?;
    let gateway = pay.gateway(json!({ "verify": false, "server_name": PAY })).await?;
    assert_eq!(gateway.get("/goods").await?.status, 200);
    let warns = |line: &str| line.contains("WARN") && line.contains("verif") && line.contains("goods");
    gateway.process().wait_for_line(warns, PATIENCE).await?;

    let checked = pay.gateway(json!({ "ca": pay.ca, "server_name": PAY })).await?;
    assert!(!checked.process().lines().iter().any(|line| warns(line)));
    Ok(())
}

#[tokio::test]
async fn the_gateway_shows_a_certificate_of_its_own_and_a_new_one_when_its_files_change() -> Result<()> {
    let pay = Pay::new(&[PAY]).await?;
    let gateways = Authority::new("Gateways")?;
    let demanding = TlsServer::demanding(&pay.authority.server(&[PAY])?, gateways.pem())?;
    pay.backend.shake_hands(demanding);
    let first = gateways.sign(&Wanted::subject("gateway"))?;
    let files = first.write(pay.directory.path(), "gateway")?;
    let tls = json!({ "ca": pay.ca, "server_name": PAY, "cert": files.cert, "key": files.key });
    let gateway = pay.gateway(tls).await?;
    let shown = async || {
        ensure!(gateway.get("/goods").await?.status == 200, "no answer");
        Ok(pay.backend.last()?.greeting.and_then(|greeting| greeting.certificate))
    };
    assert_eq!(shown().await?, Some(first.fingerprint()?));
    let second = gateways.sign(&Wanted::subject("gateway"))?;
    files.replace(&second)?;
    eventually("the new one is shown", PATIENCE, async || {
        let shown = shown().await?;
        ensure!(shown == Some(second.fingerprint()?), "{shown:?} is");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn other_authorities_are_trusted_when_their_file_changes() -> Result<()> {
    let pay = Pay::new(&[PAY]).await?;
    let gateway = pay.gateway(json!({ "ca": pay.ca, "server_name": PAY })).await?;
    assert_eq!(gateway.get("/goods").await?.status, 200);
    let next = Authority::new("The next one")?;
    pay.backend.shake_hands(TlsServer::new(&next.server(&[PAY])?)?);
    // What is open may still serve, until `timeouts.pool` closes it.
    eventually("the instance is not trusted", PATIENCE, async || {
        let status = gateway.get("/goods").await?.status;
        ensure!(status == 502, "{status}");
        Ok(())
    })
    .await?;
    harness::certificates::replace(&pay.ca, &format!("{}{}", pay.authority.pem(), next.pem()))?;
    eventually("the instance is trusted", PATIENCE, async || {
        let status = gateway.get("/goods").await?.status;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn checks_shake_hands_as_requests_do() -> Result<()> {
    let pay = Pay::new(&[PAY]).await?;
    let service = json!({
        "addresses": [pay.backend.address().to_string()],
        "tls": { "ca": pay.ca, "server_name": PAY },
        "check": { "probe": "/healthz", "interval": "100ms" },
    });
    let options = GatewayOptions::default().set("gateway/services/goods", service);
    let gateway = Gateway::start_with_registry(options).await?;
    gateway
        .wait_services(|services| services.endpoints("goods").iter().any(|endpoint| endpoint.state == "up"))
        .await?;
    eventually("it is checked under TLS", PATIENCE, async || {
        let checks: Vec<_> =
            pay.backend.requests().into_iter().filter(|request| request.target == "/healthz").collect();
        ensure!(checks.iter().any(|check| check.greeting.is_some()), "{} checks", checks.len());
        Ok(())
    })
    .await
}
