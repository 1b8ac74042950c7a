//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use registry::connect::{ConnectionSettings, Tls, User, parse_endpoint};
use registry::contract::Prefix;
use tonic::transport::Endpoint;

/// A demo backend: answers at / and /goods/list and to gRPC's shop.v1.Goods/List, on one port, and keeps itself
/// registered in etcd.
#[derive(Debug, Parser)]
#[command(name = "goods", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do in the place of serving.
    #[command(subcommand)]
    pub instead: Option<Instead>,

    /// Where to listen.
    #[arg(long, env = "GOODS_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:80")]
    pub listen: SocketAddr,

    /// The address to register: ip:port, or an IP alone with the listening port. By default the first
    /// IPv4 address that is not loopback.
    #[arg(long, env = "GOODS_ADVERTISE", value_name = "IP[:PORT]")]
    pub advertise: Option<Advertise>,

    /// The instance id, unique in the service. By default the host's name.
    #[arg(long, env = "GOODS_INSTANCE", value_name = "ID")]
    pub instance: Option<String>,

    /// The service to register under.
    #[arg(long, env = "GOODS_SERVICE", default_value = "goods")]
    pub service: String,

    /// Answer every path, but gRPC's calls, with the head of the request as it arrived, to see what a gateway makes of it.
    #[arg(long, env = "GOODS_ECHO")]
    pub echo: bool,

    /// The part of the key space that holds registrations.
    #[arg(long, env = "GOODS_PREFIX", default_value_t = Prefix::default(), value_parser = Prefix::parse)]
    pub prefix: Prefix,

    /// The registry's endpoints, separated by commas.
    #[arg(
        long,
        env = "GOODS_REGISTRY",
        value_name = "URL,...",
        default_value = "http://127.0.0.1:2379",
        value_delimiter = ',',
        value_parser = parse_endpoint
    )]
    pub registry: Vec<String>,

    /// The registry's user.
    #[arg(long, env = "GOODS_USERNAME", value_name = "NAME", requires = "password_file")]
    pub username: Option<String>,

    /// The file that holds the user's password.
    #[arg(long, env = "GOODS_PASSWORD_FILE", value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,

    /// The authorities of which one must have signed the registry's certificate, in the place of the system's:
    /// a PEM file.
    #[arg(long, env = "GOODS_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The certificate that the registry demands of its clients: a PEM file.
    #[arg(long, env = "GOODS_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// The certificate's key: a PEM file.
    #[arg(long, env = "GOODS_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// How long the registration outlives the process: whole seconds, at least 2s.
    #[arg(long, env = "GOODS_TTL", default_value = "3s", value_parser = humantime::parse_duration)]
    pub ttl: Duration,

    /// How long to serve on after the registration was withdrawn.
    #[arg(long, env = "GOODS_DRAIN", default_value = "3s", value_parser = humantime::parse_duration)]
    pub drain: Duration,
}

/// What to do in the place of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Instead {
    /// Make one call to shop.v1.Goods/List, and print what it answered and which instance did.
    Call {
        /// The address, of a gateway or of an instance.
        #[arg(long, value_name = "URL")]
        to: Endpoint,
    },
}

/// An address to register, with or without its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advertise {
    /// With the port of somebody who maps it.
    Address(SocketAddr),
    /// With the listening port.
    Ip(IpAddr),
}

impl FromStr for Advertise {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse().map(Self::Address);
        address
            .or_else(|_| text.parse().map(Self::Ip))
            .map_err(|_| "expected ip:port, [ipv6]:port or an IP address")
    }
}

impl Arguments {
    /// The address to register.
    ///
    /// # Errors
    /// None is given, and the machine has none but loopback.
    pub fn address(&self, port: u16) -> anyhow::Result<SocketAddr> {
        match self.advertise {
            Some(Advertise::Address(address)) => Ok(address),
            Some(Advertise::Ip(ip)) => Ok((ip, port).into()),
            None => Ok((first_ipv4()?, port).into()),
        }
    }

    /// How to reach the registry.
    ///
    /// # Errors
    /// Certificates are given that an endpoint without TLS would not see.
    pub fn connection(&self) -> anyhow::Result<ConnectionSettings> {
        let Self { registry, username, password_file, ca, cert, key, .. } = self;
        let user = username.clone().zip(password_file.clone());
        let tls = Tls { ca: ca.clone(), cert: cert.clone(), key: key.clone() };
        let tls = Some(tls).filter(|tls| *tls != Tls::default());
        if let Some(plain) = registry.iter().find(|url| tls.is_some() && url.starts_with("http://")) {
            anyhow::bail!("certificates are given, but {plain} is not encrypted: write https://");
        }
        let user = user.map(|(name, password_file)| User { name, password_file });
        Ok(ConnectionSettings { user, tls, ..ConnectionSettings::to(registry.clone()) })
    }

    /// The instance id.
    ///
    /// # Errors
    /// None is given, and the host has no name.
    pub fn instance(&self) -> anyhow::Result<String> {
        if let Some(instance) = &self.instance {
            return Ok(instance.clone());
        }
        let name = nix::unistd::gethostname().context("cannot read the host's name: give --instance")?;
        name.into_string().ok().context("the host's name is not UTF-8: give --instance")
    }
}

fn first_ipv4() -> anyhow::Result<IpAddr> {
    let interfaces =
        nix::ifaddrs::getifaddrs().context("cannot read the network interfaces: give --advertise")?;
    interfaces
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find(|ip| !ip.is_loopback())
        .map(IpAddr::V4)
        .context("no IPv4 address but loopback: give --advertise")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn an_address_is_registered_with_its_own_port_or_the_listening_one() {
        let address = |line: &str| parse(line).unwrap().address(80).unwrap().to_string();
        assert_eq!(address("goods --advertise 10.0.0.5:8080"), "10.0.0.5:8080");
        assert_eq!(address("goods --advertise 10.0.0.5"), "10.0.0.5:80");
        assert_eq!(address("goods --advertise 2001:db8::5"), "[2001:db8::5]:80");
        assert!(parse("goods --advertise goods.local:80").is_err());
    }

    #[test]
    fn a_user_needs_a_password_file_and_the_other_way_round() {
        assert!(parse("goods --username goods").is_err());
        assert!(parse("goods --password-file /p").is_err());
        assert!(parse("goods --username goods --password-file /p").is_ok());
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused_at_once() {
        let error = parse("goods --registry http://a:2379,127.0.0.1:2379").unwrap_err().to_string();
        assert!(
            error.contains("'127.0.0.1:2379'") && error.contains("must start with http:// or https://"),
            "{error}"
        );
    }

    #[test]
    fn certificates_are_for_an_encrypted_registry_alone() {
        let connection = |line: &str| parse(line).unwrap().connection();
        let tls = connection("goods --registry https://a:2379 --ca /ca --cert /cert --key /key").unwrap().tls;
        let [ca, cert, key] = ["/ca", "/cert", "/key"].map(|path| Some(PathBuf::from(path)));
        assert_eq!(tls, Some(Tls { ca, cert, key }));
        assert_eq!(connection("goods --registry https://a:2379").unwrap().tls, None);
        let error = connection("goods --registry https://a:2379,http://b:2379 --ca /ca").unwrap_err();
        assert_eq!(
            error.to_string(),
            "certificates are given, but http://b:2379 is not encrypted: write https://"
        );
        for half in ["goods --cert /cert", "goods --key /key"] {
            assert!(parse(half).is_err(), "{half}");
        }
    }

    #[test]
    fn a_call_takes_the_place_of_serving() {
        let arguments = parse("goods call --to http://127.0.0.1:8080").unwrap();
        let Some(Instead::Call { to }) = arguments.instead else { panic!("it serves") };
        assert_eq!(to.uri(), "http://127.0.0.1:8080");
        assert!(parse("goods call").is_err());
        assert!(parse("goods --echo call --to http://127.0.0.1:8080").is_err());
    }

    #[test]
    fn endpoints_are_separated_by_commas() {
        let arguments = parse("goods --registry http://a:2379,http://b:2379").unwrap();
        assert_eq!(arguments.registry, ["http://a:2379", "http://b:2379"]);
    }
}
