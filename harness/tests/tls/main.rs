//! What stands at the gateway's port before a request is read: TLS, the PROXY protocol, networks, limits of connections. And
//! TLS to instances.

mod admin;
mod clients;
mod cuts;
mod example;
mod expiry;
mod http2;
mod instances;
mod limits;
mod misplaced;
mod names;
mod networks;

mod pairs;
mod proxy_protocol;
mod reload;
mod s_client;
mod scan;
mod swapped;
mod versions;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    certificates::{Authority, Certificate, CertificateFiles, fingerprint},
    http::{Answer, Connection, Request},
    link::TlsClient,
    ports::free_address,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Bounds what is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The host that most certificates here are for.
const SHOP: &str = "shop.example";

const FAILURES: &str = "leaseway_tls_handshake_failures_total";
const REFUSED: &str = "leaseway_connections_refused_total";
const EXPIRY: &str = "leaseway_certificate_expiry_timestamp_seconds";
const NOT_TAKEN: &str = "leaseway_certificates_refused";

/// What there is before a gateway: an authority, a place for files, an instance, and where to listen beside the address that
/// serves in clear.
struct Place {
    directory: TempDir,
    authority: Authority,
    backend: Backend,
    door: SocketAddr,
}

impl Place {
    async fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            authority: Authority::new("An authority")?,
            backend: Backend::start("a", Reply::ok("hello")).await?,
            door: free_address()?,
        })
    }

    /// A certificate for [`SHOP`], in files named `shop`.
    fn shop(&self) -> Result<CertificateFiles> {
        self.write(&self.authority.server(&[SHOP])?, "shop")
    }

    fn write(&self, certificate: &Certificate, name: &str) -> Result<CertificateFiles> {
        certificate.write(self.directory.path(), name)
    }

    /// A file with this text.
    fn file(&self, name: &str, text: &str) -> Result<std::path::PathBuf> {
        let path = self.directory.path().join(name);
        harness::certificates::replace(&path, text)?;
        Ok(path)
    }

    /// `/goods` leads to the instance; [`Place::door`] listens with these keys.
    fn options(&self, listener: Value) -> GatewayOptions {
        GatewayOptions::default()
            .also_listening_with(self.door, listener)
            .set("gateway/services/goods/addresses", json!([self.backend.address().to_string()]))
    }

    async fn gateway(&self, listener: Value) -> Result<Gateway> {
        Gateway::start_with_registry(self.options(listener)).await
    }

    /// A gateway whose door speaks TLS by a certificate for [`SHOP`].
    async fn serving(&self) -> Result<(Gateway, CertificateFiles)> {
        let files = self.shop()?;
        Ok((self.gateway(tls(&[&files])).await?, files))
    }

    /// A client that trusts the authority, asks for [`SHOP`] and must find it.
    fn client(&self) -> Result<TlsClient> {
        Ok(TlsClient::new(self.authority.pem())?.asking_for(SHOP))
    }

    /// What a client has from the door.
    async fn ask(&self, client: &TlsClient) -> Result<Answer> {
        let mut connection = Connection::open_tls(self.door, client).await?;
        get(&mut connection).await
    }

    /// Checks that a client is turned away: no answer, and nothing for the instance.
    async fn assert_refused(&self, client: &TlsClient, who: &str) -> Result<()> {
        let before = self.backend.count();
        let asked = self.ask(client).await;
        ensure!(asked.is_err(), "{who} has an answer: {asked:?}");
        ensure!(self.backend.count() == before, "a request of {who} reached the instance");
        Ok(())
    }

    /// Waits until whoever comes is shown this certificate.
    async fn wait_shown(&self, certificate: &Certificate) -> Result<()> {
        let (client, expected) =
            (TlsClient::new(self.authority.pem())?.naming(SHOP), certificate.fingerprint()?);
        eventually("the new certificate is shown", PATIENCE, async || {
            let shown = shown(self.door, &client).await?;
            ensure!(shown == expected, "another one is: {shown}");
            Ok(())
        })
        .await
    }
}

/// The keys of a listener that has these certificates.
fn tls(certificates: &[&CertificateFiles]) -> Value {
    json!({ "tls": { "certificates": certificates.iter().map(|files| files.json()).collect::<Vec<_>>() } })
}

/// `GET /goods` from [`SHOP`].
async fn get(connection: &mut Connection) -> Result<Answer> {
    get_with(connection, &[]).await
}

async fn get_with(connection: &mut Connection, fields: &[(&str, &str)]) -> Result<Answer> {
    let mut request = Request::get("/goods").header("host", SHOP);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answered = connection.send(request.body(Bytes::new())?);
    Ok(tokio::time::timeout(PATIENCE, answered).await.context("no answer in time")??)
}

/// The SHA-256 of the certificate that is shown there.
async fn shown(door: SocketAddr, client: &TlsClient) -> Result<String> {
    let link = client.connect(door).await?;
    let certificate = link.ssl().and_then(|ssl| ssl.peer_certificate()).context("no certificate is shown")?;
    fingerprint(&certificate)
}

/// Waits until a metric says this.
async fn wait_metric(gateway: &Gateway, name: &str, labels: &[&str], expected: f64) -> Result<()> {
    wait_metric_that(gateway, name, labels, |value| value == expected).await
}

async fn wait_metric_that(
    gateway: &Gateway,
    name: &str,
    labels: &[&str],
    wanted: impl Fn(f64) -> bool,
) -> Result<()> {
    let said = eventually("the metric says what is awaited", PATIENCE, async || {
        let value = gateway.metric(name, labels).await?;
        ensure!(wanted(value), "{name}{labels:?} is {value}");
        Ok(())
    });
    said.await.with_context(|| gateway.process().tail())
}
