//! When certificates end, and who is told.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use harness::{certificates::Wanted, link::TlsClient, wait::eventually};
use openssl::ssl::SslVerifyMode;

use super::{EXPIRY, PATIENCE, Place, SHOP, shown, tls, wait_metric_that};

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
