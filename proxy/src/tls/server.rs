//! What a listener's handshakes go by.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, NameType, Ssl, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslRef,
    SslSessionCacheMode, SslVersion, select_next_proto,
};

use super::certificate::{Certificate, Expired, SECURITY_LEVEL, Successor};
use super::demand::Demand;
use super::names::ByName;
use super::pair::Pair;
use super::{CertificateState, Event, TlsError, Watched};
use crate::config::ListenerTls;

/// What a listener's handshakes go by. It follows its files: [`Self::look`].
pub(crate) struct ServerTls {
    config: ListenerTls,
    http2: bool,
    context: ArcSwap<SslContext>,
    /// Changed by looks alone. Nobody who asks for them waits for a look, and so for a disk.
    materials: ArcSwap<Materials>,
}

/// At the latest after so long the key of tickets is another one. Who comes with an older ticket makes a full handshake.
const RENEWAL: Duration = Duration::from_secs(12 * 60 * 60);

/// With keys that are thrown away, and sealed with authentication. Without finite fields: a client may have those computed at
/// little cost of its own (CVE-2002-20001).
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
    ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
const CIPHERS_OF_1_3: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/// The first for which the client has sent a share; the first of all is safe from quantum computers, too.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:X448:P-384:P-521";

/// As ALPN writes them, the preferred one first.
const HTTP_2_AND_1: &[u8] = b"\x02h2\x08http/1.1";
const HTTP_1: &[u8] = b"\x08http/1.1";

/// What the contexts are made of.
#[derive(Clone)]
struct Materials {
    /// At least one.
    certificates: Vec<Certificate>,
    demand: Option<Demand>,
    /// When the contexts were made last.
    made: SystemTime,
    /// Whether they are not made of these materials yet.
    is_stale: bool,
    /// What the listener has gone by before, until the first look. It served on while these were made, and its own looks may
    /// have taken something new meanwhile.
    before: Option<Arc<ServerTls>>,
}

impl ServerTls {
    /// `http2`: whether ALPN offers it. `before`: what the listener has gone by so far. What is made of the same files is
    /// taken over from it, the last good state and why their content is refused, if it is: the looks go on. `expired`: what
    /// becomes of what is not.
    ///
    /// # Errors
    /// A file that was not used before cannot be used.
    pub(crate) fn new(
        config: &ListenerTls,
        http2: bool,
        before: Option<&Arc<Self>>,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let used = before.map(|before| before.latest());
        let mut materials = Materials::new(config, used.as_deref(), expired, now)?;
        materials.before = before.cloned();
        let context = ArcSwap::from_pointee(context(&materials, http2)?);
        Ok(Self { config: config.clone(), http2, context, materials: ArcSwap::from_pointee(materials) })
    }

    /// Whether it is what a configuration says.
    pub(crate) fn is_for(&self, config: &ListenerTls, http2: bool) -> bool {
        (&self.config, self.http2) == (config, http2)
    }

    /// One more handshake, as things are now.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn accept(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(&self.context.load())
    }

    /// What is made of the files as somebody has found them last.
    fn latest(&self) -> Arc<Materials> {
        let materials = self.materials.load_full();
        if materials.before.is_none() {
            return materials;
        }
        let mut materials = Materials::clone(&materials);
        materials.catch_up();
        Arc::new(materials)
    }
}

impl Watched for ServerTls {
    /// Makes anew what is made of files that have changed; at the latest after [`RENEWAL`] all of it.
    fn look(&self, now: SystemTime) -> Vec<Event> {
        let mut materials = Materials::clone(&self.materials.load());
        materials.catch_up();
        let events = materials.look(now);
        if materials.is_due(now) {
            // Its parts were tried: there is no memory. The next look tries again.
            if let Ok(context) = context(&materials, self.http2) {
                self.context.store(Arc::new(context));
                materials.is_stale = false;
                materials.made = now;
            }
        }
        self.materials.store(Arc::new(materials));
        events
    }

    fn is_waiting(&self) -> bool {
        let materials = self.materials.load();
        let demand = materials.demand.as_ref();
        materials.certificates.iter().any(Certificate::is_waiting) || demand.is_some_and(Demand::is_waiting)
    }

    /// In the configuration's order, those of clients' certificates last.
    fn states(&self) -> Vec<CertificateState> {
        self.materials.load().states()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("http2", &self.http2).finish_non_exhaustive()
    }
}

impl Materials {
    fn new(
        config: &ListenerTls,
        before: Option<&Self>,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let mut certificates = Vec::with_capacity(config.certificates.len());
        for files in &config.certificates {
            let used =
                before.and_then(|before| before.certificates.iter().find(|used| used.files() == files));
            certificates.push(match used {
                Some(used) => used.clone(),
                None => Certificate::new(files, expired, now)?,
            });
        }
        let demand = config.client.as_ref().map(|client| {
            let used = before.and_then(|before| before.demand.as_ref()?.again(client));
            used.map_or_else(|| Demand::new(client, expired, now), Ok)
        });
        Ok(Self { certificates, demand: demand.transpose()?, made: now, is_stale: false, before: None })
    }

    /// Takes over what the looks of the one before have found since these were made.
    fn catch_up(&mut self) {
        let Some(before) = self.before.take().map(|before| before.latest()) else { return };
        for certificate in &mut self.certificates {
            let same = before.certificates.iter().find(|used| used.files() == certificate.files());
            if let Some(used) = same {
                self.is_stale |= !used.is_as(certificate);
                *certificate = used.clone();
            }
        }
        if let Some(demand) = &mut self.demand
            && let Some(used) = before.demand.as_ref().and_then(|used| used.again(demand.config()))
        {
            self.is_stale |= !used.is_as(demand);
            *demand = used;
        }
    }

    fn look(&mut self, now: SystemTime) -> Vec<Event> {
        let mut events = Vec::new();
        for certificate in &mut self.certificates {
            events.extend(certificate.look(Successor::Akin, now));
        }
        if let Some(demand) = &mut self.demand {
            events.extend(demand.look(now));
        }
        // Who goes on with a session shows no certificate that could be refused, but cannot without the key of its ticket.
        let is_news = |event: &Event| matches!(event, Event::Renewed { .. } | Event::RevocationsEnded { .. });
        self.is_stale |= events.iter().any(is_news);
        events
    }

    fn is_due(&self, now: SystemTime) -> bool {
        // A clock that was set back: who knows when.
        self.is_stale || now.duration_since(self.made).map_or(true, |age| age >= RENEWAL)
    }

    fn states(&self) -> Vec<CertificateState> {
        let of_clients = self.demand.iter().flat_map(Demand::states);
        self.certificates.iter().map(Certificate::state).chain(of_clients).collect()
    }
}

/// The context of the first certificate, which turns to another one's for a client that asks for its name.
fn context(materials: &Materials, http2: bool) -> Result<SslContext, TlsError> {
    let demand = materials.demand.as_ref();
    let pairs: Vec<&Pair> = materials.certificates.iter().map(Certificate::pair).collect();
    let by_name = ByName::new(pairs.iter().map(|pair| pair.names()));
    let mut contexts = pairs.iter().map(|pair| context_of(pair, demand, http2));
    let mut first = contexts.next().ok_or_else(ErrorStack::get)??;
    let others = contexts
        .map(|context| context.map(|context| context.build().into_context()))
        .collect::<Result<Vec<_>, _>>()?;
    first.set_servername_callback(move |ssl: &mut SslRef, _| {
        let place = by_name.place(ssl.servername(NameType::HOST_NAME));
        if let Some(context) = place.checked_sub(1).and_then(|place| others.get(place)) {
            // Without memory the first one is shown.
            let _ = ssl.set_ssl_context(context);
        }
        Ok(())
    });
    Ok(first.build().into_context())
}

fn context_of(pair: &Pair, demand: Option<&Demand>, http2: bool) -> Result<SslAcceptorBuilder, TlsError> {
    // With what a link under TLS relies on: a write may take a part, and may be tried again from elsewhere; buffers are
    // given back while nothing comes.
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_security_level(SECURITY_LEVEL);
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_ciphersuites(CIPHERS_OF_1_3)?;
    builder.set_groups_list(GROUPS)?;
    builder.set_options(
        SslOptions::CIPHER_SERVER_PREFERENCE
            // Who prefers it has no hardware for the others.
            | SslOptions::PRIORITIZE_CHACHA
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_COMPRESSION,
    );
    builder.set_read_ahead(true);
    // Sessions are in the clients' tickets. Each handshake gives one, and so one is enough.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_num_tickets(1)?;
    let protocols = if http2 { HTTP_2_AND_1 } else { HTTP_1 };
    builder.set_alpn_select_callback(move |_, offered| {
        select_next_proto(protocols, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    pair.put_into(&mut builder)?;
    match demand {
        Some(demand) => demand.put_into(&mut builder)?,
        None => builder.set_session_id_context(b"no certificate")?,
    }
    Ok(builder)
}
