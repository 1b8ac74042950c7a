//! What stands between us and the registry, and what a person has to do about it.
//!
//! HTTP, HTTP/2 and TLS each say in their own words that a connection failed, and seldom what to do: a missing client
//! certificate, for example, ends up as "operation was canceled". So the texts of the system, of OpenSSL
//! (`X509_verify_cert_error_string`, the reasons in `ssl_err.c`), of h2, hyper and tonic are looked for here. Only a
//! known text gets a remedy, and the text is told with it, so that whoever reads both can judge the remedy.

use std::path::PathBuf;

use super::Tls;

/// Why the registry could not be talked to. Its text (`Display`) says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// The system refused the connection.
    #[error("nothing listens there: start the registry, or correct host and port")]
    NobodyListens,
    /// The name cannot be resolved.
    #[error("this host name has no address: correct it, or the name server that does not know it")]
    NoSuchHost,
    /// Nobody could be asked what the name stands for.
    #[error(
        "no name server answers for this host name: mend this machine's name servers, or the way to them"
    )]
    NoNameServer,
    /// No answer to the attempt to connect.
    #[error("this host cannot be reached: correct host and port, or let the firewalls between pass it")]
    Unreachable,
    /// No TLS where TLS was expected.
    #[error(
        "the server ended the TLS handshake at its start, as one does that speaks no TLS: write http:// in the \
         place of https:// if this registry is not encrypted"
    )]
    NoTls,
    /// The registry's certificate was signed by somebody whom the system does not know.
    #[error(
        "the server's certificate was signed by an authority that is not trusted here: name the authority's \
         certificate as `ca`"
    )]
    UnknownAuthority,
    /// The registry's certificate was signed by none of the authorities in this file ([`Tls::ca`]).
    #[error(
        "the server's certificate was signed by none of the authorities in {}, which alone are trusted: add \
         the one that signed it to this file, if this is your registry. If it is one that the system knows, you \
         can leave out `ca`", .0.display()
    )]
    OtherAuthority(PathBuf),
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
    #[error("TLS failed")]
    Tls,
    /// The connection broke before an answer, and we had shown no certificate. With TLS 1.3 a server refuses a
    /// client after the handshake, and its reason is lost on the way through the HTTP/2 client.
    #[error(
        "the server closed the encrypted connection before it answered: it probably demands a certificate of \
         its clients, so name one as `cert`, with its `key`"
    )]
    CertificateMissing,
    /// The connection broke before an answer, and we had shown this certificate ([`Tls::cert`]).
    #[error(
        "the server closed the encrypted connection before it answered: it probably does not accept our \
         certificate {}, so take one that was signed by the authority that the server trusts", .0.display()
    )]
    CertificateRefused(PathBuf),
    /// The connection broke before an answer, and it was not encrypted.
    #[error(
        "the server closed the connection without an answer in etcd's protocol: write https:// in the place of \
         http:// if this registry is encrypted, or else correct host and port, which may be another server's; \
         if a load balancer is there, look whether it has an etcd behind it"
    )]
    NoAnswer,
    /// The answer came from something that is no etcd.
    #[error("the server there is not etcd, or something between answers for it: correct host and port")]
    NotEtcd,
}

/// A connection on which something failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempted<'a> {
    /// Whether the endpoint is `https://`.
    pub encrypted: bool,
    /// Whom we trusted, and the certificate that we showed.
    pub tls: Option<&'a Tls>,
    /// Whether it had been made, the TLS handshake included.
    pub connected: bool,
    /// Whether the registry had answered on it before: then it is etcd, and merely broke.
    pub answered: bool,
}

/// What tonic says of an answer over HTTP that is none of gRPC.
pub(super) const NO_STATUS: &str = "grpc-status header missing";
/// What h2 says of bytes that are none of HTTP/2's frames.
const NO_FRAMES: &str = "connection error detected";
/// How a connection ends that the other side does not want any more. Where the system's own words are lost on the
/// way up, Rust's for the kind of the error (`std::io::ErrorKind`) are all that is left: "connection reset".
const BROKEN: [&str; 6] = [
    "eset by peer",
    "onnection reset",
    "onnection aborted",
    "roken pipe",
    "onnection closed",
    "unexpected end of file",
];
/// How the system, and Rust for the kinds of its errors, say that there is no way to a host.
const NO_WAY: [&str; 6] = [
    "timed out",
    "deadline has elapsed",
    "No route to host",
    "etwork is unreachable",
    "host unreachable",
    "network unreachable",
];

impl Obstacle {
    /// The obstacle that the texts of an error and of its causes show; none where they are not known.
    pub(super) fn find(texts: &[String], attempted: Attempted<'_>) -> Option<Self> {
        let says = |known: &[&str]| texts.iter().any(|text| known.iter().any(|known| text.contains(known)));
        if says(&["onnection refused"]) {
            Some(Self::NobodyListens)
        } else if says(&["Temporary failure in name resolution"]) {
            Some(Self::NoNameServer)
        } else if says(&["Name or service not known", "No address associated with hostname"]) {
            Some(Self::NoSuchHost)
        } else if says(&[NO_STATUS]) {
            Some(Self::NotEtcd)
        } else if attempted.answered {
            // Pings that stay without an answer are "timed out" too: nothing is wrong with the way there.
            None
        } else if says(&NO_WAY) {
            Some(Self::Unreachable)
        } else if attempted.encrypted {
            Self::of_tls(says, texts, attempted)
        } else {
            (says(&BROKEN) || says(&[NO_FRAMES])).then_some(Self::NoAnswer)
        }
    }

    fn of_tls(says: impl Fn(&[&str]) -> bool, texts: &[String], attempted: Attempted<'_>) -> Option<Self> {
        if says(&["unexpected EOF", "wrong version number", "packet length too long", "http request"]) {
            Some(Self::NoTls)
        } else if says(&["certificate has expired"]) {
            Some(Self::Expired)
        } else if says(&["certificate is not yet valid"]) {
            Some(Self::NotYetValid)
        } else if says(&["ddress mismatch", "ostname mismatch"]) {
            Some(Self::OtherName)
        } else if says(&["unable to get", "unable to verify", "self-signed", "self signed"]) {
            Some(match attempted.tls.and_then(|tls| tls.ca.clone()) {
                Some(ca) => Self::OtherAuthority(ca),
                None => Self::UnknownAuthority,
            })
        } else if says(&BROKEN) && !attempted.connected {
            // A server in clear text hangs up on the handshake, orderly or not. One that wants a certificate of us
            // ends the handshake of TLS 1.3 before it looks for it.
            Some(Self::NoTls)
        } else if texts.iter().any(|text| is_about_our_certificate(text)) || says(&BROKEN) {
            let shown = attempted.tls.and_then(|tls| tls.cert.clone());
            Some(shown.map_or(Self::CertificateMissing, Self::CertificateRefused))
        } else if says(&["SSL routines"]) {
            Some(Self::Tls)
        } else {
            says(&[NO_FRAMES]).then_some(Self::NotEtcd)
        }
    }
}

/// Whether the server's alert is one of those that RFC 8446 has for a client's certificate.
fn is_about_our_certificate(text: &str) -> bool {
    text.split_once(" alert ").is_some_and(|(_, of)| of.contains("certificate") || of.contains("unknown ca"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Attempted<'static> =
        Attempted { encrypted: false, tls: None, connected: true, answered: false };
    const TLS: Attempted<'static> = Attempted { encrypted: true, ..CLEAR };

    fn certificates() -> Tls {
        Tls { ca: Some("/ca.pem".into()), cert: Some("/c.pem".into()), key: Some("/c.key".into()) }
    }

    fn found(text: &str, attempted: Attempted<'_>) -> Option<Obstacle> {
        Obstacle::find(&["transport error".to_owned(), text.to_owned()], attempted)
    }

    /// What cannot be made on a test's machine, and what a server need not do at each attempt.
    #[test]
    fn what_a_connection_meets_is_told_with_its_remedy() {
        let tls = certificates();
        let client = Attempted { tls: Some(&tls), ..TLS };
        let refused = || Obstacle::CertificateRefused("/c.pem".into());
        let failed = "error:0A000086:SSL routines:x:certificate verify failed:y.c:1::";
        let lookup = "failed to lookup address information";
        for (text, attempted, expected) in [
            ("deadline has elapsed", CLEAR, Obstacle::Unreachable),
            ("No route to host (os error 113)", TLS, Obstacle::Unreachable),
            ("Network is unreachable (os error 101)", CLEAR, Obstacle::Unreachable),
            (&format!("{lookup}: Name or service not known"), CLEAR, Obstacle::NoSuchHost),
            (&format!("{lookup}: No address associated with hostname"), TLS, Obstacle::NoSuchHost),
            (&format!("{lookup}: Temporary failure in name resolution"), TLS, Obstacle::NoNameServer),
            ("error:0A0000C6:SSL routines::packet length too long", TLS, Obstacle::NoTls),
            (&format!("{failed} certificate is not yet valid"), TLS, Obstacle::NotYetValid),
            (
                &format!("{failed} self-signed certificate in certificate chain"),
                TLS,
                Obstacle::UnknownAuthority,
            ),
            (
                &format!("{failed} unable to get local issuer certificate"),
                client,
                Obstacle::OtherAuthority("/ca.pem".into()),
            ),
            (&format!("{failed} hostname mismatch"), TLS, Obstacle::OtherName),
            (&format!("{failed} unsupported certificate purpose"), client, Obstacle::Tls),
            ("error:0A000102:SSL routines::unsupported protocol", TLS, Obstacle::Tls),
            ("Connection reset by peer (os error 104)", client, refused()),
            (
                "Connection reset by peer (os error 104)",
                Attempted { connected: false, ..client },
                Obstacle::NoTls,
            ),
            ("stream closed because of a broken pipe", TLS, Obstacle::CertificateMissing),
            ("connection error detected: frame with invalid size", TLS, Obstacle::NotEtcd),
            ("grpc-status header missing, mapped from HTTP status code 404", CLEAR, Obstacle::NotEtcd),
            ("Connection reset by peer (os error 104)", CLEAR, Obstacle::NoAnswer),
            ("connection closed", CLEAR, Obstacle::NoAnswer),
            ("connection reset", CLEAR, Obstacle::NoAnswer),
            ("connection reset", TLS, Obstacle::CertificateMissing),
            ("connection aborted", CLEAR, Obstacle::NoAnswer),
            ("host unreachable", CLEAR, Obstacle::Unreachable),
        ] {
            assert_eq!(found(text, attempted), Some(expected), "{text}");
        }
    }

    #[test]
    fn only_an_alert_about_a_certificate_is_told_as_one() {
        let tls = certificates();
        let client = Attempted { tls: Some(&tls), ..TLS };
        let alert =
            |text: &str| format!("error:0A000412:SSL routines:ssl3_read_bytes:{text}:a.c:1:SSL alert");
        for text in [
            "tlsv13 alert certificate required",
            "sslv3 alert bad certificate",
            "ssl/tls alert certificate unknown",
            "tlsv1 alert unknown ca",
        ] {
            assert_eq!(found(&alert(text), TLS), Some(Obstacle::CertificateMissing), "{text}");
            let refused = Obstacle::CertificateRefused("/c.pem".into());
            assert_eq!(found(&alert(text), client), Some(refused), "{text}");
        }
        for text in [
            "tlsv1 alert protocol version",
            "sslv3 alert handshake failure",
            "tlsv1 unrecognized name",
            "tlsv1 alert no application protocol",
        ] {
            assert_eq!(found(&alert(text), client), Some(Obstacle::Tls), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_gets_no_remedy() {
        for text in [
            "Too many open files (os error 24)",
            "Cannot assign requested address (os error 99)",
            "Permission denied (os error 13)",
            "words that nobody has said yet",
        ] {
            assert_eq!(found(text, CLEAR), None, "{text}");
            assert_eq!(found(text, TLS), None, "{text}");
        }
    }

    #[test]
    fn a_connection_that_breaks_after_an_answer_is_not_explained_away() {
        for attempted in [CLEAR, TLS] {
            let answered = Attempted { answered: true, ..attempted };
            for text in
                ["Connection reset by peer (os error 104)", "keep-alive timed out", "operation timed out"]
            {
                assert_eq!(found(text, answered), None, "{text}");
            }
            let restarting = "Connection refused (os error 111)";
            assert_eq!(found(restarting, answered), Some(Obstacle::NobodyListens));
        }
    }
}
