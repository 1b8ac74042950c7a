//! Clients that go on with a session in which they have shown a certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use openssl::ssl::SslRef;
use openssl::stack::Stack;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509Ref, X509StoreContext, X509VerifyResult};

use super::authorities::store;
use super::{HandshakeFailure, TlsError};

/// That the certificate of a session that is resumed is still valid. OpenSSL looks at it in a full handshake alone, and each
/// resumption gives a ticket for the next one.
///
/// # Errors
/// It has expired, or is not valid yet.
pub(crate) fn check_resumed(ssl: &SslRef, now: SystemTime) -> Result<(), HandshakeFailure> {
    if !ssl.session_reused() {
        return Ok(());
    }
    let Some(certificate) = ssl.peer_certificate() else { return Ok(()) };
    match validity(&certificate, now) {
        Ok(X509VerifyResult::OK) => Ok(()),
        Ok(why) => Err(HandshakeFailure::ClientCertificate(why)),
        Err(error) => Err(HandshakeFailure::Other(error.to_string())),
    }
}

/// What OpenSSL minds in a certificate that is trusted by itself: its dates.
fn validity(certificate: &X509Ref, now: SystemTime) -> Result<X509VerifyResult, TlsError> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut trusted = store(&[certificate.to_owned()])?;
    trusted.set_param(&parameters)?;
    X509StoreContext::new()?
        .init(&trusted.build(), certificate, &*Stack::new()?, |context| {
            context.verify_cert()?;
            Ok(context.error())
        })
        .map_err(TlsError::from)
}
