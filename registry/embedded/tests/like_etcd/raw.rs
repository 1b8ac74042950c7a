//! Requests as messages, for those that no client makes.

use anyhow::Result;
use prost::Message;
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

/// Calls a method (`KV/Range`); what it answers or refuses.
pub async fn call<Q, A>(channel: &Channel, method: &str, request: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let path = PathAndQuery::try_from(format!("/etcdserverpb.{method}")).expect("a method is a path");
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
    Ok(answer.into_inner())
}

/// A refusal as code and text.
pub fn refusal(status: &Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}
