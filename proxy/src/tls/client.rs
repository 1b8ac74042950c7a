//! What handshakes with a service's instances go by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use openssl::ssl::{Ssl, SslConnector, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::verify::X509CheckFlags;
use pingora::utils::tls::CertKey;

use super::authorities::{authorities, store};
use super::certificate::{Certificate, Expired, SECURITY_LEVEL, Successor};
use super::kept::Kept;
use super::{CertificateState, Event, TlsError, Watched};
use crate::config::ServiceTls;

/// What handshakes with a service's instances go by. It follows its files: [`Self::look`].
pub(crate) struct ClientTls {
    verify: bool,
    made: ArcSwap<Made>,
    /// Changed by looks alone. Nobody who asks for them waits for a look, and so for a disk.
    materials: ArcSwap<Materials>,
}

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
    context: SslContext,
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
            None => ArcSwap::from_pointee(materials.make()?),
        };
        Ok(Self { verify: config.verify, made, materials: ArcSwap::from_pointee(materials) })
    }

    /// One more handshake, as things are now, with an instance that is asked for by this name, or IP address, and has to have
    /// it.
    ///
    /// # Errors
    /// It is no name, or there is no memory.
    pub(crate) fn connect(&self, name: &str) -> Result<Ssl, TlsError> {
        let mut ssl = Ssl::new(&self.made.load().context)?;
        if let Ok(address) = name.parse::<IpAddr>() {
            // By RFC 6066, 3 it must not be sent.
            if self.verify {
                ssl.param_mut().set_ip(address)?;
            }
            return Ok(ssl);
        }
        let plain = name.strip_suffix('.').unwrap_or(name);
        // OpenSSL takes an empty one for none, and would compare nothing; its binding panics at a NUL.
        if plain.is_empty() || plain.contains('\0') {
            return Err(TlsError::NotAName(name.to_owned()));
        }
        ssl.set_hostname(plain)?;
        if self.verify {
            let expected = ssl.param_mut();
            expected.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
            expected.set_host(plain)?;
        }
        Ok(ssl)
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
    /// Makes anew what is made of files that have changed.
    fn look(&self, now: SystemTime) -> Vec<Event> {
        let mut materials = Materials::clone(&self.materials.load());
        let events = materials.look(now);
        // Its parts were tried: if it cannot be made there is no memory. The next look tries again.
        if materials.is_stale
            && let Ok(made) = materials.make()
        {
            self.made.store(Arc::new(made));
            materials.is_stale = false;
        }
        self.materials.store(Arc::new(materials));
        events
    }

    /// Of the authorities that the configuration names, and of the certificate that the gateway shows.
    fn states(&self) -> Vec<CertificateState> {
        self.materials.load().states()
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

    fn make(&self) -> Result<Made, TlsError> {
        Ok(Made { context: self.context()?, peer: self.peer(), generation: fastrand::u64(1..) })
    }

    fn context(&self) -> Result<SslContext, TlsError> {
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
        if !self.config.verify {
            builder.set_verify(SslVerifyMode::NONE);
        }
        Ok(builder.build().into_context())
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
