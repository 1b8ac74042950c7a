//! A client that shares no code with ours: PyPI's `aetcd`.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

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
    let python = tokio::task::spawn_blocking(python::interpreter).await??;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/like_etcd/python/registrar.py");
    for release in [Release::Embedded, Release::V3_4] {
        let subject = Subject::start(release).await?;
        let (host, port) = (subject.address().ip().to_string(), subject.address().port().to_string());
        let ran = Command::new(&python).arg(&script).args([host, port]).output()?;
        let (seen, said) = (String::from_utf8(ran.stdout)?, String::from_utf8_lossy(&ran.stderr));
        ensure!(ran.status.success(), "with {release:?} the script fails after\n{seen}{said}");
        assert_eq!(seen, SEEN, "with {release:?}");
    }
    Ok(())
}
