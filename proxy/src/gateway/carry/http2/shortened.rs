//! What is left of a head that is too long: enough to answer its client, and to write of it in the log.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::gateway::grammar::{LONGEST_HEAD, Refusal};

/// So much of a head is read, in bytes of its fields and 32 for each (RFC 9113, 6.5.2): HTTP/2 itself would end the connection
/// where a head is four times as long as what is read, or has too many frames for that, and a call's client would try it again
/// for ever. What is under way of such heads the door's meter bounds.
pub(in crate::gateway) const LONGEST_READ: u32 = (1024 + 128) * 1024;
/// What is kept of one that is too long.
const KEPT: usize = 4 * 1024;
/// What a field counts beside its bytes.
const FIELD: usize = 32;

/// Why it is not let through.
pub(super) const TOO_LONG: Refusal = Refusal { status: 431, why: "the request's head is too long" };

/// Whether a head is too long, which is shortened then. Its memory may be that of a much longer frame, so what is kept is copied.
pub(super) fn shorten(parts: &mut Parts) -> bool {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    // :method, :scheme, :authority and :path, and the first two are not long.
    let pseudo = 4 * FIELD + 40 + target + authority;
    if pseudo + size(&parts.headers) <= LONGEST_HEAD {
        return false;
    }
    parts.headers = begin_of(&parts.headers);
    let target = parts.uri.to_string();
    let begin = String::from_utf8_lossy(target.as_bytes().get(..KEPT).unwrap_or(target.as_bytes()));
    parts.uri = Uri::try_from(&*begin).unwrap_or_default();
    true
}

/// Whether trailers are longer than a head may be.
pub(super) fn is_too_long(trailers: &HeaderMap) -> bool {
    size(trailers) > LONGEST_HEAD
}

fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum()
}

/// As many fields as fit. What says whether it is a call comes first.
fn begin_of(fields: &HeaderMap) -> HeaderMap {
    let (mut begin, mut room) = (HeaderMap::new(), KEPT);
    let kind = fields.get(header::CONTENT_TYPE).map(|value| (&header::CONTENT_TYPE, value));
    let others = fields.iter().filter(|(name, _)| **name != header::CONTENT_TYPE);
    for (name, value) in kind.into_iter().chain(others) {
        let Some(left) = room.checked_sub(FIELD + name.as_str().len() + value.len()) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            begin.append(name, value);
            room = left;
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, fields: &[(String, String)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn field(name: &str, length: usize) -> (String, String) {
        (name.to_owned(), "v".repeat(length))
    }

    #[test]
    fn a_head_is_as_it_was_up_to_its_bound() {
        let fields = |length| [field("content-type", 10), field("x-long", length)];
        let rest = 6 * FIELD + 40 + "a/b".len() + "content-type".len() + 10 + "x-long".len();
        let mut fits = parts("http://a/b", &fields(LONGEST_HEAD - rest));
        assert!(!shorten(&mut fits));
        assert_eq!(fits.headers["x-long"].len(), LONGEST_HEAD - rest);
        let mut too_long = parts("http://a/b", &fields(LONGEST_HEAD - rest + 1));
        assert!(shorten(&mut too_long));
        assert_eq!(too_long.uri, "http://a/b");
        assert_eq!(too_long.headers.keys().collect::<Vec<_>>(), ["content-type"]);
    }

    #[test]
    fn of_many_fields_little_is_kept_and_what_says_that_it_is_a_call() {
        let mut fields: Vec<_> = (0..3000).map(|number| field(&format!("x-{number}"), 100)).collect();
        fields.push(field("content-type", 10));
        let mut parts = parts("http://a/b", &fields);
        assert!(shorten(&mut parts));
        assert!(parts.headers.contains_key("content-type") && parts.headers.contains_key("x-0"));
        assert!(parts.headers.len() < 50, "{}", parts.headers.len());
    }

    #[test]
    fn a_target_is_cut() {
        let target = format!("/{}", "t".repeat(60_000));
        let mut parts = parts(&format!("http://a{target}"), &[field("x-long", 10_000)]);
        assert!(shorten(&mut parts));
        let begin = parts.uri.path();
        assert!(begin.starts_with("/ttt") && begin.len() < KEPT, "{}", begin.len());
    }
}
