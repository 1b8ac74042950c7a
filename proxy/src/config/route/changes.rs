//! What a route changes of a request and of its answer, as the configuration has it.

use config_reader::key;
use config_reader::kind::text;
use http::{HeaderName, HeaderValue};

use super::fields::{Rule, Side};
use super::host::parse_authority;
use super::path::{PathError, SERVICE, parse_path, parse_plain};
use super::rewrite::Rewrite;
use super::{Changes, FieldChanges, PathChange};
use crate::config::keys::{Visit, parsed};
use crate::config::{Section, Value};

/// What was written.
#[derive(Debug, Default)]
pub(super) struct WrittenChanges {
    strip_prefix: Option<String>,
    rewrite: Option<Rewrite>,
    host: Option<HeaderValue>,
    request: Option<FieldChanges>,
    response: Option<FieldChanges>,
}

impl WrittenChanges {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, trace: &HeaderName) {
        let strip = key(
            "strip_prefix",
            "whole segments that are taken away from the begin of the path, where they are it",
        )
        .example("/goods");
        v.optional(strip, parsed(parse_stripped, "^/"), &mut self.strip_prefix);
        let rewrite = key("rewrite", "a path that the expression takes as a whole becomes another")
            .shape("a section such as {regex: \"/old/(.*)\", to: \"/new/$1\"}");
        v.optional_section(rewrite, &mut self.rewrite, Rewrite::default, Rewrite::keys);
        let host = key("host", "the `Host` that instances get; none: the client's").example("goods.internal");
        let read = |value: &Value<'_>| {
            let host = value.parse(parse_authority)?;
            HeaderValue::try_from(host).ok()
        };
        let shown = |host: &HeaderValue| String::from_utf8_lossy(host.as_bytes()).into_owned();
        v.optional(host, text(read, shown).takes("a host, with or without a port"), &mut self.host);
        let request = key("request_headers", "what is changed of the fields that instances get");
        let rule = |side| Rule { side, trace };
        v.optional_section(request, &mut self.request, FieldChanges::default, |fields, v| {
            fields.keys(v, rule(Side::Request));
        });
        let response =
            key("response_headers", "what is changed of the fields of all answers, the gateway's own too");
        v.optional_section(response, &mut self.response, FieldChanges::default, |fields, v| {
            fields.keys(v, rule(Side::Response));
        });
    }

    pub(super) fn settled(self, section: &Section<'_>) -> Changes {
        let path = match (self.strip_prefix, self.rewrite) {
            (Some(_), Some(_)) => {
                section.reject("rewrite", "stands beside strip_prefix: a path is changed by one of them");
                PathChange::None
            }
            (Some(prefix), None) => stripping(prefix),
            (None, Some(rewrite)) => rewrite.settled(),
            (None, None) => PathChange::None,
        };
        let (request, response) = (self.request.unwrap_or_default(), self.response.unwrap_or_default());
        Changes { path, host: self.host, request, response }
    }
}

/// A path without variables, or one that ends with `/{service}`.
fn parse_stripped(text: &str) -> Result<String, PathError> {
    if text.ends_with(SERVICE) { parse_plain(text).map(|_| text.to_owned()) } else { parse_path(text) }
}

fn stripping(prefix: String) -> PathChange {
    match prefix.strip_suffix(SERVICE) {
        Some(above) => PathChange::StripService(above.to_owned()),
        None => PathChange::Strip(prefix),
    }
}
