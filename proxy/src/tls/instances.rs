//! TLS to the instances of a service.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use openssl::ssl::SslRef;
use openssl::x509::X509Ref;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use tokio::net::TcpStream;

use super::application::Application;
use super::client::{ClientTls, PeerTls};
use super::instance_error::{Fault, InstanceError};
use super::wire::Stream;
use super::{Expired, TlsError};
use crate::config::ServiceTls;

/// From one line about a kind of failure to the next.
const INTERVAL: Duration = Duration::from_secs(60);
/// So many kinds of failures have lines of their own.
const KINDS: usize = 20;

/// TLS to the instances of a service: what its handshakes go by, and whom each instance has to be.
pub(crate) struct InstanceTls {
    config: ServiceTls,
    client: Arc<ClientTls>,
    told: Mutex<Told>,
}

impl InstanceTls {
    /// `before`: what the service has gone by so far. `expired`: what becomes of a certificate that was not used before.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn new(
        config: &ServiceTls,
        before: Option<&Self>,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            config: config.clone(),
            client: Arc::new(ClientTls::new(config, before.map(Self::client), expired, now)?),
            told: Mutex::default(),
        })
    }

    /// What a configuration said when this was made.
    pub(crate) fn config(&self) -> &ServiceTls {
        &self.config
    }

    /// What its handshakes go by.
    pub(crate) fn client(&self) -> &Arc<ClientTls> {
        &self.client
    }

    /// Which connections are as they are to be at the moment.
    pub(crate) fn generation(&self) -> u64 {
        self.client.generation()
    }

    /// The name, or IP address, that the certificate of the instance at an address must have. `host`: the name that the
    /// configuration gives for the address.
    fn name<'n>(&'n self, host: Option<&'n str>, address: IpAddr) -> Cow<'n, str> {
        // DNS knows of one that ends with a dot, certificates do not.
        let host = host.map(|host| host.trim_end_matches('.'));
        let name = self.config.server_name.as_deref().or(host);
        name.map_or_else(|| address.to_canonical().to_string().into(), Cow::Borrowed)
    }

    /// The handshake with the instance at an address.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        (host, address): (Option<&str>, SocketAddr),
        application: Application,
    ) -> Result<Stream, InstanceError> {
        let name = self.name(host, address.ip());
        self.client.shake_hands(stream, (&name, address), application).await
    }

    /// The same for Pingora, which makes the handshake by itself. Its oldest version is TLS 1.0, as far as OpenSSL still
    /// speaks it, and cannot be set.
    pub(crate) fn peer(&self, host: Option<&str>, address: SocketAddr) -> HttpPeer {
        let name = self.name(host, address.ip());
        let ip = name.parse::<IpAddr>().ok();
        // Without a name it would verify nothing. An address goes to nobody, as it is no name (RFC 6066, 3).
        let mut peer = HttpPeer::new(address, true, name.into_owned());
        let PeerTls { verify, authorities, certificate } = self.client.for_pingora();
        peer.options.verify_cert = verify;
        peer.options.verify_hostname = verify && ip.is_none();
        peer.options.ca = authorities;
        peer.client_cert_key = certificate;
        if let Some(ip) = ip.filter(|_| verify) {
            // It looks for names alone.
            let look = move |ssl: &SslRef| Some(Arc::new(Addressed(is_for(ssl, ip))) as _);
            peer.options.upstream_tls_handshake_complete_hook = Some(Arc::new(look));
        }
        peer
    }

    /// Whether an instance is told of in the log that could not be spoken with for this reason: once a minute.
    pub(crate) fn is_to_be_told(&self, why: &str, now: Instant) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).is_due(why, now)
    }
}

impl fmt::Debug for InstanceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InstanceTls").field(&self.config).finish()
    }
}

/// Whether the certificate is for the address that it had to be for.
struct Addressed(bool);

/// What Pingora does not look at: whether the certificate of a connection to such a peer is for the peer's address.
///
/// # Errors
/// It is not.
pub(crate) fn check_address(peer: &HttpPeer, digest: Option<&Digest>) -> Result<(), InstanceError> {
    if peer.options.upstream_tls_handshake_complete_hook.is_none() {
        return Ok(());
    }
    let looked = digest.and_then(|digest| digest.ssl_digest.as_ref()?.extension.get::<Addressed>());
    if looked.is_some_and(|Addressed(is_so)| *is_so) {
        return Ok(());
    }
    Err(InstanceError::new(Fault::Certificate, format!("its certificate is not for {}", peer.sni)))
}

fn is_for(ssl: &SslRef, ip: IpAddr) -> bool {
    ssl.peer_certificate().is_some_and(|certificate| has_address(&certificate, ip))
}

fn has_address(certificate: &X509Ref, ip: IpAddr) -> bool {
    let names = certificate.subject_alt_names().into_iter().flatten();
    names.filter_map(|name| name.ipaddress().map(<[u8]>::to_vec)).any(|bytes| match ip {
        IpAddr::V4(ip) => bytes == ip.octets(),
        IpAddr::V6(ip) => bytes == ip.octets(),
    })
}

/// Which kinds of failures were told of when.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, Instant>);

impl Told {
    fn is_due(&mut self, why: &str, now: Instant) -> bool {
        self.0.retain(|_, told| now.saturating_duration_since(*told) < INTERVAL);
        if self.0.contains_key(why) || self.0.len() >= KINDS {
            return false;
        }
        self.0.insert(why.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixture::Realm;

    fn tls(config: &ServiceTls) -> InstanceTls {
        InstanceTls::new(config, None, Expired::Used, SystemTime::now()).unwrap()
    }

    #[test]
    fn an_instance_is_who_the_configuration_says_or_has_its_address() {
        let address: SocketAddr = "10.0.0.1:443".parse().unwrap();
        let realm = Realm::new("one");
        let named = ServiceTls { server_name: Some("pay.example.net".into()), ..realm.trusted() };
        for (config, host, expected) in [
            (&named, Some("legacy.example.net"), "pay.example.net"),
            (&realm.trusted(), Some("legacy.example.net."), "legacy.example.net"),
            (&realm.trusted(), None, "10.0.0.1"),
        ] {
            let tls = tls(config);
            assert_eq!(tls.name(host, address.ip()), expected);
            let peer = tls.peer(host, address);
            assert_eq!((peer.sni.as_str(), peer.scheme.to_string().as_str()), (expected, "HTTPS"));
            assert!(peer.options.verify_cert && peer.options.ca.is_some());
            let is_name = expected.parse::<IpAddr>().is_err();
            assert_eq!(peer.options.verify_hostname, is_name);
            assert_eq!(check_address(&peer, None).is_ok(), is_name, "nobody has looked at the address");
        }
        let mapped = "[::ffff:10.0.0.1]:443".parse::<SocketAddr>().unwrap();
        assert_eq!(tls(&realm.trusted()).name(None, mapped.ip()), "10.0.0.1");
    }

    #[test]
    fn who_is_not_verified_is_so_by_pingora_neither() {
        let config = ServiceTls { verify: false, ..ServiceTls::default() };
        let peer = tls(&config).peer(None, "10.0.0.1:443".parse().unwrap());
        assert!(!peer.options.verify_cert && !peer.options.verify_hostname);
        assert!(check_address(&peer, None).is_ok());
    }

    #[test]
    fn a_kind_of_failure_is_told_once_a_minute() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert!(told.is_due("expired", now) && told.is_due("other name", now));
        assert!(!told.is_due("expired", now + INTERVAL - Duration::from_millis(1)));
        assert!(told.is_due("expired", now + INTERVAL));
        let mut told = Told::default();
        let kinds = (0..100).filter(|kind: &i32| told.is_due(&kind.to_string(), now)).count();
        assert_eq!(kinds, KINDS);
    }
}
