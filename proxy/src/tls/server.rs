//! What a listener's handshakes go by.

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod};

use super::TlsError;
use crate::config::ListenerTls;

/// What a listener's handshakes go by.
pub(crate) struct ServerTls {
    acceptor: SslAcceptor,
}

impl ServerTls {
    /// `http2`: whether ALPN offers it.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn new(config: &ListenerTls, _http2: bool) -> Result<Self, TlsError> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        if let Some(first) = config.certificates.first() {
            builder.set_certificate_chain_file(&first.cert)?;
            builder.set_private_key_file(&first.key, SslFiletype::PEM)?;
        }
        Ok(Self { acceptor: builder.build() })
    }

    /// One more handshake, as things are now.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn accept(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(self.acceptor.context())
    }
}
