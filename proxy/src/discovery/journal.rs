//! What the log says of registrations and their endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::contract::{Prefix, RecordError, TooMuchMetadata};
use registry::log_line::{Quota, Say};

use super::names::{News, What};
use super::rivals::Rivals;
use crate::directory::{
    Endpoint, Entry, Finding, LeftOutInstance, Transition, TransitionKind, UnknownProtocol,
};

/// Writes the lines. Whoever may register makes things happen as often as he likes, so the longer ones are bounded.
#[derive(Debug)]
pub(super) struct Journal {
    prefix: Prefix,
    hold: Duration,
    rivals: Rivals,
    left_out: Quota,
    metadata: Quota,
    protocols: Quota,
}

impl Journal {
    pub(super) fn new(prefix: Prefix, hold: Duration) -> Self {
        let (rivals, left_out, metadata, protocols) = Default::default();
        Self { prefix, hold, rivals, left_out, metadata, protocols }
    }

    pub(super) fn became(&mut self, transition: &Transition, now: Instant) {
        let Transition { kind, service, instance, before, after, revision } = transition;
        let key = self.prefix.key(service, instance);
        let (before, after) = (shown(before), shown(after));
        let (service, instance) = (&**service, &**instance);
        let message = match kind {
            TransitionKind::Renewed => {
                tracing::debug!(service, instance, revision, "endpoint renewed");
                return;
            }
            TransitionKind::TakenOver => {
                self.warn_of_rivals(transition, now);
                "endpoint put"
            }
            TransitionKind::Put => "endpoint put",
            TransitionKind::Confirmed => "endpoint confirmed",
            TransitionKind::Vanished => "endpoint suspect",
            TransitionKind::Deleted => "endpoint deleted",
            TransitionKind::Refused => "endpoint refused",
        };
        tracing::info!(service, instance, key, before, after, revision, "{message}");
    }

    fn warn_of_rivals(&mut self, transition: &Transition, now: Instant) {
        let Transition { service, instance, before, after, revision, .. } = transition;
        match self.rivals.took(service, instance, now) {
            Say::All => tracing::warn!(
                service = &**service,
                instance = &**instance,
                key = self.prefix.key(service, instance),
                before = shown(before),
                after = shown(after),
                revision,
                "another address took the key of an instance that was still registered. After a crash this is as it \
                 should be; if both processes live, give each its own instance id: only one of them gets requests"
            ),
            Say::ThatThereIsMore => tracing::warn!(
                "other addresses took the keys of more instances than are named in a minute: see the lines \
                 \"endpoint put\""
            ),
            Say::Nothing => {}
        }
    }

    pub(super) fn left_out_metadata(&mut self, transition: &Transition, why: TooMuchMetadata, now: Instant) {
        let Transition { service, instance, revision, .. } = transition;
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        match self.metadata.next(now) {
            Say::All => {
                tracing::warn!(service, instance, key, revision, %why, "the endpoint is used without its metadata");
            }
            Say::ThatThereIsMore => tracing::warn!("more endpoints are used without their metadata"),
            Say::Nothing => {}
        }
    }

    pub(super) fn unknown_protocol(&mut self, transition: &Transition, why: &UnknownProtocol, now: Instant) {
        let Transition { service, instance, revision, .. } = transition;
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        match self.protocols.next(now) {
            Say::All => tracing::warn!(
                service,
                instance,
                key,
                revision,
                %why,
                "the endpoint is used as if its metadata had no protocol"
            ),
            Say::ThatThereIsMore => {
                tracing::warn!("more endpoints are used as if their metadata had no protocol");
            }
            Say::Nothing => {}
        }
    }

    pub(super) fn left_out(&mut self, instance: &LeftOutInstance, now: Instant) {
        let LeftOutInstance { service, instance, bound, revision } = instance;
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        match self.left_out.next(now) {
            Say::All => {
                tracing::warn!(service, instance, key, revision, reason = %bound, "left out an instance");
            }
            Say::ThatThereIsMore => {
                tracing::warn!("left out more instances: leaseway_instances_left_out has their number");
            }
            Say::Nothing => {}
        }
    }

    /// An endpoint that the registry did not vouch for is gone.
    pub(super) fn dropped(&self, entry: &Entry, reason: &str) {
        let Endpoint { service, instance, address, .. } = &*entry.endpoint;
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        let (before, revision) = (address.to_string(), entry.tenure.get().revision);
        tracing::info!(service, instance, key, before, revision, reason, "endpoint dropped");
    }

    /// The configuration gives this endpoint.
    pub(super) fn given(&self, endpoint: &Endpoint) {
        let (service, instance) = (&*endpoint.service, &*endpoint.instance);
        tracing::info!(service, instance, address = endpoint.address.to_string(), "endpoint given");
    }

    /// An endpoint is gone of a service whose addresses the configuration gives.
    pub(super) fn taken_back(&self, entry: &Entry) {
        let Endpoint { service, instance, address, .. } = &*entry.endpoint;
        let (service, instance) = (&**service, &**instance);
        tracing::info!(service, instance, address = address.to_string(), "endpoint no longer given");
    }

    /// A given address is one to which nothing may go.
    pub(super) fn refused(&self, service: &str, instance: &str, reason: &RecordError) {
        tracing::warn!(
            service,
            instance,
            %reason,
            "an address that gateway.services gives is refused: nothing is sent there"
        );
    }

    /// Something is new of what a name stands for.
    pub(super) fn resolved(&self, news: &News) {
        let News { service, address, what, known } = news;
        let (service, name) = (&**service, address.to_string());
        match what {
            What::Failed(error) => tracing::warn!(
                service,
                name,
                error,
                known,
                "cannot resolve a name that gateway.services gives: what is known of it stays in use; trying again"
            ),
            What::Succeeded => tracing::info!(service, name, known, "a name is resolved again"),
            What::TooMany(found) => tracing::warn!(
                service,
                name,
                found,
                known,
                "a name that gateway.services gives stands for more addresses than are used: those are the first in their \
                 order"
            ),
        }
    }

    /// Health has found something new of an endpoint.
    pub(super) fn found(&self, endpoint: &Endpoint, finding: Finding) {
        let (service, instance) = (&*endpoint.service, &*endpoint.instance);
        let address = endpoint.address.to_string();
        match finding {
            Finding::Ejected(why) => {
                tracing::warn!(service, instance, address, reason = why.as_str(), "endpoint ejected");
            }
            Finding::Returned => tracing::info!(service, instance, address, "endpoint returned"),
            Finding::Unhealthy => tracing::warn!(service, instance, address, "endpoint unhealthy"),
            Finding::Healthy => tracing::info!(service, instance, address, "endpoint healthy"),
        }
    }

    /// The guard raises its alarm: so many are held, because so many vanished, of so many.
    pub(super) fn alarm(&self, service: &str, held: usize, vanished: usize, of: usize) {
        let hold = self.hold;
        tracing::warn!(
            service,
            held,
            vanished,
            of,
            ?hold,
            "more registrations of the service vanished than registry.guard permits, and their endpoints do not stop: \
             they are held, for so long at most, while they can be connected to"
        );
    }

    /// The guard's alarm is over.
    pub(super) fn settled(&self, service: &str, returned: usize, dropped: usize) {
        tracing::info!(service, returned, dropped, "no endpoint of the service is held any more");
    }
}

fn shown(endpoint: &Option<Arc<Endpoint>>) -> Option<String> {
    endpoint.as_ref().map(|endpoint| endpoint.address).as_ref().map(SocketAddr::to_string)
}
