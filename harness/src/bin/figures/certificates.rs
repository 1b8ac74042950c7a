//! A certificate that is replaced each second: what requests notice of it, and for how long an old one is shown.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    certificates::{Authority, CertificateFiles, fingerprint},
    link::TlsClient,
    load::Load,
    ports::free_address,
    stack::{Gateway, GatewayOptions},
};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Scale, heading, row};

const NAME: &str = "shop.example.com";
/// From one certificate to the next.
const BETWEEN: Duration = Duration::from_secs(1);
/// From one look at what is shown to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Half of them on kept connections, half on new ones.
const RATE: u32 = 250;
/// An old one may be shown for so long after it was replaced.
const GOAL: Duration = Duration::from_secs(2);

/// The certificates in their order, and when the next one took the place of each.
#[derive(Debug, Default)]
struct History(Vec<(String, Option<Instant>)>);

impl History {
    fn replaced_by(&mut self, fingerprint: String, now: Instant) {
        if let Some((_, until)) = self.0.last_mut() {
            *until = Some(now);
        }
        self.0.push((fingerprint, None));
    }

    /// How old what is shown now is: since when there has been another one. None: it is the last one.
    fn age(&self, shown: &str, now: Instant) -> Result<Option<Duration>> {
        let found = self.0.iter().find(|(fingerprint, _)| fingerprint == shown);
        let (_, until) = found.context("a certificate is shown that there never was")?;
        Ok(until.map(|until| now.saturating_duration_since(until)))
    }
}

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let swaps = if scale.rounds >= 5 { 60 } else { 5 };
    let (directory, authority) = (tempfile::tempdir()?, Authority::new("An authority")?);
    let (backend, door) = (Backend::start("a", Reply::ok("hello")).await?, free_address()?);
    let first = authority.server(&[NAME])?;
    let files = first.write(directory.path(), "shop")?;
    let options = GatewayOptions::default()
        .also_listening_with(door, json!({ "tls": { "certificates": [files.json()] } }))
        .set("gateway/services/goods/addresses", json!([backend.address().to_string()]));
    let _gateway = Gateway::start_with_registry(options).await?;

    let client = TlsClient::new(authority.pem())?.asking_for(NAME);
    let load = Load::get(door, "/goods").tls(&client).rate(RATE);
    let loads = [load.clone().fresh().start(), load.start()];
    let history = Arc::new(Mutex::new(History::default()));
    noted(&history).replaced_by(first.fingerprint()?, Instant::now());
    let swapping = tokio::spawn(swap(swaps, authority, files, history.clone()));
    let mut ages = Vec::new();
    while !swapping.is_finished() {
        ages.push(age(door, &client, &history).await?.unwrap_or_default());
        sleep(LOOK).await;
    }
    swapping.await??;
    sleep(2 * BETWEEN).await;
    ensure!(age(door, &client, &history).await?.is_none(), "an old one is shown 2 s after the last has come");

    heading(&format!("{swaps} certificates, one a second, under {} requests a second", 2 * RATE));
    for (kind, load) in ["on new connections", "on kept ones"].into_iter().zip(loads) {
        let outcome = load.stop().await;
        row(&format!("failed {kind}"), format!("{} of {}", outcome.failed, outcome.sent));
        ensure!(outcome.failed == 0 && outcome.refused == 0, "{:?}", outcome.errors);
    }
    show_ages(&ages)
}

fn show_ages(ages: &[Duration]) -> Result<()> {
    let longest = ages.iter().max().copied().unwrap_or_default();
    let late = ages.iter().filter(|age| **age > GOAL).count();
    row("handshakes looked at", ages.len());
    row("of these with one that was replaced 2 s before, or more", late);
    row(
        "the longest that one was shown after it was replaced",
        format!("{:.0} ms", 1e3 * longest.as_secs_f64()),
    );
    ensure!(longest <= 10 * GOAL, "an old certificate was shown for {longest:?}");
    Ok(())
}

/// Replaces the certificate each second.
async fn swap(
    swaps: usize,
    authority: Authority,
    files: CertificateFiles,
    history: Arc<Mutex<History>>,
) -> Result<()> {
    let mut next = Instant::now();
    for _ in 0..swaps {
        let certificate = authority.server(&[NAME])?;
        next += BETWEEN;
        sleep_until(next).await;
        files.replace(&certificate)?;
        noted(&history).replaced_by(certificate.fingerprint()?, Instant::now());
    }
    Ok(())
}

/// How old the certificate is that is shown now; none: there is no newer one.
async fn age(door: SocketAddr, client: &TlsClient, history: &Mutex<History>) -> Result<Option<Duration>> {
    let now = Instant::now();
    let link = client.connect(door).await?;
    let shown = link.ssl().and_then(|ssl| ssl.peer_certificate()).context("no certificate is shown")?;
    let shown = fingerprint(&shown)?;
    // It may be shown before it is noted here.
    for _ in 0..50 {
        if let Ok(age) = noted(history).age(&shown, now) {
            return Ok(age);
        }
        sleep(LOOK).await;
    }
    noted(history).age(&shown, now)
}

fn noted(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
