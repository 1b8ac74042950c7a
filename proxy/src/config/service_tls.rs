//! TLS to a service's instances: `gateway.services.NAME.tls`.

use std::net::IpAddr;
use std::path::PathBuf;

use config_reader::key;
use config_reader::kind::{boolean, path};

use super::Section;
use super::given::is_name;
use super::keys::{Visit, parsed};
use super::listener::CertificateFiles;
use super::machine::Need;

/// TLS to a service's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceTls {
    /// The authorities that are trusted in the place of the system's, in PEM.
    pub(crate) ca: Option<PathBuf>,
    /// The name that is asked for (SNI) and that the certificate must have; none: the name that the configuration gives for
    /// the address; of an instance that has none, its IP address.
    pub(crate) server_name: Option<String>,
    /// What the gateway shows of itself.
    pub(crate) certificate: Option<CertificateFiles>,
    /// Whether the instance's certificate is checked.
    pub(crate) verify: bool,
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}

impl ServiceTls {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let ca = key("ca", "the authorities that are trusted in the place of the system's, in PEM")
            .example("/etc/ssl/pay.pem");
        v.optional(ca, path(Need::ReadCertificates), &mut self.ca);
        let server_name =
            key("server_name", "the name that is asked for, and that the certificate must have")
                .default("the name in `addresses`; of an instance that has none, its IP address")
                .example("pay.example.net");
        let kind = parsed(parse_server_name, "^[A-Za-z0-9_.:-]+$");
        v.optional(server_name, kind, &mut self.server_name);
        self.certificate_keys(v);
        let verify = key(
            "verify",
            "whether the certificate is checked; if not, anybody on the way can be the instance",
        );
        v.key(verify, boolean(), &mut self.verify);
        v.check(|section| self.remark_on_unverified(section));
    }

    fn certificate_keys<V: Visit>(&mut self, v: &mut V) {
        let own = self.certificate.take();
        let (mut cert, mut key_file) = own.map(|CertificateFiles { cert, key }| (cert, key)).unzip();
        let cert_key =
            key("cert", "what the gateway shows to an instance that demands a certificate, in PEM")
                .example("/etc/leaseway/gateway.pem");
        v.optional(cert_key, path(Need::ReadCertificates), &mut cert);
        let key_key = key("key", "the private key of `cert`, without a pass phrase")
            .example("/etc/leaseway/gateway.key");
        v.optional(key_key, path(Need::PrivateKey), &mut key_file);
        self.certificate = cert.zip(key_file).map(|(cert, key)| CertificateFiles { cert, key });
        v.check(|section| {
            section.require_both(["cert", "key"]);
            if let (true, Some(files)) = (section.is_set("key"), &self.certificate) {
                section.note("key", files.pair());
            }
        });
    }

    /// Told where it is said, and not again for each service that takes it over.
    fn remark_on_unverified(&self, section: &Section<'_>) {
        if self.verify {
            return;
        }
        if section.has("verify") {
            section.remark(
                "verify",
                "is off: anybody on the way can read and change what goes to these instances and comes back",
            );
        }
        if section.has("ca") {
            section.remark("ca", "means nothing while verify is false: no certificate is checked");
        }
    }
}

/// Reads on after the text that was found.
fn parse_server_name(text: &str) -> Result<String, &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    // No dot ends the names in certificates.
    if is_name(text) && !text.ends_with('.') {
        return Ok(text.to_ascii_lowercase());
    }
    Err("is no host name such as pay.example.net, and no IP address: no port, no URL, no pattern")
}
