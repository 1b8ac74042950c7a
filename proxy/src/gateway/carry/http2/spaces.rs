//! White space around the values of fields. In HTTP/1 it is no part of them, and in HTTP/2 there is to be none: RFC 9113, 8.2.1.

use http::{HeaderMap, HeaderValue};

/// Why a request is not let through that has some.
pub(super) const SPACES: &str = "a field's value has white space around it";

/// Whether one of these values begins or ends with some.
pub(super) fn has_spaces(fields: &HeaderMap) -> bool {
    fields.values().any(is_spaced)
}

/// Takes it away. An answer is not refused for it: `grpc-message` ends as the message of an error does, and gRPC leaves its
/// spaces as they are.
pub(super) fn trim(fields: &mut HeaderMap) {
    for value in fields.values_mut().filter(|value| is_spaced(value)) {
        if let Ok(mut trimmed) = HeaderValue::from_bytes(value.as_bytes().trim_ascii()) {
            trimmed.set_sensitive(value.is_sensitive());
            *value = trimmed;
        }
    }
}

fn is_spaced(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    [bytes.first(), bytes.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(values: &[&'static str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append("x", HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn white_space_around_a_value_is_seen_and_that_within_it_is_none() {
        for (value, expected) in [
            ("a", false),
            ("a b\tc", false),
            ("", false),
            (" a", true),
            ("\ta", true),
            ("a ", true),
            ("a\t", true),
            (" ", true),
        ] {
            assert_eq!(has_spaces(&fields(&["a", value])), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_trimmed_is_the_same_but_for_that() {
        let mut fields = fields(&["a", " \tb c\t ", " ", "d "]);
        for value in fields.values_mut() {
            value.set_sensitive(value == "d ");
        }
        trim(&mut fields);
        let left: Vec<_> =
            fields.get_all("x").iter().map(|value| (value.to_str().unwrap(), value.is_sensitive())).collect();
        assert_eq!(left, [("a", false), ("b c", false), ("", false), ("d", true)]);
    }
}
