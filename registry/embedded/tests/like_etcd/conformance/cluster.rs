use anyhow::{Context, Result};
use etcd_client::{AlarmAction, AlarmType};

use super::{Scene, revision};

pub async fn it_is_one_healthy_member(scene: &mut Scene) -> Result<()> {
    let now = scene.put("a", "1").await?;
    let status = scene.client.status().await?;
    let header = status.header().context("no header")?.clone();
    assert_eq!((revision(status.header())?, status.leader()), (now, header.member_id()));
    assert!(status.version().starts_with("3."));
    assert!(status.db_size() > 0 && status.raft_index() > 0 && status.raft_term() == header.raft_term());

    let members = scene.client.member_list().await?;
    let [member] = members.members() else { panic!("more than one member") };
    assert_eq!(member.id(), header.member_id());
    assert_eq!(member.client_urls().len(), 1);
    assert!(member.client_urls()[0].starts_with("http://127.0.0.1:"));
    assert!(!member.is_learner() && !member.name().is_empty());

    let alarms = scene.client.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    assert_eq!(alarms.alarms().len(), 0);
    Ok(())
}
