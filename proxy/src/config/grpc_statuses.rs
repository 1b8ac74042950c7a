//! Statuses of gRPC by which a call has failed.

use config_reader::kind::{Kind, List, list};
use serde_json::{Value as Json, json};

use super::Value;
use super::machine::Need;
use crate::grpc::Status;

/// Some of gRPC's statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GrpcStatuses(u32);

impl GrpcStatuses {
    pub(crate) fn contains(self, status: Status) -> bool {
        self.0 & bit(status) != 0
    }

    /// In the order of their codes.
    pub(crate) fn iter(self) -> impl Iterator<Item = Status> {
        Status::ALL.into_iter().map(|(status, _)| status).filter(move |status| self.contains(*status))
    }
}

impl FromIterator<Status> for GrpcStatuses {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        Self(statuses.into_iter().map(bit).fold(0, |all, status| all | status))
    }
}

fn bit(status: Status) -> u32 {
    1 << status.code()
}

/// A list of statuses by which a call has failed, none twice.
pub(super) fn failures() -> List<Failure> {
    list(Failure).distinct()
}

/// The name of a status by which a call has failed.
pub(super) struct Failure;

impl Kind<Need> for Failure {
    type Value = Status;

    fn read(&self, value: &Value<'_>) -> Option<Status> {
        let status = value.parse(str::parse)?;
        if status == Status::Ok {
            value.reject("is OK, by which a call has not failed");
            return None;
        }
        Some(status)
    }

    fn show(&self, status: &Status) -> String {
        status.to_string()
    }

    fn schema(&self) -> Json {
        let failures = Status::ALL.iter().filter(|(status, _)| *status != Status::Ok);
        json!({"enum": failures.map(|(_, name)| name).collect::<Vec<_>>()})
    }

    fn takes(&self) -> String {
        "names of gRPC's statuses but `OK`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_in_a_set_if_it_was_put_there() {
        for (status, _) in Status::ALL {
            let set: GrpcStatuses = [status].into_iter().collect();
            for (other, _) in Status::ALL {
                assert_eq!(set.contains(other), other == status, "{status} {other}");
            }
        }
        assert_eq!(GrpcStatuses::default().iter().count(), 0);
        let several: GrpcStatuses = [Status::Unauthenticated, Status::Cancelled].into_iter().collect();
        assert!(several.iter().eq([Status::Cancelled, Status::Unauthenticated]));
    }
}
