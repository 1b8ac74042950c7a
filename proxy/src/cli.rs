//! The command line.

use std::path::PathBuf;

use clap::Parser;
use pingora::server::configuration::Opt;

/// Leaseway: a reverse proxy for services that register themselves in etcd under a lease.
///
/// Each service keeps its instances registered below a prefix of etcd. The gateway watches that prefix
/// and forwards HTTP requests to the instances that are there at the moment.
///
/// SIGTERM stops it: what is in flight is answered first, for at most gateway.timeouts.drain.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "proxy", version)]
pub struct Arguments {
    /// The configuration: one YAML file.
    #[arg(short, long, value_name = "FILE", default_value = "conf/pingora.yaml")]
    pub conf: PathBuf,

    /// Check the configuration and exit: 0 if it is valid, 1 after listing all its mistakes.
    ///
    /// The files and directories that it names must be there for the user that the gateway runs as: check
    /// as this user, or as root where the configuration says `daemon` and `user`. Nothing is started, and no
    /// address is bound.
    #[arg(short, long)]
    pub test: bool,

    /// With --test: print the routes, in the order in which they are tried.
    #[arg(long, requires = "test")]
    pub routes: bool,

    /// With --test: say which route takes this request, what happens to it, and what kept each earlier one from it.
    ///
    /// A method and a URL, such as 'GET https://shop.example.com/goods/7?x=1'; or a path, of a request without a host.
    /// Exits with 0 if a route takes it, with 2 if none does, and with 1 if the configuration, the request or another
    /// argument is not valid. Scheme and host are the URL's, whatever the trusted proxies are.
    #[arg(long = "match", value_name = "REQUEST", requires = "test", conflicts_with = "routes")]
    pub request: Option<String>,

    /// With --match: a header of the request, as 'name: value'. May be given several times.
    #[arg(short = 'H', long = "header", value_name = "HEADER", requires = "request")]
    pub headers: Vec<String>,

    /// With --match: the client's address, as the gateway has found it.
    #[arg(long, value_name = "IP", requires = "request")]
    pub client: Option<String>,

    /// Run in the background, as `daemon: true` in the configuration does.
    #[arg(short, long)]
    pub daemon: bool,

    /// Take over the listening sockets of a running gateway once this one is ready.
    ///
    /// Start the new gateway with this option, then send SIGQUIT to the old one. Both need the same
    /// upgrade_sock.
    #[arg(short, long)]
    pub(crate) upgrade: bool,
}

impl Arguments {
    /// What Pingora wants to know. Its own reading of a configuration file stays off: ours is checked. So
    /// does its taking over of sockets: the server does that itself.
    #[must_use]
    pub(crate) fn pingora_options(&self) -> Opt {
        Opt { upgrade: false, daemon: self.daemon, nocapture: false, test: self.test, conf: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn arguments(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_arguments_the_default_file_is_used() {
        let arguments = arguments("proxy").unwrap();
        assert_eq!(arguments.conf, PathBuf::from("conf/pingora.yaml"));
        assert!(!arguments.test && !arguments.daemon && !arguments.upgrade);
    }

    #[test]
    fn short_and_long_options_mean_the_same() {
        let short = arguments("proxy -c a.yaml -t -d -u").unwrap();
        let long = arguments("proxy --conf a.yaml --test --daemon --upgrade").unwrap();
        assert_eq!(short, long);
        assert_eq!(short.conf, PathBuf::from("a.yaml"));
        assert!(short.test && short.daemon && short.upgrade);
    }

    #[test]
    fn pingora_learns_neither_the_file_nor_of_an_upgrade() {
        let options = arguments("proxy -c a.yaml -t -d -u").unwrap().pingora_options();
        assert!(options.test && options.daemon && !options.upgrade && !options.nocapture);
        assert_eq!(options.conf, None);
        let options = arguments("proxy").unwrap().pingora_options();
        assert!(!options.test && !options.daemon && !options.upgrade);
    }

    #[test]
    fn help_and_version_are_answered_and_anything_else_is_an_error() {
        for (line, kind) in [
            ("proxy --help", ErrorKind::DisplayHelp),
            ("proxy --version", ErrorKind::DisplayVersion),
            ("proxy --nocapture", ErrorKind::UnknownArgument),
            ("proxy a.yaml", ErrorKind::UnknownArgument),
            ("proxy -c", ErrorKind::InvalidValue),
            ("proxy --routes", ErrorKind::MissingRequiredArgument),
            ("proxy --match x", ErrorKind::MissingRequiredArgument),
            ("proxy -t -H a:b", ErrorKind::MissingRequiredArgument),
            ("proxy -t --client 10.0.0.1", ErrorKind::MissingRequiredArgument),
            ("proxy -t --routes --match x", ErrorKind::ArgumentConflict),
        ] {
            assert_eq!(arguments(line).unwrap_err().kind(), kind, "{line}");
        }
    }
}
