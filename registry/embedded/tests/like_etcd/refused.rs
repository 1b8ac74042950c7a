//! What is not answered is listed in docs/embedded.md, and nothing else is missing.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail};
use etcd_client::{AlarmAction, AlarmType, Error};
use futures_util::future::join_all;
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    raw::{Compression, exchange},
    subject::{Release, Subject},
};

/// Everything that an etcd 3.5 has, by service.
const METHODS: &[(&str, &str)] = &[
    ("etcdserverpb.KV", "Range Put DeleteRange Txn Compact"),
    ("etcdserverpb.Watch", "Watch"),
    ("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseKeepAlive LeaseTimeToLive LeaseLeases"),
    ("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote"),
    ("etcdserverpb.Maintenance", "Alarm Status Defragment Hash HashKV Snapshot MoveLeader Downgrade"),
    (
        "etcdserverpb.Auth",
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword \
         UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission RoleRevokePermission",
    ),
    ("v3lockpb.Lock", "Lock Unlock"),
    ("v3electionpb.Election", "Campaign Proclaim Leader Observe Resign"),
    ("grpc.health.v1.Health", "Check Watch"),
];
/// Some do not answer until something happens.
const SILENT: Duration = Duration::from_secs(3);

const DOCS: &str = include_str!("../../../../docs/embedded.md");
const SECTION: &str = "## What it refuses";

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_lists_what_an_etcd_answers_and_this_does_not() -> Result<()> {
    let etcd = Subject::start(Release::V3_5).await?;
    let embedded = Subject::start(Release::Embedded).await?;
    let (theirs, ours) =
        (unanswered(&etcd.channel().await?).await, unanswered(&embedded.channel().await?).await);
    assert!(theirs.is_empty(), "an etcd has not: {theirs:?}");
    let named: BTreeSet<String> = ours.iter().map(|(method, _)| method.clone()).collect();
    assert_eq!(named, listed()?);
    for (method, status) in ours {
        let (_, name) = method.rsplit_once('/').context("no method")?;
        let words =
            format!("{name} is not implemented by Leaseway's embedded registry; an etcd cluster has it");
        assert_eq!(status.message(), words, "of {method}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_cannot_be_raised_as_the_documentation_says() -> Result<()> {
    assert!(section()?.contains("(`Maintenance/Alarm` with `ACTIVATE`)"));
    let subject = Subject::start(Release::Embedded).await?;
    let raised = subject.client().await?.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await;
    let Err(Error::GRpcStatus(status)) = raised else { bail!("not refused: {raised:?}") };
    assert_eq!(status.code(), Code::Unimplemented);
    Ok(())
}

/// The methods that are refused as unimplemented.
async fn unanswered(channel: &Channel) -> Vec<(String, Status)> {
    let methods = METHODS.iter().flat_map(|(service, methods)| {
        methods.split_whitespace().map(move |method| format!("{service}/{method}"))
    });
    let asked = methods.map(async |method| {
        let path = format!("/{method}");
        let answer = exchange::<_, ()>(channel, &path, Request::new(()), Compression::None);
        let refused = timeout(SILENT, answer).await.ok()?.err()?;
        (refused.code() == Code::Unimplemented).then_some((method, refused))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn section() -> Result<&'static str> {
    let (_, section) =
        DOCS.split_once(SECTION).with_context(|| format!("docs/embedded.md has no {SECTION}"))?;
    Ok(section.split("\n## ").next().unwrap_or_default())
}

/// The methods in the table of the documentation: `Service` in its first column, methods in its second.
fn listed() -> Result<BTreeSet<String>> {
    let rows = section()?.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let methods = rows.flat_map(|(service, methods)| {
        methods.split('`').skip(1).step_by(2).map(move |method| format!("{service}/{method}"))
    });
    Ok(methods.collect())
}
