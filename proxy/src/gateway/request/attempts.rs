//! A request's attempts, one after the other.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Progress, Request};
use crate::config::ATTEMPTS;
use crate::directory::Endpoint;
use crate::gateway::attempt::{Attempt, Chosen};
use crate::gateway::cause::{Cause, Ending};
use crate::gateway::retry::{self, Reach, Replay, Tries};
use crate::site::Way;
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{Interrupt, Wait};

/// The attempts of a request.
#[derive(Debug)]
pub(super) struct Attempts {
    /// The current one, or the last one.
    pub(super) current: Attempt,
    begun: u8,
    /// Those that failed, in order.
    failed: Vec<FailedAttempt>,
    /// The endpoints that are not chosen again, by id.
    tried: Tried,
    /// The request's place among the service's, until the service is done with it.
    permit: Option<Permit>,
    /// The endpoint at which its client was before, if that was well when the request was let in.
    home: Option<Arc<Endpoint>>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(in crate::gateway) struct FailedAttempt {
    pub(in crate::gateway) endpoint: Arc<Endpoint>,
    pub(in crate::gateway) cause: Cause,
}

/// Endpoints that are not chosen again, by id: as many as there can be attempts.
#[derive(Debug, Default)]
struct Tried {
    ids: [u64; ATTEMPTS],
    count: usize,
}

impl Tried {
    fn add(&mut self, id: u64) {
        if let Some(slot) = self.ids.get_mut(self.count) {
            *slot = id;
            self.count += 1;
        }
    }

    fn forget_last(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    fn ids(&self) -> &[u64] {
        self.ids.get(..self.count).unwrap_or_default()
    }
}

impl Attempts {
    /// Notes that the current attempt has failed.
    pub(super) fn note(&mut self, cause: Cause) {
        let endpoint = self.current.endpoint.clone();
        if cause != Cause::Client {
            self.tried.add(endpoint.id);
        }
        self.failed.push(FailedAttempt { endpoint, cause });
    }
}

impl Request {
    /// It is let in on this way, and this is the endpoint of its first attempt. `permit` is its place among the
    /// service's requests.
    pub(in crate::gateway) fn admitted(&mut self, way: Way, chosen: Chosen, permit: Permit, now: Instant) {
        self.progress = Progress::Attempting(Attempts {
            current: Attempt::new(chosen, way, now),
            begun: 0,
            failed: Vec::new(),
            tried: Tried::default(),
            permit: Some(permit),
            home: None,
        });
    }

    /// Its client was at this endpoint before, which was well when the request was let in.
    pub(in crate::gateway) fn has_home(&mut self, endpoint: Arc<Endpoint>) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.home = Some(endpoint);
        }
    }

    /// Begins the attempt that was chosen. None: there is none to begin.
    pub(in crate::gateway) fn begin_attempt(&mut self) -> Option<&Attempt> {
        let attempts = self.attempts_mut()?;
        if !attempts.current.begin() {
            return None;
        }
        attempts.begun = attempts.begun.saturating_add(1);
        Some(&attempts.current)
    }

    /// The current attempt has a connection; `interrupt` is how it is broken off while it waits.
    /// `since`: when the request was sent whole; none: it is still being sent.
    pub(in crate::gateway) fn connected(
        &mut self,
        reused: bool,
        interrupt: Interrupt,
        since: Option<Instant>,
        replay: Replay,
        now: Instant,
    ) {
        let wait = self.waits(since, replay, now);
        if let Some(attempt) = self.attempt_mut() {
            attempt.connected(reused, interrupt, wait);
        }
    }

    /// It was sent whole.
    pub(in crate::gateway) fn sent(&mut self, replay: Replay, now: Instant) {
        let is_upload = self.attempt().is_some_and(Attempt::is_upload);
        let wait = is_upload.then(|| self.waits(Some(now), replay, now));
        if let Some(attempt) = self.attempt_mut() {
            attempt.sent(wait, now);
        }
    }

    /// The current attempt came to such an end; unless the client was to blame, its endpoint is not chosen again for
    /// this request. Says why, and how far it had come. None: there is no attempt.
    pub(in crate::gateway) fn failed(
        &mut self,
        ending: Ending,
        error: Cow<'static, str>,
        now: Instant,
    ) -> Option<(Cause, Reach)> {
        let is_over = self.is_over(now);
        let attempts = self.attempts_mut()?;
        let (cause, reach) = attempts.current.failed(ending, is_over, now);
        attempts.note(cause);
        self.error = Some(error);
        Some((cause, reach))
    }

    /// The current attempt was answered with a status that is tried elsewhere. Its answer may be used yet.
    pub(in crate::gateway) fn answered_with_failure(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.note(Cause::Status);
        }
    }

    /// That answer is used.
    pub(in crate::gateway) fn keep_answer(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.tried.forget_last();
            attempts.failed.pop();
        }
    }

    /// Another attempt follows one that was answered with such a status.
    pub(in crate::gateway) fn died_of(&mut self, error: String) {
        self.error = Some(Cow::Owned(error));
    }

    /// The next attempt is to be on this endpoint.
    pub(in crate::gateway) fn goes_to(&mut self, chosen: Chosen, on_new_connection: bool, now: Instant) {
        if let Some(attempts) = self.attempts_mut() {
            let way = attempts.current.way.clone();
            attempts.current = Attempt::new(chosen, way, now);
            attempts.current.on_new_connection = on_new_connection;
        }
    }

    /// The endpoint of the attempt that failed may be chosen again after all.
    pub(in crate::gateway) fn forgive(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.tried.forget_last();
        }
    }

    /// An answer of the gateway's own begins to be sent: the service is done with the request, however long its client
    /// takes.
    pub(in crate::gateway) fn leaves_service(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.permit = None;
        }
    }

    /// The current attempt, or the last one.
    pub(in crate::gateway) fn attempt(&self) -> Option<&Attempt> {
        self.attempts().map(|attempts| &attempts.current)
    }

    pub(in crate::gateway) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        self.attempts_mut().map(|attempts| &mut attempts.current)
    }

    pub(in crate::gateway) fn home(&self) -> Option<&Arc<Endpoint>> {
        self.attempts()?.home.as_ref()
    }

    /// The endpoints that are not chosen again.
    pub(in crate::gateway) fn tried(&self) -> &[u64] {
        self.attempts().map(|attempts| attempts.tried.ids()).unwrap_or_default()
    }

    /// What bounds its attempts.
    pub(in crate::gateway) fn tries(&self, now: Instant) -> Tries {
        Tries {
            begun: self.attempts_begun().into(),
            permitted: self.route().map_or(0, |route| route.retry.attempts),
            is_over: self.is_over(now),
        }
    }

    /// How it waits for the head of its answer if it was sent whole at this time; none: it is still being sent.
    pub(super) fn waits(&self, since: Option<Instant>, replay: Replay, now: Instant) -> Wait {
        let patience = self.route().map_or(Duration::MAX, |route| route.timeouts.first_byte);
        let patience = self.left(now).map_or(patience, |left| patience.min(left));
        let asked = self.tried().len() + 1;
        let has_another =
            || self.target().is_some_and(|target| target.service.endpoints().entries().len() > asked);
        let repeatable = since.is_some() && retry::may_move(replay, self.tries(now), has_another);
        Wait { since, patience, repeatable }
    }

    /// Whether the last failed attempt was broken off because nothing came.
    pub(in crate::gateway) fn was_silent(&self) -> bool {
        let last = self.failures().last();
        last.is_some_and(|failed| matches!(failed.cause, Cause::FirstByte | Cause::Stalled))
    }

    pub(in crate::gateway) fn attempts_begun(&self) -> u8 {
        self.attempts().map_or(0, |attempts| attempts.begun)
    }

    /// The attempts that failed, in order.
    pub(in crate::gateway) fn failures(&self) -> &[FailedAttempt] {
        self.attempts().map(|attempts| &attempts.failed[..]).unwrap_or_default()
    }

    pub(super) fn attempts(&self) -> Option<&Attempts> {
        match &self.progress {
            Progress::Attempting(attempts) => Some(attempts),
            Progress::Begun | Progress::Declined(..) | Progress::Elsewhere(..) => None,
        }
    }

    pub(super) fn attempts_mut(&mut self) -> Option<&mut Attempts> {
        match &mut self.progress {
            Progress::Attempting(attempts) => Some(attempts),
            Progress::Begun | Progress::Declined(..) | Progress::Elsewhere(..) => None,
        }
    }
}
