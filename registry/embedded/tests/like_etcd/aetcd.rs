//! A client that shares no code with ours: PyPI's `aetcd`.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use tokio::{task::spawn_blocking, try_join};

use crate::{
    python,
    subject::{Release, Subject},
};

const SEEN: &str = "\
granted 2
registered PUT /service_registry_discovery/goods/one 10.0.0.1:80 True
kept alive 10.0.0.1:80
keys ['/service_registry_discovery/goods/one']
replaced True 10.0.0.2:80 after 10.0.0.1:80
replaced again False
revoked DELETE 10.0.0.2:80 None
expired DELETE /service_registry_discovery/goods/one
members 1 True
refused ClientError
";

#[tokio::test(flavor = "multi_thread")]
async fn aetcd_registers_keeps_alive_and_watches() -> Result<()> {
    let python = spawn_blocking(python::interpreter).await??;
    // Most of it is waiting for leases to end.
    try_join!(check(&python, Release::Embedded), check(&python, Release::V3_4))?;
    Ok(())
}

async fn check(python: &Path, release: Release) -> Result<()> {
    let subject = Subject::start(release).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/like_etcd/python/registrar.py");
    let (host, port) = (subject.address().ip().to_string(), subject.address().port().to_string());
    let mut command = Command::new(python);
    command.arg(script).args([host, port]);
    let ran = spawn_blocking(move || command.output()).await??;
    let (seen, said) = (String::from_utf8(ran.stdout)?, String::from_utf8_lossy(&ran.stderr));
    ensure!(ran.status.success(), "with {release:?} the script fails after\n{seen}{said}");
    assert_eq!(seen, SEEN, "with {release:?}");
    Ok(())
}
