//! Whose certificate a client has to show, for a route to take its request.

use std::fmt;

use config_reader::key;
use config_reader::kind::{Kind, list, one_or_list, text};

use super::HostPattern;
use super::host::{HostError, parse_pattern};
use crate::config::Value;
use crate::config::keys::Visit;
use crate::config::machine::Need;

/// The longest URI and the longest address, in bytes: the longest that SPIFFE allows.
const LENGTH: usize = 2048;

/// Whose certificate a client has to show. (That it was signed by one of the listener's authorities is known before.)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CertificateMatch {
    /// One of the certificate's alternative names is one of these: at least one.
    pub(crate) san: Vec<SanPattern>,
}

/// Alternative names of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SanPattern {
    /// This DNS name, in small letters.
    Dns(String),
    /// The DNS names of one label before it: `a.example.com`, of `*.example.com`.
    DnsBelow(String),
    /// This URI, letter by letter.
    Uri(String),
    /// The URIs that begin so.
    UriPrefix(String),
    /// This address of mail, letter by letter.
    Email(String),
}

impl CertificateMatch {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let san = key("san", "one of its alternative names is one of these")
            .more(
                "A DNS name, with `*.` for one label before it; a URI, which may end with `*`; or an address of mail. Names \
                 are compared without regard to case, the others letter by letter.",
            )
            .required("a name such as shop.example.com, a URI such as spiffe://cluster.local/ns/shop/*, or a list of such")
            .example("\"spiffe://cluster.local/ns/shop/*\"");
        let names = list(pattern()).distinct().not_empty("name, such as shop.example.com");
        v.key(san, one_or_list(names), &mut self.san);
    }

    /// Whether a certificate with these alternative names is one.
    pub(crate) fn matches(&self, dns: &[String], uris: &[String], emails: &[String]) -> bool {
        self.san.iter().any(|pattern| {
            let of_its_kind = match pattern {
                SanPattern::Dns(_) | SanPattern::DnsBelow(_) => dns,
                SanPattern::Uri(_) | SanPattern::UriPrefix(_) => uris,
                SanPattern::Email(_) => emails,
            };
            of_its_kind.iter().any(|name| pattern.takes(name))
        })
    }
}

impl SanPattern {
    /// Whether a name of its kind is one of them.
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Dns(known) => name.eq_ignore_ascii_case(known),
            Self::DnsBelow(above) => {
                let labels = name.split_once('.').filter(|(label, _)| !label.is_empty());
                labels.is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(above))
            }
            Self::Uri(known) | Self::Email(known) => name == known,
            Self::UriPrefix(beginning) => name.starts_with(beginning.as_str()),
        }
    }

    /// Whether all names that the other one takes are of these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::DnsBelow(_), Self::Dns(name)) | (Self::UriPrefix(_), Self::Uri(name)) => self.takes(name),
            (Self::UriPrefix(beginning), Self::UriPrefix(narrower)) => {
                narrower.starts_with(beginning.as_str())
            }
            _ => self == other,
        }
    }
}

/// As it is written.
impl fmt::Display for SanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) | Self::Email(name) => f.write_str(name),
            Self::DnsBelow(above) => write!(f, "*.{above}"),
            Self::UriPrefix(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// Why no certificate has such a name. Each reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum SanError {
    #[error(
        "is no name of a certificate: expected a DNS name such as shop.example.com or *.example.com, a URI such as \
         spiffe://cluster.local/ns/shop/*, or an address of mail"
    )]
    Malformed,
    #[error(
        "takes every certificate that was verified: to ask for any, leave `client_cert` out and demand one with mode: required"
    )]
    Any,
    #[error(
        "has a \"*\" in the middle: write it in the place of the first label of a name, as in *.example.com, or at the end of a URI"
    )]
    Wildcard,
    #[error("has a port, which names of certificates do not have: write {0}")]
    Port(String),
    #[error("is an IP address: matched are DNS names, URIs and addresses of mail")]
    Address,
    #[error(
        "has {0:?} in it, which is not in certificates: names of other letters begin with xn--, URIs have them escaped"
    )]
    Character(char),
    #[error("is longer than a name can be")]
    Length,
}

impl From<HostError> for SanError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Any => Self::Any,
            HostError::Wildcard => Self::Wildcard,
            HostError::Character(character) => Self::Character(character),
            HostError::Length => Self::Length,
            HostError::Unbracketed(_) => Self::Address,
            HostError::Malformed | HostError::Url | HostError::Port(_) => Self::Malformed,
        }
    }
}

fn pattern() -> impl Kind<Need, Value = SanPattern> {
    text(|value: &Value<'_>| value.parse(parse), SanPattern::to_string).takes(
        "`shop.example.com`, `*.example.com`, `spiffe://cluster.local/ns/shop/*` or an address of mail",
    )
}

fn parse(text: &str) -> Result<SanPattern, SanError> {
    if let Some(other) = text.chars().find(|c| !matches!(c, '!'..='~')) {
        return Err(SanError::Character(other));
    }
    if text.len() > LENGTH {
        return Err(SanError::Length);
    }
    if text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') {
        return Err(SanError::Address);
    }
    if let Some((scheme, rest)) = text.split_once(':') {
        return parse_uri(text, scheme, rest);
    }
    if let Some((local, domain)) = text.split_once('@') {
        let is_whole = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        return match text.contains('*') {
            true => Err(SanError::Wildcard),
            false if is_whole => Ok(SanPattern::Email(text.to_owned())),
            false => Err(SanError::Malformed),
        };
    }
    Ok(match parse_pattern(text)? {
        HostPattern::Exact(name) => SanPattern::Dns(name),
        HostPattern::Below(above) => SanPattern::DnsBelow(above),
    })
}

fn parse_uri(text: &str, scheme: &str, rest: &str) -> Result<SanPattern, SanError> {
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SanError::Port(scheme.to_owned()));
    }
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme || rest.is_empty() {
        return Err(SanError::Malformed);
    }
    let beginning = text.strip_suffix('*');
    if beginning.unwrap_or(text).contains('*') {
        return Err(SanError::Wildcard);
    }
    Ok(match beginning {
        Some(beginning) => SanPattern::UriPrefix(beginning.to_owned()),
        None => SanPattern::Uri(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, dns: &[&str], uris: &[&str], emails: &[&str]) -> bool {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wanted = CertificateMatch { san: vec![parse(pattern).unwrap()] };
        wanted.matches(&owned(dns), &owned(uris), &owned(emails))
    }

    #[test]
    fn a_name_is_compared_without_regard_to_case_and_a_star_is_one_label() {
        for (pattern, name, expected) in [
            ("shop.example.com", "shop.example.com", true),
            ("Shop.Example.com", "shop.EXAMPLE.com", true),
            ("shop.example.com", "a.shop.example.com", false),
            ("shop.example.com", "shop.example.com.evil", false),
            ("shop.example.com", "*.example.com", false),
            ("*.example.com", "shop.example.com", true),
            ("*.example.com", "SHOP.example.COM", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "a.shop.example.com", false),
            ("*.example.com", "shopexample.com", false),
        ] {
            assert_eq!(matches(pattern, &["other", name], &[], &[]), expected, "{pattern} of {name}");
        }
    }

    #[test]
    fn a_uri_and_an_address_of_mail_are_compared_letter_by_letter() {
        let shop = "spiffe://cluster.local/ns/shop/sa/cart";
        for (pattern, uri, expected) in [
            (shop, shop, true),
            (shop, "spiffe://cluster.local/ns/shop/sa/CART", false),
            (shop, "spiffe://cluster.local/ns/shop/sa/cart2", false),
            ("spiffe://cluster.local/ns/shop/*", shop, true),
            ("spiffe://cluster.local/ns/shop/*", "spiffe://cluster.local/ns/shopping/sa/cart", false),
            ("spiffe://cluster.local/ns/shop/*", "x:spiffe://cluster.local/ns/shop/sa/cart", false),
            ("urn:uuid:*", "urn:uuid:7", true),
        ] {
            assert_eq!(matches(pattern, &[], &[uri], &[]), expected, "{pattern} of {uri}");
        }
        assert!(matches("a@example.com", &[], &[], &["b@example.com", "a@example.com"]));
        assert!(!matches("a@example.com", &[], &[], &["A@example.com"]));
    }

    #[test]
    fn a_name_of_another_kind_is_not_the_same() {
        for pattern in ["shop.example.com", "*.example.com"] {
            assert!(!matches(pattern, &[], &["shop.example.com"], &["shop.example.com"]));
        }
        assert!(!matches("spiffe://a/*", &["spiffe://a/b"], &[], &["spiffe://a/b"]));
        assert!(!matches("a@b.c", &["a@b.c"], &["a@b.c"], &[]));
        assert!(!matches("a@b.c", &[], &[], &[]));
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (wider, narrower, expected) in [
            ("*.b.c", "a.b.c", true),
            ("*.b.c", "*.b.c", true),
            ("*.b.c", "*.a.b.c", false),
            ("a.b.c", "*.b.c", false),
            ("a:b*", "a:bc", true),
            ("a:b*", "a:bc*", true),
            ("a:bc*", "a:b*", false),
            ("a:b", "a:b", true),
            ("a:b", "a:b*", false),
            ("a@b.c", "a@b.c", true),
            ("*.b.c", "a@b.c", false),
        ] {
            let [wider, narrower] = [wider, narrower].map(|text| parse(text).unwrap());
            assert_eq!(wider.covers(&narrower), expected, "{wider} of {narrower}");
        }
    }

    #[test]
    fn what_is_written_is_shown_as_it_was_and_what_no_certificate_has_is_refused() {
        for text in ["shop.example.com", "*.example.com", "spiffe://a/b", "spiffe://a/*", "urn:a", "a@b.c"] {
            assert_eq!(parse(text).map(|pattern| pattern.to_string()), Ok(text.to_owned()));
        }
        for (text, expected) in [
            ("*", SanError::Any),
            ("a.*.c", SanError::Wildcard),
            ("*@b.c", SanError::Wildcard),
            ("spiffe://*/a", SanError::Wildcard),
            ("spiffe://a/**", SanError::Wildcard),
            ("shop.example.com:443", SanError::Port("shop.example.com".into())),
            ("10.0.0.1", SanError::Address),
            ("fd00::1", SanError::Address),
            ("[fd00::1]", SanError::Address),
            ("caf\u{e9}.example", SanError::Character('\u{e9}')),
            ("a b", SanError::Character(' ')),
            ("", SanError::Malformed),
            ("@b.c", SanError::Malformed),
            ("a@", SanError::Malformed),
            ("a@b@c", SanError::Malformed),
            (":a", SanError::Malformed),
            ("a:", SanError::Malformed),
            ("a/b", SanError::Malformed),
            (&format!("a:{}", "b".repeat(2048)), SanError::Length),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
