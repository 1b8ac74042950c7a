//! What a request is matched by.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use crate::authority::Authority;
use crate::config::{CertificateMatch, Scheme};
use crate::head::Head;
use crate::tls::Identity;

/// What a request is matched by.
#[derive(Debug)]
pub(crate) struct Asked<'r, H> {
    pub(crate) head: &'r H,
    /// Normalised.
    pub(crate) path: &'r str,
    pub(crate) scheme: Scheme,
    /// Who asks; none: nobody knows.
    pub(crate) client: Option<IpAddr>,
    /// Whom the certificate names that the client has shown on its connection; none: it has shown none.
    pub(crate) identity: Option<&'r Identity>,
    /// The parameters of the query, decoded once for all routes, when the first one asks for any.
    parameters: OnceCell<Named<'r, str>>,
    /// The cookies, likewise.
    cookies: OnceCell<Named<'r, [u8]>>,
}

/// Values by their names, sorted by these; those of one name stay in their order.
type Named<'r, T> = Vec<(Cow<'r, T>, Cow<'r, T>)>;

impl<'r, H: Head> Asked<'r, H> {
    pub(crate) fn of(
        head: &'r H,
        path: &'r str,
        scheme: Scheme,
        client: Option<IpAddr>,
        identity: Option<&'r Identity>,
    ) -> Self {
        Self { head, path, scheme, client, identity, parameters: OnceCell::new(), cookies: OnceCell::new() }
    }

    /// A request over HTTP of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn new(head: &'r H, path: &'r str) -> Self {
        Self::of(head, path, Scheme::Http, None, None)
    }

    /// The host in small letters, without its port and a trailing dot; empty: none that could be one.
    pub(super) fn host(&self) -> Cow<'r, str> {
        self.head.host().and_then(Authority::parse).map(Authority::name).unwrap_or_default()
    }

    /// Whether the client has shown such a certificate.
    pub(super) fn has_shown(&self, wanted: &CertificateMatch) -> bool {
        self.identity.is_some_and(|identity| wanted.matches(&identity.dns, &identity.uris, &identity.emails))
    }

    /// The values of the query's parameters of this name, decoded.
    pub(super) fn parameters(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let decoded = || sorted(form_urlencoded::parse(self.head.query().unwrap_or_default()));
        of_name(self.parameters.get_or_init(decoded), name).map(|(_, value)| value.as_bytes())
    }

    /// The values of the cookies of this name.
    pub(super) fn cookies(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let split = || {
            let cookies = self.head.all_cookies();
            sorted(cookies.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))))
        };
        of_name(self.cookies.get_or_init(split), name.as_bytes()).map(|(_, value)| &**value)
    }
}

fn sorted<'r, T: ToOwned + Ord + ?Sized>(
    named: impl Iterator<Item = (Cow<'r, T>, Cow<'r, T>)>,
) -> Named<'r, T> {
    let mut named: Vec<_> = named.collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
}

fn of_name<'n, 'r, T: ToOwned + Ord + ?Sized>(
    named: &'n Named<'r, T>,
    name: &T,
) -> impl Iterator<Item = &'n (Cow<'r, T>, Cow<'r, T>)> {
    let first = named.partition_point(|(known, _)| **known < *name);
    named.iter().skip(first).take_while(|(known, _)| **known == *name)
}
