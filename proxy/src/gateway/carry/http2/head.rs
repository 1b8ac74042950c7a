//! A request's head as it came over HTTP/2, and the fields of heads that go on over it.

use bytes::Bytes;
use http::header::{InvalidHeaderName, InvalidHeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use super::shortened::{TOO_LONG, shorten};
use super::spaces::{SPACES, has_spaces};
use crate::authority::Authority;
use crate::gateway::edits::FieldsToSend;
use crate::gateway::grammar::Refusal;
use crate::head::Head;

/// What over HTTP/2 no field may be, as it is of a connection of HTTP/1: RFC 9113, 8.2.2.
const OF_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// A request's head.
#[derive(Debug)]
pub(super) struct StreamHead {
    parts: Parts,
    /// What was wrong with it as it came, if something was. (Of one that was too long this is what is left, and in a value that is
    /// joined no white space is seen any more.)
    fault: Option<Refusal>,
}

/// Why a head is not let through: it has the form of one, or h2 would have reset the stream.
pub(super) const TWO_HOSTS: &str = "Host and :authority name different hosts";
pub(super) const NO_HOST: &str = "Host is missing, or is no host";

impl StreamHead {
    /// With its cookies in one field. A client may write them in several, so that what it says again is little; they are
    /// one to whoever speaks HTTP/1 (RFC 9113, 8.2.3).
    pub(super) fn new(mut parts: Parts) -> Self {
        let fault = match shorten(&mut parts) {
            true => Some(TOO_LONG),
            false => has_spaces(&parts.headers).then(|| SPACES.into()),
        };
        let mut crumbs = parts.headers.get_all(header::COOKIE).iter();
        if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
            let all: Vec<_> = [first, second].into_iter().chain(crumbs).map(HeaderValue::as_bytes).collect();
            if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(all.join(&b"; "[..]))) {
                parts.headers.insert(header::COOKIE, joined);
            }
        }
        Self { parts, fault }
    }

    /// What is wrong with it, if something is.
    pub(super) fn fault(&self) -> Option<Refusal> {
        self.fault.or_else(|| self.host_fault().map(Refusal::from))
    }

    /// Who asks for one host in two ways asks for the same, and there has to be one (RFC 9113, 8.3.1).
    fn host_fault(&self) -> Option<&'static str> {
        let mut hosts = self.parts.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let (host, authority) = (hosts.next(), self.authority());
        if hosts.next().is_some()
            || host.zip(authority).is_some_and(|(host, authority)| !host.eq_ignore_ascii_case(authority))
        {
            return Some(TWO_HOSTS);
        }
        authority.or(host).and_then(Authority::parse).is_none().then_some(NO_HOST)
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

impl Head for StreamHead {
    fn method(&self) -> &Method {
        &self.parts.method
    }

    fn target(&self) -> &[u8] {
        self.parts.uri.path_and_query().map_or(b"", |target| target.as_str().as_bytes())
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn authority(&self) -> Option<&[u8]> {
        self.parts.uri.authority().map(|authority| authority.as_str().as_bytes())
    }

    fn version(&self) -> Version {
        self.parts.version
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        self.parts.headers.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn value<'h>(&'h self, name: &HeaderName) -> Option<&'h [u8]> {
        self.parts.headers.get(name).map(HeaderValue::as_bytes)
    }
}

/// The fields of a head that is about to be sent.
#[derive(Debug)]
pub(super) struct ToSend<'f>(pub(super) &'f mut HeaderMap);

/// What cannot be a field.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoField {
    #[error(transparent)]
    Name(#[from] InvalidHeaderName),
    #[error(transparent)]
    Value(#[from] InvalidHeaderValue),
}

impl FieldsToSend for ToSend<'_> {
    type Error = NoField;

    fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<(), NoField> {
        self.0.insert(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
        Ok(())
    }

    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<(), NoField> {
        self.0.append(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
        Ok(())
    }
}

/// Takes out what is of a connection of HTTP/1, and what that names: RFC 9110, 7.6.1; RFC 9113, 8.2.2.
pub(in crate::gateway::carry) fn leave_out_of_connection(fields: &mut HeaderMap) {
    if !fields.keys().any(|name| OF_CONNECTION.contains(&name.as_str())) {
        return;
    }
    let lists = fields.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let names = lists.flat_map(|list| list.split(|byte| *byte == b','));
    let named: Vec<_> = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named.iter().filter(|name| **name != header::CONTENT_LENGTH && **name != header::DATE) {
        fields.remove(name);
    }
    for name in OF_CONNECTION {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(uri: &str, fields: &[(&str, &str)]) -> StreamHead {
        let mut request = Request::get(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        StreamHead::new(request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn cookies_are_one_field_however_many_they_came_in() {
        let joined = |cookies: &[(&str, &str)]| {
            let head = head("http://a/", cookies);
            let values: Vec<_> = head.values(&header::COOKIE).map(|value| value.to_vec()).collect();
            values.join(&b"|"[..])
        };
        assert_eq!(joined(&[]), b"");
        assert_eq!(joined(&[("cookie", "a=1")]), b"a=1");
        assert_eq!(
            joined(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]),
            b"a=1; b=2; c=3"
        );
    }

    #[test]
    fn one_host_is_asked_for_and_in_one_way() {
        for (uri, host, expected) in [
            ("http://a:81/", None, None),
            ("http://a/", Some("A"), None),
            ("/", Some("a"), None),
            ("http://a/", Some("b"), Some(TWO_HOSTS)),
            ("http://a/", Some("a:80"), Some(TWO_HOSTS)),
            ("/", None, Some(NO_HOST)),
            ("/", Some(""), Some(NO_HOST)),
            ("http://user@a/", None, Some(NO_HOST)),
        ] {
            let fields: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            assert_eq!(head(uri, &fields).fault(), expected.map(Refusal::from), "{uri} {host:?}");
        }
        assert_eq!(head("/", &[("host", "a"), ("host", "a")]).fault(), Some(TWO_HOSTS.into()));
    }

    #[test]
    fn white_space_around_a_value_is_refused_in_cookies_that_are_joined_too() {
        let fault = |fields: &[(&str, &str)]| head("http://a/", fields).fault();
        assert_eq!(fault(&[("x", "a b"), ("y", "")]), None);
        assert_eq!(fault(&[("x", "a"), ("y", " b")]), Some(SPACES.into()));
        assert_eq!(fault(&[("cookie", "a=1 "), ("cookie", "b=2")]), Some(SPACES.into()));
    }

    #[test]
    fn what_is_of_a_connection_of_http_1_does_not_go_on() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-a, Content-Length, date"),
            ("x-a", "1"),
            ("keep-alive", "5"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("content-length", "2"),
            ("date", "then"),
            ("x-b", "1"),
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        leave_out_of_connection(&mut fields);
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "date", "x-b"]);
    }
}
