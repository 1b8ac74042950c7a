//! Which configuration serves, and what became of the last one that was to: for whoever asks `/readyz`.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::Revision;

/// Of a rejected file so many mistakes are kept to be shown; the log has all of them.
const KEPT: usize = 20;

/// Which configuration serves, and whether another one was rejected since.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// The file that serves.
    pub(crate) revision: Revision,
    /// Since when.
    pub(crate) loaded: SystemTime,
    /// The file that is there, but was rejected.
    pub(crate) rejected: Option<Rejected>,
}

/// A file that was rejected.
#[derive(Debug, Clone)]
pub(crate) struct Rejected {
    /// None: it could not be read.
    pub(crate) revision: Option<Revision>,
    pub(crate) at: SystemTime,
    /// Its mistakes, the first of them if there are very many.
    pub(crate) mistakes: Vec<String>,
}

impl Rejected {
    pub(crate) fn new(revision: Option<Revision>, at: SystemTime, mistakes: &[String]) -> Self {
        let mut kept: Vec<_> = mistakes.iter().take(KEPT).cloned().collect();
        if let Some(more) = mistakes.len().checked_sub(KEPT).filter(|more| *more > 0) {
            kept.push(format!("... and {more} more: see the log"));
        }
        Self { revision, at, mistakes: kept }
    }
}

/// The status as it is now.
#[derive(Debug, Clone)]
pub(crate) struct StatusCell(Arc<ArcSwap<Status>>);

impl StatusCell {
    /// Of a start by this file.
    pub(crate) fn new(revision: Revision, loaded: SystemTime) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Status { revision, loaded, rejected: None })))
    }

    pub(crate) fn get(&self) -> Arc<Status> {
        self.0.load_full()
    }

    /// This file serves now.
    pub(super) fn applied(&self, revision: Revision, loaded: SystemTime) {
        self.0.store(Arc::new(Status { revision, loaded, rejected: None }));
    }

    /// The file says again what serves.
    pub(super) fn confirmed(&self) {
        self.0.rcu(|status| Status { rejected: None, ..Status::clone(status) });
    }

    /// What served goes on.
    pub(crate) fn rejected(&self, rejected: Rejected) {
        self.0.rcu(|status| Status { rejected: Some(rejected.clone()), ..Status::clone(status) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_file_is_shown_beside_the_one_that_serves_until_another_is_applied() {
        let at = SystemTime::UNIX_EPOCH;
        let status = StatusCell::new(Revision::of(b"a"), at);
        status.rejected(Rejected::new(Some(Revision::of(b"b")), at, &["line 3".to_owned()]));
        assert_eq!(status.get().revision, Revision::of(b"a"));
        assert_eq!(status.get().rejected.as_ref().unwrap().mistakes, ["line 3"]);
        status.applied(Revision::of(b"c"), at);
        assert_eq!(status.get().revision, Revision::of(b"c"));
        assert!(status.get().rejected.is_none());
    }

    #[test]
    fn of_very_many_mistakes_the_first_are_shown() {
        let mistakes: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
        let rejected = Rejected::new(None, SystemTime::UNIX_EPOCH, &mistakes);
        assert_eq!(rejected.mistakes.len(), KEPT + 1);
        assert_eq!(rejected.mistakes[KEPT], "... and 980 more: see the log");
    }
}
