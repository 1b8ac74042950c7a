//! What is known of a request, and what templates make of it.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;

use crate::authority::Authority;
use crate::config::{Piece, Template, Variable};
use crate::gateway::request::Request;
use crate::gateway::text::push_escape;
use crate::head::Head;

/// What is known of a request. What is not known is empty.
#[derive(Debug, Default)]
pub(crate) struct Facts<'f> {
    pub(crate) trace_id: &'f str,
    pub(crate) client: &'f str,
    pub(crate) route: &'f str,
    pub(crate) service: &'f str,
    pub(crate) instance: &'f str,
    pub(crate) host: Cow<'f, str>,
    pub(crate) scheme: &'static str,
    pub(crate) method: &'f str,
    pub(crate) path: &'f str,
    /// Of its answer, if there is one.
    pub(crate) status: Option<u16>,
    pub(crate) message: &'f str,
}

impl<'f> Facts<'f> {
    pub(crate) fn of(request: &'f Request, head: &'f impl Head) -> Self {
        Self {
            trace_id: request.trace.id(),
            client: request.client.as_str(),
            route: request.route().map(|route| &*route.name).unwrap_or_default(),
            service: request.target().map(|target| &**target.service.name()).unwrap_or_default(),
            instance: request.attempt().map(|attempt| &*attempt.endpoint.instance).unwrap_or_default(),
            host: request
                .asked_host(head)
                .and_then(Authority::parse)
                .map(Authority::name)
                .unwrap_or_default(),
            scheme: request.origin.scheme.as_str(),
            method: head.method().as_str(),
            path: head.path(),
            status: None,
            message: "",
        }
    }

    /// The text that a template makes.
    pub(crate) fn text(&self, template: &Template) -> String {
        let mut text = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Variable(variable) => text.push_str(&self.variable(*variable)),
            }
        }
        text
    }

    /// The value that a template makes. What a client has written must not end the line that it comes to stand in, and
    /// what is no letter of ASCII means something else to each server: of a variable, whatever cannot be seen in ASCII is
    /// written as `%XX`. So there is always a value, unless the configuration itself says what no field may.
    pub(crate) fn value(&self, template: &Template) -> Option<HeaderValue> {
        let mut bytes = Vec::with_capacity(64);
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => push_visible(&mut bytes, &self.variable(*variable)),
            }
        }
        HeaderValue::from_maybe_shared(Bytes::from(bytes)).ok()
    }

    fn variable(&self, variable: Variable) -> Cow<'_, str> {
        Cow::Borrowed(match variable {
            Variable::TraceId => self.trace_id,
            Variable::Client => self.client,
            Variable::Route => self.route,
            Variable::Service => self.service,
            Variable::Instance => self.instance,
            Variable::Host => &self.host,
            Variable::Scheme => self.scheme,
            Variable::Method => self.method,
            Variable::Path => self.path,
            Variable::Status => {
                let status = self.status.map(|status| status.to_string());
                return Cow::Owned(status.unwrap_or_default());
            }
            Variable::Message => self.message,
        })
    }
}

/// Appends what can be seen in ASCII as it is, and each other byte as `%XX`.
fn push_visible(bytes: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => bytes.push(byte),
            _ => push_escape(bytes, byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(pieces: &[Piece]) -> Template {
        Template { pieces: pieces.to_vec() }
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn each_variable_is_what_is_known_of_the_request() {
        let facts = Facts {
            trace_id: "7",
            client: "192.0.2.1",
            route: "shop api",
            service: "goods",
            instance: "a",
            host: "shop.example.com".into(),
            scheme: "https",
            method: "GET",
            path: "/x",
            status: Some(404),
            message: "no",
        };
        let said: Vec<_> = Variable::ALL
            .into_iter()
            .map(|(_, variable)| facts.text(&template(&[Piece::Variable(variable)])))
            .collect();
        let expected = [
            "7",
            "192.0.2.1",
            "shop api",
            "goods",
            "a",
            "shop.example.com",
            "https",
            "GET",
            "/x",
            "404",
            "no",
        ];
        assert_eq!(said, expected);
        let mixed = template(&[text("<"), Piece::Variable(Variable::Route), text(">")]);
        assert_eq!(facts.text(&mixed), "<shop api>");
        assert_eq!(facts.value(&mixed).unwrap(), "<shop api>");
        assert_eq!(Facts::default().value(&template(&[Piece::Variable(Variable::Status)])).unwrap(), "");
    }

    #[test]
    fn what_no_field_may_hold_is_no_value_where_the_configuration_says_it() {
        assert_eq!(Facts::default().value(&template(&[text("a\r\nb: c")])), None);
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_stays_within_its_line(path in ".*|[\\x00-\\x20\\x7f]*") {
            let facts = Facts { path: &path, ..Facts::default() };
            let value = facts.value(&template(&[Piece::Variable(Variable::Path)])).unwrap();
            prop_assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
}
