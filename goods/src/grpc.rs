//! What the instance answers to gRPC's calls, and the demo's client.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tower_service::Service;

use crate::service::SERVED_BY;
use shop::goods_client::GoodsClient;
use shop::goods_server::{self, GoodsServer};
use shop::{ListRequest, ListResponse};

#[allow(unused_qualifications, clippy::too_many_lines, reason = "generated")]
mod shop {
    tonic::include_proto!("shop.v1");
}

const TRACE_ID: &str = "trace_id";
/// How long the client waits for the connection and the answer together.
const PATIENCE: Duration = Duration::from_secs(10);
/// In `grpc.health.v1`, the name of the server as a whole.
const WHOLE_SERVER: &str = "";

/// The gRPC services of the instance: its goods, and `grpc.health.v1`.
#[derive(Clone)]
pub struct Calls {
    routes: Routes,
    health: HealthReporter,
    served_by: Option<HeaderValue>,
}

impl Calls {
    /// Its answers name the instance.
    pub async fn new(instance: &str) -> Self {
        let (health, health_service) = health_reporter();
        health.set_serving::<GoodsServer<Shop>>().await;
        let routes = Routes::new(GoodsServer::new(Shop)).add_service(health_service);
        Self { routes, health, served_by: HeaderValue::from_str(instance).ok() }
    }

    /// Whether a request with these headers is a call.
    pub fn is_call(headers: &HeaderMap) -> bool {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    }

    /// Answers a call.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        // It is always ready.
        let answered: Result<_, Infallible> = self.routes.clone().call(request).await;
        let Ok(mut response) = answered;
        if let Some(instance) = &self.served_by {
            response.headers_mut().insert(SERVED_BY, instance.clone());
        }
        response
    }

    /// From now on its health is `NOT_SERVING`.
    pub async fn leave(&self) {
        self.health.set_not_serving::<GoodsServer<Shop>>().await;
        self.health.set_service_status(WHOLE_SERVER, ServingStatus::NotServing).await;
    }
}

/// `shop.v1.Goods`.
struct Shop;

#[tonic::async_trait]
impl goods_server::Goods for Shop {
    async fn list(
        &self,
        request: tonic::Request<ListRequest>,
    ) -> Result<tonic::Response<ListResponse>, tonic::Status> {
        let trace_id = text(request.metadata(), TRACE_ID);
        tracing::info!(trace_id, call = "/shop.v1.Goods/List", "request");
        let message = "get goods list success".to_owned();
        Ok(tonic::Response::new(ListResponse { code: 0, message, trace_id }))
    }
}

/// Calls `shop.v1.Goods/List` at an address; what it answered, and which instance did, as a line of JSON.
pub async fn call(to: &Endpoint) -> anyhow::Result<String> {
    let answered = tokio::time::timeout(PATIENCE, async {
        let channel = to.connect().await.with_context(|| format!("cannot connect to {}", to.uri()))?;
        let answer = GoodsClient::new(channel).list(ListRequest {}).await;
        answer.with_context(|| format!("shop.v1.Goods/List failed at {}", to.uri()))
    });
    let answer = answered.await.with_context(|| format!("no answer from {} in {PATIENCE:?}", to.uri()))??;
    let served_by = text(answer.metadata(), SERVED_BY.as_str());
    let ListResponse { code, message, trace_id } = answer.into_inner();
    let shown =
        serde_json::json!({"code": code, "message": message, "trace_id": trace_id, "served_by": served_by});
    Ok(shown.to_string())
}

/// A value of the metadata, empty if it has none.
fn text(metadata: &MetadataMap, key: &str) -> String {
    metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use goods_server::Goods as _;

    #[tokio::test]
    async fn the_trace_id_is_the_metadatas_else_empty() {
        let mut request = tonic::Request::new(ListRequest {});
        assert_eq!(Shop.list(request).await.unwrap().into_inner().trace_id, "");
        request = tonic::Request::new(ListRequest {});
        request.metadata_mut().insert(TRACE_ID, "abc".parse().unwrap());
        let answer = Shop.list(request).await.unwrap().into_inner();
        assert_eq!((answer.code, &*answer.trace_id), (0, "abc"));
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        let is_call = |content_type: &'static str| {
            let value = HeaderValue::from_static(content_type);
            Calls::is_call(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        for call in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(is_call(call), "{call}");
        }
        for other in ["application/json", "application/grpc-web", "application/grpc-web+proto", ""] {
            assert!(!is_call(other), "{other}");
        }
        assert!(!Calls::is_call(&HeaderMap::new()));
    }
}
