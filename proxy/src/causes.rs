//! Pingora's errors in plain words. Its own text repeats the labels "context:" and "cause:", and the peer that
//! our lines name as fields.

use pingora::{Error, ErrorSource, ErrorType};

/// An error and its causes, from the outermost to the innermost, each once: "the endpoint: connect refused:
/// ...".
pub(crate) fn plain(error: &Error) -> String {
    let mut chain = Chain(who(error.esource()).to_owned());
    let mut error = error;
    loop {
        chain.push(&what(error.etype()));
        // The peer is named by the line's instance and address.
        let context = error.context.as_ref().map(|context| context.as_str());
        context.filter(|context| !context.starts_with("Peer: ")).into_iter().for_each(|c| chain.push(c));
        let Some(cause) = error.cause.as_deref() else { return chain.0 };
        let Some(next) = cause.downcast_ref::<Box<Error>>() else {
            chain.push(&cause.to_string());
            let mut source = cause.source();
            while let Some(cause) = source {
                chain.push(&cause.to_string());
                source = cause.source();
            }
            return chain.0;
        };
        error = next;
    }
}

/// The causes that are in the text so far.
struct Chain(String);

impl Chain {
    fn push(&mut self, part: &str) {
        let part = part.trim().trim_end_matches([':', ',']);
        if part.is_empty() || self.0.contains(part) {
            return;
        }
        if !self.0.is_empty() {
            self.0.push_str(": ");
        }
        self.0.push_str(part);
    }
}

fn who(source: &ErrorSource) -> &'static str {
    match source {
        ErrorSource::Upstream => "the endpoint",
        ErrorSource::Downstream => "the client",
        ErrorSource::Internal => "the gateway",
        ErrorSource::Unset => "",
    }
}

fn what(error: &ErrorType) -> String {
    let words = match error {
        ErrorType::ConnectTimedout => "connect timed out",
        ErrorType::ConnectRefused => "connect refused",
        ErrorType::ConnectNoRoute => "no route",
        ErrorType::ConnectError => "connect failed",
        ErrorType::TLSHandshakeFailure | ErrorType::HandshakeError => "TLS handshake failed",
        ErrorType::TLSHandshakeTimedout => "TLS handshake timed out",
        ErrorType::InvalidCert => "invalid certificate",
        ErrorType::BindError => "no local address",
        ErrorType::SocketError => "a connection could not be opened",
        ErrorType::InvalidHTTPHeader => "invalid header",
        ErrorType::H1Error => "HTTP/1 failed",
        ErrorType::H2Error => "HTTP/2 failed",
        ErrorType::InvalidH2 => "invalid HTTP/2",
        ErrorType::ReadError => "read failed",
        ErrorType::WriteError => "write failed",
        ErrorType::ReadTimedout => "read timed out",
        ErrorType::WriteTimedout => "write timed out",
        ErrorType::ConnectionClosed => "connection closed",
        ErrorType::InternalError => "internal error",
        ErrorType::HTTPStatus(status) => return format!("status {status}"),
        ErrorType::CustomCode(name, code) => return format!("{name} {code}"),
        other => other.as_str(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// As Pingora reports a connect that was refused.
    fn refused() -> Box<Error> {
        let cause = io::Error::from_raw_os_error(111);
        let error = Error::because(ErrorType::ConnectRefused, "Fail to connect to 127.0.0.1:1", cause);
        error.into_up().more_context("Peer: addr: 127.0.0.1:1, scheme: HTTP,")
    }

    #[test]
    fn a_chain_is_told_without_labels_and_without_the_peer() {
        assert_eq!(
            plain(&refused()),
            "the endpoint: connect refused: Fail to connect to 127.0.0.1:1: Connection refused (os error 111)"
        );
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let error = Error::explain(ErrorType::ReadTimedout, "read timed out").more_context("read timed out");
        assert_eq!(plain(&error), "read timed out");
    }

    #[test]
    fn causes_of_causes_that_are_not_pingoras_are_told_too() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let error = Error::because(ErrorType::H1Error, "parsing", Outer(io::Error::other("inner")));
        assert_eq!(plain(&error.into_down()), "the client: HTTP/1 failed: parsing: outer: inner");
    }

    #[test]
    fn statuses_are_numbers() {
        let tried = Error::explain(ErrorType::HTTPStatus(503), "tried elsewhere").into_up();
        assert_eq!(plain(&tried), "the endpoint: status 503: tried elsewhere");
        let odd = Error::explain(ErrorType::CustomCode("unexpected status", 404), "the answer to a check");
        assert_eq!(plain(&odd), "unexpected status 404: the answer to a check");
    }
}
