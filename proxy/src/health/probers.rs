//! What asks an endpoint whether it is well: Pingora's checks, and for HTTP one of its shape.
//!
//! All of them connect by the same two connectors. Each connector reads the system's authorities when it is made, which
//! takes 20 ms and half a megabyte: a gateway with a thousand checked services could not be started, nor its configuration
//! replaced. (Pingora's own check of HTTP takes a connector of its own.)

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, header};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, TcpHealthCheck};

use crate::config::{Check, Probe};

/// Asks an endpoint. Whoever asks bounds the time.
pub(super) type Prober = Arc<dyn HealthCheck + Send + Sync>;

/// Makes probers.
#[derive(Clone)]
pub(crate) struct Probers {
    tcp: Prober,
    http: Arc<Connector>,
}

impl Probers {
    pub(crate) fn new() -> Self {
        let mut tcp = TcpHealthCheck::default();
        tcp.peer_template.options.connection_timeout = None;
        Self { tcp: Arc::new(tcp), http: Arc::new(Connector::new(None)) }
    }

    /// The prober of a service's check.
    ///
    /// # Errors
    /// The path or the service's name has no place in a request.
    pub(super) fn of(&self, service: &str, check: &Check) -> Result<Prober> {
        let Probe::Http { path, statuses } = &check.probe else { return Ok(self.tcp.clone()) };
        let mut head = RequestHeader::build("GET", b"/", None)?;
        head.set_raw_path(path.as_bytes())?;
        let host = HeaderValue::from_bytes(service.as_bytes());
        let host = host.map_err(|error| {
            Error::because(ErrorType::InvalidHTTPHeader, "the service's name as a Host header", error)
        })?;
        head.insert_header(header::HOST, host)?;
        Ok(Arc::new(HttpProber { connector: self.http.clone(), head, statuses: statuses.clone() }))
    }
}

/// Sends a request on a connection of its own, and expects one of some statuses and a whole answer.
struct HttpProber {
    connector: Arc<Connector>,
    head: RequestHeader,
    statuses: Vec<u16>,
}

#[async_trait]
impl HealthCheck for HttpProber {
    async fn check(&self, target: &Backend) -> Result<()> {
        let mut peer = HttpPeer::new("0.0.0.0:1", false, String::new());
        peer._address = target.addr.clone();
        let (mut session, _) = self.connector.get_http_session(&peer).await?;
        session.write_request_header(Box::new(self.head.clone())).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        match session.response_header() {
            Some(head) => expect(head, &self.statuses)?,
            None => return Error::e_explain(ErrorType::InvalidHTTPHeader, "there is no answer to a check"),
        }
        while session.read_response_body().await?.is_some() {}
        Ok(())
    }

    /// Not asked: how many answers count is decided by what is known of the endpoint.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

fn expect(head: &ResponseHeader, statuses: &[u16]) -> Result<()> {
    let status = head.status.as_u16();
    if statuses.contains(&status) {
        return Ok(());
    }
    Error::e_explain(ErrorType::CustomCode("unexpected status", status), "the answer to a check")
}
