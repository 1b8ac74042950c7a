//! What a client gets of an answer.

use http::{StatusCode, Version};

use super::{Facts, FieldsToSend, change, said, via};
use crate::gateway::grammar::is_interim;
use crate::gateway::request::Request;
use crate::gateway::sticky;
use crate::head::Head;

/// What becomes of an answer on its way to the client, be it an instance's or the gateway's own.
#[derive(Debug)]
pub(in crate::gateway) struct AnswerEdits<'e, H> {
    request: &'e Request,
    head: &'e H,
    status: StatusCode,
    /// In which an instance's came.
    version: Option<Version>,
}

impl<'e, H: Head> AnswerEdits<'e, H> {
    /// Of an instance's answer. `head`: the request's, as it came from the client.
    pub(in crate::gateway) fn of_instance(
        request: &'e Request,
        head: &'e H,
        status: StatusCode,
        version: Version,
    ) -> Self {
        Self { request, head, status, version: Some(version) }
    }

    /// Of the gateway's own. `head`: the request's.
    pub(in crate::gateway) fn of_gateway(request: &'e Request, head: &'e H, status: StatusCode) -> Self {
        Self { request, head, status, version: None }
    }

    /// First comes the route; and last what the gateway itself says, which no route changes.
    pub(in crate::gateway) fn apply<F: FieldsToSend>(&self, fields: &mut F) -> Result<(), F::Error> {
        if let Some(route) = self.request.route().filter(|_| self.is_final()) {
            change(fields, &route.changes.response, || Facts::of(self.request, self.head))?;
        }
        if self.is_of_instance()
            && let Some(cookie) = sticky::cookie(self.request)
        {
            fields.add(&said("Set-Cookie"), cookie.as_bytes())?;
        }
        let common = &self.request.common;
        if let Some(version) = self.version.filter(|_| common.via) {
            fields.add(&said("Via"), via(version))?;
        }
        fields.set(&common.trace_header, self.request.trace.id_bytes())
    }

    /// Whether it is an answer by which a client may come to an instance again.
    fn is_of_instance(&self) -> bool {
        self.version.is_some() && self.is_final()
    }

    /// What goes before an answer (1xx) is none.
    fn is_final(&self) -> bool {
        !is_interim(self.status.as_u16())
    }
}
