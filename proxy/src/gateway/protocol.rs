//! Which version of HTTP an attempt is made in.

use crate::{config, directory};

/// A version of HTTP that an instance is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    /// In clear it begins without a question; under TLS both sides agree on it (ALPN).
    Http2,
}

impl Speaks {
    /// What is said of the service decides, then what the instance's registration says. Where nothing is said, calls of
    /// gRPC go by HTTP/2, without which they do not work, and all else by HTTP/1, which any server speaks.
    pub(super) fn by(
        service: config::Protocol,
        registered: Option<directory::Protocol>,
        is_grpc: bool,
    ) -> Self {
        use directory::Protocol::{Grpc, H2, H2c, Http1};
        match (service, registered) {
            (config::Protocol::Http1, _) => Self::Http1,
            (config::Protocol::H2c | config::Protocol::H2, _) => Self::Http2,
            (config::Protocol::Auto, Some(Http1)) => Self::Http1,
            (config::Protocol::Auto, Some(H2c | H2 | Grpc)) => Self::Http2,
            (config::Protocol::Auto, None) if is_grpc => Self::Http2,
            (config::Protocol::Auto, None) => Self::Http1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Protocol as Configured;
    use directory::Protocol as Registered;

    const REGISTERED: [Option<Registered>; 5] =
        [None, Some(Registered::Http1), Some(Registered::H2c), Some(Registered::H2), Some(Registered::Grpc)];

    /// For each that [`REGISTERED`] has: what a request speaks, and what a call of gRPC does.
    fn spoken(configured: Configured) -> [(Speaks, Speaks); 5] {
        REGISTERED.map(|registered| {
            (Speaks::by(configured, registered, false), Speaks::by(configured, registered, true))
        })
    }

    #[test]
    fn what_is_said_of_the_service_holds_whatever_its_instances_say_and_whoever_asks() {
        use Speaks::{Http1, Http2};
        assert_eq!(spoken(Configured::Http1), [(Http1, Http1); 5]);
        assert_eq!(spoken(Configured::H2c), [(Http2, Http2); 5]);
        assert_eq!(spoken(Configured::H2), [(Http2, Http2); 5]);
    }

    #[test]
    fn where_nothing_is_said_of_the_service_its_instances_say_it_and_else_what_is_asked() {
        use Speaks::{Http1, Http2};
        let http2 = (Http2, Http2);
        assert_eq!(spoken(Configured::Auto), [(Http1, Http2), (Http1, Http1), http2, http2, http2]);
    }
}
