//! Where clients are served, and how: `gateway.listen`.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use config_reader::key;
use config_reader::kind::{boolean, list, path, words};
use ipnet::IpNet;

use super::address::Taken;
use super::keys::{Visit, address};
use super::machine::Need;
use super::network::{network, remark_on_all};

/// An upgrade hands over at most 32 sockets; one is the admin interface's, one the embedded registry's.
const LISTEN: RangeInclusive<usize> = 1..=30;

/// No process listens there.
const UNSAID: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Where clients are served, and how. The address is as it was when the process started; the rest may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// None: in clear.
    pub(crate) tls: Option<ListenerTls>,
    /// Whether handshakes offer HTTP/2 beside HTTP/1. In clear both are spoken in any case.
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
        Self { address, tls: None, http2: true, proxy_protocol, allow, deny }
    }
}

pub(super) fn keys<V: Visit>(listeners: &mut Vec<Listener>, v: &mut V, taken: &Taken) {
    let listen = key("listen", "where clients are served, and how; `[::]:8080` takes IPv4 too")
        .more(
            "An address alone, such as [\"0.0.0.0:8080\"], is one in clear, for everybody. Which addresses there are is fixed \
             while a process runs; what else is said of each is not.",
        )
        .required(r#"a list of addresses, such as ["0.0.0.0:8080"]"#);
    let by = key("address", "where it listens").required("ip:port, such as \"0.0.0.0:8443\"");
    let by = by.example(r#""0.0.0.0:8080""#).fixed();
    let plain = list(address(taken)).of(LISTEN, "addresses");
    let new = || Listener::clear(UNSAID);
    v.list_by(listen, (by, plain), listeners, |listener| &mut listener.address, new, Listener::keys);
}

impl Listener {
    pub(super) fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client.is_some())
    }

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let tls = key("tls", "[TLS to clients](tls.md); without it they are served in clear")
            .shape("a section such as {certificates: [{cert: /a.pem, key: /a.key}]}");
        v.optional_section(tls, &mut self.tls, ListenerTls::unsaid, ListenerTls::keys);
        let http2 = "whether TLS handshakes offer [HTTP/2](http2.md) beside HTTP/1; in clear both are spoken";
        v.key(key("http2", http2), boolean(), &mut self.http2);
        v.check(|section| {
            if !self.http2 && self.tls.is_none() {
                section.remark("http2", "does nothing without tls: in clear HTTP/2 is spoken in any case");
            }
        });
        self.proxy_protocol_keys(v);
        let allow = "the networks whose clients may connect, looked at before TLS; none: all that `deny` does not name";
        v.key(key("allow", allow), list(network()).distinct(), &mut self.allow);
        let deny = "the networks whose clients [may not](hardening.md#networks), whatever `allow` says";
        v.key(key("deny", deny), list(network()).distinct(), &mut self.deny);
    }

    fn proxy_protocol_keys<V: Visit>(&mut self, v: &mut V) {
        let proxy_protocol = key(
            "proxy_protocol",
            "who says [by the PROXY protocol](tls.md#proxy-protocol) which client a connection is of",
        )
        .shape("a section such as {from: [10.0.0.0/8]}");
        let mut proxies = Some(mem::take(&mut self.proxy_protocol)).filter(|proxies| !proxies.is_empty());
        v.optional_section(proxy_protocol, &mut proxies, Vec::new, |from, v| {
            let key = key(
                "from",
                "the networks of these proxies; every connection from there must begin with such a header",
            )
            .required("a list of networks, such as [10.0.0.0/8]")
            .example("[10.0.0.0/8]");
            v.key(key, list(network()).distinct().not_empty("network, such as 10.0.0.0/8"), from);
            v.check(|section| remark_on_all(section, "from", from));
        });
        self.proxy_protocol = proxies.unwrap_or_default();
    }
}

impl ListenerTls {
    fn unsaid() -> Self {
        Self { certificates: Vec::new(), client: None }
    }

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let certificates = key(
            "certificates",
            "chosen by the name that a client asks for, among the names inside; the first is for all others",
        )
        .more("A change of the files is [taken over by itself](tls.md#certificates).")
        .required("a list such as [{cert: /a.pem, key: /a.key}]");
        v.list(certificates, &mut self.certificates, CertificateFiles::unsaid, CertificateFiles::keys);
        v.check(|section| {
            if section.is_set("certificates") && self.certificates.is_empty() {
                section.reject("certificates", "is empty: expected at least one certificate");
            }
        });
        let client = key(
            "client",
            "which [certificates clients show](tls.md#client-certificates); without it they are not asked for any",
        )
        .shape("a section such as {ca: /clients.pem}");
        v.optional_section(client, &mut self.client, ClientCertificates::unsaid, ClientCertificates::keys);
    }
}

impl CertificateFiles {
    fn unsaid() -> Self {
        Self { cert: PathBuf::new(), key: PathBuf::new() }
    }

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let cert = key("cert", "the certificate, then those that have signed it, in PEM")
            .required("the path of a file")
            .example("/etc/leaseway/shop.pem");
        v.key(cert, path(Need::ReadCertificates), &mut self.cert);
        let key = key("key", "its private key, without a pass phrase")
            .required("the path of a file")
            .example("/etc/leaseway/shop.key");
        v.key(key, path(Need::PrivateKey), &mut self.key);
        v.check(|section| {
            if section.is_set("cert") && section.is_set("key") {
                section.note("key", self.pair());
            }
        });
    }

    /// That the one is made for the other.
    pub(super) fn pair(&self) -> Need {
        Need::Pair { cert: self.cert.clone(), key: self.key.clone() }
    }
}

impl ClientCertificates {
    fn unsaid() -> Self {
        Self { ca: PathBuf::new(), crl: None, mode: ClientMode::Required }
    }

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let ca = key("ca", "the authorities that have signed them, in PEM")
            .required("the path of a file")
            .example("/etc/leaseway/clients.pem");
        v.key(ca, path(Need::ReadCertificates), &mut self.ca);
        let crl = key("crl", "what these have revoked, in PEM").example("/etc/leaseway/revoked.pem");
        v.optional(crl, path(Need::Revocations), &mut self.crl);
        let mode = "whether a client has to show one; one that it does show must be valid in any case";
        let modes = words([("required", ClientMode::Required), ("optional", ClientMode::Optional)]);
        v.key(key("mode", mode), modes, &mut self.mode);
    }
}
