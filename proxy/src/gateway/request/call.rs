//! What a request is as a call of gRPC.

use std::time::Instant;

use http::header;

use super::{GRPC_TIMEOUT, Request};
use crate::gateway::answer::Answer;
use crate::gateway::cause::Cause;
use crate::gateway::grpc::{Call, End, Form, Kind, Timeout};
use crate::grpc::Status;
use crate::head::Head;
use crate::site::Route;

impl Request {
    /// This route has taken it. That makes a call of one of gRPC-Web, if the route has such go on; and a call whose time
    /// nobody can read gets this answer.
    pub(in crate::gateway) fn is_taken_by(&mut self, route: &Route, head: &impl Head) -> Result<(), Answer> {
        if route.grpc_web && self.fields.call == Kind::Web {
            self.call = Some(Box::new(Call::new(head.values(&GRPC_TIMEOUT), true)));
        }
        // Servers say INTERNAL to it, which is what a 400 means in gRPC: that an argument is invalid, only what is called
        // says. Without its time the call would wait for longer than its client does.
        let is_readable = self.call.as_ref().is_none_or(|call| call.timeout.is_ok());
        if is_readable { Ok(()) } else { Err(Answer::BAD_TIMEOUT) }
    }

    /// It goes on as it came, and its answer comes back so: it is no call if it came as one of gRPC-Web. So it is where its
    /// instance speaks HTTP/1, which has no calls of gRPC and may have those, and where its carrier knows nothing of them.
    pub(in crate::gateway) fn goes_untranslated(&mut self) {
        self.call.take_if(|call| call.is_web);
    }

    /// Whether it is a call of gRPC: be it one of gRPC-Web that its route has go on.
    pub(in crate::gateway) fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// Whether it needs an instance that speaks HTTP/2, if nobody says otherwise.
    pub(in crate::gateway) fn is_grpc(&self) -> bool {
        self.is_call() || self.fields.call == Kind::Grpc
    }

    /// How it is written, if it is a call of gRPC-Web that goes on as gRPC. `head`: as it came from the client.
    pub(in crate::gateway) fn web_form<'h>(&self, head: &'h impl Head) -> Option<Form<'h>> {
        self.call.as_ref().filter(|call| call.is_web)?;
        head.value(&header::CONTENT_TYPE).and_then(Form::of)
    }

    /// What is known of how the call has ended, of which its endpoint was told before.
    pub(in crate::gateway) fn call_came_to(&mut self, end: End) {
        if let Some(call) = &mut self.call {
            call.end = Some(end);
        }
    }

    /// The trailers of the answer are here, or it has ended without them: the call has ended so.
    pub(in crate::gateway) fn call_ended(&mut self, end: End, now: Instant) {
        self.call_came_to(end);
        if let Some(attempt) = self.attempt_mut() {
            attempt.ended_call(end.status, now);
        }
    }

    /// How the call has ended whose client got this status of HTTP, or left before it did (0).
    pub(in crate::gateway) fn grpc_status(&self, status: u16) -> Status {
        let is_clients = || self.failures().last().is_some_and(|failed| failed.cause == Cause::Client);
        match self.call_end() {
            Some(end) => end.status,
            None if status == 0 || is_clients() => Status::Cancelled,
            None => Status::Unknown,
        }
    }

    /// How the call has ended, as far as that is known.
    pub(in crate::gateway) fn call_end(&self) -> Option<End> {
        self.call.as_ref()?.end
    }

    /// What is wrong with the answer to the call, if something is.
    pub(in crate::gateway) fn call_fault(&self) -> Option<&'static str> {
        self.call_end()?.fault
    }

    /// What the instance is told of the call's time: what is left of it. None: its client has said nothing of it.
    pub(in crate::gateway) fn call_timeout(&self, now: Instant) -> Option<String> {
        self.call.as_ref()?.time()?;
        self.left(now).map(|left| Timeout(left).value())
    }
}
