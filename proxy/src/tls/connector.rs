//! Handshakes with instances. They go on with a session of before where there is one.

use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use hyper_openssl::client::legacy::{HttpsLayer, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::{self, SslConnectorBuilder, SslRef, SslVerifyMode};
use openssl::x509::X509VerifyResult;
use openssl::x509::verify::X509CheckFlags;
use tokio::net::TcpStream;
use tower_layer::Layer;
use tower_service::Service;

use super::TlsError;
use super::application::Application;
use super::instance_error::{Fault, InstanceError};
use super::wire::{Stream, Wire};

/// So many sessions are kept. hyper-openssl drops what OpenSSL drops, which is the oldest one when there are more. Each
/// handshake of TLS 1.3 brings two, as a rule, takes one, and needs a few kilobytes for each.
const SESSIONS: i32 = 512;

/// What makes handshakes, and keeps the sessions that come of them.
///
/// OpenSSL's binding has a session set by unsafe code alone. hyper-openssl has that code, in a connector which keeps sessions
/// by the host and the port of a URL. One of TLS 1.3 is offered once (RFC 8446, C.4). One of TLS 1.2 is offered until OpenSSL drops
/// it, be it to an instance that has begun anew and cannot read it: that handshake is a full one, as all were without.
pub(super) struct Connector {
    layer: HttpsLayer,
    verify: bool,
}

impl Connector {
    pub(super) fn new(mut builder: SslConnectorBuilder, verify: bool) -> Result<Self, ErrorStack> {
        builder.set_verify(if verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        builder.set_session_cache_size(SESSIONS);
        Ok(Self { layer: HttpsLayer::with_connector(builder)?, verify })
    }

    /// The handshake with the instance at an address, who is asked for by this name, or IP address, and has to have it.
    pub(super) async fn shake_hands(
        &self,
        tcp: TcpStream,
        (name, address): (&str, SocketAddr),
        application: Application,
    ) -> Result<Stream, InstanceError> {
        let (whom, key) = (Whom::new(name)?, key(name, address)?);
        let (verify, verdict) = (self.verify, Arc::new(OnceLock::new()));
        let noted = verdict.clone();
        let mut connector = self.layer.layer(Connected(Some(Wire::new(tcp))));
        connector.set_callback(move |connection, _| {
            // That of the URL is none.
            connection.set_use_server_name_indication(false);
            connection.set_verify_hostname(false);
            whom.put_into(connection, verify)?;
            application.put_into(connection)?;
            if verify {
                note(connection, noted.clone());
            }
            Ok(())
        });
        match connector.call(key).await {
            Ok(MaybeHttpsStream::Https(stream)) if application.is_agreed(stream.ssl()) => Ok(stream),
            Ok(MaybeHttpsStream::Https(_)) => Err(InstanceError::new(Fault::Protocol, NO_HTTP2)),
            Ok(MaybeHttpsStream::Http(_)) => Err(not_begun(&io::Error::from(io::ErrorKind::Unsupported))),
            Err(error) => Err(match error.source().and_then(|source| source.downcast_ref::<ssl::Error>()) {
                Some(error) => {
                    InstanceError::of(error, verdict.get().copied().unwrap_or(X509VerifyResult::OK), name)
                }
                None => not_begun(&*error),
            }),
        }
    }
}

/// HTTP/1 alone is spoken there.
const NO_HTTP2: &str = "it does not agree on HTTP/2 (ALPN h2)";

fn not_begun(why: &dyn Error) -> InstanceError {
    InstanceError::new(Fault::Protocol, format!("it cannot be begun: {why}"))
}

/// What is wrong with a certificate. hyper-openssl says it only in words.
fn note(ssl: &mut SslRef, verdict: Arc<OnceLock<X509VerifyResult>>) {
    ssl.set_verify_callback(SslVerifyMode::PEER, move |is_right, chain| {
        if !is_right {
            verdict.get_or_init(|| chain.error());
        }
        is_right
    });
}

/// Where sessions are kept. One is for an instance, whose ticket another cannot read, and for the name that was verified when it
/// began: that is not done again. A host of a form to come (RFC 3986, 3.2.2) has room for both; it goes to nobody.
fn key(name: &str, address: SocketAddr) -> Result<Uri, TlsError> {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let host = format!("[v0.{name}~{:x}]", ip.to_bits());
    let uri = format!("https://{host}:{}", address.port()).parse::<Uri>().ok();
    uri.filter(|uri| uri.host() == Some(&host)).ok_or_else(|| TlsError::NotAName(name.to_owned()))
}

/// Whom an instance has to be.
enum Whom {
    Address(IpAddr),
    Name(String),
}

impl Whom {
    /// # Errors
    /// It is no name.
    fn new(name: &str) -> Result<Self, TlsError> {
        if let Ok(address) = name.parse() {
            return Ok(Self::Address(address));
        }
        let plain = name.strip_suffix('.').unwrap_or(name);
        // OpenSSL takes an empty one for none, and would compare nothing; its binding panics at a NUL.
        if plain.is_empty() || plain.contains('\0') {
            return Err(TlsError::NotAName(name.to_owned()));
        }
        Ok(Self::Name(plain.to_owned()))
    }

    fn put_into(&self, ssl: &mut SslRef, verify: bool) -> Result<(), ErrorStack> {
        match self {
            // By RFC 6066, 3 it must not be sent.
            Self::Address(address) if verify => ssl.param_mut().set_ip(*address),
            Self::Address(_) => Ok(()),
            Self::Name(name) => {
                ssl.set_hostname(name)?;
                if verify {
                    let expected = ssl.param_mut();
                    expected.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                    expected.set_host(name)?;
                }
                Ok(())
            }
        }
    }
}

/// A connection that is there, for whoever asks for one by a URL: once.
struct Connected(Option<TokioIo<Wire>>);

impl Service<Uri> for Connected {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_kept_apart_by_name_and_by_instance() {
        let keys = [
            ("pay.net", "10.0.0.1:443"),
            ("shop.net", "10.0.0.1:443"),
            ("pay.net", "10.0.0.1:444"),
            ("pay.net", "10.0.0.2:443"),
            ("10.0.0.1", "10.0.0.1:443"),
            ("pay.net", "[2001:db8:1:2:3:4:5:6]:443"),
            ("2001:db8:1:2:3:4:5:6", "[2001:db8:1:2:3:4:5:6]:443"),
            ("2001-db8-1-2-3-4-5-6", "[2001:db8:1:2:3:4:5:6]:443"),
            ("my_pay.net", "10.0.0.1:443"),
        ];
        let mut kept: Vec<_> = keys
            .map(|(name, address)| {
                let key = key(name, address.parse().unwrap()).map_err(|error| error.to_string()).unwrap();
                (key.host().unwrap().to_owned(), key.port_u16().unwrap())
            })
            .into();
        kept.sort();
        kept.dedup();
        assert_eq!(kept.len(), keys.len());
    }

    #[test]
    fn what_could_pass_for_another_place_is_no_name() {
        let address = "10.0.0.1:443".parse().unwrap();
        for name in
            ["pay net", "pay/net", "pay?net", "pay#net", "pay@net", "pay]net", "[pay", "p\u{e4}y", "pay\n"]
        {
            assert!(matches!(key(name, address), Err(TlsError::NotAName(said)) if said == name), "{name}");
        }
    }
}
