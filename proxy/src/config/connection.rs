//! The section `gateway.registry`: how to reach the registry, and where services stand in it.

use std::path::PathBuf;

use http::Uri;
use registry::connect::{Connection, Tls, User};
use registry::contract::Prefix;

use super::machine::Need;
use super::reader::{Section, Value};

/// Where services register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// How to reach it.
    pub connection: Connection,
    /// The part of its key space that holds registrations.
    pub prefix: Prefix,
}

pub(super) fn read(mut section: Section<'_>) -> Option<Registry> {
    let endpoints = section
        .required("endpoints", r#"a list such as ["http://127.0.0.1:2379"]"#, |value| endpoints(&value));
    let mut prefix = Prefix::default();
    section.set("prefix", &mut prefix, |value| value.accept(Prefix::parse(value.text()?)));
    let user = user(&mut section);
    let mut tls = None;
    section.set("tls", &mut tls, |value| Some(read_tls(value.section())));
    if tls.is_some() {
        reject_plain(&section, endpoints.as_deref().unwrap_or_default());
    }
    section.close(None);
    let connection = Connection { endpoints: endpoints?, user, tls };
    Some(Registry { connection, prefix })
}

fn endpoints(list: &Value<'_>) -> Option<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    let endpoints = list.list(|item| {
        let endpoint = item.parse(parse_endpoint)?;
        if seen.contains(&endpoint) {
            item.reject(format_args!("\"{endpoint}\" is in the list already"));
        }
        seen.push(endpoint.clone());
        Some(endpoint)
    })?;
    if endpoints.is_empty() {
        list.reject("is empty: expected at least one URL, such as http://127.0.0.1:2379");
    }
    Some(endpoints)
}

/// Why a text is no endpoint of a registry. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum EndpointError {
    #[error("is not a URL: write http://host:port or https://host:port")]
    Malformed,
    #[error("must start with http:// or https://")]
    Scheme,
    #[error("has a user in it: use username and password_file")]
    UserInfo,
    #[error("has no port: etcd's is 2379")]
    NoPort,
    #[error("has a path or a query: expected host and port alone")]
    Path,
}

fn parse_endpoint(text: &str) -> Result<String, EndpointError> {
    let uri = Uri::try_from(text).map_err(|_| EndpointError::Malformed)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(EndpointError::Scheme);
    };
    if authority.as_str().contains('@') {
        return Err(EndpointError::UserInfo);
    }
    if authority.host().is_empty() {
        return Err(EndpointError::Malformed);
    }
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(EndpointError::NoPort);
    }
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err(EndpointError::Path);
    }
    Ok(format!("{scheme}://{authority}"))
}

fn user(section: &mut Section<'_>) -> Option<User> {
    let (mut name, mut password_file) = (None, None);
    section.set("username", &mut name, |value| value.text().map(str::to_owned));
    section.set("password_file", &mut password_file, |value| value.path(Need::File).map(PathBuf::from));
    section.require_both(["username", "password_file"]);
    section.refuse("password", "is not taken: write it into a file and name that in password_file");
    Some(User { name: name?, password_file: password_file? })
}

fn read_tls(mut section: Section<'_>) -> Tls {
    let mut tls = Tls::default();
    section.set("ca", &mut tls.ca, |value| value.path(Need::Certificates).map(PathBuf::from));
    section.set("cert", &mut tls.cert, |value| value.path(Need::Certificates).map(PathBuf::from));
    section.set("key", &mut tls.key, |value| value.path(Need::PrivateKey).map(PathBuf::from));
    section.require_both(["cert", "key"]);
    section.close(None);
    tls
}

/// Certificates that would not be used hint at a connection that was meant to be encrypted.
fn reject_plain(section: &Section<'_>, endpoints: &[String]) {
    let is_plain = |endpoint: &&String| endpoint.starts_with("http://");
    if let Some(endpoint) = endpoints.iter().find(is_plain) {
        let message = format_args!("is set, but {endpoint} is not encrypted: write https://, or remove tls");
        section.reject("tls", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_host_and_port() {
        for (text, expected) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://127.0.0.1:2379/", "http://127.0.0.1:2379"),
            ("https://etcd-0.etcd:2379", "https://etcd-0.etcd:2379"),
            ("http://[::1]:2379", "http://[::1]:2379"),
        ] {
            assert_eq!(parse_endpoint(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn every_other_endpoint_says_what_is_wrong() {
        for (text, expected) in [
            ("", EndpointError::Malformed),
            ("not a url", EndpointError::Malformed),
            ("http://:2379", EndpointError::Malformed),
            ("http://", EndpointError::Malformed),
            ("127.0.0.1:2379", EndpointError::Scheme),
            ("/etcd", EndpointError::Scheme),
            ("etcd://etcd:2379", EndpointError::Scheme),
            ("http://root:secret@etcd:2379", EndpointError::UserInfo),
            ("http://etcd", EndpointError::NoPort),
            ("http://etcd:0", EndpointError::NoPort),
            ("http://etcd:99999", EndpointError::NoPort),
            ("http://etcd:2379/v3", EndpointError::Path),
            ("http://etcd:2379?a=b", EndpointError::Path),
            ("http://etcd:2379#a", EndpointError::Path),
        ] {
            assert_eq!(parse_endpoint(text), Err(expected), "{text:?}");
        }
    }
}
