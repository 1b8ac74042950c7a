//! Fields of heads that a route changes or says.

use config_reader::key;
use config_reader::kind::{Kind, list, map, text};
use http::{HeaderName, HeaderValue, header};
use serde_json::Value as Json;

use super::template::{Place, Template};
use super::{FieldChanges, some};
use crate::config::Value;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::token::{TOKEN, TokenError, parse_token};
use crate::forged::is_same;

/// Fields of one connection alone: RFC 9110, section 7.6.1.
const OF_A_CONNECTION: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Fields by which the gateway says who asks, and finds requests that go round in circles.
pub(super) const OURS: [&str; 7] = [
    "forwarded",
    "via",
    "cdn-loop",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-client-cert",
];

/// Which head it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
    /// Of an answer that a route gives by itself.
    Answer,
}

/// Which fields are a route's to change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'r> {
    pub(super) side: Side,
    /// The header that carries the trace id.
    pub(super) trace: &'r HeaderName,
}

/// Why a field is not a route's to change. Each reads on after its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    #[error(transparent)]
    NoName(#[from] TokenError),
    #[error("is of one connection alone: the gateway sees to it on each of its own")]
    OfAConnection,
    #[error("says where a body ends, which the gateway sees to")]
    Length,
    #[error("is what the route's own key `host` sets")]
    Host,
    #[error("is the gateway's own: it says by it who asks, and that a request came through here")]
    Ours,
    #[error("carries the trace id, which the gateway sets")]
    Trace,
}

impl Rule<'_> {
    pub(super) fn parse(self, text: &str) -> Result<HeaderName, FieldError> {
        let name = parse_token(text, "header")?;
        // Some servers take `content_length` for `content-length`.
        let is = |known: &str| is_same(name.as_str().as_bytes(), known.as_bytes());
        let is_of_request = self.side == Side::Request;
        if is("content-length") {
            Err(FieldError::Length)
        } else if is("host") {
            Err(FieldError::Host)
        } else if OF_A_CONNECTION.into_iter().any(is)
            && !(self.side == Side::Answer && name == header::UPGRADE)
        {
            Err(FieldError::OfAConnection)
        } else if is_of_request && OURS.into_iter().any(is) {
            Err(FieldError::Ours)
        } else if name == *self.trace || is_of_request && (is("traceparent") || is(self.trace.as_str())) {
            Err(FieldError::Trace)
        } else {
            Ok(name)
        }
    }
}

impl FieldChanges {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, rule: Rule<'_>) {
        let templates = || NoClientsCookie(map(move |name: &str| rule.parse(name), TOKEN, template()));
        let set = key("set", "fields that get this value, whatever they had")
            .more("Values may have variables in them.")
            .example("{x-route: \"{route}\"}");
        some(v, set, templates(), &mut self.set);
        let add = key("add", "fields that are added to those of the same name").example("{x-via: leaseway}");
        some(v, add, templates(), &mut self.add);
        let remove = key("remove", "fields that are removed, before others are set").example("[x-internal]");
        let name = |value: &Value<'_>| value.parse(|name| rule.parse(name));
        let name = text(name, |name: &HeaderName| name.as_str().to_owned()).pattern(TOKEN);
        some(v, remove, list(name), &mut self.remove);
    }
}

/// Fields and their values, without variables.
pub(super) fn fields(rule: Rule<'_>) -> impl Kind<Need, Value = Vec<(HeaderName, HeaderValue)>> {
    map(move |name: &str| rule.parse(name), TOKEN, field_value())
}

/// Why a text is no field's value. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ValueError {
    #[error("has {0:?} in it: a header takes ASCII alone")]
    Character(char),
    #[error("begins or ends with a space, which HTTP takes away")]
    Space,
}

/// A field's value.
pub(super) fn field_value() -> impl Kind<Need, Value = HeaderValue> {
    let read = |value: &Value<'_>| {
        value.parse(|text| check_value(text).map(|()| HeaderValue::try_from(text).ok()))?
    };
    text(read, |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned()).may_be_empty()
}

/// Fields and their values, with variables: but none of the client's own in a cookie, where a semicolon that it writes
/// begins an attribute.
struct NoClientsCookie<K>(K);

impl<K: Kind<Need, Value = Vec<(HeaderName, Template)>>> Kind<Need> for NoClientsCookie<K> {
    type Value = K::Value;

    fn read(&self, value: &Value<'_>) -> Option<Self::Value> {
        let fields = self.0.read(value)?;
        let mut templates = fields.iter();
        value.entries(|_, value| {
            let (name, template) = templates.next()?;
            let of_client = template.of_client().filter(|_| *name == header::SET_COOKIE);
            let Some(variable) = of_client else { return Some(()) };
            value.reject(format_args!(
                "has the variable {{{variable}}}, which is the client's own text: it could write attributes of the cookie"
            ));
            None
        })?;
        Some(fields)
    }

    fn show(&self, fields: &Self::Value) -> String {
        self.0.show(fields)
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn takes(&self) -> String {
        self.0.takes()
    }
}

/// A field's value that may have variables in it.
fn template() -> impl Kind<Need, Value = Template> {
    let read = |value: &Value<'_>| {
        value.parse(check_value)?;
        Template::read(value, Place::Header)
    };
    text(read, Template::to_string).may_be_empty()
}

fn check_value(text: &str) -> Result<(), ValueError> {
    if let Some(other) = text.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(ValueError::Character(other));
    }
    if text.trim_matches(' ').len() < text.len() { Err(ValueError::Space) } else { Ok(()) }
}
