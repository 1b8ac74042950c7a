//! Which requests a route takes.

use std::net::IpAddr;

use config_reader::key;
use config_reader::kind::{Kind, list, map, one_or_list, text};
use http::{HeaderName, Method};
use ipnet::IpNet;

use super::certificate::CertificateMatch;
use super::condition::{Of, condition};
use super::fields::OURS;
use super::host::host;
use super::path::path;
use super::redirect::scheme;
use super::{Expression, some};
use crate::config::Value;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::network::network;
use crate::config::token::{TOKEN, TokenError, parse_token};
use crate::forged;

/// Which requests a route takes: those of which all of this is so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Match {
    /// The host is one of these; none: any.
    pub(crate) hosts: Vec<HostPattern>,
    /// Where its path is.
    pub(crate) path: PathPattern,
    /// The method is one of these; none: any.
    pub(crate) methods: Vec<Method>,
    /// The header's values, one of which must be so. No name twice.
    pub(crate) headers: Vec<(HeaderName, Condition)>,
    /// The parameters of the query, as they are after their escapes are decoded. No name twice.
    pub(crate) query: Vec<(String, Condition)>,
    /// The cookies. No name twice.
    pub(crate) cookies: Vec<(String, Condition)>,
    /// The client's address is in one of these; none: any.
    pub(crate) clients: Vec<IpNet>,
    /// What the client speaks; none: either.
    pub(crate) scheme: Option<Scheme>,
    /// Which certificate the client has shown; none: any, or none at all.
    pub(crate) client_cert: Option<CertificateMatch>,
}

/// Hosts, in small letters, without a port and a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    /// This one: `shop.example.com`.
    Exact(String),
    /// Those of one or more labels before it: `shop.example.com`, of `*.shop.example.com`.
    Below(String),
}

/// Where a normalised path is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum PathPattern {
    /// Anywhere.
    #[default]
    Any,
    /// This one alone.
    Exact(String),
    /// This one and all below it, by segment: `/goods` takes `/goods` and `/goods/list`, not `/goods2`. It ends with no
    /// slash, but for `/` itself, which takes all.
    Prefix(String),
    /// Those that it takes from their first letter to their last.
    Regex(Expression),
    /// Those whose first segment below this path (without a slash at its end, so empty for the root) is a service's
    /// name: `/{service}`.
    Service(String),
}

/// What a header, a parameter or a cookie must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There, with whatever value.
    Present,
    /// Not there.
    Absent,
    /// There, with this value.
    Exact(String),
    /// There, with a value that begins so.
    Prefix(String),
    /// There, with a value that it takes from its first letter to its last.
    Regex(Expression),
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Match {
    /// A path at a host as it is written; empty: at any.
    #[cfg(test)]
    pub(crate) fn at(host: &str, path: PathPattern) -> Self {
        let hosts = match host {
            "" => Vec::new(),
            host => vec![match host.strip_prefix("*.") {
                Some(below) => HostPattern::Below(below.into()),
                None => HostPattern::Exact(host.into()),
            }],
        };
        Self { hosts, path, ..Self::default() }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let hosts = key("host", "the hosts that it takes; `*.NAME` is one label or more before NAME")
            .example("[shop.example.com, \"*.shop.example.com\"]");
        some(
            v,
            hosts,
            one_or_list(list(host()).distinct().not_empty("host, such as shop.example.com")),
            &mut self.hosts,
        );
        let paths =
            key("path", "the path, as the route's own key `path` has it").example("{regex: \"/v[0-9]+/.*\"}");
        let mut written = Some(self.path.clone()).filter(|path| *path != PathPattern::Any);
        v.optional(paths, path(), &mut written);
        self.path = written.unwrap_or_default();
        let methods = key("methods", "the methods that it takes").example("[GET, HEAD]");
        some(v, methods, list(method()).distinct().not_empty("method, such as GET"), &mut self.methods);
        let headers =
            key("headers", "what the fields are, one of those of a name").example("{x-canary: \"1\"}");
        some(v, headers, map(parse_header, TOKEN, condition(Of::Header)), &mut self.headers);
        let query = key("query", "what the parameters of the query are").example("{beta: {present: true}}");
        some(v, query, map(parse_parameter, ".", condition(Of::Parameter)), &mut self.query);
        let cookies = key("cookies", "what the cookies are").example("{group: a}");
        some(v, cookies, map(parse_cookie, TOKEN, condition(Of::Cookie)), &mut self.cookies);
        let clients = key("client", "the networks that clients are in").example("[10.0.0.0/8]");
        some(
            v,
            clients,
            list(network()).distinct().not_empty("network, such as 10.0.0.0/8"),
            &mut self.clients,
        );
        v.optional(key("scheme", "what clients speak").example("https"), scheme(), &mut self.scheme);
        let client_cert = key(
            "client_cert",
            "which [certificate clients show](tls.md#client-certificates); who shows none is not taken",
        )
        .shape("a section such as {san: shop.example.com}");
        v.optional_section(
            client_cert,
            &mut self.client_cert,
            CertificateMatch::default,
            CertificateMatch::keys,
        );
    }

    /// How many conditions there are beside the host and the path: each header, each parameter and each cookie counts,
    /// and the methods, the clients, the scheme and the client's certificate.
    pub(crate) fn conditions(&self) -> usize {
        let named = self.headers.len() + self.query.len() + self.cookies.len();
        let others = [
            !self.methods.is_empty(),
            !self.clients.is_empty(),
            self.scheme.is_some(),
            self.client_cert.is_some(),
        ];
        named + others.into_iter().filter(|there| *there).count()
    }

    /// Whether the client's address is one that it takes.
    pub(crate) fn takes_client(&self, client: Option<IpAddr>) -> bool {
        let is_in = |client: IpAddr| self.clients.iter().any(|network| network.contains(&client));
        self.clients.is_empty() || client.is_some_and(|client| is_in(client.to_canonical()))
    }
}

impl PathPattern {
    /// Whether this path is one of them. (Of a path that names a service, whether it may is for the route to say.)
    pub(crate) fn takes(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(known) => path == known,
            Self::Prefix(prefix) => below(prefix.trim_end_matches('/'), path).is_some(),
            Self::Regex(expression) => expression.takes(path.as_bytes()),
            Self::Service(_) => self.service(path).is_some(),
        }
    }

    /// The service that a path names, if it is at such a place: of `/shop/{service}` and `/shop/goods/7`, `goods`. It
    /// is taken as it stands in the normalised path.
    pub(crate) fn service<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Self::Service(prefix) = self else { return None };
        let segment = below(prefix, path)?.strip_prefix('/')?;
        let (segment, _) = segment.split_once('/').unwrap_or((segment, ""));
        (!segment.is_empty()).then_some(segment)
    }
}

/// What follows this prefix of whole segments in a path: nothing, or a slash and more. The prefix ends with no slash, so
/// the root's is empty.
pub(crate) fn below<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

impl Condition {
    /// Whether it holds where these are the values, of which one suffices.
    pub(crate) fn holds<V: AsRef<[u8]>>(&self, mut values: impl Iterator<Item = V>) -> bool {
        let mut any = |takes: &dyn Fn(&[u8]) -> bool| values.any(|value| takes(value.as_ref()));
        match self {
            Self::Present => any(&|_| true),
            Self::Absent => !any(&|_| true),
            Self::Exact(expected) => any(&|value| value == expected.as_bytes()),
            Self::Prefix(prefix) => any(&|value| value.starts_with(prefix.as_bytes())),
            Self::Regex(expression) => any(&|value| expression.takes(value)),
        }
    }
}

/// Why a text is no method. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum MethodError {
    #[error("is in small letters: write {0}, a method's letters are not compared without regard to case")]
    Small(String),
    #[error("is no method such as GET")]
    Malformed,
}

fn method() -> impl Kind<Need, Value = Method> {
    let parse = |text: &str| match text.to_ascii_uppercase() {
        upper if upper != text => Err(MethodError::Small(upper)),
        _ => Method::from_bytes(text.as_bytes()).map_err(|_| MethodError::Malformed),
    };
    text(move |value: &Value<'_>| value.parse(parse), Method::to_string).pattern("^[A-Z0-9!#$%&'*+.^_`|~-]+$")
}

/// Why a name is not matched by. Each reads on after it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NameError {
    #[error(transparent)]
    NoName(#[from] TokenError),
    #[error("is matched by `host`, which knows HTTP/2's hosts, too")]
    Host,
    #[error("is matched by `cookies`, one by one")]
    Cookie,
    #[error(
        "is what proxies say, and any client can write it: match by `client`, `scheme` or `host`, which know whom to believe"
    )]
    Forged,
    #[error("is empty")]
    Empty,
}

fn parse_header(text: &str) -> Result<HeaderName, NameError> {
    match parse_token(text, "header")? {
        name if name == http::header::HOST => Err(NameError::Host),
        name if name == http::header::COOKIE => Err(NameError::Cookie),
        name if is_of_proxies(&name) => Err(NameError::Forged),
        name => Ok(name),
    }
}

/// Whether it is a field by which proxies, this gateway with them, tell those behind them who asked and by which way.
fn is_of_proxies(name: &HeaderName) -> bool {
    // The trace's name plays no part here.
    forged::is_forged(name.as_str(), b"")
        || OURS.iter().any(|ours| forged::is_same(name.as_str().as_bytes(), ours.as_bytes()))
}

fn parse_parameter(text: &str) -> Result<String, NameError> {
    if text.is_empty() { Err(NameError::Empty) } else { Ok(text.to_owned()) }
}

fn parse_cookie(text: &str) -> Result<String, NameError> {
    parse_token(text, "cookie")?;
    Ok(text.to_owned())
}
