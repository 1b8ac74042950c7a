//! An answer of the gateway's own that a route gives, as the configuration has it.

use bytes::Bytes;
use config_reader::key;
use config_reader::kind::{number, text};
use http::{HeaderName, StatusCode, header};

use super::fields::{Rule, Side, fields};
use super::{FixedAnswer, Variable, some};
use crate::config::keys::Visit;
use crate::config::{Section, Value};

/// The largest body, in bytes.
const BODY: usize = 16 * 1024;

impl FixedAnswer {
    pub(super) fn unsaid() -> Self {
        Self { status: 200, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, trace: &HeaderName) {
        v.key(key("status", "its status"), number(200..=599), &mut self.status);
        let headers = key("headers", "its fields").example("{content-type: text/plain}");
        some(v, headers, fields(Rule { side: Side::Answer, trace }), &mut self.headers);
        let body = key("body", "its body, at most 16 KiB").example("ok");
        let mut written = Some(self.body.clone()).filter(|body| !body.is_empty());
        let shown = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
        v.optional(body, text(read_body, shown).may_be_empty(), &mut written);
        self.body = written.unwrap_or_default();
        v.check(|section| {
            if matches!(self.status, 204 | 205 | 304) && !self.body.is_empty() && section.is_sound("status") {
                section.reject(
                    "body",
                    format_args!("means nothing with status {}, which has no body", self.status),
                );
            }
            self.check_upgrade(section);
            self.remark_on_variables(section);
        });
    }
}

impl FixedAnswer {
    /// RFC 9110, 15.5.22: who asks for another protocol says which. On all other answers the field is the connection's own.
    fn check_upgrade(&self, section: &Section<'_>) {
        let names_protocol = self.headers.iter().any(|(name, _)| *name == header::UPGRADE);
        let wants_protocol = self.status == StatusCode::UPGRADE_REQUIRED.as_u16();
        if names_protocol && !wants_protocol && section.is_sound("status") {
            section.reject("headers", "has upgrade in it, which only status 426 has");
        } else if wants_protocol && !names_protocol && section.is_sound("headers") {
            section.remark(
                "status",
                "has to say to which protocol: add `headers: {upgrade: websocket}`, or another",
            );
        }
    }

    fn remark_on_variables(&self, section: &Section<'_>) {
        let found = |text: &[u8]| Variable::first_in(&String::from_utf8_lossy(text));
        if let Some(name) = self.headers.iter().find_map(|(_, value)| found(value.as_bytes())) {
            section.remark(
                "headers",
                format_args!("has {{{name}}} in it, which is sent as it is: `response_headers` of the route know variables"),
            );
        }
        if let Some(name) = found(&self.body) {
            section.remark(
                "body",
                format_args!("has {{{name}}} in it, which is sent as it is: a body has no variables"),
            );
        }
    }
}

fn read_body(value: &Value<'_>) -> Option<Bytes> {
    let text = value.lines()?;
    if text.len() > BODY {
        value.reject(format_args!("has {} bytes: expected at most {BODY}", text.len()));
        return None;
    }
    Some(Bytes::copy_from_slice(text.as_bytes()))
}
