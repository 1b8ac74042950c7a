//! The path that a request is matched by: RFC 3986, 6.2.2, without touching what is forwarded.

use std::borrow::Cow;

/// Resolves dot segments and decodes what needs no escape (so that `/%67oods` is `/goods` and `/%2e%2e` is
/// `/..`). An encoded slash stays encoded: it never splits a segment. None: the path climbs above the
/// root, is relative, or has a `%` without two hex digits.
pub(crate) fn normalise(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') {
        return None;
    }
    // What almost every request looks like.
    if memchr::memchr2(b'%', b'.', path.as_bytes()).is_none() {
        return Some(Cow::Borrowed(path));
    }
    resolve_dots(&decode_unreserved(path)?).map(Cow::Owned)
}

/// Whether a text stands as it is, without an escape, as a segment of a normal path: RFC 3986, 3.3.
pub(crate) fn is_plain_segment(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    !matches!(text, "" | "." | "..") && text.bytes().all(is_plain)
}

fn resolve_dots(path: &str) -> Option<String> {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for segment in path.split('/').skip(1) {
        ends_in_directory = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop()?;
            }
            segment => segments.push(segment),
        }
    }
    if ends_in_directory {
        segments.push("");
    }
    Some(format!("/{}", segments.join("/")))
}

fn decode_unreserved(path: &str) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, escape)) = rest.split_once('%') {
        decoded.push_str(before);
        let digits = escape.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        match char::from(byte) {
            c @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~') => decoded.push(c),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &escape[2..];
    }
    decoded.push_str(rest);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normalised(path: &str) -> String {
        normalise(path).unwrap().into_owned()
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        assert!(matches!(normalise("/goods/list"), Some(Cow::Borrowed("/goods/list"))));
    }

    #[test]
    fn dot_segments_are_resolved() {
        assert_eq!(normalised("/a/./b/../c"), "/a/c");
        assert_eq!(normalised("/a/.."), "/");
        assert_eq!(normalised("/a/b/."), "/a/b/");
        assert_eq!(normalised("/a/%2e%2E/b"), "/b");
        assert_eq!(normalised("/.well-known/x"), "/.well-known/x");
        assert_eq!(normalised("/a/..b"), "/a/..b");
    }

    #[test]
    fn a_path_that_climbs_above_the_root_is_refused() {
        for path in ["/..", "/a/../..", "/%2e%2e/goods", "/../goods"] {
            assert_eq!(normalise(path), None, "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_never_splits_a_segment() {
        assert_eq!(normalised("/goods%2flist"), "/goods%2Flist");
        assert_eq!(normalised("/a/..%2fb"), "/a/..%2Fb");
    }

    #[test]
    fn what_needs_no_escape_is_decoded() {
        assert_eq!(normalised("/%67oods"), "/goods");
        assert_eq!(normalise("/%zz"), None);
        assert_eq!(normalise("/%a"), None);
    }

    #[test]
    fn a_plain_segment_needs_no_escape_and_stays_as_it_is() {
        for text in ["shop-a", "a:1@b", "~x!$&'()*+,;=", ".a", "...", "a..b"] {
            assert!(is_plain_segment(text), "{text}");
            assert_eq!(normalised(&format!("/{text}/x")), format!("/{text}/x"));
        }
        for text in
            ["", ".", "..", "a b", "shop-%41", "shop-\u{fc}", "a/b", "a?b", "a#b", "a\\b", "a\"", "\u{7f}"]
        {
            assert!(!is_plain_segment(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_is_its_own_normal_form(path in "/[a-c./%2eEfF]{0,20}") {
            if let Some(once) = normalise(&path) {
                let twice = normalise(&once).map(Cow::into_owned);
                prop_assert_eq!(twice.as_deref(), Some(&*once));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."));
            }
        }
    }
}
