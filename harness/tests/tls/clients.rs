//! Certificates that clients show: who gets in, and what the instance hears of them.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use harness::{
    certificates::{Authority, Certificate, Wanted},
    http::Connection,
    link::TlsClient,
    stack::Gateway,
    wait::eventually,
};
use openssl::ssl::SslVersion;
use serde_json::{Value, json};

use super::{FAILURES, NOT_TAKEN, PATIENCE, Place, SHOP, get, get_with, tls, wait_metric, wait_metric_that};

const XFCC: &str = "x-forwarded-client-cert";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A place whose door asks for the certificates of an authority of their own.
struct Guarded {
    place: Place,
    clients: Authority,
    ca: PathBuf,
}

impl Guarded {
    async fn new() -> Result<Self> {
        let (place, clients) = (Place::new().await?, Authority::new("Clients")?);
        let ca = place.file("clients.pem", clients.pem())?;
        Ok(Self { place, clients, ca })
    }

    fn listener(&self, mode: &str, crl: Option<&PathBuf>) -> Result<Value> {
        let mut listener = tls(&[&self.place.shop()?]);
        listener["tls"]["client"] = json!({ "ca": self.ca, "mode": mode });
        if let Some(crl) = crl {
            listener["tls"]["client"]["crl"] = json!(crl);
        }
        Ok(listener)
    }

    async fn gateway(&self, mode: &str) -> Result<Gateway> {
        self.place.gateway(self.listener(mode, None)?).await
    }

    /// Somebody whom the clients' authority knows.
    fn known(&self, name: &str) -> Result<Certificate> {
        let (uri, host) = (format!("spiffe://example/{name}"), format!("{}.example", name.replace('/', "-")));
        self.clients.sign(&Wanted::named(&[&host]).uri(&uri))
    }

    fn showing(&self, certificate: &Certificate) -> Result<TlsClient> {
        Ok(TlsClient::showing(self.place.authority.pem(), certificate)?.asking_for(SHOP))
    }
}

#[tokio::test]
async fn a_certificate_is_not_asked_for_asked_for_or_demanded() -> Result<()> {
    for mode in ["off", "optional", "required"] {
        let guarded = Guarded::new().await?;
        let place = &guarded.place;
        let gateway = match mode {
            "off" => place.serving().await?.0,
            mode => guarded.gateway(mode).await?,
        };
        let alice = guarded.known("alice")?;
        assert_eq!(place.ask(&guarded.showing(&alice)?).await?.status, 200, "{mode}");
        assert_eq!(place.backend.last()?.headers.contains_key(XFCC), mode != "off", "{mode}");

        let nobody = place.client()?;
        if mode == "required" {
            place.assert_refused(&nobody, "who shows nothing").await?;
        } else {
            assert_eq!(place.ask(&nobody).await?.status, 200, "{mode}");
            assert!(!place.backend.last()?.headers.contains_key(XFCC), "{mode}");
        }

        let now = SystemTime::now();
        let stranger = Authority::new("Clients")?.sign(&Wanted::named(&["alice.example"]))?;
        let late =
            guarded.clients.sign(&Wanted::named(&["alice.example"]).from(now - 3 * DAY).until(now - DAY))?;
        for (who, certificate) in [("a stranger", stranger), ("who comes too late", late)] {
            let client = guarded.showing(&certificate)?;
            if mode == "off" {
                assert_eq!(place.ask(&client).await?.status, 200, "{who}");
            } else {
                let before = gateway.metric(FAILURES, &[]).await?;
                place.assert_refused(&client, who).await?;
                wait_metric_that(&gateway, FAILURES, &[], |value| value > before).await?;
            }
        }
    }
    Ok(())
}

/// With TLS 1.2 a client hears of it within its handshake.
#[tokio::test]
async fn who_is_not_known_hears_why() -> Result<()> {
    let guarded = Guarded::new().await?;
    let _gateway = guarded.gateway("required").await?;
    let stranger = Authority::new("Strangers")?.sign(&Wanted::subject("mallory"))?;
    let own = openssl::x509::X509::from_pem(stranger.chain[0].as_bytes())?;
    let key = openssl::pkey::PKey::private_key_from_pem(stranger.key.as_bytes())?;
    let client = TlsClient::with(guarded.place.authority.pem(), |builder| {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_certificate(&own)?;
        builder.set_private_key(&key)
    })?;
    let error = client.asking_for(SHOP).connect(guarded.place.door).await.err().context("it is let in")?;
    assert!(error.to_string().contains("alert"), "{error}");
    Ok(())
}

/// As Envoy writes it: the parts are separated by semicolons, what may have one in it is in quotes.
#[tokio::test]
async fn the_instance_hears_who_it_is() -> Result<()> {
    let guarded = Guarded::new().await?;
    let _gateway = guarded.gateway("required").await?;
    let wanted = Wanted::named(&["alice.example", "alice.office.example"])
        .uri("spiffe://example/alice")
        .email("alice@example.com");
    let alice = guarded.clients.sign(&wanted)?;
    let mut connection = Connection::open_tls(guarded.place.door, &guarded.showing(&alice)?).await?;
    // Each request of the connection, not only the first.
    for _ in 0..2 {
        assert_eq!(get(&mut connection).await?.status, 200);
        let arrived = guarded.place.backend.last()?;
        let told = arrived.header(XFCC).context("it hears nothing")?;
        let parts: Vec<_> = told.split(';').collect();
        for expected in [
            &format!("Hash={}", alice.fingerprint()?),
            "Subject=\"CN=alice.example\"",
            "URI=spiffe://example/alice",
            "DNS=alice.example",
            "DNS=alice.office.example",
        ] {
            assert!(parts.contains(&expected), "{expected} is not in {told}");
        }
        assert_eq!(arrived.header("x-forwarded-proto"), Some("https"));
    }
    Ok(())
}

#[tokio::test]
async fn a_client_cannot_say_itself_who_it_is() -> Result<()> {
    let guarded = Guarded::new().await?;
    let place = &guarded.place;
    let gateway = guarded.gateway("optional").await?;
    let forged = "Hash=00;Subject=\"CN=root\";URI=spiffe://example/root";
    let bob = guarded.known("bob")?;
    for spelling in [
        "x-forwarded-client-cert",
        "X-Forwarded-Client-Cert",
        "x_forwarded_client_cert",
        "X-Forwarded_Client-Cert",
    ] {
        for (who, mut connection) in [
            ("in clear", Connection::open(gateway.address()).await?),
            ("without a certificate", Connection::open_tls(place.door, &place.client()?).await?),
            ("with one", Connection::open_tls(place.door, &guarded.showing(&bob)?).await?),
        ] {
            let answer = get_with(&mut connection, &[(spelling, forged), (spelling, forged)]).await?;
            assert_eq!(answer.status, 200);
            let arrived = place.backend.last()?;
            for (name, value) in &arrived.headers {
                let value = value.to_str()?;
                assert!(!value.contains("spiffe://example/root"), "{who}, {spelling}: {name}: {value}");
            }
            let told = arrived.header(XFCC);
            assert_eq!(told.is_some(), who == "with one", "{spelling}: {told:?}");
            assert!(told.is_none_or(|told| told.contains("spiffe://example/bob")), "{told:?}");
        }
    }
    Ok(())
}

/// What a proxy that is trusted says stands before what the connection itself shows.
#[tokio::test]
async fn a_proxy_that_is_trusted_says_who_has_come_to_it() -> Result<()> {
    let guarded = Guarded::new().await?;
    let place = &guarded.place;
    let options = place
        .options(guarded.listener("optional", None)?)
        .set("gateway/trusted_proxies", json!(["127.0.0.1"]));
    let gateway = Gateway::start_with_registry(options).await?;
    let (proxy, said) = (guarded.known("proxy")?, "Hash=00;URI=spiffe://example/alice");
    let mut clear = Connection::open(gateway.address()).await?;
    assert_eq!(get_with(&mut clear, &[(XFCC, said)]).await?.status, 200);
    assert_eq!(place.backend.last()?.header(XFCC), Some(said));
    let mut shown = Connection::open_tls(place.door, &guarded.showing(&proxy)?).await?;
    assert_eq!(get_with(&mut shown, &[(XFCC, said)]).await?.status, 200);
    let arrived = place.backend.last()?;
    let told = arrived.header(XFCC).context("it hears nothing")?;
    assert!(told.starts_with(&format!("{said},Hash={}", proxy.fingerprint()?)), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_route_goes_by_the_names_in_the_certificate() -> Result<()> {
    let guarded = Guarded::new().await?;
    let place = &guarded.place;
    let routes = json!([
        { "match": { "path": "/goods", "client_cert": { "san": "spiffe://example/alice" } }, "service": "goods" },
        { "match": { "path": "/goods", "client_cert": { "san": "bob.example" } },
            "answer": { "status": 202, "body": "bob" } },
        { "match": { "path": "/goods", "client_cert": { "san": ["*.office.example", "spiffe://example/staff/*"] } },
            "answer": { "status": 203 } },
        { "path": "/goods", "answer": { "status": 403 } },
    ]);
    let options = place.options(guarded.listener("optional", None)?).set("gateway/routes", routes);
    let gateway = Gateway::start_with_registry(options).await?;
    for (name, status) in [
        (Some("alice"), 200),
        (Some("bob"), 202),
        (Some("dave.office"), 203),
        (Some("staff/eve"), 203),
        (Some("carol"), 403),
        (None, 403),
    ] {
        let client = match name {
            Some(name) => guarded.showing(&guarded.known(name)?)?,
            None => place.client()?,
        };
        assert_eq!(place.ask(&client).await?.status, status, "{name:?}");
    }
    let mut clear = Connection::open(gateway.address()).await?;
    let lie = [("x-forwarded-client-cert", "URI=spiffe://example/alice")];
    assert_eq!(get_with(&mut clear, &lie).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn other_authorities_are_taken_when_their_file_changes() -> Result<()> {
    let guarded = Guarded::new().await?;
    let place = &guarded.place;
    let _gateway = guarded.gateway("required").await?;
    let next = Authority::new("The next one")?;
    let (before, after) = (guarded.known("alice")?, next.sign(&Wanted::named(&["alice.example"]))?);
    let (before, after) = (guarded.showing(&before)?, guarded.showing(&after)?);
    assert_eq!(place.ask(&before).await?.status, 200);
    place.assert_refused(&after, "who is of the next authority").await?;
    let mut kept = Connection::open_tls(place.door, &before).await?;
    assert_eq!(get(&mut kept).await?.status, 200);

    // Both, as whoever changes an authority does it.
    place.file("clients.pem", &format!("{}{}", guarded.clients.pem(), next.pem()))?;
    eventually("the next one is trusted, too", PATIENCE, async || {
        ensure!(place.ask(&after).await?.status == 200);
        Ok(())
    })
    .await?;
    assert_eq!(place.ask(&before).await?.status, 200);
    place.file("clients.pem", next.pem())?;
    eventually("the former one is not trusted", PATIENCE, async || {
        ensure!(place.ask(&before).await.is_err(), "it has an answer");
        Ok(())
    })
    .await?;
    assert_eq!(place.ask(&after).await?.status, 200);
    assert_eq!(get(&mut kept).await?.status, 200, "whoever is in stays in");
    Ok(())
}

#[tokio::test]
async fn who_is_revoked_is_not_let_in_any_more() -> Result<()> {
    let guarded = Guarded::new().await?;
    let place = &guarded.place;
    let (alice, bob) = (guarded.known("alice")?, guarded.known("bob")?);
    let crl = place.file("revoked.pem", &guarded.clients.revoking(&[&bob])?)?;
    let gateway = place.gateway(guarded.listener("required", Some(&crl))?).await?;
    let clients = [guarded.showing(&alice)?, guarded.showing(&bob)?];
    assert_eq!(place.ask(&clients[0]).await?.status, 200);
    place.assert_refused(&clients[1], "bob").await?;
    place.file("revoked.pem", &guarded.clients.revoking(&[&alice])?)?;
    eventually("the list is taken", PATIENCE, async || {
        ensure!(place.ask(&clients[0]).await.is_err(), "alice is let in");
        Ok(())
    })
    .await?;
    assert_eq!(place.ask(&clients[1]).await?.status, 200);
    // One that is no list keeps the one before.
    place.file("revoked.pem", "")?;
    wait_metric(&gateway, NOT_TAKEN, &["revoked.pem"], 1.0).await?;
    place.assert_refused(&clients[0], "alice").await
}
