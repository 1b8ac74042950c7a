//! What handshakes with a service's instances go by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::X509;
use pingora::utils::tls::CertKey;
use tokio::net::TcpStream;

use super::application::Application;
use super::authorities::{authorities, store};
use super::certificate::{Certificate, Expired, SECURITY_LEVEL, Successor};
use super::connector::Connector;
use super::instance_error::InstanceError;
use super::kept::Kept;
use super::wire::Stream;
use super::{CertificateState, Event, TlsError, Watched};
use crate::config::ServiceTls;

/// What handshakes with a service's instances go by. It follows its files: [`Self::look`].
pub(crate) struct ClientTls {
    made: ArcSwap<Made>,
    /// Changed by looks alone. Nobody who asks for them waits for a look, and so for a disk.
    materials: ArcSwap<Materials>,
}

/// A session goes on for so long, at most: then each instance has to show its certificate again, which may have expired.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// The same for Pingora, which makes handshakes of its own.
#[derive(Debug, Clone)]
pub(crate) struct PeerTls {
    pub(crate) verify: bool,
    /// None: the system's.
    pub(crate) authorities: Option<Arc<Box<[X509]>>>,
    pub(crate) certificate: Option<Arc<CertKey>>,
}

/// What is made of the materials.
struct Made {
    connector: Connector,
    /// None of its sessions is older.
    since: SystemTime,
    peer: PeerTls,
    generation: u64,
}

#[derive(Clone)]
struct Materials {
    config: ServiceTls,
    /// None: the system's.
    authorities: Option<Kept<Vec<X509>>>,
    certificate: Option<Certificate>,
    /// Whether something else is made of them yet.
    is_stale: bool,
}

impl ClientTls {
    /// `before`: what the service has gone by so far. What is made of the same files is taken over from it, the last good
    /// state and why their content is refused, if it is: the looks go on. If nothing is different, its generation is, too.
    /// `expired`: what becomes of what is not taken over.
    ///
    /// # Errors
    /// A file that was not used before cannot be used.
    pub(crate) fn new(
        config: &ServiceTls,
        before: Option<&Arc<Self>>,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let used = before.map(|before| before.materials.load_full());
        let materials = Materials::new(config, used.as_deref(), expired, now)?;
        let same = before.filter(|_| used.is_some_and(|used| used.config == *config && !used.is_stale));
        let made = match same {
            Some(before) => ArcSwap::new(before.made.load_full()),
            None => ArcSwap::from_pointee(materials.make(now)?),
        };
        Ok(Self { made, materials: ArcSwap::from_pointee(materials) })
    }

    /// The handshake, as things are now, with the instance at an address, who is asked for by this name, or IP address, and has
    /// to have it.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        whom: (&str, SocketAddr),
        application: Application,
    ) -> Result<Stream, InstanceError> {
        let made = self.made.load_full();
        made.connector.shake_hands(stream, whom, application).await
    }

    /// Another number for each of what its handshakes have gone by, and never 0: a connection that was made by another one is
    /// not used any more.
    pub(crate) fn generation(&self) -> u64 {
        self.made.load().generation
    }

    pub(crate) fn for_pingora(&self) -> PeerTls {
        self.made.load().peer.clone()
    }
}

impl Watched for ClientTls {
    /// Makes anew what is made of files that have changed; after [`RENEWAL`] what has the sessions.
    fn look(&self, now: SystemTime) -> Vec<Event> {
        let mut materials = Materials::clone(&self.materials.load());
        let events = materials.look(now);
        // Its parts were tried: if it cannot be made there is no memory. The next look tries again.
        let made = self.made.load();
        let next = if materials.is_stale {
            materials.make(now).ok()
        } else if made.is_due(now) {
            materials.renew(&made, now).ok()
        } else {
            None
        };
        if let Some(next) = next {
            self.made.store(Arc::new(next));
            materials.is_stale = false;
        }
        self.materials.store(Arc::new(materials));
        events
    }

    fn is_waiting(&self) -> bool {
        let materials = self.materials.load();
        let is_certificate_waiting = materials.certificate.as_ref().is_some_and(Certificate::is_waiting);
        is_certificate_waiting || materials.authorities.as_ref().is_some_and(Kept::is_waiting)
    }

    /// Of the authorities that the configuration names, and of the certificate that the gateway shows.
    fn states(&self) -> Vec<CertificateState> {
        self.materials.load().states()
    }
}

impl Made {
    fn is_due(&self, now: SystemTime) -> bool {
        // A clock that was set back: who knows when.
        now.duration_since(self.since).map_or(true, |age| age >= RENEWAL)
    }
}

impl Materials {
    fn new(
        config: &ServiceTls,
        before: Option<&Self>,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let used = before.filter(|before| before.config.ca == config.ca);
        let authorities = match (used, &config.ca) {
            (Some(used), _) => used.authorities.clone(),
            (None, Some(ca)) => Some(Kept::new(vec![ca.clone()], |contents| trusted(ca, contents))?),
            (None, None) => None,
        };
        let used = before.filter(|before| before.config.certificate == config.certificate);
        let certificate = match (used, &config.certificate) {
            (Some(used), _) => used.certificate.clone(),
            (None, Some(files)) => Some(Certificate::new(files, expired, now)?),
            (None, None) => None,
        };
        Ok(Self { config: config.clone(), authorities, certificate, is_stale: false })
    }

    fn look(&mut self, now: SystemTime) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some((kept, ca)) = self.authorities.as_mut().zip(self.config.ca.as_ref()) {
            let news = kept.look(|contents, _| trusted(ca, contents));
            events.extend(news.map(|news| Event::of_authorities(ca, news)));
        }
        if let Some(certificate) = &mut self.certificate {
            events.extend(certificate.look(Successor::Any, now));
        }
        self.is_stale |= events.iter().any(|event| matches!(event, Event::Renewed { .. }));
        events
    }

    fn states(&self) -> Vec<CertificateState> {
        let authorities = self.config.ca.as_ref().zip(self.authorities.as_ref());
        let authorities = authorities.map(|(ca, kept)| CertificateState::of_authorities(ca, kept));
        authorities.into_iter().chain(self.certificate.as_ref().map(Certificate::state)).collect()
    }

    fn make(&self, now: SystemTime) -> Result<Made, TlsError> {
        let generation = fastrand::u64(1..);
        Ok(Made { connector: self.connector()?, since: now, peer: self.peer(), generation })
    }

    /// The same without its sessions. Connections that are there are as they are to be.
    fn renew(&self, made: &Made, now: SystemTime) -> Result<Made, TlsError> {
        let (peer, generation) = (made.peer.clone(), made.generation);
        Ok(Made { connector: self.connector()?, since: now, peer, generation })
    }

    fn connector(&self) -> Result<Connector, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_security_level(SECURITY_LEVEL);
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_alpn_protos(b"\x08http/1.1")?;
        builder.set_read_ahead(true);
        match &self.authorities {
            // In the place of the whole store: the system's would be trusted beside them.
            Some(kept) => builder.set_cert_store(store(kept.good())?.build()),
            None => registry::connect::add_the_systems(&mut builder)?,
        }
        if let Some(certificate) = &self.certificate {
            certificate.pair().put_into(&mut builder)?;
        }
        Ok(Connector::new(builder, self.config.verify)?)
    }

    fn peer(&self) -> PeerTls {
        let authorities = self.authorities.as_ref();
        let certificate = self.certificate.as_ref().map(Certificate::pair);
        PeerTls {
            verify: self.config.verify,
            authorities: authorities.map(|kept| Arc::new(kept.good().clone().into_boxed_slice())),
            certificate: certificate
                .map(|pair| Arc::new(CertKey::new(pair.chain().cloned().collect(), pair.key().clone()))),
        }
    }
}

fn trusted(ca: &std::path::Path, contents: &[Vec<u8>]) -> Result<Vec<X509>, TlsError> {
    let certificates = authorities(ca, contents.first().map_or(&[][..], Vec::as_slice))?;
    store(&certificates)?;
    Ok(certificates)
}
