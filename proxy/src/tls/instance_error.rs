//! Why a handshake with an instance has failed.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use openssl::ssl::{self, ErrorCode};
use openssl::x509::X509VerifyResult;

use super::TlsError;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The instance's certificate is not one that we trust.
    Certificate,
    /// What came is no TLS, or none that we speak; or the connection ended.
    Protocol,
    /// The instance said that it does not want this handshake.
    Alert,
}

/// Why a handshake with an instance has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceError {
    pub(crate) fault: Fault,
    /// Reads on after a colon.
    what: Cow<'static, str>,
}

/// OpenSSL's numbers for what goes wrong: sslerr.h.
mod reason {
    pub(super) const CERTIFICATE_VERIFY_FAILED: i32 = 134;
    pub(super) const HTTP_REQUEST: i32 = 156;
    pub(super) const PACKET_LENGTH_TOO_LONG: i32 = 198;
    pub(super) const WRONG_VERSION_NUMBER: i32 = 267;
    pub(super) const UNEXPECTED_EOF: i32 = 294;
    /// An alert's own number is added to it.
    pub(super) const ALERTS: i32 = 1000;
}

/// OpenSSL's numbers for what is wrong with a certificate: x509_vfy.h.
mod verdict {
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    /// The issuer is not known, or is the certificate itself, or is an authority that is not trusted.
    pub(super) const UNKNOWN_ISSUER: [i32; 5] = [2, 18, 19, 20, 21];
    /// It has another name, or another address.
    pub(super) const OTHER_NAME: [i32; 2] = [62, 64];
}

impl InstanceError {
    pub(super) fn new(fault: Fault, what: impl Into<Cow<'static, str>>) -> Self {
        Self { fault, what: what.into() }
    }

    /// `verified`: what came of looking at the certificate; `name`: what it had to have.
    pub(super) fn of(error: &ssl::Error, verified: X509VerifyResult, name: &str) -> Self {
        if let Some(error) = error.io_error() {
            return Self::new(Fault::Protocol, format!("the connection broke: {error}"));
        }
        if error.code() == ErrorCode::ZERO_RETURN || error.code() == ErrorCode::SYSCALL {
            return Self::new(Fault::Protocol, CLOSED);
        }
        if has(error, reason::CERTIFICATE_VERIFY_FAILED) {
            return Self::of_certificate(verified, name);
        }
        if let Some(alert) = alert(error) {
            return Self::new(Fault::Alert, alert);
        }
        let foreign = [reason::WRONG_VERSION_NUMBER, reason::PACKET_LENGTH_TOO_LONG, reason::HTTP_REQUEST];
        let what = if has(error, reason::UNEXPECTED_EOF) {
            CLOSED.into()
        } else if foreign.iter().any(|number| has(error, *number)) {
            "it does not speak TLS".into()
        } else {
            first(error).map_or_else(|| error.to_string().into(), Cow::Borrowed)
        };
        Self::new(Fault::Protocol, what)
    }

    fn of_certificate(verified: X509VerifyResult, name: &str) -> Self {
        let words = verified.error_string();
        let what = match verified.as_raw() {
            verdict::EXPIRED => "its certificate has expired".into(),
            verdict::NOT_YET_VALID => "its certificate is not valid yet".into(),
            other if verdict::OTHER_NAME.contains(&other) => format!("its certificate is not for {name}"),
            other if verdict::UNKNOWN_ISSUER.contains(&other) => {
                format!("its certificate is of no authority that is trusted: {words}")
            }
            _ => format!("its certificate cannot be verified: {words}"),
        };
        Self::new(Fault::Certificate, what)
    }
}

impl From<TlsError> for InstanceError {
    /// It did not begin.
    fn from(error: TlsError) -> Self {
        Self::new(Fault::Protocol, format!("it cannot be begun: {error}"))
    }
}

const CLOSED: &str = "it closed the connection within the handshake";

impl fmt::Display for InstanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for InstanceError {}

/// What an instance said that broke off a connection under TLS; none: it said nothing, or the connection broke. With TLS 1.3
/// a server looks at our certificate when our handshake is over, so that we hear of it when we read.
pub(crate) fn alert_of(error: &io::Error) -> Option<Cow<'static, str>> {
    alert(error.get_ref()?.downcast_ref::<ssl::Error>()?)
}

fn alert(error: &ssl::Error) -> Option<Cow<'static, str>> {
    let errors = error.ssl_error()?.errors();
    let is_alert = |number: i32| (reason::ALERTS..reason::ALERTS + 256).contains(&number);
    let error = errors.iter().find(|error| is_alert(error.reason_code()))?;
    let number = error.reason_code() - reason::ALERTS;
    // OpenSSL puts a version before it: "tlsv13 alert certificate required".
    let words = error.reason().and_then(|words| words.split_once("alert ")).map(|(_, words)| words);
    let words = words.map_or_else(|| number.to_string(), str::to_owned);
    Some(if is_of_certificate(number) {
        format!("it declines our certificate, or that we have none: alert {words}").into()
    } else {
        format!("it declines the handshake: alert {words}").into()
    })
}

/// RFC 8446, 6.2: those from bad_certificate to unknown_ca but for illegal_parameter, access_denied, certificate_required.
fn is_of_certificate(alert: i32) -> bool {
    matches!(alert, 42..=46 | 48 | 49 | 116)
}

fn has(error: &ssl::Error, number: i32) -> bool {
    error.ssl_error().is_some_and(|stack| stack.errors().iter().any(|error| error.reason_code() == number))
}

fn first(error: &ssl::Error) -> Option<&'static str> {
    error.ssl_error()?.errors().first()?.reason()
}
