//! How one site takes another's place while requests go on.
//!
//! First the directory routes the services of both, so that each of the two finds its own at any moment. Then the new
//! site serves, at once for all requests that begin from then on. At last the directory goes by the new site: the services
//! have its policies, and what only the former one named is let go.

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
    /// Serves by another configuration from now on. Returns the former site, which requests that began under it may still
    /// hold.
    pub(super) async fn replace(&self, config: &config::Gateway) -> Result<Arc<Site>, ReplaceError> {
        let former = self.current.get();
        let policies: Vec<_> = policies(config).into_iter().collect();
        let routed = self.routing.begin(policies.clone()).await;
        let services = routed.ok_or(ReplaceError::Ending)?;
        let draft = Draft::new(config, &services, &former, &self.materials);
        let connect = config.timeouts.connect;
        let (kept, gone, outcome) = match draft {
            Ok(draft) => {
                let gone = without(former.services.keys(), &draft.site);
                self.take(draft);
                (policies, gone, Ok(former))
            }
            Err(error) => (Vec::new(), without(services.keys(), &former), Err(error.into())),
        };
        self.routing.settle(kept, gone, connect).await;
        outcome
    }

    fn take(&self, draft: Draft) {
        let now = Instant::now();
        draft.rules.into_iter().for_each(|(health, rules)| health.apply(rules, now));
        self.checked.send_replace(draft.checked);
        self.current.set(draft.site);
    }

    /// How many services the routes of the site that serves lead to, and how many of the routes lead to nothing.
    pub(super) fn counts(&self) -> (usize, usize) {
        let site = self.current.get();
        (site.services.len(), site.without_endpoint())
    }
}

/// Those of these services that a site does not name.
fn without<'n>(names: impl Iterator<Item = &'n Arc<str>>, site: &Site) -> Vec<Arc<str>> {
    names.filter(|name| !site.services.contains_key(*name)).cloned().collect()
}
