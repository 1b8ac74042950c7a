//! The page `/readyz`: whether the gateway may have requests, and what stands behind that.

use serde::Serialize;

use super::Admin;
use super::configuration::Serving;
use crate::tls::CertificateState;

/// The page. Only `ready` decides its status.
#[derive(Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    stopping: bool,
    synced: bool,
    stale: bool,
    guard_held: i64,
    revision: i64,
    watch_live: bool,
    seconds_since_confirmed: Option<f64>,
    trouble: Option<String>,
    config: Serving,
    /// Those that are shown to clients and to instances, those of the authorities that each other goes by, and lists of revoked
    /// ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
struct Certificate {
    file: String,
    /// Not of authorities, nor of revoked ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// Why what the file has now is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl From<CertificateState> for Certificate {
    fn from(state: CertificateState) -> Self {
        let CertificateState { file, names, not_after, refused, .. } = state;
        let not_after = not_after.map(|end| humantime::format_rfc3339_seconds(end).to_string());
        Self { file, names, not_after, refused }
    }
}

impl Readiness {
    pub(super) fn of(admin: &Admin) -> Self {
        let Admin { directory, lifecycle, metrics, .. } = admin;
        let status = admin.status.borrow().clone();
        Self {
            ready: lifecycle.is_ready(directory),
            stopping: lifecycle.is_stopping(),
            synced: directory.is_synced(),
            stale: directory.is_stale(),
            guard_held: metrics.guard_held().get(),
            revision: directory.revision(),
            watch_live: status.live,
            seconds_since_confirmed: status.confirmed.map(|at| at.elapsed().as_secs_f64()),
            trouble: status.trouble,
            config: Serving::of(&admin.configuration.get()),
            certificates: admin.site.get().certificates().into_iter().map(Certificate::from).collect(),
        }
    }
}
