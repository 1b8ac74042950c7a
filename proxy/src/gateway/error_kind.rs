//! The kinds of errors that the gateway answers with itself.

/// The kind of an error: those of RFC 9209, section 2.3, that a gateway meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request is not valid, or did not come whole.
    HttpRequestError,
    /// Nothing is configured that it could be sent to.
    DestinationNotFound,
    /// There is nobody to send it to at the moment.
    DestinationUnavailable,
    ConnectionRefused,
    ConnectionTimeout,
    ConnectionTerminated,
    ConnectionReadTimeout,
    /// As many requests are in flight as may be.
    ConnectionLimitReached,
    /// The endpoint's certificate is not trusted.
    TlsCertificateError,
    TlsProtocolError,
    /// The endpoint has declined the handshake, or our certificate.
    TlsAlertReceived,
    HttpProtocolError,
    /// The whole answer has not come in time.
    HttpResponseTimeout,
    ProxyInternalError,
    ProxyLoopDetected,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HttpRequestError => "http_request_error",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::HttpProtocolError => "http_protocol_error",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }
}
