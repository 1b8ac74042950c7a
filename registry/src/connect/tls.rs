//! TLS to the registry: whom it trusts, and as whom it speaks.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use openssl::error::ErrorStack;
use openssl::ssl::{
    ConnectConfiguration, SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVersion,
};
use tonic::transport::Uri;

use super::authorities::{add_the_systems, authorities};
use super::{Cause, Tls};

pub(super) fn https(tcp: HttpConnector, tls: Option<&Tls>) -> Result<HttpsConnector<HttpConnector>, Cause> {
    let mut connector = HttpsConnector::with_connector(tcp, tls_client(tls)?)?;
    connector.set_callback(|connection, uri| match ipv6(uri) {
        Some(address) => expect_address(connection, address),
        None => Ok(()),
    });
    Ok(connector)
}

/// The IPv6 address of a URL that has one in brackets in the place of a name.
fn ipv6(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?.strip_prefix('[')?.strip_suffix(']')?;
    host.parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

/// hyper-openssl takes an IPv6 address in brackets for a host name, which no certificate has. So this compares the
/// certificate with the address, and sends no server name (by RFC 6066, 3 an address must not be one).
fn expect_address(connection: &mut ConnectConfiguration, address: IpAddr) -> Result<(), ErrorStack> {
    connection.set_verify_hostname(false);
    connection.set_use_server_name_indication(false);
    connection.param_mut().set_ip(address)
}

/// A client of this builder compares the server's name with its certificate.
fn tls_client(tls: Option<&Tls>) -> Result<SslConnectorBuilder, Cause> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    // HTTP/2 has no less (RFC 9113, 9.2).
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_alpn_protos(b"\x02h2")?;
    match tls.and_then(|tls| tls.ca.as_deref()) {
        // The whole store, into which the builder has put the system's: any of them could vouch for a server of
        // this name, which would get the password.
        Some(ca) => builder.set_cert_store(authorities(ca)?),
        None => add_the_systems(&mut builder)?,
    }
    if let Some((cert, key)) = tls.and_then(|tls| tls.cert.as_ref().zip(tls.key.as_ref())) {
        let of = |file: &PathBuf| {
            let file = file.clone();
            |error| Cause::Certificates(file, error)
        };
        builder.set_certificate_chain_file(cert).map_err(of(cert))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(of(key))?;
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_of_tls_before_1_2_is_spoken() {
        assert_eq!(tls_client(None).unwrap().min_proto_version(), Some(SslVersion::TLS1_2));
    }

    /// However OpenSSL was linked, and although nobody says where they are. (`make setup` has installed some.)
    #[test]
    fn without_a_file_the_systems_authorities_are_trusted() {
        const SAID: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        if SAID.iter().any(|name| std::env::var_os(name).is_some()) {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again.arg("without_a_file_the_systems_authorities_are_trusted");
            for name in SAID {
                again.env_remove(name);
            }
            return assert!(again.status().unwrap().success());
        }
        let trusted = tls_client(None).unwrap().build();
        assert!(!trusted.context().cert_store().all_certificates().is_empty());
    }
}
