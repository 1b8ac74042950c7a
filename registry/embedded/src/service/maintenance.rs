//! `etcdserverpb.Maintenance`: what `etcdctl endpoint status` and `endpoint health` ask for.

use std::sync::Arc;

use etcd_client::{
    AlarmAction,
    proto::{
        PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse, PbDowngradeRequest,
        PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest, PbHashResponse,
        PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest,
        PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
    },
};
use futures_util::stream::Empty;
use tonic::{Request, Response, Status, async_trait};

use super::{MEMBER_ID, Shared, TERM, header};
use crate::counts::Counts;

/// The release of etcd whose behaviour is followed where releases differ, and who answers.
pub(crate) const VERSION: &str = concat!("3.5.33+leaseway.", env!("CARGO_PKG_VERSION"));

#[derive(Clone, Debug)]
pub(super) struct MaintenanceService(pub Arc<Shared>);

#[async_trait]
impl PbMaintenanceService for MaintenanceService {
    type SnapshotStream = Empty<Result<PbSnapshotResponse, Status>>;

    async fn status(&self, _: Request<PbStatusRequest>) -> Result<Response<PbStatusResponse>, Status> {
        let Counts { revision, bytes, live_bytes, max_bytes, .. } = self.0.locked().counts();
        let as_i64 = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(Response::new(PbStatusResponse {
            header: Some(header(revision)),
            version: VERSION.to_owned(),
            db_size: as_i64(bytes),
            db_size_in_use: as_i64(live_bytes),
            db_size_quota: as_i64(max_bytes),
            leader: MEMBER_ID,
            // There is no log: its only entries are the revisions.
            raft_index: revision.unsigned_abs(),
            raft_applied_index: revision.unsigned_abs(),
            raft_term: TERM,
            ..Default::default()
        }))
    }

    /// There is never an alarm: space that is freed can be used at once.
    async fn alarm(&self, request: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        if request.get_ref().action == AlarmAction::Activate as i32 {
            return Err(self.0.unimplemented("Alarm ACTIVATE"));
        }
        let header = Some(header(self.0.locked().revision()));
        Ok(Response::new(PbAlarmResponse { header, alarms: Vec::new() }))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        Err(self.0.unimplemented("Defragment"))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(self.0.unimplemented("Hash"))
    }

    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Result<Response<PbHashKvResponse>, Status> {
        Err(self.0.unimplemented("HashKV"))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(self.0.unimplemented("Snapshot"))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(self.0.unimplemented("MoveLeader"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(self.0.unimplemented("Downgrade"))
    }
}
