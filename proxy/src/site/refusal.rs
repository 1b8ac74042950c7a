//! Why a configuration was not taken by a running process.

use std::error::Error;

use super::DraftError;
use super::replacement::ReplaceError;
use crate::config::ConfigError;

/// Why a configuration was not taken. Nothing of it is in use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The file cannot be read, or has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It changes what a running process cannot take over.
    #[error("{}: needs an upgrade (-u) or a restart: a running gateway cannot change it", .0.join(", "))]
    Fixed(Vec<String>),
    /// It makes no site.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

impl Refusal {
    /// Whether the same configuration may be taken later on: when a file that it names is there, or well.
    pub(super) fn may_pass(&self) -> bool {
        use ReplaceError::{Draft, Hangs};
        let Self::Replace(error) = self else { return false };
        matches!(error, Hangs | Draft(DraftError::Listener(_) | DraftError::Tls(..)))
    }

    /// Each mistake by itself.
    pub(super) fn mistakes(&self) -> Vec<String> {
        match self {
            Self::Config(ConfigError::Invalid(problems)) => {
                problems.iter().map(ToString::to_string).collect()
            }
            other => vec![with_causes(other)],
        }
    }
}

/// What anyhow prints where there is a person to read it.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
