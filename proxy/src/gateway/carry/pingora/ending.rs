//! What an error of Pingora's says of how an exchange ended.

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use crate::causes::plain;
use crate::gateway::cause::Ending;
use crate::gateway::tunnel_end::TunnelEnd;
use crate::tls::{Fault, alert_of};

/// How an exchange ended. `was_connected`: there was a connection to the endpoint.
pub(super) fn of(error: &Error, was_connected: bool) -> Ending {
    use ErrorType::{
        ConnectionClosed, H2Error, InvalidHTTPHeader, ReadError, ReadTimedout, WriteError, WriteTimedout,
    };
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ReadError) if is_of_grammar(error) => Ending::BadBody,
        // Over HTTP/2 a client leaves a stream, or the connection.
        (ErrorSource::Downstream, ConnectionClosed | H2Error | ReadError | WriteError | WriteTimedout) => {
            Ending::ClientLeft
        }
        (ErrorSource::Downstream, ReadTimedout) => Ending::ClientSilent,
        (ErrorSource::Downstream, InvalidHTTPHeader) => Ending::BadNomination,
        (ErrorSource::Downstream, _) => Ending::BadBody,
        (ErrorSource::Upstream, _) if !was_connected => of_connect(error),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Ending::Fault,
        (_, ErrorType::HTTPStatus(_)) => Ending::Status,
        (_, ReadTimedout | WriteTimedout) => Ending::Silent,
        (_, ConnectionClosed | ReadError | WriteError) if read_of_head(error) > 0 => Ending::BrokeWithinHead,
        (_, ReadError) if is_alert(error) => Ending::Alerted,
        (_, ConnectionClosed | ReadError | WriteError) => Ending::Broke,
        _ => Ending::NotHttp,
    }
}

/// Why a tunnel ended, which this error ended if any did.
pub(super) fn of_tunnel(error: Option<&Error>) -> TunnelEnd {
    match error.map(|error| of(error, true)) {
        None => TunnelEnd::Either,
        Some(Ending::Silent | Ending::ClientSilent) => TunnelEnd::Idle,
        Some(_) => TunnelEnd::Error,
    }
}

/// The client's bytes came, and are not valid: the stream that Pingora reads them from says so.
fn is_of_grammar(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn is_alert(error: &Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|cause| alert_of(cause).is_some())
}

fn of_connect(error: &Error) -> Ending {
    use ErrorType::{ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout};
    use ErrorType::{HandshakeError, InvalidCert, TLSHandshakeFailure, TLSHandshakeTimedout};
    match error.etype() {
        InvalidCert => Ending::Handshake(Fault::Certificate),
        // It says so in words alone.
        TLSHandshakeFailure if plain(error).contains(" alert ") => Ending::Handshake(Fault::Alert),
        TLSHandshakeFailure | HandshakeError => Ending::Handshake(Fault::Protocol),
        TLSHandshakeTimedout => Ending::ConnectTimeout,
        ConnectRefused | ConnectNoRoute | ConnectError => Ending::Refused,
        ConnectTimedout => Ending::ConnectTimeout,
        _ => Ending::NoConnection,
    }
}

/// How many bytes of a head had come when the connection broke. Pingora says so in words alone: a test below notices
/// when it changes them.
fn read_of_head(error: &Error) -> usize {
    let said = error.context.as_ref().and_then(|context| context.as_str().rsplit_once("already read: "));
    said.map_or(0, |(_, bytes)| bytes.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::connectors::http::Connector;
    use pingora::http::RequestHeader;
    use pingora::upstreams::peer::HttpPeer;
    use socket2::SockRef;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// How an exchange ends whose endpoint says no more than this and closes the connection, or resets it.
    async fn ended(said: &'static [u8], resets: bool) -> (Ending, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(said).await.unwrap();
            if resets {
                // What was said is to be read before the reset, which would undo it.
                tokio::time::sleep(Duration::from_millis(200)).await;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        let peer = HttpPeer::new(address, false, String::new());
        let connector: Connector = Connector::new(None);
        let (mut session, _) = connector.get_http_session(&peer).await.unwrap();
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.insert_header("Host", "a").unwrap();
        session.write_request_header(Box::new(head)).await.unwrap();
        session.finish_request_body().await.unwrap();
        let error = session.read_response_header().await.unwrap_err().into_up();
        endpoint.await.unwrap();
        (of(&error, true), error.to_string())
    }

    #[tokio::test]
    async fn pingora_tells_a_head_of_which_nothing_came_from_one_that_broke_off() {
        for resets in [false, true] {
            let (nothing, error) = ended(b"", resets).await;
            assert_eq!(nothing, Ending::Broke, "{error}");
            assert!(error.contains("already read: 0"), "Pingora says it otherwise now: {error}");
            let (a_part, error) = ended(b"HTTP/1.1 200 OK\r\nContent-", resets).await;
            assert_eq!(a_part, Ending::BrokeWithinHead, "{error}");
        }
    }

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = HttpPeer::new(listener.local_addr().unwrap(), false, String::new());
        drop(listener);
        let connector: Connector = Connector::new(None);
        let Err(mut error) = connector.get_http_session(&peer).await else { panic!("it connected") };
        error.as_up();
        assert_eq!(of(&error, false), Ending::Refused, "{error}");
    }

    #[test]
    fn whose_connection_it_was_decides_what_an_error_means() {
        let error = |kind: ErrorType| Error::explain(kind, "");
        for (kind, by_client, by_endpoint) in [
            (ErrorType::ConnectionClosed, Ending::ClientLeft, Ending::Broke),
            (ErrorType::WriteTimedout, Ending::ClientLeft, Ending::Silent),
            (ErrorType::H2Error, Ending::ClientLeft, Ending::NotHttp),
            (ErrorType::ReadTimedout, Ending::ClientSilent, Ending::Silent),
            (ErrorType::InvalidHTTPHeader, Ending::BadNomination, Ending::NotHttp),
            (ErrorType::H1Error, Ending::BadBody, Ending::NotHttp),
            (ErrorType::InternalError, Ending::BadBody, Ending::NotHttp),
        ] {
            assert_eq!(of(&error(kind.clone()).into_down(), true), by_client, "{kind:?}");
            assert_eq!(of(&error(kind.clone()).into_up(), true), by_endpoint, "{kind:?}");
            assert_eq!(of(&error(kind.clone()).into_in(), true), Ending::Fault, "{kind:?}");
        }
    }

    #[test]
    fn a_connection_that_was_never_opened_says_why() {
        for (kind, ending) in [
            (ErrorType::ConnectRefused, Ending::Refused),
            (ErrorType::ConnectNoRoute, Ending::Refused),
            (ErrorType::ConnectTimedout, Ending::ConnectTimeout),
            (ErrorType::BindError, Ending::NoConnection),
            (ErrorType::SocketError, Ending::NoConnection),
            (ErrorType::InternalError, Ending::NoConnection),
        ] {
            assert_eq!(of(&Error::explain(kind.clone(), "").into_up(), false), ending, "{kind:?}");
        }
    }
}
