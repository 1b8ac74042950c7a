//! What an instance gets of a request.

use std::time::Instant;

use http::{HeaderName, HeaderValue, header};

use super::{Facts, FieldsToSend, change, said, via};
use crate::forged;
use crate::gateway::request::Request;
use crate::head::Head;
use crate::site::FieldChange;

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What becomes of a request on its way to the instance of its attempt. What is not named here goes on as it came, but
/// for what concerns one connection: that is the carrier's.
#[derive(Debug)]
pub(in crate::gateway) struct RequestEdits<'e, H> {
    request: &'e Request,
    head: &'e H,
    now: Instant,
}

impl<'e, H: Head> RequestEdits<'e, H> {
    /// `head`: as it came from the client.
    pub(in crate::gateway) fn of(request: &'e Request, head: &'e H, now: Instant) -> Self {
        Self { request, head, now }
    }

    /// The path and the query in place of the client's target; none: that stays.
    pub(in crate::gateway) fn target(&self) -> Option<&'e [u8]> {
        self.request.new_target()
    }

    /// The host in place of the one that the client asks for; none: that stays.
    pub(in crate::gateway) fn host(&self) -> Option<HeaderValue> {
        if let Some(host) = self.request.route().and_then(|route| route.changes.host.as_ref()) {
            return Some(host.clone());
        }
        if self.request.fields.host || self.head.authority().is_some() {
            return None;
        }
        // From an HTTP/1.0 client; the endpoint is spoken to in HTTP/1.1, which requires it.
        let endpoint = &self.request.attempt()?.endpoint;
        HeaderValue::try_from(endpoint.address.to_string()).ok()
    }

    /// What the client may not say is left out first; then comes the route; and last what the gateway itself says, which
    /// no route changes.
    pub(in crate::gateway) fn apply<F: FieldsToSend>(&self, fields: &mut F) -> Result<(), F::Error> {
        self.leave_out(fields);
        if let Some(route) = self.request.route() {
            self.leave_out_other_spellings(fields, &route.changes.request);
            change(fields, &route.changes.request, || Facts::of(self.request, self.head))?;
        }
        self.say(fields)
    }

    fn leave_out(&self, fields: &mut impl FieldsToSend) {
        let found = self.request.fields;
        if found.forged {
            let trace_header = &self.request.common.trace_header;
            let names = self.head.fields().map(|(name, _)| name);
            names.filter(|name| forged::is_forged(name, trace_header)).for_each(|name| fields.remove(name));
        }
        // Where something is of one connection, the carrier has seen to it: what stands there now is the carrier's own.
        if found.stays_or_closes && !found.are_hop_by_hop() {
            fields.remove(header::CONNECTION.as_str());
        }
        if found.tracestate && !self.request.trace.continued {
            fields.remove(TRACESTATE.as_str());
        }
    }

    /// What a route removes or sets, an instance may know by another name, too: see [`forged`].
    fn leave_out_other_spellings(&self, fields: &mut impl FieldsToSend, changes: &[FieldChange]) {
        let known = || {
            changes.iter().filter_map(|change| match change {
                FieldChange::Remove(name) => Some(name.as_str().as_bytes()),
                FieldChange::Set(name, _) => Some(&**name),
                FieldChange::Add(..) => None,
            })
        };
        if known().next().is_none() {
            return;
        }
        for (name, _) in self.head.fields() {
            if known().any(|known| forged::is_other_spelling(name.as_bytes(), known)) {
                fields.remove(name);
            }
        }
    }

    /// The trace and the gateway's marks; and who asked, for what.
    fn say<F: FieldsToSend>(&self, fields: &mut F) -> Result<(), F::Error> {
        let Request { common, trace, hops, origin, client, .. } = self.request;
        let list = origin.list().map_or(client.as_bytes(), HeaderValue::as_bytes);
        fields.set(&common.trace_header, trace.id_bytes())?;
        fields.set(&said("traceparent"), trace.traceparent())?;
        fields.set(&said("CDN-Loop"), hops.marker())?;
        fields.set(&said("X-Forwarded-For"), list)?;
        fields.set(&said("X-Forwarded-Proto"), origin.scheme.as_str().as_bytes())?;
        if let Some(host) = self.request.asked_host(self.head) {
            fields.set(&said("X-Forwarded-Host"), host)?;
        }
        if let Some(forwarded) = origin.forwarded() {
            fields.set(&said("Forwarded"), forwarded.as_bytes())?;
        }
        if let Some(certificates) = origin.certificates() {
            fields.set(&said("X-Forwarded-Client-Cert"), certificates.as_bytes())?;
        }
        if let Some(left) = self.request.call_timeout(self.now) {
            fields.set(&said("grpc-timeout"), left.as_bytes())?;
        }
        if let Some(form) = self.request.web_form(self.head) {
            fields.set(&said("Content-Type"), form.of_call().as_bytes())?;
        }
        if common.via {
            fields.add(&said("Via"), via(self.head.version()))?;
        }
        Ok(())
    }
}
