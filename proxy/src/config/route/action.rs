//! What happens to the requests that a route takes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::{PathChange, Scheme, Template};
use crate::path;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is forwarded to one of these services: one at least, no name twice, not all of weight 0.
    Forward(Vec<Share>),
    /// It is forwarded to the service that its path names.
    ForwardByPath(ServicesAllowed),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers.
    Answer(FixedAnswer),
}

/// A service's share of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// One segment of a registry's key, or the name of a service with `addresses`.
    pub(crate) service: String,
    /// 0 to 65,535, in proportion to the others; 0: it gets none.
    pub(crate) weight: u16,
}

/// The services that a path may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServicesAllowed {
    /// One at least.
    pub(crate) patterns: Vec<ServicePattern>,
    /// How many of them at most: 1 to 10,000.
    pub(crate) most: usize,
}

/// Names of services: `goods`, or `shop-*`, in which the star stands for any letters, be it none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServicePattern {
    Exact(String),
    Prefix(String),
}

impl ServicesAllowed {
    /// Whether a service of this name may be named: not if its name is none that a path can have.
    pub(crate) fn allow(&self, service: &str) -> bool {
        let is_allowed = |pattern: &ServicePattern| match pattern {
            ServicePattern::Exact(name) => name == service,
            ServicePattern::Prefix(prefix) => service.starts_with(prefix.as_str()),
        };
        path::is_plain_segment(service) && self.patterns.iter().any(is_allowed)
    }

    /// Whether it is allowed by its own name, and not as one of many.
    pub(crate) fn names(&self, service: &str) -> bool {
        self.patterns.iter().any(|pattern| matches!(pattern, ServicePattern::Exact(name) if name == service))
    }
}

/// Where a client is sent. What is not said stays as the client asked for it; the query always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) scheme: Option<Scheme>,
    /// With or without a port.
    pub(crate) host: Option<String>,
    /// The path in place of the client's, as it may have been rewritten.
    pub(crate) path: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub(crate) status: u16,
    /// Whether a header, a cookie or a certificate decides on it, with which a client need not come again.
    pub(crate) is_by_client: bool,
}

impl Redirect {
    /// Whether a client that it leads to the URL where it is would be led there again.
    pub(crate) fn goes_round(&self, method: &Method) -> bool {
        !self.is_by_client && self.keeps_method(method)
    }

    /// Whether a client that comes again because of it does so with the method that it has had. After a 303 all but GET
    /// and HEAD become GET; after a 301 and a 302, POST does (RFC 9110, section 15.4).
    fn keeps_method(&self, method: &Method) -> bool {
        match self.status {
            303 => *method == Method::GET || *method == Method::HEAD,
            301 | 302 => *method != Method::POST,
            _ => true,
        }
    }
}

/// An answer without an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FixedAnswer {
    /// 200 to 599.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// At most 16 KiB.
    pub(crate) body: Bytes,
}

/// What is changed of a request before it is sent on, and of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// How the path becomes another.
    pub(crate) path: PathChange,
    /// The `Host` that instances get; none: the client's own.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) request: FieldChanges,
    pub(crate) response: FieldChanges,
}

/// What is changed of a head's fields, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldChanges {
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) set: Vec<(HeaderName, Template)>,
    pub(crate) add: Vec<(HeaderName, Template)>,
}

/// How clients come back to the instance that answered them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sticky {
    /// The name of the cookie that tells it.
    pub(crate) cookie: String,
    /// What signs it, at least 16 bytes, the same in all gateways; none: one of this process.
    pub(crate) key: Option<Key>,
}

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Arc<[u8]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What the gateway's own error answers look like, by status. A status of its own goes before its hundred.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorAnswers {
    pub(crate) by_status: Vec<(u16, Arc<ErrorAnswer>)>,
    /// By the first digit: 4 or 5.
    pub(crate) by_hundred: Vec<(u16, Arc<ErrorAnswer>)>,
}

/// What an error answer of the gateway's own looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ErrorAnswer {
    /// An object of texts, by their names, in their order.
    Json(Vec<(String, Template)>),
    /// What a file held, at most 64 KiB, when the configuration was read.
    File { content_type: HeaderValue, body: Bytes },
}

impl ErrorAnswers {
    /// How a status is answered; none: as the gateway does by itself.
    pub(crate) fn get(&self, status: u16) -> Option<Arc<ErrorAnswer>> {
        let find = |list: &'_ [(u16, Arc<ErrorAnswer>)], key: u16| {
            list.iter().find(|(known, _)| *known == key).map(|(_, answer)| answer.clone())
        };
        find(&self.by_status, status).or_else(|| find(&self.by_hundred, status / 100))
    }
}
