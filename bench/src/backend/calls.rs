//! A server of gRPC: one unary method, whose answer is as long as its request must be.

use anyhow::Result;
use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::net::TcpStream;

/// The method, as a proxy is asked for it.
pub(crate) const CALL: &str = "http://bench.example/bench.v1.Bench/Unary";
/// Bytes of a message, without what says how long it is.
const MESSAGE: u8 = 64;
/// Room for requests, so that they do not wait for frames that grant it.
const WINDOW: u32 = 1 << 20;

/// A message as it is sent, in both directions: not compressed, its length, its bytes.
pub(crate) fn message() -> Bytes {
    [&[0, 0, 0, 0, MESSAGE][..], &[b'.'; MESSAGE as usize]].concat().into()
}

/// Serves the calls of one connection.
pub(super) async fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Builder::new().initial_connection_window_size(WINDOW).handshake(stream).await?;
    let message = message();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(answer(request, respond, message.clone()));
    }
    Ok(())
}

/// With OK, or with INVALID_ARGUMENT for a message of another length.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> Result<()> {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part?.len();
        body.flow_control().release_capacity(part)?;
        length += part;
    }
    let mut head = Response::new(());
    head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = if length == message.len() { "0" } else { "3" };
    let mut send = respond.send_response(head, false)?;
    send.send_data(message, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    send.send_trailers(trailers)?;
    Ok(())
}
