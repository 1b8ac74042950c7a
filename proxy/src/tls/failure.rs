//! Why a client's handshake failed.

use std::fmt;

use openssl::error::Error as Reported;
use openssl::ssl::{self, ErrorCode, SslRef};
use openssl::x509::X509VerifyResult;

/// Why a client's handshake failed. The text says what the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    NoSharedVersion,
    /// Nor a group, nor a way to sign.
    NoSharedCipher,
    /// By ALPN.
    NoSharedProtocol,
    UnknownCa,
    /// What its alert says of ours.
    BadCertificateAlert(&'static str),
    NoClientCertificate,
    /// What OpenSSL minds in the client's.
    ClientCertificate(X509VerifyResult),
    NotTls,
    Closed,
    /// Whoever waits for it finds out.
    Timeout,
    /// What OpenSSL says.
    Other(String),
}

/// OpenSSL counts the alerts that have come from here; their own numbers are those of RFC 8446, 6.
const ALERTS: i32 = 1000;

impl HandshakeFailure {
    /// Of the error that a handshake has ended with.
    pub(crate) fn of(error: &ssl::Error, ssl: &SslRef) -> Self {
        let Some(stack) = error.ssl_error() else {
            // The end of the connection, or what the system says of it.
            let is_end = matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN);
            return if is_end { Self::Closed } else { Self::Other(error.to_string()) };
        };
        let known = stack.errors().iter().find_map(|reported| Self::reported(reported, ssl));
        known.unwrap_or_else(|| Self::Other(super::error::reason(stack)))
    }

    fn reported(error: &Reported, ssl: &SslRef) -> Option<Self> {
        if let Some(alert) = error.reason_code().checked_sub(ALERTS).filter(|alert| (0..256).contains(alert))
        {
            return Self::alert(alert);
        }
        Some(match error.reason()? {
            "unsupported protocol" | "no protocols available" | "version too low" => Self::NoSharedVersion,
            "no shared cipher"
            | "no suitable key share"
            | "no suitable groups"
            | "no suitable signature algorithm"
            | "no shared signature algorithms" => Self::NoSharedCipher,
            "no application protocol" => Self::NoSharedProtocol,
            "peer did not return a certificate" => Self::NoClientCertificate,
            "certificate verify failed" => Self::ClientCertificate(ssl.verify_result()),
            "http request"
            | "https proxy request"
            | "wrong version number"
            | "packet length too long"
            | "bad record type"
            | "record layer failure" => Self::NotTls,
            "unexpected eof while reading" => Self::Closed,
            _ => return None,
        })
    }

    /// What the client has ended it with.
    fn alert(alert: i32) -> Option<Self> {
        Some(match alert {
            42 => Self::BadCertificateAlert("bad certificate"),
            43 => Self::BadCertificateAlert("unsupported certificate"),
            44 => Self::BadCertificateAlert("certificate revoked"),
            45 => Self::BadCertificateAlert("certificate expired"),
            46 => Self::BadCertificateAlert("certificate unknown"),
            48 => Self::UnknownCa,
            70 => Self::NoSharedVersion,
            // "User canceled", for what is no mistake of the protocol.
            0 | 90 => Self::Closed,
            _ => return None,
        })
    }

    /// For a metric's label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoSharedVersion => "no_shared_version",
            Self::NoSharedCipher => "no_shared_cipher",
            Self::NoSharedProtocol => "no_shared_protocol",
            Self::UnknownCa => "unknown_ca",
            Self::BadCertificateAlert(_) => "bad_certificate_alert",
            Self::NoClientCertificate => "no_client_certificate",
            Self::ClientCertificate(_) => "client_certificate",
            Self::NotTls => "not_tls",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSharedVersion => f.write_str("the client speaks neither TLS 1.2 nor 1.3"),
            Self::NoSharedCipher => f.write_str("the client offers no cipher, group and signature that are used here"),
            Self::NoSharedProtocol => f.write_str("the client offers, by ALPN, only protocols that are not spoken here"),
            Self::UnknownCa => f.write_str(
                "the client does not know the authority that has signed the certificate it was shown; are those between them \
                 in its file?",
            ),
            Self::BadCertificateAlert(alert) => {
                write!(f, "the client declines the certificate that it was shown: {alert}")
            }
            Self::NoClientCertificate => f.write_str("the client has shown no certificate, and has to"),
            Self::ClientCertificate(why) => {
                write!(f, "the client has shown a certificate that is not valid here: {}", why.error_string())
            }
            Self::NotTls => f.write_str("the client has sent something that is not TLS"),
            Self::Closed => f.write_str("the client has closed the connection in its handshake"),
            Self::Timeout => f.write_str("the client has not ended its handshake in time"),
            Self::Other(why) => write!(f, "the handshake has failed: {why}"),
        }
    }
}
