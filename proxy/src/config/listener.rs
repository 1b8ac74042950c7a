//! Where clients are served, and how: `gateway.listen`.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

/// Where clients are served, and how. The address is as it was when the process started; the rest may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// None: in clear.
    pub(crate) tls: Option<ListenerTls>,
    /// Whether HTTP/2 is spoken beside HTTP/1: with TLS, what ALPN offers.
    pub(crate) http2: bool,
    /// The networks whose connections begin with a header of the PROXY protocol; all of them must, and nobody else's may.
    /// None named: nobody's.
    pub(crate) proxy_protocol: Vec<IpNet>,
    /// Who may connect, by the client's address, before TLS; none named: whoever `deny` does not name.
    pub(crate) allow: Vec<IpNet>,
    /// Who may not, whatever `allow` says.
    pub(crate) deny: Vec<IpNet>,
}

/// TLS to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerTls {
    /// Chosen by the names inside; the first is shown to whoever names none of them. At least one.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// Which certificates clients show; none: they are not asked for any.
    pub(crate) client: Option<ClientCertificates>,
}

/// A certificate with its chain, and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CertificateFiles {
    /// The certificate first, then those that have signed it, each before its own signer.
    pub(crate) cert: PathBuf,
    /// Without a pass phrase.
    pub(crate) key: PathBuf,
}

/// Which certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificates {
    /// The authorities that have signed them, in PEM.
    pub(crate) ca: PathBuf,
    /// What these have revoked, in PEM; none: nothing is revoked.
    pub(crate) crl: Option<PathBuf>,
    pub(crate) mode: ClientMode,
}

/// Whether a client has to show a certificate. One that it does show must be valid in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientMode {
    Optional,
    Required,
}

impl Listener {
    /// In clear, for everybody.
    pub(crate) fn clear(address: SocketAddr) -> Self {
        let (proxy_protocol, allow, deny) = Default::default();
        Self { address, tls: None, http2: false, proxy_protocol, allow, deny }
    }
}
