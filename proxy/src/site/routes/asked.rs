//! What a request is matched by.

use std::net::IpAddr;

use crate::config::Scheme;
use crate::head::Head;

/// What a request is matched by.
#[derive(Debug)]
pub(crate) struct Asked<'r, H> {
    pub(crate) head: &'r H,
    /// Normalised.
    pub(crate) path: &'r str,
    pub(crate) scheme: Scheme,
    /// Who asks; none: nobody knows.
    pub(crate) client: Option<IpAddr>,
}

impl<'r, H: Head> Asked<'r, H> {
    /// A request over HTTP of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn new(head: &'r H, path: &'r str) -> Self {
        Self { head, path, scheme: Scheme::Http, client: None }
    }
}
