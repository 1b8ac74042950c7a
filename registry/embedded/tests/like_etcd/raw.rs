//! Requests as messages, for those that no client makes.

use anyhow::Result;
use prost::Message;
use tonic::{
    Code, Request, Response, Status, client::Grpc, codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery, transport::Channel,
};
use tonic_prost::ProstCodec;

/// Calls a method (`KV/Range`); what it answers or refuses.
pub async fn call<Q, A>(channel: &Channel, method: &str, request: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let path = format!("/etcdserverpb.{method}");
    Ok(exchange(channel, &path, Request::new(request), Compression::None).await?.into_inner())
}

/// What a client does about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// Takes gzip, sends none.
    Accepted,
    /// Takes and sends gzip.
    Sent,
}

/// Asks for a path, with the request's metadata.
pub async fn exchange<Q, A>(
    channel: &Channel,
    path: &str,
    request: Request<Q>,
    compression: Compression,
) -> Result<Response<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let path = PathAndQuery::try_from(path).expect("a method is a path");
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    if compression != Compression::None {
        client = client.accept_compressed(CompressionEncoding::Gzip);
    }
    if compression == Compression::Sent {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.unary(request, path, ProstCodec::<Q, A>::default()).await
}

/// A refusal as code and text.
pub fn refusal(status: &Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}
