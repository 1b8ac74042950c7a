//! Which keys a request speaks of.

use std::ops::Bound;

/// etcd's notation: a key, and the end of a range or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    pub key: &'a [u8],
    /// Nothing: that key alone. One zero byte: it and all that follow. Else: up to this key, without it.
    pub end: &'a [u8],
}

/// The keys from here to there, as maps take them.
pub(crate) type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

const TO_THE_LAST_KEY: &[u8] = &[0];

impl<'a> Span<'a> {
    pub(crate) fn new(key: &'a [u8], end: &'a [u8]) -> Self {
        Self { key, end }
    }

    pub(crate) fn is_one_key(self) -> bool {
        self.end.is_empty()
    }

    pub(crate) fn is_to_the_last_key(self) -> bool {
        self.end == TO_THE_LAST_KEY
    }

    /// Whether no key at all can be in it: it ends before it starts.
    pub(crate) fn is_empty(self) -> bool {
        !self.is_one_key() && !self.is_to_the_last_key() && self.end <= self.key
    }

    pub(crate) fn contains(self, key: &[u8]) -> bool {
        match self.end {
            [] => key == self.key,
            TO_THE_LAST_KEY => key >= self.key,
            end => key >= self.key && key < end,
        }
    }

    /// For a map of keys; none when it [is empty](Span::is_empty), where a map would panic.
    pub(crate) fn bounds(self) -> Option<KeyBounds<'a>> {
        let end = match self.end {
            _ if self.is_empty() => return None,
            [] => Bound::Included(self.key),
            TO_THE_LAST_KEY => Bound::Unbounded,
            end => Bound::Excluded(end),
        };
        Some((Bound::Included(self.key), end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Span;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..3_u8, 0..3)
    }

    proptest! {
        #[test]
        fn the_bounds_hold_exactly_the_keys_that_it_contains(
            keys in proptest::collection::btree_set(key(), 0..20),
            (start, end) in (key(), key()),
        ) {
            let span = Span::new(&start, &end);
            let expected: BTreeSet<Vec<u8>> =
                keys.iter().filter(|key| span.contains(key)).cloned().collect();
            let found: BTreeSet<Vec<u8>> = match span.bounds() {
                Some(bounds) => keys.range::<[u8], _>(bounds).cloned().collect(),
                None => BTreeSet::new(),
            };
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_range_without_an_end_is_one_key_and_with_a_zero_byte_all_that_follow() {
        assert!(Span::new(b"b", b"").contains(b"b"));
        assert!(!Span::new(b"b", b"").contains(b"ba"));
        assert!(Span::new(b"b", b"\0").contains(b"zzz"));
        assert!(!Span::new(b"b", b"\0").contains(b"a"));
        assert!(Span::new(b"b", b"c").contains(b"bzz"));
        assert!(!Span::new(b"b", b"c").contains(b"c"));
        assert!(Span::new(b"b", b"b").is_empty());
    }
}
