//! Which configuration serves, as `/readyz` shows it.

use std::time::SystemTime;

use serde::Serialize;

use crate::site::{Rejected, Status};

/// The configuration that serves.
#[derive(Serialize)]
pub(super) struct Serving {
    revision: String,
    loaded: String,
    /// A file that was to serve since.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<NotTaken>,
}

#[derive(Serialize)]
struct NotTaken {
    /// None: it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    at: String,
    mistakes: Vec<String>,
}

impl Serving {
    pub(super) fn of(status: &Status) -> Self {
        Self {
            revision: status.revision.to_string(),
            loaded: time(status.loaded),
            rejected: status.rejected.as_ref().map(NotTaken::of),
        }
    }
}

impl NotTaken {
    fn of(Rejected { revision, at, mistakes }: &Rejected) -> Self {
        let revision = revision.as_ref().map(ToString::to_string);
        Self { revision, at: time(*at), mistakes: mistakes.clone() }
    }
}

/// RFC 3339, UTC.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
