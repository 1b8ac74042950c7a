//! What the gateway's own error answers look like, as the configuration has it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use config_reader::kind::{Kind, map, text};
use config_reader::{Visitor, key};
use http::HeaderValue;
use serde_json::{Value as Json, json};

use super::fields::field_value;
use super::template::{Place, Template};
use super::{ErrorAnswer, ErrorAnswers, some};
use crate::config::Value;
use crate::config::files::Files;
use crate::config::keys::Visit;
use crate::config::machine::Need;

/// The largest file, in bytes.
const BODY: usize = 64 * 1024;

/// What a file is taken for, if nothing else is said.
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Statuses of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Statuses {
    One(u16),
    /// By the first digit.
    Hundred(u16),
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(f, "{status}"),
            Self::Hundred(digit) => write!(f, "{digit}xx"),
        }
    }
}

/// The key that says it, of the gateway and of a route.
pub(in crate::config) fn keys<V: Visit>(
    errors: &mut ErrorAnswers,
    v: &mut V,
    files: &Files,
    text: &'static str,
) {
    let of_one = errors.by_status.drain(..).map(|(status, answer)| (Statuses::One(status), answer));
    let of_hundred = errors.by_hundred.drain(..).map(|(digit, answer)| (Statuses::Hundred(digit), answer));
    let mut written: Vec<_> = of_one.chain(of_hundred).collect();
    let key = key("errors", text)
        .more("`json` is an object of texts, which may have variables in them; `file` is what that file holds.")
        .example("{4xx: {json: {status: \"{status}\", error: \"{message}\"}}, 503: {file: /etc/leaseway/503.html}}");
    some(v, key, map(parse_statuses, "^[45]([0-9][0-9]|xx)$", ErrorAnswerKind(files)), &mut written);
    for (statuses, answer) in written {
        match statuses {
            Statuses::One(status) => errors.by_status.push((status, answer)),
            Statuses::Hundred(digit) => errors.by_hundred.push((digit, answer)),
        }
    }
}

fn parse_statuses(text: &str) -> Result<Statuses, &'static str> {
    match text {
        "4xx" => Ok(Statuses::Hundred(4)),
        "5xx" => Ok(Statuses::Hundred(5)),
        _ => match text.parse() {
            Ok(status @ 400..=599) if text.len() == 3 => Ok(Statuses::One(status)),
            _ => Err("is no status of an error: expected 400 to 599, 4xx or 5xx"),
        },
    }
}

struct ErrorAnswerKind<'f>(&'f Files);

impl ErrorAnswerKind<'_> {
    fn json() -> impl Kind<Need, Value = Vec<(String, Template)>> {
        let read = |value: &Value<'_>| Template::read(value, Place::ErrorAnswer);
        let template = text(read, Template::to_string).may_be_empty();
        map(|name: &str| Ok::<_, Infallible>(name.to_owned()), "", template)
    }
}

impl Kind<Need> for ErrorAnswerKind<'_> {
    type Value = Arc<ErrorAnswer>;

    fn read(&self, value: &Value<'_>) -> Option<Arc<ErrorAnswer>> {
        let mut section = value.section();
        let (mut json, mut file, mut content_type) = (None, None, None);
        section.optional(key("json", ""), Self::json(), &mut json);
        section.optional(key("file", ""), BodyFile(self.0), &mut file);
        section.optional(key("content_type", ""), field_value(), &mut content_type);
        section.close(None);
        let (has_json, has_file) = (section.has("json"), section.has("file"));
        if has_json && has_file {
            section.reject("file", "stands beside json: an answer is one of them");
            return None;
        }
        if has_json && section.has("content_type") {
            section.reject("content_type", "means nothing beside json, which is application/json");
            return None;
        }
        if value.is_section() && !has_json && !has_file {
            return value.mismatch("json or file below it");
        }
        let of_file = |body| ErrorAnswer::File { content_type: content_type.unwrap_or(HTML), body };
        json.map(ErrorAnswer::Json).or_else(|| file.map(of_file)).map(Arc::new)
    }

    fn show(&self, answer: &Arc<ErrorAnswer>) -> String {
        match &**answer {
            ErrorAnswer::Json(fields) => format!("{{json: {}}}", Self::json().show(fields)),
            ErrorAnswer::File { content_type, .. } => {
                format!("{{file: ..., content_type: {}}}", field_value().show(content_type))
            }
        }
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "properties": {
                "json": Self::json().schema(),
                "file": BodyFile(self.0).schema(),
                "content_type": field_value().schema(),
            },
            "oneOf": [{"required": ["json"]}, {"required": ["file"]}],
            "additionalProperties": false,
        })
    }

    fn takes(&self) -> String {
        "`{json: {NAME: TEXT}}` or `{file: PATH, content_type: TYPE}` for each status, 4xx or 5xx".to_owned()
    }
}

/// A body, by the file that it is in.
struct BodyFile<'f>(&'f Files);

impl Kind<Need> for BodyFile<'_> {
    type Value = Bytes;

    fn read(&self, value: &Value<'_>) -> Option<Bytes> {
        self.0.read(value, BODY, Need::ErrorFile)
    }

    fn show(&self, _body: &Bytes) -> String {
        "...".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^/"})
    }
}
