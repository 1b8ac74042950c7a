//! What other programs take for a pattern, in a path that is matched as it is written.

/// Why a path holds a pattern. Reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "looks like a pattern, {found:?}, which is matched as it is written: write {literal}, which takes everything below it"
)]
pub(super) struct Pattern {
    found: String,
    /// The path before it.
    literal: String,
}

/// Refuses what would match nothing that a client sends: `*`, `{id}`, `:id`, and the marks by which regular
/// expressions begin and end.
pub(super) fn refuse(path: &str) -> Result<(), Pattern> {
    let mut start = 0;
    for segment in path.split('/') {
        if let Some((at, found)) = find(segment) {
            // `/goods*` was meant for /goods. What has more in its segment is no segment without the pattern.
            let is_any = found.trim_matches(['.', '*']).is_empty();
            let before = path[..if is_any { start + at } else { start }].trim_end_matches('/');
            let literal = if before.is_empty() { "/" } else { before };
            return Err(Pattern { found: found.to_owned(), literal: literal.to_owned() });
        }
        start += segment.len() + "/".len();
    }
    Ok(())
}

/// Where in the segment a pattern begins, and how it reads. A colon within a segment is none (`/v1:go`), nor
/// are brackets that URLs have in them (`/wiki/Way_(of_going)`).
fn find(segment: &str) -> Option<(usize, &str)> {
    if segment.starts_with(':') && segment.len() > 1 {
        return Some((0, segment));
    }
    let at = segment.find(['*', '{', '^', '|', '[', '<', '\\'])?;
    // `.*` and `(*` begin before their star.
    let begins = segment[..at].trim_end_matches(['.', '(', '?']).len();
    Some((begins, &segment[begins..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_shown_the_path_that_does_what_it_was_meant_for() {
        for (path, found, literal) in [
            ("/*", "*", "/"),
            ("/goods/*", "*", "/goods"),
            ("/goods/**", "**", "/goods"),
            ("/goods*", "*", "/goods"),
            ("/goods/.*", ".*", "/goods"),
            ("/goods/*/list", "*", "/goods"),
            ("/goods/{id}", "{id}", "/goods"),
            ("/goods/{id}/list", "{id}", "/goods"),
            ("/goods/:id", ":id", "/goods"),
            ("/goods/<id>", "<id>", "/goods"),
            ("/goods/[0-9]+", "[0-9]+", "/goods"),
            ("/(goods|books)", "|books)", "/"),
            ("/shop/go*ds", "*ds", "/shop"),
        ] {
            let expected = Pattern { found: found.into(), literal: literal.into() };
            assert_eq!(refuse(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn what_urls_have_in_them_is_no_pattern() {
        for path in [
            "/",
            "/goods",
            "/v1:do@x;p=1,2",
            "/~user",
            "/wiki/Way_(of_going)",
            "/a.b/..c",
            "/$metadata",
            "/:",
        ] {
            assert_eq!(refuse(path), Ok(()), "{path}");
        }
    }
}
