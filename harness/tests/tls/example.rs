//! `conf/tls.yaml`, with certificates for its files.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    certificates::{Authority, Wanted},
    etcd::{self, key},
    http::{self, Answer, Connection, Request},
    link::{TlsClient, TlsServer},
    ports::free_address,
    stack::{Gateway, GatewayOptions},
};
use tempfile::TempDir;

use super::shown;

const SHOP: &str = "shop.example.com";
const API: &str = "api.example.com";
const PAY: &str = "pay.example.net";
/// Where the files of the example are.
const FILES: &str = "/etc/leaseway";

/// The example, running.
pub(super) struct Example {
    pub(super) gateway: Gateway,
    /// Where it speaks TLS.
    pub(super) door: SocketAddr,
    /// Who has signed the shop's certificates.
    pub(super) authority: Authority,
    partners: Authority,
    website: Backend,
    orders: Backend,
    pay: Backend,
    directory: TempDir,
}

impl Example {
    pub(super) async fn start() -> Result<Self> {
        let (directory, door) = (tempfile::tempdir()?, free_address()?);
        let path = |name: &str| directory.path().join(name);
        let [authority, partners, payers] = ["Shop", "Partners", "Payments"].map(Authority::new);
        let (authority, partners, payers) = (authority?, partners?, payers?);
        authority.server(&[SHOP])?.write(directory.path(), "shop")?;
        authority.server(&[API])?.write(directory.path(), "api")?;
        partners.write(&path("partners.pem"))?;
        harness::certificates::replace(&path("revoked.pem"), &partners.revoking(&[])?)?;
        payers.write(&path("pay.pem"))?;
        let pay = TlsServer::new(&payers.server(&[PAY])?)?;
        let pay = Backend::start_tls("pay", Reply::ok("paid"), pay).await?;
        let [website, orders] = [("website", "pages"), ("orders", "orders")];
        let website = Backend::start(website.0, Reply::ok(website.1)).await?;
        let orders = Backend::start(orders.0, Reply::ok(orders.1)).await?;

        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/tls.yaml"))?;
        let mut own = text;
        for (usual, replaced) in [
            ("0.0.0.0:8443", door.to_string()),
            ("pay.example.net:443", pay.address().to_string()),
            (FILES, directory.path().display().to_string()),
        ] {
            ensure!(own.contains(usual), "conf/tls.yaml does not say {usual}");
            own = own.replace(usual, &replaced);
        }
        let gateway = Gateway::start_with_registry(GatewayOptions::of_text(own)).await?;
        let mut registry = etcd::client(&format!("http://{}", gateway.registry_address()?)).await?;
        for (service, backend) in [("website", &website), ("orders", &orders)] {
            registry.put(key(service, "1"), backend.address().to_string(), None).await?;
            gateway.wait_instances(service, &["1"]).await?;
        }
        Ok(Self { gateway, door, authority, partners, website, orders, pay, directory })
    }

    /// The authority's file.
    pub(super) fn ca(&self) -> Result<std::path::PathBuf> {
        let path = self.directory.path().join("ca.pem");
        self.authority.write(&path)?;
        Ok(path)
    }

    async fn ask(&self, client: &TlsClient, host: &str, path: &str) -> Result<Answer> {
        let mut connection = Connection::open_tls(self.door, &client.asking_for(host)).await?;
        Ok(connection.send(Request::get(path).header("host", host).body(Bytes::new())?).await?)
    }
}

#[tokio::test]
async fn the_example_does_what_it_says() -> Result<()> {
    let example = Example::start().await?;
    let client = TlsClient::new(example.authority.pem())?;

    // In clear there is nothing but the way to TLS.
    let request = Request::get("/goods?page=2").header("host", SHOP).body(Bytes::new())?;
    let answer = http::send(example.gateway.address(), request).await?;
    let expected = format!("https://{SHOP}/goods?page=2");
    assert_eq!((answer.status, answer.header("location")), (308, Some(expected.as_str())));
    assert_eq!(answer.header("strict-transport-security"), None, "RFC 6797, 7.2: not in clear");

    for (path, backend, body) in [("/", &example.website, "pages"), ("/payments/7", &example.pay, "paid")] {
        let answer = example.ask(&client, SHOP, path).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, body), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "{path}");
        assert_eq!(backend.last()?.header("x-forwarded-proto"), Some("https"));
    }
    let greeting = example.pay.last()?.greeting.context("it came in clear")?;
    assert_eq!(greeting.name.as_deref(), Some(PAY));

    // By the name, and the shop's to whoever asks for none.
    let of_shop = shown(example.door, &client.asking_for(SHOP)).await?;
    assert_eq!(shown(example.door, &client).await?, of_shop);
    assert_ne!(shown(example.door, &client.asking_for(API)).await?, of_shop);
    Ok(())
}

#[tokio::test]
async fn partners_alone_see_orders() -> Result<()> {
    let example = Example::start().await?;
    let ca = example.authority.pem();
    let partner = example.partners.sign(&Wanted::subject("partner").uri("spiffe://example.com/partner"))?;
    let other = example.partners.sign(&Wanted::subject("partner").uri("spiffe://example.com/other"))?;
    let answer = example.ask(&TlsClient::showing(ca, &partner)?, API, "/orders/7").await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "orders"));
    let arrived = example.orders.last()?;
    let told = arrived.header("x-forwarded-client-cert").context("it hears nothing of whom")?;
    assert!(told.contains(&partner.fingerprint()?), "{told}");
    for client in [TlsClient::showing(ca, &other)?, TlsClient::new(ca)?] {
        assert_eq!(example.ask(&client, API, "/orders/7").await?.status, 403);
    }
    assert_eq!(example.orders.count(), 1);
    Ok(())
}
