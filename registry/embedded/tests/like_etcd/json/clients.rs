//! Clients that speak JSON and share no code with ours, and curl as the README has it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use tokio::{task::spawn_blocking, try_join};

use crate::{
    python,
    subject::{Release, Subject},
};

const ETCD3GW: &str = "\
path /v3/
granted True
registered b'10.0.0.1:80'
kept alive [b'10.0.0.1:80'] True [b'/service_registry_discovery/goods/one']
replaced True b'10.0.0.2:80'
replaced again False
prefix [b'10.0.0.2:80']
deleted True DELETE []
revoked True DELETE
locked True
members 1 True
refused Etcd3Exception
";

const ETCD3_PY: &str = "\
path /v3
granted 2
registered ('PUT', b'10.0.0.1:80')
kept alive b'10.0.0.1:80' [b'/service_registry_discovery/goods/one']
replaced True ('PUT', b'10.0.0.2:80')
deleted 1 ('DELETE', None)
revoked ('DELETE', None)
members 1
refused <ErrLeaseNotFound error:'etcdserver: requested lease not found', code:5>
";

#[tokio::test(flavor = "multi_thread")]
async fn etcd3gw_registers_keeps_alive_and_watches() -> Result<()> {
    check("over_etcd3gw.py", ETCD3GW).await
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd3_py_registers_keeps_alive_and_watches() -> Result<()> {
    check("over_etcd3_py.py", ETCD3_PY).await
}

async fn check(script: &str, expected: &str) -> Result<()> {
    let python = spawn_blocking(python::interpreter_over_http).await??;
    // Most of it is waiting for leases.
    let with = async |release| {
        let subject = Subject::start(release).await?;
        let mut command = Command::new(&python);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/like_etcd/python").join(script);
        let (host, port) = (subject.address().ip().to_string(), subject.address().port().to_string());
        command.arg(script).args([host, port]);
        assert_eq!(output(command).await?, expected, "with {release:?}");
        anyhow::Ok(())
    };
    try_join!(with(Release::Embedded), with(Release::V3_5))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_registration_by_curl_works_with_etcd_too() -> Result<()> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))?;
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains("lease/grant")).context("no such block")?;
    for release in [Release::Embedded, Release::V3_4, Release::V3_5] {
        let subject = Subject::start(release).await?;
        let mut command = Command::new("bash");
        let script = block.replace("127.0.0.1:2379", &subject.address().to_string());
        command.args(["-euo", "pipefail", "-c", &script]);
        let said = output(command).await?;
        let said: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(said.len(), 3, "{release:?}: {said:#?}");
        let ends = [r#""raft_term":"#, r#","TTL":"10"}}"#, r#""raft_term":"#];
        for (line, end) in said.iter().zip(ends) {
            assert!(line.contains(end), "{release:?}: {line}");
        }
    }
    Ok(())
}

async fn output(mut command: Command) -> Result<String> {
    let ran = spawn_blocking(move || command.output()).await??;
    let (seen, said) = (String::from_utf8(ran.stdout)?, String::from_utf8_lossy(&ran.stderr));
    ensure!(ran.status.success(), "it fails after\n{seen}{said}");
    Ok(seen)
}
