//! Which requests are calls.

use http::Method;

const GRPC: &[u8] = b"application/grpc";
const GRPC_WEB: &[u8] = b"application/grpc-web";

/// Which kind of call a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// None.
    #[default]
    None,
    /// A call of gRPC.
    Grpc,
    /// One of gRPC-Web: a call on routes that have it go on as gRPC.
    Web,
}

impl Kind {
    /// Of a request with this `Content-Type`.
    pub(crate) fn of(method: &Method, content_type: &[u8]) -> Self {
        match method {
            _ if *method != Method::POST => Self::None,
            _ if is_grpc(content_type) => Self::Grpc,
            _ if is_web(content_type) => Self::Web,
            _ => Self::None,
        }
    }
}

/// Whether a `Content-Type` is gRPC's, whatever the messages are written in.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    after(content_type, GRPC).is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn is_web(content_type: &[u8]) -> bool {
    after(content_type, GRPC_WEB)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'-')))
}

/// What follows a type of media, whose letters may be large or small.
pub(super) fn after<'t>(content_type: &'t [u8], media: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = content_type.split_at_checked(media.len())?;
    start.eq_ignore_ascii_case(media).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_post_of_grpcs_type() {
        for (content_type, expected) in [
            ("application/grpc", Kind::Grpc),
            ("Application/gRPC+proto", Kind::Grpc),
            ("application/grpc;charset=utf-8", Kind::Grpc),
            ("application/grpc ; a=b", Kind::Grpc),
            ("application/grpc-web", Kind::Web),
            ("application/grpc-web+proto", Kind::Web),
            ("application/grpc-web-text+proto", Kind::Web),
            ("application/grpcx", Kind::None),
            ("application/grpc-website", Kind::None),
            ("application/grp", Kind::None),
            ("application/json", Kind::None),
            ("", Kind::None),
        ] {
            assert_eq!(Kind::of(&Method::POST, content_type.as_bytes()), expected, "{content_type}");
            assert_eq!(Kind::of(&Method::GET, content_type.as_bytes()), Kind::None);
        }
    }
}
