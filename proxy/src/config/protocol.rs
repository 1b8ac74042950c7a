//! How a service's instances are spoken to: `gateway.services.NAME.protocol`.

use config_reader::kind::{Kind, words};

use super::Section;
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

impl Protocol {
    /// Whether it goes with what is said of TLS. Either may have been said for all services; the mistake is what was said
    /// last.
    pub(super) fn check(self, section: &Section<'_>, is_under_tls: bool) {
        let (of_protocol, of_tls) = match (self, is_under_tls) {
            (Self::H2, false) => (
                "is h2, which is HTTP/2 under TLS, and there is no tls: set tls, or write h2c, which is HTTP/2 in clear",
                "is off, and h2, the protocol of `defaults`, is HTTP/2 under TLS: set protocol here, too",
            ),
            (Self::H2c, true) => (
                "is h2c, which is HTTP/2 in clear, and there is tls: write h2, which is HTTP/2 under TLS",
                "is set, and h2c, the protocol of `defaults`, is HTTP/2 in clear: set protocol here, too",
            ),
            _ => return,
        };
        if section.is_set("protocol") && section.is_sound("tls") {
            section.reject("protocol", of_protocol);
        } else if section.is_set("tls") && section.is_sound("protocol") {
            section.reject("tls", of_tls);
        }
    }
}
