//! What a request's head must not say, although it is one.

use http::HeaderName;

use super::fields::FieldsFound;
use crate::head::Head;

/// So many names a `Connection` may have: more are of no use but to make work.
const NAMES: usize = 15;

/// What `Connection` must not name: without it the request would mean something else, or be somebody else's.
const PROTECTED: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Finds what is declined whoever has parsed the head.
pub(crate) fn check(head: &impl Head, fields: FieldsFound) -> Result<(), &'static str> {
    if !is_path_or_url(head.target()) {
        return Err("the request's target is neither a path nor an http URL");
    }
    if fields.names_others && !names_what_it_may(head) {
        return Err("the Connection header names what it must not");
    }
    Ok(())
}

/// Whether all that `Connection` names may be taken out of the request: RFC 9110, 7.6.1.
fn names_what_it_may(head: &impl Head) -> bool {
    let lists = head.fields().filter(|(name, _)| *name == "connection").map(|(_, list)| list);
    let names = lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut names = names.filter(|name| !name.is_empty()).enumerate();
    names.all(|(n, name)| {
        let name = HeaderName::from_bytes(name);
        n < NAMES && name.is_ok_and(|name| !PROTECTED.contains(&name.as_str()))
    })
}

/// What a parser cannot make sense of it may take for `/`, and pass on as it is.
fn is_path_or_url(target: &[u8]) -> bool {
    let starts = |prefix: &[u8]| target.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
    starts(b"/") || starts(b"http://") || starts(b"https://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;
    use http::Method;

    #[test]
    fn what_a_connection_names_may_be_taken_out_unless_the_request_needs_it() {
        let checked = |lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("connection", line.as_bytes())).collect();
            let head = head(Method::POST, "/", &lines);
            check(&head, FieldsFound::of(&head, b"trace_id"))
        };
        let many = |count: usize| &*Box::leak(vec!["x-a"; count].join(", ").into_boxed_str());
        for good in [&["close"][..], &["keep-alive, X-A"], &[", ,", "x-a"], &["Upgrade"], &[""], &[many(15)]]
        {
            assert_eq!(checked(good), Ok(()), "{good:?}");
        }
        for bad in [
            &["Host"][..],
            &["close, content-length"],
            &["x-a", "Transfer-Encoding"],
            &["X-Forwarded-For"],
            &["x a"],
            &["\"x-forwarded-for\""],
            &[":authority"],
            &[many(16)],
            &[many(8), many(8)],
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for good in ["/", "/a?b", "http://a/b", "HTTPS://a"] {
            assert!(is_path_or_url(good.as_bytes()), "{good}");
        }
        for bad in ["", "*", "goods/admin", "?x", "ftp://a/b", "\\goods", "javascript:x"] {
            assert!(!is_path_or_url(bad.as_bytes()), "{bad}");
        }
    }
}
