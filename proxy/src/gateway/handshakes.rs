//! Tells of instances that cannot be spoken to under TLS: once a minute for each kind of failure, however many requests see
//! it. Each is in the access log in any case.

use std::time::Instant;

use super::cause::Ending;
use super::request::Request;

/// The request's attempt has ended so, for this reason.
pub(super) fn tell(request: &Request, ending: Ending, why: &str, now: Instant) {
    if !matches!(ending, Ending::Handshake(_) | Ending::Alerted) {
        return;
    }
    let Some(attempt) = request.attempt() else { return };
    let tls = attempt.way.target.tls.as_ref();
    if tls.is_some_and(|tls| tls.is_to_be_told(why, now)) {
        let endpoint = &attempt.endpoint;
        let (service, instance, address) = (&*endpoint.service, &*endpoint.instance, endpoint.address);
        tracing::warn!(service, instance, %address, error = why, "cannot speak TLS with an instance");
    }
}
