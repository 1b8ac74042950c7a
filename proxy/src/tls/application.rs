//! What is spoken under TLS.

use openssl::error::ErrorStack;
use openssl::ssl::SslRef;

/// HTTP/2's name (RFC 9113, 3.2).
const H2: &[u8] = b"h2";
/// A list of it alone, as ALPN has it (RFC 7301, 3.1).
const ONLY_H2: &[u8] = b"\x02h2";

/// What is spoken with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Application {
    /// HTTP/1, of which nothing is said: any server speaks it who is not asked.
    Http1,
    /// HTTP/2, on which both sides have to agree.
    Http2,
}

impl Application {
    pub(super) fn put_into(self, connection: &mut SslRef) -> Result<(), ErrorStack> {
        match self {
            Self::Http1 => Ok(()),
            Self::Http2 => connection.set_alpn_protos(ONLY_H2),
        }
    }

    /// Whether it is what the handshake has come to.
    pub(super) fn is_agreed(self, connection: &SslRef) -> bool {
        self == Self::Http1 || connection.selected_alpn_protocol() == Some(H2)
    }
}
