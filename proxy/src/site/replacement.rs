//! How one site takes another's place while requests go on.
//!
//! First the directory routes the services of both, so that each of the two finds its own at any moment. Then the new
//! site serves, at once for all requests that begin from then on. At last what only the former one named is let go.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::draft::{Draft, DraftError, Materials, policies};
use super::{Current, Site};
use crate::config;
use crate::discovery::Routing;
use crate::health::checks::CheckedService;

/// Whose endpoints are asked whether they are well.
pub(crate) type Checked = watch::Sender<Arc<Vec<CheckedService>>>;

/// Puts one site in another's place.
pub(crate) struct Replacement {
    pub(crate) current: Arc<Current>,
    pub(crate) materials: Materials,
    pub(crate) routing: Routing,
    pub(crate) checked: Checked,
}

/// Why a site was not replaced. What served goes on, unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error("the gateway is ending")]
    Ending,
}

impl Replacement {
    /// Serves by another configuration from now on. `serving`: the one that served until now. Returns its site, which
    /// requests that began under it may still hold.
    pub(super) async fn replace(
        &self,
        config: &config::Gateway,
        serving: &config::Gateway,
    ) -> Result<Arc<Site>, ReplaceError> {
        let former = self.current.get();
        let routed = self.routing.route(policies(config).into_iter().collect()).await;
        let services = routed.ok_or(ReplaceError::Ending)?;
        let draft = match Draft::new(config, &services, &former, &self.materials) {
            Ok(draft) => draft,
            Err(error) => {
                self.restore(serving, services.into_keys(), &former).await;
                return Err(error.into());
            }
        };
        self.take(draft);
        let site = self.current.get();
        let gone = former.services.keys().filter(|name| !site.services.contains_key(*name));
        self.routing.unroute(gone.cloned().collect()).await;
        Ok(former)
    }

    fn take(&self, draft: Draft) {
        let now = Instant::now();
        draft.rules.into_iter().for_each(|(health, rules)| health.apply(rules, now));
        self.checked.send_replace(draft.checked);
        self.current.set(draft.site);
    }

    /// Lets go what was routed for a site that came to nothing.
    async fn restore(
        &self,
        serving: &config::Gateway,
        routed: impl Iterator<Item = Arc<str>>,
        former: &Site,
    ) {
        // None: the process is ending.
        let _ = self.routing.route(policies(serving).into_iter().collect()).await;
        self.routing.unroute(routed.filter(|name| !former.services.contains_key(name)).collect()).await;
    }

    /// How many services the routes of the site that serves lead to.
    pub(super) fn services(&self) -> usize {
        self.current.get().services.len()
    }
}
