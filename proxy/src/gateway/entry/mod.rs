//! Which requests are let through, and as what: whoever has parsed their heads.

mod fields;
mod head;

use std::borrow::Cow;

use super::answer::Answer;
use crate::config::Paths;
use crate::head::Head;
use crate::path::{is_read_alike, normalise};
pub(crate) use fields::FieldsFound;

/// The normalised path of a request that is let through, or how it is declined.
pub(crate) fn enter<'h>(
    head: &'h impl Head,
    fields: FieldsFound,
    paths: Paths,
) -> Result<Cow<'h, str>, Answer> {
    head::check(head, fields).map_err(Answer::bad_head)?;
    let path = normalise(head.path())
        .ok_or(const { Answer::bad_request("the path climbs above the root or is malformed") })?;
    if paths == Paths::Strict && !is_read_alike(head.path()) {
        return Err(const { Answer::bad_request("the path is one that servers read differently") });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;
    use http::Method;

    #[test]
    fn a_path_that_others_read_differently_is_declined_where_paths_are_strict() {
        let entered = |path, paths| {
            let head = head(Method::GET, path, &[("host", b"a")]);
            enter(&head, FieldsFound::of(&head, b"trace_id"), paths).map(Cow::into_owned)
        };
        for (path, normal) in [("/a/..%2fb?c", "/a/..%2Fb"), ("/a//../b", "/a/b")] {
            assert_eq!(entered(path, Paths::Standard).as_deref(), Ok(normal));
            let declined = entered(path, Paths::Strict).unwrap_err();
            let message = declined.error().map(|(_, message)| message);
            assert_eq!(
                (declined.status, message),
                (400, Some("the path is one that servers read differently"))
            );
        }
        assert_eq!(
            entered("/a/../b?c=//d%2f", Paths::Strict).as_deref(),
            Ok("/b"),
            "its query is not looked at"
        );
    }
}
