//! How a service's instances are spoken to: `gateway.services.NAME.protocol`.

use config_reader::kind::{Kind, words};

use super::machine::Need;

/// How a service's instances are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    /// As their registrations say; where they say nothing, by HTTP/2 for gRPC and by HTTP/1 for all else.
    #[default]
    Auto,
    /// By HTTP/1, in clear or under TLS.
    Http1,
    /// By HTTP/2 in clear, which begins without a question (RFC 9113, section 3.3).
    H2c,
    /// By HTTP/2 under TLS.
    H2,
}

pub(super) fn protocol() -> impl Kind<Need, Value = Protocol> {
    words([
        ("auto", Protocol::Auto),
        ("http1", Protocol::Http1),
        ("h2c", Protocol::H2c),
        ("h2", Protocol::H2),
    ])
}
