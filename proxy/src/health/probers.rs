//! What asks an endpoint whether it is well: Pingora's checks, and for HTTP and gRPC some of its shape.
//!
//! All of them connect by the same two connectors. Each connector reads the system's authorities when it is made, which
//! takes 20 ms and half a megabyte: a gateway with a thousand checked services could not be started, nor its configuration
//! replaced. (Pingora's own check of HTTP takes a connector of its own.)
//!
//! Where requests go under TLS, so do checks, by the same settings: of one that asks for a connection alone, the handshake is
//! a part. (What a server of TLS 1.3 says of our certificate comes after it, and is seen by checks that wait for an answer.)

mod grpc;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, header};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, TcpHealthCheck};

use self::grpc::GrpcProber;
use crate::config::{Check, Probe};
use crate::tls::{InstanceTls, check_address};

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
    pub(super) fn of(&self, service: &str, check: &Check, tls: Option<&Arc<InstanceTls>>) -> Result<Prober> {
        let dialer = Dialer { connector: self.http.clone(), tls: tls.cloned() };
        Ok(match &check.probe {
            Probe::Tcp if tls.is_none() => self.tcp.clone(),
            Probe::Tcp => Arc::new(HandshakeProber(dialer)),
            Probe::Http { path, statuses } => {
                Arc::new(HttpProber { dialer, head: get(service, path)?, statuses: statuses.clone() })
            }
            Probe::Grpc { service: asked } => {
                Arc::new(GrpcProber::new(dialer, service, asked, check.timeout)?)
            }
        })
    }
}

fn get(service: &str, path: &str) -> Result<RequestHeader> {
    let mut head = RequestHeader::build("GET", b"/", None)?;
    head.set_raw_path(path.as_bytes())?;
    let host = HeaderValue::from_bytes(service.as_bytes());
    let host = host.or_err(ErrorType::InvalidHTTPHeader, "the service's name as a Host header")?;
    head.insert_header(header::HOST, host)?;
    Ok(head)
}

/// The name that the configuration gives for an endpoint's address.
#[derive(Clone)]
pub(super) struct Host(pub(super) Arc<str>);

/// Opens connections to endpoints, which nobody else uses.
struct Dialer {
    connector: Arc<Connector>,
    tls: Option<Arc<InstanceTls>>,
}

impl Dialer {
    async fn open(&self, target: &Backend, version: u8) -> Result<HttpSession> {
        let mut peer = self.peer(target);
        peer.options.set_http_version(version, version);
        let (session, _) = self.connector.get_http_session(&peer).await?;
        let checked = check_address(&peer, session.digest());
        checked.map_err(|error| Error::explain(ErrorType::InvalidCert, error.to_string()))?;
        Ok(session)
    }

    fn peer(&self, target: &Backend) -> HttpPeer {
        if let (Some(tls), Some(address)) = (&self.tls, target.addr.as_inet()) {
            let host = target.ext.get::<Host>().map(|Host(host)| &**host);
            return tls.peer(host, *address);
        }
        let mut peer = HttpPeer::new(NOWHERE, false, String::new());
        peer._address = target.addr.clone();
        peer
    }
}

/// Takes the place of the true one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);

/// Expects that a handshake comes to its end.
struct HandshakeProber(Dialer);

#[async_trait]
impl HealthCheck for HandshakeProber {
    async fn check(&self, target: &Backend) -> Result<()> {
        self.0.open(target, 1).await.map(drop)
    }

    /// As below.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

/// Sends a request on a connection of its own, and expects one of some statuses and a whole answer.
struct HttpProber {
    dialer: Dialer,
    head: RequestHeader,
    statuses: Vec<u16>,
}

#[async_trait]
impl HealthCheck for HttpProber {
    async fn check(&self, target: &Backend) -> Result<()> {
        let mut session = self.dialer.open(target, 1).await?;
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
