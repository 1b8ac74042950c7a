//! What the instance answers.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;
const TRACE_ID: HeaderName = HeaderName::from_static("trace_id");
/// Names the instance in its answers.
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The demo's service.
pub struct Goods {
    instance: String,
    manner: Manner,
}

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the demo does, at its two paths.
    Demo,
    /// With what has arrived, at every path.
    Echo,
}

impl Goods {
    /// Its answers name the instance.
    pub fn new(instance: String, manner: Manner) -> Self {
        Self { instance, manner }
    }

    /// Answers a request, and logs it.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let (head, body) = request.into_parts();
        let header = head.headers.get(TRACE_ID).and_then(|id| id.to_str().ok());
        let header = header.map_or(Value::Null, Value::from);
        let (mut response, trace_id) = match Limited::new(body, MAX_BODY).collect().await {
            Err(_) => (text(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB"), header),
            Ok(body) => {
                let trace_id = Some(header).filter(|id| !id.is_null());
                let trace_id = trace_id.unwrap_or_else(|| trace_id_in(&body.to_bytes()));
                let response = match self.manner {
                    Manner::Demo => route(&head.method, head.uri.path(), &trace_id),
                    Manner::Echo => echo(&head),
                };
                (response, trace_id)
            }
        };
        if let Ok(instance) = HeaderValue::from_str(&self.instance) {
            response.headers_mut().insert(SERVED_BY, instance);
        }
        let status = response.status().as_u16();
        let (method, path) = (head.method.as_str(), head.uri.path());
        let trace_id = trace_id.as_str().map_or_else(|| trace_id.to_string(), str::to_owned);
        tracing::info!(trace_id, method, path, status, "request");
        response
    }
}

fn route(method: &Method, path: &str, trace_id: &Value) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, "goods"),
        (&Method::GET | &Method::POST | &Method::HEAD, "/goods/list") => {
            let body = json!({"code": 0, "message": "get goods list success", "trace_id": trace_id});
            let mut response = text(StatusCode::OK, body.to_string());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// The head of the request, as it arrived.
fn echo(head: &Parts) -> Response<Full<Bytes>> {
    let mut body = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        body += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text(StatusCode::OK, body)
}

/// The article's gateway sends the id in a JSON body, as a number.
fn trace_id_in(body: &[u8]) -> Value {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    body.and_then(|mut body| body.get_mut("trace_id").map(Value::take)).unwrap_or_default()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, path: &str, trace_id: Option<&str>, body: &str) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(id) = trace_id {
            request = request.header(TRACE_ID, id);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = Goods::new("goods-1".into(), Manner::Demo).answer(request).await;
        assert_eq!(response.headers()[SERVED_BY], "goods-1");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn trace_id(header: Option<&str>, body: &str) -> Value {
        let (status, answer) = ask(Method::POST, "/goods/list", header, body).await;
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["code"], 0);
        assert_eq!(answer["message"], "get goods list success");
        answer["trace_id"].clone()
    }

    #[tokio::test]
    async fn the_trace_id_is_the_headers_else_the_bodys_else_null() {
        assert_eq!(trace_id(Some("abc"), r#"{"trace_id":"def"}"#).await, "abc");
        assert_eq!(trace_id(None, r#"{"trace_id":"def"}"#).await, "def");
        assert_eq!(trace_id(None, r#"{"trace_id":1639626420}"#).await, 1639626420);
        assert_eq!(trace_id(None, "not JSON").await, Value::Null);
        assert_eq!(trace_id(None, "[]").await, Value::Null);
    }

    #[tokio::test]
    async fn there_are_two_paths() {
        assert_eq!(ask(Method::GET, "/", None, "").await, (200, "goods".into()));
        assert_eq!(ask(Method::GET, "/goods/list", None, "").await.0, 200);
        assert_eq!(ask(Method::GET, "/goods", None, "").await.0, 404);
        assert_eq!(ask(Method::DELETE, "/goods/list", None, "").await.0, 404);
    }

    #[tokio::test]
    async fn an_echo_is_the_head_as_it_arrived_at_whatever_path() {
        let request = Request::put("/a%2Fb?c=d").header("x-one", "1").header("x-two", "2");
        let request = request.body(Full::new(Bytes::from_static(b"unread"))).unwrap();
        let response = Goods::new("goods-1".into(), Manner::Echo).answer(request).await;
        assert_eq!(response.headers()[SERVED_BY], "goods-1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"PUT /a%2Fb?c=d\nx-one: 1\nx-two: 2\n");
    }

    #[tokio::test]
    async fn a_body_over_64_kib_is_refused() {
        let fits = " ".repeat(64 * 1024);
        assert_eq!(ask(Method::POST, "/goods/list", None, &fits).await.0, 200);
        assert_eq!(ask(Method::POST, "/goods/list", None, &(fits + " ")).await.0, 413);
    }
}
