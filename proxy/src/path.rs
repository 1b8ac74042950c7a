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

/// Whether nginx reads a path that has a normal form as [`normalise`] does: as the same segments, each of the same
/// characters once its escapes are decoded. nginx decodes all escapes before it looks for slashes and dots; it takes
/// slashes in a row for one (its `merge_slashes` is on unless somebody turns it off); a path ends for it at a `#`; and
/// it refuses a NUL.
pub(crate) fn is_read_alike(path: &str) -> bool {
    let path = path.as_bytes();
    let splits_otherwise = |escape: &[u8]| escape.eq_ignore_ascii_case(b"2f") || escape == b"00";
    let after_percent = |at: usize| path.get(at + 1..at + 3);
    memchr::memchr(b'#', path).is_none()
        && memchr::memmem::find(path, b"//").is_none()
        && !memchr::memchr_iter(b'%', path).filter_map(after_percent).any(splits_otherwise)
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

    fn decoded(text: &str) -> Vec<u8> {
        let (before, rest) = match text.split_once('%') {
            None => return text.as_bytes().to_vec(),
            Some(parts) => parts,
        };
        let byte = u8::from_str_radix(&rest[..2], 16).unwrap();
        [before.as_bytes(), &[byte], &decoded(&rest[2..])].concat()
    }

    /// The segments of a path with escapes, as the gateway reads it; none: it is refused.
    fn read_here(path: &str) -> Option<Vec<Vec<u8>>> {
        Some(normalise(path)?.split('/').skip(1).map(decoded).collect())
    }

    /// The same as nginx reads it, with slashes in a row as one: what `$uri` is, and what a `location` is compared with.
    fn read_by_nginx(path: &str) -> Option<Vec<Vec<u8>>> {
        let path = decoded(path.split('#').next()?);
        let mut segments: Vec<Vec<u8>> = Vec::new();
        let mut ends_in_directory = false;
        for segment in path.split(|byte| *byte == b'/').skip(1) {
            ends_in_directory = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()?),
                segment => segments.push(segment.to_vec()),
            }
        }
        if ends_in_directory {
            segments.push(Vec::new());
        }
        Some(segments).filter(|_| !path.contains(&0))
    }

    #[test]
    fn what_nginx_reads_otherwise_is_known() {
        for (path, here, by_nginx) in [
            ("/a/..%2fb", "a|..%2Fb", Some("b")),
            ("/a//../b", "a|b", Some("b")),
            ("/a%2Fb", "a%2Fb", Some("a|b")),
            ("//a", "|a", Some("a")),
            ("/a//", "a||", Some("a|")),
            ("//..", "", None),
            ("/a%00", "a%00", None),
            ("/a#/../b", "b", Some("a")),
        ] {
            assert_eq!(normalised(path)[1..].replace('/', "|"), here, "{path}");
            let read = read_by_nginx(path).map(|segments| segments.join(&b'|'));
            assert_eq!(read.as_deref(), by_nginx.map(str::as_bytes), "{path}");
            assert!(!is_read_alike(path), "{path}");
        }
        for path in [
            "/",
            "/a/",
            "/a/../b",
            "/a/%2e%2e/b/.",
            "/a%20b%25%3f%23",
            "/a;b/\\..",
            "/a%5c..",
            "/...",
            "/%C3%BC",
        ] {
            assert_eq!(read_here(path), read_by_nginx(path), "{path}");
            assert!(is_read_alike(path), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_let_through_as_read_alike_is(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "/", "/", ".", "..", "a", "b", "%2f", "%2F", "%2e", "%41", "%00", "%23", "%25", "%3F", "%5C",
                    "%fc", "#", ";", "+", "\\", "\u{fc}",
                ]),
                0..12,
            ),
        ) {
            let path = format!("/{}", pieces.concat());
            if let Some(here) = read_here(&path).filter(|_| is_read_alike(&path)) {
                prop_assert_eq!(read_by_nginx(&path), Some(here), "{}", path);
            }
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
