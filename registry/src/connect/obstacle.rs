//! What stands between us and the registry, and what a person has to do about it.
//!
//! HTTP, HTTP/2 and TLS say in their own words, and in several layers, that a connection did not come about:
//! "operation was canceled" is a missing certificate. The texts that are looked for are those of the system,
//! of OpenSSL (`X509_verify_cert_error_string`, the reasons in `ssl_err.c`), of hyper and of tonic.

use std::path::{Path, PathBuf};

/// Why the registry could not be talked to. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The system refused the connection.
    #[error("nothing listens there (connection refused): start the registry, or correct host and port")]
    NobodyListens,
    /// The name cannot be resolved.
    #[error("this host name has no address: correct it, or the name server that does not know it")]
    NoSuchHost,
    /// No answer to the attempt to connect.
    #[error("this host cannot be reached: correct host and port, or let the firewalls between pass it")]
    Unreachable,
    /// No TLS where TLS was expected.
    #[error(
        "the server ended the TLS handshake at its start, as one does that speaks no TLS: write http:// in the \
         place of https:// if this registry is not encrypted"
    )]
    NoTls,
    /// The registry's certificate was signed by somebody whom we do not know.
    #[error(
        "the server's certificate was signed by an authority that is not trusted here: name the authority's \
         certificate as `ca`"
    )]
    UnknownAuthority,
    /// The registry's certificate is for other names.
    #[error(
        "the server's certificate was made for other names than this one: write a name that it has in the \
         endpoint's URL, or make it anew with this one"
    )]
    OtherName,
    /// The registry's certificate has expired.
    #[error("the server's certificate has expired: renew it, or correct this machine's clock")]
    Expired,
    /// The registry's certificate is not valid yet.
    #[error("the server's certificate is not valid yet: correct this machine's clock")]
    NotYetValid,
    /// TLS failed in another way.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection broke before an answer, and we had shown no certificate. With TLS 1.3 a server refuses a
    /// client after the handshake, and its reason is lost on the way through the HTTP/2 client.
    #[error(
        "the server closed the encrypted connection before it answered: it probably demands a certificate of \
         its clients, so name one as `cert`, with its `key`"
    )]
    CertificateMissing,
    /// The connection broke before an answer, and we had shown a certificate.
    #[error(
        "the server closed the encrypted connection before it answered: it probably does not accept our \
         certificate {}, so take one that was signed by the authority that the server trusts", .0.display()
    )]
    CertificateRefused(PathBuf),
    /// The connection broke before an answer, and it was not encrypted.
    #[error(
        "the server closed the connection without an answer in etcd's protocol: write https:// in the place of \
         http:// if this registry is encrypted, or else correct host and port, which may be another server's"
    )]
    NoAnswer,
    /// The answer came from something that is no etcd.
    #[error("the server there is not etcd, or something between answers for it ({0}): correct host and port")]
    NotEtcd(String),
}

/// A connection on which something failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempted<'a> {
    /// Whether the endpoint is `https://`.
    pub encrypted: bool,
    /// The certificate that was shown.
    pub certificate: Option<&'a Path>,
    /// Whether the registry had answered on it before: then it is etcd, and merely broke.
    pub answered: bool,
}

impl Obstacle {
    /// The obstacle that the texts of an error and of its causes show. `words`: the innermost of them.
    pub(super) fn find(texts: &[String], words: &str, attempted: Attempted<'_>) -> Option<Self> {
        let says = |known: &[&str]| texts.iter().any(|text| known.iter().any(|known| text.contains(known)));
        if says(&["onnection refused"]) {
            return Some(Self::NobodyListens);
        }
        if says(&["dns error"]) {
            return Some(Self::NoSuchHost);
        }
        if says(&["timed out", "deadline has elapsed", "No route to host", "etwork is unreachable"]) {
            return Some(Self::Unreachable);
        }
        if says(&["grpc-status header missing"]) {
            return Some(Self::NotEtcd(words.to_owned()));
        }
        if attempted.answered {
            return None;
        }
        if attempted.encrypted {
            Self::of_tls(says, words, attempted.certificate)
        } else {
            Some(Self::NoAnswer)
        }
    }

    fn of_tls(says: impl Fn(&[&str]) -> bool, words: &str, certificate: Option<&Path>) -> Option<Self> {
        Some(if says(&["unexpected EOF", "wrong version number", "packet length too long", "http request"]) {
            Self::NoTls
        } else if says(&["certificate has expired"]) {
            Self::Expired
        } else if says(&["certificate is not yet valid"]) {
            Self::NotYetValid
        } else if says(&["ddress mismatch", "ostname mismatch"]) {
            Self::OtherName
        } else if says(&["unable to get", "unable to verify", "self-signed", "self signed"]) {
            Self::UnknownAuthority
        } else if says(&["SSL routines"]) && !says(&["alert"]) {
            Self::Tls(words.to_owned())
        } else if let Some(certificate) = certificate {
            Self::CertificateRefused(certificate.to_owned())
        } else {
            Self::CertificateMissing
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Attempted<'static> = Attempted { encrypted: false, certificate: None, answered: false };
    const TLS: Attempted<'static> = Attempted { encrypted: true, ..CLEAR };

    fn found(text: &str, attempted: Attempted<'_>) -> Option<Obstacle> {
        Obstacle::find(&["transport error".to_owned(), text.to_owned()], text, attempted)
    }

    /// What cannot be made on a test's machine, and what a server need not do at each attempt.
    #[test]
    fn what_a_connection_meets_is_told_with_its_remedy() {
        let client = Attempted { certificate: Some(Path::new("/c.pem")), ..TLS };
        let failed = "error:0A000086:SSL routines:x:certificate verify failed:y.c:1::";
        for (text, attempted, expected) in [
            ("deadline has elapsed", CLEAR, Obstacle::Unreachable),
            ("No route to host (os error 113)", TLS, Obstacle::Unreachable),
            ("Network is unreachable (os error 101)", CLEAR, Obstacle::Unreachable),
            ("error:0A0000C6:SSL routines::packet length too long", TLS, Obstacle::NoTls),
            (&format!("{failed} certificate is not yet valid"), TLS, Obstacle::NotYetValid),
            (
                &format!("{failed} self-signed certificate in certificate chain"),
                TLS,
                Obstacle::UnknownAuthority,
            ),
            (&format!("{failed} hostname mismatch"), TLS, Obstacle::OtherName),
            (
                "error:0A00045C:SSL routines::tlsv13 alert certificate required",
                TLS,
                Obstacle::CertificateMissing,
            ),
            (
                "Connection reset by peer (os error 104)",
                client,
                Obstacle::CertificateRefused("/c.pem".into()),
            ),
            ("Connection reset by peer (os error 104)", CLEAR, Obstacle::NoAnswer),
        ] {
            assert_eq!(found(text, attempted), Some(expected), "{text}");
        }
        let page = "grpc-status header missing, mapped from HTTP status code 404";
        assert_eq!(found(page, CLEAR), Some(Obstacle::NotEtcd(page.into())));
        let other = "error:0A000102:SSL routines::unsupported protocol";
        assert_eq!(found(other, TLS), Some(Obstacle::Tls(other.into())));
    }

    #[test]
    fn a_connection_that_breaks_after_an_answer_is_not_explained_away() {
        for attempted in [CLEAR, TLS] {
            let text = "Connection reset by peer (os error 104)";
            assert_eq!(found(text, Attempted { answered: true, ..attempted }), None);
        }
    }
}
