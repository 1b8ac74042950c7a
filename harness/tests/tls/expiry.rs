//! When certificates end, and who is told.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use harness::{
    certificates::{Authority, Certificate, Wanted},
    link::TlsClient,
    wait::eventually,
};
use openssl::ssl::SslVerifyMode;
use serde_json::{Value, json};

use super::{EXPIRY, NOT_TAKEN, PATIENCE, Place, SHOP, shown, tls, wait_metric, wait_metric_that};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn seconds(time: SystemTime) -> Result<f64> {
    Ok(time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

/// Whether a line warns of the end of this certificate.
fn warns_of(name: &str) -> impl Fn(&str) -> bool {
    move |line| {
        let is_loud = line.contains("WARN") || line.contains("ERROR");
        is_loud && line.contains(name) && ["expire", "end"].iter().any(|word| line.contains(word))
    }
}

#[tokio::test]
async fn a_metric_says_when_each_certificate_ends() -> Result<()> {
    let place = Place::new().await?;
    let ends = [SystemTime::now() + 30 * DAY, SystemTime::now() + 60 * DAY];
    let [shop, other] = [(SHOP, ends[0]), ("other.example", ends[1])]
        .map(|(name, end)| place.authority.sign(&Wanted::named(&[name]).until(end)));
    let (shop, other) = (place.write(&shop?, "shop")?, place.write(&other?, "other")?);
    let gateway = place.gateway(tls(&[&shop, &other])).await?;
    for (name, end) in [("shop", ends[0]), ("other", ends[1])] {
        let expected = seconds(end)?;
        wait_metric_that(&gateway, EXPIRY, &[name], |value| (value - expected).abs() < 2.0).await?;
    }
    let later = SystemTime::now() + 80 * DAY;
    shop.replace(&place.authority.sign(&Wanted::named(&[SHOP]).until(later))?)?;
    let expected = seconds(later)?;
    wait_metric_that(&gateway, EXPIRY, &["shop"], |value| (value - expected).abs() < 2.0).await?;
    // One series for each, and none for what was there before.
    eventually("each has one series", PATIENCE, async || {
        let text = gateway.admin("/metrics").await?.text();
        let series: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("{EXPIRY}{{"))).collect();
        ensure!(series.len() == 2, "{series:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_log_warns_fourteen_days_before_the_end() -> Result<()> {
    let place = Place::new().await?;
    let now = SystemTime::now();
    let [soon, late] = [("shop", 10), ("later", 20)].map(|(name, days)| {
        let wanted = Wanted::named(&[&format!("{name}.example")]).until(now + days * DAY);
        place.write(&place.authority.sign(&wanted)?, name)
    });
    let gateway = place.gateway(tls(&[&soon?, &late?])).await?;
    gateway.process().wait_for_line(warns_of("shop"), PATIENCE).await?;
    let lines = gateway.process().lines();
    assert!(!lines.iter().any(|line| warns_of("later")(line)), "{}", lines.join("\n"));
    Ok(())
}

/// One that has ended keeps nobody else from being served, so that a start does not fail for it.
#[tokio::test]
async fn a_start_with_a_certificate_that_has_expired_serves_and_tells() -> Result<()> {
    let place = Place::new().await?;
    let now = SystemTime::now();
    let late = place.authority.sign(&Wanted::named(&[SHOP]).from(now - 3 * DAY).until(now - DAY))?;
    let files = place.write(&late, "shop")?;
    let other = place.write(&place.authority.server(&["other.example"])?, "other")?;
    let gateway = place.gateway(tls(&[&files, &other])).await?;
    gateway.process().wait_for_line(warns_of("shop"), PATIENCE).await?;
    let client = TlsClient::new(place.authority.pem())?.asking_for("other.example");
    assert!(client.connect(place.door).await.is_ok());
    let anybody = TlsClient::with(place.authority.pem(), |builder| {
        builder.set_verify(SslVerifyMode::NONE);
        Ok(())
    })?;
    assert_eq!(shown(place.door, &anybody.naming(SHOP)).await?, late.fingerprint()?);
    Ok(())
}

/// A listener that demands certificates of clients whom this authority has signed, as this list has it.
fn demanding(place: &Place, clients: &Authority, list: &str) -> Result<Value> {
    let mut listener = tls(&[&place.shop()?]);
    let (ca, crl) = (place.file("clients.pem", clients.pem())?, place.file("revoked.pem", list)?);
    listener["tls"]["client"] = json!({ "ca": ca, "crl": crl, "mode": "required" });
    Ok(listener)
}

fn showing(place: &Place, certificate: &Certificate) -> Result<TlsClient> {
    Ok(TlsClient::showing(place.authority.pem(), certificate)?.asking_for(SHOP))
}

/// The authority is one that somebody has signed whom the gateway does not know.
#[tokio::test]
async fn a_list_of_revoked_certificates_that_has_ended_does_not_take_a_good_ones_place() -> Result<()> {
    let place = Place::new().await?;
    let clients = Authority::new("Root")?.below("Clients")?;
    let [alice, bob] = ["alice", "bob"].map(|name| clients.sign(&Wanted::subject(name)));
    let (alice, bob) = (alice?, bob?);
    let gateway = place.gateway(demanding(&place, &clients, &clients.revoking(&[&bob])?)?).await?;
    let (known, revoked) = (showing(&place, &alice)?, showing(&place, &bob)?);
    assert_eq!(place.ask(&known).await?.status, 200);
    place.assert_refused(&revoked, "bob").await?;
    place.file("revoked.pem", &clients.revoking_until(&[], SystemTime::now() - DAY)?)?;
    wait_metric(&gateway, NOT_TAKEN, &["revoked.pem"], 1.0).await?;
    let says_so = |line: &str| line.contains("revoked.pem") && line.contains("has ended at");
    gateway.process().wait_for_line(says_so, PATIENCE).await?;
    assert_eq!(place.ask(&known).await?.status, 200);
    place.assert_refused(&revoked, "bob").await
}

#[tokio::test]
async fn a_start_with_a_list_of_revoked_certificates_that_has_ended_tells() -> Result<()> {
    let place = Place::new().await?;
    let clients = Authority::new("Clients")?;
    let ended = clients.revoking_until(&[], SystemTime::now() - DAY)?;
    let gateway = place.gateway(demanding(&place, &clients, &ended)?).await?;
    gateway.process().wait_for_line(warns_of("revoked.pem"), PATIENCE).await?;
    let alice = showing(&place, &clients.sign(&Wanted::subject("alice"))?)?;
    place.assert_refused(&alice, "alice").await?;
    place.file("revoked.pem", &clients.revoking(&[])?)?;
    eventually("the new list is taken", PATIENCE, async || {
        ensure!(place.ask(&alice).await?.status == 200);
        Ok(())
    })
    .await
}
