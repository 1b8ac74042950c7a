use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connect::{CALL_TIMEOUT, CallError, Connector, Link};

/// The connection of a watch and of the lists beside it, which all its clones share.
#[derive(Debug, Clone)]
pub(super) struct SharedLink {
    connector: Connector,
    /// The connection that was used last.
    link: Arc<Mutex<Option<Link>>>,
}

impl SharedLink {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, link: Arc::default() }
    }

    pub(super) async fn link(&self) -> Result<Link, CallError> {
        let link = self.connector.link(CALL_TIMEOUT).await?;
        *self.last() = Some(link.clone());
        Ok(link)
    }

    /// The endpoint that was used last, for errors.
    pub(super) fn endpoint(&self) -> String {
        self.last().as_ref().map(|link| link.endpoint.clone()).unwrap_or_default()
    }

    /// Has the next call open another connection.
    pub(super) fn discard(&self) {
        if let Some(link) = self.last().take() {
            link.discard();
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
