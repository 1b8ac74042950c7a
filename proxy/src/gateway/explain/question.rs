//! The request that is asked about.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method, Version, header};
use pingora::http::RequestHeader;

use crate::authority::Authority;
use crate::config::Scheme;

/// A request that is asked about.
#[derive(Debug)]
pub struct Question {
    pub(super) head: RequestHeader,
    pub(super) scheme: Scheme,
    pub(super) client: Option<IpAddr>,
}

/// Why a text is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// It has not the two parts of a request.
    #[error("is no request: expected a method and a URL, such as 'GET https://shop.example.com/goods/7?x=1'")]
    Form,
    /// Its method is none.
    #[error("has no method: {0:?} has a character that none may have")]
    Method(String),
    /// Its URL has no host.
    #[error("has a URL whose host is none: {0:?}")]
    Host(String),
    /// It asks for what is no path.
    #[error("asks for neither a URL of http or https nor a path, but for {0:?}")]
    Target(String),
    /// Its path or query has what a client would have to escape.
    #[error("has {0:?} in its URL: write %XX, as a client does")]
    Character(char),
    /// A header is none.
    #[error("has a header that is none: {0:?}, expected 'name: value'")]
    Header(String),
    /// An address is none.
    #[error("has a client whose address is none: {0:?}")]
    Client(String),
}

impl Question {
    /// `request`: a method and a URL, or a path alone for a request without a host. `headers`: each as `name: value`; a
    /// `Host` takes the place of the URL's. `client`: the client's address, as the gateway has found it.
    ///
    /// # Errors
    /// When one of them is not such a thing.
    pub fn parse(request: &str, headers: &[String], client: Option<&str>) -> Result<Self, QuestionError> {
        let (method, url) = request.trim().split_once(char::is_whitespace).ok_or(QuestionError::Form)?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| QuestionError::Method(method.to_owned()))?;
        let url = Url::parse(url.trim_start())?;
        let mut head = RequestHeader::build(method, url.target.as_bytes(), None)
            .map_err(|_| QuestionError::Target(url.target.clone()))?;
        if let Some(host) = url.host {
            head.insert_header(header::HOST, host).map_err(|_| QuestionError::Host(host.to_owned()))?;
        }
        for header in headers {
            add_header(&mut head, header)?;
        }
        if !head.headers.contains_key(header::HOST) {
            head.set_version(Version::HTTP_10);
        }
        let client = client.map(|text| text.parse().map_err(|_| QuestionError::Client(text.to_owned())));
        Ok(Self { head, scheme: url.scheme, client: client.transpose()? })
    }
}

fn add_header(head: &mut RequestHeader, header: &str) -> Result<(), QuestionError> {
    let wrong = || QuestionError::Header(header.to_owned());
    let (name, value) = header.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    if name == header::HOST {
        return head.insert_header(name, value).map_err(|_| wrong());
    }
    head.append_header(name, value).map(|_| ()).map_err(|_| wrong())
}

/// What of a URL is in a request. The path stays as it is: whether it is a good one is for the gateway to say.
struct Url<'u> {
    scheme: Scheme,
    host: Option<&'u str>,
    target: String,
}

impl<'u> Url<'u> {
    fn parse(text: &'u str) -> Result<Self, QuestionError> {
        // No client sends a fragment.
        let (text, _) = text.split_once('#').unwrap_or((text, ""));
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(QuestionError::Character(odd));
        }
        if text.starts_with('/') {
            return Ok(Self { scheme: Scheme::Http, host: None, target: text.to_owned() });
        }
        let of_no_kind = || QuestionError::Target(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(of_no_kind)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(of_no_kind()),
        };
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if Authority::parse(host.as_bytes()).is_none() {
            return Err(QuestionError::Host(host.to_owned()));
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, host: Some(host), target: format!("{slash}{target}") })
    }
}
