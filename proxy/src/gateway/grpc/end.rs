//! How a call has ended: what the instance's answer says of that.

use http::{HeaderName, HeaderValue};

use super::kind::is_grpc;
use super::last::last_fields;
use crate::grpc::Status;

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct End {
    pub(in crate::gateway) status: Status,
    /// What is wrong with the answer itself, if something is.
    pub(in crate::gateway) fault: Option<&'static str>,
}

/// What the head of an instance's answer to a call says.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct AnswerHead<'h> {
    /// HTTP's.
    pub(in crate::gateway) status: u16,
    pub(in crate::gateway) content_type: Option<&'h [u8]>,
    pub(in crate::gateway) grpc_status: Option<&'h [u8]>,
    /// Whether nothing follows.
    pub(in crate::gateway) is_end: bool,
}

impl AnswerHead<'_> {
    /// How the call has ended, if this says it already: what is no answer of gRPC, and one that consists of trailers
    /// alone. None: its trailers will say it.
    pub(in crate::gateway) fn end(&self) -> Option<End> {
        let is_answer = self.status == 200 && self.content_type.is_some_and(is_grpc);
        match self.grpc_status {
            _ if is_answer && !self.is_end => None,
            // Where there is a status, it counts, whatever HTTP's is.
            Some(value) => Some(End::of_value(value)),
            None if is_answer => Some(End::of_trailers(None)),
            None => {
                let fault = Some("the endpoint: its answer to a gRPC call is not gRPC");
                Some(End { status: of_http(self.status), fault })
            }
        }
    }
}

impl End {
    /// Of a call that has come to this, and nothing is wrong with its answer.
    pub(in crate::gateway) fn with(status: Status) -> Self {
        Self { status, fault: None }
    }

    /// Of a call whose answer's last fields have this `grpc-status`, or none: then nobody knows how it went.
    pub(in crate::gateway) fn of_trailers(grpc_status: Option<&[u8]>) -> Self {
        let missing = "the endpoint: its answer to a gRPC call ends without grpc-status";
        grpc_status.map_or(Self { status: Status::Unknown, fault: Some(missing) }, Self::of_value)
    }

    fn of_value(value: &[u8]) -> Self {
        match Status::of_value(value) {
            Some(status) => Self::with(status),
            None => {
                let fault = Some("the endpoint: grpc-status of its answer is none that there is");
                Self { status: Status::Unknown, fault }
            }
        }
    }

    /// What stands in place of `grpc-status` and `grpc-message` in the trailers of an answer that say no status: some
    /// clients make something else of them, or nothing. None: they go on as they are.
    pub(in crate::gateway) fn instead(self) -> Option<[(HeaderName, HeaderValue); 2]> {
        self.fault.map(|fault| last_fields(self.status, fault))
    }
}

/// What a status of HTTP means for a call whose answer has no other.
pub(in crate::gateway) fn of_http(status: u16) -> Status {
    match status {
        400 => Status::Internal,
        401 => Status::Unauthenticated,
        403 => Status::PermissionDenied,
        404 => Status::Unimplemented,
        429 | 502 | 503 | 504 => Status::Unavailable,
        _ => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRPC: Option<&[u8]> = Some(b"application/grpc+proto");
    const HTML: Option<&[u8]> = Some(b"text/html");

    #[test]
    fn a_head_says_how_a_call_has_ended_if_nothing_follows_or_if_it_is_not_grpc() {
        for (status, content_type, grpc_status, is_end, expected) in [
            (200, GRPC, None, false, None),
            (200, GRPC, Some("0"), false, None),
            (200, GRPC, Some("14"), true, Some((Status::Unavailable, false))),
            (200, GRPC, Some("0"), true, Some((Status::Ok, false))),
            (200, GRPC, Some("17"), true, Some((Status::Unknown, true))),
            (200, GRPC, None, true, Some((Status::Unknown, true))),
            (400, GRPC, Some("13"), true, Some((Status::Internal, false))),
            (503, GRPC, None, false, Some((Status::Unavailable, true))),
            (404, HTML, None, false, Some((Status::Unimplemented, true))),
            (200, HTML, None, false, Some((Status::Unknown, true))),
            (200, HTML, Some("5"), false, Some((Status::NotFound, false))),
            (200, None, None, true, Some((Status::Unknown, true))),
        ] {
            let head =
                AnswerHead { status, content_type, grpc_status: grpc_status.map(str::as_bytes), is_end };
            let end = head.end().map(|end| (end.status, end.fault.is_some()));
            assert_eq!(end, expected, "{head:?}");
        }
    }

    #[test]
    fn trailers_without_a_status_that_there_is_are_of_nobody_knows_what() {
        for (value, status, is_mended) in [
            (Some("0"), Status::Ok, false),
            (Some("16"), Status::Unauthenticated, false),
            (Some("17"), Status::Unknown, true),
            (Some("OK"), Status::Unknown, true),
            (Some(""), Status::Unknown, true),
            (None, Status::Unknown, true),
        ] {
            let end = End::of_trailers(value.map(str::as_bytes));
            assert_eq!((end.status, end.fault.is_some()), (status, is_mended), "{value:?}");
            let instead = end.instead().map(|[(_, status), _]| status);
            assert_eq!(instead, is_mended.then(|| HeaderValue::from_static("2")), "{value:?}");
        }
    }

    #[test]
    fn a_status_of_http_means_what_clients_make_of_it() {
        let known = [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14)];
        for status in 100..1_000 {
            let expected = known.iter().find(|(known, _)| *known == status).map_or(2, |(_, code)| *code);
            assert_eq!(of_http(status).code(), expected, "{status}");
        }
    }
}
