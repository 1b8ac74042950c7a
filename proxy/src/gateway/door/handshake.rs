//! A TLS handshake with a client.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use openssl::ssl::Ssl;
use tokio::io;
use tokio::net::TcpStream;

use super::turns::Turns;
use crate::link::Tls;
use crate::tls::{self, HandshakeFailure, Identity, ServerTls, check_resumed};

/// How every handshake begins: with a record of this kind (RFC 8446, 5.1).
pub(super) const RECORD: u8 = 0x16;

/// No handshake.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client speaks HTTP in clear. Nothing was read.
    Clear(TcpStream),
    Other(HandshakeFailure),
}

/// Makes a handshake with a client who is about to begin one, and says whom the certificate names that he has shown.
pub(super) async fn handshake(
    stream: TcpStream,
    tls: &ServerTls,
    turns: &Turns,
) -> Result<(Tls, Option<Arc<Identity>>), Failed> {
    match first_byte(&stream).await {
        Ok(Some(RECORD)) => {}
        Ok(Some(byte)) if byte.is_ascii_uppercase() => return Err(Failed::Clear(stream)),
        Ok(Some(_)) => return Err(Failed::Other(HandshakeFailure::NotTls)),
        Ok(None) | Err(_) => return Err(Failed::Other(HandshakeFailure::Closed)),
    }
    let ssl = tls.accept().map_err(|error| Failed::Other(HandshakeFailure::Other(error.to_string())))?;
    accept(ssl, stream, turns).await.map_err(Failed::Other)
}

/// Seen, and left where it is. None: the client has ended.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let count = stream.peek(&mut first).await?;
    Ok(first.first().copied().filter(|_| count > 0))
}

async fn accept(
    ssl: Ssl,
    stream: TcpStream,
    turns: &Turns,
) -> Result<(Tls, Option<Arc<Identity>>), HandshakeFailure> {
    let broken = |error: openssl::error::ErrorStack| HandshakeFailure::Other(error.to_string());
    let mut stream = tls::stream(ssl, stream).map_err(broken)?;
    let accepted = turns.each(Pin::new(&mut stream).accept()).await;
    accepted.map_err(|error| HandshakeFailure::of(&error, stream.ssl()))?;
    check_resumed(stream.ssl(), SystemTime::now())?;
    let identity = match stream.ssl().peer_certificate() {
        None => None,
        Some(certificate) => {
            let unreadable = || HandshakeFailure::Other("its certificate cannot be read".to_owned());
            Some(Arc::new(Identity::of(&certificate).ok_or_else(unreadable)?))
        }
    };
    Ok((Tls::new(stream), identity))
}
