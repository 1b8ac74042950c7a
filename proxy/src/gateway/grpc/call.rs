//! What a call is of, and what it carries along.

use super::end::End;
use super::timeout::{Malformed, Timeout};

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
    /// How long it may take, if its client says that.
    pub(in crate::gateway) fn time(&self) -> Option<Timeout> {
        self.timeout.ok().flatten()
    }

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
