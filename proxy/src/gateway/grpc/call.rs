//! Which requests are calls, and of what.

use http::Method;

use super::end::End;
use super::timeout::{Malformed, Timeout};

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

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Name<'p> {
    /// With its package.
    pub(in crate::gateway) service: &'p str,
    pub(in crate::gateway) method: &'p str,
}

impl<'p> Name<'p> {
    /// Of `/package.Service/Method`. None: the path is none of a call.
    pub(in crate::gateway) fn of(path: &'p str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let is_whole = !service.is_empty() && !method.is_empty() && !method.contains('/');
        is_whole.then_some(Self { service, method })
    }
}

/// What a request that is a call carries along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Call {
    /// How long it may take, if its client says that.
    pub(in crate::gateway) timeout: Result<Option<Timeout>, Malformed>,
    /// How it has ended, once that is known.
    pub(in crate::gateway) end: Option<End>,
    /// Whether it came as gRPC-Web.
    pub(in crate::gateway) is_web: bool,
}

impl Call {
    /// A call whose `grpc-timeout` has these values. It may have one.
    pub(in crate::gateway) fn new<'v>(mut timeouts: impl Iterator<Item = &'v [u8]>, is_web: bool) -> Self {
        let timeout = match (timeouts.next(), timeouts.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Timeout::of_value(value).map(Some),
            (Some(_), Some(_)) => Err(Malformed),
        };
        Self { timeout, end: None, is_web }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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

    #[test]
    fn a_path_names_a_service_and_a_method() {
        let name = Name { service: "shop.v1.Goods", method: "List" };
        assert_eq!(Name::of("/shop.v1.Goods/List"), Some(name));
        for path in ["/", "/goods", "/goods/", "//List", "/a/b/c", "a/b", ""] {
            assert_eq!(Name::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_call_has_one_time_or_none() {
        let timeout = |values: &[&'static [u8]]| Call::new(values.iter().copied(), false).timeout;
        assert_eq!(timeout(&[]), Ok(None));
        assert_eq!(timeout(&[b"2S"]), Ok(Some(Timeout(Duration::from_secs(2)))));
        assert_eq!(timeout(&[b"123456789S"]), Err(Malformed));
        assert_eq!(timeout(&[b"2S", b"2S"]), Err(Malformed));
    }
}
