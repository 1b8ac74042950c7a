use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{AlarmAction, AlarmType};
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use super::{Scene, revision};
use crate::raw::{Compression, exchange, refusal};

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

pub async fn it_says_that_it_serves(scene: &mut Scene) -> Result<()> {
    let channel = scene.channel.clone();
    let asked = |service: &str| Request::new(Service { name: service.to_owned() });
    let check = async |service: &str| {
        let path = "/grpc.health.v1.Health/Check";
        let answer = exchange::<_, Health>(&channel, path, asked(service), Compression::None).await;
        answer.map(|answer| answer.get_ref().status).map_err(|status| refusal(&status))
    };
    const SERVING: i32 = 1;
    const SERVICE_UNKNOWN: i32 = 3;
    assert_eq!(check("").await, Ok(SERVING));
    for unknown in ["etcdserverpb.KV", "other"] {
        assert_eq!(check(unknown).await, Err((Code::NotFound, "unknown service".to_owned())));
    }
    for (service, expected) in [("", SERVING), ("other", SERVICE_UNKNOWN)] {
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
        let codec = ProstCodec::<Service, Health>::default();
        let mut client = Grpc::new(channel.clone());
        client.ready().await?;
        let mut told = client.server_streaming(asked(service), path, codec).await?.into_inner();
        assert_eq!(told.message().await?.context("no status")?.status, expected);
        // It stays open: the status may change.
        assert!(timeout(Duration::from_millis(200), told.message()).await.is_err());
    }
    Ok(())
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}
