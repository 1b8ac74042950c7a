//! What sslyze finds at the example's port is what docs/tls-scan.md shows.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::process::{Process, Stdout};

use super::example::Example;

/// sslyze is installed first, where it is not yet.
const PATIENCE: Duration = Duration::from_secs(600);
/// The host whose certificate is looked at.
const HOST: &str = "shop.example.com";

/// The rows of the page's table, without its head.
fn shown(page: &str) -> Vec<String> {
    let table = page.lines().skip_while(|line| !line.starts_with("|---"));
    table.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[tokio::test]
async fn sslyze_finds_what_the_page_shows() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(repository.join("docs/tls-scan.md"))?;
    let example = Example::start().await?;
    let mut command = Command::new(repository.join("tools/sslyze.sh"));
    command.arg(HOST).arg(example.door.to_string()).arg(example.ca()?);
    let mut process = Process::start(command, Stdout::Kept)?;
    let status = process.wait_exit(PATIENCE).await.context("sslyze does not end")?;
    ensure!(status.success(), "{}", process.tail());
    let found: Vec<_> = process.lines().into_iter().filter(|line| line.starts_with('|')).collect();
    assert_eq!(found, shown(&page), "docs/tls-scan.md shows something else than:\n{}", found.join("\n"));
    let after = example.gateway.metric("leaseway_panics_total", &[]).await?;
    assert_eq!(after, 0.0);
    Ok(())
}
