//! Names of headers and cookies.

use config_reader::kind::Kind;
use http::HeaderName;

use super::keys::parsed;
use super::machine::Need;

/// What a header's or a cookie's name looks like: a token of RFC 9110.
pub(super) const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// The name of a header or a cookie.
pub(super) fn token(of: &'static str) -> impl Kind<Need, Value = String> {
    parsed(move |text| parse_token(text, of).map(|_| text.to_owned()), TOKEN)
}

/// Why a text is no name of a header or a cookie. Reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a {0} name: expected letters, digits, \"-\" and \"_\"")]
pub(super) struct TokenError(&'static str);

/// A cookie's name has the characters of a header's: RFC 6265, section 4.1.1.
pub(super) fn parse_token(text: &str, of: &'static str) -> Result<HeaderName, TokenError> {
    HeaderName::try_from(text).map_err(|_| TokenError(of))
}
