//! The third stage: by what requests are served, what is found of those who serve them, and how both are replaced.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

use super::StartError;
use super::picture::Picture;
use crate::config;
use crate::health::checks::Checks;
use crate::health::probers::Probers;
use crate::health::stall_watch::StallWatch;
use crate::metrics::Metrics;
use crate::site::{
    Adoption, Carried, Certificates, Current, Draft, DraftError, Ends, Loaded, Materials, Reload,
    Replacement, Site, StatusCell, key_of_this_process,
};

/// The first site, and what goes on beside it.
pub(super) struct Serving {
    pub(super) site: Arc<Current>,
    pub(super) status: StatusCell,
    pub(super) stall_watch: Arc<StallWatch>,
    pub(super) checks: Checks,
    pub(super) reload: Reload,
    pub(super) adoption: Adoption,
    pub(super) certificates: Certificates,
    /// To be told when the configuration is to be read again.
    pub(super) asked: Arc<Notify>,
}

impl Serving {
    pub(super) fn new(
        config: &config::Gateway,
        loaded: Loaded,
        picture: &Picture,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let stall_watch = Arc::new(StallWatch::default());
        let materials = Materials {
            directory: picture.directory.clone(),
            findings: picture.findings.clone(),
            stall_watch: stall_watch.clone(),
            probers: Probers::new(),
            metrics: metrics.clone(),
            key: key_of_this_process().map_err(DraftError::from)?,
        };
        let services = picture.directory.services();
        let ends = Ends::first(config)?;
        let services = (&*services, &Carried::default());
        let draft = Draft::new(config, ends, services, &Site::default(), &materials)?;
        let (checked, to_check) = watch::channel(draft.checked);
        let checks = Checks::new(to_check, picture.findings.clone(), metrics.clone());
        let site = Arc::new(Current::new(draft.site));
        let now = SystemTime::now();
        metrics.config_applied(loaded.revision().as_str(), now);
        let status = StatusCell::new(loaded.revision().clone(), now);
        let routing = picture.discovery.routing();
        let replacement = Replacement::new(config, (site.clone(), materials), routing, checked);
        let replacement = Arc::new(replacement);
        let adoption = Adoption(replacement.clone());
        let certificates = Certificates::new(site.clone(), metrics.clone());
        let asked = Arc::new(Notify::new());
        let reload = Reload::new(loaded, replacement, status.clone(), asked.clone(), metrics.clone());
        Ok(Self { site, status, stall_watch, checks, reload, adoption, certificates, asked })
    }
}
