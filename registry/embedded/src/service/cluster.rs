//! `etcdserverpb.Cluster`: a cluster of one.

use std::sync::Arc;

use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use tonic::{Request, Response, Status, async_trait};

use super::{MEMBER_ID, Shared, header};

/// The name of the only member.
const NAME: &str = "leaseway-embedded";

#[derive(Clone, Debug)]
pub(super) struct ClusterService(pub Arc<Shared>);

#[async_trait]
impl PbClusterService for ClusterService {
    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let member = PbMember {
            id: MEMBER_ID,
            name: NAME.to_owned(),
            peer_ur_ls: Vec::new(),
            client_ur_ls: vec![self.0.advertised.clone()],
            is_learner: false,
        };
        let header = Some(header(self.0.locked().revision()));
        Ok(Response::new(PbMemberListResponse { header, members: vec![member] }))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(self.0.unimplemented("MemberAdd"))
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Err(self.0.unimplemented("MemberRemove"))
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Err(self.0.unimplemented("MemberUpdate"))
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Err(self.0.unimplemented("MemberPromote"))
    }
}
